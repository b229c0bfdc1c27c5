//! As much of the program's server as reads what clients send.

mod front;
mod http;
#[path = "../../src/server/limits.rs"]
pub mod limits;
#[path = "../../src/server/problem.rs"]
pub mod problem;
#[path = "../../src/server/routes.rs"]
mod routes;

use front::head::{self, Head};
use limits::Limits;

/// Takes a request as the front door does.
pub fn knock(bytes: &[u8]) {
    let Some(end) = front::end(bytes, 0) else { return };
    // However the bytes were cut on their way, the head ends in one place.
    for from in [end / 2, end - 4, end - 1] {
        assert_eq!(front::end(bytes, from), Some(end));
    }
    let (raw, body) = bytes.split_at(end);
    let Ok(head) = head::parse(raw, &Limits::default()) else { return };
    is_read_in_one_way(raw, &head);
    is_looked_up(&head);
    if let Some(kind) = head.header("content-type") {
        http::look_into(kind, body);
    }
}

/// What was accepted holds nothing that another reader could take for another request or another body.
fn is_read_in_one_way(raw: &[u8], head: &Head) {
    let text = std::str::from_utf8(raw).expect("visible ASCII alone is accepted");
    // One empty line may come first.
    let text = text.strip_prefix("\r\n").unwrap_or(text);
    let lines: Vec<&str> = text.trim_end_matches("\r\n").split("\r\n").collect();
    assert!(lines.iter().all(|line| !line.contains(['\r', '\n', '\0']) && !line.starts_with([' ', '\t'])));
    let named = |name: &str| -> Vec<&str> {
        let pairs = lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        let found = pairs.filter(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim()).collect()
    };
    assert!(named("transfer-encoding").is_empty());
    match named("content-length")[..] {
        [] => assert_eq!(head.content_length, 0),
        [length] => assert_eq!(head.content_length, length.parse().unwrap_or(u64::MAX)),
        _ => panic!("two lengths were accepted"),
    }
    assert!(named("host").len() <= 1 && named("authorization").len() <= 1);
    let words: Vec<&str> = lines[0].split(' ').collect();
    assert!(words.len() == 3 && words[0] == head.method && head.path.starts_with('/'));
}

fn is_looked_up(head: &Head) {
    if let Ok(found) = routes::find(&head.method, &head.path) {
        assert!(found.segments.iter().all(|segment| !segment.starts_with('.') && !segment.contains('/')));
    }
    let known = ["room", "model", "frame_id", "overlay"];
    let _ = routes::only(&head.query, &known);
    for name in known {
        if let Ok(Some(value)) = routes::query(&head.query, name) {
            assert!(!value.contains(char::is_control));
        }
    }
}

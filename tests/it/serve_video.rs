//! H.264 that viewers get as it came.

use std::path::Path;

use serde_json::Value;

use crate::camera::Camera;
use crate::program::Sandbox;
use crate::serve::Server;
use crate::serve_clients::run;
use crate::serve_record::{packets, port, slices, times};

/// What a client got: its file is `got.mp4` in the server's folder.
fn watched(server: &Server, room: &str, pieces: usize) -> Option<Value> {
    let path = server.sandbox.file("got.mp4");
    let said =
        run("serve_clients.py", &["video", room, path.to_str().unwrap(), &pieces.to_string()], server)?;
    Some(serde_json::from_str(&said).unwrap())
}

#[test]
fn a_recordings_pictures_reach_viewers_byte_for_byte_at_their_time() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/colonoscopy-720p30.mp4");
    let server = Server::start(&["--room", &format!("or-1={}", sample.display())]);
    let room = server.wait_for("or-1", |room| room["video"].is_string());
    assert!(room["video"].as_str().unwrap().starts_with("video/mp4; codecs=\"avc1.64"), "{room}");
    let Some(said) = watched(&server, "or-1", 60) else { return };
    let got = server.sandbox.file("got.mp4");
    let (found, expected) = (packets(&got), packets(&sample));
    assert_eq!((found.len(), &said["size"]), (60, &serde_json::json!([1280, 720])));
    let at = expected.iter().position(|packet| *packet == found[0]).expect("it is the sample's");
    assert_eq!(at % 60, 0, "viewers begin with a key frame");
    assert_eq!(found[..], expected[at..at + 60]);
    // The last pictures may lack those that are shown before them; all others have their times.
    let all = times(&sample);
    for (index, time) in times(&got).iter().take(50).enumerate() {
        assert!((time - (all[at + index] - all[at])).abs() < 1e-4, "{index}: {time}");
    }
    // Time zero of what was watched is the decoding time of its first picture.
    let origin = said["origin_ms"].as_f64().unwrap();
    assert!((-100.0..=0.0).contains(&origin), "{origin}");
}

#[test]
fn a_cameras_pictures_reach_viewers_as_they_were_sent() {
    let (port, sandbox) = (port(), Sandbox::new());
    let sent = sandbox.file("sent.ts");
    let camera = Camera::keeping(port, &sent);
    let server = Server::start_in(sandbox, &["--room", &format!("or-1=udp://127.0.0.1:{port}")]);
    server.wait_for("or-1", |room| room["video"].is_string());
    let Some(said) = watched(&server, "or-1", 50) else { return };
    drop(camera);
    let got = server.sandbox.file("got.mp4");
    let (found, sent, times) = (slices(&got), slices(&sent), times(&got));
    let at = sent.iter().position(|slice| *slice == found[0]).expect("it was sent");
    assert!(found[..] == sent[at..at + found.len()], "nothing is missing and nothing was changed");
    assert_eq!(times.len(), 50);
    assert!(times.windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 1e-4), "{times:?}");
    // Records and pictures meet on one clock.
    let first = said["origin_ms"].as_f64().unwrap();
    let results: Vec<f64> =
        said["results"].as_array().unwrap().iter().map(|ms| ms.as_f64().unwrap()).collect();
    let meets = |ms: &&f64| times.iter().any(|time| (first + time * 1e3 - **ms).abs() < 1.0);
    assert!(results.iter().filter(meets).count() >= 10, "{first} {results:?}");
}

#[test]
fn other_rooms_have_no_video_to_pass_on() {
    let server = Server::start(&["--room", "or-1=synthetic:160x120@30"]);
    let room = server.wait_for("or-1", |room| room["state"] == "running");
    assert_eq!(room["video"], Value::Null);
}

//! What the front door keeps out: smuggled requests, endless heads, giant bodies, slow and many clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::serve::{API, Answer, Server, png};

/// Connections that a test holds at once. The full figures are those of `tests/peers/serve_abuse.py`.
const HELD: usize = 150;
/// WebSocket sessions that are opened and dropped.
const CHURN: usize = 200;

fn resident_mb(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

pub fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn requests_that_could_be_read_in_two_ways_are_refused_and_the_connection_ends() {
    let server = Server::start(&[]);
    let hidden = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    let path = format!("{API}/video/process-frame");
    for (headers, status) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding: xchunked\r\n", 411),
        ("X: 1\r\n Transfer-Encoding: chunked\r\n", 400),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 4, 5\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0x10\r\n", 400),
        ("X: a\nContent-Length: 0\r\n", 400),
        ("X: a\0b\r\n", 400),
    ] {
        let mut stream = server.connect();
        let request = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n0\r\n\r\n{hidden}");
        stream.write_all(request.as_bytes()).unwrap();
        Answer::read(&mut stream).problem(status);
        // Nothing that came behind it is answered.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{headers:?}: {}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.metric("endort_malformed_total"), 11.0);
}

#[test]
fn a_connection_answers_one_request_after_the_other() {
    let server = Server::start(&[]);
    let mut stream = server.connect();
    let request = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    // Two at once, then one that is cut in two, then a head alone.
    stream.write_all(format!("{request}{request}").as_bytes()).unwrap();
    Answer::read(&mut stream).status(200);
    Answer::read(&mut stream).status(200);
    let (first, second) = request.split_at(20);
    stream.write_all(first.as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    stream.write_all(second.as_bytes()).unwrap();
    Answer::read(&mut stream).status(200);
    // A body that is announced waits for leave.
    let picture = png(64, 48);
    let head = format!(
        "POST {API}/video/process-frame HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        picture.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    Answer::read(&mut stream).status(100);
    stream.write_all(&picture).unwrap();
    Answer::read(&mut stream).status(200);
    stream.write_all(b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(rest.starts_with("HTTP/1.1 200 ") && rest.ends_with("\r\n\r\n"), "{rest}");
}

#[test]
fn sizes_have_bounds_and_the_bounds_have_counters() {
    let server = Server::start(&[]);
    let path = format!("{API}/video/process-frame");
    let before = resident_mb(server.process());
    for length in ["33554433", "100000000000", "9223372036854775808", "99999999999999999999999"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n");
        server.raw(head).problem(413);
    }
    server.raw(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(5000))).problem(414);
    server
        .raw(format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "a".repeat(20_000)))
        .problem(431);
    server.raw(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(100))).problem(431);
    // A head without an end is cut off, not collected.
    let mut stream = server.connect();
    for _ in 0..2000 {
        if stream.write_all(&[b'a'; 1024]).is_err() {
            break;
        }
    }
    server.post(&format!("{API}/video/start-stream"), &"a".repeat(70_000).into()).problem(413);
    assert!(server.metric("endort_limit_hits_total{bound=\"body_bytes\"}") >= 5.0);
    assert!(server.metric("endort_limit_hits_total{bound=\"head_bytes\"}") >= 3.0);
    assert_eq!(server.metric("endort_limit_hits_total{bound=\"target_bytes\"}"), 1.0);
    assert!(resident_mb(server.process()) < before + 30.0);
}

#[test]
fn held_slow_and_churning_clients_do_not_hold_up_health() {
    let server = Server::start(&[]);
    server.get("/healthz").status(200);
    let (memory, open) = (resident_mb(server.process()), descriptors(server.process()));
    let mut held: Vec<TcpStream> = (0..HELD).map(|_| server.connect()).collect();
    for (index, slow) in held.iter_mut().enumerate() {
        if index % 4 == 0 {
            slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
        }
    }
    let mut slowest = Duration::ZERO;
    for round in 0..CHURN {
        let begin = Instant::now();
        server.get("/healthz").status(200);
        slowest = slowest.max(begin.elapsed());
        let mut socket = server.connect();
        let upgrade = format!(
            "GET {API}/video/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        socket.write_all(upgrade.as_bytes()).unwrap();
        let answer = Answer::read(&mut socket).status(101);
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        if round % 3 == 0 {
            // Some leave with half a frame sent.
            socket.write_all(&[0x82, 0xff, 0, 0]).unwrap();
        }
        // One more byte of each slow head: the deadline counts from the first.
        if round % 20 == 0 {
            held.iter_mut().step_by(4).for_each(|slow| drop(slow.write_all(b"a")));
        }
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    assert!(server.metric("endort_connections") >= (HELD * 3 / 4) as f64);
    // Slow heads are ended by the deadline although they keep coming.
    let begin = Instant::now();
    while server.metric("endort_limit_hits_total{bound=\"head_time\"}") < (HELD / 4) as f64 {
        assert!(begin.elapsed() < Duration::from_secs(20));
        held.iter_mut().step_by(4).for_each(|slow| drop(slow.write_all(b"a")));
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(held);
    while server.metric("endort_connections") > 1.0 || server.metric("endort_websockets") > 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(40), "{}", server.get("/metrics").text());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.metric("endort_websockets_total"), CHURN as f64);
    let begin = Instant::now();
    while descriptors(server.process()) > open + 2 {
        assert!(begin.elapsed() < Duration::from_secs(10), "{} of {open}", descriptors(server.process()));
        std::thread::sleep(Duration::from_millis(50));
    }
    let grown = resident_mb(server.process()) - memory;
    assert!(grown < 15.0, "{grown} MB");
}

/// Three hundred mutations of three requests, the same in each run, each on a connection of its own.
#[test]
fn mutated_requests_do_not_end_the_server() {
    let server = Server::start(&[]);
    let mut random = Random(7);
    let mut next = |bound: usize| random.below(bound);
    let seeds = [
        format!(
            "POST {API}/video/process-frame?frame_id=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
        ),
        format!(
            "GET {API}/video/stream?room=a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"
        ),
        "GET /rooms/a HTTP/1.1\r\nHost: localhost\r\nCookie: endort_session=1\r\n\r\n".to_owned(),
    ];
    for round in 0..300 {
        let mut bytes = seeds[round % seeds.len()].clone().into_bytes();
        for _ in 0..=next(8) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = next(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, next(256) as u8),
            }
        }
        let mut stream = server.connect();
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 "), "{}", String::from_utf8_lossy(&rest));
    }
    server.get("/healthz").status(200);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

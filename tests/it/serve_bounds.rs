//! Bounds of the front door, made small enough to be met: what a client is told, and the counter that tells of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use endort::Error;
use endort::server::auth::{Origins, Tokens};
use endort::server::limits::Limits;
use endort::server::log::Log;
use endort::server::{Defaults, Options, Server};
use serde_json::{Value, json};

use crate::serve::{API, Answer};

/// A server within this process; what it is told to load does not exist.
struct Small {
    server: Option<Server>,
    address: SocketAddr,
}

impl Small {
    fn start(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        let options = Options {
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            tokens: Tokens::none(),
            origins: Origins { allowed: vec![], hosts: vec![] },
            limits,
            defaults: Defaults {
                target_fps: 30.0,
                max_latency_ms: 200.0,
                buffer_size: 5,
                decode_threads: 1,
                enabled: false,
                record: None,
                deidentify: false,
            },
            rooms: vec![],
            model: "none".to_owned(),
            loader: Arc::new(|name, _| Err(Error::NoModel { model: name.to_owned(), detail: String::new() })),
            device: Arc::new(|| Ok(Value::Null)),
            log: Log::new(Arc::new(|_| {})),
            audit: None,
        };
        let server = Server::start(options).unwrap();
        let address = server.address();
        Self { server: Some(server), address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut stream = self.connect();
        let (line, rest) = request.split_once("\r\n").unwrap();
        stream.write_all(format!("{line} HTTP/1.1\r\nHost: localhost\r\n{rest}").as_bytes()).unwrap();
        stream
    }

    fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let head = format!("POST {API}{path}\r\nContent-Type: application/json\r\nConnection: close\r\n");
        Answer::read(&mut self.send(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())))
    }

    fn hits(&self, bound: &str) -> u64 {
        let answer = Answer::read(&mut self.send("GET /metrics\r\nConnection: close\r\n\r\n"));
        let metrics = answer.status(200).text();
        let name = format!("endort_limit_hits_total{{bound=\"{bound}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.server.take().into_iter().for_each(Server::stop);
    }
}

const HEALTH: &str = "GET /healthz\r\n\r\n";

fn upgrade() -> String {
    format!(
        "GET {API}/video/stream\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

#[test]
fn one_connection_too_many_is_turned_away_and_the_next_is_served() {
    let small = Small::start(|limits| limits.connections = 3);
    let held: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut stream = small.send(HEALTH);
            Answer::read(&mut stream).status(200);
            stream
        })
        .collect();
    let turned_away = Answer::read(&mut small.send(HEALTH)).status(503);
    assert_eq!(turned_away.header("retry-after"), Some("1"));
    drop(held);
    let begin = Instant::now();
    while Answer::read(&mut small.send("GET /healthz\r\nConnection: close\r\n\r\n")).status != 200 {
        assert!(begin.elapsed() < Duration::from_secs(10));
    }
    assert!(small.hits("connections") >= 1);
}

#[test]
fn one_session_too_many_is_refused_and_told_when_to_come_again() {
    let small = Small::start(|limits| limits.websockets = 1);
    let mut first = small.send(&upgrade());
    Answer::read(&mut first).status(101);
    let second = Answer::read(&mut small.send(&upgrade()));
    assert_eq!(second.header("retry-after"), Some("5"));
    second.problem(503);
    assert_eq!(small.hits("websockets"), 1);
}

#[test]
fn bodies_have_a_share_of_memory_and_a_time() {
    let small = Small::start(|limits| {
        limits.body_memory = 10_000;
        limits.body_time = Duration::from_millis(300);
    });
    let body = |length: usize| format!("POST {API}/video/process-frame\r\nContent-Length: {length}\r\n\r\n");
    // The first holds what the second asks for, until its time is over.
    let mut slow = small.send(&body(9_000));
    std::thread::sleep(Duration::from_millis(100));
    let second = Answer::read(&mut small.send(&body(2_000)));
    assert_eq!(second.header("retry-after"), Some("1"));
    second.problem(503);
    Answer::read(&mut slow).problem(408);
    assert_eq!((small.hits("body_memory"), small.hits("body_time")), (1, 1));
    // It was given back.
    Answer::read(&mut small.send(&body(9_000))).problem(408);
}

#[test]
fn silent_connections_are_closed() {
    let small = Small::start(|limits| {
        limits.idle_time = Duration::from_millis(200);
        limits.websocket_idle_time = Duration::from_millis(400);
    });
    let mut stream = small.send(HEALTH);
    Answer::read(&mut stream).status(200);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0, "closed without a word");
    // A session that answers no ping gets a close frame, code 1008.
    let mut session = small.send(&upgrade());
    Answer::read(&mut session).status(101);
    let mut frames = Vec::new();
    let _ = session.read_to_end(&mut frames);
    assert!(frames.windows(2).any(|code| code == 1008u16.to_be_bytes()), "{frames:02x?}");
    assert!(small.hits("idle_time") >= 2);
}

#[test]
fn there_are_so_many_rooms_and_one_that_has_ended_gives_way() {
    let small = Small::start(|limits| limits.rooms = 2);
    let start = |room: &str| {
        small.post(
            "/video/start-stream",
            &json!({ "room": room, "source": "synthetic:64x64@10", "model": "none" }),
        )
    };
    start("a").status(201);
    start("b").status(201);
    start("c").problem(503);
    assert_eq!(small.hits("rooms"), 1);
    small.post("/video/stop-stream", &json!({ "room": "a" })).status(200);
    start("c").status(201);
}

//! The WebSocket protocol frame by frame (RFC 6455): what is understood, what is refused, and with which code.
//! `tests/peers/serve_autobahn.py` runs the Autobahn test suite's cases.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::serve::{API, Answer, Server, png};

/// A client that sends whatever bytes it likes.
pub struct Client(pub TcpStream);

/// A frame's first byte and its payload.
type Frame = (u8, Vec<u8>);

pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
pub const FIN: u8 = 0x80;

/// A frame as clients send it, masked.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

impl Client {
    /// Connected, with the server's greeting read.
    fn connect(server: &Server) -> Self {
        let mut client = Self::open(server.connect(), "");
        assert_eq!(client.json()["type"], "configured");
        client
    }

    /// A session on a connection that is there, with this query in its address.
    pub fn open(mut stream: TcpStream, query: &str) -> Self {
        let request = format!(
            "GET {API}/video/stream{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
             Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let answer = Answer::read(&mut stream).status(101);
        assert_eq!(answer.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer.header("sec-websocket-extensions"), None, "compression is not spoken");
        Self(stream)
    }

    /// Sends a frame.
    pub fn send(&mut self, first: u8, payload: &[u8]) {
        self.raw(&masked(first, payload));
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        // Whoever is told off while still sending may find the connection closed.
        let _ = self.0.write_all(bytes);
    }

    /// The next frame: its first byte and payload; `None` where the server closed the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).ok()?;
        assert_eq!(head[1] & 0x80, 0, "servers do not mask");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                u16::from_be_bytes(length).into()
            }
            length @ 0..126 => usize::from(length),
            _ => {
                let mut length = [0; 8];
                self.0.read_exact(&mut length).unwrap();
                usize::try_from(u64::from_be_bytes(length)).unwrap()
            }
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).unwrap();
        Some((head[0], payload))
    }

    /// The next frame, a text message in JSON.
    pub fn json(&mut self) -> Value {
        let (first, payload) = self.next().unwrap();
        assert_eq!(first, FIN | TEXT);
        serde_json::from_slice(&payload).unwrap()
    }

    /// Whether text is answered as text that is no control message is.
    fn is_understood(&mut self) {
        let answer = self.json();
        assert_eq!(answer["type"], "error", "{answer}");
        assert!(answer["detail"].as_str().unwrap().contains("not understood"), "{answer}");
    }

    /// The code with which the server ends the session in order, after whatever it says before; and what that was.
    pub fn ended(mut self) -> (u16, Vec<Frame>) {
        let mut before = Vec::new();
        loop {
            let (first, payload) = self.next().expect("a close frame");
            if first == FIN | CLOSE {
                self.send(first, &payload);
                assert_eq!(self.next(), None, "nothing comes after the goodbye");
                return (u16::from_be_bytes([payload[0], payload[1]]), before);
            }
            before.push((first, payload));
        }
    }

    /// The code with which the server closes, which it then does at once.
    fn closed(mut self) -> u16 {
        let (first, payload) = self.next().expect("a close frame");
        assert_eq!(first, FIN | CLOSE, "{payload:?}");
        let code = u16::from_be_bytes([payload[0], payload[1]]);
        assert!(std::str::from_utf8(&payload[2..]).is_ok());
        let begin = Instant::now();
        assert_eq!(self.next(), None);
        // The client has not answered: nobody waits for it to.
        assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
        code
    }
}

#[test]
fn messages_may_come_in_pieces_with_pings_between_them() {
    let server = Server::start(&[]);
    let mut client = Client::connect(&server);
    client.send(FIN | TEXT, "un mensaje, ein Stück, κόσμε".as_bytes());
    client.is_understood();
    client.send(FIN | TEXT, b"");
    client.is_understood();
    // In pieces, one of them empty, one that ends inside a character, with a ping and a stray pong between.
    let text = "κόσμε".as_bytes();
    client.send(TEXT, &text[..3]);
    client.send(FIN | PING, b"there?");
    client.send(0, b"");
    client.send(FIN | PONG, b"unasked");
    client.send(FIN, &text[3..]);
    assert_eq!(client.next().unwrap(), (FIN | PONG, b"there?".to_vec()));
    client.is_understood();
    // Byte by byte, as a slow network would deliver it.
    let whole = [&[FIN | TEXT, 0x80 | 2, 0, 0, 0, 0][..], b"{}"].concat();
    for byte in whole {
        client.raw(&[byte]);
    }
    client.is_understood();
    // The longest ping, and many at once, answered in order.
    client.send(FIN | PING, &[7; 125]);
    assert_eq!(client.next().unwrap(), (FIN | PONG, vec![7; 125]));
    (0..10).for_each(|n| client.send(FIN | PING, &[n]));
    (0..10).for_each(|n| assert_eq!(client.next().unwrap(), (FIN | PONG, vec![n])));
    // A large message that is no picture, in pieces of a kilobyte.
    client.send(BINARY, &[1; 1024]);
    (0..2000).for_each(|_| client.send(0, &[1; 1024]));
    client.send(FIN, &[1; 1024]);
    let answer = client.json();
    assert_eq!((&answer["type"], &answer["frame_id"]), (&"error".into(), &0.into()), "{answer}");
    client.send(FIN | CLOSE, &1000_u16.to_be_bytes());
    assert_eq!(client.closed(), 1000);
}

#[test]
fn what_breaks_the_protocol_is_closed_with_the_code_that_says_so() {
    let server = Server::start(&[]);
    let frame = |first: u8, payload: &[u8]| (first, payload.to_vec());
    let close = |code: u16| code.to_be_bytes().to_vec();
    let cases: Vec<(&str, Vec<Frame>, u16)> = vec![
        ("reserved bit 1", vec![frame(FIN | 0x40 | TEXT, b"a")], 1002),
        ("reserved bits 2 and 3", vec![frame(FIN | 0x30 | PING, b"")], 1002),
        ("a reserved kind of message", vec![frame(FIN | 3, b"")], 1002),
        ("a reserved kind of control frame", vec![frame(FIN | 0xb, b"")], 1002),
        ("a control frame in pieces", vec![frame(PING, b"a")], 1002),
        ("a control frame that is too long", vec![frame(FIN | PING, &[0; 126])], 1002),
        ("a piece of nothing", vec![frame(FIN, b"a")], 1002),
        ("a message inside another", vec![frame(TEXT, b"a"), frame(FIN | TEXT, b"b")], 1002),
        ("text that is not UTF-8", vec![frame(FIN | TEXT, b"\xce\xba\xed\xa0\x80")], 1007),
        ("text beyond the last character", vec![frame(TEXT, b"a"), frame(FIN, b"\xf4\x90\x80\x80")], 1007),
        ("text that ends inside a character", vec![frame(FIN | TEXT, b"\xce")], 1007),
        ("a close frame of one byte", vec![frame(FIN | CLOSE, b"\x03")], 1002),
        (
            "a close frame that is too long",
            vec![frame(FIN | CLOSE, &[close(1000), vec![b'a'; 124]].concat())],
            1002,
        ),
        ("a code that must not be sent", vec![frame(FIN | CLOSE, &close(1005))], 1002),
        ("a code that means nothing", vec![frame(FIN | CLOSE, &close(999))], 1002),
        ("a reason that is not UTF-8", vec![frame(FIN | CLOSE, &[close(1000), vec![0xff]].concat())], 1007),
    ];
    for (what, frames, code) in cases {
        let mut client = Client::connect(&server);
        // What came before is answered all the same.
        client.send(FIN | TEXT, b"before");
        frames.iter().for_each(|(first, payload)| client.send(*first, payload));
        client.is_understood();
        assert_eq!(client.closed(), code, "{what}");
    }
    // Not masked, as only servers do.
    let mut client = Client::connect(&server);
    client.raw(&[FIN | TEXT, 1, b'a']);
    assert_eq!(client.closed(), 1002);
    // Longer than anything that is taken, in its announcement, and in the sum of its pieces.
    let mut client = Client::connect(&server);
    client.raw(&[&[FIN | BINARY, 0xff][..], &u64::MAX.to_be_bytes(), &[0; 4]].concat());
    assert_eq!(client.closed(), 1009);
    let mut client = Client::connect(&server);
    client.raw(&[&[FIN | BINARY, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat());
    assert_eq!(client.closed(), 1009);
    let mut client = Client::connect(&server);
    client.send(BINARY, &[0; 1 << 20]);
    (0..16).for_each(|_| client.send(0, &[0; 1 << 20]));
    assert_eq!(client.closed(), 1009);
    assert_eq!(server.metric("endort_limit_hits_total{bound=\"message_bytes\"}"), 3.0);
    // A code of its own kind is given back.
    for code in [1000_u16, 1001, 3000, 4999] {
        let mut client = Client::connect(&server);
        client.send(FIN | CLOSE, &close(code));
        assert_eq!(client.closed(), code);
    }
    assert_eq!(server.get("/healthz").status, 200);
}

#[test]
fn the_server_that_stops_says_so_to_every_session() {
    let server = Server::start(&["--room", "or-1=synthetic:64x64@10", "--room", "or-2=push"]);
    server.wait_for("or-1", |room| room["state"] == "running");
    let mut sessions = vec![("analyses", Client::connect(&server))];
    for (what, query) in
        [("watches", "?room=or-1"), ("sees", "?room=or-1&pictures=jpeg"), ("feeds", "?room=or-2&push=true")]
    {
        sessions.push((what, Client::open(server.connect(), query)));
    }
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(server.process() as i32, libc::SIGTERM) };
    for (what, client) in sessions {
        assert_eq!(client.ended().0, 1001, "{what}");
    }
}

#[test]
fn a_room_that_ends_says_so_and_one_that_takes_no_pictures_too() {
    let server = Server::start(&["--room", "or-1=synthetic:64x64@10", "--room", "or-2=push"]);
    server.wait_for("or-1", |room| room["state"] == "running");
    let mut watcher = Client::open(server.connect(), "?room=or-1");
    watcher.send(FIN | BINARY, &png(32, 24));
    assert_eq!(watcher.ended().0, 1003);
    for (room, query) in [("or-1", "?room=or-1"), ("or-2", "?room=or-2&push=true")] {
        let client = Client::open(server.connect(), query);
        server.post(&format!("{API}/video/stop-stream"), &json!({ "room": room })).status(200);
        assert_eq!(client.ended().0, 1000, "{room}");
    }
}

/// Whoever sends no pictures has no use for large messages, and an unfinished one is held in memory.
#[test]
fn a_watcher_cannot_have_large_messages_held_for_it() {
    let server = Server::start(&["--room", "or-1=synthetic:64x64@10", "--room", "or-2=push"]);
    let send = |query: &str| {
        let mut client = Client::open(server.connect(), query);
        client.send(BINARY, &[0; 64 << 10]);
        (0..15).for_each(|_| client.send(0, &[0; 64 << 10]));
        client
    };
    assert_eq!(send("?room=or-1").ended().0, 1009);
    let mut client = Client::open(server.connect(), "?room=or-1");
    client.raw(&[&[BINARY, 0xff][..], &(1_u64 << 20).to_be_bytes(), &[0; 4]].concat());
    assert_eq!(client.ended().0, 1009);
    assert_eq!(server.metric("endort_limit_hits_total{bound=\"message_bytes\"}"), 2.0);
    // A text that is too long to be read is answered, as anybody's is.
    let mut client = Client::open(server.connect(), "?room=or-1");
    client.send(FIN | TEXT, &[b'?'; 200 << 10]);
    while client.json()["type"] != "error" {}
    // Whoever is a room's camera sends what it likes, up to the bound on pictures.
    let mut camera = send("?room=or-2&push=true");
    camera.send(FIN, b"no picture");
    while camera.json()["type"] != "error" {}
}

/// An AI that never answers is started again some times; then whoever waits for it is let go.
#[test]
fn an_analysis_that_has_failed_for_good_ends_the_session() {
    let server = Server::start(&["--runtime", "scripted:error@0"]);
    let mut client = Client::connect(&server);
    let begin = Instant::now();
    let mut sent = 0;
    let (code, after) = loop {
        client.send(FIN | BINARY, &png(64, 48));
        sent += 1;
        let (first, payload) = client.next().expect("an answer");
        if first == FIN | CLOSE {
            break (u16::from_be_bytes([payload[0], payload[1]]), sent);
        }
        let answer: Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!((&answer["type"], &answer["reason"]), (&"dropped".into(), &"not_analysed".into()));
        assert_eq!(answer["frame_id"], sent - 1);
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(10));
    };
    assert_eq!(code, 1011);
    assert!(after > 5, "{after} pictures");
    assert!(server.log().contains("failed 5 times"), "{}", server.log());
    // The next session has another AI.
    assert_eq!(server.get("/healthz").status, 200);
    drop(Client::connect(&server));
}

#[test]
fn what_a_client_is_told_about_a_message_does_not_grow_with_it() {
    let server = Server::start(&["--room", "or-1=synthetic:64x64@10"]);
    let word = |length: usize| json!({ "type": "x".repeat(length) }).to_string();
    let model = json!({ "type": "configure", "model": "m".repeat(5000) }).to_string();
    for text in [word(50_000), word(100_000), word(10 << 20), model] {
        let mut client = Client::connect(&server);
        client.send(FIN | TEXT, text.as_bytes());
        let (first, answer) = client.next().unwrap();
        assert_eq!(first, FIN | TEXT);
        assert!(answer.len() < 1000, "{} bytes", answer.len());
        assert!(answer.starts_with(b"{\"type\":\"error\""));
        // The session goes on.
        client.send(FIN | TEXT, b"{}");
        client.is_understood();
    }
    assert_eq!(server.metric("endort_limit_hits_total{bound=\"message_bytes\"}"), 2.0);
}

//! Bounds of the front door, made small enough to be met: what a client is told, and the counter that tells of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use endort::Error;
use endort::server::auth::{Origins, Tokens};
use endort::server::limits::Limits;
use endort::server::log::Log;
use endort::server::{Defaults, Device, Options, Server};
use serde_json::{Value, json};

use crate::program::Sandbox;
use crate::serve::{self, API, Answer};
use crate::serve_door::descriptors;
use crate::serve_websocket::{BINARY, Client, FIN, TEXT, masked};

/// A server within this process; what it is told to load does not exist.
pub struct Small {
    server: Option<Server>,
    address: SocketAddr,
}

impl Small {
    fn start(change: impl FnOnce(&mut Limits)) -> Self {
        Self::with_device(change, Arc::new(|| Ok(Value::Null)))
    }

    /// A server that answers this to who asks about the device.
    fn with_device(change: impl FnOnce(&mut Limits), device: Device) -> Self {
        Self::with_options(|options| {
            change(&mut options.limits);
            options.device = device;
        })
    }

    /// A server that is started in another way.
    pub fn with_options(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            listen: "127.0.0.1:0".to_owned(),
            tls: None,
            tokens: Tokens::none(),
            origins: Origins { allowed: vec![], hosts: vec![] },
            limits: Limits::default(),
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
        change(&mut options);
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

    pub fn get(&self, path: &str) -> Answer {
        Answer::read(&mut self.send(&format!("GET {API}{path}\r\nConnection: close\r\n\r\n")))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let body = body.to_string();
        let head = format!("POST {API}{path}\r\nContent-Type: application/json\r\nConnection: close\r\n");
        Answer::read(&mut self.send(&format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())))
    }

    /// Waits until a bound was hit.
    fn wait_for_hit(&self, bound: &str) {
        let begin = Instant::now();
        while self.hits(bound) == 0 {
            assert!(begin.elapsed() < PATIENCE, "{bound} was not hit");
            std::thread::sleep(Duration::from_millis(20));
        }
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

/// Longest time for what happens at once on a box that has nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

const DEVICE: &str = "GET /api/v1/realtime/edge/device-info\r\n\r\n";
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

/// A session on a server that takes one; another is refused.
fn the_only_session(small: &Small) -> TcpStream {
    let mut first = small.send(&upgrade());
    Answer::read(&mut first).status(101);
    let second = Answer::read(&mut small.send(&upgrade()));
    assert_eq!(second.header("retry-after"), Some("5"));
    second.problem(503);
    first
}

#[test]
fn one_session_too_many_is_refused_and_told_when_to_come_again() {
    let small = Small::start(|limits| limits.websockets = 1);
    let _first = the_only_session(&small);
    assert_eq!(small.hits("websockets"), 1);
}

#[test]
fn one_client_too_many_that_sends_pictures_is_refused_and_the_place_is_given_back() {
    let small = Small::start(|limits| limits.senders = 1);
    let first = the_only_session(&small);
    assert_eq!((small.hits("senders"), small.hits("websockets")), (1, 0));
    drop(first);
    let begin = Instant::now();
    while Answer::read(&mut small.send(&upgrade())).status != 101 {
        assert!(begin.elapsed() < PATIENCE);
    }
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
fn pictures_that_are_sent_to_a_session_have_their_share_of_it_too() {
    let small = Small::start(|limits| limits.body_memory = 10_000);
    small.post("/video/start-stream", &json!({ "room": "a", "source": "push" })).status(201);
    let (large, little) = (vec![0; 20_000], serve::png(16, 16));
    assert!(little.len() < 1000);
    for (number, query) in ["", "?room=a&push=true"].into_iter().enumerate() {
        let mut client = Client::open(small.connect(), query);
        let mut send = |picture: &[u8]| {
            client.send(FIN | BINARY, picture);
            loop {
                let message = client.json();
                if ["result", "dropped", "error"].contains(&message["type"].as_str().unwrap()) {
                    break message;
                }
            }
        };
        let refused = send(&large);
        assert_eq!((&refused["type"], &refused["frame_id"]), (&"error".into(), &0.into()));
        assert!(refused["detail"].as_str().unwrap().contains("too many"), "{refused}");
        // What was taken is given back: more pass than it holds at once.
        for frame in 1..40 {
            let answer = send(&little);
            assert_eq!((&answer["frame_id"], answer["type"] == "error"), (&frame.into(), false), "{answer}");
        }
        assert_eq!(small.hits("body_memory"), number as u64 + 1);
    }
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
    for room in ["b", "a"] {
        small.post("/video/stop-stream", &json!({ "room": room })).status(200);
    }
    let names = || {
        let rooms = small.get("/video/streams").json()["rooms"].clone();
        rooms
            .as_array()
            .unwrap()
            .iter()
            .map(|room| room["room"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(), ["a", "b"]);
    start("c").status(201);
    assert_eq!(names(), ["a", "c"], "the one that ended first");
}

#[test]
fn as_many_rooms_as_there_may_be_start_at_once() {
    let small = Small::start(|limits| limits.rooms = 3);
    let codes = std::thread::scope(|scope| {
        let start = |room: usize| {
            let wanted = json!({ "room": format!("r{room}"), "source": "synthetic:64x64@10" });
            small.post("/video/start-stream", &wanted).status
        };
        let starts: Vec<_> = (0..8).map(|room| scope.spawn(move || start(room))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
    });
    let started = codes.iter().filter(|code| **code == 201).count();
    assert_eq!((started, codes.iter().filter(|code| **code == 503).count()), (3, 5), "{codes:?}");
}

#[test]
fn a_head_has_a_time_from_its_first_byte() {
    let small = Small::start(|limits| limits.head_time = Duration::from_millis(300));
    // It says nothing for longer than that first: this is another bound.
    let mut slow = small.connect();
    std::thread::sleep(Duration::from_millis(500));
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHo").unwrap();
    Answer::read(&mut slow).problem(408);
    assert_eq!(small.hits("head_time"), 1);
}

#[test]
fn who_does_not_read_an_answer_in_time_does_not_get_the_rest() {
    const LENGTH: usize = 48 << 20;
    let device: Device = Arc::new(|| Ok(Value::String("x".repeat(LENGTH))));
    let small = Small::with_device(|limits| limits.write_time = Duration::from_secs(1), device);
    let mut lazy = small.send(DEVICE);
    small.wait_for_hit("write_time");
    let mut rest = Vec::new();
    let _ = lazy.read_to_end(&mut rest);
    assert!(rest.starts_with(b"HTTP/1.1 200 ") && rest.len() < LENGTH, "{} bytes", rest.len());
    Answer::read(&mut small.send(HEALTH)).status(200);
}

#[test]
fn a_request_that_waits_too_long_for_its_turn_is_told_to_come_again() {
    let (leave, wait) = mpsc::channel::<()>();
    let (entered, began) = mpsc::channel();
    let (wait, entered) = (Mutex::new(wait), Mutex::new(entered));
    let device: Device = Arc::new(move || {
        entered.lock().unwrap().send(()).unwrap();
        let _ = wait.lock().unwrap().recv();
        Ok(Value::Null)
    });
    let change = |limits: &mut Limits| {
        limits.requests = 1;
        limits.turn_time = Duration::from_millis(100);
    };
    let small = Small::with_device(change, device);
    let mut first = small.send(DEVICE);
    began.recv_timeout(PATIENCE).unwrap();
    let second = Answer::read(&mut small.send(HEALTH));
    assert_eq!(second.header("retry-after"), Some("1"));
    second.problem(503);
    leave.send(()).unwrap();
    Answer::read(&mut first).status(200);
    assert_eq!(small.hits("requests"), 1);
}

/// A client that sends and reads nothing: what waits for it is bounded, and so is the time that it waits.
#[test]
fn a_session_that_takes_nothing_is_held_back_or_loses_the_oldest_and_is_ended() {
    let small = Small::start(|limits| limits.write_time = Duration::from_secs(3));
    let mut client = Client::open(small.connect(), "");
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    let texts = masked(FIN | TEXT, "?".repeat(400).as_bytes()).repeat(100);
    let begin = Instant::now();
    while client.0.write_all(&texts).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
    }
    assert_eq!((small.hits("viewer_queue"), small.hits("write_time")), (0, 1), "held back");
    // A room goes on whatever its viewers do.
    let room = json!({ "room": "a", "source": "synthetic:64x64@10", "model": "none" });
    small.post("/video/start-stream", &room).status(201);
    let mut client = Client::open(small.connect(), "?room=a");
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    let begin = Instant::now();
    while client.0.write_all(&texts).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
    }
    assert!(small.hits("viewer_queue") > 0);
    assert_eq!(small.hits("write_time"), 2);
    small.post("/video/stop-stream", &json!({ "room": "a" })).status(200);
    // Pictures that nobody fetches: the newest waits, and the session ends all the same.
    let mut client = Client::open(small.connect(), "?overlay=jpeg");
    client.0.set_write_timeout(Some(PATIENCE)).unwrap();
    let picture = masked(FIN | BINARY, &noise(1024));
    let begin = Instant::now();
    while client.0.write_all(&picture).is_ok() {
        assert!(begin.elapsed() < PATIENCE, "it is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(small.hits("write_time"), 3);
    let begin = Instant::now();
    while !Answer::read(&mut small.send("GET /metrics\r\n\r\n")).text().contains("endort_websockets 0\n") {
        assert!(begin.elapsed() < PATIENCE);
    }
}

/// A picture that does not compress, as JPEG.
fn noise(side: u32) -> Vec<u8> {
    let mut random = crate::random::Random(5);
    let pixels = image::RgbImage::from_fn(side, side, |_, _| {
        let [red, green, blue, ..] = random.next().to_le_bytes();
        image::Rgb([red, green, blue])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

/// Without descriptors nobody new comes in; whoever is there is answered, and once there are some it goes on.
#[test]
fn a_server_without_descriptors_goes_on_once_there_are_some() {
    let usual = {
        let server = serve::Server::start(&[]);
        server.get("/healthz").status(200);
        descriptors(server.process())
    };
    let limit = |run: crate::program::Run| run.with_descriptors(usual + 6);
    let server = serve::Server::start_as(Sandbox::new(), &[], limit);
    let ask = |stream: &mut TcpStream, path: &str| {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        Answer::read(stream).status(200).text()
    };
    let (mut inside, mut upgrading) = (server.connect(), server.connect());
    ask(&mut inside, "/healthz");
    ask(&mut upgrading, "/healthz");
    let hits = |stream: &mut TcpStream| {
        let metrics = ask(stream, "/metrics");
        let name = "endort_limit_hits_total{bound=\"descriptors\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse::<u64>().unwrap()
    };
    let mut held = Vec::new();
    let begin = Instant::now();
    while hits(&mut inside) == 0 {
        assert!(begin.elapsed() < PATIENCE, "{} are held", held.len());
        held.push(server.connect());
        std::thread::sleep(Duration::from_millis(20));
    }
    // A session needs descriptors of its own: it is refused while it can still be told.
    let before = hits(&mut inside);
    let request = upgrade().replacen("\r\n", " HTTP/1.1\r\nHost: localhost\r\n", 1);
    upgrading.write_all(request.as_bytes()).unwrap();
    let refused = Answer::read(&mut upgrading);
    assert_eq!(refused.header("retry-after"), Some("1"));
    refused.problem(503);
    assert!(hits(&mut inside) > before);
    drop((held, upgrading));
    server.get("/healthz").status(200);
    assert!(server.log().contains("accept failed"), "{}", server.log());
    let begin = Instant::now();
    while descriptors(server.process()) > usual + 2 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}

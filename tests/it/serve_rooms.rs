//! Live rooms: started, watched, stalled, failed, stopped.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::media_clips::{clip, ffmpeg};
use crate::program::Sandbox;
use crate::serve::{API, Server, png};
use crate::serve_websocket::{BINARY, Client, FIN, TEXT, masked};

fn start(server: &Server, room: &str, source: &str, more: Value) -> crate::serve::Answer {
    let mut body = json!({ "room": room, "source": source });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post(&format!("{API}/video/start-stream"), &body)
}

#[test]
fn a_room_is_started_watched_and_stopped() {
    let server = Server::start(&[]);
    let started =
        start(&server, "or-1", "synthetic:160x120@30", json!({ "target_fps": 25, "max_latency_ms": 150 }));
    let started = started.status(201);
    assert_eq!(started.header("location"), Some("/rooms/or-1"));
    let started = started.json();
    assert_eq!((&started["room"], &started["status"]), (&"or-1".into(), &"starting".into()));
    let room = server.wait_for("or-1", |room| room["figures"]["frames_processed"].as_u64() > Some(60));
    assert_eq!((&room["state"], &room["model"]), (&"running".into(), &"polyp-lite".into()));
    assert_eq!((&room["width"], &room["max_latency_ms"]), (&160.into(), &150.0.into()));
    assert_eq!(room["stream_id"], started["stream_id"]);
    let fps = room["figures"]["fps"].as_f64().unwrap();
    assert!((20.0..40.0).contains(&fps), "{fps}");
    start(&server, "or-1", "synthetic", json!({})).problem(409);

    let stats = server.get(&format!("{API}/video/stats?room=or-1")).status(200).json();
    assert_eq!(stats["target_fps"], 25.0);
    for key in ["fps", "frames_processed", "frames_dropped", "violations", "violation_rate"] {
        assert!(stats[key].is_number(), "{key}: {stats}");
    }
    for key in ["avg", "p50", "p95", "p99", "max"] {
        assert!(stats["latency_ms"][key].as_f64() > Some(0.0), "{key}: {stats}");
        assert!(stats["stages_ms"]["preprocess"][key].is_number(), "{key}: {stats}");
    }
    assert!(stats["rooms"]["or-1"].is_object());
    server.get(&format!("{API}/video/stats?room=or-9")).problem(404);

    let metrics = server.get("/metrics").text();
    for sample in [
        "endort_room_state{room=\"or-1\",state=\"running\"} 1",
        "endort_room_latency_seconds_bucket{room=\"or-1\",le=\"+Inf\"}",
        "endort_room_stage_seconds_count{room=\"or-1\",stage=\"inference\"}",
        "endort_build_info{version=",
    ] {
        assert!(metrics.contains(sample), "{sample} is not in\n{metrics}");
    }
    let stop = format!("{API}/video/stop-stream");
    let last = server.post(&stop, &json!({ "stream_id": started["stream_id"] })).status(200).json();
    assert!(last["frames_processed"].as_u64() > Some(60), "{last}");
    assert_eq!(last["rooms"]["or-1"]["state"], "stopped");
    server.post(&stop, &json!({ "room": "or-2" })).problem(404);
    server.post(&stop, &json!({})).problem(422);
    start(&server, "or-1", "synthetic:160x120@30", json!({})).status(201);
}

#[test]
fn what_cannot_be_a_room_is_told_at_once() {
    let server = Server::start(&[]);
    server.sandbox.write("films/a.mp4", "");
    server.sandbox.write("films/b.mp4", "");
    for (room, source, more, status) in [
        ("", "push", json!({}), 422),
        ("a/b", "push", json!({}), 422),
        ("..", "push", json!({}), 422),
        ("a", "", json!({}), 422),
        ("a", "-", json!({}), 422),
        ("a", "synthetic:1x1", json!({}), 422),
        ("a", "push", json!({ "target_fps": 0 }), 422),
        ("a", "push", json!({ "max_latency_ms": 1e9 }), 422),
        ("a", "push", json!({ "buffer_size": 0 }), 422),
        ("a", "push", json!({ "modell": "none" }), 422),
        ("a", "push", json!({ "target_fps": "30" }), 422),
        // Names that lead nowhere on this box.
        ("a", "gopher://x", json!({}), 404),
        ("a", "/nowhere/exam.mp4", json!({}), 404),
        ("a", "films", json!({}), 404),
        ("a", "films/*.mp4", json!({}), 404),
        ("a", "push", json!({ "model": "polyp-heavy" }), 404),
        ("a", "push", json!({ "model": "films" }), 404),
    ] {
        let detail = start(&server, room, source, more.clone()).problem(status);
        assert!(!detail.is_empty(), "{room} {source} {more}");
    }
    let path = format!("{API}/video/start-stream");
    server.ask("POST", &path, &["Content-Type: application/json"], b"{").problem(400);
    server.ask("POST", &path, &["Content-Type: text/plain"], b"{}").problem(415);
    assert_eq!(server.get(&format!("{API}/video/streams")).json()["rooms"], json!([]));
}

#[test]
fn a_stalled_ai_is_noticed_marked_and_restarted_while_the_picture_goes_on() {
    // Frame 40 of each engine takes eight seconds; the engine that replaces it begins anew.
    let server = Server::start(&["--runtime", "scripted:stall=8s@40", "--room", "or-1=synthetic:160x120@30"]);
    let stalled = server.wait_for("or-1", |room| room["ai_off"] == true);
    let noticed = Instant::now();
    assert_eq!(stalled["state"], "stalled");
    let before = stalled["figures"]["frames_processed"].as_u64();
    server.wait_for("or-1", |room| room["figures"]["frames_processed"].as_u64() > before.map(|n| n + 5));
    let back = server.wait_for("or-1", |room| room["ai_off"] == false && room["state"] == "running");
    assert!(noticed.elapsed() < Duration::from_secs(5), "it did not wait for the stuck one");
    assert!(back["ai_restarts"].as_u64() >= Some(1));
    assert!(server.metric("endort_room_ai_restarts_total{room=\"or-1\"}") >= 1.0);
}

#[test]
fn a_room_whose_ai_keeps_failing_is_failed_and_the_others_go_on() {
    let server = Server::start(&["--runtime", "scripted:panic@3", "--room", "bad=synthetic:160x120@30"]);
    start(&server, "good", "synthetic:160x120@30", json!({ "model": "none" })).status(201);
    let failed = server.wait_for("bad", |room| room["state"] == "failed");
    assert!(failed["detail"].as_str().unwrap().contains("failed 5 times in 60 s"), "{failed}");
    assert_eq!(failed["ai_off"], true);
    let before = failed["figures"]["frames_processed"].as_u64();
    server.wait_for("bad", |room| room["figures"]["frames_processed"].as_u64() > before);
    // Alerts tell this from a room without pictures.
    assert_eq!(server.metric("endort_room_source_up{room=\"bad\"}"), 1.0);
    let good = server.room("good");
    assert_eq!((&good["state"], &good["ai_restarts"]), (&"running".into(), &0.into()));
}

#[test]
fn a_source_that_keeps_failing_fails_its_room_alone_and_a_recording_ends() {
    let sandbox = Sandbox::new();
    sandbox.write("broken.mp4", b"\0\0\0\x18ftypmp42 and nothing more");
    let rooms = ["--room", "bad=broken.mp4", "--room", "short=synthetic:64x64@30,frames=20"];
    let server = Server::start_in(sandbox, &rooms);
    let short = server.wait_for("short", |room| room["state"] == "stopped");
    assert_eq!(
        (&short["detail"], &short["figures"]["frames_processed"]),
        (&"the source has ended".into(), &20.into())
    );
    let bad = server.wait_for("bad", |room| room["state"] == "failed");
    assert!(bad["detail"].as_str().unwrap().contains("failed 5 times in 60 s"), "{bad}");
    start(&server, "bad", "synthetic:64x64@30", json!({})).status(201);
    server.wait_for("bad", |room| room["state"] == "running");
}

#[test]
fn a_recording_that_breaks_off_is_not_played_again() {
    let sandbox = Sandbox::new();
    let (whole, part) = (sandbox.file("whole.mp4"), sandbox.file("part.mp4"));
    let from = clip("h264_audio_long.mp4");
    let copy = ["-c", "copy", "-movflags", "+faststart", whole.to_str().unwrap()];
    ffmpeg([&["-i", from.to_str().unwrap()], &copy[..]].concat());
    let bytes = std::fs::read(&whole).unwrap();
    std::fs::write(&part, &bytes[..bytes.len() * 8 / 10]).unwrap();
    let server = Server::start_in(sandbox, &["--record", "kept"]);
    start(&server, "or-1", part.to_str().unwrap(), json!({})).status(201);
    let room = server.wait_for("or-1", |room| room["state"] == "failed");
    assert!(room["detail"].as_str().unwrap().contains("breaks off"), "{room}");
    assert_eq!(room["reconnects"], 0);
    let frames = room["figures"]["frames_processed"].as_u64().unwrap();
    assert!((30..=90).contains(&frames), "{room}");
    assert_eq!(server.sandbox.names("kept").len(), 2);
}

#[test]
fn a_camera_that_is_not_there_is_waited_for_and_its_password_stays_secret() {
    let camera = "or-1=rtsp://admin:hunter2@127.0.0.1:1/live?pwd=hunter2";
    let server = Server::start(&["--room", camera, "--log-format", "json"]);
    let room = server
        .wait_for("or-1", |room| room["state"] == "reconnecting" && room["reconnects"].as_u64() > Some(1));
    assert_eq!(room["source"], "rtsp://127.0.0.1:1/live?pwd=***");
    let told = format!("{room} {} {}", server.get("/metrics").text(), server.log());
    assert!(!told.contains("hunter2") && !told.contains("admin"), "{told}");
    // Events are documents, one to a line, and requests have numbers.
    let log = server.log();
    let events: Vec<Value> = log
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.iter().any(|event| event["event"] == "room_state" && event["room"] == "or-1"), "{log}");
    let request = events.iter().find(|event| event["event"] == "request").unwrap();
    assert!(request["request_id"].as_str().is_some_and(|id| id.len() == 16), "{request}");
    let (code, took, _) = server.terminate();
    assert_eq!(code, Some(0));
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_room_that_is_started_again_is_as_it_was_where_the_request_says_nothing_else() {
    let server = Server::start(&["--record", "kept", "--audit-log", "audit.jsonl"]);
    let run = |source: &str, more: Value| {
        start(&server, "or-1", source, more).status(201);
        let room = server.wait_for("or-1", |room| room["state"] == "stopped");
        let audit = server.sandbox.read("audit.jsonl");
        let mut events = audit.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let started = events.rfind(|event| event["event"] == "room_started").unwrap();
        assert_eq!(started["stream_id"], room["stream_id"]);
        assert_eq!(started["deidentify"], room["deidentified"]);
        assert_eq!(started["record"], room["recording"].is_object());
        json!([
            room["deidentified"],
            started["record"],
            room["model"],
            room["figures"]["target_fps"],
            room["max_latency_ms"],
            started["buffer_size"],
        ])
    };
    let source = "synthetic:64x64@30,frames=10";
    let said = json!({
        "deidentify": true,
        "record": false,
        "model": "none",
        "target_fps": 25,
        "max_latency_ms": 150,
        "buffer_size": 3,
    });
    let first = json!([true, false, "none", 25.0, 150.0, 3]);
    assert_eq!(run(source, said), first);
    // As its page starts it, more than once.
    assert_eq!(run(source, json!({})), first);
    assert_eq!(run(source, json!({})), first);
    let said = json!({ "deidentify": false, "record": true, "max_latency_ms": 300 });
    let changed = json!([false, true, "none", 25.0, 300.0, 3]);
    assert_eq!(run(source, said), changed);
    assert_eq!(run(source, json!({})), changed);
    // Another source is as the server says, except that nothing is shown that was kept back.
    assert_eq!(run(source, json!({ "deidentify": true })), json!([true, true, "none", 25.0, 300.0, 3]));
    let other = "synthetic:64x64@30,frames=11";
    assert_eq!(run(other, json!({})), json!([true, true, "polyp-lite", 30.0, 200.0, 5]));
    assert_eq!(run(source, json!({ "deidentify": false }))[0], false);
}

#[test]
fn a_source_that_is_named_as_it_is_shown_is_opened_with_its_credentials() {
    let camera = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!("http://{}/live?pwd=hunter2", camera.local_addr().unwrap());
    let (tell, asked) = mpsc::channel();
    // A camera that only listens to what it is asked for.
    std::thread::spawn(move || {
        for mut stream in camera.incoming().filter_map(Result::ok) {
            let mut head = [0; 2048];
            let length = stream.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            if tell.send(head).is_err() {
                return;
            }
        }
    });
    let server = Server::start(&[]);
    start(&server, "or-1", &source, json!({})).status(201);
    let patience = Duration::from_secs(20);
    assert!(asked.recv_timeout(patience).unwrap().starts_with("GET /live?pwd=hunter2 "));
    let stop = json!({ "room": "or-1" });
    server.post(&format!("{API}/video/stop-stream"), &stop).status(200);
    while asked.try_recv().is_ok() {}
    let shown = server.room("or-1")["source"].as_str().unwrap().to_owned();
    assert!(shown.ends_with("/live?pwd=***"), "{shown}");
    start(&server, "or-1", &shown, json!({})).status(201);
    assert!(asked.recv_timeout(patience).unwrap().starts_with("GET /live?pwd=hunter2 "));
    assert_eq!(server.room("or-1")["source"], shown);
}

/// Serves one file over HTTP, to each who connects, until the test ends.
fn serve_file(listener: TcpListener, bytes: Vec<u8>) {
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let _ = stream.read(&mut [0; 2048]);
            let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len());
            let _ = stream.write_all(header.as_bytes()).and_then(|()| stream.write_all(&bytes));
        }
    });
}

#[test]
fn a_camera_that_has_not_come_yet_is_waited_for_longer_than_a_source_may_fail() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let web = format!("web=http://{free}/exam.mkv");
    let server = Server::start(&["--room", "plug=/dev/video63", "--room", &web]);
    for name in ["plug", "web"] {
        let room = server.wait_for(name, |room| room["reconnects"].as_u64() >= Some(5));
        assert_eq!(room["state"], "reconnecting", "{room}");
        assert!(room["detail"].is_string(), "{room}");
    }
    serve_file(TcpListener::bind(free).unwrap(), std::fs::read(clip("h264_bframes.mkv")).unwrap());
    let room = server.wait_for("web", |room| room["state"] == "stopped");
    assert_eq!(room["detail"], "the source has ended");
    assert!(room["figures"]["frames_processed"].as_u64() > Some(0), "{room}");
    // Neither a pause nor an attempt holds up whoever stops it.
    let stop = json!({ "room": "plug" });
    let last = server.post(&format!("{API}/video/stop-stream"), &stop).status(200).json();
    assert_eq!(last["rooms"]["plug"]["state"], "stopped", "{last}");
}

/// The AI takes four seconds for a room's first frame, and the room ends with it.
const SLOW_TO_END: [&str; 2] = ["--runtime", "scripted:stall=4s@0"];

#[test]
fn a_room_that_is_being_stopped_is_not_over_yet_and_tells_its_viewers_when_it_is() {
    let server = Server::start(&[&SLOW_TO_END[..], &["--room", "or-1=synthetic:64x64@30"]].concat());
    server.wait_for("or-1", |room| room["figures"]["frames_processed"].as_u64() > Some(3));
    let watcher = Client::open(server.connect(), "?room=or-1");
    let stop = || {
        let stop = json!({ "room": "or-1" });
        server.post(&format!("{API}/video/stop-stream"), &stop).status(200).json()
    };
    let [first, second] = std::thread::scope(|scope| {
        let first = scope.spawn(stop);
        std::thread::sleep(Duration::from_millis(300));
        start(&server, "or-1", "synthetic:64x64@30", json!({})).problem(409);
        let second = scope.spawn(stop);
        [first, second].map(|stopping| stopping.join().unwrap())
    });
    assert_eq!(first["rooms"]["or-1"]["state"], "stopped", "{first}");
    assert_eq!(second["rooms"]["or-1"]["state"], "stopped", "{second}");
    assert_eq!(first["frames_processed"], second["frames_processed"], "the final figures");
    let (code, before) = watcher.ended();
    assert_eq!(code, 1000);
    let texts = before.iter().filter(|(first, _)| *first == FIN | TEXT);
    let mut messages = texts.map(|(_, text)| serde_json::from_slice::<Value>(text).unwrap());
    let last = messages.rfind(|message| message["type"] == "room").unwrap();
    assert_eq!(last["state"], "stopped", "{last}");
    start(&server, "or-1", "synthetic:64x64@30", json!({})).status(201);
}

#[test]
fn a_server_that_ends_while_a_room_is_being_stopped_completes_its_recording() {
    let args = [&SLOW_TO_END[..], &["--record", "kept", "--room", "or-1=synthetic:64x64@30"]].concat();
    let server = Server::start(&args);
    server.wait_for("or-1", |room| room["recording"]["frames"].as_u64() > Some(3));
    std::thread::scope(|scope| {
        let stop = json!({ "room": "or-1" });
        let server = &server;
        scope.spawn(move || server.post(&format!("{API}/video/stop-stream"), &stop));
        std::thread::sleep(Duration::from_millis(300));
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(server.process() as i32, libc::SIGTERM) };
    });
    let begin = Instant::now();
    while server.sandbox.names("kept").iter().any(|name| name.ends_with(".part")) {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(server.sandbox.names("kept").len(), 2);
}

#[test]
fn pictures_that_wait_for_a_room_that_is_stopped_are_let_go() {
    let server = Server::start(&["--room", "or-1=push"]);
    let mut camera = Client::open(server.connect(), "?room=or-1&push=true");
    camera.0.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let pictures = masked(FIN | BINARY, &png(512, 384)).repeat(20);
    std::thread::scope(|scope| {
        scope.spawn(move || while camera.0.write_all(&pictures).is_ok() {});
        server.wait_for("or-1", |room| room["figures"]["frames_processed"].as_u64() > Some(5));
        let stop = json!({ "room": "or-1" });
        server.post(&format!("{API}/video/stop-stream"), &stop).status(200);
    });
    let begin = Instant::now();
    while server.metric("endort_body_memory_bytes") > 0.0 {
        assert!(begin.elapsed() < Duration::from_secs(10), "{}", server.room("or-1"));
        std::thread::sleep(Duration::from_millis(20));
    }
}

//! Live rooms: started, watched, stalled, failed, stopped.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::program::Sandbox;
use crate::serve::{API, Server};

fn start(server: &Server, room: &str, source: &str, more: serde_json::Value) -> crate::serve::Answer {
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
    let events: Vec<serde_json::Value> = log
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

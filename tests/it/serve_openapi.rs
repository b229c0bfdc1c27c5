//! The OpenAPI document beside what is answered, type by type and field by field.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::program::Sandbox;
use crate::schema::Document;
use crate::serve::{API, Answer, Server};
use crate::serve_websocket::{BINARY, Client, FIN, TEXT, masked};
use crate::small_model;

const PATIENCE: Duration = Duration::from_secs(60);

/// Types of requests: what is answered has none of their fields.
const ASKED: [&str; 3] = ["Control", "StartStream", "StopStream"];

/// Red on black: what the small model finds.
fn red() -> Vec<u8> {
    let pixels = image::RgbImage::from_fn(128, 96, |x, y| {
        let inside = (40..80).contains(&x) && (30..60).contains(&y);
        image::Rgb(if inside { [255, 0, 0] } else { [0, 0, 0] })
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Reads text messages, each held against the document, until one is as it should be.
#[track_caller]
fn messages(client: &mut Client, document: &Document, wanted: impl Fn(&Value) -> bool) -> Value {
    let begin = Instant::now();
    loop {
        let (first, payload) = client.next().expect("the session goes on");
        assert!(begin.elapsed() < PATIENCE, "the message does not come");
        if first != FIN | TEXT {
            continue;
        }
        let message: Value = serde_json::from_slice(&payload).unwrap();
        document.check(document.named("Message"), &message);
        if wanted(&message) {
            return message;
        }
    }
}

fn is(kind: &str) -> impl Fn(&Value) -> bool {
    move |message| message["type"] == kind
}

#[test]
fn the_document_describes_every_field_of_every_answer() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    sandbox.write("file", "no folder: nothing can be recorded below it");
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/colonoscopy-720p30.mp4");
    let coded = format!("coded={}", sample.display());
    let args = ["--model", "red.onnx", "--threads", "1", "--record", "file/below", "--room", &coded];
    let server = Server::start_in(sandbox, &args);
    let document = Document::new(server.get("/openapi.json").status(200).json());
    assert_eq!(document.json["openapi"], "3.1.0");
    let checked = |answer: Answer, method: &str, path: &str, status: u16| -> Value {
        let answer = answer.status(status);
        let kind = answer.header("content-type").unwrap().to_owned();
        let json = answer.json();
        document.check(document.answer(method, path, status, &kind), &json);
        json
    };
    let get = |path: &str, status: u16| checked(server.get(path), "GET", path, status);
    let post = |path: &str, body: Value, status: u16| {
        let path = format!("{API}/video/{path}");
        checked(server.post(&path, &body), "POST", &path, status)
    };

    for path in ["/healthz", "/readyz", "/session", "/openapi.json"] {
        get(path, 200);
    }
    get(&format!("{API}/edge/device-info"), 200);
    let problem = server.get(&format!("{API}/video/stats?room=nowhere"));
    checked(problem, "GET", &format!("{API}/video/stats"), 404);
    let process = format!("{API}/video/process-frame");
    let answer = server.ask("POST", &process, &["Content-Type: image/png"], &red());
    let record = checked(answer, "POST", &process, 200);
    assert_eq!(record["detections"].as_array().map(Vec::len), Some(1), "{record}");

    // A room, from its start to its end, with findings.
    post("start-stream", json!({ "room": "pushed", "source": "push" }), 201);
    let mut camera = Client::open(server.connect(), "?room=pushed&push=true");
    let findings = format!("{API}/rooms/pushed/findings");
    let begin = Instant::now();
    loop {
        camera.send(FIN | BINARY, &red());
        messages(&mut camera, &document, |message| message["frame_id"].is_u64());
        let documented = format!("{API}/rooms/{{room}}/findings");
        let seen = checked(server.get(&findings), "GET", &documented, 200);
        if seen["findings"].as_array().is_some_and(|seen| !seen.is_empty()) {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{}", server.room("pushed"));
    }
    drop(camera);
    get(&format!("{API}/video/stats"), 200);
    get(&format!("{API}/video/streams"), 200);
    post("stop-stream", json!({ "room": "pushed" }), 200);

    // Each kind of message, from whoever sends it.
    let mut client = Client::open(server.connect(), "?overlay=jpeg");
    messages(&mut client, &document, is("configured"));
    client.send(FIN | TEXT, b"{}");
    assert_eq!(messages(&mut client, &document, is("error"))["frame_id"], Value::Null);
    client.send(FIN | BINARY, b"no picture");
    assert_eq!(messages(&mut client, &document, is("error"))["frame_id"], 0);
    client.send(FIN | BINARY, &red());
    messages(&mut client, &document, is("result"));
    messages(&mut client, &document, is("picture"));
    // More at once than may wait.
    client.raw(&masked(FIN | BINARY, &red()).repeat(20));
    messages(&mut client, &document, is("dropped"));
    server.wait_for("coded", |room| room["video"].is_string());
    server.wait_for("coded", |room| room["recording"]["state"] == "failed");
    get(&format!("{API}/video/streams"), 200);
    let mut viewer = Client::open(server.connect(), "?room=coded&video=fmp4");
    for kind in ["room", "video", "result"] {
        messages(&mut viewer, &document, is(kind));
    }
    // A room that says why it has ended.
    let source = "synthetic:64x64@30,frames=5";
    post("start-stream", json!({ "room": "short", "source": source, "record": false }), 201);
    server.wait_for("short", |room| room["state"] == "stopped");
    get(&format!("{API}/video/streams"), 200);

    // Every type that is answered was, with all of its fields.
    let schemas = document.json["components"]["schemas"].as_object().unwrap();
    for name in schemas.keys().filter(|name| !ASKED.contains(&name.as_str())) {
        assert_eq!(document.never_met(name), Vec::<String>::new(), "fields of {name} that no answer had");
    }
    // Every reference leads somewhere.
    let text = document.json.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        document.named(reference.split('"').next().unwrap());
    }
}

//! Who may do what, and from where.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::program::Sandbox;
use crate::serve::{API, Answer, Server, png};

const VIEW: &str = "view-token-0123456789";
const OPERATE: &str = "operate-token-0123456789";

fn with_tokens(args: &[&str]) -> Server {
    let sandbox = Sandbox::new();
    sandbox.write("tokens", format!("view door {VIEW}\noperate desk {OPERATE}\n"));
    Server::start_in(sandbox, &[&["--token-file", "tokens"], args].concat())
}

/// A call as it can be made: its path in the document, that path filled in, a body, and what whoever may ask is told.
struct Case {
    method: &'static str,
    documented: &'static str,
    path: &'static str,
    role: &'static str,
    body: Vec<u8>,
    status: u16,
}

fn cases() -> Vec<Case> {
    let case = |method, documented, path, role, status| Case {
        method,
        documented,
        path,
        role,
        body: Vec::new(),
        status,
    };
    let get = |path, role, status| case("GET", path, path, role, status);
    let json = |text: &str| text.as_bytes().to_vec();
    let process = "/api/v1/realtime/video/process-frame";
    let start = "/api/v1/realtime/video/start-stream";
    let stop = "/api/v1/realtime/video/stop-stream";
    vec![
        get("/", "view", 200),
        case("GET", "/rooms/{room}", "/rooms/or-1", "view", 200),
        get("/docs", "view", 200),
        get("/openapi.json", "view", 200),
        get("/metrics", "view", 200),
        case("GET", "/assets/{file}", "/assets/style.css", "public", 200),
        get("/healthz", "public", 200),
        get("/readyz", "public", 200),
        get("/session", "view", 200),
        case("POST", "/session", "/session", "view", 204),
        case("DELETE", "/session", "/session", "view", 204),
        Case { body: png(32, 24), ..case("POST", process, process, "operate", 200) },
        Case {
            body: json(r#"{"room":"or-1","source":"push"}"#),
            ..case("POST", start, start, "operate", 409)
        },
        Case { body: json(r#"{"room":"nowhere"}"#), ..case("POST", stop, stop, "operate", 404) },
        // Not by WebSocket; that is the next test's.
        get("/api/v1/realtime/video/stream", "view", 426),
        get("/api/v1/realtime/video/stats", "view", 200),
        get("/api/v1/realtime/video/streams", "view", 200),
        get("/api/v1/realtime/edge/device-info", "view", 200),
        case(
            "GET",
            "/api/v1/realtime/rooms/{room}/findings",
            "/api/v1/realtime/rooms/or-1/findings",
            "view",
            200,
        ),
        case(
            "GET",
            "/api/v1/realtime/rooms/{room}/findings/{id}",
            "/api/v1/realtime/rooms/or-1/findings/9",
            "view",
            404,
        ),
    ]
}

/// Who asks: the token, and the role that it has.
const ASKERS: [(&str, &str); 4] =
    [("", "none"), ("no-such-token-01234567", "none"), (VIEW, "view"), (OPERATE, "operate")];

/// What an asker must be told, where `status` is what whoever may ask is told.
fn expected(role: &str, wanted: &str, foreign: bool, status: u16) -> u16 {
    match (foreign, wanted, role) {
        (true, ..) => 403,
        (_, "public", _) => status,
        (_, _, "none") => 401,
        (_, "operate", "view") => 403,
        _ => status,
    }
}

#[test]
fn every_route_gives_every_asker_exactly_what_is_documented() {
    let server = with_tokens(&["--room", "or-1=synthetic:64x64@10"]);
    let bearer = format!("Authorization: Bearer {OPERATE}");
    let document = server.ask("GET", "/openapi.json", &[&bearer], b"").status(200).json();
    let mut open: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, calls) in document["paths"].as_object().unwrap() {
        open.extend(calls.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
    }
    let origins = [format!("Origin: http://{}", server.address), "Origin: https://evil.example".to_owned()];
    for case in cases() {
        let call = &document["paths"][case.documented][case.method.to_lowercase()];
        let named = format!("{} {}", case.method, case.documented);
        assert!(
            open.remove(&(case.method.to_owned(), case.documented.to_owned())),
            "{named} is not documented"
        );
        let secured = !call["security"].as_array().unwrap().is_empty();
        assert_eq!(secured, case.role != "public", "{named}");
        assert_eq!(call["x-endort-role"].as_str().unwrap_or("public"), case.role, "{named}");
        for (token, role) in ASKERS {
            let bearer = format!("Authorization: Bearer {token}");
            let kind = if case.body.starts_with(b"{") { "application/json" } else { "image/png" };
            let kind = format!("Content-Type: {kind}");
            let credentials: &[&str] = if token.is_empty() { &[&kind] } else { &[&kind, &bearer] };
            for (origin, foreign) in origins.iter().zip([false, true]) {
                let headers = [credentials, &[origin.as_str()]].concat();
                let answer = server.ask(case.method, case.path, &headers, &case.body);
                let asked = format!("{named} as {role} from {origin}");
                assert_eq!(answer.status, expected(role, case.role, foreign, case.status), "{asked}");
                let documented = &call["responses"][answer.status.to_string()];
                assert!(documented.is_object(), "{asked}: {} is not documented", answer.status);
                if let Some(kind) = answer.header("content-type") {
                    let kind = kind.split(';').next().unwrap();
                    let kinds = documented["content"].as_object().unwrap();
                    assert!(kinds.contains_key(kind) || kinds.contains_key("*/*"), "{asked}: {kind}");
                }
                if answer.status == 401 {
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"endort\""));
                }
                // A head alone is answered as the whole is, without a body.
                if case.method == "GET" {
                    let head = server.ask("HEAD", case.path, &headers, b"");
                    assert_eq!(head.status, answer.status, "HEAD of {asked}");
                }
            }
        }
    }
    assert!(open.is_empty(), "routes that no case asks for: {open:?}");
    assert!(server.metric_as(OPERATE, "endort_unauthorized_total") > 10.0);
    let log = server.log();
    assert!(log.contains("request"), "{log}");
    for secret in [VIEW, OPERATE, "no-such-token-01234567"] {
        assert!(!log.contains(secret), "a token was logged");
    }
}

#[test]
fn what_is_not_there_is_told_to_those_alone_who_may_ask() {
    let server = with_tokens(&[]);
    for (token, role) in ASKERS {
        let bearer = format!("Authorization: Bearer {token}");
        let credentials: &[&str] = if token.is_empty() { &[] } else { &[&bearer] };
        for (origin, foreign) in [("", false), ("Origin: https://evil.example", true)] {
            let origin: &[&str] = if foreign { &[origin] } else { &[] };
            for (method, path, status) in
                [("GET", "/nothing", 404), ("PUT", "/session", 405), ("POST", "/healthz", 405)]
            {
                let answer = server.ask(method, path, &[credentials, origin].concat(), b"");
                let wanted = expected(role, "view", foreign, status);
                assert_eq!(answer.status, wanted, "{method} {path} as {role}");
                assert_eq!(answer.header("allow").is_some(), wanted == 405, "{method} {path} as {role}");
            }
        }
    }
}

#[test]
fn a_websocket_opens_to_those_alone_who_may_do_what_it_is_for() {
    let server = with_tokens(&["--room", "or-1=synthetic:64x64@10", "--room", "or-2=push"]);
    let upgrade = [
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let open = |query: &str, headers: &[&str]| {
        let headers = [&upgrade, headers].concat().join("\r\n");
        let host = server.address;
        server
            .raw(format!("GET {API}/video/stream{query} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n\r\n"))
            .status
    };
    let own = format!("Origin: http://{}", server.address);
    for (query, wanted) in [("", "operate"), ("?room=or-1", "view"), ("?room=or-2&push=true", "operate")] {
        for (token, role) in ASKERS {
            for (origin, foreign) in [(own.as_str(), false), ("Origin: https://evil.example", true)] {
                let status = expected(role, wanted, foreign, 101);
                let bearer = format!("Authorization: Bearer {token}");
                // Browsers can set no header for a WebSocket, so the token may be a subprotocol.
                let protocols = format!("Sec-WebSocket-Protocol: endort, bearer.{token}");
                let ways: &[&[&str]] = if token.is_empty() { &[&[]] } else { &[&[&bearer], &[&protocols]] };
                for way in ways {
                    let ask = || open(query, &[*way, &[origin]].concat());
                    let mut answer = ask();
                    // One at a time sends pictures to a room, and whoever did may not have been missed yet.
                    let patience = Instant::now() + Duration::from_secs(10);
                    while answer == 409 && status == 101 && Instant::now() < patience {
                        std::thread::sleep(Duration::from_millis(5));
                        answer = ask();
                    }
                    assert_eq!(answer, status, "{query} as {role} from {origin}");
                }
            }
        }
    }
    // Rooms and their seats are not told to whoever may not ask.
    assert_eq!(open("?room=nowhere", &[]), 401);
    let bearer = format!("Authorization: Bearer {VIEW}");
    assert_eq!(open("?room=nowhere", &[&bearer]), 404);
    assert_eq!(open("?room=or-1&push=true", &[&bearer]), 403);
}

impl Server {
    fn metric_as(&self, token: &str, name: &str) -> f64 {
        let bearer = format!("Authorization: Bearer {token}");
        let metrics = self.ask("GET", "/metrics", &[&bearer], b"").status(200).text();
        let line = metrics.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    }
}

#[test]
fn a_browser_signs_in_once_and_out_again() {
    let ward = "https://ward.example";
    let server = with_tokens(&["--allow-origin", ward]);
    let page = server.ask("GET", "/", &["Accept: text/html"], b"").status(401);
    assert!(page.text().contains("sign-in.js"), "{}", page.text());
    server.ask("POST", "/session", &["Authorization: Bearer wrong-wrong-wrong-wrong"], b"").problem(401);
    let bearer = format!("Authorization: Bearer {VIEW}");
    let signed_in = server.ask("POST", "/session", &[&bearer], b"").status(204);
    let cookie = signed_in.header("set-cookie").unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(VIEW));
    let cookie = format!("Cookie: {}", cookie.split(';').next().unwrap());
    let me = server.ask("GET", "/session", &[&cookie], b"").status(200).json();
    assert_eq!((&me["name"], &me["role"], &me["session"]), (&"door".into(), &"view".into(), &true.into()));
    let stop = format!("{API}/video/stop-stream");
    server.ask("POST", &stop, &[&cookie, "Content-Type: application/json"], b"{}").problem(403);
    // A browser sends it for a page on another port of this host as well; a listed one brings a token of its own.
    let own = format!("Origin: http://{}", server.address);
    server.ask("GET", "/session", &[&cookie, &own], b"").status(200);
    server.ask("GET", "/session", &[&cookie, &format!("Origin: {ward}")], b"").problem(401);
    // A proxy before it, which speaks TLS and keeps the name, is the same place.
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let head = format!("GET /session HTTP/1.1\r\nHost: ward.example\r\nOrigin: {ward}\r\n{cookie}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    Answer::read(&mut stream).status(200);
    server.ask("DELETE", "/session", &[&cookie], b"").status(204);
    server.ask("GET", "/session", &[&cookie], b"").problem(401);
}

#[test]
fn without_tokens_only_this_machine_and_its_names_are_known() {
    let sandbox = Sandbox::new();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:80"] {
        let run = sandbox.endort(["serve", "--listen", listen, "--runtime", "scripted:"]).finish().code(2);
        assert!(run.stderr.contains("only a loopback address can be bound"), "{}", run.stderr);
    }
    let server = Server::start(&["--allow-host", "tower3", "--allow-origin", "https://ward.example"]);
    let host = |host: &str| {
        server.raw(format!("GET /session HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for known in ["localhost", "127.0.0.1:1", "[::1]:80", "tower3:8080"] {
        assert_eq!(host(known).status(200).json()["role"], "operate");
    }
    // A foreign name that was made to point here (DNS rebinding).
    host("evil.example").problem(403);
    server.ask("GET", "/session", &["Origin: https://ward.example"], b"").status(200);
    server.ask("GET", "/session", &["Origin: null"], b"").problem(403);
    assert_eq!(server.metric("endort_foreign_total"), 2.0);
}

#[test]
fn tls_is_spoken_with_the_certificate_that_was_named() {
    let sandbox = Sandbox::new();
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    sandbox.write("tokens", format!("operate desk {OPERATE}\n"));
    for (certificate, key, said) in [("key.pem", "key.pem", "holds no"), ("cert.pem", "cert.pem", "holds no")]
    {
        let args = ["serve", "--check-config", "--tls-cert", certificate, "--tls-key", key];
        let run = sandbox.endort(args).finish().code(2);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    let args = ["--tls-cert", "cert.pem", "--tls-key", "key.pem", "--token-file", "tokens"];
    let server = Server::start_in(sandbox, &args);
    let curl = |url: &str, more: &[&str]| {
        let output = std::process::Command::new("curl")
            .args([
                "-s",
                "-S",
                "--max-time",
                "20",
                "--cacert",
                "cert.pem",
                "-o",
                "body",
                "-w",
                "%{http_code}",
            ])
            .args(more)
            .arg(url)
            .current_dir(server.sandbox.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let base = format!("https://{}", server.address);
    assert_eq!(curl(&format!("{base}/healthz"), &[]), "200");
    assert_eq!(curl(&format!("{base}/session"), &[]), "401");
    let bearer = format!("Authorization: Bearer {OPERATE}");
    server.sandbox.write("a.png", png(64, 48));
    let upload = ["-H", &bearer, "-F", "file=@a.png"];
    assert_eq!(curl(&format!("{base}{API}/video/process-frame"), &upload), "200", "{}", server.log());
    // Whoever never says hello is not waited for.
    let mut silent = server.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    let bearer = format!("Authorization: Bearer {OPERATE}");
    assert_eq!(curl(&format!("{base}/metrics"), &["-H", &bearer]), "200");
    assert!(!server.sandbox.read("body").contains("endort_limit_hits_total{bound=\"head_time\"} 0\n"));
    // Plain HTTP on the TLS port gets nothing and harms nobody.
    assert_eq!(server.get("/healthz").status, 0);
    assert_eq!(curl(&format!("{base}/healthz"), &[]), "200");
}

#[test]
fn the_audit_log_says_who_did_what_and_a_broken_one_is_not_continued() {
    let server = with_tokens(&["--audit-log", "audit.jsonl", "--room", "or-1=synthetic:64x64@10"]);
    let bearer = format!("Authorization: Bearer {OPERATE}");
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    let start =
        br#"{"room":"or-2","source":"rtsp://u:hunter2@127.0.0.1:1/x","model":"none","max_latency_ms":90}"#;
    server.ask("POST", &format!("{API}/video/start-stream"), &headers, start).status(201);
    server.ask("POST", &format!("{API}/video/stop-stream"), &headers, br#"{"room":"or-2"}"#).status(200);
    let file = server.sandbox.file("audit.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["server_started", "room_started", "room_started", "room_ended", "room_stopped"]);
    assert_eq!((&lines[2]["user"], &lines[2]["max_latency_ms"]), (&"desk".into(), &90.0.into()));
    assert_eq!((&lines[3]["room"], &lines[3]["state"]), (&"or-2".into(), &"stopped".into()));
    assert_eq!((&lines[3]["user"], &lines[4]["user"]), (&"desk".into(), &"desk".into()));
    assert_eq!(lines[1]["model_sha256"].as_str().unwrap().len(), 64);
    assert!(!text.contains("hunter2") && !text.contains(OPERATE));
    let run = |sandbox: &Sandbox| {
        let args = ["serve", "--check-config", "--audit-log", "audit.jsonl"];
        sandbox.endort(args).finish()
    };
    run(&server.sandbox).code(0);
    std::fs::write(&file, text.replace("desk", "door")).unwrap();
    let broken = run(&server.sandbox).code(2);
    assert!(
        broken.stderr.contains("audit.jsonl:3: the chain of the audit log is broken here"),
        "{}",
        broken.stderr
    );
}

#[test]
fn a_source_or_model_too_long_to_account_for_is_refused_and_the_audit_log_stays_whole() {
    let server = Server::start(&["--audit-log", "audit.jsonl"]);
    let call = |path: &str, body: serde_json::Value| server.post(&format!("{API}/video/{path}"), &body);
    let start = |source: &str, model: &str| {
        call("start-stream", serde_json::json!({ "room": "or-1", "source": source, "model": model }))
    };
    let address = |length: usize| format!("{:x<length$}", "rtsp://127.0.0.1:1/");
    for length in [2049, 65_000] {
        let refused = start(&address(length), "none").problem(422);
        assert!(refused.contains("at most 2048 characters") && refused.len() < 300, "{refused}");
    }
    let refused = start("synthetic:64x64@10", &"m".repeat(1025)).problem(422);
    assert!(refused.contains("at most 1024 characters") && refused.len() < 300, "{refused}");
    start(&address(2048), "none").status(201);
    call("stop-stream", serde_json::json!({ "room": "or-1" })).status(200);
    assert!(server.sandbox.read("audit.jsonl").contains(&address(2048)));
    let args = ["serve", "--check-config", "--audit-log", "audit.jsonl"];
    server.sandbox.endort(args).finish().code(0);
}

#[test]
fn a_name_in_any_script_can_ask_and_is_logged_as_it_is_written() {
    let sandbox = Sandbox::new();
    sandbox.write("tokens", format!("view schwester-käthe {VIEW}\noperate پرستار {OPERATE}\n"));
    let server = Server::start_in(sandbox, &["--token-file", "tokens", "--audit-log", "audit.jsonl"]);
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    for (token, name) in [(VIEW, "schwester-käthe"), (OPERATE, "پرستار")] {
        server.ask("GET", "/", &[&bearer(token)], b"").status(200);
        let me = server.ask("GET", "/session", &[&bearer(token)], b"").status(200).json();
        assert_eq!(me["name"], name);
    }
    let operator = bearer(OPERATE);
    let headers = [operator.as_str(), "Content-Type: application/json"];
    let call = |path: &str, body: &str| {
        server.ask("POST", &format!("{API}/video/{path}"), &headers, body.as_bytes())
    };
    call("start-stream", r#"{"room":"or-1","source":"synthetic:64x64@10","model":"none"}"#).status(201);
    call("stop-stream", r#"{"room":"or-1"}"#).status(200);
    let text = server.sandbox.read("audit.jsonl");
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let users: Vec<_> = lines.skip(1).map(|line| line["user"].as_str().unwrap().to_owned()).collect();
    assert_eq!(users, ["پرستار"; 3], "{text}");
}

#[test]
fn the_audit_log_says_who_ended_each_room() {
    let sandbox = Sandbox::new();
    sandbox.write("tokens", format!("operate desk {OPERATE}\n"));
    let args = ["--token-file", "tokens", "--audit-log", "audit.jsonl"];
    let rooms = ["--room", "short=synthetic:64x64@30,frames=15", "--room", "long=synthetic:64x64@10"];
    let server = Server::start_in(sandbox, &[&args[..], &rooms].concat());
    let lines = |server: &Sandbox| -> Vec<serde_json::Value> {
        server.read("audit.jsonl").lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let ended = |lines: &[serde_json::Value], room: &str| {
        let mut found = lines.iter().filter(|line| line["event"] == "room_ended" && line["room"] == room);
        found.next().map(|line| (line["user"].clone(), line["state"].clone()))
    };
    let begin = Instant::now();
    while ended(&lines(&server.sandbox), "short").is_none() {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let bearer = format!("Authorization: Bearer {OPERATE}");
    let headers = [bearer.as_str(), "Content-Type: application/json"];
    let call = |path: &str, body: &str| {
        server.ask("POST", &format!("{API}/video/{path}"), &headers, body.as_bytes())
    };
    call("start-stream", r#"{"room":"mine","source":"synthetic:64x64@10"}"#).status(201);
    call("stop-stream", r#"{"room":"mine"}"#).status(200);
    // A room that has ended by itself was not ended by whoever stops it afterwards.
    call("stop-stream", r#"{"room":"short"}"#).status(200);
    let file = server.sandbox.file("audit.jsonl");
    // SAFETY: a signal to our own child, which has not been waited for.
    unsafe { libc::kill(server.process() as i32, libc::SIGTERM) };
    let begin = Instant::now();
    while !std::fs::read_to_string(&file).unwrap().contains("\"server_stopped\"") {
        assert!(begin.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let lines = lines(&server.sandbox);
    for (room, user) in [("short", "the room itself"), ("mine", "desk"), ("long", "operator of this box")] {
        assert_eq!(ended(&lines, room), Some((user.into(), "stopped".into())), "{room}");
    }
}

#[test]
fn a_page_of_another_origin_that_may_ask_is_answered_so_that_its_browser_lets_it_read() {
    const WARD: &str = "https://ward.example";
    let server = with_tokens(&["--allow-origin", WARD]);
    let path = format!("{API}/video/stats");
    let bearer = format!("Authorization: Bearer {VIEW}");
    let (ward, own) = (format!("Origin: {WARD}"), format!("Origin: http://{}", server.address));
    // What a browser asks first, without the token.
    let question = ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization"];
    let preflight = |origin: &str| server.ask("OPTIONS", &path, &[&question[..], &[origin]].concat(), b"");
    let leave = preflight(&ward).status(204);
    for (header, value) in [
        ("access-control-allow-origin", Some(WARD)),
        ("access-control-allow-methods", Some("GET, POST, DELETE")),
        ("access-control-allow-headers", Some("Authorization, Content-Type")),
        ("access-control-max-age", Some("600")),
        ("access-control-allow-credentials", None),
        ("vary", Some("Origin")),
        ("content-length", None),
    ] {
        assert_eq!(leave.header(header), value, "{header}");
    }
    for origin in ["Origin: https://evil.example", "Origin: null"] {
        let refused = preflight(origin).status(403);
        assert!(!refused.head.to_ascii_lowercase().contains("access-control-"), "{}", refused.head);
    }
    // The server's own pages need no leave, and without a browser's question the address takes what it takes.
    assert_eq!(preflight(&own).status, 401);
    assert_eq!(server.ask("OPTIONS", &path, &[&ward], b"").status, 401);
    assert_eq!(server.ask("OPTIONS", &path, &[&ward, &bearer], b"").status, 405);

    let answer = server.ask("GET", &path, &[&ward, &bearer], b"").status(200);
    assert_eq!(answer.header("access-control-allow-origin"), Some(WARD));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let exposed = answer.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("Endort-Record") && exposed.contains("X-Request-Id"), "{exposed}");
    // It can read why it was refused, too.
    let refused = server.ask("GET", &path, &[&ward], b"").status(401);
    assert_eq!(refused.header("access-control-allow-origin"), Some(WARD));
    // Nobody else is told anything, but for caches.
    for headers in [vec![bearer.as_str()], vec![bearer.as_str(), own.as_str()]] {
        let answer = server.ask("GET", &path, &headers, b"").status(200);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("vary"), Some("Origin"));
    }
}

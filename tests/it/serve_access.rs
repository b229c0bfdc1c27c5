//! Who may do what, and from where.

use crate::program::Sandbox;
use crate::serve::{API, Server};

const VIEW: &str = "view-token-0123456789";
const OPERATE: &str = "operate-token-0123456789";

fn with_tokens(args: &[&str]) -> Server {
    let sandbox = Sandbox::new();
    sandbox.write("tokens", format!("view door {VIEW}\noperate desk {OPERATE}\n"));
    Server::start_in(sandbox, &[&["--token-file", "tokens"], args].concat())
}

/// What an asker may be given: everything that is not about who they are.
fn allowed(status: u16) -> bool {
    !matches!(status, 0 | 401 | 403)
}

#[test]
fn every_route_gives_every_asker_exactly_what_is_documented() {
    let server = with_tokens(&[]);
    // Method, path, and whether a look, an operator, or nobody in particular is asked for.
    let routes = [
        ("GET", "/", "view"),
        ("GET", "/rooms/a", "view"),
        ("GET", "/docs", "view"),
        ("GET", "/openapi.json", "view"),
        ("GET", "/metrics", "view"),
        ("GET", "/session", "view"),
        ("GET", "/healthz", "public"),
        ("GET", "/readyz", "public"),
        ("GET", "/assets/style.css", "public"),
        ("GET", "/nothing", "view"),
        ("POST", "/api/v1/realtime/video/process-frame", "operate"),
        ("POST", "/api/v1/realtime/video/start-stream", "operate"),
        ("POST", "/api/v1/realtime/video/stop-stream", "operate"),
        ("GET", "/api/v1/realtime/video/stats", "view"),
        ("GET", "/api/v1/realtime/video/streams", "view"),
        ("GET", "/api/v1/realtime/video/stream", "view"),
        ("GET", "/api/v1/realtime/edge/device-info", "view"),
        ("GET", "/api/v1/realtime/rooms/a/findings", "view"),
        ("GET", "/api/v1/realtime/rooms/a/findings/0", "view"),
    ];
    let own = format!("Origin: http://{}", server.address);
    for (method, path, access) in routes {
        for (token, role) in
            [("", "none"), ("no-such-token-01234567", "none"), (VIEW, "view"), (OPERATE, "operate")]
        {
            let bearer = format!("Authorization: Bearer {token}");
            let credentials: &[&str] = if token.is_empty() { &[] } else { &[&bearer] };
            for (origin, foreign) in [(own.as_str(), false), ("Origin: https://evil.example", true)] {
                let answer = server.ask(method, path, &[credentials, &[origin]].concat(), b"");
                let case = format!("{method} {path} as {role} from {origin}: {}", answer.status);
                match (foreign, access, role) {
                    (true, ..) => assert_eq!(answer.status, 403, "{case}"),
                    (_, "public", _) => assert_eq!(answer.status, 200, "{case}"),
                    (_, _, "none") => {
                        assert_eq!(answer.status, 401, "{case}");
                        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"endort\""));
                    }
                    (_, "operate", "view") => assert_eq!(answer.status, 403, "{case}"),
                    _ => assert!(allowed(answer.status), "{case}"),
                }
            }
        }
    }
    assert!(server.metric_as(OPERATE, "endort_unauthorized_total") > 10.0);
    let log = server.log();
    assert!(log.contains("request"), "{log}");
    for secret in [VIEW, OPERATE, "no-such-token-01234567"] {
        assert!(!log.contains(secret), "a token was logged");
    }
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
    let server = with_tokens(&[]);
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
    server.sandbox.write("a.png", crate::serve::png(64, 48));
    let upload = ["-H", &bearer, "-F", "file=@a.png"];
    assert_eq!(curl(&format!("{base}{API}/video/process-frame"), &upload), "200", "{}", server.log());
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
    assert_eq!(events, ["server_started", "room_started", "room_started", "room_stopped"]);
    assert_eq!((&lines[2]["user"], &lines[2]["max_latency_ms"]), (&"desk".into(), &90.0.into()));
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

//! `endort serve`: one server per test, spoken to over plain sockets, so that each byte is the test's own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::{Run, Sandbox};

/// The prefix of the API.
pub const API: &str = "/api/v1/realtime";

/// A server that runs until it is dropped.
pub struct Server {
    pub sandbox: Sandbox,
    pub address: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// A server with a model that answers at once, on a free port.
    pub fn start(args: &[&str]) -> Self {
        Self::start_in(Sandbox::new(), args)
    }

    pub fn start_in(sandbox: Sandbox, args: &[&str]) -> Self {
        Self::start_as(sandbox, args, |run| run)
    }

    /// A server in a process that is changed before it starts.
    pub fn start_as(sandbox: Sandbox, args: &[&str], change: impl FnOnce(Run) -> Run) -> Self {
        let log = sandbox.file("serve.log");
        let scripted = ["--runtime", "scripted:"];
        let runtime: &[&str] =
            if args.iter().any(|arg| ["--runtime", "--model"].contains(arg)) { &[] } else { &scripted };
        let listen: &[&str] = if args.contains(&"--listen") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let verbose: &[&str] = if args.contains(&"-q") { &[] } else { &["-v"] };
        let args = [&["serve"], verbose, listen, runtime, args].concat();
        let mut child = change(sandbox.endort(args)).start_logging_to(&log);
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        let address = url.trim().split("://").nth(1).and_then(|rest| rest.trim_end_matches('/').parse().ok());
        let address =
            address.unwrap_or_else(|| panic!("{url:?}: {}", std::fs::read_to_string(&log).unwrap()));
        Self { sandbox, address, child, log }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// What the server wrote to standard error so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Sends bytes on a connection of their own and reads the answer to them.
    pub fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect();
        let _ = stream.write_all(request.as_ref());
        Answer::read(&mut stream)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.ask("POST", path, &["Content-Type: application/json"], body.to_string().as_bytes())
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        headers.iter().for_each(|header| request.push_str(&format!("{header}\r\n")));
        if !body.is_empty() {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("Connection: close\r\n\r\n");
        self.raw([request.as_bytes(), body].concat())
    }

    /// A room at a glance.
    pub fn room(&self, name: &str) -> Value {
        let streams = self.get(&format!("{API}/video/streams")).json();
        let mut rooms = streams["rooms"].as_array().unwrap().iter();
        rooms.find(|room| room["room"] == name).cloned().unwrap_or_default()
    }

    /// Waits until a room is as it should be.
    #[track_caller]
    pub fn wait_for(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let room = self.room(name);
            if wanted(&room) {
                return room;
            }
            assert!(begin.elapsed() < Duration::from_secs(30), "{room:#}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// A sample in `/metrics`, labels included in its name.
    pub fn metric(&self, name: &str) -> f64 {
        let metrics = self.get("/metrics").text();
        let line = metrics.lines().find(|line| line.rsplit_once(' ').is_some_and(|(key, _)| key == name));
        line.unwrap_or_else(|| panic!("{name} is not in\n{metrics}"))
            .rsplit_once(' ')
            .unwrap()
            .1
            .parse()
            .unwrap()
    }

    /// Asks it to end, as a supervisor would, and gives the exit code.
    pub fn terminate(mut self) -> (Option<i32>, Duration, String) {
        let begin = Instant::now();
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.child.id() as i32, libc::SIGTERM) };
        let code = self.child.wait().unwrap().code();
        (code, begin.elapsed(), self.log())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An answer, taken apart.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// Reads one answer; a connection that closed without one has status 0.
    pub fn read(stream: &mut impl Read) -> Self {
        let mut bytes = Vec::new();
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") {
            match stream.read(&mut byte) {
                Ok(1) => bytes.push(byte[0]),
                _ => return Self { status: 0, head: String::new(), body: bytes },
            }
        }
        let head = String::from_utf8(bytes).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer = Self { status, head, body: Vec::new() };
        let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
        answer.body = vec![0; length];
        if stream.read_exact(&mut answer.body).is_err() {
            answer.body.clear();
        }
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.head.lines().filter_map(|line| line.split_once(": "));
        headers.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}{}", self.head, self.text()))
    }

    #[track_caller]
    pub fn status(self, expected: u16) -> Self {
        assert_eq!(self.status, expected, "{}{}", self.head, String::from_utf8_lossy(&self.body));
        self
    }

    /// The answer is a problem document of this status (RFC 9457).
    #[track_caller]
    pub fn problem(self, expected: u16) -> String {
        let answer = self.status(expected);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        let problem = answer.json();
        assert_eq!((&problem["type"], &problem["status"]), (&"about:blank".into(), &expected.into()));
        assert_eq!(problem["instance"].as_str(), answer.header("x-request-id"));
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// A picture of no interest, as PNG.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let pixels =
        image::RgbImage::from_fn(width, height, |x, y| image::Rgb([200, (x * 2) as u8, (y * 2) as u8]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    pixels.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

#[test]
fn the_server_says_where_it_listens_and_ends_in_order() {
    let server = Server::start(&[]);
    let health = server.get("/healthz").status(200).json();
    assert_eq!(health["status"], "ok");
    assert_eq!(server.get("/readyz").status(200).json()["version"], env!("CARGO_PKG_VERSION"));
    let (code, took, log) = server.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_quiet_server_says_what_is_wrong_and_nothing_else() {
    for format in ["text", "json"] {
        let args = ["-q", "--log-format", format, "--runtime", "scripted:error@0"];
        let rooms = ["--room", "good=synthetic:160x120@30", "--room", "bad=tcp://127.0.0.1:1"];
        let server = Server::start(&[&args[..], &rooms].concat());
        server.wait_for("bad", |room| room["state"] == "reconnecting");
        server.wait_for("good", |room| room["figures"]["frames_processed"].as_u64() > Some(5));
        let log = server.log();
        assert!(log.contains("bad") && log.contains("reconnecting"), "{format}: {log}");
        assert!(!log.contains("running") && !log.contains("room_started"), "{format}: {log}");
    }
}

#[cfg(unix)]
#[test]
fn behind_the_front_door_nobody_else_may_enter() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let temporary = sandbox.file("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let server = Server::start_as(sandbox, &[], |run| run.env("TMPDIR", &temporary));
    let folders: Vec<_> = std::fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap()).collect();
    assert_eq!(folders.len(), 1);
    let mode = folders[0].metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    server.get("/healthz").status(200);
}

#[test]
fn what_cannot_be_understood_is_in_the_log_by_its_number() {
    let server = Server::start(&[]);
    let answer = server.raw("NONSENSE\r\n\r\n");
    let number = answer.header("x-request-id").unwrap().to_owned();
    answer.problem(400);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("malformed request")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(&number), "{line}");
}

#[test]
fn settings_are_checked_without_serving() {
    let sandbox = Sandbox::new();
    let check = |args: &[&str]| sandbox.endort([&["serve", "--check-config"], args].concat()).finish();
    check(&[]).code(0).stdout("the settings are in order\n").stderr("");
    sandbox.write("tokens", "view door aaaaaaaaaaaaaaaa\n");
    check(&["--token-file", "tokens", "--listen", "0.0.0.0:0"]).code(0);
    sandbox
        .write("endort.toml", "[server]\nlisten = \"127.0.0.1:9\"\n[server.rooms]\nor-1 = \"synthetic\"\n");
    check(&[]).code(0);
    for (file, said) in [
        ("[server]\nlisen = \"x\"\n", "endort.toml:2: server.lisen = \"x\": unknown, known are listen, "),
        ("[server]\nlog_format = \"xml\"\n", "must be \"text\" or \"json\""),
        ("[server]\nlisten = 8080\n", "endort.toml:2: server.listen = 8080: must be a text in quotes"),
        ("[server]\nlisten = \"0.0.0.0:80\"\n", "without --token-file only a loopback address can be bound"),
        ("[server]\ntls_cert = \"a.pem\"\n", "--tls-cert: needs --tls-key"),
        ("[server.rooms]\n\"../x\" = \"push\"\n", "room = ../x: must be 1 to 64 letters"),
        ("[server.rooms]\na = \"gopher://x\"\n", "unknown kind of address"),
        ("[server.rooms]\na = \"-\"\n", "standard input cannot be a room's source"),
        ("[serve]\n", "unknown, known are the tables [realtime] and [server]"),
    ] {
        sandbox.write("endort.toml", file);
        let run = check(&[]);
        assert!(matches!(run.code, Some(1 | 2)), "{run:#?}");
        assert!(run.stderr.contains(said) && run.stderr.lines().count() == 1, "{file}: {}", run.stderr);
    }
    // Another command tells a wrong [server] table too.
    sandbox.write("endort.toml", "[server]\nlisen = \"x\"\n");
    let other = sandbox.endort(["stream", "missing.mp4"]).finish().code(2);
    assert!(other.stderr.contains("endort.toml:2"), "{}", other.stderr);
}

#[test]
fn process_frame_answers_with_the_record_or_the_picture() {
    let server = Server::start(&[]);
    let path = format!("{API}/video/process-frame");
    let picture = png(96, 64);
    let record = server.ask("POST", &format!("{path}?frame_id=7"), &["Content-Type: image/png"], &picture);
    let record = record.status(200).json();
    assert_eq!((&record["frame_id"], &record["source"]), (&7.into(), &"upload".into()));
    assert_eq!((&record["width"], &record["height"]), (&96.into(), &64.into()));
    assert_eq!((&record["model"], &record["runtime"]), (&"polyp-lite".into(), &"scripted".into()));
    let stages = record["stages_ms"].as_object().unwrap();
    let sum: f64 = stages.values().map(|value| value.as_f64().unwrap()).sum();
    assert!((sum - record["processing_time_ms"].as_f64().unwrap()).abs() < 0.01, "{record}");

    let form = [
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n".as_slice(),
        &picture,
        b"\r\n--x--\r\n",
    ];
    let headers = ["Content-Type: multipart/form-data; boundary=x", "Accept: image/jpeg"];
    let answer = server.ask("POST", &path, &headers, &form.concat()).status(200);
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    let drawn = image::load_from_memory(&answer.body).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (96, 64));
    let record: Value = serde_json::from_str(answer.header("endort-record").unwrap()).unwrap();
    assert_eq!(record["frame_id"], 0);

    for (headers, body, query, status) in [
        (&["Content-Type: image/png"][..], b"no picture".as_slice(), "", 415),
        (&[], b"", "", 400),
        (&["Content-Type: multipart/form-data; boundary=y"], b"--x--", "", 400),
        (&[], &picture, "?model=polyp-heavy", 404),
        (&[], &picture, "?frame_id=x", 400),
        (&[], &picture, "?modell=none", 400),
    ] {
        server.ask("POST", &format!("{path}{query}"), headers, body).problem(status);
    }
    // A picture that says it is huge is refused before anything is allocated for it.
    let mut huge = picture.clone();
    huge[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let answer = server.ask("POST", &path, &[], &huge);
    assert!(matches!(answer.status, 413 | 415), "{}", answer.head);
    assert_eq!(server.metric("endort_direct_latency_seconds_count"), 2.0);
}

#[test]
fn pages_are_whole_and_fetch_nothing_from_elsewhere() {
    let server = Server::start(&[]);
    let mut assets = std::collections::BTreeSet::new();
    for path in ["/", "/rooms/or-1", "/docs"] {
        let page = server.get(path).status(200);
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"), "{policy}");
        let html = page.text();
        assert!(!html.contains("//") || !html.contains("http"), "{html}");
        assets
            .extend(html.split("\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assets.extend(
        ["api.js", "draw.js", "text.js", "text-en.js", "text-fa.js", "sign-in.js"].map(str::to_owned),
    );
    for name in assets {
        let asset = server.get(&format!("/assets/{name}")).status(200);
        assert!(!asset.body.is_empty() && asset.header("content-type").is_some(), "{name}");
    }
    server.get("/assets/nothing.js").problem(404);
    let keys = |name: &str| -> std::collections::BTreeSet<String> {
        let text = server.get(&format!("/assets/{name}")).text();
        let lines =
            text.lines().filter_map(|line| line.trim().split_once(": \"").map(|(key, _)| key.to_owned()));
        lines.collect()
    };
    assert_eq!(keys("text-en.js"), keys("text-fa.js"));
}

#[test]
fn the_device_answers_for_itself() {
    let server = Server::start(&[]);
    let device = server.get(&format!("{API}/edge/device-info")).status(200).json();
    let run = server.sandbox.endort(["detect-device", "--json"]).finish().code(0);
    let mut printed: Value = serde_json::from_str(&run.stdout).unwrap();
    // This differs from one moment to the next.
    printed["memory"]["available_mb"] = device["memory"]["available_mb"].clone();
    assert_eq!(device, printed);
}

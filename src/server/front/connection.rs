//! One client's connection: request after request, each vetted before anybody else sees it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cors;
use super::head::{self, Head};
use super::refusal::Refusal;
use super::relay::{Answer, Relay, Turn, Vetted};
use super::stream::Stream;
use super::upgrade;
use crate::server::api::WhoAmI;
use crate::server::auth::{self, Identity, Role};
use crate::server::limits::{Bound, Held, Limits};
use crate::server::log::Level;
use crate::server::problem::{self, reason};
use crate::server::routes::{self, Access, Body, Call, Found, Work};
use crate::server::{BodyMemory, Shared, pages, random, websocket};

/// What every response says to browsers: no scripts, styles, pictures or connections from anywhere else.
const SECURITY: &str = "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n\
    Cross-Origin-Resource-Policy: same-origin\r\nContent-Security-Policy: default-src 'none'; script-src 'self'; \
    style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; \
    base-uri 'none'; form-action 'self'\r\n";

/// Body bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Who knocks, and what is needed to let them in.
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    pub(super) relay: Arc<Relay>,
    pub(super) peer: SocketAddr,
    pub(super) stream: Stream,
    pub(super) scheme: &'static str,
    /// Bytes that were received and not yet understood.
    pub(super) received: Vec<u8>,
}

/// How a request ended.
enum Next {
    Another,
    Close,
}

/// What a request that may come in is.
enum Admitted {
    Call(Found, Identity),
    /// A browser's question whether a page of another origin may ask.
    Preflight,
}

/// A request on its way through the front door.
struct Asked {
    id: String,
    since: Instant,
    head: Head,
}

impl Connection {
    /// Answers requests until the client leaves, breaks a rule or upgrades.
    pub(super) fn run(mut self) {
        let limits = self.shared.limits.clone();
        self.stream.read_within(limits.head_time);
        self.stream.write_within(limits.head_time);
        if let Err(error) = self.stream.handshake() {
            if error.kind() == ErrorKind::TimedOut {
                self.shared.counters.hit(Bound::HeadTime);
            }
            return;
        }
        let mut idle = limits.idle_time;
        while !self.shared.stop.is_cancelled() {
            let head = match self.read_head(idle) {
                Ok(Some(head)) => head,
                Ok(None) => return,
                Err(refusal) => {
                    self.shared.counters.malformed.fetch_add(1, Ordering::Relaxed);
                    let id = random::hex::<8>();
                    self.shared.log.say(
                        Level::Debug,
                        "malformed_request",
                        [
                            ("request_id", id.clone().into()),
                            ("client", self.peer.ip().to_string().into()),
                            ("status", refusal.problem.status.into()),
                        ],
                    );
                    let _ = self.refuse(&id, &refusal, None);
                    break;
                }
            };
            let asked = Asked { id: random::hex::<8>(), since: Instant::now(), head };
            let (found, identity) = match self.vet(&asked) {
                Ok(Admitted::Call(found, identity)) => (found, identity),
                Ok(Admitted::Preflight) => {
                    if self.answer_preflight(&asked).is_err() || !asked.head.keep_alive {
                        break;
                    }
                    continue;
                }
                Err(refusal) => {
                    let refusal = if asked.head.content_length > 0 { refusal.closing() } else { refusal };
                    let ends = refusal.closes || !asked.head.keep_alive;
                    if self.answer_refusal(&asked, &refusal).is_err() || ends {
                        break;
                    }
                    continue;
                }
            };
            if found.route.work == Work::WebSocket {
                return self.upgrade(asked, found, identity);
            }
            match self.answer(&asked, &found, &identity) {
                Ok(Next::Another) if asked.head.keep_alive => {}
                _ => break,
            }
            idle = limits.idle_time;
        }
        self.stream.close();
    }

    /// The next head; `None` where the client left or said nothing.
    fn read_head(&mut self, idle: Duration) -> Result<Option<Head>, Refusal> {
        let limits = &self.shared.limits;
        let mut scratch = [0; 4096];
        let mut searched = 0;
        self.stream.read_within(if self.received.is_empty() { idle } else { limits.head_time });
        loop {
            if let Some(end) = head::end(&self.received, searched) {
                if end > limits.head_bytes {
                    break;
                }
                let rest = self.received.split_off(end);
                let bytes = std::mem::replace(&mut self.received, rest);
                return head::parse(&bytes, limits).map(Some);
            }
            if self.received.len() > limits.head_bytes {
                break;
            }
            searched = self.received.len();
            match self.stream.read(&mut scratch) {
                Ok(0) => return Ok(None),
                Ok(count) => {
                    if self.received.is_empty() {
                        self.stream.read_within(limits.head_time);
                    }
                    self.received.extend_from_slice(&scratch[..count]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut && self.received.is_empty() => {
                    self.shared.counters.hit(Bound::IdleTime);
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(
                        Refusal::new(408, "the request took too long to arrive").bound(Bound::HeadTime)
                    );
                }
                Err(_) => return Ok(None),
            }
        }
        Err(Refusal::new(431, "the request's head is too large").bound(Bound::HeadBytes))
    }

    /// Decides whether a request may be answered, and by whom it is.
    fn vet(&self, asked: &Asked) -> Result<Admitted, Refusal> {
        let (shared, head) = (&self.shared, &asked.head);
        let host = head.header("host");
        let foreign = |detail: &str| {
            shared.counters.foreign.fetch_add(1, Ordering::Relaxed);
            Refusal::new(403, detail)
        };
        if !shared.origins.allow(head.header("origin"), host, self.scheme) {
            return Err(foreign("requests from pages of other origins are refused; see --allow-origin"));
        }
        if shared.tokens.are_absent() && !shared.origins.knows_host(host) {
            return Err(foreign("this host name is not known here; see --allow-host"));
        }
        // Browsers send no token with it.
        if cors::is_preflight(head, &shared.origins) {
            return Ok(Admitted::Preflight);
        }
        let found = routes::find(&head.method, &head.path);
        let public = found.as_ref().is_ok_and(|found| found.route.access == Access::Public);
        let identity = match self.identify(head) {
            Some(identity) => identity,
            None if public => nobody(),
            None => {
                shared.counters.unauthorized.fetch_add(1, Ordering::Relaxed);
                return Err(Refusal::new(401, "send the header Authorization: Bearer TOKEN")
                    .header("WWW-Authenticate", "Bearer realm=\"endort\""));
            }
        };
        let found = found?;
        if found.route.access == Access::Operate && identity.role < Role::Operate {
            shared.counters.unauthorized.fetch_add(1, Ordering::Relaxed);
            return Err(Refusal::new(403, "this needs a token of the role operate"));
        }
        let limit = match found.route.body {
            Body::None => 0,
            Body::Control => shared.limits.control_bytes,
            Body::Picture => shared.limits.picture_bytes,
        };
        if head.content_length > limit {
            let detail = format!("a body of at most {limit} bytes is taken here");
            return Err(Refusal::new(413, detail).bound(Bound::BodyBytes));
        }
        Ok(Admitted::Call(found, identity))
    }

    /// Whose request it is, by header, subprotocol or cookie.
    fn identify(&self, head: &Head) -> Option<Identity> {
        let tokens = &self.shared.tokens;
        if tokens.are_absent() {
            return Some(Identity { name: "local".to_owned(), role: Role::Operate });
        }
        if let Some(value) = head.header("authorization") {
            let (scheme, token) = value.split_once(' ')?;
            return scheme.eq_ignore_ascii_case("bearer").then(|| tokens.identify(token.trim())).flatten();
        }
        if let Some(token) = upgrade::subprotocol_token(head) {
            return tokens.identify(token);
        }
        // A browser sends the cookie along for pages of other ports of this host too: they may ask with a token of their
        // own, not in a signed-in user's name.
        let own = self.shared.origins.are_one_place(head.header("origin"), head.header("host"), self.scheme);
        head.cookie(auth::COOKIE).filter(|_| own).and_then(|secret| tokens.session(secret))
    }

    fn answer(&mut self, asked: &Asked, found: &Found, identity: &Identity) -> io::Result<Next> {
        let body = match self.read_body(&asked.head) {
            Ok(body) => body,
            Err(Some(refusal)) => {
                self.answer_refusal(asked, &refusal)?;
                return Ok(Next::Close);
            }
            Err(None) => return Ok(Next::Close),
        };
        match found.route.work {
            Work::Front => self.session(asked, found.route.call, identity)?,
            work => {
                let turn = if work == Work::Heavy { Turn::Heavy } else { Turn::Light };
                match self.pass(asked, turn, identity, &body.0) {
                    Ok(answer) => self.write_answer(asked, &answer, &[], identity)?,
                    Err(refusal) => self.answer_refusal(asked, &refusal)?,
                }
            }
        }
        Ok(Next::Another)
    }

    /// The whole body, within its limits; `Err(None)` where the client has gone.
    fn read_body(&mut self, head: &Head) -> Result<(Vec<u8>, Option<BodyMemory>), Option<Refusal>> {
        let wanted = head.content_length;
        if wanted == 0 {
            return Ok((Vec::new(), None));
        }
        let memory = BodyMemory::reserve(&self.shared, wanted).ok_or_else(|| {
            let refusal = Refusal::new(503, "too many bodies are under way; try again");
            Some(refusal.bound(Bound::BodyMemory).header("Retry-After", "1"))
        })?;
        self.stream.read_within(self.shared.limits.body_time);
        if head.expects_continue() && self.received.is_empty() {
            self.stream.write_within(self.shared.limits.write_time);
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").map_err(|_| None)?;
        }
        let wanted = wanted as usize;
        let rest = if self.received.len() > wanted { self.received.split_off(wanted) } else { Vec::new() };
        let mut body = std::mem::replace(&mut self.received, rest);
        let mut scratch = vec![0; CHUNK.min(wanted)];
        while body.len() < wanted {
            let room = (wanted - body.len()).min(scratch.len());
            match self.stream.read(&mut scratch[..room]) {
                Ok(0) => return Err(None),
                Ok(count) => body.extend_from_slice(&scratch[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    let refusal = Refusal::new(408, "the body took too long to arrive");
                    return Err(Some(refusal.bound(Bound::BodyTime)));
                }
                Err(_) => return Err(None),
            }
        }
        Ok((body, Some(memory)))
    }

    /// Lets `tiny_http` answer.
    fn pass(&self, asked: &Asked, turn: Turn, identity: &Identity, body: &[u8]) -> Result<Answer, Refusal> {
        let head = &asked.head;
        let Some(_turn) = self.relay.turn(turn, self.shared.limits.turn_time) else {
            return Err(Refusal::new(503, "too much is under way; try again")
                .bound(Bound::Requests)
                .header("Retry-After", "1"));
        };
        let mut headers = vec![
            ("X-Request-Id", asked.id.clone()),
            ("X-Endort-User", auth::name_for_header(&identity.name)),
            ("X-Endort-Role", identity.role.as_str().to_owned()),
        ];
        for (name, shown) in [("content-type", "Content-Type"), ("accept", "Accept")] {
            if let Some(value) = head.header(name) {
                headers.push((shown, value.to_owned()));
            }
        }
        let target =
            if head.query.is_empty() { head.path.clone() } else { format!("{}?{}", head.path, head.query) };
        let method = if head.method == "HEAD" { "GET" } else { &head.method };
        self.relay.pass(&Vetted { method, target, headers, body }).map_err(|error| {
            let status = if error.kind() == ErrorKind::TimedOut { 504 } else { 502 };
            self.shared.log.say(
                Level::Error,
                "relay_failed",
                [("request_id", asked.id.clone().into()), ("detail", error.to_string().into())],
            );
            Refusal::new(status, "the request could not be answered; the log says why")
        })
    }

    /// Signs a browser in or out, or says who it is.
    fn session(&mut self, asked: &Asked, call: Call, identity: &Identity) -> io::Result<()> {
        if call == Call::WhoAmI {
            let session = asked.head.header("authorization").is_none() && !self.shared.tokens.are_absent();
            let role = identity.role.as_str().to_owned();
            let body = serde_json::to_vec(&WhoAmI { name: identity.name.clone(), role, session })?;
            let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
            return self.write_answer(asked, &Answer { status: 200, headers, body }, &[], identity);
        }
        let tokens = &self.shared.tokens;
        let secure = if self.scheme == "https" { "; Secure" } else { "" };
        let cookie = |secret: &str, age: u64| {
            let name = auth::COOKIE;
            format!("{name}={secret}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}")
        };
        let cookie = match call {
            Call::SignIn if !tokens.are_absent() => {
                cookie(&tokens.sign_in(identity.clone()), auth::SESSION_TIME.as_secs())
            }
            _ => {
                if let Some(secret) = asked.head.cookie(auth::COOKIE) {
                    tokens.sign_out(secret);
                }
                cookie("", 0)
            }
        };
        let answer = Answer { status: 204, headers: Vec::new(), body: Vec::new() };
        self.write_answer(asked, &answer, &[("Set-Cookie", cookie)], identity)
    }

    /// Takes the connection over for a WebSocket session.
    fn upgrade(mut self, asked: Asked, found: Found, identity: Identity) {
        let shared = Arc::clone(&self.shared);
        let Some(_held) = Held::take(&shared.counters.websockets, shared.limits.websockets) else {
            let refusal = Refusal::new(503, "too many WebSocket sessions").bound(Bound::Websockets);
            let _ = self.answer_refusal(&asked, &refusal.header("Retry-After", "5"));
            return self.stream.close();
        };
        let accepted = upgrade::accept(&asked.head).and_then(|response| {
            debug_assert_eq!(found.route.call, Call::Stream);
            websocket::plan(&asked.head.query, &identity, &shared).map(|plan| (response, plan))
        });
        let (response, plan) = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => {
                let _ = self.answer_refusal(&asked, &refusal);
                return self.stream.close();
            }
        };
        let sender =
            plan.sends_pictures().then(|| Held::take(&shared.counters.senders, shared.limits.senders));
        if let Some(None) = sender {
            let refusal = Refusal::new(503, "too many clients send pictures").bound(Bound::Senders);
            let _ = self.answer_refusal(&asked, &refusal.header("Retry-After", "5"));
            return self.stream.close();
        }
        self.stream.write_within(shared.limits.write_time);
        if self.stream.write_all(response.as_bytes()).and_then(|()| self.stream.flush()).is_err() {
            return;
        }
        self.log(&asked, 101, &identity.name);
        shared.counters.sessions.fetch_add(1, Ordering::Relaxed);
        let Ok(stream) = self.stream.into_nonblocking() else { return };
        websocket::run(stream, self.received, plan, &asked.id, &shared);
    }

    fn answer_preflight(&mut self, asked: &Asked) -> io::Result<()> {
        let answer = Answer { status: 204, headers: Vec::new(), body: Vec::new() };
        let allowed = cors::PREFLIGHT.map(|(name, value)| (name, value.to_owned()));
        self.write_answer(asked, &answer, &allowed, &nobody())
    }

    fn answer_refusal(&mut self, asked: &Asked, refusal: &Refusal) -> io::Result<()> {
        self.log(asked, refusal.problem.status, "");
        self.refuse(&asked.id, refusal, Some(&asked.head))
    }

    fn refuse(&mut self, id: &str, refusal: &Refusal, head: Option<&Head>) -> io::Result<()> {
        if let Some(bound) = refusal.bound {
            self.shared.counters.hit(bound);
        }
        let status = refusal.problem.status;
        let wants_page = status == 401
            && head
                .is_some_and(|head| head.header("accept").is_some_and(|types| types.contains("text/html")));
        let (kind, body) = if wants_page {
            ("text/html; charset=utf-8", pages::sign_in().to_vec())
        } else {
            let mut problem = refusal.problem.clone();
            problem.instance = Some(id.to_owned());
            (problem::MEDIA_TYPE, problem.to_json())
        };
        let mut headers = vec![("Content-Type", kind.to_owned())];
        headers.extend(refusal.headers.iter().map(|(name, value)| (*name, value.clone())));
        if refusal.closes || head.is_none_or(|head| !head.keep_alive) {
            headers.push(("Connection", "close".to_owned()));
        }
        self.write(status, id, &headers, &body, head)
    }

    fn write_answer(
        &mut self,
        asked: &Asked,
        answer: &Answer,
        more: &[(&'static str, String)],
        identity: &Identity,
    ) -> io::Result<()> {
        let mut headers: Vec<(&str, String)> =
            answer.headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        headers.extend(more.iter().map(|(name, value)| (*name, value.clone())));
        if !asked.head.keep_alive {
            headers.push(("Connection", "close".to_owned()));
        }
        self.write(answer.status, &asked.id, &headers, &answer.body, Some(&asked.head))?;
        self.log(asked, answer.status, &identity.name);
        Ok(())
    }

    fn write(
        &mut self,
        status: u16,
        id: &str,
        headers: &[(&str, String)],
        body: &[u8],
        asked: Option<&Head>,
    ) -> io::Result<()> {
        self.shared.counters.responded(status);
        let mut head = format!("HTTP/1.1 {status} {}\r\nX-Request-Id: {id}\r\n{SECURITY}", reason(status));
        head.push_str(&cors::lines(asked, &self.shared.origins));
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("cache-control")) {
            head.push_str("Cache-Control: no-store\r\n");
        }
        for (name, value) in headers {
            // Values come from this program; a line break in one must not become a header all the same.
            let value = value.replace(['\r', '\n'], " ");
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if asked.is_none_or(|asked| asked.method != "HEAD") {
            bytes.extend_from_slice(body);
        }
        self.stream.write_within(self.shared.limits.write_time);
        self.stream.write_all(&bytes).and_then(|()| self.stream.flush()).inspect_err(|error| {
            if error.kind() == ErrorKind::TimedOut {
                self.shared.counters.hit(Bound::WriteTime);
            }
        })
    }

    fn log(&self, asked: &Asked, status: u16, user: &str) {
        self.shared.log.say(
            if status >= 500 { Level::Warn } else { Level::Debug },
            "request",
            [
                ("request_id", asked.id.clone().into()),
                ("client", self.peer.ip().to_string().into()),
                ("user", user.into()),
                ("method", asked.head.method.clone().into()),
                ("path", asked.head.path.clone().into()),
                ("status", status.into()),
                ("ms", Value::from((asked.since.elapsed().as_micros() as f64) / 1e3)),
            ],
        );
    }
}

/// Whoever asks for what everybody may see.
fn nobody() -> Identity {
    Identity { name: "nobody".to_owned(), role: Role::View }
}

/// Bounds that a deadline needs and that cannot be nothing.
pub(super) fn sound(limits: &Limits) -> bool {
    [limits.head_time, limits.body_time, limits.idle_time, limits.write_time]
        .iter()
        .all(|time| !time.is_zero())
        && limits.connections > 0
        && limits.requests > 0
        && limits.analyses > 0
}

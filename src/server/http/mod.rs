//! What `tiny_http` answers: the API, pages, metrics. It listens on a private socket to the front door alone.

mod frame;
mod metrics;
mod multipart;
mod openapi;
mod streams;

use std::fs::Permissions;
use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use serde::Serialize;
use tempfile::TempDir;
use tiny_http::{Header, Request, Response, StatusCode};

use super::Shared;
use super::api::Health;
use super::auth;
use super::front::Refusal;
use super::log::Level;
use super::pages;
use super::problem::{self, Problem};
use super::routes::{self, Call, Found};
use crate::error::Result;

const JSON: &str = "application/json";

/// The HTTP server behind the front door.
pub(super) struct Http {
    server: Arc<tiny_http::Server>,
    path: PathBuf,
    workers: Vec<JoinHandle<()>>,
    _folder: TempDir,
}

/// An answer on its way back.
pub(super) struct Reply {
    status: u16,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn new(status: u16, kind: &'static str, body: Vec<u8>) -> Self {
        Self { status, kind, headers: Vec::new(), body }
    }

    fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(status, JSON, body),
            Err(error) => Self::problem(&Problem::new(500, error.to_string())),
        }
    }

    fn problem(problem: &Problem) -> Self {
        Self::new(problem.status, problem::MEDIA_TYPE, problem.to_json())
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Self {
        Self::problem(&problem)
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        Self::problem(&refusal.problem)
    }
}

/// A request as the front door passed it on.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) user: String,
    pub(super) query: String,
    pub(super) content_type: String,
    pub(super) accept: String,
    pub(super) body: Vec<u8>,
}

impl Http {
    /// Listens on a socket in a folder that nobody else may enter.
    ///
    /// # Errors
    /// If the system gives no folder, socket or thread.
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("endort-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir()
            .map_err(|error| super::unusable("a temporary folder", &error))?;
        let path = folder.path().join("http");
        let server = tiny_http::Server::http_unix(&path).map_err(|error| crate::Error::Runtime {
            runtime: "tiny_http".to_owned(),
            detail: error.to_string(),
        })?;
        let server = Arc::new(server);
        let count = shared.limits.requests + shared.limits.analyses;
        let workers = (0..count)
            .map(|_| {
                let (server, shared) = (Arc::clone(&server), Arc::clone(shared));
                Builder::new().name("http".to_owned()).spawn(move || work(&server, &shared))
            })
            .collect::<std::io::Result<_>>()
            .map_err(|error| super::unusable("a thread", &error))?;
        Ok(Self { server, path, workers, _folder: folder })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the workers end; one that is in the middle of an answer is not waited for.
    pub(super) fn stop(self) {
        for _ in &self.workers {
            self.server.unblock();
        }
    }
}

fn work(server: &tiny_http::Server, shared: &Arc<Shared>) {
    while !shared.stop.is_cancelled() {
        match server.recv_timeout(Duration::from_millis(500)) {
            Ok(Some(request)) => serve(request, shared),
            Ok(None) => {}
            Err(error) => {
                shared.log.say(Level::Error, "http_failed", [("detail", error.to_string().into())]);
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
}

fn serve(mut request: Request, shared: &Arc<Shared>) {
    let method = request.method().to_string();
    let reply = match read(&mut request) {
        Ok((path, asked)) => {
            // Whatever goes wrong in an answer must not take a worker with it.
            let answer = std::panic::AssertUnwindSafe(|| answer(&method, &path, &asked, shared));
            std::panic::catch_unwind(answer).unwrap_or_else(|_| {
                let fields = [("request_id", asked.id.clone().into()), ("path", path.into())];
                shared.log.say(Level::Error, "answer_panicked", fields);
                Problem::new(500, "this is a defect in endort; the log says more").into()
            })
        }
        Err(reply) => reply,
    };
    let length = reply.body.len();
    let mut headers = Vec::with_capacity(reply.headers.len() + 1);
    let all = reply.headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in all.chain([("Content-Type", reply.kind)]) {
        if let Ok(header) = Header::from_bytes(name.as_bytes(), value.as_bytes()) {
            headers.push(header);
        }
    }
    let body = Cursor::new(reply.body);
    let response = Response::new(StatusCode(reply.status), headers, body, Some(length), None);
    // The front door knows what to do where it does not arrive.
    let _ = request.respond(response.with_chunked_threshold(usize::MAX));
}

/// What the front door wrote.
fn read(request: &mut Request) -> Result<(String, Asked), Reply> {
    let header = |name: &'static str| {
        let found = request.headers().iter().find(|header| header.field.equiv(name));
        found.map_or_else(String::new, |header| header.value.as_str().to_owned())
    };
    let url = request.url().to_owned();
    let (path, query) = url.split_once('?').unwrap_or((&url, ""));
    let mut asked = Asked {
        id: header("X-Request-Id"),
        user: auth::name_in_header(&header("X-Endort-User")),
        query: query.to_owned(),
        content_type: header("Content-Type"),
        accept: header("Accept"),
        body: Vec::new(),
    };
    let read = request.as_reader().read_to_end(&mut asked.body);
    read.map_err(|error| Reply::from(Problem::new(400, format!("the body cannot be read: {error}"))))?;
    Ok((path.to_owned(), asked))
}

fn answer(method: &str, path: &str, asked: &Asked, shared: &Arc<Shared>) -> Reply {
    let Found { route, segments } = match routes::find(method, path) {
        Ok(found) => found,
        Err(refusal) => return refusal.into(),
    };
    let segment = |index: usize| segments.get(index).map_or("", String::as_str);
    let mut reply = match route.call {
        Call::Index | Call::RoomPage | Call::DocsPage => pages::page(route.call),
        Call::Asset => pages::asset(segment(0)),
        Call::OpenApi => Reply::json(200, &openapi::document(!shared.tokens.are_absent())),
        Call::Metrics => Reply::new(200, metrics::MEDIA_TYPE, metrics::text(shared).into_bytes()),
        Call::Health => health(200, "ok", shared),
        Call::Ready if shared.rooms.are_closed() => health(503, "stopping", shared),
        Call::Ready => health(200, "ok", shared),
        Call::DeviceInfo => match (shared.device)() {
            Ok(device) => Reply::json(200, &device),
            Err(error) => Problem::from(&error).into(),
        },
        Call::ProcessFrame => frame::process(asked, shared),
        Call::Stats => streams::stats(asked, shared),
        Call::StartStream => streams::start(asked, shared),
        Call::StopStream => streams::stop(asked, shared),
        Call::Streams => match routes::only(&asked.query, &[]) {
            Ok(()) => Reply::json(200, &shared.rooms.streams()),
            Err(refusal) => refusal.into(),
        },
        Call::Findings => streams::findings(segment(0), shared),
        Call::Thumbnail => streams::thumbnail(segment(0), segment(1), shared),
        // The front door answers these itself.
        Call::WhoAmI | Call::SignIn | Call::SignOut | Call::Stream => Problem::new(404, "not here").into(),
    };
    if reply.kind == problem::MEDIA_TYPE
        && let Ok(mut problem) = serde_json::from_slice::<Problem>(&reply.body)
    {
        problem.instance = Some(asked.id.clone());
        reply.body = problem.to_json();
    }
    reply
}

fn health(status: u16, word: &str, shared: &Shared) -> Reply {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let health = Health { status: word.to_owned(), version, uptime_s: shared.started.elapsed().as_secs() };
    if status == 200 {
        return Reply::json(status, &health);
    }
    Problem::new(status, word).into()
}

/// A page or one of its parts.
pub(super) fn document(kind: &'static str, body: &'static [u8]) -> Reply {
    Reply::new(200, kind, body.to_vec()).header("Cache-Control", "no-cache")
}

/// Nothing of this name.
pub(super) fn missing() -> Reply {
    Problem::new(404, "there is nothing here; /docs says what there is").into()
}

//! The server: live rooms over HTTP and WebSocket, with pages to look at.
//!
//! ```text
//!               ┌─ head, limits, Origin, token ─┐   private socket
//! client ──TLS──┤          front door           ├──────────────────► tiny_http ─► http (API, pages, metrics)
//!               └──────────────┬────────────────┘                                   │
//!                              └── WebSocket sockets ─► websocket (tungstenite)     │
//!                                                            │                      │
//!                                                            └────────► rooms ◄─────┘
//!                                                     (pipeline::run over a source and a model)
//! ```
//!
//! [`Server::start`] binds and answers; [`Server::stop`] ends rooms and connections in order. The types of the API
//! are in [`api`], its document is generated from them.

pub mod api;
mod audit;
pub mod auth;
mod front;
mod http;
pub mod limits;
pub mod log;
pub mod models;
mod ordered;
mod pages;
pub mod problem;
mod random;
mod rooms;
mod routes;
mod watched;
mod websocket;

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use api::StartStream;
use audit::Audit;
use auth::{Origins, Tokens};
use front::Front;
use limits::{Bound, Counters, Limits};
use log::Log;
use models::{Loader, Models};
pub use rooms::Defaults;
use rooms::{Room, Rooms};

/// Descriptors that are kept for everything but connections: sources, files, the private socket.
const OTHER_DESCRIPTORS: u64 = 256;
/// Whoever started the program, as logs name them.
const OPERATOR: &str = "operator of this box";
/// How long connections may take to end when the server stops.
const STOP_TIME: Duration = Duration::from_secs(5);

/// Looks at the machine.
pub type Device = Arc<dyn Fn() -> Result<Value> + Send + Sync>;

/// Everything that a server is started with.
pub struct Options {
    /// Address and port, such as `127.0.0.1:8080`; port 0 takes a free one.
    pub listen: String,
    /// Certificate chain and key, both PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who may do what.
    pub tokens: Tokens,
    /// Where requests may come from.
    pub origins: Origins,
    /// Bounds.
    pub limits: Limits,
    /// What holds for rooms that say nothing else.
    pub defaults: Defaults,
    /// Rooms that are started with the server.
    pub rooms: Vec<StartStream>,
    /// The model that is used where nobody names one.
    pub model: String,
    /// Loads models by name.
    pub loader: Loader,
    /// What `GET /edge/device-info` answers.
    pub device: Device,
    /// Where events go.
    pub log: Log,
    /// Where it is kept who started and stopped what.
    pub audit: Option<PathBuf>,
}

/// What the parts of a server share.
struct Shared {
    limits: Limits,
    counters: Arc<Counters>,
    tokens: Tokens,
    origins: Origins,
    defaults: Defaults,
    models: Arc<Models>,
    rooms: Rooms,
    device: Device,
    log: Log,
    audit: Option<Arc<Audit>>,
    started: Instant,
    stop: Cancel,
    /// Bytes of bodies that are held at this moment.
    body_memory: AtomicU64,
}

/// A server that answers.
pub struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    scheme: &'static str,
    accepting: Option<JoinHandle<()>>,
    http: http::Http,
}

impl Server {
    /// Checks everything that can be checked without binding, opening a source or loading a model.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(options: &Options) -> Result<()> {
        check_address(&options.listen, options.tokens.are_absent())?;
        if let Some((certificate, key)) = &options.tls {
            front::tls::load(certificate, key)?;
        }
        if let Some(path) = options.audit.as_ref().filter(|path| path.exists()) {
            audit::verify(path)?;
        }
        let mut names = std::collections::BTreeSet::new();
        for room in &options.rooms {
            rooms::check_name(&room.room)?;
            rooms::check_source(&room.source)?;
            if !names.insert(&room.room) {
                return Err(Error::Config {
                    origin: "rooms".to_owned(),
                    detail: format!("the room {} is there twice", room.room),
                });
            }
        }
        Ok(())
    }

    /// Binds, starts the rooms, and answers from now on.
    ///
    /// # Errors
    /// A wrong setting, an address that cannot be bound, a model that cannot be loaded.
    pub fn start(options: Options) -> Result<Self> {
        Self::check(&options)?;
        let tls = match &options.tls {
            Some((certificate, key)) => Some(front::tls::load(certificate, key)?),
            None => None,
        };
        let listener = TcpListener::bind(&options.listen).map_err(|error| Error::Config {
            origin: options.listen.clone(),
            detail: format!("cannot be listened on: {error}"),
        })?;
        let address = listener.local_addr().map_err(|error| unusable("the listening socket", &error))?;
        let mut limits = options.limits;
        limits.connections = limits.connections.min(descriptors());
        let counters = Arc::new(Counters::default());
        let models = Arc::new(Models::new(options.loader, options.model.clone(), limits.models));
        if options.defaults.enabled {
            // A server that cannot analyse says so now, and has a model at hand for the first picture.
            if let Some(model) = models.for_picture(&options.model)? {
                models.give_back(&options.model, model);
            }
        }
        let audit = options.audit.as_deref().map(Audit::open).transpose()?.map(Arc::new);
        let rooms = Rooms::new(
            options.defaults.clone(),
            Arc::clone(&models),
            limits.rooms,
            Arc::clone(&counters),
            options.log.clone(),
            audit.clone(),
        );
        let shared = Arc::new(Shared {
            limits,
            counters,
            tokens: options.tokens,
            origins: options.origins,
            defaults: options.defaults,
            models,
            rooms,
            device: options.device,
            log: options.log,
            audit,
            started: Instant::now(),
            stop: Cancel::new(),
            body_memory: AtomicU64::new(0),
        });
        shared.audit("server_started", OPERATOR, [("version", env!("CARGO_PKG_VERSION").into())])?;
        for wanted in &options.rooms {
            start_room(&shared, wanted)?;
        }
        let http = http::Http::start(&shared)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let front = Front::new(listener, Arc::clone(&shared), http.path().to_owned(), tls)?;
        let accepting = Builder::new()
            .name("accept".to_owned())
            .spawn(move || front.run())
            .map_err(|error| unusable("a thread", &error))?;
        Ok(Self { shared, address, scheme, accepting: Some(accepting), http })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to open in a browser.
    pub fn url(&self) -> String {
        format!("{}://{}/", self.scheme, self.address)
    }

    /// Ends rooms, then connections, in order and within limits.
    pub fn stop(mut self) {
        self.shared.rooms.close(OPERATOR);
        self.shared.stop.cancel();
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        let until = Instant::now() + STOP_TIME;
        let open = || self.shared.counters.websockets.load(Ordering::Acquire);
        while open() > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.http.stop();
        if let Err(error) = self.shared.audit("server_stopped", OPERATOR, []) {
            self.shared.log.warn("audit_failed", [("detail", error.to_string().into())]);
        }
    }
}

/// A share of the memory for bodies, given back when dropped.
struct BodyMemory {
    shared: Arc<Shared>,
    bytes: u64,
}

impl BodyMemory {
    fn reserve(shared: &Arc<Shared>, bytes: u64) -> Option<Self> {
        let limit = shared.limits.body_memory;
        shared
            .body_memory
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| {
                held.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .ok()
            .map(|_| Self { shared: Arc::clone(shared), bytes })
    }
}

impl BodyMemory {
    /// Memory for a picture that waits to be decoded; an error says what its sender is told.
    fn for_picture(shared: &Arc<Shared>, bytes: usize) -> Result<Self, String> {
        Self::reserve(shared, bytes as u64).ok_or_else(|| {
            shared.counters.hit(Bound::BodyMemory);
            "too many pictures are under way; try again".to_owned()
        })
    }
}

impl Drop for BodyMemory {
    fn drop(&mut self) {
        self.shared.body_memory.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl Shared {
    /// Adds a line to the audit log, where there is one.
    fn audit<const N: usize>(&self, event: &str, user: &str, fields: [(&str, Value); N]) -> Result<()> {
        match &self.audit {
            Some(audit) => audit.append(event, user, fields),
            None => Ok(()),
        }
    }

    /// Says in the log and in the audit log that somebody started or stopped a room.
    fn note_room(&self, event: &'static str, user: &str, request: &str, room: &Room) -> Result<()> {
        let info = room.info();
        self.log.info(
            event,
            [
                ("request_id", request.into()),
                ("user", user.into()),
                ("room", info.room.clone().into()),
                ("stream_id", info.stream_id.clone().into()),
            ],
        );
        self.audit(
            event,
            user,
            [
                ("room", info.room.into()),
                ("stream_id", info.stream_id.into()),
                ("source", info.source.into()),
                ("model", info.model.into()),
                ("model_sha256", info.model_sha256.into()),
                ("runtime", info.runtime.into()),
                ("target_fps", info.figures.target_fps.into()),
                ("max_latency_ms", info.max_latency_ms.into()),
                ("buffer_size", room.spec.buffer_size.into()),
                ("deidentify", room.spec.deidentify.into()),
                ("record", room.spec.recordings.is_some().into()),
                ("frames", info.figures.frames_processed.into()),
                ("findings", info.findings.into()),
            ],
        )
    }
}

fn start_room(shared: &Shared, wanted: &StartStream) -> Result<()> {
    use rooms::NotStarted;
    match shared.rooms.start(wanted, OPERATOR) {
        Ok(room) => shared.note_room("room_started", OPERATOR, "", &room),
        Err(NotStarted::Wrong(error)) => Err(error),
        Err(why) => Err(Error::Config {
            origin: format!("room {}", wanted.room),
            detail: format!("cannot be started: {why:?}"),
        }),
    }
}

/// Without a token only this machine may ask.
fn check_address(listen: &str, without_tokens: bool) -> Result<()> {
    let wrong = |allowed: &str| Error::Setting {
        origin: "server".to_owned(),
        key: "listen".to_owned(),
        value: listen.to_owned(),
        allowed: allowed.to_owned(),
    };
    let mut addresses =
        listen.to_socket_addrs().map_err(|_| wrong("must be ADDRESS:PORT, such as 127.0.0.1:8080"))?;
    if without_tokens && !addresses.all(|address| address.ip().is_loopback()) {
        return Err(wrong(
            "without --token-file only a loopback address can be bound, such as 127.0.0.1:8080",
        ));
    }
    Ok(())
}

/// Connections that the system's limit on open files leaves room for; raised as far as it may be.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    // A WebSocket session needs two more for its mailbox.
    now.map_or(usize::MAX, |now| (now.saturating_sub(OTHER_DESCRIPTORS) / 2).max(16) as usize)
}

fn unusable(what: &str, error: &std::io::Error) -> Error {
    Error::Runtime { runtime: "server".to_owned(), detail: format!("{what} cannot be used: {error}") }
}

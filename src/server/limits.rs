//! Every bound of the server: its name, its default, and a counter that says when it was hit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bounds on what clients can ask for. Each has a [`Bound`] whose counter `/metrics` shows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at once; one more is answered 503 and closed.
    pub connections: usize,
    /// WebSocket sessions at once.
    pub websockets: usize,
    /// WebSocket sessions at once that send pictures: each may hold an unfinished message of
    /// [`message_bytes`](Self::message_bytes), which nothing else counts.
    pub senders: usize,
    /// Bytes of a request's head (request line and headers).
    pub head_bytes: usize,
    /// Bytes of a request's target (path and query).
    pub target_bytes: usize,
    /// Bytes of a picture in a request's body.
    pub picture_bytes: u64,
    /// Bytes of any other body, and of a WebSocket's text message.
    pub control_bytes: u64,
    /// Bytes of all bodies, and of pictures that wait to be decoded, that are held at once.
    pub body_memory: u64,
    /// Bytes of one WebSocket message.
    pub message_bytes: usize,
    /// Time for a request's head, from its first byte; also for a TLS handshake.
    pub head_time: Duration,
    /// Time for a request's body.
    pub body_time: Duration,
    /// Silence on a connection between two requests, or before the first.
    pub idle_time: Duration,
    /// Time that a client may take to read a response, or one WebSocket message.
    pub write_time: Duration,
    /// Silence of a WebSocket client, its answers to pings included.
    pub websocket_idle_time: Duration,
    /// Pictures analysed for `process-frame` at once.
    pub analyses: usize,
    /// Other requests answered at once.
    pub requests: usize,
    /// How long a request waits for its turn before it is answered 503.
    pub turn_time: Duration,
    /// Rooms, stopped ones included.
    pub rooms: usize,
    /// Models that are kept loaded for `process-frame` and pushed pictures.
    pub models: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 2048,
            websockets: 256,
            senders: 64,
            head_bytes: 16 << 10,
            target_bytes: 4 << 10,
            picture_bytes: 32 << 20,
            control_bytes: 64 << 10,
            body_memory: 256 << 20,
            message_bytes: 16 << 20,
            head_time: Duration::from_secs(5),
            body_time: Duration::from_secs(30),
            idle_time: Duration::from_secs(30),
            write_time: Duration::from_secs(10),
            websocket_idle_time: Duration::from_secs(60),
            analyses: 2,
            requests: 16,
            turn_time: Duration::from_secs(5),
            rooms: 32,
            models: 4,
        }
    }
}

/// A bound, as its counter names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// [`Limits::connections`]
    Connections,
    /// The system's limit on open files, met by `accept` or by what a WebSocket session needs.
    Descriptors,
    /// [`Limits::websockets`]
    Websockets,
    /// [`Limits::senders`]
    Senders,
    /// [`Limits::head_bytes`], or more headers than are taken.
    HeadBytes,
    /// [`Limits::target_bytes`]
    TargetBytes,
    /// [`Limits::picture_bytes`] and [`Limits::control_bytes`]
    BodyBytes,
    /// [`Limits::body_memory`]
    BodyMemory,
    /// [`Limits::message_bytes`], and [`Limits::control_bytes`] in a text message.
    MessageBytes,
    /// [`Limits::head_time`]
    HeadTime,
    /// [`Limits::body_time`]
    BodyTime,
    /// [`Limits::idle_time`] and [`Limits::websocket_idle_time`]
    IdleTime,
    /// [`Limits::write_time`]
    WriteTime,
    /// [`Limits::analyses`] and [`Limits::requests`], waited for longer than [`Limits::turn_time`].
    Requests,
    /// [`Limits::rooms`]
    Rooms,
    /// A viewer's queue, from which the oldest message gave way.
    ViewerQueue,
}

impl Bound {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Connections,
        Self::Descriptors,
        Self::Websockets,
        Self::Senders,
        Self::HeadBytes,
        Self::TargetBytes,
        Self::BodyBytes,
        Self::BodyMemory,
        Self::MessageBytes,
        Self::HeadTime,
        Self::BodyTime,
        Self::IdleTime,
        Self::WriteTime,
        Self::Requests,
        Self::Rooms,
        Self::ViewerQueue,
    ];

    /// Its label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Descriptors => "descriptors",
            Self::Websockets => "websockets",
            Self::Senders => "senders",
            Self::HeadBytes => "head_bytes",
            Self::TargetBytes => "target_bytes",
            Self::BodyBytes => "body_bytes",
            Self::BodyMemory => "body_memory",
            Self::MessageBytes => "message_bytes",
            Self::HeadTime => "head_time",
            Self::BodyTime => "body_time",
            Self::IdleTime => "idle_time",
            Self::WriteTime => "write_time",
            Self::Requests => "requests",
            Self::Rooms => "rooms",
            Self::ViewerQueue => "viewer_queue",
        }
    }
}

/// Counters of the whole server.
#[derive(Debug, Default)]
pub struct Counters {
    hits: [AtomicU64; Bound::ALL.len()],
    /// Connections that are open.
    pub connections: AtomicU64,
    /// WebSocket sessions that are open.
    pub websockets: AtomicU64,
    /// Those of them that send pictures.
    pub senders: AtomicU64,
    /// Connections accepted since the start.
    pub accepted: AtomicU64,
    /// WebSocket sessions since the start.
    pub sessions: AtomicU64,
    /// Requests refused for a missing, wrong or insufficient token.
    pub unauthorized: AtomicU64,
    /// Requests refused for a foreign Origin or Host.
    pub foreign: AtomicU64,
    /// Requests whose head or framing was wrong.
    pub malformed: AtomicU64,
    /// Responses by the hundreds of their status.
    responses: [AtomicU64; 6],
}

impl Counters {
    /// A bound was hit.
    pub fn hit(&self, bound: Bound) {
        self.hits[bound as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often a bound was hit.
    pub fn hits(&self, bound: Bound) -> u64 {
        self.hits[bound as usize].load(Ordering::Relaxed)
    }

    /// A response was sent.
    pub fn responded(&self, status: u16) {
        if let Some(counter) = self.responses.get(usize::from(status / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Responses by class: 1 for 1xx to 5 for 5xx.
    pub fn responses(&self, class: usize) -> u64 {
        self.responses.get(class).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

/// Holds one unit of a gauge until it is dropped.
#[derive(Debug)]
pub struct Held<'a>(&'a AtomicU64);

impl<'a> Held<'a> {
    /// Takes a unit; `None` if `limit` are taken already.
    pub fn take(gauge: &'a AtomicU64, limit: usize) -> Option<Self> {
        let limit = limit as u64;
        gauge
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |held| (held < limit).then_some(held + 1))
            .ok()
            .map(|_| Self(gauge))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

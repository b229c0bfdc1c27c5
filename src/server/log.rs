//! What the server says while it runs: events with fields, written by whoever started it.

use std::sync::Arc;

use serde_json::{Map, Value};

/// How much an event matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Each request.
    Debug,
    /// What an operator wants to know.
    Info,
    /// Something went wrong and the server goes on.
    Warn,
    /// Something is broken.
    Error,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// How much it matters.
    pub level: Level,
    /// Its stable name, such as `room_state`.
    pub name: &'static str,
    /// What it is about. Never holds a token, nor an address with its credentials.
    pub fields: Map<String, Value>,
}

/// Takes events, on whichever thread they happen.
pub type Writer = Arc<dyn Fn(&Event) + Send + Sync>;

/// The way out for events; cheap to clone.
#[derive(Clone)]
pub struct Log(Writer);

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Log")
    }
}

impl Log {
    /// A log over `writer`.
    pub fn new(writer: Writer) -> Self {
        Self(writer)
    }

    /// A log that keeps nothing.
    pub fn silent() -> Self {
        Self(Arc::new(|_| {}))
    }

    /// Says something; `fields` are pairs of name and value.
    pub fn say<const N: usize>(&self, level: Level, name: &'static str, fields: [(&str, Value); N]) {
        let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        (self.0)(&Event { level, name, fields });
    }

    /// An event of [`Level::Info`].
    pub fn info<const N: usize>(&self, name: &'static str, fields: [(&str, Value); N]) {
        self.say(Level::Info, name, fields);
    }

    /// An event of [`Level::Warn`].
    pub fn warn<const N: usize>(&self, name: &'static str, fields: [(&str, Value); N]) {
        self.say(Level::Warn, name, fields);
    }
}

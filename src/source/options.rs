//! How a source is opened, and what it tells while it runs.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tap::Tap;

/// Whether the machine's own video decoders are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HwDecode {
    /// Where FFmpeg and the machine offer one; software otherwise.
    #[default]
    Auto,
    /// Never.
    Off,
}

/// What a source tells while it runs. It keeps going after each of these.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceEvent {
    /// A live source stopped delivering.
    Lost {
        /// What was observed.
        detail: String,
    },
    /// It will be opened again after a pause.
    Retrying {
        /// Why the attempt before it failed, or the source was lost.
        detail: String,
        /// Number of this attempt, from 1.
        attempt: u32,
        /// The pause before it.
        wait: Duration,
    },
    /// It delivers again.
    Back {
        /// How long there was no picture.
        outage: Duration,
    },
    /// The machine's decoder cannot be used; software decodes instead.
    HardwareUnavailable {
        /// What each kind of device said.
        detail: String,
    },
    /// Part of a recording could not be decoded, or is not there; told at its end.
    Damaged {
        /// What and how much.
        detail: String,
    },
}

/// Takes a source's events, on the thread that reads it.
pub type EventHandler = Arc<dyn Fn(&SourceEvent) + Send + Sync>;

/// How a source is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// Decoder threads; 0 for one per core.
    pub threads: usize,
    /// Whether the machine's own video decoders are used.
    pub hardware: HwDecode,
    /// How long a network source, device or named pipe may be silent before it counts as lost.
    pub io_timeout: Duration,
    /// How often a lost live source is tried again without success before that is an error.
    pub max_retries: u32,
    /// Whether a live source that is not there at first is waited for in the same way. Off by default, so
    /// that a wrong address is told at once.
    pub retry_first_open: bool,
    /// Whether times go on where a recording's clock starts again, as those of a live source always do. Off by default:
    /// a recording's frames keep its own times.
    pub follow_clock: bool,
    /// Takes events.
    pub on_event: Option<EventHandler>,
    /// Takes the packets of coded video as they are, beside the frames; for times that rise, with
    /// [`follow_clock`](Self::follow_clock).
    pub tap: Option<Tap>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            threads: 0,
            hardware: HwDecode::Auto,
            io_timeout: Duration::from_secs(5),
            max_retries: 10,
            retry_first_open: false,
            follow_clock: false,
            on_event: None,
            tap: None,
        }
    }
}

impl OpenOptions {
    /// Tells `event` to whoever wants to know.
    pub(super) fn tell(&self, event: &SourceEvent) {
        if let Some(handler) = &self.on_event {
            handler(event);
        }
    }
}

impl fmt::Debug for OpenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("threads", &self.threads)
            .field("hardware", &self.hardware)
            .field("io_timeout", &self.io_timeout)
            .field("max_retries", &self.max_retries)
            .field("retry_first_open", &self.retry_first_open)
            .field("follow_clock", &self.follow_clock)
            .finish_non_exhaustive()
    }
}

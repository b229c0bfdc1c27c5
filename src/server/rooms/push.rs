//! The source `push`: pictures that a client sends by WebSocket.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment, Timestamp};
use crate::server::BodyMemory;
use crate::source::{Source, SourceInfo, picture};

/// The source's name.
pub(in crate::server) const NAME: &str = "push";
/// How long a waiting source may overlook a cancellation.
const POLL: Duration = Duration::from_millis(50);

/// What becomes of pictures that are not analysed.
pub(super) type OnPicture = Box<dyn Fn(u64, Fate) + Send + Sync>;

/// Why a pushed picture has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// A newer one was there.
    Dropped,
    /// It could not be decoded.
    Broken(String),
}

/// Where a client leaves its pictures.
pub(in crate::server) struct Inlet {
    state: Mutex<State>,
    arrived: Condvar,
    capacity: usize,
    on_picture: OnPicture,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    next_id: u64,
    pushing: bool,
    /// Nobody takes pictures any more.
    closed: bool,
}

/// A picture that waits to be decoded.
struct Waiting {
    id: u64,
    arrived: Instant,
    encoded: Vec<u8>,
    _memory: BodyMemory,
}

impl Inlet {
    pub(super) fn new(capacity: usize, on_picture: OnPicture) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            capacity: capacity.max(1),
            on_picture,
        })
    }

    /// Takes the only seat; false if somebody pushes already.
    pub(in crate::server) fn sit(&self) -> bool {
        !std::mem::replace(&mut self.lock().pushing, true)
    }

    /// Gives the seat back.
    pub(in crate::server) fn leave(&self) {
        self.lock().pushing = false;
    }

    /// Whether somebody pushes.
    pub(super) fn is_taken(&self) -> bool {
        self.lock().pushing
    }

    /// Leaves a picture, with the memory that it takes; without, it is not kept. The oldest that waits gives way.
    pub(in crate::server) fn put(&self, encoded: Vec<u8>, memory: Result<BodyMemory, String>) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        let id = state.next_id;
        state.next_id += 1;
        let memory = match memory {
            Ok(memory) => memory,
            Err(detail) => {
                drop(state);
                return (self.on_picture)(id, Fate::Broken(detail));
            }
        };
        let stale = if state.waiting.len() == self.capacity { state.waiting.pop_front() } else { None };
        state.waiting.push_back(Waiting { id, arrived: Instant::now(), encoded, _memory: memory });
        drop(state);
        self.arrived.notify_one();
        if let Some(stale) = stale {
            (self.on_picture)(stale.id, Fate::Dropped);
        }
    }

    /// Takes no more pictures; those that wait are dropped, and their memory is given back.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(|waiting| (self.on_picture)(waiting.id, Fate::Dropped));
    }

    /// The newest picture; what it passes over is dropped.
    fn newest(&self, cancel: &Cancel) -> Result<Waiting> {
        let mut state = self.lock();
        loop {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(newest) = state.waiting.pop_back() {
                let stale: Vec<u64> = state.waiting.drain(..).map(|stale| stale.id).collect();
                drop(state);
                stale.into_iter().for_each(|id| (self.on_picture)(id, Fate::Dropped));
                return Ok(newest);
            }
            state = self.arrived.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pictures of an inlet as a source.
pub(super) struct Pushed {
    inlet: Arc<Inlet>,
    info: SourceInfo,
    name: Arc<str>,
    cancel: Cancel,
    began: Instant,
    first: Option<Frame>,
}

impl Pushed {
    /// Waits for the first picture.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn open(inlet: Arc<Inlet>, cancel: &Cancel) -> Result<Self> {
        let info = SourceInfo {
            name: NAME.to_owned(),
            width: 0,
            height: 0,
            fps: None,
            frames: None,
            duration: None,
            live: true,
            codec: "pictures".to_owned(),
            ..SourceInfo::default()
        };
        let name = Arc::from(NAME);
        let mut source =
            Self { inlet, info, name, cancel: cancel.clone(), began: Instant::now(), first: None };
        let first = source.decode_next()?;
        (source.info.width, source.info.height) = (first.picture.width(), first.picture.height());
        source.first = Some(first);
        Ok(source)
    }

    fn decode_next(&mut self) -> Result<Frame> {
        loop {
            let Waiting { id, arrived, encoded, _memory } = self.inlet.newest(&self.cancel)?;
            let begin = Instant::now();
            match picture::decode(&encoded, "the picture") {
                Ok(picture) => {
                    let ms = arrived.duration_since(self.began).as_millis() as i64;
                    return Ok(Frame {
                        id: FrameId(id),
                        source: Arc::clone(&self.name),
                        pts: Timestamp::from_ms(ms),
                        duration: None,
                        captured: Moment::default(),
                        decode: begin.elapsed(),
                        picture,
                    });
                }
                Err(error) => (self.inlet.on_picture)(id, Fate::Broken(error.to_string())),
            }
        }
    }
}

impl Source for Pushed {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => self.decode_next().map(Some),
        }
    }
}

//! One room: its source, its model, its budget, and how it fares.

mod answers;
mod life;
mod outlet;
mod state;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::hub::{Hub, Mailbox};
use super::push::{self, Fate, Inlet};
use super::record::{Recorder, Setup};
use super::relay::Relay;
use super::show::{Show, unix_ms};
use super::stats::{Buckets, Merged, RoomStats};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{FrameId, Moment};
use crate::pipeline::clock::{Clock, RealClock};
use crate::pipeline::{Analyzer, Progress};
use crate::server::api::{Figures, Message, RoomInfo, Seen, StartStream, State};
use crate::server::audit::Audit;
use crate::server::log::Log;
use crate::server::ordered::Ordered;
use crate::server::watched::Watched;
use crate::source;
use crate::source::tap::Tap;
use outlet::Veil;
use state::Status;

/// How long a stopped room may take to end.
const STOP_TIME: Duration = Duration::from_secs(10);

/// What a room is made of.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::server) struct Spec {
    /// The request, with what it took over from the run before; the next run takes over from it.
    pub(in crate::server) asked: StartStream,
    pub(in crate::server) name: String,
    /// With its credentials: shown through [`source::redact`] alone.
    pub(in crate::server) source: String,
    pub(in crate::server) target_fps: f64,
    pub(in crate::server) max_latency: Duration,
    pub(in crate::server) buffer_size: usize,
    pub(in crate::server) threads: usize,
    /// Where it is recorded, if it is.
    pub(in crate::server) recordings: Option<PathBuf>,
    /// Whether only the endoscope's picture is shown and recorded.
    pub(in crate::server) deidentify: bool,
}

/// A room.
pub(in crate::server) struct Room {
    pub(in crate::server) id: String,
    pub(in crate::server) spec: Spec,
    pub(in crate::server) hub: Hub,
    /// Where a client leaves its pictures, for the source `push`.
    pub(in crate::server) inlet: Option<Arc<Inlet>>,
    /// What was made of pushed pictures, until those before them are answered; `None` stands for dropped ones.
    answers: Option<Mutex<Ordered<Option<Message>>>>,
    /// Pushed pictures that could not be decoded.
    broken: AtomicU64,
    /// Pictures that were dropped while the AI was off, among all that were dropped.
    not_analysed: AtomicU64,
    started: SystemTime,
    model: (String, String, Option<String>),
    status: Mutex<Status>,
    stats: Mutex<RoomStats>,
    show: Show,
    /// Packets of its source, beside the frames.
    tap: Tap,
    relay: Relay,
    /// Keeps back what is outside the endoscope's picture.
    veil: Option<Mutex<Veil>>,
    withheld: AtomicU64,
    recorder: Option<Recorder>,
    progress: Progress,
    clock: RealClock,
    cancel: Cancel,
    /// Whoever stopped it; nobody where it ends by itself.
    stopped_by: OnceLock<String>,
    log: Log,
    audit: Option<Arc<Audit>>,
    reconnects: AtomicU64,
    ai_restarts: AtomicU64,
    ai_off: AtomicBool,
    /// The AI failed for good: pictures go on, the room counts as failed.
    ai_given_up: AtomicBool,
    ended: OnceLock<SystemTime>,
    /// Until somebody has waited for its end.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Room {
    /// Starts the room on threads of its own.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn start(
        id: String,
        spec: Spec,
        analyzer: Option<Watched>,
        log: Log,
        user: &str,
        audit: Option<Arc<Audit>>,
    ) -> Result<Arc<Self>> {
        let model = match &analyzer {
            Some(analyzer) => {
                let sha256 = Some(analyzer.sha256().to_owned());
                (analyzer.model().to_owned(), analyzer.runtime().to_owned(), sha256)
            }
            None => ("none".to_owned(), "none".to_owned(), None),
        };
        let tap = Tap::new();
        let recorder = spec.recordings.as_ref().map(|folder| {
            let (folder, user) = (folder.clone(), user.to_owned());
            let (room, stream_id, log) = (spec.name.clone(), id.clone(), log.clone());
            let anonymous = spec.deidentify;
            let setup = Setup { folder, room, stream_id, anonymous, user, audit: audit.clone(), log };
            Recorder::new(setup, (!anonymous).then_some(&tap))
        });
        let now = SystemTime::now();
        let room = Arc::new_cyclic(|room: &std::sync::Weak<Self>| {
            let (told, fated) = (room.clone(), room.clone());
            let on_dropped = Box::new(move |id: FrameId| {
                if let Some(room) = told.upgrade() {
                    room.dropped(id.0);
                }
            });
            let on_picture = Box::new(move |id, fate| {
                let Some(room) = fated.upgrade() else { return };
                match fate {
                    Fate::Dropped => room.progress.count_dropped(FrameId(id)),
                    Fate::Broken(detail) => {
                        room.broken.fetch_add(1, Ordering::Relaxed);
                        room.answer(id, Message::Error { frame_id: Some(id), detail });
                    }
                }
            });
            let pushed = spec.source == push::NAME;
            Self {
                id,
                hub: Hub::default(),
                inlet: pushed.then(|| Inlet::new(spec.buffer_size, on_picture)),
                answers: pushed.then(|| Mutex::new(Ordered::new())),
                broken: AtomicU64::new(0),
                not_analysed: AtomicU64::new(0),
                started: now,
                ai_off: AtomicBool::new(false),
                ai_given_up: AtomicBool::new(false),
                ended: OnceLock::new(),
                model,
                status: Mutex::new(Status {
                    state: State::Starting,
                    detail: None,
                    since: now,
                    width: 0,
                    height: 0,
                }),
                stats: Mutex::new(RoomStats::new()),
                show: Show::new(spec.max_latency),
                relay: Relay::new(&tap),
                veil: spec.deidentify.then(Mutex::default),
                withheld: AtomicU64::new(0),
                tap,
                recorder,
                progress: Progress::telling_drops(on_dropped),
                clock: RealClock::new(),
                cancel: Cancel::new(),
                stopped_by: OnceLock::new(),
                log,
                audit,
                reconnects: AtomicU64::new(0),
                ai_restarts: AtomicU64::new(0),
                spec,
                thread: Mutex::new(None),
            }
        });
        let own = Arc::clone(&room);
        let thread = Builder::new()
            .name(format!("room {}", room.spec.name))
            .spawn(move || own.run(analyzer))
            .map_err(|error| Error::Runtime { runtime: "threads".to_owned(), detail: error.to_string() })?;
        *room.thread() = Some(thread);
        Ok(room)
    }

    /// Asks the room to stop, on behalf of `user`; it goes on for a moment.
    pub(super) fn cancel(&self, user: &str) {
        // Whoever was first has stopped it.
        self.stopped_by.get_or_init(|| user.to_owned());
        self.cancel.cancel();
    }

    /// Stops the room on behalf of `user` and waits until it has ended, within limits.
    pub(in crate::server) fn stop(&self, user: &str) {
        self.cancel(user);
        let until = Instant::now() + STOP_TIME;
        while !self.has_ended() {
            if Instant::now() >= until {
                // Another run may take its name, and viewers have nothing to wait for.
                self.ended.get_or_init(SystemTime::now);
                return self.hub.close();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // Of several who stop it at once, one finds the thread.
        let thread = self.thread().take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }

    /// Adds a viewer.
    pub(in crate::server) fn join(&self, mailbox: &Arc<Mailbox>) {
        self.relay.join(&self.hub, mailbox);
    }

    /// Whether it has ended, one way or the other. One that was asked to stop has not, as long as it still runs.
    pub(in crate::server) fn is_over(&self) -> bool {
        // A room whose AI has failed for good still shows its pictures. A thread that panicked says nothing else.
        self.ended.get().is_some() || self.has_ended()
    }

    /// When it was over, as far as that was noticed.
    pub(super) fn ended(&self) -> SystemTime {
        self.ended.get().copied().unwrap_or_else(|| self.status().since)
    }

    /// Whether its thread has ended.
    fn has_ended(&self) -> bool {
        self.thread().as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The room at a glance.
    pub(in crate::server) fn info(&self) -> RoomInfo {
        let status = self.status().clone();
        let (model, runtime, model_sha256) = self.model.clone();
        RoomInfo {
            room: self.spec.name.clone(),
            stream_id: self.id.clone(),
            state: status.state,
            detail: status.detail,
            since_ms: unix_ms(status.since),
            started_ms: unix_ms(self.started),
            source: source::redact::redact(&self.spec.source),
            width: status.width,
            height: status.height,
            video: self.relay.media_type(),
            model,
            runtime,
            model_sha256,
            max_latency_ms: self.spec.max_latency.as_secs_f64() * 1e3,
            ai_off: self.ai_off.load(Ordering::Relaxed) || self.model.0 == "none",
            viewers: self.hub.len(),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            ai_restarts: self.ai_restarts.load(Ordering::Relaxed),
            findings: self.show.findings(),
            deidentified: self.spec.deidentify,
            withheld: self.withheld.load(Ordering::Relaxed),
            recording: self.recorder.as_ref().map(Recorder::status),
            figures: self.figures(),
        }
    }

    pub(in crate::server) fn figures(&self) -> Figures {
        self.stats().figures(self.spec.target_fps, self.progress.dropped(), self.progress.lost())
    }

    pub(super) fn merge_into(&self, sum: &mut Merged, figures: &Figures) {
        sum.add(&self.stats(), figures);
    }

    /// Distributions for metrics.
    pub(in crate::server) fn buckets(&self) -> (Buckets, Buckets, Vec<(&'static str, Buckets)>) {
        self.stats().buckets()
    }

    /// Pictures of coded video that viewers did not get because passing them on was too slow.
    pub(in crate::server) fn video_lost(&self) -> u64 {
        self.relay.lost()
    }

    /// The findings that are remembered, newest first.
    pub(in crate::server) fn seen(&self) -> Vec<Seen> {
        self.show.seen()
    }

    /// A finding's thumbnail.
    pub(in crate::server) fn thumbnail(&self, id: u64) -> Option<Arc<[u8]>> {
        self.show.thumbnail(id)
    }

    /// Frames that wait for the AI.
    pub(in crate::server) fn waiting(&self) -> u64 {
        self.progress.waiting()
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, RoomStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self, captured: Moment) -> Duration {
        self.clock.now().since(captured)
    }
}

//! One room: its source, its model, its budget, and how it fares.

mod outlet;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use super::hub::{Hub, Mailbox, to_text};
use super::push::{self, Fate, Inlet, Pushed};
use super::record::{Recorder, Setup};
use super::relay::Relay;
use super::show::{Show, unix_ms};
use super::stats::{Buckets, Merged, RoomStats};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{FrameId, Moment};
use crate::pipeline::clock::{Clock, RealClock};
use crate::pipeline::{self, Analyzer, Pace, Policy, Progress, RunOptions};
use crate::server::OPERATOR;
use crate::server::api::{Figures, Message, NEWEST_WINS, NOT_ANALYSED, RoomInfo, Seen, State};
use crate::server::audit::Audit;
use crate::server::log::{Level, Log};
use crate::server::ordered::Ordered;
use crate::server::watched::{Failures, Incident, MAX_FAILURES, WINDOW, Watched};
use crate::source::tap::Tap;
use crate::source::{self, EventHandler, HwDecode, OpenOptions, Source, SourceEvent};
use crate::vision::deidentify::Deidentifier;
use outlet::Outlet;

/// Pause before a source that failed is opened again; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How often a pause looks whether the room is stopped.
const POLL: Duration = Duration::from_millis(20);
/// How long a stopped room may take to end.
const STOP_TIME: Duration = Duration::from_secs(10);

/// What a room is made of.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::server) struct Spec {
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

/// How the room fares, and since when.
#[derive(Debug, Clone)]
struct Status {
    state: State,
    detail: Option<String>,
    since: SystemTime,
    width: usize,
    height: usize,
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
    veil: Option<Mutex<Deidentifier>>,
    withheld: AtomicU64,
    recorder: Option<Recorder>,
    progress: Progress,
    clock: RealClock,
    cancel: Cancel,
    log: Log,
    audit: Option<Arc<Audit>>,
    reconnects: AtomicU64,
    ai_restarts: AtomicU64,
    ai_off: AtomicBool,
    /// The AI failed for good: pictures go on, the room counts as failed.
    ai_given_up: AtomicBool,
    over: AtomicBool,
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
                over: AtomicBool::new(false),
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
        *room.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(room)
    }

    /// Asks the room to stop; it goes on for a moment.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Stops the room and waits until it has ended, within limits.
    pub(in crate::server) fn stop(&self) {
        self.cancel.cancel();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        let until = Instant::now() + STOP_TIME;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() {
            let _ = thread.join();
        }
    }

    /// Adds a viewer.
    pub(in crate::server) fn join(&self, mailbox: &Arc<Mailbox>) {
        self.relay.join(&self.hub, mailbox);
    }

    /// How it fares.
    pub(in crate::server) fn state(&self) -> State {
        self.status().state
    }

    /// Whether it has ended, one way or the other.
    pub(in crate::server) fn is_over(&self) -> bool {
        // A room whose AI has failed for good still shows its pictures. A thread that panicked says nothing else.
        self.over.load(Ordering::Acquire)
            || self
                .thread
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .is_none_or(JoinHandle::is_finished)
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

    /// Runs until the source ends, the room is stopped, or it has failed too often.
    fn run(self: &Arc<Self>, mut analyzer: Option<Watched>) {
        if let Some(analyzer) = &mut analyzer {
            let room = Arc::clone(self);
            analyzer.tell(Box::new(move |incident| room.ai_incident(incident)));
        }
        let ended = Cancel::new();
        std::thread::scope(|scope| {
            let show = || {
                if let Err(error) = self.show.run(&self.hub, &ended) {
                    self.log.warn("show_ended", [("detail", error.to_string().into())]);
                }
            };
            let relay = || {
                if let Err(error) = self.relay.run(&self.hub, &ended, || self.tell()) {
                    self.log.warn("relay_ended", [("detail", error.to_string().into())]);
                }
            };
            let record = || self.recorder.iter().for_each(|recorder| recorder.run(&ended));
            let threads = [
                Builder::new().name("show".to_owned()).spawn_scoped(scope, show),
                Builder::new().name("relay".to_owned()).spawn_scoped(scope, relay),
                Builder::new().name("record".to_owned()).spawn_scoped(scope, record),
            ];
            for error in threads.into_iter().filter_map(|thread| thread.err()) {
                self.log.warn("no_thread", [("detail", error.to_string().into())]);
            }
            self.attempts(analyzer);
            ended.cancel();
        });
        self.hub.close();
    }

    fn attempts(self: &Arc<Self>, mut analyzer: Option<Watched>) {
        let mut failures = Failures::default();
        loop {
            let outcome = self.attempt(analyzer.as_mut());
            let error = match outcome {
                Ok(()) if self.cancel.is_cancelled() => return self.end(State::Stopped, None),
                Ok(()) => return self.end(State::Stopped, Some("the source has ended".to_owned())),
                Err(Error::Cancelled) => return self.end(State::Stopped, None),
                Err(error) => error.to_string(),
            };
            if failures.count(Instant::now()) {
                let detail = format!("failed {MAX_FAILURES} times in {} s: {error}", WINDOW.as_secs());
                return self.end(State::Failed, Some(detail));
            }
            self.set(State::Reconnecting, Some(error));
            self.reconnects.fetch_add(1, Ordering::Relaxed);
            let doublings = failures.recent().saturating_sub(1) as u32;
            if !self.wait(FIRST_PAUSE * (1 << doublings)) {
                return self.end(State::Stopped, None);
            }
        }
    }

    /// The room is over; whoever sees that may start it again at once.
    fn end(&self, state: State, detail: Option<String>) {
        if let Some(audit) = &self.audit {
            let figures = self.figures();
            let fields = [
                ("room", self.spec.name.clone().into()),
                ("stream_id", self.id.clone().into()),
                ("state", state.as_str().into()),
                ("detail", detail.clone().into()),
                ("frames", figures.frames_processed.into()),
                ("findings", self.show.findings().into()),
            ];
            if let Err(error) = audit.append("room_ended", OPERATOR, fields) {
                self.log.warn("audit_failed", [("detail", error.to_string().into())]);
            }
        }
        self.over.store(true, Ordering::Release);
        self.set(state, detail);
    }

    /// Opens the source and drives it through the lanes until it ends.
    fn attempt(self: &Arc<Self>, analyzer: Option<&mut Watched>) -> Result<()> {
        let source = self.open()?;
        {
            let mut status = self.status();
            (status.width, status.height) = (source.info().width, source.info().height);
        }
        if let Some(recorder) = &self.recorder {
            recorder.opened(source.info());
        }
        let options = RunOptions {
            pace: Pace::Source,
            policy: Policy::NewestWins,
            buffer_size: self.spec.buffer_size,
            max_latency: self.spec.max_latency,
            target_fps: self.spec.target_fps,
            ..RunOptions::default()
        };
        let mut outlet = Outlet::new(self);
        let analyzer = analyzer.map(|analyzer| analyzer as &mut dyn Analyzer);
        pipeline::run(source, analyzer, &mut outlet, &options, &self.clock, &self.cancel, &self.progress)
            .map(drop)
    }

    fn open(self: &Arc<Self>) -> Result<Box<dyn Source>> {
        if let Some(inlet) = &self.inlet {
            return Ok(Box::new(Pushed::open(Arc::clone(inlet), &self.cancel)?));
        }
        let options = OpenOptions {
            threads: self.spec.threads,
            hardware: HwDecode::Auto,
            // A camera that was unplugged over lunch comes back: its source keeps trying, and says so.
            max_retries: u32::MAX,
            retry_first_open: true,
            on_event: Some(self.listener()),
            // Packets show everything.
            tap: (!self.spec.deidentify).then(|| self.tap.clone()),
            ..OpenOptions::default()
        };
        source::open(&self.spec.source, &options, &self.cancel)
    }

    fn listener(self: &Arc<Self>) -> EventHandler {
        let room = Arc::downgrade(self);
        Arc::new(move |event| {
            let Some(room) = room.upgrade() else { return };
            match event {
                SourceEvent::Lost { detail } => room.set(State::Reconnecting, Some(detail.clone())),
                SourceEvent::Retrying { detail, attempt, .. } => {
                    room.reconnects.fetch_add(1, Ordering::Relaxed);
                    room.log.say(
                        Level::Debug,
                        "source_retry",
                        [
                            ("room", room.spec.name.clone().into()),
                            ("attempt", (*attempt).into()),
                            ("detail", detail.clone().into()),
                        ],
                    );
                }
                SourceEvent::Back { .. } => room.set(room.lively(), None),
                SourceEvent::HardwareUnavailable { .. } | SourceEvent::Damaged { .. } => {}
            }
        })
    }

    /// The state of a room whose pictures come.
    fn lively(&self) -> State {
        if self.ai_given_up.load(Ordering::Relaxed) {
            State::Failed
        } else if self.ai_off.load(Ordering::Relaxed) {
            State::Stalled
        } else {
            State::Running
        }
    }

    fn ai_incident(&self, incident: Incident) {
        match incident {
            Incident::Restarting { detail } => {
                self.ai_restarts.fetch_add(1, Ordering::Relaxed);
                self.set_ai(true, Some(detail));
            }
            // The mark goes once findings come again.
            Incident::Back => self.log.info("ai_back", [("room", self.spec.name.clone().into())]),
            Incident::GivenUp { detail } => {
                self.ai_given_up.store(true, Ordering::Relaxed);
                self.set_ai(true, Some(detail));
            }
        }
    }

    fn set_ai(&self, off: bool, detail: Option<String>) {
        self.ai_off.store(off, Ordering::Relaxed);
        self.show.ai_off(off);
        let state = self.state();
        if matches!(state, State::Running | State::Stalled) {
            self.set(self.lively(), detail);
        }
    }

    fn set(&self, state: State, detail: Option<String>) {
        {
            let mut status = self.status();
            // A room that has failed for good says so to its end.
            if status.state == state && status.detail == detail {
                return;
            }
            if status.state != state {
                status.since = SystemTime::now();
            }
            status.state = state;
            status.detail.clone_from(&detail);
        }
        let level = if matches!(state, State::Running | State::Stopped | State::Starting) {
            Level::Info
        } else {
            Level::Warn
        };
        let detail = detail.map_or(serde_json::Value::Null, Into::into);
        self.log.say(
            level,
            "room_state",
            [("room", self.spec.name.clone().into()), ("state", state.as_str().into()), ("detail", detail)],
        );
        self.tell();
    }

    /// Tells viewers how the room fares.
    pub(in crate::server) fn tell(&self) {
        if let Ok(text) = to_text(&Message::Room(Box::new(self.info()))) {
            self.hub.text(&text);
        }
    }

    /// Tells viewers that a frame has no result, and why.
    fn dropped(&self, frame_id: u64) {
        let reason = if self.ai_off.load(Ordering::Relaxed) {
            self.not_analysed.fetch_add(1, Ordering::Relaxed);
            NOT_ANALYSED
        } else {
            NEWEST_WINS
        };
        self.answer(frame_id, Message::Dropped { frame_id, reason: reason.to_owned() });
    }

    /// Tells viewers what became of a frame; of pushed ones in the order in which they came.
    fn answer(&self, frame_id: u64, message: Message) {
        let Some(answers) = &self.answers else { return self.say(&message) };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match message {
            // The AI takes frames in order: what it passed over has no result.
            Message::Result(_) => answers.settle_result(frame_id, Some(message), || None),
            _ => answers.settle(frame_id, Some(message)),
        };
        // Said while the order is held, so that nobody overtakes.
        for (frame_id, message) in ready {
            let passed_over = || Message::Dropped { frame_id, reason: NEWEST_WINS.to_owned() };
            self.say(&message.unwrap_or_else(passed_over));
        }
    }

    fn say(&self, message: &Message) {
        if let Ok(text) = to_text(message) {
            self.hub.text(&text);
        }
    }

    /// Frames without a result, by reason.
    pub(in crate::server) fn drops(&self) -> [(&'static str, u64); 4] {
        let not_analysed = self.not_analysed.load(Ordering::Relaxed);
        [
            (NEWEST_WINS, self.progress.dropped().saturating_sub(not_analysed)),
            (NOT_ANALYSED, not_analysed),
            ("broken", self.broken.load(Ordering::Relaxed)),
            ("lost", self.progress.lost()),
        ]
    }

    /// Frames that wait for the AI.
    pub(in crate::server) fn waiting(&self) -> u64 {
        self.progress.waiting()
    }

    /// The client that sends pictures has gone; another may come.
    pub(in crate::server) fn camera_left(&self) {
        if matches!(self.state(), State::Running | State::Stalled) {
            self.set(State::Reconnecting, Some("the client that sends pictures has gone".to_owned()));
        }
    }

    fn wait(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if self.cancel.is_cancelled() {
                return false;
            }
            std::thread::sleep(POLL);
        }
        true
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stats(&self) -> MutexGuard<'_, RoomStats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn since(&self, captured: Moment) -> Duration {
        self.clock.now().since(captured)
    }
}

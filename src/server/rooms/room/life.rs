//! A room's life: attempts at its source, one after the other, until it is over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime};

use super::Room;
use super::outlet::Outlet;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::pipeline::{self, Analyzer, Pace, Policy, RunOptions};
use crate::server::api::State;
use crate::server::log::Level;
use crate::server::rooms::push::Pushed;
use crate::server::watched::{Failures, MAX_FAILURES, WINDOW, Watched};
use crate::source::{self, EventHandler, HwDecode, OpenOptions, Source, SourceEvent};

/// Pause before a source that failed is opened again; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// Who ended a room that nobody stopped, as the audit log names it; names of tokens have no spaces.
const ITSELF: &str = "the room itself";
/// How often a pause looks whether the room is stopped.
const POLL: Duration = Duration::from_millis(20);

/// What the thread that codes pictures for viewers adds to its nice value.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// Lets findings go before pictures where processors are few.
fn give_way() {
    // On Linux the priority is the calling thread's own (setpriority(2), "C library/kernel differences").
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Does something when a scope is left, however it is left.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl Room {
    /// Runs until the source ends, the room is stopped, or it has failed too often.
    pub(super) fn run(self: &Arc<Self>, mut analyzer: Option<Watched>) {
        if let Some(analyzer) = &mut analyzer {
            let room = Arc::clone(self);
            analyzer.tell(Box::new(move |incident| room.ai_incident(incident)));
        }
        // Viewers wait for this.
        let _close = Finally(|| self.hub.close());
        let ended = Cancel::new();
        std::thread::scope(|scope| {
            // And the scope for the threads below, which wait for this.
            let _end = Finally(|| ended.cancel());
            let show = || {
                give_way();
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
        });
    }

    fn attempts(self: &Arc<Self>, mut analyzer: Option<Watched>) {
        let mut failures = Failures::default();
        loop {
            let mut broken_off = false;
            let outcome = self.attempt(analyzer.as_mut(), &mut broken_off);
            let error = match outcome {
                Ok(()) if self.cancel.is_cancelled() => return self.end(State::Stopped, None),
                Ok(()) => return self.end(State::Stopped, Some("the source has ended".to_owned())),
                Err(Error::Cancelled) => return self.end(State::Stopped, None),
                // To play it from the beginning again would show an old examination as if it went on.
                Err(error) if broken_off => return self.end(State::Failed, Some(error.to_string())),
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
        // What waits is answered and counted before the last word is said.
        if let Some(inlet) = &self.inlet {
            inlet.close();
        }
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
            // What ends by itself says why; whoever stopped a room need not.
            let stopped_by = self.stopped_by.get().filter(|_| detail.is_none());
            let user = stopped_by.map_or(ITSELF, String::as_str);
            if let Err(error) = audit.append("room_ended", user, fields) {
                self.log.warn("audit_failed", [("detail", error.to_string().into())]);
            }
        }
        self.ended.get_or_init(SystemTime::now);
        self.set(state, detail);
    }

    /// Opens the source and drives it through the lanes until it ends. `broken_off` is set for a recording that fails after
    /// its first picture.
    fn attempt(self: &Arc<Self>, analyzer: Option<&mut Watched>, broken_off: &mut bool) -> Result<()> {
        let source = self.open()?;
        let live = source.info().live;
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
        let report =
            pipeline::run(source, analyzer, &mut outlet, &options, &self.clock, &self.cancel, &self.progress);
        *broken_off = !live && outlet.has_begun();
        report?.source_lost.map_or(Ok(()), Err)
    }

    /// Opens the source. A camera or an address that is not there yet is tried until it is.
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
            // Videos and records that are kept have one clock.
            follow_clock: true,
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
}

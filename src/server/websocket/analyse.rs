//! Pictures that one client sends to have them analysed: newest wins, every picture answered in order.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant};

use crate::config::parse_max_latency_ms;
use crate::frame::{Frame, FrameId, Moment, Timestamp};
use crate::pipeline::clock::{Clock, RealClock};
use crate::pipeline::processor::PassThrough;
use crate::pipeline::stream::{StreamEvent, StreamOptions, StreamProcessor, StreamResult};
use crate::pipeline::{Analyzer, Policy};
use crate::server::api::{Configured, Message, NEWEST_WINS, NOT_ANALYSED, Overlay};
use crate::server::log::{Level, Log};
use crate::server::models::NONE;
use crate::server::ordered::Ordered;
use crate::server::rooms::hub::{Announced, Mailbox, to_text};
use crate::server::watched::Incident;
use crate::server::{BodyMemory, Shared};
use crate::sink::picture::encode_jpeg;
use crate::source::picture;
use crate::vision::overlay::{self, OverlayOptions};

/// The source's name in records.
const SOURCE: &str = "websocket";
/// Quality of pictures that go back, 1 to 100.
const QUALITY: u8 = 85;
/// How long the thread that fetches results may overlook the session's end.
const POLL: Duration = Duration::from_millis(100);
/// Longest name of a model, in bytes: clients are told which one is in force.
const MAX_MODEL: usize = 1024;

/// What a client can set.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) model: String,
    pub(super) max_latency_ms: f64,
    pub(super) overlay: Overlay,
}

/// A client's analysis.
pub(super) struct Analysis {
    settings: Settings,
    shared: Arc<Shared>,
    out: Arc<Out>,
    clock: Arc<RealClock>,
    /// Pictures that wait to be decoded.
    waiting: VecDeque<Waiting>,
    next_id: u64,
    running: Option<Running>,
}

/// A picture that waits to be decoded.
struct Waiting {
    id: u64,
    captured: Moment,
    encoded: Vec<u8>,
    _memory: BodyMemory,
}

/// An analyzer at work.
struct Running {
    stream: Arc<StreamProcessor>,
    ended: Arc<AtomicBool>,
    /// The AI failed too often.
    given_up: Arc<AtomicBool>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // The thread that fetches results is a moment behind; the analyzer is free for others now.
        self.stream.give_up();
    }
}

/// The way back to the client.
struct Out {
    mailbox: Arc<Mailbox>,
    ordered: Mutex<Ordered<Answer>>,
    shared: Arc<Shared>,
}

enum Answer {
    Result(Box<StreamResult>, Overlay),
    /// With the reason.
    Dropped(&'static str),
    Broken(String),
}

impl Analysis {
    pub(super) fn new(settings: Settings, mailbox: Arc<Mailbox>, shared: Arc<Shared>) -> Self {
        let out = Out { mailbox, ordered: Mutex::new(Ordered::new()), shared: Arc::clone(&shared) };
        Self {
            settings,
            shared,
            out: Arc::new(out),
            clock: Arc::new(RealClock::new()),
            waiting: VecDeque::new(),
            next_id: 0,
            running: None,
        }
    }

    /// Tells the client what is in force.
    pub(super) fn tell_settings(&self) {
        let Settings { model, max_latency_ms, overlay } = self.settings.clone();
        self.out.say(&Message::Configured(Configured { model, max_latency_ms, overlay }));
    }

    /// Changes what is in force, or says what is wrong with it.
    pub(super) fn configure(
        &mut self,
        model: Option<String>,
        max_latency_ms: Option<f64>,
        overlay: Option<Overlay>,
    ) -> Result<(), String> {
        if let Some(ms) = max_latency_ms {
            self.settings.max_latency_ms = parse_max_latency_ms(&ms.to_string())
                .map_err(|allowed| format!("max_latency_ms {allowed}"))?;
        }
        if model.as_ref().is_some_and(|model| model.len() > MAX_MODEL) {
            return Err(format!("model must have at most {MAX_MODEL} bytes"));
        }
        if let Some(model) = model.filter(|_| self.shared.defaults.enabled) {
            self.settings.model = model;
        }
        if let Some(overlay) = overlay {
            self.settings.overlay = overlay;
        }
        // The next picture starts an analyzer with these settings; what is under way in this one is given up.
        self.running = None;
        let open = self.waiting.front().map_or(self.next_id, |waiting| waiting.id);
        self.out.settle_before(open, NEWEST_WINS);
        self.tell_settings();
        Ok(())
    }

    /// Takes a picture; the oldest that waits gives way.
    pub(super) fn put(&mut self, encoded: Vec<u8>) {
        if self.waiting.len() >= self.shared.defaults.buffer_size.max(1)
            && let Some(stale) = self.waiting.pop_front()
        {
            self.out.settle(stale.id, Answer::Dropped(NEWEST_WINS));
        }
        let id = self.next_id;
        self.next_id += 1;
        let memory = match BodyMemory::for_picture(&self.shared, encoded.len()) {
            Ok(memory) => memory,
            Err(detail) => return self.out.settle(id, Answer::Broken(detail)),
        };
        // A moment of nothing would be taken for one that is not known.
        let captured = self.clock.now().max(Moment(Duration::from_nanos(1)));
        self.waiting.push_back(Waiting { id, captured, encoded, _memory: memory });
    }

    /// Answers that wait for those of earlier pictures.
    pub(super) fn unsaid(&self) -> usize {
        self.out.ordered.lock().unwrap_or_else(PoisonError::into_inner).waiting()
    }

    /// Whether a picture waits to be decoded.
    pub(super) fn has_work(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Decodes the newest picture and hands it to the analyzer. `Err` ends the session.
    pub(super) fn work(&mut self) -> Result<(), ()> {
        if self.running.as_ref().is_some_and(|running| running.given_up.load(Ordering::Acquire)) {
            self.waiting.clear();
            self.out.settle_before(self.next_id, NOT_ANALYSED);
            return Err(());
        }
        let Some(Waiting { id, captured, encoded, _memory }) = self.waiting.pop_back() else { return Ok(()) };
        for stale in self.waiting.drain(..) {
            self.out.settle(stale.id, Answer::Dropped(NEWEST_WINS));
        }
        let begin = Instant::now();
        let picture = match picture::decode(&encoded, "the picture") {
            Ok(picture) => picture,
            Err(error) => {
                self.out.settle(id, Answer::Broken(error.to_string()));
                return Ok(());
            }
        };
        let frame = Frame {
            id: FrameId(id),
            source: Arc::from(SOURCE),
            pts: Timestamp::from_ms(captured.0.as_millis() as i64),
            duration: None,
            captured,
            decode: begin.elapsed(),
            picture,
        };
        let overlay = self.settings.overlay;
        if self.running.is_none() {
            match self.start(overlay) {
                Ok(running) => self.running = Some(running),
                Err(error) => {
                    self.out.settle(id, Answer::Broken(error.to_string()));
                    return Ok(());
                }
            }
        }
        let Some(running) = &self.running else { return Ok(()) };
        if running.stream.add_frame(frame) { Ok(()) } else { Err(()) }
    }

    fn start(&self, overlay: Overlay) -> crate::Result<Running> {
        let model = match self.settings.model.as_str() {
            NONE => None,
            name => self.shared.models.for_video(name)?,
        };
        let given_up = Arc::new(AtomicBool::new(false));
        let analyzer: Box<dyn Analyzer> = match model {
            Some(mut watched) => {
                let (log, failed) = (self.shared.log.clone(), Arc::clone(&given_up));
                watched.tell(Box::new(move |incident| note(&log, &failed, incident)));
                Box::new(watched)
            }
            None => Box::new(PassThrough),
        };
        let options = StreamOptions {
            policy: Policy::NewestWins,
            buffer_size: self.shared.defaults.buffer_size,
            max_latency: Duration::from_secs_f64(self.settings.max_latency_ms / 1e3),
        };
        let clock: Arc<dyn Clock> = Arc::<RealClock>::clone(&self.clock);
        let stream = Arc::new(StreamProcessor::start(analyzer, options, clock)?);
        let ended = Arc::new(AtomicBool::new(false));
        let (fetched, out, over) = (Arc::clone(&stream), Arc::clone(&self.out), Arc::clone(&ended));
        Builder::new()
            .name("results".to_owned())
            .spawn(move || {
                while !over.load(Ordering::Acquire) {
                    match fetched.get_result(POLL) {
                        Some(StreamEvent::Result(result)) => out.result(result, overlay),
                        Some(StreamEvent::Dropped(id)) => out.settle(id.0, Answer::Dropped(NEWEST_WINS)),
                        Some(StreamEvent::NotAnalysed(id)) => {
                            out.settle_taken(id.0, Answer::Dropped(NOT_ANALYSED));
                        }
                        None => {}
                    }
                }
            })
            .map_err(|error| crate::server::unusable("a thread", &error))?;
        Ok(Running { stream, ended, given_up })
    }
}

/// Says in the log what happened to a client's AI, and remembers that it is gone for good.
fn note(log: &Log, given_up: &AtomicBool, incident: Incident) {
    match incident {
        Incident::Restarting { detail } => {
            log.say(Level::Warn, "analysis_restarted", [("detail", detail.into())]);
        }
        Incident::Back => {}
        Incident::GivenUp { detail } => {
            given_up.store(true, Ordering::Release);
            log.say(Level::Error, "analysis_ended", [("detail", detail.into())]);
        }
    }
}

impl Out {
    fn settle(&self, id: u64, answer: Answer) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = ordered.settle(id, answer);
        self.send(ready);
    }

    fn settle_before(&self, id: u64, reason: &'static str) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = ordered.settle_before(id, || Answer::Dropped(reason));
        self.send(ready);
    }

    fn result(&self, mut result: Box<StreamResult>, overlay: Overlay) {
        // The time from arrival to analysis holds the decoding, which is a stage of its own.
        let stages = &mut result.record.stages_ms;
        stages.queue_wait = ((stages.queue_wait - stages.decode).max(0.0) * 1e3).round() / 1e3;
        let sum: f64 = result.record.stages_ms.iter().map(|(_, ms)| ms).sum();
        result.record.processing_time_ms = (sum * 1e3).round() / 1e3;
        self.shared.rooms.count_direct(&result.record, Duration::from_secs_f64(sum / 1e3));
        self.settle_taken(result.record.frame_id, Answer::Result(result, overlay));
    }

    /// Settles a picture that the AI took, and all before it: it takes them in order, and had passed those over.
    fn settle_taken(&self, id: u64, answer: Answer) {
        let mut ordered = self.ordered.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = ordered.settle_result(id, answer, || Answer::Dropped(NEWEST_WINS));
        self.send(ready);
    }

    /// Sends answers while the order is held, so that nobody overtakes.
    fn send(&self, ready: Vec<(u64, Answer)>) {
        for (frame_id, answer) in ready {
            match answer {
                Answer::Dropped(reason) => {
                    self.shared.rooms.count_direct_drop();
                    self.say(&Message::Dropped { frame_id, reason: reason.to_owned() });
                }
                Answer::Broken(detail) => self.say(&Message::Error { frame_id: Some(frame_id), detail }),
                Answer::Result(result, overlay) => {
                    let StreamResult { mut frame, record, .. } = *result;
                    let detections = record.detections.clone();
                    self.say(&Message::Result(Box::new(record)));
                    if overlay == Overlay::Jpeg {
                        overlay::draw(&mut frame.picture, &detections, &OverlayOptions::default());
                        self.show(&frame);
                    }
                }
            }
        }
    }

    fn show(&self, frame: &Frame) {
        let announced = Message::Picture {
            frame_id: frame.id.0,
            pts_ms: frame.pts.as_ms(),
            width: frame.picture.width(),
            height: frame.picture.height(),
        };
        if let (Ok(text), Ok(bytes)) = (to_text(&announced), encode_jpeg(&frame.picture, QUALITY)) {
            self.mailbox.picture(Arc::new(Announced { text: text.to_string(), bytes }));
        }
    }

    fn say(&self, message: &Message) {
        if let Ok(text) = to_text(message) {
            self.mailbox.text(text);
        }
    }
}

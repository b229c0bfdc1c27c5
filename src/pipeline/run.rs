//! One source through both lanes into one sink.
//!
//! ```text
//! newest-wins:   decode ──► pace ──┬────────── video channel ─────────► present (caller's thread)
//!                                  └─► FrameBuffer ──► ai ──► results ────┘
//! every-frame:   decode ──► pace ──► FrameBuffer ──► ai ──► results ──► present
//!                                      with several engines: ai ──► ai-1 … ai-n ──► track ──► results
//! pass-through:  decode ──► pace ──► video channel ──► present
//! ```

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded, never, select};

use super::buffer::FrameBuffer;
use super::clock::Clock;
use super::lane::ai_lane;
use super::options::{Pace, Policy, RunOptions};
use super::present::{Analysed, Identity, Presenter};
use super::processor::Analyzer;
use super::report::{Progress, RunReport};
use super::stage::{Failures, guard, spawn};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, Moment};
use crate::sink::Sink;
use crate::source::Source;

/// Frames decoded ahead of their time.
const DECODED_AHEAD: usize = 4;

/// A gap between two time stamps beyond which the stream has jumped rather than paused.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// What the stages share.
pub(super) struct Shared<'a> {
    pub(super) options: &'a RunOptions,
    pub(super) clock: &'a dyn Clock,
    /// Asked to stop by the user: what is under way is finished.
    pub(super) cancel: &'a Cancel,
    /// A stage has failed: everything ends at once.
    pub(super) stop: Cancel,
    pub(super) buffer: FrameBuffer<(Moment, Frame)>,
    progress: &'a Progress,
    lost: AtomicU64,
    dropped: AtomicU64,
    pub(super) failures: Failures,
    /// Why the AI lane ended although the pictures go on.
    pub(super) ai_failure: Failures,
    pub(super) ai_failed: AtomicBool,
    /// Why a source that had given frames gives no more.
    source_lost: Failures,
}

/// Drives `source` through the lanes into `sink` until its end, `cancel`, or a limit of `options`.
///
/// Without an `analyzer` the video passes through. The sink is finished when all went well, and after a
/// cancellation, with what had been captured by then.
///
/// # Errors
/// The first failure of any stage. An AI lane that fails under [`Policy::NewestWins`] does not end the run:
/// pictures go on without it and the report says why. A source that is lost after it gave frames ends the run like
/// its own end would, so that what it gave is kept; the report says why.
pub fn run(
    mut source: Box<dyn Source>,
    mut analyzer: Option<&mut dyn Analyzer>,
    sink: &mut dyn Sink,
    options: &RunOptions,
    clock: &dyn Clock,
    cancel: &Cancel,
    progress: &Progress,
) -> Result<RunReport> {
    let identity = analyzer.as_ref().map(|analyzer| Identity {
        model: analyzer.model().to_owned(),
        runtime: analyzer.runtime().to_owned(),
    });
    let live = source.info().live;
    let fallback_step =
        Duration::from_secs_f64(1.0 / source.info().fps.unwrap_or(options.target_fps).max(1e-3));
    let shared = Shared {
        options,
        clock,
        cancel,
        stop: Cancel::new(),
        buffer: FrameBuffer::new(options.policy, options.buffer_size),
        progress,
        lost: AtomicU64::new(0),
        dropped: AtomicU64::new(0),
        failures: Failures::default(),
        ai_failure: Failures::default(),
        ai_failed: AtomicBool::new(false),
        source_lost: Failures::default(),
    };
    let (decoded_tx, decoded_rx) = bounded(DECODED_AHEAD);
    let (video_tx, video_rx) = bounded(options.buffer_size.max(1));
    let (results_tx, results_rx) = bounded(options.buffer_size.max(1));

    let mut presenter = Presenter::new(options, clock, sink, progress, identity);
    let presented = std::thread::scope(|scope| {
        let shared = &shared;
        // However this ends, a stage that is running already must not go on without the others.
        let _stopping = CancelOnDrop(&shared.stop);
        let with_ai = analyzer.is_some();
        spawn(scope, "decode", &shared.failures, &shared.stop, move || {
            decode(source.as_mut(), live, &decoded_tx, shared)
        })?;
        spawn(scope, "pace", &shared.failures, &shared.stop, move || {
            // Closes the buffer however this stage ends, so that the AI lane ends too.
            let _closing = CloseOnDrop(&shared.buffer);
            let waits = options.policy == Policy::EveryFrame || (options.pace == Pace::Max && !live);
            let video = Video { channel: &video_tx, waits };
            pace(&decoded_rx, &video, Pacer::new(options, live, fallback_step), with_ai, shared)
        })?;
        let results_rx = match analyzer.take() {
            Some(analyzer) => {
                spawn(scope, "ai", &shared.failures, &shared.stop, move || {
                    let _closing = CloseOnDrop(&shared.buffer);
                    ai_lane(analyzer, &results_tx, shared)
                })?;
                results_rx
            }
            None => never(),
        };
        let result = guard("present", || present(&mut presenter, &video_rx, &results_rx, with_ai, shared));
        // Whoever waits to hand something over must not wait for a presenter that has gone.
        drop((video_rx, results_rx));
        result
    });
    if let Err(error) = presented {
        shared.failures.report(error);
    }
    if let Some(error) = shared.failures.take() {
        return Err(error);
    }
    if shared.ai_failed.load(Ordering::Acquire) {
        presenter.ai_failed();
    }
    let mut report = presenter.finish(shared.dropped.into_inner());
    report.ai_failure = shared.ai_failure.take();
    report.source_lost = shared.source_lost.take();
    report.cancelled = cancel.is_cancelled();
    if report.cancelled || report.source_lost.is_some() {
        sink.cut();
    }
    sink.finish()?;
    Ok(report)
}

/// Closes a buffer when the stage that feeds or empties it ends.
struct CloseOnDrop<'a, T>(&'a FrameBuffer<T>);

impl<T> Drop for CloseOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Stops the other stages when whoever presents ends, or when one of them could not be started.
struct CancelOnDrop<'a>(&'a Cancel);

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn decode(source: &mut dyn Source, live: bool, decoded: &Sender<Frame>, shared: &Shared) -> Result<()> {
    let mut given = false;
    while !shared.stop.is_cancelled() && !shared.cancel.is_cancelled() {
        match source.next() {
            Ok(Some(mut frame)) => {
                given = true;
                if live {
                    // Whatever waits from here on is latency.
                    frame.captured = shared.clock.now();
                }
                if decoded.send(frame).is_err() {
                    break;
                }
            }
            Err(lost @ Error::SourceLost { .. }) if given => {
                shared.source_lost.report(lost);
                break;
            }
            Ok(None) | Err(Error::Cancelled) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Decides when a frame is due.
struct Pacer {
    /// Whether frames bring the moment at which they were captured.
    live: bool,
    at_source_pace: bool,
    fallback_step: Duration,
    max_duration: Option<Duration>,
    /// Time stamp and due time of the frame before.
    last: Option<(f64, Moment)>,
    /// Warm-up frames still to come: the limit counts from the first frame after them.
    warming_up: u64,
    measured_since: Option<Moment>,
}

impl Pacer {
    fn new(options: &RunOptions, live: bool, fallback_step: Duration) -> Self {
        Self {
            live,
            // A live source is its own pace: what it hands over is due now.
            at_source_pace: options.pace == Pace::Source && !live,
            fallback_step,
            max_duration: options.max_duration,
            last: None,
            warming_up: options.warmup_frames,
            measured_since: None,
        }
    }

    /// The moment a frame with this time stamp is due; `None` once the run has lasted long enough.
    fn due(&mut self, pts_ms: f64, now: Moment) -> Option<Moment> {
        let due = match self.last {
            Some((last_pts, last_due)) if self.at_source_pace => {
                let step = Duration::try_from_secs_f64((pts_ms - last_pts) / 1e3).unwrap_or(LONGEST_PAUSE);
                last_due + if step < LONGEST_PAUSE { step } else { self.fallback_step }
            }
            _ => now,
        };
        self.last = Some((pts_ms, due));
        if self.warming_up > 0 {
            self.warming_up -= 1;
            return Some(due);
        }
        let since = *self.measured_since.get_or_insert(due);
        let over = self.max_duration.is_some_and(|limit| due.since(since) >= limit);
        (!over).then_some(due)
    }
}

fn pace(
    decoded: &Receiver<Frame>,
    video: &Video,
    mut pacer: Pacer,
    with_ai: bool,
    shared: &Shared,
) -> Result<()> {
    let options = shared.options;
    let joined = with_ai && options.policy == Policy::EveryFrame;
    for (count, mut frame) in (0_u64..).zip(decoded.iter()) {
        if shared.stop.is_cancelled() || options.max_frames.is_some_and(|limit| count >= limit) {
            break;
        }
        let Some(due) = pacer.due(frame.pts.as_ms(), shared.clock.now()) else { break };
        if !shared.clock.sleep_until(due, shared.cancel) {
            break;
        }
        if !pacer.live {
            frame.captured = due;
        }
        // The picture goes first, so that it is always there before its findings. One that is lost needs none.
        let sent = if joined { Sent::Taken } else { video.send(frame.clone(), shared) };
        if sent == Sent::Gone {
            break;
        }
        if with_ai && sent == Sent::Taken {
            let entered = shared.clock.now();
            shared.buffer.push((entered, frame), &shared.stop, |(_, stale)| drop_frame(&stale, shared));
            tell_waiting(shared);
        }
    }
    Ok(())
}

/// The presenter's end of the video lane.
struct Video<'a> {
    channel: &'a Sender<Frame>,
    /// Where every frame counts, and where a recording goes as fast as it is taken, it waits for who takes it.
    waits: bool,
}

/// What became of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sent {
    Taken,
    /// There was no room for it.
    Lost,
    /// There is nobody any more who takes it.
    Gone,
}

impl Video<'_> {
    /// Hands a picture to the presenter. What is due now and finds no room is lost.
    fn send(&self, frame: Frame, shared: &Shared) -> Sent {
        if self.waits {
            return self.channel.send(frame).map_or(Sent::Gone, |()| Sent::Taken);
        }
        match self.channel.try_send(frame) {
            Ok(()) => Sent::Taken,
            Err(TrySendError::Full(_)) => {
                shared.lost.fetch_add(1, Ordering::Relaxed);
                Sent::Lost
            }
            Err(TrySendError::Disconnected(_)) => Sent::Gone,
        }
    }
}

/// Tells how many frames wait for the AI.
pub(super) fn tell_waiting(shared: &Shared) {
    shared.progress.set_waiting(shared.buffer.len());
}

/// Counts a frame that its policy gives up.
pub(super) fn drop_frame(frame: &Frame, shared: &Shared) {
    shared.progress.count_dropped(frame.id);
    if frame.id.0 >= shared.options.warmup_frames {
        shared.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

fn present(
    presenter: &mut Presenter,
    video: &Receiver<Frame>,
    results: &Receiver<Analysed>,
    with_ai: bool,
    shared: &Shared,
) -> Result<()> {
    let (no_video, no_results) = (never(), never());
    let (mut video_open, mut results_open) = (true, with_ai);
    while (video_open || results_open) && !shared.stop.is_cancelled() {
        let from_video = if video_open { video } else { &no_video };
        let from_results = if results_open { results } else { &no_results };
        select! {
            recv(from_video) -> frame => match frame {
                Ok(frame) => presenter.on_frame(frame)?,
                Err(_) => video_open = false,
            },
            recv(from_results) -> result => match result {
                Ok(result) => {
                    // Its own picture first. What came after that has its turn: a sink that is slower than the camera
                    // always finds another one.
                    while presenter.newest().is_none_or(|id| id < result.frame.id)
                        && let Ok(frame) = video.try_recv()
                    {
                        presenter.on_frame(frame)?;
                    }
                    presenter.on_analysis(result)?;
                }
                Err(_) => results_open = false,
            },
        }
        if shared.ai_failed.load(Ordering::Acquire) {
            presenter.ai_failed();
        }
        presenter.on_lost(shared.lost.swap(0, Ordering::Relaxed));
    }
    Ok(())
}

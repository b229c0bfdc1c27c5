//! What a run measured.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::stats::Histogram;
use crate::error::Error;
use crate::frame::FrameId;

/// A stage that a frame passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Decoding.
    Decode,
    /// Waiting in the AI lane's buffer.
    QueueWait,
    /// From decoded planes to the network's input.
    Preprocess,
    /// The network.
    Inference,
    /// From the network's output to findings, tracking included.
    Postprocess,
    /// Drawing.
    Overlay,
}

impl Stage {
    /// All stages, in the order that frames pass them.
    pub const ALL: [Self; 6] =
        [Self::Decode, Self::QueueWait, Self::Preprocess, Self::Inference, Self::Postprocess, Self::Overlay];

    /// The stage's name in records, reports and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::QueueWait => "queue_wait",
            Self::Preprocess => "preprocess",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
            Self::Overlay => "overlay",
        }
    }
}

/// Distribution of the time spent in each stage.
#[derive(Debug, Clone)]
pub struct StageStats([Histogram; Stage::ALL.len()]);

impl StageStats {
    /// Adds one frame's time in one stage.
    pub fn record(&mut self, stage: Stage, duration: Duration) {
        self.0[stage as usize].record(duration);
    }

    /// The distribution of one stage.
    pub fn get(&self, stage: Stage) -> &Histogram {
        &self.0[stage as usize]
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| mine.merge(theirs));
    }
}

impl Default for StageStats {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Histogram::new()))
    }
}

/// What a run measured, warm-up left out of every distribution and of `frames`.
#[derive(Debug, Default)]
pub struct RunReport {
    /// Frames that the presenter handed to the sink.
    pub frames: u64,
    /// Frames presented before measuring began.
    pub warmup_frames: u64,
    /// Frames that the AI lane's policy skipped on purpose.
    pub dropped: u64,
    /// Frames that were due and never presented: the video lane lost them.
    pub lost: u64,
    /// Measured frames whose findings were presented.
    pub analysed: u64,
    /// Frames that were presented without analysis because the AI lane had failed.
    pub unanalysed: u64,
    /// From the first measured frame's presentation to the last one's.
    pub elapsed: Duration,
    /// From the start of the run until the first frame's result was presented.
    pub first_result: Option<Duration>,
    /// Captured → presented together with its analysis; for pass-through, captured → presented.
    pub latency: Histogram,
    /// Captured → picture presented.
    pub video_delay: Histogram,
    /// Captured → its findings presented.
    pub annotation_delay: Histogram,
    /// Time inside each stage.
    pub stages: StageStats,
    /// Frames beyond the budget, lost and unanalysed frames included.
    pub violations: u64,
    /// Most violations in a row.
    pub longest_violation_run: u64,
    /// Pictures that were marked "AI OFF" because the AI lane was silent.
    pub ai_off_frames: u64,
    /// Why the AI lane ended early, where the pictures went on without it.
    pub ai_failure: Option<Error>,
    /// Why the source gave no more, where it had given frames and did not end by itself.
    pub source_lost: Option<Error>,
    /// Whether the run ended by cancellation.
    pub cancelled: bool,
}

impl RunReport {
    /// Frames per second of wall time that were presented *with their analysis*; for pass-through,
    /// presented at all. 0 for fewer than two frames.
    pub fn fps(&self) -> f64 {
        let complete = self.latency.count();
        if self.frames == 0 { 0.0 } else { self.video_fps() * complete as f64 / self.frames as f64 }
    }

    /// Pictures per second of wall time, analysed or not; 0 for fewer than two frames.
    pub fn video_fps(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if self.frames < 2 || seconds <= 0.0 { 0.0 } else { (self.frames - 1) as f64 / seconds }
    }

    /// Violations as a share of all measured frames that were due.
    pub fn violation_rate(&self) -> f64 {
        let due = self.frames + self.lost;
        if due == 0 { 0.0 } else { self.violations as f64 / due as f64 }
    }

    /// Both runs as one: counts added, distributions merged. `elapsed` and `first_result` stay this run's, because
    /// runs side by side share the wall time.
    pub fn merged(mut self, other: Self) -> Self {
        self.frames += other.frames;
        self.warmup_frames += other.warmup_frames;
        self.dropped += other.dropped;
        self.lost += other.lost;
        self.analysed += other.analysed;
        self.unanalysed += other.unanalysed;
        self.violations += other.violations;
        self.ai_off_frames += other.ai_off_frames;
        self.longest_violation_run = self.longest_violation_run.max(other.longest_violation_run);
        self.latency.merge(&other.latency);
        self.video_delay.merge(&other.video_delay);
        self.annotation_delay.merge(&other.annotation_delay);
        self.stages.merge(&other.stages);
        self.ai_failure = self.ai_failure.or(other.ai_failure);
        self.source_lost = self.source_lost.or(other.source_lost);
        self.cancelled |= other.cancelled;
        self
    }
}

/// Takes the number of a frame that was dropped, on the thread that dropped it.
pub type DropHandler = Box<dyn Fn(FrameId) + Send + Sync>;

/// Counters of a run under way, for a progress bar or a page.
#[derive(Default)]
pub struct Progress {
    presented: AtomicU64,
    dropped: AtomicU64,
    lost: AtomicU64,
    on_dropped: Option<DropHandler>,
    source_us: AtomicU64,
    waiting: AtomicU64,
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("presented", &self.presented())
            .field("dropped", &self.dropped())
            .field("lost", &self.lost())
            .finish_non_exhaustive()
    }
}

impl Progress {
    /// Counters that also tell which frames were dropped.
    pub fn telling_drops(on_dropped: DropHandler) -> Self {
        Self { on_dropped: Some(on_dropped), ..Self::default() }
    }

    /// Frames presented so far.
    pub fn presented(&self) -> u64 {
        self.presented.load(Ordering::Relaxed)
    }

    /// Frames dropped by policy so far.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Frames that the video lane lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Presentation time of the latest frame, within the source.
    pub fn source_time(&self) -> Duration {
        Duration::from_micros(self.source_us.load(Ordering::Relaxed))
    }

    /// Frames that wait for the AI now.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn set_waiting(&self, frames: usize) {
        self.waiting.store(frames as u64, Ordering::Relaxed);
    }

    pub(super) fn count_presented(&self, pts_ms: f64) {
        self.presented.fetch_add(1, Ordering::Relaxed);
        self.source_us.store((pts_ms.max(0.0) * 1e3) as u64, Ordering::Relaxed);
    }

    /// Counts a frame that gave way to a newer one, and tells it.
    pub(crate) fn count_dropped(&self, id: FrameId) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
        if let Some(handler) = &self.on_dropped {
            handler(id);
        }
    }

    pub(super) fn count_lost(&self, frames: u64) {
        self.lost.fetch_add(frames, Ordering::Relaxed);
    }
}

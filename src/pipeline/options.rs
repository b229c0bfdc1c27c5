//! How a run behaves: pace, policy, budget and bounds.

use std::time::Duration;

use crate::vision::overlay::OverlayOptions;

/// When frames are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// Each frame at its time stamp, as a camera would deliver it.
    #[default]
    Source,
    /// As fast as everything goes.
    Max,
}

/// What happens to a frame that the AI lane has no time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// It is dropped and counted as soon as a newer one is there: for live video.
    #[default]
    NewestWins,
    /// It waits, and the source waits with it: for recordings.
    EveryFrame,
}

/// Which findings a picture is shown with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compose {
    /// The latest there are: the picture never waits.
    #[default]
    Latest,
    /// Its own: the picture waits for its analysis.
    Joined,
}

/// Settings of a run.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// When frames are due.
    pub pace: Pace,
    /// What happens to a frame that the AI lane has no time for.
    pub policy: Policy,
    /// Frames that may wait before the AI lane, and before the presenter.
    pub buffer_size: usize,
    /// Latency beyond which a frame violates its budget.
    pub max_latency: Duration,
    /// Frame rate of sources that state none.
    pub target_fps: f64,
    /// Time after which the picture is marked when the AI lane is silent, or gives nothing but findings that are too
    /// old to be shown.
    pub stall_after: Duration,
    /// Frames at the start that are presented but kept out of the statistics.
    pub warmup_frames: u64,
    /// End after this many frames.
    pub max_frames: Option<u64>,
    /// End after this much source time (at camera pace) or wall time (at full pace), warm-up not counted.
    pub max_duration: Option<Duration>,
    /// How findings are drawn.
    pub overlay: OverlayOptions,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            pace: Pace::Source,
            policy: Policy::NewestWins,
            buffer_size: 5,
            max_latency: Duration::from_millis(200),
            target_fps: 30.0,
            stall_after: Duration::from_millis(500),
            warmup_frames: 0,
            max_frames: None,
            max_duration: None,
            overlay: OverlayOptions::default(),
        }
    }
}

impl RunOptions {
    /// How pictures and findings are joined: follows from the policy, since only a source that waits
    /// can give each picture its own findings without delaying the next.
    pub fn compose(&self) -> Compose {
        match self.policy {
            Policy::NewestWins => Compose::Latest,
            Policy::EveryFrame => Compose::Joined,
        }
    }
}

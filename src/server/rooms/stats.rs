//! A room's figures while it runs.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::pipeline::report::Stage;
use crate::pipeline::stats::{Histogram, Summary};
use crate::record::FrameRecord;
use crate::server::api::Figures;

/// How far back "recent" looks.
const RECENT: Duration = Duration::from_secs(60);
/// Most results that are remembered for it: a minute at 120 a second.
const MAX_RECENT: usize = 7200;
/// Pictures that a frame rate is taken over.
const RATE_PICTURES: usize = 60;
/// A rate of pictures older than this is none.
const RATE_AGE: Duration = Duration::from_secs(3);

/// Upper bounds of the buckets in metrics, in seconds.
pub(in crate::server) const BUCKETS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0];

/// Counts per bucket, as Prometheus wants them.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct Buckets {
    /// Not cumulative; the last counts what is beyond all bounds.
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

impl Buckets {
    fn record(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = BUCKETS.iter().position(|bound| seconds <= *bound).unwrap_or(BUCKETS.len());
        self.counts[at] += 1;
        self.sum += seconds;
    }

    /// Bound and cumulative count of each bucket; the last has no bound.
    pub(in crate::server) fn cumulative(&self) -> impl Iterator<Item = (Option<f64>, u64)> {
        let bounds = BUCKETS.iter().copied().map(Some).chain([None]);
        bounds.zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }

    /// Number and sum of all durations.
    pub(in crate::server) fn total(&self) -> (u64, f64) {
        (self.counts.iter().sum(), self.sum)
    }
}

/// One distribution, for people and for metrics.
#[derive(Debug, Default)]
struct Distribution {
    exact: Histogram,
    buckets: Buckets,
}

impl Distribution {
    fn record(&mut self, duration: Duration) {
        self.exact.record(duration);
        self.buckets.record(duration);
    }
}

/// The figures.
#[derive(Debug)]
pub(super) struct RoomStats {
    frames: u64,
    results: u64,
    violations: u64,
    latency: Distribution,
    video_delay: Distribution,
    stages: [Distribution; Stage::ALL.len()],
    recent: VecDeque<(Instant, Duration)>,
    presented: VecDeque<Instant>,
}

impl RoomStats {
    pub(super) fn new() -> Self {
        Self {
            frames: 0,
            results: 0,
            violations: 0,
            latency: Distribution::default(),
            video_delay: Distribution::default(),
            stages: std::array::from_fn(|_| Distribution::default()),
            recent: VecDeque::new(),
            presented: VecDeque::with_capacity(RATE_PICTURES),
        }
    }

    /// A picture was presented.
    pub(super) fn picture(&mut self, delay: Duration) {
        self.frames += 1;
        self.video_delay.record(delay);
        if self.presented.len() == RATE_PICTURES {
            self.presented.pop_front();
        }
        self.presented.push_back(Instant::now());
    }

    /// A frame's findings were presented.
    pub(super) fn result(&mut self, record: &FrameRecord, latency: Duration) {
        self.results += 1;
        self.violations += u64::from(record.violation);
        self.latency.record(latency);
        for (stage, (_, ms)) in self.stages.iter_mut().zip(record.stages_ms.iter()) {
            stage.record(Duration::try_from_secs_f64(ms / 1e3).unwrap_or_default());
        }
        let now = Instant::now();
        while self.recent.len() >= MAX_RECENT
            || self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > RECENT)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((now, latency));
    }

    /// The figures as they are told; what the pipeline counts itself is given.
    pub(super) fn figures(&self, target_fps: f64, dropped: u64, lost: u64) -> Figures {
        let due = self.results + lost;
        let violations = self.violations + lost;
        Figures {
            target_fps,
            fps: self.rate(Instant::now()),
            frames_processed: self.frames,
            frames_dropped: dropped,
            frames_lost: lost,
            latency_ms: self.latency.exact.summary(),
            recent_latency_ms: summary_of(self.recent(Instant::now()).collect()),
            video_delay_ms: self.video_delay.exact.summary(),
            violations,
            violation_rate: if due == 0 { 0.0 } else { violations as f64 / due as f64 },
            stages_ms: self.stage_summaries(),
        }
    }

    /// Latency, video delay and stages for metrics.
    pub(super) fn buckets(&self) -> (Buckets, Buckets, Vec<(&'static str, Buckets)>) {
        let stages = Stage::ALL.iter().zip(&self.stages);
        let stages = stages.map(|(stage, found)| (stage.name(), found.buckets.clone())).collect();
        (self.latency.buckets.clone(), self.video_delay.buckets.clone(), stages)
    }

    fn rate(&self, now: Instant) -> f64 {
        let (Some(first), Some(last)) = (self.presented.front(), self.presented.back()) else { return 0.0 };
        let span = last.duration_since(*first).as_secs_f64();
        if now.duration_since(*last) > RATE_AGE || span <= 0.0 {
            return 0.0;
        }
        (self.presented.len() - 1) as f64 / span
    }

    /// Latencies of the last minute: results that stopped coming take none out.
    fn recent(&self, now: Instant) -> impl Iterator<Item = Duration> {
        let young = move |at: &Instant| now.saturating_duration_since(*at) <= RECENT;
        self.recent.iter().filter(move |(at, _)| young(at)).map(|(_, latency)| *latency)
    }

    fn stage_summaries(&self) -> BTreeMap<String, Summary> {
        let stages = Stage::ALL.iter().zip(&self.stages);
        stages.map(|(stage, found)| (stage.name().to_owned(), found.exact.summary())).collect()
    }
}

/// Figures of several rooms together.
#[derive(Debug, Default)]
pub(super) struct Merged {
    counts: Figures,
    results: u64,
    latency: Histogram,
    video_delay: Histogram,
    recent: Vec<Duration>,
    stages: [Histogram; Stage::ALL.len()],
}

impl Merged {
    /// Adds a room, whose `figures` were taken a moment ago.
    pub(super) fn add(&mut self, room: &RoomStats, figures: &Figures) {
        let counts = &mut self.counts;
        counts.fps += figures.fps;
        counts.frames_processed += figures.frames_processed;
        counts.frames_dropped += figures.frames_dropped;
        counts.frames_lost += figures.frames_lost;
        counts.violations += figures.violations;
        self.results += room.results;
        self.latency.merge(&room.latency.exact);
        self.video_delay.merge(&room.video_delay.exact);
        self.recent.extend(room.recent(Instant::now()));
        for (mine, theirs) in self.stages.iter_mut().zip(&room.stages) {
            mine.merge(&theirs.exact);
        }
    }

    /// The figures.
    pub(super) fn figures(self, target_fps: f64) -> Figures {
        let stages = Stage::ALL.iter().zip(&self.stages);
        let due = self.results + self.counts.frames_lost;
        Figures {
            target_fps,
            latency_ms: self.latency.summary(),
            recent_latency_ms: summary_of(self.recent),
            video_delay_ms: self.video_delay.summary(),
            stages_ms: stages.map(|(stage, found)| (stage.name().to_owned(), found.summary())).collect(),
            violation_rate: if due == 0 { 0.0 } else { self.counts.violations as f64 / due as f64 },
            ..self.counts
        }
    }
}

/// Exact percentiles by nearest rank.
fn summary_of(mut values: Vec<Duration>) -> Summary {
    if values.is_empty() {
        return Summary::default();
    }
    values.sort_unstable();
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    let rank = |p: f64| {
        let rank = (p / 100.0 * values.len() as f64).ceil().max(1.0) as usize;
        values.get(rank - 1).copied().map_or(0.0, ms)
    };
    Summary {
        avg: values.iter().copied().map(ms).sum::<f64>() / values.len() as f64,
        p50: rank(50.0),
        p95: rank(95.0),
        p99: rank(99.0),
        p999: rank(99.9),
        max: values.last().copied().map_or(0.0, ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative_and_hold_everything() {
        let mut buckets = Buckets::default();
        for ms in [0, 1, 2, 40, 199, 200, 201, 5000] {
            buckets.record(Duration::from_millis(ms));
        }
        let counts: Vec<_> = buckets.cumulative().collect();
        assert_eq!(counts[0], (Some(0.001), 2));
        assert_eq!(counts[10], (Some(0.2), 6));
        assert_eq!(*counts.last().unwrap(), (None, 8));
        assert_eq!(buckets.total().0, 8);
        assert!((buckets.total().1 - 5.643).abs() < 1e-9);
    }

    #[test]
    fn results_that_stopped_coming_are_not_recent() {
        let mut stats = RoomStats::new();
        let now = Instant::now();
        stats.recent.extend([(now, Duration::from_millis(5)), (now + RECENT / 2, Duration::from_millis(7))]);
        let recent = |after: Duration| stats.recent(now + after).count();
        assert_eq!([RECENT, RECENT * 5 / 4, RECENT * 2].map(recent), [2, 1, 0]);
    }

    #[test]
    fn summaries_are_nearest_ranks() {
        let summary = summary_of((1..=100).rev().map(Duration::from_millis).collect());
        assert_eq!((summary.p50, summary.p95, summary.p99, summary.max), (50.0, 95.0, 99.0, 100.0));
        assert_eq!(summary_of(vec![]), Summary::default());
    }
}

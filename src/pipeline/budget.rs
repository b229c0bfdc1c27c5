//! The real-time budget: what a run is held to, and whether it met it.

use serde::{Deserialize, Serialize};

use super::options::Pace;
use super::report::{RunReport, Stage};

/// Share of the wanted frame rate that a run must reach. The rest is what time stamps rounded to
/// milliseconds and the last frame's wait cost.
const FPS_TOLERANCE: f64 = 0.99;

/// Limits of the real-time budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// Longest latency of a single frame, in milliseconds.
    pub max_latency_ms: f64,
    /// Frames per second.
    pub target_fps: f64,
}

impl Budget {
    /// Preprocessing takes at most this long, in milliseconds (P99).
    pub const PREPROCESS_MS: f64 = 10.0;
    /// Inference takes at most this share of the longest latency (P99).
    pub const INFERENCE_SHARE: f64 = 0.75;
    /// Share of frames that may violate the budget.
    pub const VIOLATION_RATE: f64 = 0.01;
}

/// One limit of the budget beside what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetRow {
    /// The figure's name, its unit included.
    pub name: String,
    /// What is allowed: a maximum, for `fps` a minimum.
    pub limit: f64,
    /// What was measured.
    pub value: f64,
    /// Whether the limit was kept.
    pub met: bool,
}

impl BudgetRow {
    fn below(name: &str, limit: f64, value: f64) -> Self {
        Self { name: name.to_owned(), limit, value, met: value < limit }
    }

    fn at_least(name: &str, limit: f64, value: f64) -> Self {
        Self { name: name.to_owned(), limit, value, met: value >= limit }
    }
}

impl Budget {
    /// Holds a run against the budget.
    ///
    /// Average, P95 and P99 of the latency get 50, 75 and 100 % of the longest latency. `source_fps` caps
    /// the wanted frame rate at camera pace: a 25 fps recording cannot be shown at 30. At full pace latency
    /// is a matter of how many frames wait, so that only throughput and stages count.
    pub fn check(&self, report: &RunReport, pace: Pace, source_fps: Option<f64>) -> Vec<BudgetRow> {
        let latency = report.latency.summary();
        let stage_p99 = |stage| report.stages.get(stage).summary().p99;
        let wanted = match (pace, source_fps) {
            (Pace::Source, Some(fps)) => self.target_fps.min(fps),
            _ => self.target_fps,
        };
        let mut rows = Vec::new();
        if pace == Pace::Source {
            rows.push(BudgetRow::below("avg_ms", self.max_latency_ms * 0.5, latency.avg));
            rows.push(BudgetRow::below("p95_ms", self.max_latency_ms * 0.75, latency.p95));
            rows.push(BudgetRow::below("p99_ms", self.max_latency_ms, latency.p99));
            rows.push(BudgetRow::below("violation_rate", Self::VIOLATION_RATE, report.violation_rate()));
        }
        rows.push(BudgetRow::at_least("fps", wanted * FPS_TOLERANCE, report.fps()));
        if report.stages.get(Stage::Inference).count() > 0 {
            rows.push(BudgetRow::below(
                "preprocess_p99_ms",
                Self::PREPROCESS_MS,
                stage_p99(Stage::Preprocess),
            ));
            let limit = self.max_latency_ms * Self::INFERENCE_SHARE;
            rows.push(BudgetRow::below("inference_p99_ms", limit, stage_p99(Stage::Inference)));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const BUDGET: Budget = Budget { max_latency_ms: 200.0, target_fps: 30.0 };

    fn report(frames: u64, latency_ms: u64) -> RunReport {
        let mut report = RunReport { frames, analysed: frames, ..RunReport::default() };
        report.elapsed = Duration::from_secs_f64((frames - 1) as f64 / 30.0);
        (0..frames).for_each(|_| report.latency.record(Duration::from_millis(latency_ms)));
        report
    }

    fn missed(report: &RunReport, pace: Pace, fps: Option<f64>) -> Vec<String> {
        let rows = BUDGET.check(report, pace, fps);
        rows.into_iter().filter(|row| !row.met).map(|row| row.name).collect()
    }

    #[test]
    fn the_limits_are_those_of_the_order() {
        let limits: Vec<_> =
            BUDGET.check(&report(10, 1), Pace::Source, None).iter().map(|row| row.limit).collect();
        assert_eq!(limits, [100.0, 150.0, 200.0, 0.01, 29.7]);
    }

    #[test]
    fn each_limit_is_missed_where_it_is_exceeded() {
        assert!(missed(&report(300, 90), Pace::Source, Some(30.0)).is_empty());
        assert_eq!(missed(&report(300, 120), Pace::Source, Some(30.0)), ["avg_ms"]);
        assert_eq!(missed(&report(300, 160), Pace::Source, Some(30.0)), ["avg_ms", "p95_ms"]);
        let mut late = report(300, 20);
        late.violations = 3;
        assert_eq!(missed(&late, Pace::Source, Some(30.0)), ["violation_rate"]);
    }

    #[test]
    fn the_source_caps_the_wanted_rate_at_camera_pace_alone() {
        let mut slow = report(250, 20);
        slow.elapsed = Duration::from_secs_f64(249.0 / 25.0);
        assert!(missed(&slow, Pace::Source, Some(25.0)).is_empty());
        assert_eq!(missed(&slow, Pace::Source, Some(30.0)), ["fps"]);
        assert_eq!(missed(&slow, Pace::Max, Some(25.0)), ["fps"]);
    }

    #[test]
    fn queueing_at_full_pace_is_no_violation() {
        assert!(missed(&report(300, 900), Pace::Max, Some(30.0)).is_empty());
    }
}

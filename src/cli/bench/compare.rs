//! A run beside an earlier one: what changed beyond the runs' own noise.

use super::report::{Report, Run};

/// Changes smaller than this share are never called changes, however quiet the runs were.
const SMALLEST_CHANGE: f64 = 0.02;

/// A figure in two reports.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which run.
    pub run: String,
    /// Which figure, with its unit.
    pub figure: &'static str,
    /// Value in the earlier report.
    pub before: f64,
    /// Value in this one.
    pub after: f64,
    /// Whether the difference exceeds the noise of both runs.
    pub verdict: ChangeVerdict,
}

/// What a difference amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeVerdict {
    /// Within the noise.
    Same,
    /// Better beyond the noise.
    Better,
    /// Worse beyond the noise.
    Worse,
}

/// Compares every run of `after` that has its like in `before`.
pub fn compare(before: &Report, after: &Report) -> Vec<Change> {
    let pairs = after.runs.iter().enumerate().filter_map(|(i, run)| {
        let alike = || before.runs.iter().filter(|old| old.key() == run.key());
        // Several models may bear one name: the same file first, else the one in the same place among them, since a
        // model that was trained again is to be compared too.
        let place = after.runs[..i].iter().filter(|earlier| earlier.key() == run.key()).count();
        let same_file = alike().find(|old| old.model_sha256 == run.model_sha256);
        same_file.or_else(|| alike().nth(place)).map(|old| (old, run))
    });
    pairs.flat_map(|(old, run)| compare_runs(old, run)).collect()
}

fn compare_runs(old: &Run, new: &Run) -> Vec<Change> {
    let noise = relative_spread(&old.noise_ms).max(relative_spread(&new.noise_ms)).max(SMALLEST_CHANGE);
    let inference = |run: &Run| run.stages_ms.get("inference").map_or(0.0, |summary| summary.p50);
    let dice = |run: &Run| run.accuracy.and_then(|accuracy| accuracy.dice);
    // A tail is settled by few frames, so that it varies more than the median by its nature.
    const TAIL: f64 = 2.0;
    let mut rows = vec![
        ("latency p50 (ms)", old.latency_ms.p50, new.latency_ms.p50, noise, false),
        ("latency p99 (ms)", old.latency_ms.p99, new.latency_ms.p99, noise * TAIL, false),
        ("inference p50 (ms)", inference(old), inference(new), noise, false),
        ("fps", old.fps, new.fps, noise, true),
        ("violation rate", old.violation_rate, new.violation_rate, violation_noise(old, new), false),
    ];
    if let (Some(old), Some(new)) = (old.peak_rss_mb, new.peak_rss_mb) {
        rows.push(("peak memory (MB)", old, new, 0.05, false));
    }
    if let (Some(old), Some(new)) = (dice(old), dice(new)) {
        // Accuracy is deterministic: any visible difference is a change.
        rows.push(("dice", old, new, 0.001, true));
    }
    rows.into_iter()
        .map(|(figure, before, after, noise, more_is_better)| Change {
            run: new.title(),
            figure,
            before,
            after,
            verdict: judge(before, after, noise, more_is_better),
        })
        .collect()
}

/// How far two violation rates may differ by chance, as a share of the larger one. Violations are counted, and a count
/// varies about by its root (Poisson's distribution): twice that of the difference.
fn violation_noise(old: &Run, new: &Run) -> f64 {
    let variance = |run: &Run| run.violations as f64 / ((run.frames + run.lost).max(1) as f64).powi(2);
    let larger = old.violation_rate.max(new.violation_rate);
    if larger == 0.0 { 0.0 } else { 2.0 * (variance(old) + variance(new)).sqrt() / larger }
}

fn judge(before: f64, after: f64, noise: f64, more_is_better: bool) -> ChangeVerdict {
    let scale = before.abs().max(after.abs());
    if scale == 0.0 || (after - before).abs() <= noise * scale {
        ChangeVerdict::Same
    } else if (after > before) == more_is_better {
        ChangeVerdict::Better
    } else {
        ChangeVerdict::Worse
    }
}

/// Half the range of the values as a share of their mean: how far a run strays from itself.
fn relative_spread(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.len() < 2 || mean <= 0.0 {
        return 0.0;
    }
    let (low, high) =
        values.iter().fold((f64::INFINITY, 0.0_f64), |(low, high), &v| (low.min(v), high.max(v)));
    (high - low) / 2.0 / mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_within_the_runs_own_noise_is_none() {
        assert_eq!(judge(20.0, 21.5, 0.1, false), ChangeVerdict::Same);
        assert_eq!(judge(20.0, 23.0, 0.1, false), ChangeVerdict::Worse);
        assert_eq!(judge(23.0, 20.0, 0.1, false), ChangeVerdict::Better);
        assert_eq!(judge(30.0, 40.0, 0.1, true), ChangeVerdict::Better);
        assert_eq!(judge(0.0, 0.0, 0.0, true), ChangeVerdict::Same);
    }

    #[test]
    fn noise_is_how_far_a_run_strays_from_itself() {
        assert_eq!(relative_spread(&[10.0, 10.0, 10.0]), 0.0);
        assert!((relative_spread(&[9.0, 10.0, 11.0]) - 0.1).abs() < 1e-12);
        assert_eq!(relative_spread(&[]), 0.0);
    }
}

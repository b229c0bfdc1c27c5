//! Distributions of durations: full-resolution histograms, nearest-rank percentiles.

use std::time::Duration;

use hdrhistogram::Histogram as Hdr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Longest duration that is told apart from longer ones: an hour, in microseconds.
const MAX_US: u64 = 3_600_000_000;
/// Significant decimal digits of a recorded duration: 12.34 ms and 12.35 ms are different.
const DIGITS: u8 = 4;

/// A distribution of durations.
///
/// Values are kept in microseconds to four significant digits; sum and maximum are exact. The percentile
/// of rank *p* is the smallest recorded value that at least *p* per cent of all values do not exceed
/// (nearest rank).
#[derive(Debug, Clone)]
pub struct Histogram {
    hdr: Hdr<u32>,
    sum: Duration,
    max: Duration,
}

impl Histogram {
    /// An empty distribution.
    #[allow(clippy::expect_used, reason = "constants inside the documented range; no input reaches this")]
    pub fn new() -> Self {
        let hdr = Hdr::new_with_bounds(1, MAX_US, DIGITS).expect("constant bounds are valid");
        Self { hdr, sum: Duration::ZERO, max: Duration::ZERO }
    }

    /// Adds one duration.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(MAX_US);
        self.hdr.saturating_record(us);
        self.sum += duration;
        self.max = self.max.max(duration);
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.hdr.len()
    }

    /// The percentile of rank `p` (0 to 100) in milliseconds; 0 if nothing was recorded.
    pub fn percentile_ms(&self, p: f64) -> f64 {
        let ms = self.hdr.value_at_percentile(p) as f64 / 1e3;
        ms.min(self.max_ms())
    }

    /// The largest duration in milliseconds.
    pub fn max_ms(&self) -> f64 {
        self.max.as_secs_f64() * 1e3
    }

    /// The usual figures.
    pub fn summary(&self) -> Summary {
        let count = self.count();
        if count == 0 {
            return Summary::default();
        }
        Summary {
            avg: self.sum.as_secs_f64() * 1e3 / count as f64,
            p50: self.percentile_ms(50.0),
            p95: self.percentile_ms(95.0),
            p99: self.percentile_ms(99.0),
            p999: self.percentile_ms(99.9),
            max: self.max_ms(),
        }
    }

    /// Adds everything that `other` holds.
    pub fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so every value of `other` fits; `add` cannot fail.
        let _ = self.hdr.add(&other.hdr);
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Counts of values in `bins` equal steps from 0 to `limit`; the last bin also holds what is beyond.
    pub fn bins(&self, limit: Duration, bins: usize) -> Vec<u64> {
        let mut counts = vec![0; bins];
        let step = limit.as_micros() as f64 / bins as f64;
        for value in self.hdr.iter_recorded() {
            let bin = (value.value_iterated_to() as f64 / step) as usize;
            if let Some(count) = counts.get_mut(bin.min(bins.saturating_sub(1))) {
                *count += u64::from(value.count_at_value());
            }
        }
        counts
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

/// Average and percentiles in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// Mean.
    pub avg: f64,
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    #[serde(default)]
    pub p999: f64,
    /// Largest.
    pub max: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nearest rank by sorting: the definition, literally.
    fn nearest_rank(sorted: &[u64], p: f64) -> f64 {
        let rank = (p / 100.0 * sorted.len() as f64).ceil().max(1.0) as usize;
        sorted[rank - 1] as f64 / 1e3
    }

    #[test]
    fn percentiles_are_the_nearest_ranks_of_the_sorted_values() {
        for count in [1_u64, 2, 3, 19, 100, 999] {
            let values: Vec<u64> = (0..count).map(|i| (i * 7919) % 9973 + 1).collect();
            let mut histogram = Histogram::new();
            values.iter().for_each(|&us| histogram.record(Duration::from_micros(us)));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let summary = histogram.summary();
            assert_eq!(histogram.count(), count);
            assert_eq!(summary.p50, nearest_rank(&sorted, 50.0), "p50 of {count}");
            assert_eq!(summary.p95, nearest_rank(&sorted, 95.0), "p95 of {count}");
            assert_eq!(summary.p99, nearest_rank(&sorted, 99.0), "p99 of {count}");
            let mean = sorted.iter().sum::<u64>() as f64 / count as f64 / 1e3;
            assert!((summary.avg - mean).abs() < 1e-9);
            assert_eq!(summary.max, *sorted.last().unwrap() as f64 / 1e3);
        }
    }

    #[test]
    fn merging_equals_recording_everything_in_one() {
        let (mut a, mut b, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for us in 1..500 {
            let duration = Duration::from_micros(us * us);
            if us % 3 == 0 {
                a.record(duration)
            } else {
                b.record(duration)
            }
            both.record(duration);
        }
        a.merge(&b);
        assert_eq!(a.summary(), both.summary());
    }

    #[test]
    fn bins_count_every_value_once() {
        let mut histogram = Histogram::new();
        (0..1000).for_each(|i| histogram.record(Duration::from_micros(i * 500)));
        let bins = histogram.bins(Duration::from_millis(200), 20);
        assert_eq!(bins.iter().sum::<u64>(), 1000);
        assert_eq!(bins[0], 20);
        assert!(bins[19] > 600);
    }

    #[test]
    fn an_hour_and_more_is_kept() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::from_secs(7200));
        assert_eq!(histogram.summary().max, 7_200_000.0);
    }
}

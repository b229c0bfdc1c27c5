//! What values a tensor takes, in bounded memory, and which range of them is worth an 8-bit grid.

/// Bins over `-limit..limit`; even, so that 0 lies between two of them.
const BINS: usize = 4096;
/// Ranges that the search for the least error tries per side.
const CANDIDATES: usize = 64;
/// Steps of an 8-bit grid.
const STEPS: f64 = 255.0;

/// How the range of an activation is chosen from what was observed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Everything that was seen.
    MinMax,
    /// Without this share of the values at each end, such as 0.0001.
    Percentile(f64),
    /// The range with the least mean squared error of rounding and clipping together.
    Mse,
}

/// Counts of values, whose range doubles when a value leaves it.
#[derive(Debug, Clone)]
pub struct Histogram {
    bins: Vec<u64>,
    limit: f32,
    min: f32,
    max: f32,
    broken: bool,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { bins: vec![0; BINS], limit: 0.0, min: 0.0, max: 0.0, broken: false }
    }
}

impl Histogram {
    /// Counts every `step`-th value. Minimum and maximum are those of all.
    pub fn add(&mut self, values: &[f32], step: usize) {
        // Eight of each, so that this is compiled to vectors.
        let (mut low, mut high) = ([f32::INFINITY; 8], [f32::NEG_INFINITY; 8]);
        // Zero as long as all values are numbers, which minimum and maximum do not tell: they pass over what is none.
        let mut odd = [0.0_f32; 8];
        let (chunks, rest) = values.as_chunks::<8>();
        for chunk in chunks {
            low.iter_mut().zip(chunk).for_each(|(l, v)| *l = l.min(*v));
            high.iter_mut().zip(chunk).for_each(|(h, v)| *h = h.max(*v));
            odd.iter_mut().zip(chunk).for_each(|(o, v)| *o += *v * 0.0);
        }
        let low = low.into_iter().chain(rest.iter().copied()).fold(f32::INFINITY, f32::min);
        let high = high.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max);
        let odd = odd.iter().sum::<f32>() + rest.iter().map(|v| v * 0.0).sum::<f32>();
        if odd.is_nan() || !(low.is_finite() && high.is_finite()) {
            self.broken |= !values.is_empty();
            return;
        }
        (self.min, self.max) = (self.min.min(low), self.max.max(high));
        self.cover(low.abs().max(high.abs()));
        if self.limit > 0.0 {
            let half = (BINS / 2) as f32;
            let factor = half / self.limit;
            for &v in values.iter().step_by(step.max(1)) {
                self.bins[((v * factor + half) as usize).min(BINS - 1)] += 1;
            }
        }
    }

    /// Doubles the range until it holds `value`.
    fn cover(&mut self, value: f32) {
        if self.limit == 0.0 {
            self.limit = value;
        }
        while self.limit > 0.0 && value > self.limit {
            let old = std::mem::replace(&mut self.bins, vec![0; BINS]);
            old.iter().enumerate().for_each(|(i, n)| self.bins[BINS / 4 + i / 2] += n);
            self.limit *= 2.0;
        }
    }

    /// Whether values were seen that are no numbers or infinite.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// The range to represent, which always holds 0.
    pub fn range(&self, method: Method) -> (f32, f32) {
        let (low, high) = (self.min.min(0.0), self.max.max(0.0));
        match method {
            Method::MinMax => (low, high),
            Method::Percentile(share) => self.without(share, low, high),
            Method::Mse => self.least_error(low, high),
        }
    }

    fn without(&self, share: f64, low: f32, high: f32) -> (f32, f32) {
        let total: u64 = self.bins.iter().sum();
        let allowed = (total as f64 * share) as u64;
        let edge = |bin: &dyn Fn(usize) -> usize| {
            let mut seen = 0;
            (0..BINS).map(bin).find(|&i| {
                seen += self.bins[i];
                seen > allowed
            })
        };
        let first = edge(&|i| i).unwrap_or(0);
        let last = edge(&|i| BINS - 1 - i).unwrap_or(BINS - 1);
        let width = f64::from(self.limit) / (BINS / 2) as f64;
        let at = |bin: usize| ((bin as f64 - (BINS / 2) as f64) * width) as f32;
        (low.max(at(first)).min(0.0), high.min(at(last + 1)).max(0.0))
    }

    /// Each end in turn, twice: the error is nearly separable.
    fn least_error(&self, low: f32, high: f32) -> (f32, f32) {
        let mut best = (low, high);
        for _ in 0..2 {
            let fraction = |i: usize| 1.0 - i as f32 / (CANDIDATES + 8) as f32;
            let highs = (0..CANDIDATES).map(|i| (best.0, high * fraction(i)));
            best = self.best_of(highs).unwrap_or(best);
            let lows = (0..CANDIDATES).map(|i| (low * fraction(i), best.1));
            best = self.best_of(lows).unwrap_or(best);
        }
        best
    }

    fn best_of(&self, candidates: impl Iterator<Item = (f32, f32)>) -> Option<(f32, f32)> {
        let scored = candidates.map(|range| (self.error(range), range));
        scored.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, range)| range)
    }

    /// Squared error of a grid over a range: step²/12 for each value inside, the distance outside.
    fn error(&self, (low, high): (f32, f32)) -> f64 {
        let (low, high) = (f64::from(low), f64::from(high));
        let inside = ((high - low) / STEPS).powi(2) / 12.0;
        let width = f64::from(self.limit) / (BINS / 2) as f64;
        let mut sum = 0.0;
        for (i, &n) in self.bins.iter().enumerate().filter(|(_, n)| **n > 0) {
            let value = (i as f64 + 0.5 - (BINS / 2) as f64) * width;
            let clipped = value.clamp(low, high) - value;
            sum += n as f64 * if clipped.abs() <= width { inside } else { clipped * clipped + inside };
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_values_and_hold_zero() {
        let mut h = Histogram::default();
        h.add(&[0.5, 1.0, 2.0], 1);
        h.add(&[-3.0, 40.0], 1);
        assert_eq!(h.range(Method::MinMax), (-3.0, 40.0));
        let mut positive = Histogram::default();
        positive.add(&[2.0, 3.0], 1);
        assert_eq!(positive.range(Method::MinMax), (0.0, 3.0));
        assert_eq!(Histogram::default().range(Method::Mse), (0.0, 0.0));
    }

    #[test]
    fn outliers_are_clipped_where_the_method_says_so() {
        let mut h = Histogram::default();
        let ramp: Vec<f32> = (0..100_000).map(|i| i as f32 / 100_000.0).collect();
        h.add(&ramp, 1);
        h.add(&[1000.0], 1);
        let (low, high) = h.range(Method::Percentile(0.001));
        assert!(low == 0.0 && (0.9..1.7).contains(&high), "{high}");
        // A thousand times the range costs more in rounding than one value costs in clipping only where
        // there are enough values.
        assert!((800.0..950.0).contains(&h.range(Method::Mse).1), "{:?}", h.range(Method::Mse));
        let mut many = Histogram::default();
        (0..2000).for_each(|_| many.add(&ramp[..1000], 1));
        many.add(&[0.5], 1);
        assert!(many.range(Method::Mse).1 < 0.5, "{:?}", many.range(Method::Mse));
    }

    #[test]
    fn what_is_no_number_is_told() {
        let mut h = Histogram::default();
        h.add(&[1.0, f32::INFINITY], 1);
        assert!(h.is_broken());
        for at in [0, 3, 8, 18] {
            let mut values = [0.5; 19];
            values[at] = f32::NAN;
            let mut h = Histogram::default();
            h.add(&values, 1);
            assert!(h.is_broken(), "{at}");
        }
    }
}

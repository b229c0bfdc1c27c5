//! Separable resampling of one axis: area averaging when shrinking, bilinear when enlarging.
//!
//! Shrinking weighs each sample by the share of it that an output cell covers (a box filter, what OpenCV
//! calls `INTER_AREA`), which keeps fine texture from aliasing. Enlarging interpolates between sample
//! centres (`INTER_LINEAR`). Samples outside the crop are never read.

/// Values that are weighed at once; a register's worth on every machine.
pub(super) const LANES: usize = 4;

/// The samples that one output cell is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tap {
    /// First sample.
    first: usize,
    /// Where this cell's weights start in [`Axis::weights`].
    weight: usize,
    /// Number of samples.
    count: usize,
}

/// Weights for one axis of one plane.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Axis {
    taps: Vec<Tap>,
    weights: Vec<f32>,
}

impl Axis {
    /// Weights that bring samples `from..from + extent` (in samples, fractions allowed) of a line of
    /// `samples` to `cells` cells.
    pub fn new(samples: usize, from: f64, extent: f64, cells: usize) -> Self {
        let scale = extent / cells as f64;
        let last = ((from + extent).ceil() as usize).clamp(1, samples) - 1;
        let first = (from as usize).min(last);
        let mut axis = Self::default();
        for cell in 0..cells {
            let start = from + cell as f64 * scale;
            if scale >= 1.0 {
                axis.push_area(start, start + scale, first, last);
            } else {
                axis.push_linear(start + scale / 2.0 - 0.5, first, last);
            }
        }
        axis
    }

    /// Every sample between two edges, by its covered share.
    fn push_area(&mut self, start: f64, end: f64, first: usize, last: usize) {
        // Shares smaller than this come from rounding and only cost time.
        const NEGLIGIBLE: f64 = 1e-6;
        let begin = ((start + NEGLIGIBLE).floor() as usize).clamp(first, last);
        let stop = ((end - NEGLIGIBLE).ceil() as usize).clamp(begin + 1, last + 1);
        let share = |i: usize| (end.min(i as f64 + 1.0) - start.max(i as f64)).max(0.0);
        let total: f64 = (begin..stop).map(share).sum();
        let weight = self.weights.len();
        if total > 0.0 {
            self.weights.extend((begin..stop).map(|i| (share(i) / total) as f32));
        } else {
            self.weights.extend((begin..stop).map(|_| (1.0 / (stop - begin) as f64) as f32));
        }
        self.push(begin, weight);
    }

    /// The two samples around a position between sample centres.
    fn push_linear(&mut self, position: f64, first: usize, last: usize) {
        let position = position.clamp(first as f64, last as f64);
        let begin = position as usize;
        let fraction = (position - begin as f64) as f32;
        let weight = self.weights.len();
        let count = if begin < last { 2 } else { 1 };
        self.weights.extend_from_slice(&[1.0 - fraction, fraction][..count]);
        self.push(begin, weight);
    }

    /// Ends a cell whose weights were appended from index `weight` on.
    fn push(&mut self, first: usize, weight: usize) {
        let count = self.weights.len() - weight;
        self.weights.resize(weight + count.next_multiple_of(LANES), 0.0);
        self.taps.push(Tap { first, weight, count });
    }

    /// Number of cells.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.taps.len()
    }

    /// First sample and weights of cell `index`.
    #[inline(always)]
    pub fn cell(&self, index: usize) -> (usize, &[f32]) {
        self.weights_of(&self.taps[index])
    }

    #[inline(always)]
    fn weights_of(&self, tap: &Tap) -> (usize, &[f32]) {
        (tap.first, &self.weights[tap.weight..tap.weight + tap.count])
    }

    /// A tap's weights with zeros up to whole groups of [`LANES`].
    #[inline(always)]
    fn padded(&self, tap: &Tap) -> &[f32] {
        &self.weights[tap.weight..tap.weight + tap.count.next_multiple_of(LANES)]
    }

    /// Samples that any cell reads, as first and one past the last.
    pub fn reach(&self) -> (usize, usize) {
        let first = self.taps.first().map_or(0, |tap| tap.first);
        let end = self.taps.last().map_or(0, |tap| tap.first + tap.count);
        (first, end)
    }
}

/// `sum = weight * row`, the first row of a vertical average.
#[inline(always)]
pub(super) fn begin_rows(sum: &mut [f32], row: &[u8], weight: f32) {
    for (sum, &sample) in sum.iter_mut().zip(row) {
        *sum = weight * f32::from(sample);
    }
}

/// `sum += weight * row`, each further row.
#[inline(always)]
pub(super) fn add_row(sum: &mut [f32], row: &[u8], weight: f32) {
    for (sum, &sample) in sum.iter_mut().zip(row) {
        *sum += weight * f32::from(sample);
    }
}

/// Weighs `line`, whose first value is sample `origin`, into one value per cell.
///
/// `line` needs [`LANES`] values beyond the last sample: weights are padded with zeros to whole groups.
#[inline(always)]
pub(super) fn columns(axis: &Axis, line: &[f32], origin: usize, out: &mut [f32]) {
    for (out, tap) in out.iter_mut().zip(&axis.taps) {
        let weights = axis.padded(tap).as_chunks::<LANES>().0;
        let samples = line[tap.first - origin..].as_chunks::<LANES>().0;
        let mut sums = [0.0f32; LANES];
        for (weights, samples) in weights.iter().zip(samples) {
            for lane in 0..LANES {
                sums[lane] += weights[lane] * samples[lane];
            }
        }
        *out = (sums[0] + sums[2]) + (sums[1] + sums[3]);
    }
}

/// As [`columns`], for a line of two components per sample.
#[inline(always)]
pub(super) fn columns_of_two(axis: &Axis, line: &[f32], origin: usize, out: [&mut [f32]; 2]) {
    let [first, second] = out;
    for ((first, second), tap) in first.iter_mut().zip(second).zip(&axis.taps) {
        let weights = axis.padded(tap).as_chunks::<2>().0;
        let samples = line[2 * (tap.first - origin)..].as_chunks::<4>().0;
        let mut sums = [0.0f32; 4];
        for (&[even, odd], samples) in weights.iter().zip(samples) {
            for (lane, weight) in [even, even, odd, odd].into_iter().enumerate() {
                sums[lane] += weight * samples[lane];
            }
        }
        (*first, *second) = (sums[0] + sums[2], sums[1] + sums[3]);
    }
}

/// As [`columns`], for a line of three components per sample.
#[inline(always)]
pub(super) fn columns_of_three(axis: &Axis, line: &[f32], origin: usize, out: [&mut [f32]; 3]) {
    let [first, second, third] = out;
    for (((first, second), third), tap) in first.iter_mut().zip(second).zip(third).zip(&axis.taps) {
        let (_, weights) = axis.weights_of(tap);
        let mut samples = &line[3 * (tap.first - origin)..];
        let mut sums = [0.0f32; 4];
        for &weight in weights {
            // The fourth lane is the next sample's first component; it is computed and not used.
            if let Some((now, _)) = samples.split_first_chunk::<4>() {
                for lane in 0..4 {
                    sums[lane] += weight * now[lane];
                }
            }
            samples = &samples[3..];
        }
        (*first, *second, *third) = (sums[0], sums[1], sums[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resample(axis: &Axis, samples: &[f64]) -> Vec<f64> {
        (0..axis.len())
            .map(|i| {
                let (first, weights) = axis.cell(i);
                weights.iter().zip(&samples[first..]).map(|(&w, s)| f64::from(w) * s).sum()
            })
            .collect()
    }

    #[test]
    fn weights_of_every_cell_sum_to_one_and_stay_inside_the_crop() {
        for (samples, from, extent, cells) in [
            (1920, 0.0, 1920.0, 352),
            (960, 33.5, 700.5, 288),
            (7, 0.5, 6.5, 3),
            (5, 1.0, 3.0, 40),
            (1, 0.0, 1.0, 9),
        ] {
            let axis = Axis::new(samples, from, extent, cells);
            assert_eq!(axis.len(), cells);
            for i in 0..cells {
                let (first, weights) = axis.cell(i);
                assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5);
                assert!(first >= from as usize && first + weights.len() <= samples);
                assert!(first + weights.len() <= (from + extent).ceil() as usize);
            }
        }
    }

    #[test]
    fn shrinking_by_a_whole_factor_is_the_plain_mean() {
        let axis = Axis::new(6, 0.0, 6.0, 2);
        let means = resample(&axis, &[1.0, 2.0, 3.0, 10.0, 20.0, 60.0]);
        assert!((means[0] - 2.0).abs() < 1e-5 && (means[1] - 30.0).abs() < 1e-5, "{means:?}");
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let ramp: Vec<f64> = (0..100).map(f64::from).collect();
        for cells in [31, 100, 237] {
            let scale = 100.0 / cells as f64;
            let out = resample(&Axis::new(100, 0.0, 100.0, cells), &ramp);
            for (i, value) in out.iter().enumerate().skip(3).take(cells - 6) {
                let expected = (i as f64 + 0.5) * scale - 0.5;
                assert!((value - expected).abs() < 0.3, "{cells} cells, {i}: {value} against {expected}");
            }
        }
    }
}

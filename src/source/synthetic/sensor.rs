//! What optics and sensor add to a picture: softness, motion blur and noise.

use rayon::prelude::*;

use super::noise::{Rng, mix};

/// Side of the noise tile.
const TILE: usize = 256;
/// Longest motion blur in pixels.
const MAX_BLUR: f32 = 12.0;

/// The sensor's noise, drawn once and laid over each frame at another place.
#[derive(Debug)]
pub(super) struct Sensor {
    noise: Vec<i8>,
    seed: u64,
}

/// A plane of samples that is worked on.
pub(super) struct Samples<'a> {
    pub data: &'a mut Vec<u8>,
    pub width: usize,
}

impl Sensor {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "sensor");
        let white: Vec<f32> = (0..TILE * TILE).map(|_| rng.normal()).collect();
        // Demosaicing correlates neighbours a little.
        let at = |x: usize, y: usize| white[(y % TILE) * TILE + x % TILE];
        let noise = (0..TILE * TILE)
            .map(|i| {
                let (x, y) = (i % TILE, i / TILE);
                let value = 0.75 * at(x, y) + 0.35 * (at(x + 1, y) + at(x, y + 1)) + 0.2 * at(x + 1, y + 1);
                (value * 32.0).clamp(-127.0, 127.0) as i8
            })
            .collect();
        Self { noise, seed: rng.bits() }
    }

    /// Adds noise: `dark` and `bright` are its standard deviations at black and white.
    pub(super) fn add_noise(&self, plane: &mut Samples<'_>, frame: u64, salt: u64, dark: f32, bright: f32) {
        let shift = mix(self.seed ^ mix(frame) ^ salt);
        let (dx, dy) = (shift as usize % TILE, (shift >> 20) as usize % TILE);
        let gain: Vec<i32> =
            (0..256).map(|v| ((dark + (bright - dark) * v as f32 / 255.0) * 8.0) as i32).collect();
        plane.data.par_chunks_mut(plane.width).enumerate().for_each(|(y, row)| {
            let tile = &self.noise[((y + dy) % TILE) * TILE..][..TILE];
            for (x, sample) in row.iter_mut().enumerate() {
                let n = i32::from(tile[(x + dx) % TILE]) * gain[*sample as usize];
                *sample = (i32::from(*sample) + ((n + 128) >> 8)).clamp(0, 255) as u8;
            }
        });
    }
}

/// The lens's softness: a 3×3 binomial filter. Edges repeat.
pub(super) fn soften(plane: &mut Samples<'_>) {
    let (source, width) = (&*plane.data, plane.width);
    let height = source.len() / width;
    let mut out = vec![0; source.len()];
    out.par_chunks_mut(width).enumerate().for_each_init(
        || vec![0u16; width + 2],
        |column, (y, out)| {
            let row = |y: usize| &source[y * width..(y + 1) * width];
            let (above, here, below) = (row(y.saturating_sub(1)), row(y), row((y + 1).min(height - 1)));
            for x in 0..width {
                column[x + 1] = u16::from(above[x]) + 2 * u16::from(here[x]) + u16::from(below[x]);
            }
            column[0] = column[1];
            column[width + 1] = column[width];
            for x in 0..width {
                out[x] = ((column[x] + 2 * column[x + 1] + column[x + 2] + 8) >> 4) as u8;
            }
        },
    );
    *plane.data = out;
}

/// Motion of the whole picture by (`dx`, `dy`) pixels while the shutter was open. Edges repeat.
pub(super) fn blur(plane: &mut Samples<'_>, dx: f32, dy: f32) {
    let length = dx.hypot(dy);
    if !(0.75..f32::MAX).contains(&length) {
        return;
    }
    let limit = (MAX_BLUR / length).min(1.0);
    let taps = ((length * limit).ceil() as usize + 1).max(2);
    let offsets: Vec<(isize, isize)> = (0..taps)
        .map(|i| {
            let t = (i as f32 / (taps - 1) as f32 - 0.5) * limit;
            ((dx * t).round() as isize, (dy * t).round() as isize)
        })
        .collect();
    let (source, width) = (&*plane.data, plane.width);
    let height = source.len() / width;
    let mut out = vec![0; source.len()];
    let share = (65536 / taps) as u32;
    out.par_chunks_mut(width).enumerate().for_each_init(
        || vec![0u16; width],
        |sums, (y, out)| {
            sums.fill(0);
            for &(ox, oy) in &offsets {
                let row = y.saturating_add_signed(oy).min(height - 1) * width;
                let row = &source[row..row + width];
                // Samples that the shift takes from outside repeat the edge.
                let skip = ox.unsigned_abs().min(width - 1);
                let (inner, edge) =
                    if ox >= 0 { (0..width - skip, width - skip..width) } else { (skip..width, 0..skip) };
                let from = if ox >= 0 { skip } else { 0 };
                for (sum, value) in sums[inner].iter_mut().zip(&row[from..]) {
                    *sum += u16::from(*value);
                }
                let last = u16::from(if ox >= 0 { row[width - 1] } else { row[0] });
                sums[edge].iter_mut().for_each(|sum| *sum += last);
            }
            for (out, sum) in out.iter_mut().zip(sums.iter()) {
                *out = ((u32::from(*sum) * share + 32768) >> 16).min(255) as u8;
            }
        },
    );
    *plane.data = out;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_a_flat_plane_and_spread_a_point() {
        let mut flat = vec![100; 20 * 10];
        soften(&mut Samples { data: &mut flat, width: 20 });
        blur(&mut Samples { data: &mut flat, width: 20 }, 5.0, -2.0);
        assert!(flat.iter().all(|v| (99..=100).contains(v)));

        let mut point = vec![0; 21 * 9];
        point[4 * 21 + 10] = 160;
        soften(&mut Samples { data: &mut point, width: 21 });
        assert_eq!((point[4 * 21 + 10], point[4 * 21 + 11], point[5 * 21 + 11]), (40, 20, 10));
        blur(&mut Samples { data: &mut point, width: 21 }, 4.0, 0.0);
        let moved: u32 = point[4 * 21..5 * 21].iter().map(|v| u32::from(*v)).sum();
        assert!((75..=85).contains(&moved), "{moved}");
        assert!(point[4 * 21 + 12] > 0 && point[4 * 21 + 15] == 0);
    }

    #[test]
    fn noise_has_the_stated_deviation_and_differs_between_frames() {
        let sensor = Sensor::new(1);
        let noisy = |frame| {
            let mut data = vec![128; 256 * 256];
            sensor.add_noise(&mut Samples { data: &mut data, width: 256 }, frame, 0, 3.0, 3.0);
            data
        };
        let data = noisy(1);
        let mean = data.iter().map(|v| f64::from(*v)).sum::<f64>() / data.len() as f64;
        let deviation =
            (data.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / data.len() as f64).sqrt();
        assert!((mean - 128.0).abs() < 0.3 && (2.5..3.5).contains(&deviation), "{mean} {deviation}");
        assert_eq!(data, noisy(1));
        assert_ne!(data, noisy(2));
    }
}

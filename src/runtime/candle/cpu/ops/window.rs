//! Resizing, pooling and global means in channels-last order.

use super::Step;
use crate::graph::op::{Pool, PoolKind};
use crate::graph::resize::{Resize, Tap};
use crate::runtime::candle::cpu::simd::{Isa, Job, Simd};
use crate::runtime::candle::cpu::team::Team;

/// A resize of both spatial axes.
pub struct Scale {
    isa: Isa,
    /// Input columns.
    width: usize,
    channels: usize,
    rows: Vec<Tap>,
    columns: Vec<Tap>,
}

impl Scale {
    /// Works out the taps for an input of `[1, c, h, w]`.
    pub fn new(isa: Isa, r: &Resize, x: &[usize]) -> Self {
        let (rows, columns) = (r.taps(0, x[2]), r.taps(1, x[3]));
        Self { isa, width: x[3], channels: x[1], rows, columns }
    }
}

impl Step for Scale {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let row = self.columns.len() * self.channels;
        if row * self.rows.len() == 0 {
            return;
        }
        let band = team.piece(self.rows.len(), 1);
        team.fill(&mut out[..row * self.rows.len()], row * band, |i, out| {
            let rows = &self.rows[i * band..][..out.len() / row];
            self.isa.run(ScaleJob { scale: self, rows, out, x });
        });
    }
}

struct ScaleJob<'a> {
    scale: &'a Scale,
    rows: &'a [Tap],
    out: &'a mut [f32],
    x: &'a [f32],
}

impl Job for ScaleJob<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let Scale { width, channels, columns, .. } = self.scale;
        let mut to = self.out.as_mut_ptr();
        for row in self.rows {
            let low = self.x[row.low * width * channels..].as_ptr();
            let high = self.x[row.high * width * channels..].as_ptr();
            for column in columns {
                let (left, right) = (column.low * channels, column.high * channels);
                let (u, v) = (row.fraction, column.fraction);
                let mut c = 0;
                while c < *channels {
                    let n = (channels - c).min(S::LANES);
                    // SAFETY: taps lie inside the input, `to` advances over the output's pixels, and
                    // `isa.run` vouches for S.
                    unsafe {
                        let mut sum = S::splat(0.0);
                        sum = mix::<S>(sum, low.add(left + c), (1.0 - u) * (1.0 - v), n);
                        // A share of nothing is not added: 0 · infinity would not be 0.
                        if v != 0.0 {
                            sum = mix::<S>(sum, low.add(right + c), (1.0 - u) * v, n);
                        }
                        if u != 0.0 {
                            sum = mix::<S>(sum, high.add(left + c), u * (1.0 - v), n);
                        }
                        if u * v != 0.0 {
                            sum = mix::<S>(sum, high.add(right + c), u * v, n);
                        }
                        S::store_partial(to.add(c), sum, n);
                    }
                    c += n;
                }
                to = to.wrapping_add(*channels);
            }
        }
    }
}

#[inline(always)]
unsafe fn mix<S: Simd>(sum: S::V, p: *const f32, share: f32, n: usize) -> S::V {
    // SAFETY: the caller vouches for n values.
    unsafe { S::fma(S::load_partial(p, n), S::splat(share), sum) }
}

/// Maximum or mean over a sliding window.
pub struct PoolStep {
    pool: Pool,
    /// Rows, columns, channels.
    input: [usize; 3],
    output: [usize; 2],
}

impl PoolStep {
    /// Shapes are `[1, c, h, w]` and fit.
    pub fn new(pool: &Pool, x: &[usize], y: &[usize]) -> Self {
        Self { pool: pool.clone(), input: [x[2], x[3], x[1]], output: [y[2], y[3]] }
    }

    fn pixel(&self, x: &[f32], i: usize, j: usize, out: &mut [f32]) {
        let p = &self.pool;
        let [height, width, channels] = self.input;
        let max = p.kind == PoolKind::Max;
        out.fill(if max { f32::NEG_INFINITY } else { 0.0 });
        let mut count = 0usize;
        for u in 0..p.kernel[0] {
            let Some(row) = (i * p.strides[0] + u * p.dilations[0]).checked_sub(p.pads[0]) else { continue };
            for v in 0..p.kernel[1] {
                let Some(column) = (j * p.strides[1] + v * p.dilations[1]).checked_sub(p.pads[1]) else {
                    continue;
                };
                if row >= height || column >= width {
                    continue;
                }
                count += 1;
                let pixel = &x[(row * width + column) * channels..][..channels];
                let pairs = out.iter_mut().zip(pixel);
                if max {
                    // Written so that NaN wins, as it would in a sum.
                    pairs.for_each(|(o, &x)| *o = if *o > x { *o } else { x });
                } else {
                    pairs.for_each(|(o, x)| *o += x);
                }
            }
        }
        if let PoolKind::Average { count_include_pad } = p.kind {
            let n = if count_include_pad { p.kernel[0] * p.kernel[1] } else { count.max(1) };
            let share = 1.0 / n as f32;
            out.iter_mut().for_each(|o| *o *= share);
        }
    }
}

impl Step for PoolStep {
    fn name(&self) -> &'static str {
        "pooling"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let ([rows, columns], channels) = (self.output, self.input[2]);
        let row = columns * channels;
        if rows * row == 0 {
            return;
        }
        let band = team.piece(rows, 1);
        team.fill(&mut out[..rows * row], band * row, |b, out| {
            for (k, out) in out.chunks_mut(channels).enumerate() {
                self.pixel(x, b * band + k / columns, k % columns, out);
            }
        });
    }
}

/// Mean over all pixels.
pub struct GlobalMean {
    /// Number of pixels.
    pub pixels: usize,
    /// Number of channels.
    pub channels: usize,
}

impl Step for GlobalMean {
    fn name(&self) -> &'static str {
        "global mean"
    }

    fn run(&self, _: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let out = &mut out[..self.channels];
        out.fill(0.0);
        if self.channels == 0 {
            return;
        }
        for pixel in x[..self.pixels * self.channels].chunks_exact(self.channels) {
            out.iter_mut().zip(pixel).for_each(|(o, x)| *o += x);
        }
        let share = 1.0 / self.pixels as f32;
        out.iter_mut().for_each(|o| *o *= share);
    }
}

//! Depthwise convolution in channels-last order: vectors run over channels, several pixels share a weight.

use super::Step;
use crate::graph::op::Conv;
use crate::runtime::candle::cpu::aligned::Aligned;
use crate::runtime::candle::cpu::epilogue::{Epilogue, clamp};
use crate::runtime::candle::cpu::simd::{Isa, Job, Simd};
use crate::runtime::candle::cpu::team::Team;

/// A depthwise convolution that is ready to run.
pub struct DepthwiseConv {
    isa: Isa,
    /// Rows, columns, channels.
    input: [usize; 3],
    output: [usize; 3],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    /// At top and left.
    pads: [usize; 2],
    /// `[kh, kw, channels]`.
    weights: Aligned,
    bias: Aligned,
    epilogue: Epilogue,
}

impl DepthwiseConv {
    /// Packs weights of `[channels, 1, kh, kw]`. Shapes are `[1, c, h, w]` and fit.
    pub fn new(isa: Isa, c: &Conv, shapes: [&[usize]; 3], weights: &[f32], bias: Option<&[f32]>) -> Self {
        let [x, w, y] = shapes;
        let (channels, taps) = (w[0], w[2] * w[3]);
        let packed: Vec<f32> =
            (0..taps).flat_map(|t| (0..channels).map(move |c| weights[c * taps + t])).collect();
        Self {
            isa,
            input: [x[2], x[3], x[1]],
            output: [y[2], y[3], y[1]],
            kernel: [w[2], w[3]],
            strides: c.strides,
            dilations: c.dilations,
            pads: [c.pads[0], c.pads[1]],
            weights: packed.as_slice().into(),
            bias: bias.unwrap_or(&vec![0.0; channels]).into(),
            epilogue: Epilogue::new(c.activation, c.residual),
        }
    }

    /// Taps of one axis that lie inside the input for output position `i`.
    fn taps(&self, axis: usize, i: usize) -> std::ops::Range<usize> {
        let at = (i * self.strides[axis]) as isize - self.pads[axis] as isize;
        let d = self.dilations[axis] as isize;
        let extent = self.input[axis] as isize;
        let first = (-at).max(0).div_euclid(d) + isize::from((-at).max(0).rem_euclid(d) != 0);
        let end = ((extent - at).max(0) + d - 1).div_euclid(d).min(self.kernel[axis] as isize);
        first.min(end) as usize..end as usize
    }
}

impl Step for DepthwiseConv {
    fn name(&self) -> &'static str {
        "depthwise convolution"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, residual]: [&[f32]; 2]) {
        let [rows, columns, channels] = self.output;
        let row = columns * channels;
        if rows * row == 0 {
            return;
        }
        let band = team.piece(rows, 1);
        team.fill(&mut out[..rows * row], band * row, |i, out| {
            self.isa.run(Band { conv: self, x, residual, out, first_row: i * band });
        });
    }
}

/// Some rows of the output.
struct Band<'a> {
    conv: &'a DepthwiseConv,
    x: &'a [f32],
    residual: &'a [f32],
    out: &'a mut [f32],
    first_row: usize,
}

impl Job for Band<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let conv = self.conv;
        let [_, columns, channels] = conv.output;
        let all = 0..conv.kernel[1];
        let first = (0..columns).find(|&i| conv.taps(1, i) == all).unwrap_or(columns);
        let end = first + (first..columns).take_while(|&i| conv.taps(1, i) == all).count();
        for local in 0..self.out.len() / (columns * channels) {
            let row = self.first_row + local;
            let line = Line {
                conv,
                x: self.x,
                out: self.out[local * columns * channels..].as_mut_ptr(),
                top: (row * conv.strides[0]) as isize - conv.pads[0] as isize,
                rows: conv.taps(0, row),
            };
            // SAFETY: `isa.run` vouches for S; taps are limited to those inside the input.
            unsafe {
                for i in (0..first).chain(end..columns) {
                    line.pixels::<S, 1>(i, conv.taps(1, i));
                }
                let mut i = first;
                while i + 8 <= end {
                    line.pixels::<S, 8>(i, all.clone());
                    i += 8;
                }
                while i + 4 <= end {
                    line.pixels::<S, 4>(i, all.clone());
                    i += 4;
                }
                while i < end {
                    line.pixels::<S, 1>(i, all.clone());
                    i += 1;
                }
                if !conv.epilogue.is_clamp() {
                    let residual = self.residual.as_ptr().wrapping_add(row * columns * channels);
                    conv.epilogue.pass::<S>(line.out, residual, columns * channels);
                }
            }
        }
    }
}

/// One row of the output.
struct Line<'a> {
    conv: &'a DepthwiseConv,
    x: &'a [f32],
    out: *mut f32,
    /// Input row of the first tap.
    top: isize,
    /// Taps inside the input.
    rows: std::ops::Range<usize>,
}

impl Line<'_> {
    /// All channels of `N` neighbouring pixels.
    ///
    /// # Safety
    /// The processor has `S`; the taps of these pixels lie inside the input.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const N: usize>(&self, first: usize, taps: std::ops::Range<usize>) {
        let channels = self.conv.output[2];
        let mut c = 0;
        // SAFETY: channels c..c + n exist.
        unsafe {
            while c + S::LANES <= channels {
                self.vector::<S, N, true>(first, &taps, c, S::LANES);
                c += S::LANES;
            }
            if c < channels {
                self.vector::<S, N, false>(first, &taps, c, channels - c);
            }
        }
    }

    #[inline(always)]
    unsafe fn vector<S: Simd, const N: usize, const FULL: bool>(
        &self,
        first: usize,
        taps: &std::ops::Range<usize>,
        c: usize,
        n: usize,
    ) {
        let conv = self.conv;
        let [_, width, channels] = conv.input;
        let left = (first * conv.strides[1]) as isize - conv.pads[1] as isize;
        let step = conv.strides[1] * channels;
        // SAFETY: the caller vouches for taps and channels.
        unsafe {
            let mut sums = [load::<S, FULL>(conv.bias.as_ptr().add(c), n); N];
            for u in self.rows.clone() {
                let row = (self.top + (u * conv.dilations[0]) as isize) as usize * width;
                for v in taps.clone() {
                    let weight = conv.weights.as_ptr().add((u * conv.kernel[1] + v) * channels + c);
                    let weight = load::<S, FULL>(weight, n);
                    let column = (left + (v * conv.dilations[1]) as isize) as usize;
                    let x = self.x.as_ptr().add((row + column) * channels + c);
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = S::fma(load::<S, FULL>(x.add(i * step), n), weight, *sum);
                    }
                }
            }
            let (low, high) = conv.epilogue.limits();
            for (i, sum) in sums.iter().enumerate() {
                let at = (first + i) * channels + c;
                let value = clamp::<S>(*sum, S::splat(low), S::splat(high));
                if FULL {
                    S::store(self.out.add(at), value);
                } else {
                    S::store_partial(self.out.add(at), value, n);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn load<S: Simd, const FULL: bool>(p: *const f32, n: usize) -> S::V {
    // SAFETY: the caller vouches for n values, which are all lanes where FULL.
    unsafe { if FULL { S::load(p) } else { S::load_partial(p, n) } }
}

//! The inner kernel of every dense convolution: a tile of sums that stays in registers.
//!
//! A tile is `MR` pixels by `NV` vectors of output channels. Each step takes one input value per pixel and one
//! vector row of packed weights (Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication,
//! 2008). The input is not packed: in channels-last order the values under a kernel row lie side by side,
//! so a convolution is a product over a few contiguous segments.

use super::epilogue::{Epilogue, clamp};
use super::simd::Simd;

/// Widest panel of packed weights, in vectors.
pub const MAX_PANEL: usize = 3;

/// Values that lie side by side in the input, and the packed weights they meet.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Distance of the first value from the pixel's own, in values.
    pub input: isize,
    /// First row of packed weights.
    pub k: usize,
    /// How many values.
    pub len: usize,
}

/// A run of pixels times one panel of weights.
pub struct Run<'a> {
    /// The first pixel's own input value; segments count from here.
    pub input: *const f32,
    /// Distance between pixels in the input, in values.
    pub input_step: usize,
    /// Where the values are.
    pub segments: &'a [Segment],
    /// Packed weights of the panel, `[k][vectors * lanes]`.
    pub weights: *const f32,
    /// Bias of the panel, `[vectors * lanes]`.
    pub bias: *const f32,
    /// The first pixel's first output value.
    pub output: *mut f32,
    /// Distance between pixels in the output (and the residual), in values.
    pub output_step: usize,
    /// As `output`, for the residual; dangling where there is none.
    pub residual: *const f32,
    /// Pixels.
    pub pixels: usize,
    /// Vectors of the panel, at most [`MAX_PANEL`].
    pub vectors: usize,
    /// Output channels of the panel that exist.
    pub channels: usize,
    /// What happens to the sums.
    pub epilogue: &'a Epilogue,
}

impl Run<'_> {
    /// Computes the run.
    ///
    /// # Safety
    /// The processor has the instruction set `S`, and all pointers are valid for what the fields say.
    #[inline(always)]
    pub unsafe fn compute<S: Simd>(&self) {
        // SAFETY: as above.
        unsafe {
            match self.vectors {
                1 => self.panel::<S, 1>(),
                2 => self.panel::<S, 2>(),
                _ => self.panel::<S, 3>(),
            }
            if !self.epilogue.is_clamp() {
                for at in (0..self.pixels).map(|i| i * self.output_step) {
                    let residual = self.residual.wrapping_add(at);
                    self.epilogue.pass::<S>(self.output.add(at), residual, self.channels);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn panel<S: Simd, const NV: usize>(&self) {
        let mut at = 0;
        // SAFETY: tiles start inside the run and end inside it.
        unsafe {
            if S::ROWS >= 8 {
                while at + 8 <= self.pixels {
                    self.tile::<S, 8, NV>(at);
                    at += 8;
                }
            }
            while at + 4 <= self.pixels {
                self.tile::<S, 4, NV>(at);
                at += 4;
            }
            if at + 2 <= self.pixels {
                self.tile::<S, 2, NV>(at);
                at += 2;
            }
            if at < self.pixels {
                self.tile::<S, 1, NV>(at);
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const MR: usize, const NV: usize>(&self, first: usize) {
        // Plain loops: a closure would be compiled without the instruction set's features.
        // SAFETY: the caller vouches for the pointers; `first + MR` pixels exist.
        unsafe {
            let mut sums = [[S::splat(0.0); NV]; MR];
            for v in 0..NV {
                let bias = S::load(self.bias.add(v * S::LANES));
                for row in &mut sums {
                    row[v] = bias;
                }
            }
            let step = self.input_step;
            let start = self.input.add(first * step);
            for segment in self.segments {
                let a = start.wrapping_offset(segment.input);
                let mut b = self.weights.add(segment.k * NV * S::LANES);
                for k in 0..segment.len {
                    let mut w = [S::splat(0.0); NV];
                    for (v, w) in w.iter_mut().enumerate() {
                        *w = S::load(b.add(v * S::LANES));
                    }
                    for (r, row) in sums.iter_mut().enumerate() {
                        let x = S::splat(*a.add(r * step + k));
                        for (sum, w) in row.iter_mut().zip(&w) {
                            *sum = S::fma(x, *w, *sum);
                        }
                    }
                    b = b.add(NV * S::LANES);
                }
            }
            // Small enough to be unrolled, so that the sums never get an address and stay in registers.
            let (low, high) = self.epilogue.limits();
            let (low, high) = (S::splat(low), S::splat(high));
            let output = self.output.add(first * self.output_step);
            if self.channels >= NV * S::LANES {
                for (r, row) in sums.iter().enumerate() {
                    for (v, sum) in row.iter().enumerate() {
                        let to = output.add(r * self.output_step + v * S::LANES);
                        S::store(to, clamp::<S>(*sum, low, high));
                    }
                }
            } else {
                for (r, row) in sums.iter().enumerate() {
                    for (v, sum) in row.iter().enumerate() {
                        let n = self.channels.saturating_sub(v * S::LANES).min(S::LANES);
                        let to = output.add(r * self.output_step + v * S::LANES);
                        S::store_partial(to, clamp::<S>(*sum, low, high), n);
                    }
                }
            }
        }
    }
}

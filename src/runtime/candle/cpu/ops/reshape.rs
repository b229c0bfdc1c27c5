//! Steps that move values: between orders of axes, into a joined tensor, out of a part of one.

use rayon::prelude::*;

use super::{Step, chunk};

/// Side of the square that is transposed at a time, so that both sides of it stay in the cache.
const BLOCK: usize = 16;

/// Transposes a matrix: `[channels, pixels]` to `[pixels, channels]` or back.
pub struct Transposed {
    /// Rows of the input.
    pub rows: usize,
    /// Columns of the input.
    pub columns: usize,
}

impl Transposed {
    /// Reads `x`, writes `out`.
    pub fn copy(&self, x: &[f32], out: &mut [f32]) {
        let (rows, columns) = (self.rows, self.columns);
        if rows * columns == 0 {
            return;
        }
        let (x, out) = (&x[..rows * columns], &mut out[..rows * columns]);
        let band = chunk(columns, BLOCK).next_multiple_of(BLOCK);
        out.par_chunks_mut(band * rows).enumerate().for_each(|(b, out)| {
            let first = b * band;
            let here = out.len() / rows;
            for i in (0..rows).step_by(BLOCK) {
                for j in (0..here).step_by(BLOCK) {
                    for j in j..here.min(j + BLOCK) {
                        for i in i..rows.min(i + BLOCK) {
                            out[j * rows + i] = x[i * columns + first + j];
                        }
                    }
                }
            }
        });
    }
}

impl Step for Transposed {
    fn name(&self) -> &'static str {
        "reorder"
    }

    fn run(&self, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        self.copy(x, out);
    }
}

/// Copies a range of channels of every pixel: one operand of a `Concat`, or one part of a `Split`.
pub struct Channels {
    /// Number of pixels.
    pub pixels: usize,
    /// How many channels are copied.
    pub count: usize,
    /// Channels of the input, and the first that is read.
    pub input: [usize; 2],
    /// Channels of the output, and the first that is written.
    pub output: [usize; 2],
}

impl Step for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn run(&self, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let ([from, read], [to, write]) = (self.input, self.output);
        if self.pixels * self.count == 0 {
            return;
        }
        let each = chunk(self.pixels, 256);
        let x = &x[..self.pixels * from];
        out[..self.pixels * to].par_chunks_mut(each * to).zip(x.par_chunks(each * from)).for_each(
            |(out, x)| {
                for (out, x) in out.chunks_exact_mut(to).zip(x.chunks_exact(from)) {
                    out[write..write + self.count].copy_from_slice(&x[read..read + self.count]);
                }
            },
        );
    }
}

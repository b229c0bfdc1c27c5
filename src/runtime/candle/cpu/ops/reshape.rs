//! Steps that move values: between orders of axes, into a joined tensor, out of a part of one.

use super::Step;
use crate::runtime::candle::cpu::team::Team;

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
    pub fn copy(&self, team: &Team, x: &[f32], out: &mut [f32]) {
        let (rows, columns) = (self.rows, self.columns);
        if rows * columns == 0 {
            return;
        }
        let (x, out) = (&x[..rows * columns], &mut out[..rows * columns]);
        let band = team.piece(columns, BLOCK).next_multiple_of(BLOCK);
        team.fill(out, band * rows, |b, out| {
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

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        self.copy(team, x, out);
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

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let ([from, read], [to, write]) = (self.input, self.output);
        if self.pixels * self.count == 0 {
            return;
        }
        let each = team.piece(self.pixels, 256);
        let x = &x[..self.pixels * from];
        team.fill(&mut out[..self.pixels * to], each * to, |i, out| {
            for (out, x) in out.chunks_exact_mut(to).zip(x[i * each * from..].chunks_exact(from)) {
                out[write..write + self.count].copy_from_slice(&x[read..read + self.count]);
            }
        });
    }
}

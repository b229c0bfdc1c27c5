//! Functions of each value: activations, sums and products, in whatever order the values lie.

use super::Step;
use crate::graph::Unary;
use crate::graph::op::Binary;
use crate::runtime::candle::cpu::epilogue::Epilogue;
use crate::runtime::candle::cpu::simd::{Isa, Job, Simd};
use crate::runtime::candle::cpu::team::Team;

/// Least number of values of a work item.
const MIN_VALUES: usize = 4096;

/// An activation by itself.
pub struct Map {
    isa: Isa,
    len: usize,
    epilogue: Epilogue,
}

impl Map {
    /// A function of `len` values.
    pub fn new(isa: Isa, unary: Unary, len: usize) -> Self {
        Self { isa, len, epilogue: Epilogue::new(Some(unary), None) }
    }
}

impl Step for Map {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let each = team.piece(self.len, MIN_VALUES);
        team.fill(&mut out[..self.len], each, |i, out| {
            let x = &x[i * each..][..out.len()];
            self.isa.run(MapJob { epilogue: &self.epilogue, out, x });
        });
    }
}

struct MapJob<'a> {
    epilogue: &'a Epilogue,
    out: &'a mut [f32],
    x: &'a [f32],
}

impl Job for MapJob<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let mut i = 0;
        while i < self.out.len() {
            let n = (self.out.len() - i).min(S::LANES);
            // SAFETY: both slices have the same length; `isa.run` vouches for S.
            unsafe {
                let v = self.epilogue.activate::<S>(S::load_partial(self.x.as_ptr().add(i), n));
                S::store_partial(self.out.as_mut_ptr().add(i), v, n);
            }
            i += n;
        }
    }
}

/// The second operand of [`Zip`].
pub enum Operand {
    /// As many values as the first has, computed by another step.
    Same,
    /// One value per channel, computed by another step (a squeeze-and-excitation gate).
    PerChannel(usize),
    /// One constant per channel, repeated for every pixel; a single one for a scalar.
    Constant(Vec<f32>),
}

/// A function of two values.
pub struct Zip {
    op: Binary,
    len: usize,
    operand: Operand,
    /// Whether the operands change places.
    swapped: bool,
}

impl Zip {
    /// A function of `len` values and the operand.
    pub fn new(op: Binary, len: usize, operand: Operand, swapped: bool) -> Self {
        Self { op, len, operand, swapped }
    }
}

impl Step for Zip {
    fn name(&self) -> &'static str {
        "arithmetic"
    }

    fn run(&self, team: &Team, out: &mut [f32], [a, b]: [&[f32]; 2]) {
        // One loop per function, so that each is compiled to vectors.
        match self.op {
            Binary::Add => self.apply(team, out, a, b, |a, b| a + b),
            Binary::Sub => self.apply(team, out, a, b, |a, b| a - b),
            Binary::Mul => self.apply(team, out, a, b, |a, b| a * b),
            Binary::Div => self.apply(team, out, a, b, |a, b| a / b),
            op => self.apply(team, out, a, b, move |a, b| op.apply(a, b)),
        }
    }
}

impl Zip {
    fn apply(&self, team: &Team, out: &mut [f32], a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) {
        let (out, a) = (&mut out[..self.len], &a[..self.len]);
        match &self.operand {
            Operand::Same => self.pairs(team, out, a, &b[..self.len], self.len, f),
            Operand::PerChannel(channels) => self.pairs(team, out, a, &b[..*channels], *channels, f),
            Operand::Constant(c) => self.pairs(team, out, a, c, c.len(), f),
        }
    }

    /// `period` values of `b` are used again and again.
    fn pairs(
        &self,
        team: &Team,
        out: &mut [f32],
        a: &[f32],
        b: &[f32],
        period: usize,
        f: impl Fn(f32, f32) -> f32 + Sync,
    ) {
        if period == 1 {
            let b = b[0];
            let each = team.piece(out.len(), MIN_VALUES);
            team.fill(out, each, |i, out| {
                let swap = self.swapped;
                out.iter_mut()
                    .zip(&a[i * each..])
                    .for_each(|(o, &a)| *o = if swap { f(b, a) } else { f(a, b) });
            });
            return;
        }
        let whole = period == out.len();
        let each = match whole {
            true => team.piece(out.len(), MIN_VALUES),
            false => team.piece(out.len(), MIN_VALUES).next_multiple_of(period),
        };
        let line = |out: &mut [f32], a: &[f32], b: &[f32]| {
            let pairs = out.iter_mut().zip(a.iter().zip(b));
            if self.swapped {
                pairs.for_each(|(o, (&a, &b))| *o = f(b, a));
            } else {
                pairs.for_each(|(o, (&a, &b))| *o = f(a, b));
            }
        };
        team.fill(out, each, |i, out| {
            let a = &a[i * each..][..out.len()];
            if whole {
                line(out, a, &b[i * each..]);
            } else {
                out.chunks_mut(period).zip(a.chunks(period)).for_each(|(out, a)| line(out, a, b));
            }
        });
    }
}

/// Batch normalisation that could not be folded: a factor and an offset per channel.
pub struct Affine {
    /// Number of values.
    pub len: usize,
    /// Per channel.
    pub factor: Vec<f32>,
    /// Per channel.
    pub offset: Vec<f32>,
}

impl Step for Affine {
    fn name(&self) -> &'static str {
        "scale and offset"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, _]: [&[f32]; 2]) {
        let channels = self.factor.len();
        if channels == 0 {
            return;
        }
        let each = team.piece(self.len, MIN_VALUES).next_multiple_of(channels);
        team.fill(&mut out[..self.len], each, |i, out| {
            for (out, x) in out.chunks_mut(channels).zip(x[i * each..].chunks(channels)) {
                let channel = self.factor.iter().zip(&self.offset);
                out.iter_mut().zip(x.iter().zip(channel)).for_each(|(o, (x, (f, d)))| *o = x * f + d);
            }
        });
    }
}

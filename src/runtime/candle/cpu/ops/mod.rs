//! Steps of the compiled network, and how candle executes them.

pub mod conv;
pub mod depthwise;
pub mod pack;
pub mod pointwise;
pub mod reference;
pub mod reshape;
pub mod window;

use super::aligned::{aligned, aligned_mut};
use super::team::Team;
use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, InplaceOp3, Layout, Result, Tensor};

/// One step: fills `out` from up to two inputs (empty where there are fewer).
///
/// Buffers may be longer than what a step uses; they are shared by several values in turn.
pub trait Step: Send + Sync {
    /// For messages and profiles.
    fn name(&self) -> &'static str;

    /// Computes, on the threads of `team`.
    fn run(&self, team: &Team, out: &mut [f32], inputs: [&[f32]; 2]);
}

/// A step as a candle operator that writes in place: candle hands over the buffers and allocates nothing.
struct InPlace<'a>(&'a dyn Step, &'a Team);

/// A buffer's values from its first cache line on.
pub fn values(storage: &CpuStorage) -> Result<&[f32]> {
    match storage {
        CpuStorage::F32(v) => Ok(aligned(v)),
        _ => candle_core::bail!("a buffer does not hold 32-bit floats"),
    }
}

fn values_mut(storage: &mut CpuStorage) -> Result<&mut [f32]> {
    match storage {
        CpuStorage::F32(v) => Ok(aligned_mut(v)),
        _ => candle_core::bail!("a buffer does not hold 32-bit floats"),
    }
}

impl InplaceOp1 for InPlace<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, out: &mut CpuStorage, _: &Layout) -> Result<()> {
        self.0.run(self.1, values_mut(out)?, [&[], &[]]);
        Ok(())
    }
}

impl InplaceOp2 for InPlace<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, out: &mut CpuStorage, _: &Layout, a: &CpuStorage, _: &Layout) -> Result<()> {
        self.0.run(self.1, values_mut(out)?, [values(a)?, &[]]);
        Ok(())
    }
}

impl InplaceOp3 for InPlace<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(
        &self,
        out: &mut CpuStorage,
        _: &Layout,
        a: &CpuStorage,
        _: &Layout,
        b: &CpuStorage,
        _: &Layout,
    ) -> Result<()> {
        self.0.run(self.1, values_mut(out)?, [values(a)?, values(b)?]);
        Ok(())
    }
}

/// Executes a step on candle tensors.
pub fn execute(step: &dyn Step, team: &Team, out: &Tensor, inputs: &[&Tensor]) -> Result<()> {
    let op = InPlace(step, team);
    match inputs {
        [] => out.inplace_op1(&op),
        [a] => out.inplace_op2(a, &op),
        [a, b, ..] => out.inplace_op3(a, b, &op),
    }
}

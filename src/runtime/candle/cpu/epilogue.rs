//! What happens to a sum before it is stored: activation and residual.

use super::simd::{Simd, exp};
use crate::graph::Unary;
use crate::graph::op::Residual;

/// An activation, prepared so that the common ones are a clamp without a branch.
#[derive(Debug, Clone, Copy)]
pub struct Epilogue {
    low: f32,
    high: f32,
    /// What a clamp does not express.
    other: Option<Unary>,
    /// Where a residual is added, if there is one.
    pub residual: Option<Residual>,
}

impl Epilogue {
    /// Prepares an activation and a residual's place.
    pub fn new(activation: Option<Unary>, residual: Option<Residual>) -> Self {
        let (low, high, other) = match activation {
            Some(Unary::Relu) => (0.0, f32::INFINITY, None),
            Some(Unary::Clip { min, max }) => (min, max, None),
            other => (f32::NEG_INFINITY, f32::INFINITY, other),
        };
        Self { low, high, other, residual }
    }

    /// The activation of `v`.
    ///
    /// # Safety
    /// The processor has the instruction set `S`.
    #[inline(always)]
    pub unsafe fn activate<S: Simd>(&self, v: S::V) -> S::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let v = S::min(S::splat(self.high), S::max(S::splat(self.low), v));
            match self.other {
                None => v,
                Some(u) => unary::<S>(u, v),
            }
        }
    }

    /// Activation and residual of a sum; `residual` is where the residual's values are, `n` how many count.
    ///
    /// # Safety
    /// The processor has the instruction set `S`; `residual` is valid for `n` values if there is one.
    #[inline(always)]
    pub unsafe fn finish<S: Simd>(&self, sum: S::V, residual: *const f32, n: usize) -> S::V {
        // SAFETY: as above.
        unsafe {
            match self.residual {
                None => self.activate::<S>(sum),
                Some(Residual::BeforeActivation) => {
                    self.activate::<S>(S::add(sum, S::load_partial(residual, n)))
                }
                Some(Residual::AfterActivation) => {
                    S::add(self.activate::<S>(sum), S::load_partial(residual, n))
                }
            }
        }
    }
}

/// A function of each lane.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub unsafe fn unary<S: Simd>(u: Unary, x: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; there is no memory access.
    unsafe {
        let (zero, one) = (S::splat(0.0), S::splat(1.0));
        match u {
            Unary::Relu => S::max(zero, x),
            Unary::Clip { min, max } => S::min(S::splat(max), S::max(S::splat(min), x)),
            Unary::Sigmoid => sigmoid::<S>(x),
            Unary::Silu => S::mul(x, sigmoid::<S>(x)),
            Unary::HardSigmoid { alpha, beta } => {
                S::min(one, S::max(zero, S::fma(x, S::splat(alpha), S::splat(beta))))
            }
            Unary::HardSwish => {
                S::mul(x, S::min(one, S::max(zero, S::fma(x, S::splat(1.0 / 6.0), S::splat(0.5)))))
            }
            Unary::LeakyRelu { alpha } => {
                let below = S::min(zero, x);
                S::fma(below, S::splat(alpha), S::max(zero, x))
            }
            // The rest is rare, and exact rather than fast.
            other => lanes::<S>(x, other),
        }
    }
}

/// 1 / (1 + e^-x); e^-x overflows for no x, since `exp` limits its argument.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
unsafe fn sigmoid<S: Simd>(x: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; there is no memory access.
    unsafe {
        let one = S::splat(1.0);
        S::div(one, S::add(one, exp::<S>(S::mul(x, S::splat(-1.0)))))
    }
}

/// Widest vector of any instruction set.
const MAX_LANES: usize = 16;

#[inline(never)]
unsafe fn lanes<S: Simd>(x: S::V, u: Unary) -> S::V {
    let mut values = [0.0f32; MAX_LANES];
    // SAFETY: the array holds the widest vector.
    unsafe {
        S::store(values.as_mut_ptr(), x);
        values[..S::LANES].iter_mut().for_each(|v| *v = u.apply(*v));
        S::load(values.as_ptr())
    }
}

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

    /// Limits that a kernel applies as it stores its sums; infinite where [`pass`](Self::pass) does more.
    pub fn limits(&self) -> (f32, f32) {
        match self.is_clamp() {
            true => (self.low, self.high),
            false => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }

    /// Whether the limits are all there is to do.
    pub fn is_clamp(&self) -> bool {
        self.other.is_none() && self.residual.is_none()
    }

    /// The activation of `v`.
    ///
    /// # Safety
    /// The processor has the instruction set `S`.
    #[inline(always)]
    pub unsafe fn activate<S: Simd>(&self, v: S::V) -> S::V {
        // SAFETY: the caller vouches for the instruction set.
        unsafe {
            let v = clamp::<S>(v, S::splat(self.low), S::splat(self.high));
            match self.other {
                None => v,
                Some(u) => unary::<S>(u, v),
            }
        }
    }

    /// Activation and residual of `len` sums that a kernel has just stored, in place. A pass of its own keeps
    /// the kernels' loops free of it, and the sums are still in the cache.
    ///
    /// # Safety
    /// The processor has the instruction set `S`; `sums` (and `residual`, if there is one) are valid for
    /// `len` values.
    #[inline(always)]
    pub unsafe fn pass<S: Simd>(&self, sums: *mut f32, residual: *const f32, len: usize) {
        let mut i = 0;
        while i < len {
            let n = (len - i).min(S::LANES);
            // SAFETY: the caller vouches for i + n <= len values.
            unsafe {
                let sum = S::load_partial(sums.add(i), n);
                let value = match self.residual {
                    None => self.activate::<S>(sum),
                    Some(order) => {
                        let r = S::load_partial(residual.add(i), n);
                        let before = order == Residual::BeforeActivation;
                        let sum = if before { S::add(sum, r) } else { sum };
                        let value = self.activate::<S>(sum);
                        if before { value } else { S::add(value, r) }
                    }
                };
                S::store_partial(sums.add(i), value, n);
            }
            i += n;
        }
    }
}

/// Limits each lane to `low..=high`; NaN stays.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub unsafe fn clamp<S: Simd>(v: S::V, low: S::V, high: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set.
    unsafe { S::min(high, S::max(low, v)) }
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
            Unary::Grid { scale, low, high } => {
                let scale = S::splat(scale);
                let grid = S::round(S::div(x, scale));
                S::mul(clamp::<S>(grid, S::splat(low), S::splat(high)), scale)
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

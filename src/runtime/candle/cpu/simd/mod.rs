//! One vector abstraction over the instruction sets that kernels are compiled for.
//!
//! A kernel is written once as a [`Job`], generic over [`Simd`]. [`Isa::run`] compiles it for each set, in a
//! function that enables the set's features, and picks one at run time.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

/// An instruction set with vectors of 32-bit floats.
///
/// # Safety
/// Every method may only be called where the processor has the instruction set; loads and stores also want
/// pointers that are valid for `LANES` (or `n`) values. There is no alignment requirement.
pub trait Simd: Copy + 'static {
    /// Values per vector.
    const LANES: usize;
    /// Rows of a tile of sums three vectors wide that its registers hold.
    const ROWS: usize;
    /// A vector.
    type V: Copy;

    /// All lanes the same.
    unsafe fn splat(x: f32) -> Self::V;
    /// `LANES` values from memory.
    unsafe fn load(p: *const f32) -> Self::V;
    /// `LANES` values to memory.
    unsafe fn store(p: *mut f32, v: Self::V);
    /// The first `n` lanes from memory, zeros behind.
    unsafe fn load_partial(p: *const f32, n: usize) -> Self::V;
    /// The first `n` lanes to memory.
    unsafe fn store_partial(p: *mut f32, v: Self::V, n: usize);
    /// a · b + c.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a + b.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// a · b.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// a / b.
    unsafe fn div(a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where it is not a number.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// The smaller; `b` where it is not a number.
    unsafe fn min(a: Self::V, b: Self::V) -> Self::V;
    /// The nearest integer.
    unsafe fn round(a: Self::V) -> Self::V;
    /// 2^n of integers within -126..=127.
    unsafe fn exp2_integer(n: Self::V) -> Self::V;
}

/// A kernel with its arguments.
pub trait Job {
    /// Executes it. Implementations are `#[inline(always)]`, so that they take on the caller's features.
    ///
    /// # Safety
    /// The processor has the instruction set `S`.
    unsafe fn run<S: Simd>(self);
}

/// An instruction set that was found on this processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

impl Isa {
    /// All sets that this processor has, best first.
    pub fn available() -> Vec<Self> {
        let mut found = vec![];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") {
                found.push(Self(Set::Avx512));
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                found.push(Self(Set::Avx2));
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            found.push(Self(Set::Neon));
        }
        found.push(Self(Set::Scalar));
        found
    }

    /// The best set of this processor.
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// Values per vector.
    pub fn lanes(self) -> usize {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 => avx512::Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Set::Avx2 => avx2::Avx2::LANES,
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon::Neon::LANES,
            Set::Scalar => scalar::Scalar::LANES,
        }
    }

    /// Executes a kernel with this set's instructions.
    pub fn run(self, job: impl Job) {
        // SAFETY: an `Isa` is made by `available` alone, which asks the processor.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Set::Avx512 => avx512::run(job),
                #[cfg(target_arch = "x86_64")]
                Set::Avx2 => avx2::run(job),
                #[cfg(target_arch = "aarch64")]
                Set::Neon => neon::run(job),
                Set::Scalar => job.run::<scalar::Scalar>(),
            }
        }
    }
}

/// e^x by Cephes' polynomial (Moshier, 1989): relative error below 2e-7.
///
/// # Safety
/// The processor has the instruction set `S`.
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S::V) -> S::V {
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 6] =
        [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
    // SAFETY: the caller vouches for the instruction set; there is no memory access.
    unsafe {
        let x = S::min(S::splat(87.3), S::max(S::splat(-87.3), x));
        let n = S::round(S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let r = S::fma(n, S::splat(-LN2_HIGH), x);
        let r = S::fma(n, S::splat(-LN2_LOW), r);
        let mut p = S::splat(COEFFICIENTS[0]);
        for c in &COEFFICIENTS[1..] {
            p = S::fma(p, r, S::splat(*c));
        }
        let p = S::add(S::fma(p, S::mul(r, r), r), S::splat(1.0));
        S::mul(p, S::exp2_integer(n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp<'a>(&'a [f32], &'a mut [f32]);

    impl Job for Exp<'_> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            for (x, y) in self.0.chunks(S::LANES).zip(self.1.chunks_mut(S::LANES)) {
                // SAFETY: both chunks have the length that is given.
                unsafe {
                    let v = exp::<S>(S::load_partial(x.as_ptr(), x.len()));
                    S::store_partial(y.as_mut_ptr(), v, y.len());
                }
            }
        }
    }

    #[test]
    fn exp_is_accurate_on_every_instruction_set() {
        let x: Vec<f32> = (-8000..8000).map(|i| i as f32 * 0.01 + 0.003).collect();
        for isa in Isa::available() {
            let mut y = vec![0.0; x.len()];
            isa.run(Exp(&x, &mut y));
            for (x, y) in x.iter().zip(y) {
                let expected = f64::from(*x).exp();
                let error = (f64::from(y) - expected).abs() / expected;
                assert!(error < 3e-7, "{isa:?}: exp({x}) = {y}, off by {error:e}");
            }
        }
    }

    #[test]
    fn exp_keeps_nan() {
        for isa in Isa::available() {
            let mut y = [0.0; 1];
            isa.run(Exp(&[f32::NAN], &mut y));
            assert!(y[0].is_nan(), "{isa:?}");
        }
    }
}

//! Seeded random numbers and periodic noise: everything irregular in the picture comes from here.

/// Avalanche of 64 bits (Steele, Lea, Flood: `SplittableRandom`'s finaliser, known as splitmix64).
pub(super) fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// A stream of random numbers; splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Rng(u64);

impl Rng {
    /// The stream `name` of `seed`: streams of one seed are independent of one another.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        Self(name.bytes().fold(mix(seed), |state, byte| mix(state ^ u64::from(byte))))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Uniform in `low..high`.
    pub(super) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Uniform in 0..`n`; `n` is at least 1.
    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n.max(1) as u64) as usize
    }

    /// Roughly normal with unit variance (sum of four uniform numbers).
    pub(super) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 1.732
    }
}

/// Two-dimensional gradient noise (Perlin 1985, with the quintic fade of 2002) that repeats after
/// `period` cells along each axis.
#[derive(Debug, Clone)]
pub(super) struct Noise {
    /// A gradient per lattice point, row by row.
    gradients: Vec<[f32; 2]>,
    period: (i32, i32),
}

impl Noise {
    pub(super) fn new(rng: &mut Rng, period: (i32, i32)) -> Self {
        let seed = rng.bits();
        let gradients = (0..(period.0 * period.1) as u64)
            .map(|i| {
                let h = mix(seed ^ i);
                let part = |bits: u64| (bits & 0xffff) as f32 / 32768.0 - 1.0;
                [part(h), part(h >> 16)]
            })
            .collect();
        Self { gradients, period }
    }

    fn corner(&self, x: i32, y: i32, dx: f32, dy: f32) -> f32 {
        let (x, y) = (x.rem_euclid(self.period.0), y.rem_euclid(self.period.1));
        let [gx, gy] = self.gradients[(y * self.period.0 + x) as usize];
        gx * dx + gy * dy
    }

    /// Value at a point given in cells; mean 0, mostly within ±0.6.
    pub(super) fn at(&self, x: f32, y: f32) -> f32 {
        let (fx, fy) = (x.floor(), y.floor());
        let (ix, iy) = (fx as i32, fy as i32);
        let (dx, dy) = (x - fx, y - fy);
        let fade = |t: f32| t * t * t * (t * (t * 6.0 - 15.0) + 10.0);
        let (u, v) = (fade(dx), fade(dy));
        let top = lerp(self.corner(ix, iy, dx, dy), self.corner(ix + 1, iy, dx - 1.0, dy), u);
        let bottom =
            lerp(self.corner(ix, iy + 1, dx, dy - 1.0), self.corner(ix + 1, iy + 1, dx - 1.0, dy - 1.0), u);
        lerp(top, bottom, v)
    }
}

/// Distance to the nearest and second nearest of one random point per cell (Worley 1996), in cells.
pub(super) fn cells(seed: u64, period: i32, x: f32, y: f32) -> (f32, f32) {
    let (ix, iy) = (x.floor() as i32, y.floor() as i32);
    let (mut first, mut second) = (f32::MAX, f32::MAX);
    for cy in iy - 1..=iy + 1 {
        for cx in ix - 1..=ix + 1 {
            let h = mix(seed ^ cx.rem_euclid(period) as u64 ^ ((cy.rem_euclid(period) as u64) << 32));
            let px = cx as f32 + (h & 0xffff) as f32 / 65536.0;
            let py = cy as f32 + ((h >> 16) & 0xffff) as f32 / 65536.0;
            let d = (px - x) * (px - x) + (py - y) * (py - y);
            if d < first {
                second = first;
                first = d;
            } else if d < second {
                second = d;
            }
        }
    }
    (first.sqrt(), second.sqrt())
}

pub(super) fn lerp(a: f32, b: f32, t: f32) -> f32 {
    a + (b - a) * t
}

/// 0 below `low`, 1 above `high`, smooth between them.
pub(super) fn smoothstep(low: f32, high: f32, x: f32) -> f32 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_differ_by_name() {
        let draw = |name| {
            let mut rng = Rng::new(7, name);
            [rng.bits(), rng.bits(), rng.bits()]
        };
        assert_eq!(draw("folds"), draw("folds"));
        assert_ne!(draw("folds"), draw("polyps"));
    }

    #[test]
    fn uniform_and_normal_have_the_right_moments() {
        let mut rng = Rng::new(1, "moments");
        let n = 20_000;
        let (mut sum, mut square) = (0.0, 0.0);
        for _ in 0..n {
            let x = f64::from(rng.normal());
            sum += x;
            square += x * x;
        }
        let mean = sum / f64::from(n);
        assert!(mean.abs() < 0.03, "{mean}");
        assert!((square / f64::from(n) - mean * mean - 1.0).abs() < 0.05);
    }

    #[test]
    fn noise_repeats_after_its_period_and_is_continuous() {
        let noise = Noise::new(&mut Rng::new(3, "noise"), (8, 5));
        for i in 0..200 {
            let (x, y) = (i as f32 * 0.173, i as f32 * 0.091);
            assert!((noise.at(x, y) - noise.at(x + 8.0, y - 5.0)).abs() < 1e-3);
            assert!((noise.at(x, y) - noise.at(x + 1e-3, y)).abs() < 0.01);
        }
    }
}

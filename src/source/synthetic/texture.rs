//! Tiles of mucosa: vessels, mottling and the relief that breaks up the highlights.
//!
//! A tile repeats in both directions and holds four bytes per texel: vessel cover, tone, and the slope of the
//! relief along both axes. Smaller copies (a mip pyramid) keep distant walls from shimmering.

use std::f32::consts::TAU;

use rayon::prelude::*;

use super::noise::{Noise, Rng, cells, lerp, smoothstep};
use super::vessels;

/// Slope that the bytes 1 and 255 stand for.
pub(super) const MAX_SLOPE: f32 = 1.5;
/// Side of the coarse tile in radii: it fits once around the tube.
const COARSE_SIDE: f32 = TAU;
/// Fine tiles around the tube.
pub(super) const FINE_AROUND: f32 = 6.0;
/// Side of the fine tiles in radii.
pub(super) const FINE_SIDE: f32 = TAU / FINE_AROUND;
/// Coarse tiles in a period of the tube: a whole number, so that the tiles close (and are 6 % longer there).
pub(super) const COARSE_ALONG: f32 = 6.0;
/// Fine tiles in a period of the tube.
pub(super) const FINE_ALONG: f32 = 38.0;

const COARSE: usize = 1024;
const FINE: usize = 512;

/// A square, repeating texture with its mip pyramid.
#[derive(Debug)]
pub(super) struct Tile {
    /// From full size to 1/32; each level is row-major, its side a power of two.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    texels: Vec<u32>,
    bits: u32,
}

impl Tile {
    /// Smallest level, counted from the full size.
    pub(super) const LAST_LEVEL: usize = 5;

    /// Packs vessel cover and tone (0..1) and a relief (heights in radii) over a square of `side` radii.
    fn new(size: usize, side: f32, vessel: &[f32], tone: &[f32], relief: &[f32]) -> Self {
        let scale = size as f32 / (2.0 * side) / MAX_SLOPE;
        let texels = (0..size * size)
            .into_par_iter()
            .map(|i| {
                let (x, y) = (i % size, i / size);
                let at = |x: usize, y: usize| relief[(y % size) * size + x % size];
                let dx = (at(x + 1, y) - at(x + size - 1, y)) * scale;
                let dy = (at(x, y + 1) - at(x, y + size - 1)) * scale;
                let unit = |v: f32| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u32;
                let signed = |v: f32| (v.clamp(-1.0, 1.0) * 127.0 + 128.5) as u32;
                unit(vessel[i]) | unit(tone[i]) << 8 | signed(dx) << 16 | signed(dy) << 24
            })
            .collect();
        let mut levels = vec![Level { texels, bits: size.trailing_zeros() }];
        for _ in 0..Self::LAST_LEVEL {
            let next = levels.last().map(halve);
            levels.extend(next);
        }
        Self { levels }
    }

    /// The four bytes at (`u`, `v`), in tiles, interpolated between texels of `level`.
    #[inline]
    pub(super) fn sample(&self, level: usize, u: f32, v: f32) -> u32 {
        let level = &self.levels[level.min(Self::LAST_LEVEL)];
        let size = (1u32 << level.bits) as f32;
        // 24.8 fixed point; negative coordinates wrap by two's complement.
        let (x, y) = ((u * size * 256.0) as i32, (v * size * 256.0) as i32);
        let (fx, fy) = ((x & 255) as u32, (y & 255) as u32);
        let mask = (1usize << level.bits) - 1;
        let (x0, y0) = ((x >> 8) as usize & mask, (y >> 8) as usize & mask);
        let (x1, y1) = ((x0 + 1) & mask, (y0 + 1) & mask);
        let at = |x: usize, y: usize| level.texels[(y << level.bits) | x];
        let top = blend(at(x0, y0), at(x1, y0), fx);
        let bottom = blend(at(x0, y1), at(x1, y1), fx);
        blend(top, bottom, fy)
    }
}

/// Four bytes of `a` and `b` mixed at once; `t` in 0..=256.
#[inline]
fn blend(a: u32, b: u32, t: u32) -> u32 {
    const EVEN: u32 = 0x00ff_00ff;
    let even = ((a & EVEN) * (256 - t) + (b & EVEN) * t) >> 8;
    let odd = ((a >> 8) & EVEN) * (256 - t) + ((b >> 8) & EVEN) * t;
    (even & EVEN) | (odd & !EVEN)
}

fn halve(level: &Level) -> Level {
    let size = 1usize << (level.bits - 1);
    let mut texels = Vec::with_capacity(size * size);
    for y in 0..size {
        for x in 0..size {
            let at = |dx: usize, dy: usize| level.texels[((2 * y + dy) << level.bits) + 2 * x + dx];
            let four = [at(0, 0), at(1, 0), at(0, 1), at(1, 1)];
            let byte = |shift: u32| four.iter().map(|t| (t >> shift) & 255).sum::<u32>() / 4;
            texels.push(byte(0) | byte(8) << 8 | byte(16) << 16 | byte(24) << 24);
        }
    }
    Level { texels, bits: level.bits - 1 }
}

/// All tiles of a scene.
#[derive(Debug)]
pub(super) struct Textures {
    /// Vessels, mottling and wrinkles of the wall.
    pub coarse: Tile,
    /// Grain of normal mucosa with its finest vessels.
    pub fine: Tile,
    /// Surface of a polyp: pits between small bulges.
    pub pits: Tile,
}

impl Textures {
    pub(super) fn new(seed: u64) -> Self {
        let (coarse, (fine, pits)) =
            rayon::join(|| coarse(seed), || rayon::join(|| fine(seed), || pits(seed)));
        Self { coarse, fine, pits }
    }
}

/// Sums octaves of periodic noise: (cells per tile, weight).
struct Octaves(Vec<(Noise, f32, f32)>);

impl Octaves {
    fn new(rng: &mut Rng, octaves: &[(i32, f32)]) -> Self {
        Self(octaves.iter().map(|&(n, w)| (Noise::new(rng, (n, n)), n as f32, w)).collect())
    }

    /// Value at (`u`, `v`) in tiles.
    fn at(&self, u: f32, v: f32) -> f32 {
        self.0.iter().map(|(noise, n, w)| w * noise.at(u * n, v * n)).sum()
    }
}

/// Evaluates `f` at every texel, given its position in tiles.
fn plane(size: usize, f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    let step = 1.0 / size as f32;
    (0..size * size)
        .into_par_iter()
        .with_min_len(size)
        .map(|i| f((i % size) as f32 * step, (i / size) as f32 * step))
        .collect()
}

fn coarse(seed: u64) -> Tile {
    let mut rng = Rng::new(seed, "coarse tile");
    let tone = Octaves::new(&mut rng, &[(5, 0.30), (13, 0.25), (31, 0.22), (70, 0.18), (160, 0.10)]);
    let relief = Octaves::new(&mut rng, &[(14, 0.030), (34, 0.012), (80, 0.0055)]);
    // Mucus lies in patches; where it lies, the surface is rougher and glitters.
    let wet = Octaves::new(&mut rng, &[(7, 1.0), (17, 0.7)]);
    let cover = Octaves::new(&mut rng, &[(4, 0.9), (9, 0.7)]);
    let tree = vessels::draw(&mut rng, COARSE, COARSE_SIDE);
    let shown = plane(COARSE, |u, v| smoothstep(-0.45, 0.25, cover.at(u, v)));
    let vessel: Vec<f32> = tree.iter().zip(&shown).map(|(v, s)| v * lerp(0.25, 1.0, *s)).collect();
    let tone = plane(COARSE, |u, v| 0.5 + tone.at(u, v));
    let relief = plane(COARSE, |u, v| relief.at(u, v) * lerp(0.3, 1.2, smoothstep(0.0, 0.5, wet.at(u, v))));
    Tile::new(COARSE, COARSE_SIDE, &vessel, &tone, &relief)
}

fn fine(seed: u64) -> Tile {
    let mut rng = Rng::new(seed, "fine tile");
    let tone = Octaves::new(&mut rng, &[(12, 0.18), (29, 0.2), (64, 0.22), (140, 0.2)]);
    let relief = Octaves::new(&mut rng, &[(12, 0.010), (34, 0.0035), (90, 0.0012)]);
    let warp = Octaves::new(&mut rng, &[(9, 0.05), (23, 0.02)]);
    let mesh = rng.bits();
    let vessel = plane(FINE, |u, v| {
        let (a, b) = cells(mesh, 18, (u + warp.at(u, v)) * 18.0, (v + warp.at(v, u)) * 18.0);
        let thread = 1.0 - smoothstep(0.02, 0.12, b - a);
        thread * smoothstep(-0.05, 0.3, warp.at(u + 0.3, v) * 8.0)
    });
    let tone = plane(FINE, |u, v| 0.5 + tone.at(u, v));
    let relief = plane(FINE, |u, v| relief.at(u, v));
    Tile::new(FINE, FINE_SIDE, &vessel, &tone, &relief)
}

fn pits(seed: u64) -> Tile {
    const CELLS: i32 = 30;
    let mut rng = Rng::new(seed, "pit tile");
    let tone = Octaves::new(&mut rng, &[(5, 0.35), (12, 0.3), (40, 0.25), (90, 0.15)]);
    let warp = Octaves::new(&mut rng, &[(10, 0.03), (26, 0.015)]);
    let rough = Octaves::new(&mut rng, &[(7, 0.016), (17, 0.006)]);
    let mesh = rng.bits();
    let n = CELLS as f32;
    let distance = |u: f32, v: f32| cells(mesh, CELLS, (u + warp.at(u, v)) * n, (v + warp.at(v, u)) * n);
    let groove = plane(FINE, |u, v| {
        let (a, b) = distance(u, v);
        1.0 - smoothstep(0.0, 0.45, b - a)
    });
    let tone = plane(FINE, |u, v| 0.5 + tone.at(u, v));
    let relief: Vec<f32> = plane(FINE, |u, v| rough.at(u, v));
    let relief: Vec<f32> = relief.iter().zip(&groove).map(|(r, g)| r - 0.0022 * g).collect();
    Tile::new(FINE, FINE_SIDE, &groove, &tone, &relief)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sampling_interpolates_and_wraps() {
        let n = 64;
        let ramp: Vec<f32> = (0..n * n).map(|i| if i % n < n / 2 { 0.0 } else { 1.0 }).collect();
        let tile = Tile::new(n, 1.0, &ramp, &vec![0.5; n * n], &vec![0.0; n * n]);
        let vessel = |u: f32, v: f32| tile.sample(0, u, v) & 255;
        assert_eq!(vessel(0.25, 0.3), 0);
        assert_eq!(vessel(0.75, 0.3), 255);
        assert_eq!(vessel(1.25, -7.7), 0);
        assert_eq!(vessel(-0.25, 0.1), 255);
        let between = vessel((n as f32 / 2.0 - 0.5) / n as f32, 0.0);
        assert!((120..136).contains(&between), "{between}");
        // Flat relief: both slopes are the byte for zero, on every level.
        for level in 0..=Tile::LAST_LEVEL {
            assert_eq!(tile.sample(level, 0.37, 0.81) >> 16, 0x8080);
        }
    }

    #[test]
    fn blending_mixes_each_byte_on_its_own() {
        assert_eq!(blend(0x00ff_10f0, 0xff00_20f0, 0), 0x00ff_10f0);
        assert_eq!(blend(0x00ff_10f0, 0xff00_20f0, 128), 0x7f7f_18f0);
        assert_eq!(blend(0x00ff_10f0, 0xff00_20f0, 256), 0xff00_20f0);
    }
}

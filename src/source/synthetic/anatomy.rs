//! The tube: haustra, semilunar folds, taeniae and bends of a colon.
//!
//! Lengths are in radii of the tube (about 2.5 cm in a colon). A point of the wall has an axial coordinate
//! `s`, an angle `theta` and a distance from the centre line. The tube repeats after [`PERIOD`].
//!
//! The wall is one fixed grid of vertices; what is constant in time (normals, occlusion, colour) is worked out
//! once, so that a frame costs one rotation and one lighting sum per vertex.

use std::f32::consts::{PI, TAU};

use rayon::prelude::*;

use super::noise::{Noise, Rng, lerp, smoothstep};

/// Length after which the tube repeats.
pub(super) const PERIOD: f32 = 40.0;
/// Distance between two rings of vertices.
pub(super) const RING: f32 = 0.025;
/// Rings per period.
pub(super) const RINGS: usize = 1600;
/// Vertices per ring.
pub(super) const SPOKES: usize = 288;

/// A vertex of the wall in its ring's own axes: x along the tube, y around it, z to its centre.
#[derive(Debug, Clone, Copy)]
pub(super) struct WallVertex {
    /// Distance from the centre line.
    pub radius: f32,
    /// Unit normal, pointing into the lumen.
    pub normal: [f32; 3],
    /// Share of the light that reaches the bottom of a furrow.
    pub openness: f32,
    /// Added to the texture's tone: crests are paler, some regions redder.
    pub tone: f32,
    /// Cover of yellow residue, 0 to 1.
    pub residue: f32,
}

/// The wall and the course of the centre line.
#[derive(Debug)]
pub(super) struct Tube {
    /// `RINGS` × `SPOKES` vertices.
    pub wall: Vec<WallVertex>,
    /// Curvature of the centre line at each ring, along the two axes that are carried along it.
    pub bend: Vec<[f32; 2]>,
    /// Cosine and sine of each spoke's angle.
    pub spokes: Vec<[f32; 2]>,
}

/// One semilunar fold.
#[derive(Debug, Clone)]
struct Fold {
    s: f32,
    theta: f32,
    extent: f32,
    height: f32,
    width: f32,
    bow: f32,
    wave: f32,
    phase: f32,
}

impl Fold {
    /// How far the fold stands into the lumen at a point.
    fn height_at(&self, s: f32, theta: f32) -> f32 {
        let along = wrap(theta - self.theta, TAU) / self.extent;
        if along.abs() >= 1.0 {
            return 0.0;
        }
        let crest = (0.5 * PI * along).cos();
        let shift = self.bow * along * along + self.wave * (3.0 * theta + self.phase).sin();
        let x = wrap(s - self.s - shift, PERIOD);
        // The flank that looks at the caecum is the gentler one.
        let width = self.width * if x < 0.0 { 0.85 } else { 1.25 };
        let q = x / width;
        self.height * crest.powf(1.3) / ((1.0 + q * q) * (1.0 + q * q).sqrt())
    }
}

impl Tube {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed, "tube");
        let bend = bends(&mut rng);
        let folds = folds(&mut rng);
        let spokes: Vec<[f32; 2]> = (0..SPOKES).map(spoke_angle).map(|a| [a.cos(), a.sin()]).collect();
        let radius = radii(&mut rng, &folds);
        let wall = vertices(&mut rng, &radius);
        Self { wall, bend, spokes }
    }

    /// The vertex nearest to a point.
    pub(super) fn nearest(&self, s: f32, theta: f32) -> &WallVertex {
        let ring = ((s / RING).round() as i64).rem_euclid(RINGS as i64) as usize;
        let spoke = ((theta / TAU * SPOKES as f32).round() as i64).rem_euclid(SPOKES as i64) as usize;
        &self.wall[ring * SPOKES + spoke]
    }

    /// The wall's radius at a point, interpolated between vertices.
    pub(super) fn radius_at(&self, s: f32, theta: f32) -> f32 {
        let (a, b) = (s / RING, theta / TAU * SPOKES as f32);
        let (i, j) = (a.floor(), b.floor());
        let at = |i: f32, j: f32| {
            let ring = (i as i64).rem_euclid(RINGS as i64) as usize;
            let spoke = (j as i64).rem_euclid(SPOKES as i64) as usize;
            self.wall[ring * SPOKES + spoke].radius
        };
        let top = lerp(at(i, j), at(i, j + 1.0), b - j);
        let bottom = lerp(at(i + 1.0, j), at(i + 1.0, j + 1.0), b - j);
        lerp(top, bottom, a - i)
    }
}

/// Angle of spoke `index`.
pub(super) fn spoke_angle(index: usize) -> f32 {
    index as f32 * (TAU / SPOKES as f32)
}

/// `x` modulo `period`, between minus and plus half of it.
pub(super) fn wrap(x: f32, period: f32) -> f32 {
    x - period * (x / period).round()
}

/// Curvature along the tube: two sums of a few periodic waves, well below the tube's own curvature.
fn bends(rng: &mut Rng) -> Vec<[f32; 2]> {
    let waves: Vec<[f32; 4]> = [2.0, 3.0, 5.0, 7.0, 8.0]
        .iter()
        .map(|&k| [k, rng.range(0.08, 0.24), rng.range(0.0, TAU), rng.range(0.0, TAU)])
        .collect();
    (0..RINGS)
        .map(|ring| {
            let s = ring as f32 / RINGS as f32 * TAU;
            waves.iter().fold([0.0, 0.0], |[x, y], [k, a, p, q]| {
                [x + a * (k * s + p).sin(), y + a * (k * s + q).sin()]
            })
        })
        .collect()
}

/// Rings of up to three folds, one between each pair of taeniae, as the transverse colon has them.
fn folds(rng: &mut Rng) -> Vec<Fold> {
    let mut folds = Vec::new();
    let count = 46 + rng.below(10);
    let spacing = PERIOD / count as f32;
    let strength = rng.range(0.8, 1.15);
    for i in 0..count {
        let centre = (i as f32 + rng.range(-0.28, 0.28)) * spacing;
        for side in 0..3 {
            if rng.unit() < 0.14 {
                continue;
            }
            folds.push(Fold {
                s: centre + rng.range(-0.16, 0.16),
                theta: side as f32 * TAU / 3.0 + rng.range(-0.35, 0.35),
                extent: rng.range(1.05, 1.65),
                height: rng.range(0.14, 0.42) * strength,
                width: rng.range(0.075, 0.14),
                bow: rng.range(-0.12, 0.22),
                wave: rng.range(0.0, 0.025),
                phase: rng.range(0.0, TAU),
            });
        }
    }
    folds
}

/// Radius at every vertex.
fn radii(rng: &mut Rng, folds: &[Fold]) -> Vec<f32> {
    const REACH: f32 = 1.1;
    let swell = Noise::new(rng, (20, 4));
    let wrinkle = Noise::new(rng, (160, 24));
    let crease = Noise::new(rng, (480, 60));
    (0..RINGS)
        .into_par_iter()
        .flat_map_iter(|ring| {
            let s = ring as f32 * RING;
            let near: Vec<&Fold> = folds.iter().filter(|f| wrap(s - f.s, PERIOD).abs() < REACH).collect();
            let share = ring as f32 / RINGS as f32;
            let (swell, wrinkle, crease) = (&swell, &wrinkle, &crease);
            (0..SPOKES).map(move |spoke| {
                let theta = spoke_angle(spoke);
                let around = spoke as f32 / SPOKES as f32;
                // Three bands of longitudinal muscle flatten the wall between the folds' middles.
                let band = ((1.5 * theta).sin()).powi(8) * 0.035;
                let folded: f32 =
                    near.iter().map(|fold| fold.height_at(s, theta).powi(3)).sum::<f32>().cbrt();
                let base = 1.02
                    + 0.16 * swell.at(share * 20.0, around * 4.0)
                    + 0.028 * wrinkle.at(share * 160.0, around * 24.0)
                    + 0.011 * crease.at(share * 480.0, around * 60.0);
                (base - band - folded).max(0.3)
            })
        })
        .collect()
}

/// Normals by central differences, occlusion by comparison with the neighbourhood, and colour.
fn vertices(rng: &mut Rng, radius: &[f32]) -> Vec<WallVertex> {
    /// Rings on either side that decide whether a point lies in a furrow.
    const NEIGHBOURS: usize = 14;
    let redness = Noise::new(rng, (30, 5));
    let patches = Noise::new(rng, (36, 6));
    let grains = Noise::new(rng, (160, 24));
    let down = rng.range(0.0, TAU);
    let dirt = rng.range(-0.5, -0.28);
    let at = |ring: usize, spoke: usize| radius[(ring % RINGS) * SPOKES + spoke % SPOKES];
    (0..RINGS)
        .into_par_iter()
        .flat_map_iter(|ring| {
            let share = ring as f32 / RINGS as f32;
            let (redness, patches, grains) = (&redness, &patches, &grains);
            (0..SPOKES).map(move |spoke| {
                let r = at(ring, spoke);
                let slope_s = (at(ring + 1, spoke) - at(ring + RINGS - 1, spoke)) / (2.0 * RING);
                let step = TAU / SPOKES as f32 * r;
                let slope_t = (at(ring, spoke + 1) - at(ring, spoke + SPOKES - 1)) / (2.0 * step);
                let length = (1.0 + slope_s * slope_s + slope_t * slope_t).sqrt();
                let mut around_it = 0.0;
                for k in (1..=NEIGHBOURS).step_by(2) {
                    around_it += at(ring + k, spoke) + at(ring + RINGS - k, spoke);
                }
                let depth = r - around_it / (NEIGHBOURS as f32);
                let around = spoke as f32 / SPOKES as f32;
                let region = redness.at(share * 30.0, around * 5.0);
                let theta = spoke_angle(spoke);
                let cover = patches.at(share * 36.0, around * 6.0)
                    + 0.4 * grains.at(share * 160.0, around * 24.0)
                    + 0.16 * (theta - down).cos()
                    + 0.5 * depth
                    + dirt;
                WallVertex {
                    radius: r,
                    normal: [slope_s / length, slope_t / length, 1.0 / length],
                    openness: (-4.0 * depth.max(0.0)).exp() * (1.0 + 0.8 * (-depth).clamp(0.0, 0.15)),
                    tone: 0.22 * region + 1.1 * depth.clamp(-0.2, 0.12),
                    residue: smoothstep(-0.06, 0.2, cover),
                }
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_is_closed_smooth_and_open_inside() {
        let tube = Tube::new(5);
        assert_eq!(tube.wall.len(), RINGS * SPOKES);
        for (i, vertex) in tube.wall.iter().enumerate() {
            let [x, y, z] = vertex.normal;
            assert!((x * x + y * y + z * z - 1.0).abs() < 1e-4);
            assert!((0.3..1.4).contains(&vertex.radius), "{}", vertex.radius);
            // Around the ring, and from the last ring to the first, the radius has no step.
            let (ring, spoke) = (i / SPOKES, i % SPOKES);
            let right = &tube.wall[ring * SPOKES + (spoke + 1) % SPOKES];
            let ahead = &tube.wall[((ring + 1) % RINGS) * SPOKES + spoke];
            assert!((vertex.radius - right.radius).abs() < 0.1);
            assert!((vertex.radius - ahead.radius).abs() < 0.2);
        }
    }

    #[test]
    fn equal_seeds_give_equal_tubes() {
        let radii = |seed| Tube::new(seed).wall.iter().map(|v| v.radius.to_bits()).collect::<Vec<_>>();
        assert_eq!(radii(2), radii(2));
        assert_ne!(radii(2), radii(3));
    }

    #[test]
    fn radius_is_interpolated_between_vertices() {
        let tube = Tube::new(1);
        let here = tube.wall[10 * SPOKES + 3].radius;
        assert!((tube.radius_at(10.0 * RING, spoke_angle(3)) - here).abs() < 1e-3);
        assert!((tube.radius_at(10.0 * RING + PERIOD, spoke_angle(3) - TAU) - here).abs() < 1e-3);
    }
}

//! The camera: where it is at each instant, where it looks, and how its lens projects.

use std::f32::consts::TAU;

use super::anatomy::{PERIOD, RING, RINGS, Tube, wrap};
use super::geometry::{Vec3, add, along, cross, dot, into_axes, mix, scale, sub, unit};
use super::noise::Rng;

/// Length of tube behind the camera that is drawn: a wide lens that looks aside sees some of it.
const BEHIND: f32 = 1.2;
/// Length of tube ahead of the camera that is drawn; beyond it, the lumen is black.
const AHEAD: f32 = 11.0;
/// Largest angle between the optical axis and a point that is projected, as its cosine (about 100°).
const MIN_COSINE: f32 = -0.17;

/// A cross-section of the tube: its centre, its axes (two across, one along).
#[derive(Debug, Clone, Copy)]
pub(super) struct Ring {
    /// Number of the ring, counted without wrapping.
    pub index: i64,
    pub centre: Vec3,
    pub across: [Vec3; 2],
    pub ahead: Vec3,
}

/// The course of the tube near the camera, in the camera's axes (x right, y down, z ahead).
#[derive(Debug)]
pub(super) struct Course {
    /// Consecutive rings from behind the camera to the end of sight.
    pub rings: Vec<Ring>,
}

impl Course {
    /// Integrates the centre line from `s` both ways, in the axes of the tube at `s`.
    ///
    /// The cross axes are carried along without rotation about the tube (Bishop 1975), so that they depend
    /// on the place alone and not on where the integration began.
    fn around(tube: &Tube, s: f32) -> Self {
        let start = Ring {
            index: (s / RING).floor() as i64,
            centre: [0.0; 3],
            across: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            ahead: [0.0, 0.0, 1.0],
        };
        let part = s / RING - start.index as f32;
        let step = |ring: Ring, to: i64, length: f32| {
            let [kx, ky] = tube.bend[ring.index.rem_euclid(RINGS as i64) as usize];
            let turn = add(scale(ring.across[0], kx), scale(ring.across[1], ky));
            let ahead = unit(along(ring.ahead, turn, length));
            let centre = along(ring.centre, add(ring.ahead, ahead), 0.5 * length);
            let x = unit(along(ring.across[0], ahead, -dot(ring.across[0], ahead)));
            Ring { index: to, centre, across: [x, cross(ahead, x)], ahead }
        };
        let first = step(start, start.index, -part * RING);
        let mut rings = vec![first];
        for _ in 0..(BEHIND / RING) as usize {
            let last = rings[rings.len() - 1];
            // The curvature between two rings belongs to the lower one, whichever way it is crossed.
            let lower = Ring { index: last.index - 1, ..last };
            rings.push(step(lower, last.index - 1, -RING));
        }
        rings.reverse();
        for _ in 0..(AHEAD / RING) as usize {
            let last = rings[rings.len() - 1];
            rings.push(step(last, last.index + 1, RING));
        }
        Self { rings }
    }

    /// The ring and the share of the way to the next one at axial coordinate `s` (taken modulo the period),
    /// if it is in sight.
    pub(super) fn locate(&self, s: f32) -> Option<(&Ring, &Ring, f32)> {
        let first = self.rings.first()?.index;
        let offset = (s / RING - first as f32).rem_euclid(RINGS as f32);
        let below = offset.floor() as usize;
        Some((self.rings.get(below)?, self.rings.get(below + 1)?, offset - offset.floor()))
    }

    /// The point at angle `theta` and distance `radius` from the centre line, if it is in sight.
    pub(super) fn point(&self, s: f32, theta: f32, radius: f32) -> Option<Vec3> {
        let (a, b, t) = self.locate(s)?;
        let at = |ring: &Ring| {
            let outward = add(scale(ring.across[0], theta.cos()), scale(ring.across[1], theta.sin()));
            along(ring.centre, outward, radius)
        };
        Some(mix(at(a), at(b), t))
    }

    /// The same course in the axes of a camera that stands at `eye` and looks along `axes[2]`.
    fn seen_from(mut self, eye: Vec3, axes: &[Vec3; 3]) -> Self {
        for ring in &mut self.rings {
            ring.centre = into_axes(sub(ring.centre, eye), axes);
            ring.across = ring.across.map(|axis| into_axes(axis, axes));
            ring.ahead = into_axes(ring.ahead, axes);
        }
        self
    }
}

/// A place on the wall that draws the operator's eye, and how strongly.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attraction {
    pub s: f32,
    pub theta: f32,
    pub radius: f32,
    pub strength: f32,
}

/// The camera's path: pure functions of time.
#[derive(Debug)]
pub(super) struct Path {
    speed: f32,
    sway: [[f32; 3]; 8],
    attractions: Vec<Attraction>,
}

impl Path {
    pub(super) fn new(seed: u64, attractions: Vec<Attraction>) -> Self {
        let mut rng = Rng::new(seed, "path");
        let speed = rng.range(0.34, 0.46);
        // Rates in rad/s, low ones first; two waves for each of: advance, x, y, roll.
        let rates = [0.62, 1.45, 0.37, 1.1, 0.43, 0.93, 0.21, 0.5];
        let sway = rates.map(|rate| [rate * rng.range(0.85, 1.2), rng.range(0.0, TAU), rng.range(0.7, 1.0)]);
        Self { speed, sway, attractions }
    }

    fn wave(&self, index: usize, t: f32) -> f32 {
        let [rate, phase, size] = self.sway[index];
        size * (rate * t + phase).sin()
    }

    /// The course of the tube as the camera sees it at `t` seconds.
    pub(super) fn look(&self, tube: &Tube, t: f64) -> Course {
        // Far into an endless run, whole periods are taken off before single precision would suffer.
        let lap = f64::from(PERIOD / self.speed);
        let whole = (t / lap).floor();
        let s = f64::from(self.speed) * (t - whole * lap);
        // Two hours of sway are exact enough in single precision; then it starts again.
        let t = (t % 7200.0) as f32;
        // Forward, with the operator's to and fro.
        let s = s as f32 + 0.5 * self.wave(0, t) + 0.05 * self.wave(1, t);
        let course = Course::around(tube, s);
        let eye = [
            0.26 * self.wave(2, t) + 0.05 * self.wave(3, t),
            0.26 * self.wave(4, t) + 0.05 * self.wave(5, t),
            0.0,
        ];
        let lumen = course.locate(s + 1.9).map_or([0.0, 0.0, 1.0], |(ring, _, _)| ring.centre);
        let mut gaze = unit(sub(lumen, eye));
        gaze = unit(add(gaze, [0.42 * self.wave(5, 0.8 * t), 0.42 * self.wave(3, 0.7 * t), 0.0]));
        for place in &self.attractions {
            let ahead = (wrap(place.s - s, PERIOD) - 1.35) / 0.85;
            let pull = place.strength * (-ahead * ahead).exp();
            if pull > 0.01
                && let Some(point) = course.point(place.s, place.theta, place.radius)
            {
                gaze = unit(mix(gaze, unit(sub(point, eye)), pull));
            }
        }
        let roll = 0.35 * self.wave(6, t) + 0.15 * self.wave(7, t);
        let down = [roll.sin(), roll.cos(), 0.0];
        let x = unit(cross(down, gaze));
        course.seen_from(eye, &[x, cross(gaze, x), gaze])
    }
}

/// The lens: equisolid-angle projection, `r = 2 f sin(angle / 2)`, as wide endoscope optics roughly have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lens {
    /// Where the optical axis meets the picture, in pixels.
    pub centre: [f32; 2],
    /// Focal length in pixels.
    pub focal: f32,
}

impl Lens {
    /// Angle between the optical axis and the corner of the field of view (a field of 128°).
    const CORNER: f32 = 64.0 * TAU / 360.0;

    /// A lens whose field of view ends `reach` pixels from `centre`.
    pub(super) fn new(centre: [f32; 2], reach: f32) -> Self {
        Self { centre, focal: reach / (2.0 * (0.5 * Self::CORNER).sin()) }
    }

    /// Where a point at distance `d` is seen, in pixels; `None` behind the camera.
    #[inline]
    pub(super) fn project(&self, p: Vec3, d: f32) -> Option<[f32; 2]> {
        if p[2] <= MIN_COSINE * d {
            return None;
        }
        // 2 f sin(a/2) / sin(a) = f sqrt(2 / (1 + cos a))
        let k = self.focal * (2.0 / (d * (d + p[2]))).sqrt();
        Some([self.centre[0] + p[0] * k, self.centre[1] + p[1] * k])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_course_is_the_same_from_wherever_it_is_seen() {
        let tube = Tube::new(3);
        let shape = |s: f32| {
            let course = Course::around(&tube, s);
            let (a, ..) = course.locate(5.0).unwrap();
            let (b, ..) = course.locate(6.5).unwrap();
            // The far point in the axes of the near one does not depend on the camera.
            let d = sub(b.centre, a.centre);
            [dot(d, a.across[0]), dot(d, a.across[1]), dot(d, a.ahead)]
        };
        let (one, two) = (shape(4.0), shape(4.613));
        for i in 0..3 {
            assert!((one[i] - two[i]).abs() < 0.02, "{one:?} {two:?}");
        }
    }

    #[test]
    fn the_path_is_continuous() {
        let tube = Tube::new(1);
        let path = Path::new(1, Vec::new());
        let lap = f64::from(PERIOD / path.speed);
        for t in [0.0, 5.0, lap, 3.0 * lap, 7100.0] {
            let place = |t: f64| {
                path.look(&tube, t).point(3.0, 1.0, 1.0).or(path.look(&tube, t).point(23.0, 1.0, 1.0))
            };
            let (a, b) = (place(t - 0.002), place(t + 0.002));
            if let (Some(a), Some(b)) = (a, b) {
                assert!(dot(sub(a, b), sub(a, b)).sqrt() < 0.05, "{t}: {a:?} {b:?}");
            }
        }
    }

    #[test]
    fn the_lens_keeps_directions_and_its_field() {
        let lens = Lens::new([100.0, 50.0], 40.0);
        assert_eq!(lens.project([0.0, 0.0, 2.0], 2.0), Some([100.0, 50.0]));
        let (sin, cos) = Lens::CORNER.sin_cos();
        let [x, y] = lens.project([sin, 0.0, cos], 1.0).unwrap();
        assert!((x - 140.0).abs() < 1e-3 && (y - 50.0).abs() < 1e-3);
        assert_eq!(lens.project([0.0, 0.0, -1.0], 1.0), None);
    }
}

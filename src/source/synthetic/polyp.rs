//! Polyps: their kinds, their shapes as meshes on the wall, and where they grow.

use std::f32::consts::{PI, TAU};

use super::anatomy::{PERIOD, Tube, wrap};
use super::geometry::{Vec3, cross, dot, mix, scale, sub, unit};
use super::noise::{Rng, lerp, smoothstep};
use super::texture::FINE_SIDE;

/// Kinds of polyp by shape (Paris classification in brackets).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A broad-based dome (0-Is).
    Sessile,
    /// A head on a stalk (0-Ip).
    Pedunculated,
    /// Slightly raised, wider than high (0-IIa).
    Flat,
    /// A small dome of at most about 5 mm.
    Diminutive,
}

/// A vertex of a mesh that sits on the wall, in tube coordinates.
#[derive(Debug, Clone, Copy)]
pub(super) struct MeshVertex {
    /// Axial distance from the mesh's own place.
    pub ds: f32,
    /// Cosine and sine of the angle around the tube.
    pub spoke: [f32; 2],
    /// Distance from the centre line.
    pub radius: f32,
    /// Unit normal in the axes of the tube at this angle: x along, y around, z to the centre.
    pub normal: Vec3,
    /// Texture coordinates in radii.
    pub uv: [f32; 2],
    /// Share of light that reaches it.
    pub openness: f32,
    /// 1 on the body, 0 where it passes into the wall.
    pub body: f32,
    /// Added to the texture's tone.
    pub tone: f32,
}

/// A closed or open surface of triangles.
#[derive(Debug, Default)]
pub(super) struct Mesh {
    pub vertices: Vec<MeshVertex>,
    pub triangles: Vec<[u32; 3]>,
}

/// A polyp in its place.
#[derive(Debug)]
pub(super) struct Polyp {
    pub kind: Kind,
    /// Axial coordinate of its middle.
    pub s: f32,
    /// Angle of its middle.
    pub theta: f32,
    /// Radius of its foot, in radii of the tube.
    pub foot: f32,
    pub mesh: Mesh,
    /// Where between a pale and a reddish skin this one's colour lies, 0 to 1.
    pub redness: f32,
}

/// Meridians and parallels of a polyp's mesh.
const MERIDIANS: usize = 64;
const PARALLELS: usize = 34;

/// Outline and height of a polyp in its own axes: x along the tube, y around it, h to the centre.
struct Shape {
    kind: Kind,
    size: f32,
    height: f32,
    /// Angle from the top at which the surface meets the wall: above 90° it is undercut.
    turn: f32,
    /// Exponents below 1 flatten the top and steepen the side.
    boxy: f32,
    elongation: [f32; 2],
    outline: [[f32; 2]; 4],
    lobes: Vec<(Vec3, f32, f32)>,
    lean: [f32; 2],
}

impl Shape {
    fn new(rng: &mut Rng, kind: Kind) -> Self {
        let (size, height, turn, boxy, lobe) = match kind {
            Kind::Sessile => {
                let size = rng.range(0.17, 0.29);
                (
                    size,
                    size * rng.range(0.75, 1.15),
                    rng.range(1.45, 1.95),
                    rng.range(0.75, 1.0),
                    rng.range(0.03, 0.09),
                )
            }
            Kind::Pedunculated => {
                let size = rng.range(0.17, 0.26);
                (size, size * rng.range(1.5, 2.3), 2.5, 1.0, rng.range(0.04, 0.1))
            }
            Kind::Flat => {
                let size = rng.range(0.22, 0.36);
                (size, size * rng.range(0.22, 0.34), 1.5, rng.range(0.55, 0.8), rng.range(0.03, 0.06))
            }
            Kind::Diminutive => {
                let size = rng.range(0.085, 0.13);
                (
                    size,
                    size * rng.range(0.6, 0.9),
                    rng.range(1.4, 1.7),
                    rng.range(0.8, 1.0),
                    rng.range(0.01, 0.04),
                )
            }
        };
        let stretch = rng.range(1.0, if kind == Kind::Flat { 1.45 } else { 1.22 });
        let turned = rng.unit() < 0.5;
        let elongation = if turned { [stretch, 1.0 / stretch] } else { [1.0 / stretch, stretch] };
        let ragged = if kind == Kind::Flat { 0.07 } else { 0.035 };
        let outline = [0; 4].map(|_| [rng.normal() * ragged, rng.range(0.0, TAU)]);
        let lobes = (0..9)
            .map(|i| {
                let wave = [rng.normal(), rng.normal(), rng.normal()];
                let frequency = 1.2 + 0.4 * i as f32;
                (scale(unit(wave), frequency), rng.range(0.0, TAU), lobe / (1.0 + 0.25 * i as f32))
            })
            .collect();
        let fall = rng.range(0.0, TAU);
        let far = match kind {
            Kind::Pedunculated => rng.range(0.3, 0.9),
            Kind::Flat => 0.0,
            _ => rng.range(0.0, 0.18),
        };
        Self {
            kind,
            size,
            height,
            turn,
            boxy,
            elongation,
            outline,
            lobes,
            lean: [far * fall.cos(), far * fall.sin()],
        }
    }

    /// Point for `t` from the top (0) to below the wall (1) along the meridian `phi`.
    fn point(&self, t: f32, phi: f32) -> Vec3 {
        // The last part of every meridian is a hem that dips below the wall.
        const HEM: f32 = 0.93;
        let sag = (t - HEM).max(0.0) / (1.0 - HEM);
        let t = (t / HEM).min(1.0);
        let (rho, h) = match self.kind {
            Kind::Pedunculated => self.head_and_stalk(t),
            _ => {
                let angle = t * self.turn;
                let floor = self.turn.cos();
                let rho = angle.sin().max(0.0).powf(self.boxy);
                let up = ((angle.cos() - floor) / (1.0 - floor)).max(0.0).powf(self.boxy);
                (rho, up)
            }
        };
        let wobble: f32 = self
            .outline
            .iter()
            .enumerate()
            .fold(1.0, |sum, (k, [size, phase])| sum + size * ((k + 2) as f32 * phi + phase).cos());
        let dir = unit([rho * phi.cos(), rho * phi.sin(), 1.4 * h - 0.2]);
        let bulge: f32 =
            self.lobes.iter().map(|(wave, phase, size)| size * (1.5 * dot(*wave, dir) + phase).sin()).sum();
        let r = self.size * rho * wobble * (1.0 + bulge);
        let z = self.height * h * (1.0 + bulge);
        let bow = h * h * self.height;
        [
            r * phi.cos() * self.elongation[0] + self.lean[0] * bow,
            r * phi.sin() * self.elongation[1] + self.lean[1] * bow,
            z - 0.05 * sag,
        ]
    }

    /// Relative radius and height of a round head whose lower side runs into a stalk.
    fn head_and_stalk(&self, t: f32) -> (f32, f32) {
        const HEAD: f32 = 0.68;
        const STALK: f32 = 0.34;
        let half = self.size / self.height;
        if t < HEAD {
            let angle = t / HEAD * self.turn;
            let under = smoothstep(1.6, self.turn, angle);
            (lerp(angle.sin(), angle.sin().max(STALK), under), 1.0 - half * 0.9 * (1.0 - angle.cos()))
        } else {
            let start = 1.0 - half * 0.9 * (1.0 - self.turn.cos());
            let u = (t - HEAD) / (1.0 - HEAD);
            let neck = self.turn.sin().max(STALK);
            (lerp(neck, STALK, smoothstep(0.0, 0.3, u)) + 0.3 * u.powi(4), start * (1.0 - u))
        }
    }
}

impl Polyp {
    /// A polyp of `kind` on the wall of `tube`.
    fn grow(rng: &mut Rng, tube: &Tube, kind: Kind, s: f32, theta: f32) -> Self {
        let shape = Shape::new(rng, kind);
        let seat = tube.radius_at(s, theta);
        let shift = [rng.range(0.0, FINE_SIDE), rng.range(0.0, FINE_SIDE)];
        let follow = if kind == Kind::Flat { 0.0 } else { 0.55 };
        let mut points = Vec::with_capacity((PARALLELS + 1) * MERIDIANS);
        let mut vertices = Vec::with_capacity(points.capacity());
        for row in 0..=PARALLELS {
            let t = row as f32 / PARALLELS as f32;
            for column in 0..MERIDIANS {
                let phi = column as f32 / MERIDIANS as f32 * TAU;
                let [x, y, h] = shape.point(t, phi);
                // Height of the wall itself above the plane that touches it at the polyp's middle.
                let turn = (y / seat).clamp(-1.2, 1.2);
                let below = tube.radius_at(s + x, theta + turn);
                let rise = seat - below * turn.cos();
                let weight = smoothstep(follow, 1.0, t);
                let z = h + rise * if kind == Kind::Flat { 1.0 } else { weight };
                points.push([x, y, z]);
                let angle = theta + y.atan2(seat - z);
                let top = (h / shape.height).clamp(0.0, 1.0);
                let arc = t * (shape.size + 0.6 * shape.height);
                vertices.push(MeshVertex {
                    ds: x,
                    spoke: [angle.cos(), angle.sin()],
                    radius: (seat - z).hypot(y),
                    normal: [0.0, 0.0, 1.0],
                    uv: [shift[0] + arc * phi.cos(), shift[1] + arc * phi.sin()],
                    openness: lerp(0.62, 1.0, smoothstep(0.0, 0.45, top)),
                    body: 1.0 - smoothstep(0.82, 0.97, t),
                    tone: lerp(0.12, -0.04, top),
                });
            }
        }
        let triangles = grid_triangles(PARALLELS, MERIDIANS);
        let normals = smooth_normals(&points, &triangles);
        for (i, vertex) in vertices.iter_mut().enumerate() {
            let [_, y, z] = points[i];
            // From the axes at the polyp's middle to those at the vertex's own angle.
            let (sin, cos) = y.atan2(seat - z).sin_cos();
            let n = normals[i / MERIDIANS * MERIDIANS + i % MERIDIANS];
            vertex.normal = [n[0], n[2] * sin + n[1] * cos, n[2] * cos - n[1] * sin];
            // The edge takes on the wall's own direction, so that the light passes over without a seam.
            let row = (i / MERIDIANS) as f32 / PARALLELS as f32;
            let wall = tube.nearest(s + vertex.ds, theta + y.atan2(seat - z)).normal;
            let gentle = if shape.turn > 1.6 { 0.25 } else { 0.6 };
            vertex.normal = unit(mix(vertex.normal, wall, gentle * smoothstep(0.8, 1.0, row)));
        }
        let redness = rng.unit();
        Self { kind, s, theta, foot: shape.size, mesh: Mesh { vertices, triangles }, redness }
    }

    /// The place that the camera looks at: the middle of the body.
    pub(super) fn middle(&self, tube: &Tube) -> [f32; 3] {
        [self.s, self.theta, tube.radius_at(self.s, self.theta) - 0.5 * self.foot]
    }
}

/// Triangles of a grid whose columns close and whose first row is one point.
fn grid_triangles(rows: usize, columns: usize) -> Vec<[u32; 3]> {
    let at = |row: usize, column: usize| (row * columns + column % columns) as u32;
    let mut triangles = Vec::with_capacity(2 * rows * columns);
    for row in 0..rows {
        for column in 0..columns {
            let (a, b) = (at(row, column), at(row, column + 1));
            let (c, d) = (at(row + 1, column), at(row + 1, column + 1));
            triangles.push([a, c, d]);
            if row > 0 {
                triangles.push([a, d, b]);
            }
        }
    }
    triangles
}

/// Area-weighted normals; the points of the first row share one.
fn smooth_normals(points: &[Vec3], triangles: &[[u32; 3]]) -> Vec<Vec3> {
    let mut normals = vec![[0.0; 3]; points.len()];
    for triangle in triangles {
        let [a, b, c] = triangle.map(|i| points[i as usize]);
        let normal = cross(sub(b, a), sub(c, a));
        for &i in triangle {
            for k in 0..3 {
                normals[i as usize][k] += normal[k];
            }
        }
    }
    let top =
        normals[..MERIDIANS].iter().fold([0.0; 3], |sum, n| [sum[0] + n[0], sum[1] + n[1], sum[2] + n[2]]);
    normals[..MERIDIANS].fill(top);
    normals.into_iter().map(unit).collect()
}

/// All polyps of a tube: every kind in turn, each where the wall is calm enough to hold it.
pub(super) fn populate(seed: u64, tube: &Tube) -> Vec<Polyp> {
    const COUNT: usize = 13;
    const TRIES: usize = 24;
    let mut rng = Rng::new(seed, "polyps");
    let mut kinds = [Kind::Sessile, Kind::Pedunculated, Kind::Flat, Kind::Diminutive];
    for i in (1..kinds.len()).rev() {
        kinds.swap(i, rng.below(i + 1));
    }
    (0..COUNT)
        .map(|i| {
            let kind = kinds[i % kinds.len()];
            let base = 1.9 + i as f32 * (PERIOD / COUNT as f32);
            let (mut best, mut place) = (f32::MIN, (base, 0.0));
            for _ in 0..TRIES {
                let (s, theta) = (base + rng.range(-0.8, 0.8), rng.range(0.0, TAU));
                let calm = calmness(tube, s, theta);
                if calm > best {
                    (best, place) = (calm, (s, theta));
                }
            }
            Polyp::grow(&mut rng, tube, kind, place.0, place.1)
        })
        .collect()
}

/// How evenly the wall faces the lumen within the reach of a polyp.
fn calmness(tube: &Tube, s: f32, theta: f32) -> f32 {
    let around = [(0.0, 0.0), (0.16, 0.0), (-0.16, 0.0), (0.0, 0.16), (0.0, -0.16)];
    let least = around.iter().map(|(x, y)| tube.nearest(s + x, theta + y).normal[2]).fold(1.0, f32::min);
    // A seat on a ridge is seen better than one in a furrow.
    least - 0.35 * tube.nearest(s, theta).radius
}

/// Darkens the wall where it meets a polyp, and lets the wall be drawn up a little redder there.
pub(super) fn mark_contacts(tube: &mut Tube, polyps: &[Polyp]) {
    use super::anatomy::{RING, RINGS, SPOKES, spoke_angle};
    for polyp in polyps {
        let reach = CONTACT_REACH * polyp.foot;
        let depth = if polyp.kind == Kind::Flat { 0.10 } else { 0.3 };
        for ring in 0..RINGS {
            let x = wrap(ring as f32 * RING - polyp.s, PERIOD);
            if x.abs() > reach {
                continue;
            }
            for spoke in 0..SPOKES {
                let vertex = &mut tube.wall[ring * SPOKES + spoke];
                let d = x.hypot(wrap(spoke_angle(spoke) - polyp.theta, 2.0 * PI) * vertex.radius);
                let near = 1.0 - smoothstep(0.8 * polyp.foot, reach, d);
                vertex.openness *= 1.0 - depth * near;
                vertex.tone += 0.1 * near;
            }
        }
    }
}

/// How far a polyp changes the wall around it, in radii of its foot.
pub(super) const CONTACT_REACH: f32 = 1.45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_grows_and_meshes_are_sound() {
        let tube = Tube::new(1);
        let polyps = populate(1, &tube);
        for kind in [Kind::Sessile, Kind::Pedunculated, Kind::Flat, Kind::Diminutive] {
            assert!(polyps.iter().any(|p| p.kind == kind), "{kind:?}");
        }
        for polyp in &polyps {
            let count = polyp.mesh.vertices.len() as u32;
            assert!(polyp.mesh.triangles.iter().flatten().all(|&i| i < count));
            for vertex in &polyp.mesh.vertices {
                assert!((dot(vertex.normal, vertex.normal) - 1.0).abs() < 1e-3);
                assert!(vertex.radius > 0.0 && vertex.radius < 1.6, "{}", vertex.radius);
            }
            // The top stands into the lumen; the hem lies below the wall, so that no gap can open.
            let top = &polyp.mesh.vertices[0];
            assert!(top.radius < tube.radius_at(polyp.s, polyp.theta));
            for vertex in &polyp.mesh.vertices[PARALLELS * MERIDIANS..] {
                let theta = vertex.spoke[1].atan2(vertex.spoke[0]);
                let wall = tube.radius_at(polyp.s + vertex.ds, theta);
                assert!(vertex.radius > wall - 0.03, "{} {wall}", vertex.radius);
            }
        }
    }
}

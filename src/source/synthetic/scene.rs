//! From the scene to one frame's triangles: projection and light at every vertex.

use super::anatomy::{PERIOD, RING, RINGS, SPOKES, Tube};
use super::camera::{Course, Lens, Ring};
use super::geometry::{Vec3, add, along, dot, mix, scale};
use super::polyp::MeshVertex;
use super::raster::{DrawList, Vertex, attribute};
use super::shade::WALL;

/// Distance of each of the two lamps from the lens, in radii of the tube.
const LAMP_OFFSET: f32 = 0.13;
/// Keeps the light finite where the wall touches the lens.
const NEAR: f32 = 0.06;
/// Light that the walls throw on one another, relative to the lamps'.
const INDIRECT: f32 = 0.035;

/// Measures the light that the wall sends to the camera: what the automatic exposure goes by.
#[derive(Debug, Default)]
pub(super) struct LightMeter {
    sum: f32,
    weight: f32,
}

impl LightMeter {
    /// Light above this counts no more: the meter looks at the middle tones.
    const CAP: f32 = 2.6;

    fn add(&mut self, light: f32, weight: f32) {
        self.sum += light.min(Self::CAP) * weight;
        self.weight += weight;
    }

    /// Mean light, weighted by the solid angle under which it is seen.
    pub(super) fn mean(&self) -> f32 {
        if self.weight > 0.0 { self.sum / self.weight } else { 1.0 }
    }
}

/// What a lamp at the lens gives a point: diffuse light, mirror slopes, and cosine to the camera.
struct Lit {
    diffuse: f32,
    mirror: [f32; 2],
    facing: f32,
}

/// Light at `p` (camera axes) with unit normal `n` in the axes `x` (along), `y` (around), `z` (inward).
#[inline]
fn lit(p: Vec3, distance: f32, axes: &[Vec3; 3], n: Vec3) -> Lit {
    let inverse = 1.0 / distance;
    let view = [-dot(p, axes[0]) * inverse, -dot(p, axes[1]) * inverse, -dot(p, axes[2]) * inverse];
    let facing = dot(n, view);
    // The lamps lie left and right of the lens: their direction differs from the view's by the offset.
    let side = (n[0] * axes[0][0] + n[1] * axes[1][0] + n[2] * axes[2][0]) * LAMP_OFFSET * inverse;
    let ahead = (p[2] * inverse).max(0.0);
    // Lamps shine forward; the tissue scatters light inside, so that terminators are soft.
    let beam = 0.10 + 0.90 * ahead * ahead.sqrt();
    let soft = |cosine: f32| ((cosine + 0.12) / 1.12).max(0.0);
    let near = distance * distance + NEAR;
    let direct = 0.5 * (soft(facing + side) + soft(facing - side)) * beam / near;
    let indirect = INDIRECT * (0.6 + 0.4 * facing.max(0.0)) / (near + 0.5 * distance);
    // Tangents of the surface: the along axis turned by the least rotation that takes z to n.
    let turn = n[0] / (1.0 + n[2]).max(0.05);
    let tangent = [1.0 - turn * n[0], -turn * n[1], -turn * (n[2] + 1.0)];
    let binormal = [
        n[1] * tangent[2] - n[2] * tangent[1],
        n[2] * tangent[0] - n[0] * tangent[2],
        n[0] * tangent[1] - n[1] * tangent[0],
    ];
    let height = 1.0 / facing.max(0.12);
    let limit = |slope: f32| slope.clamp(-4.0, 4.0);
    let mirror = [limit(dot(view, tangent) * height), limit(dot(view, binormal) * height)];
    Lit { diffuse: direct + indirect, mirror, facing }
}

const UNSEEN: Vertex = Vertex { x: f32::NAN, y: f32::NAN, attributes: [0.0; 8] };

/// Adds the wall in sight to the list and returns the exposure meter's reading.
pub(super) fn draw_wall(
    list: &mut DrawList,
    tube: &Tube,
    course: &Course,
    lens: &Lens,
    size: (usize, usize),
) -> LightMeter {
    const COLUMNS: u32 = SPOKES as u32 + 1;
    let mut meter = LightMeter::default();
    let rings = sparse_rings(course);
    let start = list.vertices.len() as u32;
    for ring in &rings {
        let number = ring.index.rem_euclid(RINGS as i64) as usize;
        let row = &tube.wall[number * SPOKES..(number + 1) * SPOKES];
        let u = number as f32 * RING;
        for spoke in 0..=SPOKES {
            let vertex = &row[spoke % SPOKES];
            let [cos, sin] = tube.spokes[spoke % SPOKES];
            let outward = add(scale(ring.across[0], cos), scale(ring.across[1], sin));
            let p = along(ring.centre, outward, vertex.radius);
            let distance = dot(p, p).sqrt().max(1e-3);
            let Some([x, y]) = lens.project(p, distance) else {
                list.vertices.push(UNSEEN);
                continue;
            };
            let around = add(scale(ring.across[0], -sin), scale(ring.across[1], cos));
            let lit = lit(p, distance, &[ring.ahead, around, scale(outward, -1.0)], vertex.normal);
            if lit.facing > 0.0 && p[2] > 0.35 * distance {
                meter.add(lit.diffuse, lit.facing / (distance * distance));
            }
            let v = spoke as f32 / SPOKES as f32;
            let light = lit.diffuse * vertex.openness;
            let [mu, mv] = lit.mirror;
            let attributes = [u, v, light, mu, mv, vertex.residue, vertex.tone, distance];
            list.vertices.push(Vertex { x, y, attributes });
        }
    }
    for row in 0..rings.len() as u32 - 1 {
        // Where the period closes, the texture coordinate jumps: the upper ring's is continued instead.
        let (lower, upper) = (start + row * COLUMNS, start + (row + 1) * COLUMNS);
        if list.vertices[upper as usize].attributes[attribute::U]
            < list.vertices[lower as usize].attributes[attribute::U]
        {
            continue_period(list, upper as usize);
        }
        for column in 0..COLUMNS - 1 {
            let (a, b) = (lower + column, upper + column);
            list.push([a, b, a + 1], WALL, size.0, size.1);
            list.push([a + 1, b, b + 1], WALL, size.0, size.1);
        }
    }
    meter
}

/// Adds a period to the texture coordinates of the row of vertices that starts at `first`.
fn continue_period(list: &mut DrawList, first: usize) {
    for vertex in &mut list.vertices[first..=first + SPOKES] {
        vertex.attributes[attribute::U] += PERIOD;
    }
}

/// All rings nearby, every third one farther away: always the same ones, so that nothing swims.
fn sparse_rings(course: &Course) -> Vec<Ring> {
    const DENSE: f32 = 4.2;
    let mut rings: Vec<Ring> = Vec::with_capacity(course.rings.len());
    for ring in &course.rings {
        let near = dot(ring.centre, ring.centre) < DENSE * DENSE;
        if near || ring.index.rem_euclid(3) == 0 {
            rings.push(*ring);
        }
    }
    rings
}

/// Adds a mesh that sits on the wall at axial coordinate `s`, if it is in sight.
pub(super) fn draw_mesh(
    list: &mut DrawList,
    (vertices, triangles): (&[MeshVertex], &[[u32; 3]]),
    (s, surface): (f32, u8),
    course: &Course,
    lens: &Lens,
    size: (usize, usize),
) {
    let reach = vertices.iter().fold(0.0f32, |most, v| most.max(v.ds.abs()));
    if course.locate(s - reach).is_none() || course.locate(s + reach).is_none() {
        return;
    }
    let start = list.vertices.len() as u32;
    for vertex in vertices {
        let projected = course.locate(s + vertex.ds).and_then(|(a, b, t)| {
            let [cos, sin] = vertex.spoke;
            let across = [mix(a.across[0], b.across[0], t), mix(a.across[1], b.across[1], t)];
            let outward = add(scale(across[0], cos), scale(across[1], sin));
            let around = add(scale(across[0], -sin), scale(across[1], cos));
            let p = along(mix(a.centre, b.centre, t), outward, vertex.radius);
            let distance = dot(p, p).sqrt().max(1e-3);
            let [x, y] = lens.project(p, distance)?;
            let lit =
                lit(p, distance, &[mix(a.ahead, b.ahead, t), around, scale(outward, -1.0)], vertex.normal);
            let light = lit.diffuse * vertex.openness;
            let [mu, mv] = lit.mirror;
            let attributes = [vertex.uv[0], vertex.uv[1], light, mu, mv, vertex.body, vertex.tone, distance];
            Some(Vertex { x, y, attributes })
        });
        list.vertices.push(projected.unwrap_or(UNSEEN));
    }
    for triangle in triangles {
        list.push(triangle.map(|i| start + i), surface, size.0, size.1);
    }
}

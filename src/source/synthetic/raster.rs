//! Triangles to pixels: which surface is seen at each pixel, and its attributes there.
//!
//! The frame is cut into bands of rows. Each band is drawn by one thread with its own depth buffer, always in
//! the same order, so that the picture does not depend on the number of threads.

/// Rows in a band; even, so that chroma rows do not straddle bands.
pub(super) const BAND: usize = 16;

/// What is interpolated over a triangle.
pub(super) type Attributes = [f32; 8];

/// Places in [`Attributes`].
pub(super) mod attribute {
    /// Texture coordinate along the tube.
    pub const U: usize = 0;
    /// Texture coordinate around the tube.
    pub const V: usize = 1;
    /// Diffuse light.
    pub const LIGHT: usize = 2;
    /// Slope along u at which the surface would mirror the lamp into the camera.
    pub const MIRROR_U: usize = 3;
    /// The same along v.
    pub const MIRROR_V: usize = 4;
    /// Wall: cover of residue; polyp: 1 on the body, 0 at its edge.
    pub const COVER: usize = 5;
    /// Added to the texture's tone.
    pub const TONE: usize = 6;
    /// Distance from the camera.
    pub const DISTANCE: usize = 7;
}

/// A projected vertex. `x` is NaN where the lens does not see it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vertex {
    pub x: f32,
    pub y: f32,
    pub attributes: Attributes,
}

/// A triangle that faces the camera.
#[derive(Debug, Clone, Copy)]
struct Triangle {
    corners: [u32; 3],
    surface: u8,
}

/// The rows of the field of view: for each row of the frame, the first pixel and the one after the last.
pub(super) type Spans = Vec<(usize, usize)>;

/// Everything that is to be drawn in one frame.
#[derive(Debug)]
pub(super) struct DrawList {
    pub vertices: Vec<Vertex>,
    triangles: Vec<Triangle>,
    /// Numbers of the triangles that touch each band.
    bands: Vec<Vec<u32>>,
}

impl DrawList {
    /// An empty list for a frame of `height` rows.
    pub(super) fn new(height: usize) -> Self {
        Self { vertices: Vec::new(), triangles: Vec::new(), bands: vec![Vec::new(); height.div_ceil(BAND)] }
    }

    /// Adds a triangle if it faces the camera and can cover a pixel of a frame of `width` × `height`.
    #[inline]
    pub(super) fn push(&mut self, corners: [u32; 3], surface: u8, width: usize, height: usize) {
        let [a, b, c] = corners.map(|i| &self.vertices[i as usize]);
        // A NaN fails every comparison, so that triangles with unseen corners fall out here.
        let facing = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x) < 0.0;
        if !facing {
            return;
        }
        let (left, right) = (a.x.min(b.x).min(c.x).ceil(), a.x.max(b.x).max(c.x).floor());
        let (top, bottom) = (a.y.min(b.y).min(c.y).ceil(), a.y.max(b.y).max(c.y).floor());
        if left > right || top > bottom || right < 0.0 || bottom < 0.0 {
            return;
        }
        if left >= width as f32 || top >= height as f32 {
            return;
        }
        let number = self.triangles.len() as u32;
        self.triangles.push(Triangle { corners, surface });
        let (first, last) = (top.max(0.0) as usize / BAND, (bottom as usize).min(height - 1) / BAND);
        for band in &mut self.bands[first..=last] {
            band.push(number);
        }
    }

    /// Draws the triangles of band `index` into `target`, whose first row is the band's.
    pub(super) fn draw(&self, index: usize, spans: &[(usize, usize)], target: &mut Band) {
        let first = index * BAND;
        for &number in &self.bands[index] {
            let triangle = self.triangles[number as usize];
            let [a, b, c] = triangle.corners.map(|i| &self.vertices[i as usize]);
            target.triangle(a, b, c, triangle.surface, first, &spans[first..]);
        }
    }
}

/// Depth, attributes and surface of each pixel of a band.
#[derive(Debug)]
pub(super) struct Band {
    width: usize,
    depth: Vec<f32>,
    attributes: Vec<Attributes>,
    surface: Vec<u8>,
}

/// The surface of pixels that nothing covers.
pub(super) const NOTHING: u8 = u8::MAX;

impl Band {
    pub(super) fn new(width: usize) -> Self {
        let pixels = width * BAND;
        Self {
            width,
            depth: vec![f32::MAX; pixels],
            attributes: vec![[0.0; 8]; pixels],
            surface: vec![NOTHING; pixels],
        }
    }

    pub(super) fn clear(&mut self) {
        self.depth.fill(f32::MAX);
        self.surface.fill(NOTHING);
    }

    /// Attributes and surfaces of row `row` of the band.
    pub(super) fn row(&self, row: usize) -> (&[Attributes], &[u8]) {
        let range = row * self.width..(row + 1) * self.width;
        (&self.attributes[range.clone()], &self.surface[range])
    }

    fn triangle(
        &mut self,
        a: &Vertex,
        b: &Vertex,
        c: &Vertex,
        surface: u8,
        first: usize,
        spans: &[(usize, usize)],
    ) {
        let area = (b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x);
        let scale = 1.0 / area;
        let rows = spans.len().min(BAND);
        let top = (a.y.min(b.y).min(c.y).ceil() - first as f32).max(0.0) as usize;
        let bottom = a.y.max(b.y).max(c.y).floor() - first as f32;
        if bottom < 0.0 {
            return;
        }
        let bottom = (bottom as usize + 1).min(rows);
        let left = a.x.min(b.x).min(c.x).ceil().max(0.0) as usize;
        let right = a.x.max(b.x).max(c.x).floor().max(-1.0) as isize + 1;
        // Barycentric weights of b and c and their steps along x.
        let (b_step, c_step) = ((c.y - a.y) * scale, (a.y - b.y) * scale);
        for (row, &(start, end)) in spans.iter().enumerate().take(bottom).skip(top) {
            let (start, end) = (left.max(start), (right.max(0) as usize).min(end));
            if start >= end {
                continue;
            }
            let (dx, dy) = (start as f32 - a.x, (first + row) as f32 - a.y);
            let mut wb = (dx * (c.y - a.y) - dy * (c.x - a.x)) * scale;
            let mut wc = (dy * (b.x - a.x) - dx * (b.y - a.y)) * scale;
            let offset = row * self.width;
            for x in start..end {
                let wa = 1.0 - wb - wc;
                if wa >= 0.0 && wb >= 0.0 && wc >= 0.0 {
                    let z = wa * a.attributes[attribute::DISTANCE]
                        + wb * b.attributes[attribute::DISTANCE]
                        + wc * c.attributes[attribute::DISTANCE];
                    let i = offset + x;
                    if z < self.depth[i] {
                        self.depth[i] = z;
                        self.surface[i] = surface;
                        self.attributes[i] = std::array::from_fn(|k| {
                            wa * a.attributes[k] + wb * b.attributes[k] + wc * c.attributes[k]
                        });
                    }
                }
                wb += b_step;
                wc += c_step;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(x: f32, y: f32, distance: f32) -> Vertex {
        let mut attributes = [x; 8];
        attributes[attribute::DISTANCE] = distance;
        Vertex { x, y, attributes }
    }

    fn draw(vertices: Vec<Vertex>, triangles: &[([u32; 3], u8)]) -> Band {
        let mut list = DrawList { vertices, ..DrawList::new(BAND) };
        for (corners, surface) in triangles {
            list.push(*corners, *surface, 32, BAND);
        }
        let mut band = Band::new(32);
        list.draw(0, &[(0, 32); BAND], &mut band);
        band
    }

    #[test]
    fn two_triangles_cover_a_square_without_a_gap() {
        let corners = vec![
            vertex(2.3, 1.2, 1.0),
            vertex(2.3, 13.7, 1.0),
            vertex(29.1, 13.7, 1.0),
            vertex(29.1, 1.2, 1.0),
        ];
        let band = draw(corners, &[([0, 1, 2], 1), ([0, 2, 3], 1)]);
        for y in 0..BAND {
            let (attributes, surface) = band.row(y);
            for x in 0..32 {
                let inside = (3..=29).contains(&x) && (2..=13).contains(&y);
                assert_eq!(surface[x] == 1, inside, "{x} {y}");
                if inside {
                    assert!((attributes[x][attribute::U] - x as f32).abs() < 1e-3);
                }
            }
        }
    }

    #[test]
    fn the_nearer_surface_is_seen_and_backs_are_not() {
        let mut corners = vec![vertex(0.0, 0.0, 2.0), vertex(0.0, 15.0, 2.0), vertex(31.0, 0.0, 2.0)];
        corners.extend([vertex(0.0, 0.0, 1.0), vertex(0.0, 15.0, 1.0), vertex(31.0, 0.0, 1.0)]);
        let band = draw(corners.clone(), &[([3, 4, 5], 7), ([0, 1, 2], 1)]);
        assert_eq!(band.row(2).1[3], 7);
        let band = draw(corners.clone(), &[([0, 2, 1], 1)]);
        assert_eq!(band.row(2).1[3], NOTHING);
        corners[0].x = f32::NAN;
        assert_eq!(draw(corners, &[([0, 1, 2], 1)]).row(2).1[3], NOTHING);
    }
}

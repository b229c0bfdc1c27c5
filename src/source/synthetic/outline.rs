//! Outlines of labelled regions as polygons.

/// Pieces with fewer pixels have no outline of their own.
const MIN_PIECE: usize = 12;
/// How far a simplified outline may lie from the exact one, in pixels.
const TOLERANCE: f32 = 0.75;

/// A part of a label image: `width` × rows of labels, of which those equal to `label` count.
pub(super) struct Region<'a> {
    pub labels: &'a [u8],
    pub width: usize,
    pub label: u8,
    /// `[x, y, width, height]` that holds all its pixels.
    pub bbox: [usize; 4],
}

impl Region<'_> {
    fn has(&self, x: i64, y: i64) -> bool {
        let [x0, y0, w, h] = self.bbox.map(|v| v as i64);
        (x0..x0 + w).contains(&x)
            && (y0..y0 + h).contains(&y)
            && self.labels[y as usize * self.width + x as usize] == self.label
    }

    /// The outer outline of each connected piece (holes are not cut out), largest first: clockwise on the
    /// screen, not closed, along the edges of pixels, then simplified.
    pub(super) fn outlines(&self) -> Vec<Vec<[f32; 2]>> {
        let [x0, y0, w, h] = self.bbox;
        let mut visited = vec![false; w * h];
        let mut pieces = Vec::new();
        for y in y0..y0 + h {
            for x in x0..x0 + w {
                if !visited[(y - y0) * w + x - x0] && self.has(x as i64, y as i64) {
                    let size = self.flood(&mut visited, x, y);
                    if size >= MIN_PIECE {
                        pieces.push((size, self.trace(x as i64, y as i64)));
                    }
                }
            }
        }
        pieces.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        pieces.into_iter().map(|(_, outline)| simplify(&outline)).collect()
    }

    /// Marks the piece (neighbours by edge) that holds a pixel and returns its size.
    fn flood(&self, visited: &mut [bool], x: usize, y: usize) -> usize {
        let [x0, y0, w, _] = self.bbox;
        let mut open = vec![(x as i64, y as i64)];
        visited[(y - y0) * w + x - x0] = true;
        let mut size = 0;
        while let Some((x, y)) = open.pop() {
            size += 1;
            for (nx, ny) in [(x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)] {
                if self.has(nx, ny) {
                    let seen = &mut visited[(ny as usize - y0) * w + nx as usize - x0];
                    if !std::mem::replace(seen, true) {
                        open.push((nx, ny));
                    }
                }
            }
        }
        size
    }

    /// Walks along pixel edges with the region on the right, from the top left corner of a piece's first
    /// pixel (in reading order) back to it.
    fn trace(&self, x: i64, y: i64) -> Vec<[f32; 2]> {
        let (start, mut at, mut step) = ((x, y), (x, y), (1i64, 0i64));
        let mut corners = Vec::new();
        loop {
            // The pixels ahead of the corner: left and right of the direction.
            let (dx, dy) = step;
            let pixel = |side: i64| {
                let px = at.0 + (dx - dy * side - 1).div_euclid(2);
                let py = at.1 + (dy + dx * side - 1).div_euclid(2);
                self.has(px, py)
            };
            let (left, right) = (pixel(-1), pixel(1));
            let next = match (left, right) {
                // Pieces hang together by edges: where two touch at a corner, turn to stay on one's own.
                (_, false) => (-dy, dx),
                (true, true) => (dy, -dx),
                (false, true) => step,
            };
            if next != step || at == start {
                corners.push([at.0 as f32, at.1 as f32]);
            }
            step = next;
            at = (at.0 + step.0, at.1 + step.1);
            if at == start {
                return corners;
            }
        }
    }
}

/// Douglas & Peucker 1973 on a closed outline, split at its first point and the one farthest from it.
fn simplify(outline: &[[f32; 2]]) -> Vec<[f32; 2]> {
    let Some(&first) = outline.first() else { return Vec::new() };
    let distance = |p: [f32; 2]| (p[0] - first[0]).hypot(p[1] - first[1]);
    let far = (0..outline.len()).max_by(|&a, &b| distance(outline[a]).total_cmp(&distance(outline[b])));
    let far = far.unwrap_or(0);
    let mut keep = vec![false; outline.len() + 1];
    let closed: Vec<[f32; 2]> = outline.iter().copied().chain([first]).collect();
    let mut spans = vec![(0, far), (far, outline.len())];
    while let Some((a, b)) = spans.pop() {
        (keep[a], keep[b]) = (true, true);
        let (p, q) = (closed[a], closed[b]);
        let length = (q[0] - p[0]).hypot(q[1] - p[1]).max(1e-6);
        let away = |i: usize| {
            let [x, y] = closed[i];
            ((q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0])).abs() / length
        };
        let worst = (a + 1..b).max_by(|&i, &j| away(i).total_cmp(&away(j)));
        if let Some(i) = worst.filter(|&i| away(i) > TOLERANCE) {
            spans.extend([(a, i), (i, b)]);
        }
    }
    outline.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(p, _)| *p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Area by the shoelace formula, positive if clockwise on the screen.
    fn area(polygon: &[[f32; 2]]) -> f32 {
        let next = polygon.iter().cycle().skip(1);
        polygon.iter().zip(next).map(|(a, b)| 0.5 * (a[0] * b[1] - b[0] * a[1])).sum()
    }

    fn outlines(rows: &[&str]) -> Vec<Vec<[f32; 2]>> {
        let width = rows[0].len();
        let labels: Vec<u8> = rows.iter().flat_map(|row| row.bytes().map(|b| u8::from(b == b'#'))).collect();
        Region { labels: &labels, width, label: 1, bbox: [0, 0, width, rows.len()] }.outlines()
    }

    #[test]
    fn a_rectangle_has_four_corners_and_pieces_come_by_size() {
        let found = outlines(&["####.....", "####.....", "####.####", ".....####", "....#####", "....#####"]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[1], [[0.0, 0.0], [4.0, 0.0], [4.0, 3.0], [0.0, 3.0]]);
        assert!(area(&found[0]) > 14.0);
    }

    #[test]
    fn the_polygon_of_a_disc_has_its_area_and_few_corners() {
        let n = 81;
        let inside = |x: usize, y: usize| (x as f32 - 40.0).hypot(y as f32 - 40.0) < 33.3;
        let labels: Vec<u8> = (0..n * n).map(|i| u8::from(inside(i % n, i / n))).collect();
        let pixels = labels.iter().filter(|l| **l == 1).count() as f32;
        let found = Region { labels: &labels, width: n, label: 1, bbox: [0, 0, n, n] }.outlines();
        assert_eq!(found.len(), 1);
        assert!((area(&found[0]) / pixels - 1.0).abs() < 0.03, "{} {pixels}", area(&found[0]));
        assert!(found[0].len() < 60, "{}", found[0].len());
    }

    #[test]
    fn pieces_that_touch_at_a_corner_end() {
        let found = outlines(&["####....", "####....", "####....", "....####", "....####", "....####"]);
        assert_eq!(found.len(), 2);
        assert!(found.iter().all(|piece| (area(piece) - 12.0).abs() < 1e-3), "{found:?}");
    }
}

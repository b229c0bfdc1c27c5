//! Filling polygons.

use std::ops::Range;

/// Calls `span` with each row and the columns of it whose pixel centres lie inside the polygon (even-odd rule),
/// within a picture of `width` × `height` pixels.
pub(super) fn fill(
    points: &[[f32; 2]],
    width: usize,
    height: usize,
    mut span: impl FnMut(usize, Range<usize>),
) {
    let top = points.iter().map(|p| p[1]).fold(f32::INFINITY, f32::min).max(0.0) as usize;
    let bottom = points.iter().map(|p| p[1]).fold(0.0, f32::max).ceil() as usize;
    // Indices of the pixel centres right of a position.
    let column = |x: f32| (x - 0.5).ceil().clamp(0.0, width as f32) as usize;
    let mut crossings = Vec::new();
    for y in top..bottom.min(height) {
        let at = y as f32 + 0.5;
        crossings.clear();
        for (i, a) in points.iter().enumerate() {
            let b = points[(i + 1) % points.len()];
            if (a[1] <= at) != (b[1] <= at) {
                crossings.push(a[0] + (at - a[1]) / (b[1] - a[1]) * (b[0] - a[0]));
            }
        }
        crossings.sort_by(f32::total_cmp);
        for pair in crossings.chunks_exact(2) {
            let (from, to) = (column(pair[0]), column(pair[1]));
            if from < to {
                span(y, from..to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixels(points: &[[f32; 2]]) -> Vec<(usize, usize)> {
        let mut pixels = Vec::new();
        fill(points, 8, 6, |y, columns| pixels.extend(columns.map(|x| (x, y))));
        pixels
    }

    #[test]
    fn a_rectangle_covers_the_pixels_whose_centres_it_holds() {
        let corners = [[1.4, 2.0], [3.6, 2.0], [3.6, 4.0], [1.4, 4.0]];
        assert_eq!(pixels(&corners), [(1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (3, 3)]);
    }

    #[test]
    fn what_lies_outside_the_picture_is_cut() {
        assert_eq!(pixels(&[[-5.0, -5.0], [50.0, -5.0], [50.0, 50.0], [-5.0, 50.0]]).len(), 48);
        assert_eq!(pixels(&[[f32::NAN, 1.0], [2.0, 2.0]]), []);
        assert_eq!(pixels(&[]), []);
    }
}

//! Outlines: border following with sub-pixel crossings, and simplification.

/// Longest outline that is simplified as it is; longer ones are thinned first.
const MAX_CONTOUR_POINTS: usize = 4096;

/// Directions along the pixel grid, clockwise on a screen: right, down, left, up.
const STEPS: [(i32, i32); 4] = [(1, 0), (0, 1), (-1, 0), (0, -1)];

/// Follows the outer border of a component clockwise and returns one point per pixel edge on it.
///
/// `inside` says whether a pixel belongs to the component; `start` is its first pixel in reading order.
/// `crossing` places the border between a pixel inside and its neighbour outside as a share of the way from
/// the one centre to the other, which makes this the marching-squares contour (Lorensen & Cline 1987) of the
/// component's probabilities, found by border following (Suzuki & Abe 1985). Diagonal neighbours count as
/// connected. Points are in pixels, (0, 0) being the first pixel's top left corner.
pub(super) fn follow(
    start: (i32, i32),
    inside: impl Fn(i32, i32) -> bool,
    crossing: impl Fn((i32, i32), (i32, i32)) -> f32,
    limit: usize,
) -> Vec<[f32; 2]> {
    let mut points = Vec::new();
    // Walk along pixel edges with the inside at the right hand, beginning with the top edge of `start`.
    let (mut pixel, mut heading) = (start, 0usize);
    for _ in 0..limit {
        let (dx, dy) = STEPS[heading];
        let outward = STEPS[(heading + 3) % 4];
        let beyond = (pixel.0 + outward.0, pixel.1 + outward.1);
        let share = crossing(pixel, beyond);
        points.push([
            pixel.0 as f32 + 0.5 + share * outward.0 as f32,
            pixel.1 as f32 + 0.5 + share * outward.1 as f32,
        ]);
        let ahead = (pixel.0 + dx, pixel.1 + dy);
        let diagonal = (ahead.0 + outward.0, ahead.1 + outward.1);
        if inside(diagonal.0, diagonal.1) {
            // The border turns left, round the outer corner of a neighbour (8-connected).
            pixel = diagonal;
            heading = (heading + 3) % 4;
        } else if inside(ahead.0, ahead.1) {
            pixel = ahead;
        } else {
            heading = (heading + 1) % 4;
        }
        if pixel == start && heading == 0 {
            break;
        }
    }
    points
}

/// Leaves out points that lie within `tolerance` of the line between their neighbours.
///
/// Douglas & Peucker 1973 on the closed outline, split at the two points farthest from each other's ends.
/// At least three points stay where there were three.
pub(super) fn simplify(points: &[[f32; 2]], tolerance: f32) -> Vec<[f32; 2]> {
    if points.len() < 4 {
        return points.to_vec();
    }
    let stride = points.len().div_ceil(MAX_CONTOUR_POINTS);
    let points: Vec<[f32; 2]> = points.iter().step_by(stride).copied().collect();
    let farthest = |from: [f32; 2]| {
        let distance = |p: &[f32; 2]| (p[0] - from[0]).powi(2) + (p[1] - from[1]).powi(2);
        let order = points.iter().enumerate().max_by(|a, b| distance(a.1).total_cmp(&distance(b.1)));
        order.map_or(0, |(index, _)| index)
    };
    let first = farthest(points[0]);
    let second = farthest(points[first]);
    let (first, second) = (first.min(second), first.max(second));

    let mut keep = vec![false; points.len()];
    keep[first] = true;
    keep[second] = true;
    // Intervals of the ring; an end beyond the last point wraps round.
    let mut open = vec![(first, second), (second, first + points.len())];
    while let Some((from, to)) = open.pop() {
        let (a, b) = (points[from % points.len()], points[to % points.len()]);
        let mut worst = (tolerance, 0);
        for middle in from + 1..to {
            let distance = distance_to_segment(points[middle % points.len()], a, b);
            if distance > worst.0 {
                worst = (distance, middle);
            }
        }
        if worst.1 > 0 {
            keep[worst.1 % points.len()] = true;
            open.push((from, worst.1));
            open.push((worst.1, to));
        }
    }
    let kept: Vec<[f32; 2]> = points.iter().zip(&keep).filter(|(_, keep)| **keep).map(|(p, _)| *p).collect();
    if kept.len() >= 3 { kept } else { points }
}

/// Distance of a point from a segment.
pub(super) fn distance_to_segment(p: [f32; 2], a: [f32; 2], b: [f32; 2]) -> f32 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let length2 = dx * dx + dy * dy;
    let t = if length2 > 0.0 { ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / length2 } else { 0.0 };
    let t = t.clamp(0.0, 1.0);
    (p[0] - a[0] - t * dx).hypot(p[1] - a[1] - t * dy)
}

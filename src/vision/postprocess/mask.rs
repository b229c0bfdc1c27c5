//! Mask heads: threshold, components, outlines.
//!
//! The map is enlarged bilinearly to the network's input size before it is thresholded, so that outlines are
//! finer than its cells; only the rectangle that holds cells above the threshold is visited. Logits are enlarged as
//! they are: probabilities saturate, and blending those would shrink findings at thresholds above one half.
//!
//! A finding's score is the mean probability over its pixels. It is never below the mask threshold, so a score
//! threshold has an effect only above that one; regions that the network half believes in score little above it.

use std::ops::Range;

use crate::model::manifest::{Activation, Thresholds};
use crate::record::Detection;
use crate::vision::postprocess::{MAX_FINDINGS, contour, probability};
use crate::vision::score_map::{Grid, Reported};
use crate::vision::{Findings, Geometry, ScoreMap};

/// Deviation of a simplified outline from the full one, in pixels of the network's input.
const OUTLINE_TOLERANCE: f32 = 0.5;

/// Buffers that are kept between frames.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    runs: Vec<Run>,
    /// Per run an earlier one of the same region, or itself.
    parents: Vec<u32>,
}

/// Neighbours in a row that are above the threshold.
#[derive(Debug)]
struct Run {
    y: usize,
    pixels: Range<usize>,
}

/// What a mask is read with.
pub(super) struct Reading<'a> {
    pub labels: &'a [String],
    pub thresholds: &'a Thresholds,
    pub activation: Activation,
    pub geometry: &'a Geometry,
    /// Whether the frame score lets findings pass.
    pub open: bool,
}

/// Largest logit that is told from others: its sigmoid is 0 or 1 to any precision here.
const MAX_LOGIT: f32 = 80.0;

/// A network's value, within what can be blended.
fn bounded(activation: Activation, value: f32) -> f32 {
    match activation {
        Activation::Logits => value.clamp(-MAX_LOGIT, MAX_LOGIT),
        Activation::Probabilities => value.clamp(0.0, 1.0),
    }
}

/// The value that stands for `probability`: the inverse of what [`probability`] does.
fn level(activation: Activation, probability: f32) -> f32 {
    match activation {
        Activation::Logits => (probability / (1.0 - probability)).ln(),
        Activation::Probabilities => probability,
    }
}

/// A connected region of the working grid.
struct Component {
    id: u32,
    /// First pixel in reading order.
    start: (usize, usize),
    pixels: usize,
    sum: f64,
}

impl Reading<'_> {
    /// Findings in the maps of all classes, each `shape` (width, height) cells.
    pub fn findings(
        &self,
        shape: (usize, usize),
        data: &[f32],
        source: (usize, usize),
        scratch: &mut Scratch,
    ) -> Findings {
        let mut detections = Vec::new();
        let mut whole: Option<ScoreMap> = None;
        for (label, values) in self.labels.iter().zip(data.chunks_exact(shape.0 * shape.1)) {
            let mut map = ScoreMap {
                width: shape.0,
                height: shape.1,
                data: values.iter().map(|&value| bounded(self.activation, value)).collect(),
                activation: self.activation,
                threshold: level(self.activation, self.thresholds.mask),
                geometry: *self.geometry,
                reported: Reported::None,
            };
            if self.open {
                map.reported = self.class_findings(label, &map, source, scratch, &mut detections);
            }
            whole = Some(match whole {
                None => map,
                Some(whole) => whole.joined(map),
            });
        }
        detections.sort_by(|a: &Detection, b| b.score.total_cmp(&a.score));
        detections.truncate(MAX_FINDINGS);
        Findings { detections, map: whole }
    }

    /// Adds one class's findings, and says which of the pixels above the threshold are in them.
    fn class_findings(
        &self,
        label: &str,
        map: &ScoreMap,
        source: (usize, usize),
        scratch: &mut Scratch,
        detections: &mut Vec<Detection>,
    ) -> Reported {
        let Some(grid) = Grid::new(map) else { return Reported::None };
        let (ids, mut components) = label_components(&grid, scratch);
        let content = self.geometry.content;
        let least = self.thresholds.min_area as f64 * (content.width * content.height) as f64;
        let score = |c: &Component| c.sum / c.pixels as f64;
        let passes = |c: &Component| c.pixels as f64 >= least && score(c) >= f64::from(self.thresholds.score);
        let all = components.len();
        components.retain(passes);
        components.sort_by(|a, b| score(b).total_cmp(&score(a)));
        components.truncate(MAX_FINDINGS);
        for component in &components {
            detections.push(self.detection(label, &grid, &ids, component, source));
        }
        if components.len() == all && self.labels.len() == 1 {
            return Reported::All;
        }
        let mut reported = vec![false; all + 1];
        components.iter().for_each(|component| reported[component.id as usize] = true);
        Reported::Pixels { area: grid.area, pixels: ids.iter().map(|&id| reported[id as usize]).collect() }
    }

    fn detection(
        &self,
        label: &str,
        grid: &Grid,
        ids: &[u32],
        component: &Component,
        source: (usize, usize),
    ) -> Detection {
        let geometry = self.geometry;
        let (width, height) = (grid.area.width as i32, grid.area.height as i32);
        let at = |x: i32, y: i32| y as usize * grid.area.width + x as usize;
        let known = |x: i32, y: i32| (0..width).contains(&x) && (0..height).contains(&y);
        let inside = |x: i32, y: i32| known(x, y) && ids[at(x, y)] == component.id;
        let crossing = |from: (i32, i32), to: (i32, i32)| {
            if !known(to.0, to.1) {
                return 0.5;
            }
            let (high, low) = (grid.values[at(from.0, from.1)], grid.values[at(to.0, to.1)]);
            let drop = high - low;
            if drop > 0.0 { ((high - grid.threshold) / drop).clamp(0.0, 1.0) } else { 0.5 }
        };
        let start = (component.start.0 as i32, component.start.1 as i32);
        // Every pixel edge is walked at most once.
        let outline = contour::follow(start, inside, crossing, 4 * component.pixels);
        let to_source = |[x, y]: [f32; 2]| {
            let (x, y) = geometry.to_source(x + grid.area.x as f32, y + grid.area.y as f32);
            [x.clamp(0.0, source.0 as f32), y.clamp(0.0, source.1 as f32)]
        };
        let polygon: Vec<[f32; 2]> =
            contour::simplify(&outline, OUTLINE_TOLERANCE).into_iter().map(to_source).collect();
        let bounds = |axis: usize| {
            let low = polygon.iter().map(|p| p[axis]).fold(f32::INFINITY, f32::min);
            let high = polygon.iter().map(|p| p[axis]).fold(f32::NEG_INFINITY, f32::max);
            (low, high - low)
        };
        let ((x, width), (y, height)) = (bounds(0), bounds(1));
        let scale_x = geometry.crop.width as f64 / geometry.content.width as f64;
        let scale_y = geometry.crop.height as f64 / geometry.content.height as f64;
        Detection {
            label: label.to_owned(),
            score: (component.sum / component.pixels as f64) as f32,
            bbox: [x, y, width, height],
            area_px: Some((component.pixels as f64 * scale_x * scale_y).round() as u64),
            polygon: Some(polygon),
            track_id: None,
        }
    }
}

/// Gives each 8-connected region above the threshold a number from 1, in reading order of their first pixels.
///
/// By runs and union-find (He, Chao & Suzuki 2008): every row is cut into runs of pixels above the threshold, and runs
/// that touch one of the row before are of its region.
fn label_components(grid: &Grid, Scratch { runs, parents }: &mut Scratch) -> (Vec<u32>, Vec<Component>) {
    let width = grid.area.width;
    runs.clear();
    parents.clear();
    let mut above = 0..0;
    for (y, row) in grid.values.chunks_exact(width).enumerate() {
        let first = runs.len();
        let mut x = 0;
        while let Some(gap) = row[x..].iter().position(|&value| value >= grid.threshold) {
            let from = x + gap;
            let length = row[from..].iter().position(|&value| value < grid.threshold);
            x = length.map_or(width, |length| from + length);
            let run = runs.len() as u32;
            runs.push(Run { y, pixels: from..x });
            parents.push(run);
            // Diagonal neighbours touch. A run of the row before may touch the next one of this row too.
            while above.start < above.end && runs[above.start].pixels.end < from {
                above.start += 1;
            }
            for other in above.clone().take_while(|&other| runs[other].pixels.start <= x) {
                unite(parents, run, other as u32);
            }
        }
        above = first..runs.len();
    }
    let mut ids = vec![0u32; grid.values.len()];
    let mut components: Vec<Component> = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let root = root(parents, i as u32) as usize;
        // A region's root is its first run, so that its number is known before the others ask for it.
        let id = if root == i {
            let start = (run.pixels.start, run.y);
            components.push(Component { id: components.len() as u32 + 1, start, pixels: 0, sum: 0.0 });
            components.len() as u32
        } else {
            ids[runs[root].y * width + runs[root].pixels.start]
        };
        let place = run.y * width + run.pixels.start..run.y * width + run.pixels.end;
        ids[place.clone()].fill(id);
        let component = &mut components[id as usize - 1];
        component.pixels += run.pixels.len();
        let values = grid.values[place].iter();
        component.sum += values.map(|&value| f64::from(probability(grid.activation, value))).sum::<f64>();
    }
    (ids, components)
}

/// The first run of the region that a run is known to belong to.
fn root(parents: &mut [u32], mut run: u32) -> u32 {
    while parents[run as usize] != run {
        // Halves the way for the next who asks.
        parents[run as usize] = parents[parents[run as usize] as usize];
        run = parents[run as usize];
    }
    run
}

fn unite(parents: &mut [u32], a: u32, b: u32) {
    let (a, b) = (root(parents, a), root(parents, b));
    parents[a.max(b) as usize] = a.min(b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::Crop;

    /// Regions by flood fill, each as its pixels, in reading order.
    fn flooded(width: usize, height: usize, above: &[bool]) -> Vec<Vec<usize>> {
        let mut seen = vec![false; above.len()];
        let mut regions = Vec::new();
        for first in 0..above.len() {
            let (mut region, mut open) = (Vec::new(), vec![first]);
            while let Some(at) = open.pop() {
                if !above[at] || std::mem::replace(&mut seen[at], true) {
                    continue;
                }
                region.push(at);
                let (x, y) = (at % width, at / width);
                for y in y.saturating_sub(1)..(y + 2).min(height) {
                    open.extend((x.saturating_sub(1)..(x + 2).min(width)).map(|x| y * width + x));
                }
            }
            region.sort_unstable();
            regions.extend(Some(region).filter(|region| !region.is_empty()));
        }
        regions
    }

    #[test]
    fn regions_are_those_of_a_flood_fill() {
        let mut state = 1u32;
        let mut scratch = Scratch::default();
        for round in 0..400 {
            let (width, height) = (1 + round % 23, 1 + round / 23);
            let density = 1 + round % 7;
            let values: Vec<f32> = (0..width * height)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    if (state >> 24) as usize % 8 < density { 0.75 } else { 0.25 }
                })
                .collect();
            let above: Vec<bool> = values.iter().map(|&value| value >= 0.5).collect();
            let area = Crop { x: 0, y: 0, width, height };
            let grid = Grid { area, values, threshold: 0.5, activation: Activation::Probabilities };
            let (ids, components) = label_components(&grid, &mut scratch);
            let expected = flooded(width, height, &above);
            assert_eq!(components.len(), expected.len(), "{width} x {height}");
            for (component, expected) in components.iter().zip(&expected) {
                let pixels: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == component.id).collect();
                assert_eq!(&pixels, expected);
                assert_eq!(component.pixels, expected.len());
                assert_eq!(component.start, (expected[0] % width, expected[0] / width));
                assert_eq!(component.sum, 0.75 * expected.len() as f64);
            }
        }
    }
}

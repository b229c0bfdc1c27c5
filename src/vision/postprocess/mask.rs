//! Mask heads: threshold, components, outlines.
//!
//! The map is enlarged bilinearly to the network's input size before it is thresholded, so that outlines are
//! finer than its cells; only the rectangle that holds cells above the threshold is visited. Logits are enlarged as
//! they are: probabilities saturate, and blending those would shrink findings at thresholds above one half.
//!
//! A finding's score is the mean probability over its pixels. It is never below the mask threshold, so a score
//! threshold has an effect only above that one; regions that the network half believes in score little above it.

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
    stack: Vec<(usize, usize)>,
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

/// Gives each 8-connected region above the threshold a number from 1, by flood fill.
fn label_components(grid: &Grid, scratch: &mut Scratch) -> (Vec<u32>, Vec<Component>) {
    let (width, height) = (grid.area.width, grid.area.height);
    let mut ids = vec![0u32; width * height];
    let mut components = Vec::new();
    for first in 0..ids.len() {
        if ids[first] > 0 || grid.values[first] < grid.threshold {
            continue;
        }
        let id = components.len() as u32 + 1;
        let mut component = Component { id, start: (first % width, first / width), pixels: 0, sum: 0.0 };
        ids[first] = id;
        scratch.stack.push(component.start);
        while let Some((x, y)) = scratch.stack.pop() {
            component.pixels += 1;
            component.sum += f64::from(probability(grid.activation, grid.values[y * width + x]));
            for ny in y.saturating_sub(1)..(y + 2).min(height) {
                for nx in x.saturating_sub(1)..(x + 2).min(width) {
                    let neighbour = ny * width + nx;
                    if ids[neighbour] == 0 && grid.values[neighbour] >= grid.threshold {
                        ids[neighbour] = id;
                        scratch.stack.push((nx, ny));
                    }
                }
            }
        }
        components.push(component);
    }
    (ids, components)
}

//! Box heads: decoding (YOLO, SSD) and non-maximum suppression.

use crate::model::manifest::{Activation, Thresholds};
use crate::record::Detection;
use crate::runtime::HostTensor;
use crate::vision::Geometry;
use crate::vision::postprocess::{MAX_FINDINGS, probability};

/// Most candidates that enter suppression, which compares them pairwise.
const MAX_CANDIDATES: usize = 2000;

/// A box before suppression: corners `x0, y0, x1, y1` in source pixels, inside the crop.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    class: usize,
    score: f32,
    corners: [f32; 4],
}

impl Candidate {
    /// A candidate from corners in input pixels; `None` if nothing of it lies in the crop, or too little.
    fn new(
        class: usize,
        score: f32,
        input: [f32; 4],
        thresholds: &Thresholds,
        geometry: &Geometry,
    ) -> Option<Self> {
        let crop = geometry.crop;
        let (left, top) = (crop.x as f32, crop.y as f32);
        let (right, bottom) = ((crop.x + crop.width) as f32, (crop.y + crop.height) as f32);
        let (x0, y0) = geometry.to_source(input[0], input[1]);
        let (x1, y1) = geometry.to_source(input[2], input[3]);
        let corners =
            [x0.clamp(left, right), y0.clamp(top, bottom), x1.clamp(left, right), y1.clamp(top, bottom)];
        let candidate = Self { class, score, corners };
        let least = thresholds.min_area * crop.width as f32 * crop.height as f32;
        let area = candidate.area();
        (area > 0.0 && area >= least).then_some(candidate)
    }

    fn area(&self) -> f32 {
        let [x0, y0, x1, y1] = self.corners;
        (x1 - x0).max(0.0) * (y1 - y0).max(0.0)
    }

    /// Intersection over union.
    fn iou(&self, other: &Self) -> f32 {
        let [ax0, ay0, ax1, ay1] = self.corners;
        let [bx0, by0, bx1, by1] = other.corners;
        let inter = (ax1.min(bx1) - ax0.max(bx0)).max(0.0) * (ay1.min(by1) - ay0.max(by0)).max(0.0);
        inter / (self.area() + other.area() - inter)
    }

    pub fn detection(&self, labels: &[String]) -> Detection {
        let [x0, y0, x1, y1] = self.corners;
        Detection {
            label: labels.get(self.class).cloned().unwrap_or_default(),
            score: self.score,
            bbox: [x0, y0, x1 - x0, y1 - y0],
            area_px: None,
            polygon: None,
            track_id: None,
        }
    }
}

/// A YOLO output, whichever way its axes lie.
#[derive(Debug)]
pub(super) struct Anchors<'a> {
    data: &'a [f32],
    count: usize,
    fields: usize,
    /// Distances between two anchors and between two fields of one anchor.
    steps: (usize, usize),
    objectness: bool,
}

impl<'a> Anchors<'a> {
    /// Reads the axes from the shape: the one of `fields` values per anchor. Where both would do, the order
    /// is what the kind's exporters write: fields first, or last with an objectness.
    pub fn new(tensor: &'a HostTensor, fields: usize, objectness: bool) -> Option<Self> {
        let &[1, rows, columns] = tensor.shape.as_slice() else { return None };
        let fields_first = match (rows == fields, columns == fields) {
            (true, true) => !objectness,
            (first, last) if first || last => first,
            _ => return None,
        };
        let (count, steps) = if fields_first { (columns, (1, columns)) } else { (rows, (fields, 1)) };
        Some(Self { data: &tensor.data, count, fields, steps, objectness })
    }

    fn get(&self, anchor: usize, field: usize) -> f32 {
        self.data[anchor * self.steps.0 + field * self.steps.1]
    }

    /// Each anchor's best class, where it reaches the score.
    pub fn candidates(
        &self,
        activation: Activation,
        thresholds: &Thresholds,
        geometry: &Geometry,
    ) -> Vec<Candidate> {
        let first_class = 4 + usize::from(self.objectness);
        let candidate = |anchor: usize| {
            let (class, value) = best((first_class..self.fields).map(|field| self.get(anchor, field)))?;
            let mut score = probability(activation, value);
            if self.objectness {
                score *= probability(activation, self.get(anchor, 4));
            }
            if score < thresholds.score {
                return None;
            }
            let [x, y, w, h] = [0, 1, 2, 3].map(|field| self.get(anchor, field));
            let input = [x - w / 2.0, y - h / 2.0, x + w / 2.0, y + h / 2.0];
            Candidate::new(class, score, input, thresholds, geometry)
        };
        (0..self.count).filter_map(candidate).collect()
    }
}

/// SSD's two outputs.
#[derive(Debug)]
pub(super) struct Ssd<'a> {
    corners: &'a [f32],
    scores: &'a [f32],
    classes: usize,
    background: bool,
}

impl<'a> Ssd<'a> {
    /// `None` unless the shapes are `[1, n, 4]` and `[1, n, labels]` or `[1, n, 1 + labels]`.
    pub fn new(corners: &'a HostTensor, scores: &'a HostTensor, labels: usize) -> Option<Self> {
        match (corners.shape.as_slice(), scores.shape.as_slice()) {
            (&[1, n, 4], &[1, m, classes]) if n == m && (classes == labels || classes == labels + 1) => {
                Some(Self {
                    corners: &corners.data,
                    scores: &scores.data,
                    classes,
                    background: classes == labels + 1,
                })
            }
            _ => None,
        }
    }

    /// Each anchor's best class other than the background, where it reaches the score.
    pub fn candidates(
        &self,
        activation: Activation,
        thresholds: &Thresholds,
        geometry: &Geometry,
    ) -> Vec<Candidate> {
        let (width, height) = (geometry.input.0 as f32, geometry.input.1 as f32);
        let skip = usize::from(self.background);
        let rows = self.corners.chunks_exact(4).zip(self.scores.chunks_exact(self.classes));
        rows.filter_map(|(corners, values)| {
            let (class, value) = best(values[skip..].iter().copied())?;
            let score = match activation {
                Activation::Logits if self.classes > 1 => softmax(values, skip + class),
                _ => probability(activation, value),
            };
            if score < thresholds.score {
                return None;
            }
            let input = [corners[1] * width, corners[0] * height, corners[3] * width, corners[2] * height];
            Candidate::new(class, score, input, thresholds, geometry)
        })
        .collect()
    }
}

/// Index and value of the largest.
fn best(values: impl Iterator<Item = f32>) -> Option<(usize, f32)> {
    values.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))
}

/// The share of `values[index]` after the softmax; the maximum is taken out so that nothing overflows.
fn softmax(values: &[f32], index: usize) -> f32 {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = values.iter().map(|value| (value - max).exp()).sum();
    (values[index] - max).exp() / sum
}

/// Greedy non-maximum suppression per class: the best score stays, what overlaps it by more than `iou` goes.
/// At most [`MAX_FINDINGS`] stay, best first.
pub(super) fn suppress(mut candidates: Vec<Candidate>, iou: f32) -> Vec<Candidate> {
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score));
    candidates.truncate(MAX_CANDIDATES);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in candidates {
        if kept.len() == MAX_FINDINGS {
            break;
        }
        let covered = |kept: &Candidate| kept.class == candidate.class && kept.iou(&candidate) > iou;
        if !kept.iter().any(covered) {
            kept.push(candidate);
        }
    }
    kept
}

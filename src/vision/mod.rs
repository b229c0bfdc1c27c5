//! Pictures in, findings out: field of view, preprocess, postprocess, tracking, overlay.

pub mod deidentify;
pub mod fov;
pub mod metrics;
pub mod overlay;
mod polygon;
pub mod postprocess;
pub mod preprocess;
mod resample;
pub mod score_map;
#[cfg(test)]
mod testing;
pub mod track;

use crate::model::manifest::Activation;
use crate::record::Detection;
use score_map::Reported;

/// A rectangle of a picture, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Crop {
    /// Left edge.
    pub x: usize,
    /// Top edge.
    pub y: usize,
    /// Width.
    pub width: usize,
    /// Height.
    pub height: usize,
}

/// How a crop of the source was fitted into the network's input: the way back for findings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// Part of the source that was shown to the network.
    pub crop: Crop,
    /// Size of the network's input in pixels.
    pub input: (usize, usize),
    /// Where in the input the crop lies: x, y, width, height in input pixels.
    pub content: Crop,
}

impl Geometry {
    /// A point of the network's input, in source pixels (pixel edges, not centres).
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        let scale_x = self.crop.width as f32 / self.content.width as f32;
        let scale_y = self.crop.height as f32 / self.content.height as f32;
        (
            self.crop.x as f32 + (x - self.content.x as f32) * scale_x,
            self.crop.y as f32 + (y - self.content.y as f32) * scale_y,
        )
    }
}

/// What was found in one frame.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Findings, best score first, in source pixels.
    pub detections: Vec<Detection>,
    /// The network's score map behind them, for models that segment.
    pub map: Option<ScoreMap>,
}

/// What a segmentation network says of each cell at its own resolution, with the way back to source pixels.
///
/// Between cells its values are blended as the network gave them: logits before the sigmoid, as networks are trained.
#[derive(Debug, Clone)]
pub struct ScoreMap {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Values per cell, row-major.
    pub data: Vec<f32>,
    /// What the values are.
    pub activation: Activation,
    /// The value from which a pixel belongs to a finding: the manifest's threshold in terms of `data`.
    pub threshold: f32,
    /// Fit of the source in the network's input, which this map covers as a whole.
    pub geometry: Geometry,
    /// Which pixels above the threshold are part of a finding.
    pub reported: Reported,
}

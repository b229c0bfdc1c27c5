//! `model.json`: what a network expects, what it gives, and where it came from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::optimization::Optimization;

/// The manifest of a model package.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format; 1.
    pub schema: u32,
    /// The model's name, as records show it.
    pub name: String,
    /// The model's own version.
    #[serde(default)]
    pub version: String,
    /// What it does.
    pub task: Task,
    /// File name of the network, relative to the package.
    pub artifact: String,
    /// Size and digest of each file of the package.
    #[serde(default)]
    pub files: BTreeMap<String, FileEntry>,
    /// What goes in.
    pub input: InputSpec,
    /// What comes out.
    pub outputs: Vec<OutputSpec>,
    /// Class names, in the order of the network's classes.
    pub labels: Vec<String>,
    /// Limits between finding and no finding.
    #[serde(default)]
    pub thresholds: Thresholds,
    /// Where it came from: data, recipe, licence, figures. Free form.
    #[serde(default)]
    pub provenance: serde_json::Value,
    /// How it was made from another model; absent from originals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimization: Option<Optimization>,
}

/// What a network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// A mask per class.
    Segmentation,
    /// Boxes.
    Detection,
}

/// A file of the package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// SHA-256 in lower-case hex.
    pub sha256: String,
    /// Length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Name of the graph's input.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Axis order of the artifact's input tensor.
    #[serde(default)]
    pub layout: Layout,
    /// Order of the colour channels.
    #[serde(default)]
    pub color: ColorOrder,
    /// Subtracted from each channel's value in 0..1.
    #[serde(default)]
    pub mean: [f32; 3],
    /// Divides what remains.
    #[serde(default = "one_each")]
    pub std: [f32; 3],
    /// How a picture of another shape is fitted in.
    #[serde(default)]
    pub fit: Fit,
    /// Colour (0..=255) of what letterboxing leaves uncovered.
    #[serde(default)]
    pub pad: [u8; 3],
}

fn one_each() -> [f32; 3] {
    [1.0; 3]
}

/// Axis order of an input tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, row, column.
    #[default]
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
}

/// Order of colour channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorOrder {
    /// Red first.
    #[default]
    Rgb,
    /// Blue first.
    Bgr,
}

/// How a picture is fitted into the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// Keep the aspect ratio, centre, pad the rest.
    #[default]
    Letterbox,
    /// Fill both axes, whatever that does to the aspect ratio.
    Stretch,
}

/// One output of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Name of the graph's output.
    pub name: String,
    /// How to read it.
    #[serde(flatten)]
    pub kind: OutputKind,
    /// What the values are.
    #[serde(default)]
    pub activation: Activation,
}

/// How an output is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OutputKind {
    /// `[1, classes, h, w]`: one map per class, at any resolution that divides the input's shape.
    Mask,
    /// `[1, 1]`: whether the frame shows anything at all.
    FrameScore,
    /// `[1, 4 + classes, n]` or `[1, n, 4 + classes]`: centre x, centre y, width, height in input pixels,
    /// then class scores, as YOLOv8 and later export it.
    Yolo,
    /// `[1, n, 5 + classes]`: as `yolo`, with an objectness between box and classes (YOLOv5, v7).
    YoloObjectness,
    /// `[1, n, 4]`: corners `y0, x0, y1, x1` as shares of the input, as SSD heads export decoded boxes.
    SsdBoxes,
    /// `[1, n, classes]`: class scores that go with `ssd_boxes`; class 0 is the background if there is one
    /// more class than there are labels.
    SsdScores,
}

/// What an output's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Raw values: endort applies the sigmoid (or the softmax, for several SSD classes).
    #[default]
    Logits,
    /// Values in 0..1.
    Probabilities,
}

/// Limits between finding and no finding.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thresholds {
    /// Probability from which a pixel belongs to a finding.
    pub mask: f32,
    /// Frame score below which a frame reports nothing.
    pub frame: f32,
    /// Score below which a finding is not reported.
    pub score: f32,
    /// Overlap (IoU) above which the weaker of two boxes is suppressed.
    pub nms_iou: f32,
    /// Smallest finding, as a share of the field of view's area.
    pub min_area: f32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self { mask: 0.5, frame: 0.0, score: 0.5, nms_iou: 0.5, min_area: 0.001 }
    }
}

//! One frame's record: the same JSON from `process-frame`, `stream`, HTTP and WebSocket.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One polyp (or other object) found in one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Detection {
    /// Class name from the model's labels.
    pub label: String,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// `[x, y, width, height]` in source pixels, origin top left.
    #[serde(rename = "box")]
    pub bbox: [f32; 4],
    /// Area in source pixels; absent for models that give boxes alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub area_px: Option<u64>,
    /// Outline in source pixels, clockwise, not closed; absent for models that give boxes alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub polygon: Option<Vec<[f32; 2]>>,
    /// The same object keeps this number over frames; absent without tracking.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_id: Option<u64>,
}

/// Time spent in each stage, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StagesMs {
    /// Decoding.
    pub decode: f64,
    /// Waiting in the AI lane's buffer.
    pub queue_wait: f64,
    /// From decoded planes to the network's input.
    pub preprocess: f64,
    /// The network.
    pub inference: f64,
    /// From the network's output to findings, tracking included.
    pub postprocess: f64,
    /// Drawing.
    pub overlay: f64,
}

impl StagesMs {
    /// Names and values in the order of the stages.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, f64)> {
        [
            ("decode", self.decode),
            ("queue_wait", self.queue_wait),
            ("preprocess", self.preprocess),
            ("inference", self.inference),
            ("postprocess", self.postprocess),
            ("overlay", self.overlay),
        ]
        .into_iter()
    }

    /// All stages together, without the sum's floating-point dust.
    pub fn total(&self) -> f64 {
        (self.iter().map(|(_, ms)| ms).sum::<f64>() * 1e3).round() / 1e3
    }
}

/// Milliseconds to a microsecond's precision: what a record can honestly claim.
pub fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e3
}

/// Everything known about one frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FrameRecord {
    /// Number of the frame within its source, from 0.
    pub frame_id: u64,
    /// The source's name.
    pub source: String,
    /// Presentation time in milliseconds.
    pub pts_ms: f64,
    /// Source width in pixels.
    pub width: usize,
    /// Source height in pixels.
    pub height: usize,
    /// The model's name, or `none`.
    pub model: String,
    /// The runtime that executed it, or `none`.
    pub runtime: String,
    /// What was found, best score first.
    pub detections: Vec<Detection>,
    /// Time per stage.
    pub stages_ms: StagesMs,
    /// All stages together, in milliseconds.
    pub processing_time_ms: f64,
    /// Whether the frame exceeded its latency budget.
    pub violation: bool,
}

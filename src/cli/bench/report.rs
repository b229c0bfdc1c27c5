//! The bench report: the JSON document, whose names and units the tables repeat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fastest::FastestRuntime;
use crate::device::host::Host;
use crate::pipeline::BudgetRow;
use crate::pipeline::stats::Summary;
use crate::vision::metrics::AccuracySummary;

/// Everything that one `endort bench` measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Version of endort.
    pub endort: String,
    /// The machine.
    pub host: Host,
    /// The video.
    pub source: SourceReport,
    /// One entry per model, runtime, precision, pace and number of streams.
    pub runs: Vec<Run>,
    /// The fastest runtime for each model, where `--runtime all` asked for it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fastest: Vec<FastestRuntime>,
}

/// The video that was measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SourceReport {
    /// Its name.
    pub name: String,
    /// Width in pixels.
    pub width: usize,
    /// Height in pixels.
    pub height: usize,
    /// Frame rate, where the source states one.
    pub fps: Option<f64>,
    /// Number of frames, where the source states one.
    pub frames: Option<u64>,
    /// Codec or generator.
    pub codec: String,
}

/// One combination, measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// The model's name, or `none`.
    pub model: String,
    /// Digest of the model's network; absent for `none`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_sha256: Option<String>,
    /// The runtime that executed it, or `none`.
    pub runtime: String,
    /// Version of the vendor's library, where one executed it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime_version: Option<String>,
    /// Number format.
    pub precision: String,
    /// `camera` or `max`.
    pub pace: String,
    /// Streams at the same time.
    pub streams: usize,
    /// From opening the model to the first findings, in milliseconds.
    pub cold_start_ms: f64,
    /// Frames presented before measuring began, over all streams.
    pub warmup_frames: u64,
    /// Frames presented while measuring, over all streams.
    pub frames: u64,
    /// Frames that the AI lane skipped by policy.
    pub dropped: u64,
    /// Frames that were due and never presented.
    pub lost: u64,
    /// Frames per second that were presented with their analysis; the slowest stream counts.
    pub fps: f64,
    /// Pictures per second; the slowest stream counts.
    pub video_fps: f64,
    /// Captured → presented with its analysis.
    pub latency_ms: Summary,
    /// Captured → picture presented.
    pub video_delay_ms: Summary,
    /// Captured → findings presented.
    pub annotation_delay_ms: Summary,
    /// Time per stage.
    pub stages_ms: BTreeMap<String, Summary>,
    /// Frames beyond the budget.
    pub violations: u64,
    /// The same as a share of all frames that were due.
    pub violation_rate: f64,
    /// Most violations in a row.
    pub longest_violation_run: u64,
    /// Pictures marked "AI OFF".
    pub ai_off_frames: u64,
    /// Counts of latencies in [`HISTOGRAM_BINS`] equal steps from 0 to `max_latency_ms`.
    pub latency_histogram: Vec<u64>,
    /// The budget's longest latency, in milliseconds.
    pub max_latency_ms: f64,
    /// Median processing time of ten consecutive parts of the run: how far it varies by itself.
    pub noise_ms: Vec<f64>,
    /// Largest resident memory during the run, in mebibytes; absent where unknown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peak_rss_mb: Option<f64>,
    /// Against ground truth, where there is some.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accuracy: Option<AccuracySummary>,
    /// The budget, limit by limit.
    pub budget: Vec<BudgetRow>,
    /// `pass` or `fail`.
    pub verdict: Verdict,
    /// Why the AI lane ended early, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ai_failure: Option<String>,
}

/// Steps of [`Run::latency_histogram`].
pub const HISTOGRAM_BINS: usize = 20;

/// Whether a run met its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every limit was kept.
    Pass,
    /// At least one was not.
    Fail,
}

impl Verdict {
    /// `pass` only if every row was met.
    pub fn of(rows: &[BudgetRow]) -> Self {
        if rows.iter().all(|row| row.met) { Self::Pass } else { Self::Fail }
    }
}

impl Run {
    /// What makes two runs comparable.
    pub fn key(&self) -> (&str, &str, &str, &str, usize) {
        (&self.model, &self.runtime, &self.precision, &self.pace, self.streams)
    }

    /// The combination in a few words.
    pub fn title(&self) -> String {
        let streams = if self.streams == 1 { String::new() } else { format!(", {} streams", self.streams) };
        match self.model.as_str() {
            "none" => format!("none (pass-through), {} pace{streams}", self.pace),
            model => format!("{model} on {} ({}), {} pace{streams}", self.runtime, self.precision, self.pace),
        }
    }
}

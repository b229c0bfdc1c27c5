//! Flags that several commands share.

use std::num::NonZeroUsize;

use clap::builder::PossibleValuesParser;
use clap::builder::TypedValueParser;

use super::model::Choice;
use crate::config::{
    Device, Flags, OptimizationLevel, Paths, Precision, Realtime, parse_buffer_size, parse_max_latency_ms,
    parse_target_fps,
};

/// Model that is used where nobody names one.
pub const DEFAULT_MODEL: &str = "polyp-lite";

/// The model and what executes it.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Model: a package folder, an .onnx file, a built-in name, or `none` (the video passes unmarked)
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,

    /// Runtime that executes the model: candle-cpu, candle-cuda, candle-metal, onnxruntime, openvino, tflite, edge-tpu,
    /// or auto, the fastest by `endort bench --runtime all` [default: auto]
    #[arg(long, value_name = "RUNTIME")]
    pub runtime: Option<String>,

    /// Number format that the model must hold [default: its own]
    #[arg(long, value_name = "PRECISION", value_parser = precision())]
    pub precision: Option<Precision>,

    /// Threads for the model [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

impl ModelArgs {
    /// The model that these flags and the settings in force name.
    pub fn choice<'a>(&'a self, settings: &'a Realtime) -> Choice<'a> {
        Choice {
            model: &self.model,
            runtime: &settings.runtime.value,
            precision: self.precision,
            device: settings.device.value,
            threads: self.threads.map_or(0, NonZeroUsize::get),
            throughput: false,
        }
    }
}

/// The realtime settings: each covers its `REALTIME_` variable and its key in endort.toml.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Realtime settings")]
pub struct RealtimeArgs {
    /// Frames per second that the budget asks for [default: 30]
    #[arg(long, value_name = "FPS", value_parser = parse_target_fps)]
    pub target_fps: Option<f64>,

    /// Longest time from captured to presented before a frame is a violation [default: 200]
    #[arg(long, value_name = "MS", value_parser = parse_max_latency_ms)]
    pub max_latency_ms: Option<f64>,

    /// Frames that may wait for the AI [default: 5]
    #[arg(long, value_name = "FRAMES", value_parser = parse_buffer_size)]
    pub buffer_size: Option<usize>,

    /// Where the model runs: cpu, cuda:N, metal, or auto (a GPU where one is usable) [default: auto]
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<Device>,

    /// How far the model is rewritten before it runs [default: high]
    #[arg(long, value_name = "LEVEL", value_parser = optimization_level())]
    pub optimization_level: Option<OptimizationLevel>,

    /// Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH
    #[arg(long, value_name = "PATHS")]
    pub runtime_path: Option<Paths>,

    /// Let the video pass without running a model
    #[arg(long)]
    pub no_ai: bool,
}

impl RealtimeArgs {
    /// What these flags, and `--runtime` where the command has it, say.
    pub fn flags(&self, runtime: Option<&str>) -> Flags {
        Flags {
            no_ai: self.no_ai,
            target_fps: self.target_fps,
            max_latency_ms: self.max_latency_ms,
            buffer_size: self.buffer_size,
            device: self.device,
            runtime: runtime.map(str::to_owned),
            optimization_level: self.optimization_level,
            runtime_path: self.runtime_path.clone(),
        }
    }
}

/// The words for a number format.
pub fn precision() -> impl TypedValueParser<Value = Precision> {
    PossibleValuesParser::new(Precision::ALL.iter().map(|precision| precision.as_str()))
        .try_map(|word| word.parse::<Precision>())
}

fn optimization_level() -> impl TypedValueParser<Value = OptimizationLevel> {
    PossibleValuesParser::new(OptimizationLevel::ALL.iter().map(|level| level.as_str()))
        .try_map(|word| word.parse::<OptimizationLevel>())
}

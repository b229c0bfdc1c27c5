//! What `endort optimize` is told.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::ValueEnum;

use super::target::TargetArg;
use crate::cli::args::{DEFAULT_MODEL, precision};
use crate::config::{Flags, Paths, Precision};

const EXAMPLES: &str = "\
Examples:
  endort optimize --target intel
  endort optimize my-model.onnx --target coral --calibration recordings/ --ground-truth kvasir/
  endort optimize --target jetson --precision int8 --calibration frames/ --runtime onnxruntime";

/// Make the model that runs best on a kind of box, and show what that costs
///
/// Turns a model package or an .onnx file into a package for one kind of device: simplified, in 32-bit, 16-bit or
/// 8-bit numbers. Shows size, operators, latency, agreement with the original on real frames and, with ground truth,
/// Dice before and after. Ends with 3, and writes nothing, if Dice drops by more than --max-dice-drop.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// A package folder, an .onnx file or a built-in name
    #[arg(value_name = "MODEL", default_value = DEFAULT_MODEL)]
    pub model: String,

    /// Kind of device that the package is for
    #[arg(long, value_enum, default_value_t = TargetArg::AUTO)]
    pub target: TargetArg,

    /// Number format: fp32 as in the original; fp16, half its size; int8, a quarter of it and the fastest, but it has to
    /// see pictures (--calibration) [default: fp16 for jetson, apple and intel, int8 for coral and raspberry-pi, else fp32]
    #[arg(long, value_name = "PRECISION", value_parser = precision())]
    pub precision: Option<Precision>,

    /// Change the network's input to WxH pixels
    #[arg(long, value_name = "WxH", value_parser = input_size)]
    pub input_size: Option<[usize; 2]>,

    /// Folder to write the package to [default: MODEL-TARGET-PRECISION]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,

    /// Print the report as JSON and nothing else
    #[arg(long)]
    pub json: bool,

    /// Pictures or video from where the model is to work: int8 finds the range of each activation on them, and all number
    /// formats are compared with the original on them; repeat it for several [default: rendered]
    #[arg(long, value_name = "PATH", help_heading = "Calibration")]
    pub calibration: Vec<String>,

    /// Frames to calibrate on, spread evenly
    #[arg(long, value_name = "N", default_value = "300", help_heading = "Calibration")]
    pub calibration_frames: NonZeroUsize,

    /// How the range of an activation is chosen
    #[arg(long, value_enum, default_value_t = MethodArg::Mse, help_heading = "Calibration")]
    pub calibration_method: MethodArg,

    /// Percent of the values that --calibration-method percentile keeps
    #[arg(long, value_name = "PERCENT", default_value_t = 99.99, value_parser = percentile, help_heading = "Calibration")]
    pub percentile: f64,

    /// Do not make biases up for the rounding of weights
    #[arg(long, help_heading = "Calibration")]
    pub no_bias_correction: bool,

    /// Keep a layer in floats; `auto` keeps the twentieth of the layers that hurts most; repeat it for several
    #[arg(long, value_name = "LAYER|auto", help_heading = "Calibration")]
    pub keep_float: Vec<String>,

    /// Measure Dice before and after on DIR/images and DIR/masks (equal stems)
    #[arg(long, value_name = "DIR", help_heading = "Accuracy")]
    pub ground_truth: Option<PathBuf>,

    /// Largest drop in Dice before the package is refused
    #[arg(long, value_name = "DROP", default_value_t = 0.01, value_parser = drop_limit, help_heading = "Accuracy")]
    pub max_dice_drop: f64,

    /// List the layers by how much quantizing each alone changes the outputs (int8)
    #[arg(long, help_heading = "Accuracy")]
    pub sensitivity: bool,

    /// Runtime that both networks are measured on: candle-cpu, onnxruntime, openvino, tflite, … [default: candle-cpu]
    #[arg(long, value_name = "RUNTIME", help_heading = "Accuracy")]
    pub runtime: Option<String>,

    /// Where onnxruntime, openvino and tflite are looked for first: folders or files, as in PATH
    #[arg(long, value_name = "PATHS", help_heading = "Accuracy")]
    pub runtime_path: Option<Paths>,

    /// Threads [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

impl Args {
    pub(super) fn flags(&self) -> Flags {
        Flags { runtime_path: self.runtime_path.clone(), ..Flags::default() }
    }
}

/// Ways to choose ranges on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum MethodArg {
    /// Everything that was seen
    MinMax,
    /// All but the outermost values
    Percentile,
    /// The range with the least squared error
    Mse,
}

fn input_size(text: &str) -> Result<[usize; 2], String> {
    let side = |s: &str| s.parse().ok().filter(|n| (1..=4096).contains(n));
    text.split_once(['x', 'X'])
        .and_then(|(w, h)| Some([side(w)?, side(h)?]))
        .ok_or_else(|| "must be WIDTHxHEIGHT with sides of 1 to 4096, such as 320x256".to_owned())
}

fn number(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let value = text.parse().ok().filter(|value| range.contains(value));
    value.ok_or_else(|| format!("must be a number from {} to {}", range.start(), range.end()))
}

fn percentile(text: &str) -> Result<f64, String> {
    number(text, 50.0..=100.0)
}

fn drop_limit(text: &str) -> Result<f64, String> {
    number(text, 0.0..=1.0)
}

//! `endort bench`: does this box hold the budget?

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;

use super::args::{DEFAULT_MODEL, RealtimeArgs, precision};
use crate::config::Precision;

/// Measure whether this box holds the budget
///
/// Runs a source through the model, at camera pace and at full speed, and prints frames per second, latency
/// per stage and in total, violations, and a verdict.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A file, folder, glob, address, /dev/videoN, or synthetic[:WxH@FPS]
    #[arg(value_name = "SOURCE", default_value = "synthetic:1280x720@30")]
    pub source: String,

    /// Model to measure; repeat it for several
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL, help_heading = "Model")]
    pub model: Vec<String>,

    /// Runtime to measure; repeat it for several [default: auto]
    #[arg(long, value_name = "RUNTIME", help_heading = "Model")]
    pub runtime: Vec<String>,

    /// Number format to measure; repeat it for several
    #[arg(long, value_name = "PRECISION", default_value = "fp32", value_parser = precision(), help_heading = "Model")]
    pub precision: Vec<Precision>,

    /// Threads for the model [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub threads: Option<NonZeroUsize>,

    /// Whether frames come when they are due, or as fast as they are taken
    #[arg(long, value_enum, default_value_t = Pace::Both)]
    pub pace: Pace,

    /// Seconds to measure for; the source is repeated if it is shorter [default: the source once]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<f64>,

    /// Frames that are run first and not counted
    #[arg(long, value_name = "FRAMES", default_value_t = 30)]
    pub warmup: u64,

    /// Streams at once, or `auto`: how many this box holds within the budget
    #[arg(long, value_name = "N|auto", default_value = "1")]
    pub streams: Streams,

    /// Also measure accuracy against DIR/images and DIR/masks (equal stems)
    #[arg(long, value_name = "DIR")]
    pub ground_truth: Option<PathBuf>,

    /// Write the report as JSON to FILE; `-` prints it and nothing else
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,

    /// Write the report as CSV to FILE
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the report as Markdown to FILE
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Say what changed beyond noise since the JSON report in FILE
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,

    /// Exit with 3 if a run misses its budget
    #[arg(long)]
    pub check: bool,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

/// When frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Each frame when it is due, as from a camera
    Camera,
    /// Each frame as soon as there is room for it
    Max,
    /// First the one, then the other
    Both,
}

/// How many streams run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// This many.
    Count(NonZeroUsize),
    /// As many as hold the budget.
    Auto,
}

impl FromStr for Streams {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => text.parse().map(Self::Count).map_err(|_| "must be a number from 1, or auto".to_owned()),
        }
    }
}

/// Longest measurement: a day.
const MAX_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= MAX_SECONDS => Ok(value),
        _ => Err(format!("must be a number of seconds above 0, at most {MAX_SECONDS}")),
    }
}

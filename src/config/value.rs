//! The values that settings take, and how text becomes one. Each error says what is allowed.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

/// Rates that a budget can ask for, in frames per second.
const TARGET_FPS: RangeInclusive<f64> = 0.1..=1000.0;
/// Latency limits that make sense, in milliseconds.
const MAX_LATENCY_MS: RangeInclusive<f64> = 1.0..=60_000.0;
/// Frames that may wait for the AI: each holds a decoded picture, 3 MB at 1080p.
const BUFFER_SIZE: RangeInclusive<usize> = 1..=1024;

/// Frames per second from text.
///
/// # Errors
///
/// What is allowed, where `text` is not.
pub fn parse_target_fps(text: &str) -> Result<f64, String> {
    in_range(text, TARGET_FPS, "a number")
}

/// A latency limit in milliseconds from text.
///
/// # Errors
///
/// What is allowed, where `text` is not.
pub fn parse_max_latency_ms(text: &str) -> Result<f64, String> {
    in_range(text, MAX_LATENCY_MS, "a number")
}

/// A number of waiting frames from text.
///
/// # Errors
///
/// What is allowed, where `text` is not.
pub fn parse_buffer_size(text: &str) -> Result<usize, String> {
    in_range(text, BUFFER_SIZE, "a whole number")
}

/// True or false as people write it in an environment.
pub(super) fn parse_bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

fn in_range<T>(text: &str, range: RangeInclusive<T>, noun: &str) -> Result<T, String>
where
    T: FromStr + PartialOrd + fmt::Display,
{
    // A NaN lies in no range.
    match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!("must be {noun} from {} to {}", range.start(), range.end())),
    }
}

/// Where a network runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// A GPU where one is usable, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this index.
    Cuda(usize),
    /// The Apple GPU.
    Metal,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal => f.write_str("metal"),
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let device = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "metal" => Some(Self::Metal),
            "cuda" => Some(Self::Cuda(0)),
            _ => text.strip_prefix("cuda:").and_then(|index| index.parse().ok()).map(Self::Cuda),
        };
        device.ok_or_else(|| "must be auto, cpu, cuda:N or metal".to_owned())
    }
}

/// Folders or files, written as in `PATH`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Paths(pub Vec<PathBuf>);

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        match std::env::join_paths(&self.0) {
            Ok(text) => f.write_str(&text.to_string_lossy()),
            Err(_) => write!(f, "{:?}", self.0),
        }
    }
}

impl FromStr for Paths {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let paths = std::env::split_paths(text).filter(|p| !p.as_os_str().is_empty()).collect::<Vec<_>>();
        match paths.iter().find(|p| !p.exists()) {
            Some(absent) => {
                Err(format!("must name folders or files that exist; {} does not", absent.display()))
            }
            None => Ok(Self(paths)),
        }
    }
}

/// An enum of words: its spelling, both ways.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ } $allowed:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($allowed.to_owned()),
                }
            }
        }
    };
}

words! {
    /// How far a network is rewritten before it runs.
    #[derive(Default)]
    OptimizationLevel {
        /// As it is in its file.
        Off = "off",
        /// Without constants' arithmetic and what has no effect.
        Low = "low",
        /// Batch norms folded as well.
        Medium = "medium",
        /// Activations and residual additions fused into their convolutions as well.
        #[default]
        High = "high",
    }
    "must be off, low, medium or high"
}

words! {
    /// Number format that a network computes in.
    Precision {
        /// 32-bit floating point.
        Fp32 = "fp32",
        /// 16-bit floating point.
        Fp16 = "fp16",
        /// 8-bit integers.
        Int8 = "int8",
    }
    "must be fp32, fp16 or int8"
}

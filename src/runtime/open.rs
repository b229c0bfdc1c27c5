//! Choosing a runtime by name.

use super::{Engine, candle, scripted};
use crate::error::{Error, Result};
use crate::model::Package;

/// What `--runtime` takes, apart from `scripted:…`.
const NAMES: [&str; 4] = ["auto", "candle-cpu", "candle-cuda", "candle-metal"];

/// Where to execute, as `--device` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// The GPU where this program can use one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU by number.
    Cuda(usize),
    /// Apple's GPU.
    Metal,
}

/// How to execute.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The runtime's name; empty means `auto`.
    pub runtime: String,
    /// The device.
    pub device: Placement,
    /// Threads on the CPU; 0 means one per core.
    pub threads: usize,
}

/// Names that [`open`] takes, apart from `scripted:…`.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// Compiles a model's network for a runtime.
///
/// # Errors
/// [`Error::Runtime`] for a runtime that is unknown, absent from this build or without its device;
/// [`Error::UnsupportedOperator`] for a network that it cannot execute.
pub fn open(package: &Package, options: &Options) -> Result<Box<dyn Engine>> {
    let fail = |detail: String| Error::Runtime { runtime: options.runtime.clone(), detail };
    let device = match (options.runtime.as_str(), options.device) {
        (name, _) if name.starts_with(scripted::PREFIX) => {
            let script = name.trim_start_matches(scripted::PREFIX).trim_start_matches(':');
            let engine = scripted::Scripted::parse(package, script).map_err(fail)?;
            return Ok(Box::new(engine));
        }
        ("" | "auto", device) => device,
        ("candle-cpu", _) => Placement::Cpu,
        ("candle-cuda", device @ Placement::Cuda(_)) => device,
        ("candle-cuda", _) => Placement::Cuda(0),
        ("candle-metal", _) => Placement::Metal,
        _ => return Err(fail(format!("is unknown; there are {} and scripted:…", NAMES.join(", ")))),
    };
    match device {
        Placement::Cpu => candle::cpu(&package.graph, options.threads),
        Placement::Cuda(index) => candle::cuda(&package.graph, index),
        Placement::Metal => candle::metal(&package.graph),
        // A GPU that this build has no code for, or that is not there, is no error under `auto`.
        Placement::Auto => candle::cuda(&package.graph, 0)
            .or_else(|_| candle::metal(&package.graph))
            .or_else(|_| candle::cpu(&package.graph, options.threads)),
    }
}

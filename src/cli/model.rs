//! From the words of the command line to a processor that finds things in frames.

use crate::config::{Device, Precision, Realtime};
use crate::error::{Error, Result};
use crate::model::Package;
use crate::pipeline::FrameProcessor;
use crate::pipeline::processor::ProcessorOptions;
use crate::runtime::{self, Placement};

/// The model that finds nothing and costs nothing.
pub const NO_MODEL: &str = "none";

/// Which model, and how it is to be executed.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    /// A package folder, a file, a built-in name, or `none`.
    pub model: &'a str,
    /// The runtime's name.
    pub runtime: &'a str,
    /// Number format.
    pub precision: Precision,
    /// Where it runs.
    pub device: Device,
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Several frames may be under way: for sources that wait for each of them.
    pub throughput: bool,
}

/// A model that is ready to run.
pub struct Loaded {
    /// The processor.
    pub processor: FrameProcessor,
    /// Digest of the model's network.
    pub sha256: String,
}

/// Loads a model; `None` for [`NO_MODEL`], and where the settings switch the AI off.
///
/// # Errors
/// Whatever is wrong with the package, the runtime or the device.
pub fn load(choice: &Choice, settings: &Realtime, options: ProcessorOptions) -> Result<Option<Loaded>> {
    if choice.model == NO_MODEL || !settings.enabled.value {
        return Ok(None);
    }
    let package = Package::open(choice.model)?;
    if choice.precision != Precision::Fp32 {
        return Err(Error::Runtime {
            runtime: choice.runtime.to_owned(),
            detail: format!("does not compute in {}; use --precision fp32", choice.precision),
        });
    }
    let place = runtime::Options {
        runtime: choice.runtime.to_owned(),
        device: placement(choice.device),
        threads: choice.threads,
        optimization: settings.optimization_level.value,
    };
    let engines = if choice.throughput {
        runtime::open_for_throughput(&package, &place)?
    } else {
        vec![runtime::open(&package, &place)?]
    };
    let processor = FrameProcessor::with_engines(package.manifest, engines, options)?;
    Ok(Some(Loaded { processor, sha256: package.sha256 }))
}

fn placement(device: Device) -> Placement {
    match device {
        Device::Auto => Placement::Auto,
        Device::Cpu => Placement::Cpu,
        Device::Cuda(index) => Placement::Cuda(index),
        Device::Metal => Placement::Metal,
    }
}

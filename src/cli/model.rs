//! From the words of the command line to a processor that finds things in frames.

use std::path::{Path, PathBuf};

use super::{fastest, machine};
use crate::config::{Device, Precision, Realtime};
use crate::device::host::{Host, nvidia_driver};
use crate::error::{Error, Result};
use crate::model::Package;
use crate::pipeline::processor::ProcessorOptions;
use crate::pipeline::{Analyzer, FrameProcessor};
use crate::runtime::fastest::Recalled;
use crate::runtime::{self, Engine, Placement};

/// The model that finds nothing and costs nothing.
pub const NO_MODEL: &str = "none";

/// Which model, and how it is to be executed.
#[derive(Debug, Clone)]
pub struct Choice<'a> {
    /// A package folder, a file, a built-in name, or `none`.
    pub model: &'a str,
    /// The runtime's name.
    pub runtime: &'a str,
    /// Number format that is asked for; `None` takes the package's own.
    pub precision: Option<Precision>,
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
    /// Number format of the weights, and what they are computed in where that is another one.
    pub precision: String,
    /// What a person wants to know of it: what is stale, with the remedy, and what `auto` stands for.
    pub notes: Vec<String>,
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
    let held = held_precision(&package);
    if let Some(asked) = choice.precision.filter(|p| p.as_str() != held) {
        return Err(Error::Model {
            model: choice.model.to_owned(),
            detail: format!(
                "holds {held}, not {asked}; endort optimize --precision {asked} makes one that does"
            ),
        });
    }
    let mut notes: Vec<String> = package.staleness().into_iter().chain(foreign_engine(&package)).collect();
    let (engines, note) = open(&package, choice, settings)?;
    notes.extend(note);
    let (sha256, held) = (package.sha256.clone(), held.to_owned());
    let processor = FrameProcessor::with_engines(package.manifest, engines, options)?;
    let precision = computed_precision(&held, processor.runtime());
    Ok(Some(Loaded { processor, sha256, precision, notes }))
}

/// What is foreign about the package's engine on this machine.
fn foreign_engine(package: &Package) -> Option<String> {
    package.manifest.optimization.as_ref()?.engine.as_ref()?;
    let root = Path::new("/");
    package.foreign_engine(&Host::read(root).device, &nvidia_driver(root))
}

type Opened = (Vec<Box<dyn Engine>>, Option<String>);

/// Opens the runtime that is asked for; where none is, the one that was measured to be the fastest here, and
/// else the built-in order. With it comes what there is to say of that.
fn open(package: &Package, choice: &Choice, settings: &Realtime) -> Result<Opened> {
    let engines = |runtime: &str| {
        let place = runtime_options(&Choice { runtime, ..choice.clone() }, settings);
        match choice.throughput {
            true => runtime::open_for_throughput(package, &place),
            false => runtime::open(package, &place).map(|engine| vec![engine]),
        }
    };
    let why = match fastest::recall(package, choice, settings) {
        Recalled::Nothing => return Ok((engines(choice.runtime)?, None)),
        Recalled::Fits(known) => match engines(&known.runtime) {
            Ok(opened) if opened[0].version() == known.runtime_version.as_deref() => {
                return Ok((opened, Some(fastest::taken(choice.model, &known))));
            }
            Ok(opened) => {
                let version = |v: Option<&str>| v.unwrap_or("without a version").to_owned();
                let (then, now) = (version(known.runtime_version.as_deref()), version(opened[0].version()));
                format!("{} was {then} then and is {now} now", known.runtime)
            }
            Err(error) => error.to_string(),
        },
        Recalled::Stale(known, changes) => {
            format!("{} was the fastest, but the box has changed ({})", known.runtime, changes.join("; "))
        }
        Recalled::Unusable(why) => why,
    };
    Ok((engines(choice.runtime)?, Some(fastest::not_taken(choice.model, &why))))
}

/// The number format that a package holds.
fn held_precision(package: &Package) -> &str {
    package.manifest.optimization.as_ref().map_or(Precision::Fp32.as_str(), |o| o.precision.as_str())
}

/// What a report says: the number format that is held, and the one it is computed in where that is another.
fn computed_precision(held: &str, runtime: &str) -> String {
    match held.parse().map(|precision| runtime::computed_in(runtime, precision)) {
        Ok(computed) if computed != held => format!("{held} computed in {computed}"),
        _ => held.to_owned(),
    }
}

fn placement(device: Device) -> Placement {
    match device {
        Device::Auto => Placement::Auto,
        Device::Cpu => Placement::Cpu,
        Device::Cuda(index) => Placement::Cuda(index),
        Device::Metal => Placement::Metal,
    }
}

/// Every runtime there is, each with the reason why it cannot execute a model here, if it cannot.
///
/// # Errors
/// Whatever is wrong with the model itself.
pub fn present(
    model: &str,
    threads: usize,
    settings: &Realtime,
) -> Result<Vec<(&'static str, Option<Error>)>> {
    let package = Package::open(model)?;
    let device = settings.device.value;
    let open = |&runtime: &&'static str| {
        let (precision, throughput) = (None, false);
        let choice = Choice { model, runtime, precision, device, threads, throughput };
        (runtime, runtime::open(&package, &runtime_options(&choice, settings)).err())
    };
    Ok(runtime::each().iter().map(open).collect())
}

/// What the runtime is opened with.
pub(super) fn runtime_options(choice: &Choice, settings: &Realtime) -> runtime::Options {
    runtime::Options {
        runtime: choice.runtime.to_owned(),
        device: placement(choice.device),
        threads: choice.threads,
        optimization: settings.optimization_level.value,
        libraries: settings.runtime_path.value.0.iter().cloned().chain(customary_libraries()).collect(),
        cache: machine::cache_folder(),
    }
}

/// Where vendors' own set-ups say that their libraries are.
fn customary_libraries() -> Vec<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut paths: Vec<PathBuf> = ["ORT_DYLIB_PATH", "INTEL_OPENVINO_DIR", "OPENVINO_INSTALL_DIR"]
        .into_iter()
        .filter_map(named)
        .collect();
    // The system's loader knows these by itself, but only files without a version in their names.
    let loader = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
    let folders = std::env::var_os(loader).unwrap_or_default();
    paths.extend(std::env::split_paths(&folders).filter(|folder| folder.is_absolute()));
    // The packages of an active Python environment.
    for root in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(named) {
        let folders = std::fs::read_dir(root.join("lib")).into_iter().flatten().filter_map(Result::ok);
        let python = folders.filter(|f| f.file_name().to_string_lossy().starts_with("python3"));
        paths.extend(python.map(|f| f.path().join("site-packages")));
    }
    paths
}

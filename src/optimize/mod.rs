//! From one model package to another that fits a device, with proof that it still sees what it saw.
//!
//! [`make`] turns a [`Package`] into an artifact: it simplifies the network, brings its weights or all of it
//! into the wanted number format, writes the file and reads it back, so that what is measured afterwards is
//! what was written. [`compare`] and [`sensitivity`](fn@sensitivity::sensitivity) say what that did to the
//! results, [`package`] writes the folder.

pub mod calibrate;
pub mod compare;
pub mod edge_tpu;
pub mod engine;
pub mod frames;
pub mod package;
pub mod sensitivity;

use std::collections::HashSet;

use crate::cancel::Cancel;
use crate::config::Precision;
pub use crate::device::Target;
use crate::error::Result;
use crate::format::onnx::{self, WriteOptions};
use crate::format::tflite::{self, Weights};
use crate::graph::passes::int8::{self, Method, Scheme, Share};
use crate::graph::{Graph, passes};
use crate::model::manifest::Layout;
use crate::model::optimization::Optimization;
use crate::model::{Artifact, Format, Package, hex_digest};
use crate::runtime::onnxruntime;
use calibrate::{Calibrated, Request};

/// The artifact's name in a package that endort writes.
pub const ARTIFACT: &str = "model.onnx";
/// The name of its twin for TFLite.
pub const TFLITE: &str = "model.tflite";

/// Rules that an 8-bit network must keep on a kind of device.
pub fn scheme(target: Target) -> Scheme {
    match target {
        Target::Jetson => Scheme::Symmetric,
        Target::RaspberryPi => Scheme::TfLite,
        Target::Coral => Scheme::EdgeTpu,
        Target::Cpu | Target::Apple | Target::Intel => Scheme::Asymmetric,
    }
}

/// What is to be made.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The device.
    pub target: Target,
    /// The number format.
    pub precision: Precision,
    /// Pictures for calibration and comparison.
    pub pictures: Request<'a>,
    /// Pictures for comparison alone, where they are not to be those for calibration.
    pub compare: Option<String>,
    /// Make biases up for the rounding of weights.
    pub bias_correction: bool,
    /// Layers that stay floats.
    pub keep_float: HashSet<String>,
}

impl Job<'_> {
    /// How this job quantizes.
    pub fn int8(&self) -> int8::Options {
        int8::Options {
            scheme: scheme(self.target),
            bias_correction: self.bias_correction,
            keep_float: self.keep_float.clone(),
        }
    }
}

/// An observed network: what a job works on, whatever its settings.
#[derive(Debug)]
pub struct Observed {
    /// The simplified network; for 8 bits, in the [form](fn@int8::prepare) that is quantized.
    pub graph: Graph,
    /// Ranges (for 8 bits alone) and some inputs.
    pub calibrated: Calibrated,
}

/// What was made.
#[derive(Debug)]
pub struct Made {
    /// The artifact as it reads back, under the original's manifest.
    pub package: Package,
    /// The same network as TFLite, for targets that take that.
    pub tflite: Option<Vec<u8>>,
    /// How much of it computes on an integer grid.
    pub share: Share,
    /// Weights that became half-precision numbers, and those too large for it (tensors).
    pub half_weights: (usize, usize),
}

impl Made {
    /// The package as `runtime` gets it when it is loaded: with the TFLite file where there is one, but for
    /// ONNX Runtime, which takes the twin.
    pub fn as_loaded_by(&self, runtime: &str, precision: Precision) -> Package {
        let mut package = self.package.clone();
        // Some compute in what it holds.
        package.manifest.optimization = Some(Optimization::holding(precision));
        if let Some(bytes) = self.tflite.as_ref().filter(|_| !runtime.starts_with(onnxruntime::NAME)) {
            package.artifact = Artifact { format: Format::Tflite, bytes: bytes.clone(), path: None };
        }
        package
    }
}

/// Simplifies the network and looks at the pictures. `progress` hears of each frame.
///
/// # Errors
/// Whatever keeps the pictures from being read or the network from running.
pub fn observe(
    package: &Package,
    job: &Job<'_>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(),
) -> Result<Observed> {
    if job.precision == Precision::Int8 {
        let graph = int8::prepare(&package.graph, scheme(job.target)).map_err(|e| package.graph.error(e))?;
        let unknown = job.keep_float.iter().find(|name| graph.nodes.iter().all(|n| n.name != **name));
        if let Some(name) = unknown {
            return Err(package.graph.error(format!("has no layer {name:?} to keep in floats")));
        }
        let mut calibrated =
            calibrate::calibrate(&graph, &package.manifest, &job.pictures, cancel, progress)?;
        if let Some(compare) = &job.compare {
            let sources = std::slice::from_ref(compare);
            calibrated.kept = compared(package, job, sources, cancel, &mut || ())?;
        }
        return Ok(Observed { graph, calibrated });
    }
    let mut graph = package.graph.clone();
    passes::simplify(&mut graph);
    let sources = job.compare.as_ref().map_or(job.pictures.sources, std::slice::from_ref);
    let kept = compared(package, job, sources, cancel, progress)?;
    Ok(Observed { graph, calibrated: Calibrated { kept, ..Calibrated::default() } })
}

fn compared(
    package: &Package,
    job: &Job<'_>,
    sources: &[String],
    cancel: &Cancel,
    progress: &mut dyn FnMut(),
) -> Result<Vec<Vec<f32>>> {
    let mut kept = vec![];
    frames::inputs(&package.manifest, sources, job.pictures.keep, cancel, &mut |input| {
        kept.push(input.to_vec());
        progress();
        Ok(())
    })?;
    Ok(kept)
}

/// Makes the artifact.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) for a network that the target's format cannot express.
pub fn make(package: &Package, observed: &Observed, job: &Job<'_>) -> Result<Made> {
    let mut half_weights = (0, 0);
    let graph = match job.precision {
        Precision::Fp32 => observed.graph.clone(),
        Precision::Fp16 => {
            let mut graph = observed.graph.clone();
            half_weights = passes::half_weights::run(&mut graph);
            graph
        }
        Precision::Int8 => int8::quantize(&observed.graph, &observed.calibrated.observations, &job.int8())
            .map_err(|e| package.graph.error(e))?,
    };
    let share = int8::share(&graph);
    let tflite = match job.target {
        Target::Coral | Target::RaspberryPi => {
            let half = job.precision == Precision::Fp16;
            let weights = if half { Weights::F16 } else { Weights::F32 };
            // The Edge TPU takes integers alone; other runtimes are given the floats that frames become.
            let options = tflite::Options { weights, integer_io: job.target == Target::Coral };
            Some(tflite::write(&graph, options)?)
        }
        Target::Cpu | Target::Jetson | Target::Apple | Target::Intel => None,
    };
    let artifact = onnx::write(&graph, &WriteOptions { half_weights: job.precision == Precision::Fp16 })?;
    let mut manifest = package.manifest.clone();
    manifest.artifact = ARTIFACT.to_owned();
    manifest.input.layout = Layout::Nchw;
    let options = onnx::Options { name: &package.manifest.name, ..Default::default() };
    let graph = onnx::read(&artifact, &options)?;
    let sha256 = hex_digest(&artifact);
    let artifact = Artifact { format: Format::Onnx, bytes: artifact, path: None };
    let package = Package { manifest, graph, sha256, artifact, folder: None };
    Ok(Made { package, tflite, share, half_weights })
}

/// The word for a way to choose ranges, as the command line takes it.
pub fn method_name(method: Method) -> &'static str {
    match method {
        Method::MinMax => "min-max",
        Method::Percentile(_) => "percentile",
        Method::Mse => "mse",
    }
}

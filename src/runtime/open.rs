//! Choosing a runtime by name.

use std::num::NonZero;
use std::path::PathBuf;

use candle_core::DType;

use super::{Engine, candle, onnxruntime, openvino, scripted, tflite};
use crate::config::OptimizationLevel;
use crate::error::{Error, Result};
use crate::model::{Format, Package};

/// What `--runtime` takes, apart from `scripted:…`.
const NAMES: [&str; 8] = [
    "auto",
    "candle-cpu",
    "candle-cuda",
    "candle-metal",
    onnxruntime::NAME,
    openvino::NAME,
    tflite::NAME,
    tflite::EDGE_TPU,
];

/// Engines side by side at most: each has buffers of its own, and decoding is the limit long before.
const MOST_ENGINES: usize = 4;

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
    /// How far the network is rewritten first.
    pub optimization: OptimizationLevel,
    /// Folders, or files, in which vendors' libraries are looked for before the system's folders.
    pub libraries: Vec<PathBuf>,
    /// Where vendors' runtimes keep what they compiled; nowhere if absent.
    pub cache: Option<PathBuf>,
}

/// Names that [`open`] takes, apart from `scripted:…`.
pub fn names() -> &'static [&'static str] {
    &NAMES
}

/// Names of all runtimes on all kinds of device: what `bench --runtime all` tries.
pub fn each() -> &'static [&'static str] {
    &[
        "candle-cpu",
        "candle-cuda",
        "candle-metal",
        "onnxruntime-cpu",
        "onnxruntime-cuda",
        "onnxruntime-tensorrt",
        "onnxruntime-coreml",
        "openvino-cpu",
        "openvino-gpu",
        "openvino-npu",
        "tflite-cpu",
        "edge-tpu",
    ]
}

/// Compiles a model's network for a runtime, ready for the first frame.
///
/// # Errors
/// [`Error::Runtime`] for a runtime that is unknown, absent from this build or without its device, and for a
/// device that cannot execute what was compiled for it; [`Error::UnsupportedOperator`] for a network that it
/// cannot execute.
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
        (name, _) if is(name, onnxruntime::NAME) => return onnxruntime::open(package, options),
        (name, _) if is(name, openvino::NAME) => {
            return openvino::open(package, options).and_then(made_ready);
        }
        (name, _) if is(name, tflite::NAME) || name == tflite::EDGE_TPU => {
            return tflite::open(package, options).and_then(made_ready);
        }
        _ => return Err(fail(format!("is unknown; there are {} and scripted:…", NAMES.join(", ")))),
    };
    let (graph, level) = (&package.graph, options.optimization);
    if graph.nodes.is_empty() && package.artifact.format == Format::Tflite {
        // Its steps are in the file alone.
        return match options.runtime.as_str() {
            "" | "auto" => {
                tflite::open(package, &Options { runtime: tflite::NAME.to_owned(), ..options.clone() })
            }
            _ => {
                Err(fail("executes ONNX; this model is TFLite: use --runtime tflite or openvino".to_owned()))
            }
        };
    }
    // A GPU computes in 16 bits what was made for that; candle's kernels for the CPU are for floats alone.
    let halves = package.manifest.optimization.as_ref().is_some_and(|made| made.precision == "fp16");
    let dtype = if halves { DType::F16 } else { DType::F32 };
    match device {
        Placement::Cpu => candle::cpu(graph, level, options.threads),
        Placement::Cuda(index) => candle::cuda(graph, level, dtype, index).and_then(made_ready),
        Placement::Metal => candle::metal(graph, level, dtype).and_then(made_ready),
        // A GPU that this build has no code for, that is not there or fails is no error under `auto`.
        Placement::Auto => candle::cuda(graph, level, dtype, 0)
            .and_then(made_ready)
            .or_else(|_| candle::metal(graph, level, dtype).and_then(made_ready))
            .or_else(|_| candle::cpu(graph, level, options.threads)),
    }
}

/// Executes once what is not on the processor. A driver compiles a GPU's kernels when they are first used, which
/// took 20 s where it had kept none: that is for opening, not for a live frame. It also shows whether the device
/// can execute them at all.
pub(super) fn ready(engine: &mut dyn Engine) -> Result<()> {
    if !on_processor(engine) {
        engine.run()?;
    }
    Ok(())
}

fn made_ready(mut engine: Box<dyn Engine>) -> Result<Box<dyn Engine>> {
    ready(engine.as_mut())?;
    Ok(engine)
}

fn on_processor(engine: &dyn Engine) -> bool {
    engine.runtime().ends_with("-cpu")
}

/// Compiles a model's network for the most frames per second rather than the soonest answer: on the CPU
/// several engines share the threads, because threads that each have a frame of their own never wait for
/// each other. Elsewhere it is the one engine of [`open`].
///
/// # Errors
/// Those of [`open`].
pub fn open_for_throughput(package: &Package, options: &Options) -> Result<Vec<Box<dyn Engine>>> {
    let first = open(package, options)?;
    if !on_processor(first.as_ref()) {
        return Ok(vec![first]);
    }
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    let engines = threads.min(MOST_ENGINES);
    if engines < 2 {
        return Ok(vec![first]);
    }
    drop(first);
    let share = Options { threads: threads / engines, ..options.clone() };
    let first = open(package, &share)?;
    let maker = first.maker();
    let further = (1..engines).map(|_| maker.as_ref().map_or_else(|| open(package, &share), |make| make()));
    std::iter::once(Ok(first)).chain(further).collect()
}

/// Whether a runtime's name is `family`, or that and a device: `openvino-npu`.
fn is(name: &str, family: &str) -> bool {
    name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

//! Which kind of device a package is made for, in which number format, and what measures it.

use clap::ValueEnum;

use super::Args;
use crate::cli::machine;
use crate::cli::model::Choice;
use crate::cli::{Console, fastest};
use crate::config::{Device, Precision, Realtime};
use crate::device;
use crate::error::Result;
use crate::model::Package;
use crate::optimize::Target;
use crate::runtime::fastest::Recalled;

/// Kinds of device on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TargetArg {
    /// What suits this box: the fastest runtime by `endort bench --runtime all`, else what `endort detect-device` says
    Auto,
    /// Any processor: the fused network as ONNX
    Cpu,
    /// NVIDIA Jetson: ONNX for TensorRT, and its engine where trtexec is there
    Jetson,
    /// Google Coral: TensorFlow Lite for the Edge TPU
    Coral,
    /// Raspberry Pi, and any processor with LiteRT: TensorFlow Lite
    RaspberryPi,
    /// Apple Silicon: ONNX for CoreML and Metal
    Apple,
    /// Intel: ONNX for OpenVINO
    Intel,
}

/// What was chosen.
pub struct Chosen {
    /// The kind of device.
    pub target: Target,
    /// The number format.
    pub precision: Precision,
    /// What executes both networks for the figures.
    pub runtime: String,
}

/// What measures where nobody says.
const MEASURED_ON: &str = "candle-cpu";

/// What the arguments ask for, and what `auto` stands for here, which is said aloud.
///
/// # Errors
/// A machine that cannot be looked at, and a number format that the target cannot have.
pub fn choose(args: &Args, settings: &Realtime, console: &Console) -> Result<Chosen> {
    let runtime = |default: &str| args.runtime.clone().unwrap_or_else(|| default.to_owned());
    let named = match args.target {
        TargetArg::Auto => None,
        TargetArg::Cpu => Some(Target::Cpu),
        TargetArg::Jetson => Some(Target::Jetson),
        TargetArg::Coral => Some(Target::Coral),
        TargetArg::RaspberryPi => Some(Target::RaspberryPi),
        TargetArg::Apple => Some(Target::Apple),
        TargetArg::Intel => Some(Target::Intel),
    };
    let chosen = match named {
        Some(target) => {
            let precision = args.precision.unwrap_or(target.precision());
            Chosen { target, precision, runtime: runtime(MEASURED_ON) }
        }
        None => auto(args, settings, console)?,
    };
    if chosen.target == Target::Coral && chosen.precision != Precision::Int8 {
        let allowed = "the Edge TPU computes in int8 alone";
        return Err(super::setting("--precision", chosen.precision.as_str(), allowed));
    }
    Ok(chosen)
}

fn auto(args: &Args, settings: &Realtime, console: &Console) -> Result<Chosen> {
    let info = device::detect(&machine::options(settings))?;
    let advice = info.recommendation;
    let recommended = advice.target;
    let (target, precision, measured_on, because) = match measured(args, settings, console)? {
        Some(runtime) => {
            let target = target_of(&runtime, recommended);
            // 8 bits on rendered pictures are for those who ask for them.
            let unseen = target == Target::RaspberryPi && args.calibration.is_empty();
            let precision = if unseen { Precision::Fp16 } else { target.precision() };
            let because = format!("{runtime} was the fastest here by endort bench --runtime all");
            (target, precision, runtime, because)
        }
        None => (recommended, advice.precision, MEASURED_ON.to_owned(), advice.reason),
    };
    let precision = args.precision.unwrap_or(precision);
    console.note(&format!("auto: --target {target} --precision {precision}, because {because}"));
    let runtime = args.runtime.clone().unwrap_or(measured_on);
    Ok(Chosen { target, precision, runtime })
}

/// The runtime that was the fastest for this model here.
fn measured(args: &Args, settings: &Realtime, console: &Console) -> Result<Option<String>> {
    let package = Package::open(&args.model)?;
    let choice = Choice {
        model: &args.model,
        runtime: "auto",
        precision: None,
        device: Device::Auto,
        threads: args.threads.map_or(0, std::num::NonZeroUsize::get),
        throughput: false,
    };
    let why = match fastest::recall(&package, &choice, settings) {
        Recalled::Nothing => return Ok(None),
        Recalled::Fits(known) => return Ok(Some(known.runtime.clone())),
        Recalled::Stale(_, changes) => format!("the box has changed ({})", changes.join("; ")),
        Recalled::Unusable(why) => why,
    };
    console.note(&fastest::not_taken(&args.model, &why));
    Ok(None)
}

/// What a model is made for that a runtime is to execute; `recommended` for one that is on several kinds of device.
fn target_of(runtime: &str, recommended: Target) -> Target {
    match runtime {
        "edge-tpu" => Target::Coral,
        "tflite-cpu" => Target::RaspberryPi,
        "onnxruntime-coreml" => Target::Apple,
        "onnxruntime-cuda" | "onnxruntime-tensorrt" => recommended,
        name if name.starts_with("openvino") => Target::Intel,
        _ => Target::Cpu,
    }
}

//! Which kind of device a package is made for, in which number format, and what measures it.

use clap::ValueEnum;
use clap::builder::PossibleValue;

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

/// A kind of device on the command line; without one, what suits this box.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetArg(Option<Target>);

impl TargetArg {
    /// What suits this box.
    pub const AUTO: Self = Self(None);
}

impl ValueEnum for TargetArg {
    fn value_variants<'a>() -> &'a [Self] {
        const {
            &[
                Self::AUTO,
                Self(Some(Target::Cpu)),
                Self(Some(Target::Jetson)),
                Self(Some(Target::Coral)),
                Self(Some(Target::RaspberryPi)),
                Self(Some(Target::Apple)),
                Self(Some(Target::Intel)),
            ]
        }
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self.0 {
            None => {
                "What suits this box: the fastest runtime by `endort bench --runtime all`, else what `endort \
                 detect-device` says"
            }
            Some(Target::Cpu) => "Any processor: the fused network as ONNX",
            Some(Target::Jetson) => "NVIDIA Jetson: ONNX for TensorRT, and its engine where trtexec is there",
            Some(Target::Coral) => "Google Coral: TensorFlow Lite for the Edge TPU",
            Some(Target::RaspberryPi) => "Raspberry Pi, and any processor with LiteRT: TensorFlow Lite",
            Some(Target::Apple) => "Apple Silicon: ONNX for CoreML and Metal",
            Some(Target::Intel) => "Intel: ONNX for OpenVINO",
        };
        Some(PossibleValue::new(self.0.map_or("auto", Target::as_str)).help(help))
    }
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
    let chosen = match args.target.0 {
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
        "onnxruntime-coreml" | "candle-metal" => Target::Apple,
        "onnxruntime-cuda" | "onnxruntime-tensorrt" => recommended,
        name if name.starts_with("openvino") => Target::Intel,
        _ => Target::Cpu,
    }
}

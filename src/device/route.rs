//! Which of endort's runtimes executes on which accelerator, and what it needs to be there.

use super::info::{AcceleratorKind, RuntimeFound};
use super::library::is_system_folder;
use super::probe::Hurdle;
use super::recommend::Build;
use super::target::Target;
use crate::config::Precision;

/// A way from a network to an accelerator.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub accelerator: AcceleratorKind,
    /// The runtime, as `--runtime` takes it.
    pub runtime: &'static str,
    /// What a model for it is optimized for.
    pub target: Target,
    pub precision: Precision,
    needs: Need,
}

/// What a runtime needs besides the accelerator.
#[derive(Debug, Clone, Copy)]
enum Need {
    /// Code in this build of endort.
    Feature(&'static str),
    /// OpenVINO with its C interface.
    OpenVino,
    /// TensorFlow Lite's C interface; the Edge TPU's own library belongs to the device.
    TfLiteC,
    /// ONNX Runtime with a provider, and the libraries behind that.
    Provider(&'static str, &'static [&'static str]),
}

/// Names in the list of runtimes that was found.
pub(super) const ONNX_RUNTIME: &str = "ONNX Runtime";
pub(super) const OPENVINO: &str = "OpenVINO";
pub(super) const TFLITE: &str = "TensorFlow Lite";
pub(super) const LITERT: &str = "LiteRT";
pub(super) const TFLITE_C: &str = "libtensorflowlite_c";
pub(super) const EDGE_TPU_COMPILER: &str = "Edge TPU compiler";
pub(super) const TENSORRT: &str = "TensorRT";
pub(super) const CUDA: &str = "CUDA";
pub(super) const CUDNN: &str = "cuDNN";

const fn route(accelerator: AcceleratorKind, runtime: &'static str, target: Target, needs: Need) -> Route {
    Route { accelerator, runtime, target, precision: target.precision(), needs }
}

const BY_TENSORRT: Need = Need::Provider("tensorrt", &[TENSORRT, CUDA, CUDNN]);
const BY_CUDA: Need = Need::Provider("cuda", &[CUDA, CUDNN]);

/// Best first. A row belongs here once `endort::runtime` executes by it.
pub(super) const ROUTES: [Route; 12] = [
    route(AcceleratorKind::NvidiaGpu, "onnxruntime-tensorrt", Target::Cpu, BY_TENSORRT),
    route(AcceleratorKind::NvidiaGpu, "onnxruntime-cuda", Target::Cpu, BY_CUDA),
    route(AcceleratorKind::NvidiaGpu, "candle-cuda", Target::Cpu, Need::Feature("cuda")),
    route(AcceleratorKind::JetsonGpu, "onnxruntime-tensorrt", Target::Jetson, BY_TENSORRT),
    route(AcceleratorKind::JetsonGpu, "onnxruntime-cuda", Target::Jetson, BY_CUDA),
    route(AcceleratorKind::JetsonGpu, "candle-cuda", Target::Jetson, Need::Feature("cuda")),
    route(AcceleratorKind::AppleGpu, "candle-metal", Target::Apple, Need::Feature("metal")),
    route(AcceleratorKind::AppleGpu, "onnxruntime-coreml", Target::Apple, Need::Provider("coreml", &[])),
    route(AcceleratorKind::CoralPcie, "edge-tpu", Target::Coral, Need::TfLiteC),
    route(AcceleratorKind::CoralUsb, "edge-tpu", Target::Coral, Need::TfLiteC),
    route(AcceleratorKind::IntelGpu, "openvino-gpu", Target::Intel, Need::OpenVino),
    route(AcceleratorKind::IntelNpu, "openvino-npu", Target::Intel, Need::OpenVino),
];

impl Need {
    fn is_tensorrt(self) -> bool {
        matches!(self, Self::Provider("tensorrt", _))
    }
}

impl Route {
    /// What is missing for this route on a machine with these runtimes.
    fn missing(&self, runtimes: &[RuntimeFound], build: Build) -> Option<Hurdle> {
        let usable =
            |name: &str| runtimes.iter().find(|found| found.name == name && found.unusable.is_none());
        match self.needs {
            Need::Feature(feature) => {
                let built = (feature == "cuda" && build.cuda) || (feature == "metal" && build.metal);
                let why = format!("this build of endort has no {}", self.runtime);
                (!built).then(|| Hurdle::new(why, format!("cargo build --release --features {feature}")))
            }
            Need::OpenVino => match usable(OPENVINO) {
                Some(_) => None,
                None => Some(Hurdle::new("OpenVINO was not found", "pip install openvino")),
            },
            Need::TfLiteC => {
                let found =
                    usable(TFLITE).filter(|found| found.path.iter().any(|path| path.contains(TFLITE_C)));
                let why = format!("TensorFlow Lite's C library, {TFLITE_C}.so, was not found");
                let remedy = format!("put {TFLITE_C}.so, built from TensorFlow 2.x, into /usr/local/lib");
                found.is_none().then(|| Hurdle::new(why, remedy))
            }
            Need::Provider(provider, behind) => {
                let found = usable(ONNX_RUNTIME).filter(|ort| ort.providers.iter().any(|p| p == provider));
                if found.is_none() {
                    let why = format!("no ONNX Runtime with its {provider} provider was found");
                    let remedy = match self.accelerator {
                        AcceleratorKind::JetsonGpu => "install NVIDIA's onnxruntime-gpu for this JetPack",
                        AcceleratorKind::AppleGpu => "pip install onnxruntime",
                        _ => "pip install onnxruntime-gpu",
                    };
                    return Some(Hurdle::new(why, remedy));
                }
                let absent = behind.iter().find(|name| usable(name).is_none())?;
                let why = format!("{absent} was not found, which {} needs", self.runtime);
                Some(Hurdle::new(why, format!("install {absent}")))
            }
        }
    }

    /// The folder of the library, where endort's runtime would not look for it unasked.
    pub fn library_folder(&self, runtimes: &[RuntimeFound]) -> Option<String> {
        let name = match self.needs {
            Need::Feature(_) => return None,
            Need::OpenVino => OPENVINO,
            Need::TfLiteC => TFLITE,
            Need::Provider(..) => ONNX_RUNTIME,
        };
        folder_to_name(runtimes.iter().find(|found| found.name == name)?)
    }
}

/// The folder of a library that endort's runtime would not look for unasked.
pub(super) fn folder_to_name(found: &RuntimeFound) -> Option<String> {
    let (folder, file) = found.path.as_deref()?.rsplit_once('/')?;
    let unasked = match found.found_by.as_str() {
        "known folder" | "Python package" => false,
        // The system's loader finds a plain name wherever it looks; a version, only where endort looks itself.
        "library path" => is_system_folder(folder) || file.ends_with(".so") || file.ends_with(".dylib"),
        _ => true,
    };
    (!unasked).then(|| folder.to_owned())
}

/// Vendors' runtimes that execute on any processor.
pub(super) fn on_the_cpu(runtimes: &[RuntimeFound]) -> Vec<&RuntimeFound> {
    let executes = |found: &&RuntimeFound| match found.name.as_str() {
        ONNX_RUNTIME | OPENVINO | LITERT => true,
        TFLITE => found.path.iter().any(|path| path.contains(TFLITE_C)),
        _ => false,
    };
    runtimes.iter().filter(|found| found.unusable.is_none()).filter(executes).collect()
}

/// The runtime that can execute on a kind of accelerator here; else what is missing for each that could;
/// `Ok(None)` where endort has none for it. `obstacle` is what rules candle's CUDA code out, and the first thing
/// to be mended where nothing else can execute.
pub(super) fn choose(
    kind: AcceleratorKind,
    runtimes: &[RuntimeFound],
    build: Build,
    obstacle: Option<Hurdle>,
) -> Result<Option<&'static str>, Hurdle> {
    let mut missing: Vec<Hurdle> = Vec::new();
    for route in ROUTES.iter().filter(|route| route.accelerator == kind) {
        if matches!(route.needs, Need::Feature(_)) && obstacle.is_some() {
            continue;
        }
        match route.missing(runtimes, build) {
            None => return Ok(Some(route.runtime)),
            // TensorRT is a step beyond CUDA: who lacks CUDA is told of that.
            Some(_) if route.needs.is_tensorrt() => {}
            Some(hurdle) => missing.push(hurdle),
        }
    }
    if let Some(obstacle) = obstacle {
        return Err(obstacle);
    }
    if missing.is_empty() {
        return Ok(None);
    }
    let join = |part: fn(&Hurdle) -> &str, word: &str| {
        let mut parts: Vec<&str> = missing.iter().map(part).collect();
        parts.dedup();
        parts.join(word)
    };
    Err(Hurdle::new(join(|hurdle| &hurdle.why, "; "), join(|hurdle| &hurdle.remedy, ", or ")))
}

//! Inference runtimes on a machine: what is built into endort and every vendor library that is found.

use super::binary::version_in;
use super::info::RuntimeFound;
use super::library::{Found, RUNTIME_PATH};
use super::probe::Probe;
use super::recommend::{Build, CPU_RUNTIME};
use super::root::clean;
use super::route::{
    CUDA, CUDNN, EDGE_TPU_COMPILER, LITERT, ONNX_RUNTIME, OPENVINO, TENSORRT, TFLITE, TFLITE_C,
};

/// A runtime that is looked for.
struct Known {
    name: &'static str,
    /// Its libraries, best first.
    libraries: &'static [&'static str],
    /// A variable that names its library.
    variable: Option<&'static str>,
    /// Debian packages that tell its version.
    packages: &'static [&'static str],
    /// The Python package that tells it; behind its name may stand that of an accelerator.
    python: &'static str,
}

const fn known(name: &'static str, libraries: &'static [&'static str], python: &'static str) -> Known {
    Known { name, libraries, variable: None, packages: &[], python }
}

const KNOWN: [Known; 8] = [
    Known { variable: Some("ORT_DYLIB_PATH"), ..known(ONNX_RUNTIME, &["libonnxruntime"], "onnxruntime") },
    // endort opens the C interface; the other is looked for to say that the C interface is missing.
    known(OPENVINO, &[OPENVINO_C, "libopenvino"], "openvino"),
    known(TFLITE, &[TFLITE_C, "libtensorflow-lite"], "tflite_runtime"),
    known(LITERT, &["libLiteRt"], "ai_edge_litert"),
    Known {
        packages: &["libedgetpu1-std", "libedgetpu1-max"],
        ..known("Edge TPU runtime", &["libedgetpu"], "pycoral")
    },
    Known { packages: &["libnvinfer10", "libnvinfer8"], ..known(TENSORRT, &["libnvinfer"], "tensorrt") },
    known(CUDA, &["libcudart"], "nvidia_cuda_runtime"),
    known(CUDNN, &["libcudnn"], "nvidia_cudnn"),
];
/// The first ONNX Runtime whose interface endort speaks.
const MIN_ONNX_RUNTIME: (u32, u32) = (1, 12);
const OPENVINO_C: &str = "libopenvino_c";
/// Programs that belong to them.
const PROGRAMS: [(&str, &str); 2] =
    [("trtexec (TensorRT)", "trtexec"), (EDGE_TPU_COMPILER, "edgetpu_compiler")];

/// Every runtime that is there.
pub(super) fn find(probe: &Probe, build: Build) -> Vec<RuntimeFound> {
    let built_in = [(CPU_RUNTIME, true), ("candle-cuda", build.cuda), ("candle-metal", build.metal)];
    let mut runtimes: Vec<RuntimeFound> = built_in
        .into_iter()
        .filter(|(_, is_built)| *is_built)
        .map(|(name, _)| RuntimeFound {
            name: name.to_owned(),
            version: None,
            path: None,
            found_by: "built in".to_owned(),
            unusable: None,
            providers: vec![],
        })
        .collect();
    for known in &KNOWN {
        let found = probe.libraries.find(known.libraries);
        // In the order in which endort opens them: where --runtime-path says, where the variable says, elsewhere.
        let (first, last) =
            match found.as_ref().is_some_and(|f| f.found_by == RUNTIME_PATH && f.unusable.is_none()) {
                true => (found, None),
                false => (None, found),
            };
        let named =
            || known.variable.and_then(|variable| probe.libraries.named_by(variable, known.libraries[0]));
        let Some(found) = first.or_else(named).or(last) else { continue };
        let version = version(probe, known, &found);
        let mut entry = entry(known.name, found, version);
        if known.name == ONNX_RUNTIME {
            if entry.version.as_deref().is_some_and(|version| is_older(version, MIN_ONNX_RUNTIME)) {
                let (major, minor) = MIN_ONNX_RUNTIME;
                entry.unusable = entry.unusable.or(Some(format!("it is older than {major}.{minor}")));
            }
            entry.providers = providers(probe, entry.path.as_deref().unwrap_or_default());
        }
        if known.name == OPENVINO && !entry.path.as_ref().is_some_and(|path| path.contains(OPENVINO_C)) {
            entry.unusable =
                entry.unusable.or(Some(format!("its C interface, {OPENVINO_C}.so, is not there")));
        }
        runtimes.push(entry);
    }
    for (name, program) in PROGRAMS {
        runtimes.extend(probe.libraries.program(program).map(|found| entry(name, found, None)));
    }
    runtimes
}

fn entry(name: &str, found: Found, version: Option<String>) -> RuntimeFound {
    RuntimeFound {
        name: name.to_owned(),
        version,
        path: clean(&found.path),
        found_by: found.found_by,
        unusable: found.unusable,
        providers: vec![],
    }
}

/// Whether a version such as `1.11.0` comes before this major and minor number.
fn is_older(version: &str, than: (u32, u32)) -> bool {
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found < than)
}

/// Providers whose library lies beside ONNX Runtime's; CoreML's is part of that itself.
fn providers(probe: &Probe, path: &str) -> Vec<String> {
    if path.ends_with(".dylib") {
        let has = probe.root.holds(path, b"CoreMLExecutionProvider");
        return has.then(|| "coreml".to_owned()).into_iter().collect();
    }
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let beside =
        |name: &&'static str| probe.root.exists(&format!("{folder}/libonnxruntime_providers_{name}.so"));
    ["tensorrt", "cuda", "openvino"].into_iter().filter(beside).map(str::to_owned).collect()
}

fn version(probe: &Probe, known: &Known, found: &Found) -> Option<String> {
    let by_package = || known.packages.iter().find_map(|package| probe.packages.get(*package).cloned());
    by_package().or_else(|| python_version(probe, known, &found.path)).or_else(|| {
        version_in(&found.file_name)
            .filter(|version| !version.ends_with(".0") || version.matches('.').count() > 1)
    })
}

/// `1.20.1` for a library beside which a folder `onnxruntime-1.20.1.dist-info` describes the package.
fn python_version(probe: &Probe, known: &Known, path: &str) -> Option<String> {
    let marks = ["/site-packages/", "/dist-packages/"];
    let (at, mark) = marks.iter().find_map(|mark| Some((path.find(mark)?, mark)))?;
    let names = probe.root.names(&path[..at + mark.len()]);
    let infos = names.iter().filter_map(|name| name.strip_suffix(".dist-info")?.split_once('-'));
    // The package itself before those that are named after it: onnxruntime, then onnxruntime_gpu.
    let best = infos.filter_map(|(name, version)| {
        let rest = name.strip_prefix(known.python)?;
        (rest.is_empty() || rest.starts_with('_')).then_some((rest.len(), version))
    });
    clean(best.min()?.1)
}

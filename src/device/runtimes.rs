//! Inference runtimes on a machine: what is built into endort and every vendor library that is found.

use super::info::RuntimeFound;
use super::library::{Found, version_in};
use super::probe::Probe;
use super::recommend::{Build, CPU_RUNTIME};
use super::root::clean;

/// A runtime that is looked for.
struct Known {
    name: &'static str,
    /// Its libraries, best first.
    libraries: &'static [&'static str],
    /// A variable that names its library.
    variable: Option<&'static str>,
    /// Debian packages that tell its version.
    packages: &'static [&'static str],
}

const KNOWN: [Known; 8] = [
    Known {
        name: "ONNX Runtime",
        libraries: &["libonnxruntime.so"],
        variable: Some("ORT_DYLIB_PATH"),
        packages: &[],
    },
    Known { name: "OpenVINO", libraries: &["libopenvino.so"], variable: None, packages: &[] },
    Known {
        name: "TensorFlow Lite",
        libraries: &["libtensorflowlite_c.so", "libtensorflow-lite.so"],
        variable: None,
        packages: &[],
    },
    Known { name: "LiteRT", libraries: &["libLiteRt.so"], variable: None, packages: &[] },
    Known {
        name: "Edge TPU runtime",
        libraries: &["libedgetpu.so"],
        variable: None,
        packages: &["libedgetpu1-std", "libedgetpu1-max"],
    },
    Known {
        name: "TensorRT",
        libraries: &["libnvinfer.so"],
        variable: None,
        packages: &["libnvinfer10", "libnvinfer8"],
    },
    Known { name: "CUDA", libraries: &["libcudart.so"], variable: None, packages: &[] },
    Known { name: "cuDNN", libraries: &["libcudnn.so"], variable: None, packages: &[] },
];
/// Programs that belong to them.
const PROGRAMS: [(&str, &str); 2] =
    [("trtexec (TensorRT)", "trtexec"), ("Edge TPU compiler", "edgetpu_compiler")];

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
        })
        .collect();
    for known in &KNOWN {
        let named = known.variable.and_then(|variable| probe.libraries.named_by(variable));
        let Some(found) = named.or_else(|| probe.libraries.find(known.libraries)) else { continue };
        let version = version(probe, known, &found);
        runtimes.push(entry(known.name, found, version));
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
    }
}

fn version(probe: &Probe, known: &Known, found: &Found) -> Option<String> {
    let by_package = || known.packages.iter().find_map(|package| probe.packages.get(*package).cloned());
    by_package().or_else(|| python_version(probe, &found.path)).or_else(|| {
        version_in(&found.file_name)
            .filter(|version| !version.ends_with(".0") || version.matches('.').count() > 1)
    })
}

/// `1.20.1` for a library of the package whose description lies in `onnxruntime-1.20.1.dist-info` beside it.
fn python_version(probe: &Probe, path: &str) -> Option<String> {
    let marks = ["/site-packages/", "/dist-packages/"];
    let (at, mark) = marks.iter().find_map(|mark| Some((path.find(mark)?, mark)))?;
    let folder = &path[..at + mark.len()];
    let package = path[folder.len()..].split('/').next()?;
    let names = probe.root.names(folder);
    let infos = names.iter().filter_map(|name| name.strip_suffix(".dist-info"));
    let version = infos.filter_map(|info| info.split_once('-')).find_map(|(name, version)| {
        // A package for one accelerator bears its name: onnxruntime_gpu.
        let same = name.eq_ignore_ascii_case(package) || name.starts_with(&format!("{package}_"));
        same.then_some(version)
    })?;
    clean(version)
}

//! The vendors' own runtimes, opened as a user's box has them, beside candle; and what is said where they are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use endort::model::Package;
use endort::runtime::{Engine, Options, Placement, open};
use serde_json::Value;

use crate::engine::python;
use crate::media_clips::clip;
use crate::optimize::pictures;
use crate::program::Sandbox;
use crate::random::Random;
use crate::small_model;

/// Largest difference between runtimes in 32-bit floats, as a share of the largest value.
const FP32: f32 = 1e-4;

/// The folder of the Python packages that hold the vendors' libraries.
pub fn site_packages() -> Option<PathBuf> {
    let script = "import sysconfig; print(sysconfig.get_paths()['platlib'])";
    let output = Command::new(python()?).args(["-c", script]).output().unwrap();
    assert!(output.status.success());
    let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    // Parity is a claim about all of them: a set-up that has some is broken.
    for package in ["onnxruntime", "openvino", "ai_edge_litert"] {
        assert!(folder.join(package).is_dir(), "{package} of tests/requirements.txt is not installed");
    }
    Some(folder)
}

pub fn skipped<T>() -> Option<T> {
    eprintln!("skipped: set ENDORT_PYTHON, or make test builds .venv with tests/requirements.txt");
    None
}

pub fn options(runtime: &str, libraries: &Path) -> Options {
    Options {
        runtime: runtime.into(),
        device: Placement::Cpu,
        threads: 2,
        libraries: vec![libraries.to_owned()],
        ..Options::default()
    }
}

/// Runs an engine twice on the same noise and gives the second result: each output's values.
pub fn outputs(engine: &mut dyn Engine, seed: u64) -> Vec<Vec<f32>> {
    for _ in 0..2 {
        let mut random = Random(seed);
        engine.input().iter_mut().for_each(|v| *v = random.normal());
        engine.run().unwrap();
    }
    engine.run().unwrap().iter().map(|o| o.data.clone()).collect()
}

/// The largest difference, as a share of the largest value of each output.
pub fn difference(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let one = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        assert_eq!(a.len(), b.len());
        let scale = b.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
        a.iter().zip(b).map(|(x, y)| (x - y).abs() / scale).fold(0.0, f32::max)
    };
    ours.iter().zip(theirs).map(one).fold(0.0, f32::max)
}

#[test]
fn vendors_runtimes_agree_with_candle() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let package = Package::open("polyp-lite").unwrap();
    let engine = |runtime: &str| open(&package, &options(runtime, &libraries)).unwrap();
    let reference = outputs(engine("candle-cpu").as_mut(), 1);
    for (runtime, name) in [
        ("onnxruntime", "onnxruntime-cpu"),
        ("onnxruntime-cpu", "onnxruntime-cpu"),
        ("openvino", "openvino-cpu"),
        ("openvino-cpu", "openvino-cpu"),
        ("openvino-auto", "openvino-auto"),
        ("tflite", "tflite-cpu"),
        ("tflite-cpu", "tflite-cpu"),
    ] {
        let mut engine = engine(runtime);
        assert_eq!(engine.runtime(), name);
        let version = engine.version().unwrap();
        assert!(
            version.split('.').count() >= 3 && version.starts_with(|c: char| c.is_ascii_digit()),
            "{version}"
        );
        let apart = difference(&outputs(engine.as_mut(), 1), &reference);
        assert!(apart <= FP32, "{runtime} is {apart} from candle-cpu");
    }
}

#[test]
fn a_network_with_channels_last_finds_the_same_by_every_runtime() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    pictures(&sandbox, 1);
    small_model::write(&sandbox);
    let found = |model: &str, runtime: &str| -> Vec<Value> {
        let args =
            ["process-frame", "truth/images/0.png", "--model", model, "--runtime", runtime, "--json", "-q"];
        let run = sandbox.endort(args).env("REALTIME_RUNTIME_PATH", &libraries).finish().code(0).stderr("");
        let record: Value = serde_json::from_str(&run.stdout).unwrap();
        record["detections"].as_array().unwrap().iter().map(|found| found["box"].clone()).collect()
    };
    let [expected] = &found("red.onnx", "candle-cpu")[..] else { panic!("the red square is one finding") };
    assert_eq!(expected.as_array().map(Vec::len), Some(4), "{expected}");
    for (classes, at_both_ends) in [(1, true), (2, true), (1, false), (2, false)] {
        small_model::write_channels_last(&sandbox, classes, at_both_ends);
        let made =
            ["optimize", "last.onnx", "--target", "raspberry-pi", "--precision", "fp32", "-o", "made", "-q"];
        sandbox.endort(made.into_iter().chain(["--calibration", "truth/images"])).finish().code(0);
        for model in ["last.onnx", "made"] {
            for runtime in ["candle-cpu", "onnxruntime", "openvino", "tflite"] {
                let boxes = found(model, runtime);
                assert_eq!(boxes, vec![expected.clone(); classes as usize], "{model} by {runtime}");
            }
        }
    }
}

#[test]
fn a_device_that_a_runtime_does_not_have_is_named_with_those_it_has() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let package = Package::open("polyp-lite").unwrap();
    let words = |runtime: &str| open(&package, &options(runtime, &libraries)).err().unwrap().to_string();
    for (runtime, provider) in [
        ("onnxruntime-cuda", "CUDAExecutionProvider"),
        ("onnxruntime-tensorrt", "TensorrtExecutionProvider"),
        ("onnxruntime-coreml", "CoreMLExecutionProvider"),
    ] {
        let e = words(runtime);
        assert!(e.contains(&format!("has no {provider}")) && e.contains("CPUExecutionProvider"), "{e}");
    }
    let e = words("openvino-npu");
    assert!(e.contains("NPU") && e.contains("CPU"), "{e}");
    assert!(words("onnxruntime-vulkan").contains("onnxruntime-tensorrt"));
    assert!(words("openvino-tpu").contains("openvino-gpu"));
}

#[test]
fn an_absent_runtime_says_where_it_was_looked_for_and_what_to_install() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.file("libs")).unwrap();
    let picture = image::RgbImage::new(64, 64);
    picture.save(sandbox.file("black.png")).unwrap();
    for (runtime, package) in [
        ("onnxruntime", "pip install onnxruntime"),
        ("openvino", "pip install openvino"),
        ("tflite", "pip install ai-edge-litert"),
    ] {
        let args = ["process-frame", "black.png", "--runtime", runtime, "--runtime-path", "libs"];
        let run = sandbox.endort(args).env("LD_LIBRARY_PATH", "").finish();
        if run.code == Some(0) {
            eprintln!("skipped: this system has {runtime}");
            continue;
        }
        let e = run.code(1).stderr;
        for word in [runtime, "libs", package, "REALTIME_RUNTIME_PATH"] {
            assert!(e.contains(word), "{e}");
        }
        assert_eq!(e.lines().count(), 1, "{e}");
    }
}

#[test]
fn a_broken_library_is_an_error_and_no_crash() {
    let sandbox = Sandbox::new();
    sandbox.write("libs/libonnxruntime.so", "this is no library");
    sandbox.write("libs/libopenvino_c.so", "this is no library");
    let package = Package::open("polyp-lite").unwrap();
    for runtime in ["onnxruntime", "openvino"] {
        if let Err(e) = open(&package, &options(runtime, &sandbox.file("libs"))) {
            assert!(e.to_string().contains("cannot be loaded"), "{e}");
        }
    }
    let run = sandbox.endort(["bench", "--runtime-path", "no/such/folder"]).finish().code(2);
    assert!(run.stderr.contains("no/such/folder"), "{}", run.stderr);
}

#[test]
fn bench_puts_all_runtimes_side_by_side() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let source = clip("h264.mp4").display().to_string();
    let libraries = libraries.display().to_string();
    let args = ["bench", &source, "--warmup", "2", "--pace", "max", "--runtime", "all", "--json", "-"];
    let run = sandbox.endort(args).env("REALTIME_RUNTIME_PATH", libraries).finish().code(0);
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    let runs = report["runs"].as_array().unwrap();
    let names: Vec<&str> = runs.iter().map(|r| r["runtime"].as_str().unwrap()).collect();
    for runtime in ["candle-cpu", "onnxruntime-cpu", "openvino-cpu", "tflite-cpu"] {
        assert!(names.contains(&runtime), "{names:?}");
    }
    for run in runs {
        let vendor = run["runtime"] != "candle-cpu" && run["runtime"] != "candle-cuda";
        assert_eq!(run["runtime_version"].is_string(), vendor, "{run:#}");
    }
    assert!(run.stderr.contains("not present") && run.stderr.contains("openvino-npu"), "{}", run.stderr);
}

//! Where real frames and the vendors' runtimes are at hand: what `endort optimize` makes of `polyp-lite` sees
//! polyps as well as the original does. Calibrated on some hospitals, measured on another.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::program::Sandbox;
use crate::vendor::{site_packages, skipped};

/// Every how many of the 200 frames of Kvasir-SEG one is measured, to keep the test short.
const EVERY: usize = 5;

/// The folder of real frames, which is no part of the project.
pub fn data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
    if !data.join("index.csv").is_file() {
        eprintln!("skipped: no real frames in {}", data.display());
        return None;
    }
    Some(data)
}

/// Some of the frames with their masks, as links.
#[cfg(unix)]
fn ground_truth(sandbox: &Sandbox, data: &Path) -> String {
    for kind in ["images", "masks"] {
        let folder = data.join("kvasir-seg-200").join(kind);
        let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
        paths.sort();
        fs::create_dir_all(sandbox.file("truth").join(kind)).unwrap();
        for path in paths.iter().step_by(EVERY) {
            let link = sandbox.file("truth").join(kind).join(path.file_name().unwrap());
            std::os::unix::fs::symlink(path.canonicalize().unwrap(), link).unwrap();
        }
    }
    "truth".to_owned()
}

/// Makes the package, measured by the vendor's runtime, and gives the report.
#[cfg(unix)]
fn optimize(target: &str, precision: &str, runtime: &str, frames: &str) -> Option<Value> {
    let (data, libraries) = (data()?, site_packages().or_else(skipped)?);
    let sandbox = Sandbox::new();
    let truth = ground_truth(&sandbox, &data);
    let args = ["optimize", "polyp-lite", "--target", target, "--precision", precision, "--runtime", runtime];
    let more = ["--ground-truth", &truth, "--calibration-frames", frames, "--json", "-q", "-o", "made"];
    let centres = ["C1", "C2", "C3", "C4", "C5"].map(|c| data.join("polypgen").join(c).join("images"));
    let centres = centres.iter().flat_map(|c| ["--calibration", c.to_str().unwrap()]);
    let args = args.into_iter().chain(more).chain(centres);
    let run = sandbox.endort(args).env("REALTIME_RUNTIME_PATH", libraries).finish().code(0).stderr("");
    let report: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["runtime"], format!("{runtime}-cpu"));
    assert_eq!(report["before"]["accuracy"]["images"], 40);
    // The original finds the polyps of these frames, so that a drop of its Dice means something.
    assert!(report["before"]["accuracy"]["dice"].as_f64().unwrap() > 0.8, "{report:#}");
    Some(report)
}

#[cfg(unix)]
fn eight_bits_lose_little(target: &str, runtime: &str) {
    // Twenty frames are enough but for one of the forty, whose finding lies at the limit of the score.
    let Some(report) = optimize(target, "int8", runtime, "60") else { return };
    // ONNX Runtime has no integer kernel for each layer on the grid; the others have.
    let computed_in = if runtime == "onnxruntime" { "int8 or fp32, layer by layer" } else { "int8" };
    assert_eq!(report["low_precision"]["computed_in"], computed_in, "{report:#}");
    let drop = report["dice_drop"].as_f64().unwrap();
    assert!(drop <= 0.01, "{target} by {runtime} loses {drop}: {report:#}");
    // Integers are no floats: a network that was not quantized would agree to the last digit.
    let error = report["agreement"]["relative_error"].as_f64().unwrap();
    assert!((1e-3..0.2).contains(&error), "{report:#}");
}

#[cfg(unix)]
#[test]
fn the_edge_tpu_s_integers_lose_little_by_litert() {
    eight_bits_lose_little("coral", "tflite");
}

#[cfg(unix)]
#[test]
fn the_raspberry_pi_s_integers_lose_little_by_litert() {
    eight_bits_lose_little("raspberry-pi", "tflite");
}

#[cfg(unix)]
#[test]
fn the_jetson_s_integers_lose_little_by_onnx_runtime() {
    eight_bits_lose_little("jetson", "onnxruntime");
}

#[cfg(unix)]
#[test]
fn intel_s_integers_lose_little_by_openvino() {
    eight_bits_lose_little("intel", "openvino");
}

#[cfg(unix)]
#[test]
fn half_precision_loses_next_to_nothing() {
    for (target, runtime) in [("raspberry-pi", "tflite"), ("jetson", "onnxruntime"), ("intel", "openvino")] {
        let Some(report) = optimize(target, "fp16", runtime, "1") else { return };
        let drop = report["dice_drop"].as_f64().unwrap();
        assert!(drop.abs() <= 0.002, "{target} by {runtime} loses {drop}: {report:#}");
        let error = report["agreement"]["relative_error"].as_f64().unwrap();
        assert!(error <= 1e-2, "{report:#}");
    }
}

//! The fastest runtime by `endort bench --runtime all` is what `auto` takes afterwards, until the box changes.

use std::path::PathBuf;

use serde_json::Value;

use crate::media_clips::clip;
use crate::optimize::{json, pictures};
use crate::program::{Finished, Sandbox};
use crate::small_model;
use crate::vendor::{site_packages, skipped};

/// A box with the vendors' runtimes, on which all of them were put side by side for the small model.
struct Bench {
    sandbox: Sandbox,
    libraries: PathBuf,
    /// The report's choice.
    chosen: Value,
}

impl Bench {
    fn new(more: &[&str]) -> Option<Self> {
        let libraries = site_packages().or_else(skipped)?;
        let sandbox = Sandbox::new();
        small_model::write(&sandbox);
        pictures(&sandbox, 3);
        let source = clip("h264.mp4").display().to_string();
        let args =
            ["bench", &source, "--model", "red.onnx", "--runtime", "all", "--warmup", "2", "--json", "-"];
        let run = sandbox.endort(args.into_iter().chain(more.iter().copied()));
        let report = json(&run.env("REALTIME_RUNTIME_PATH", &libraries).finish().code(0).stdout);
        let chosen = report["fastest"][0].clone();
        Some(Self { sandbox, libraries, chosen })
    }

    /// One picture, with the vendors' runtimes in reach.
    fn frame(&self, more: &[&str]) -> (Value, String) {
        let args = ["process-frame", "truth/images/0.png", "--model", "red.onnx", "--json"];
        let run = self.sandbox.endort(args.into_iter().chain(more.iter().copied()));
        let run = run.env("REALTIME_RUNTIME_PATH", &self.libraries).finish().code(0);
        (json(&run.stdout)["runtime"].clone(), run.stderr)
    }

    fn file(&self) -> String {
        format!(".cache/endort/fastest/{}.json", self.chosen["model_sha256"].as_str().unwrap())
    }

    /// Changes what is remembered.
    fn change(&self, pointer: &str, value: Value) {
        let mut known = json(&self.sandbox.read(&self.file()));
        *known.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        self.sandbox.write(&self.file(), known.to_string());
    }

    /// Makes a runtime the fastest, whichever it was here.
    fn prefer(&self, runtime: &str) {
        let candidates = self.chosen["candidates"].as_array().unwrap();
        let candidate = candidates.iter().find(|c| c["runtime"] == runtime).unwrap();
        let mut known = json(&self.sandbox.read(&self.file()));
        known["boxes"][0]["runtime"] = runtime.into();
        known["boxes"][0]["runtime_version"] = candidate["runtime_version"].clone();
        self.sandbox.write(&self.file(), known.to_string());
    }
}

#[test]
fn auto_takes_what_was_the_fastest() {
    let Some(bench) = Bench::new(&["--pace", "max"]) else { return };
    let candidates = bench.chosen["candidates"].as_array().unwrap();
    let names: Vec<&str> = candidates.iter().map(|c| c["runtime"].as_str().unwrap()).collect();
    for runtime in ["candle-cpu", "onnxruntime-cpu", "openvino-cpu", "tflite-cpu"] {
        assert!(names.contains(&runtime), "{names:?}");
    }
    assert_eq!(bench.chosen["runtime"], candidates[0]["runtime"], "all of them see the same");
    assert_eq!(bench.chosen["remembered"], true);
    assert!(candidates.is_sorted_by_key(|c| -c["fps"].as_f64().unwrap()), "{candidates:#?}");
    for candidate in candidates {
        let apart = candidate["agreement"]["relative_error"].as_f64().unwrap();
        assert!(candidate["within_limit"] == true && apart < 1e-4, "{candidate:#}");
    }

    let (runtime, said) = bench.frame(&[]);
    assert_eq!(runtime, bench.chosen["runtime"]);
    let line = format!("endort: auto takes {} for red.onnx, the fastest here", runtime.as_str().unwrap());
    assert!(said.starts_with(&line) && said.lines().count() == 1, "{said}");

    bench.prefer("onnxruntime-cpu");
    assert_eq!(bench.frame(&["-q"]), ("onnxruntime-cpu".into(), String::new()));
    let source = clip("h264.mp4").display().to_string();
    let args = ["bench", &source, "--model", "red.onnx", "--warmup", "2", "--json", "-"];
    let run = bench.sandbox.endort(args).env("REALTIME_RUNTIME_PATH", &bench.libraries).finish().code(0);
    for run in json(&run.stdout)["runs"].as_array().unwrap() {
        assert_eq!(run["runtime"], "onnxruntime-cpu");
    }
    assert_eq!(run.stderr.matches("auto takes onnxruntime-cpu").count(), 1, "{}", run.stderr);

    // Who names a runtime or a device gets that.
    assert_eq!(bench.frame(&["--runtime", "candle-cpu"]), ("candle-cpu".into(), String::new()));
    assert_eq!(bench.frame(&["--device", "cpu"]), ("candle-cpu".into(), String::new()));
    // Another model is another question.
    let other = ["process-frame", "truth/images/0.png", "--json"];
    let Finished { stdout, stderr, .. } = bench.sandbox.endort(other).finish().code(0);
    assert_eq!((&json(&stdout)["runtime"], stderr.as_str()), (&"candle-cpu".into(), ""));

    let forget = ["bench", "--forget", "--model", "red.onnx"];
    let said = "endort: forgot the fastest runtime for red.onnx\n";
    bench.sandbox.endort(forget).finish().code(0).stderr(said).stdout("");
    assert_eq!(bench.frame(&[]), ("candle-cpu".into(), String::new()));
    let said = "endort: knew nothing of the fastest runtime for red.onnx\n";
    bench.sandbox.endort(forget).finish().code(0).stderr(said);
}

#[test]
fn a_box_that_has_changed_is_told_and_measured_again() {
    let Some(bench) = Bench::new(&["--pace", "max"]) else { return };
    bench.prefer("tflite-cpu");
    let goes_without = |more: &[&str], words: &str| {
        let (runtime, said) = bench.frame(more);
        assert_eq!(runtime, "candle-cpu", "{said}");
        assert!(
            said.contains(words) && said.contains("endort bench --model red.onnx --runtime all"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    };
    goes_without(&["--optimization-level", "low"], "optimization level: high then, low now");
    // The library is gone.
    let args = ["process-frame", "truth/images/0.png", "--model", "red.onnx", "--json"];
    let run = bench.sandbox.endort(args).finish().code(0);
    assert!(run.stderr.contains("LiteRT") && run.stderr.contains("is not found any more"), "{}", run.stderr);
    let threads = json(&bench.sandbox.read(&bench.file()))["boxes"][0]["box"]["threads"].clone();
    bench.change("/boxes/0/box/threads", 999.into());
    goes_without(&[], "threads: 999 then, ");
    bench.change("/boxes/0/box/threads", threads);
    // It was measured with one thread per core.
    goes_without(&["--threads", "97"], "threads for the model: ");
    // It is another one than was looked at.
    bench.change("/boxes/0/runtime_version", "0.0.1".into());
    goes_without(&[], "tflite-cpu was 0.0.1 then and is ");
    // It has no device for this.
    bench.change("/boxes/0/runtime", "onnxruntime-cuda".into());
    goes_without(&[], "CUDAExecutionProvider");
    bench.change("/boxes/0/runtime", "scripted:panic@0".into());
    goes_without(&[], "scripted:panic@0");
    bench.sandbox.write(&bench.file(), "{");
    goes_without(&[], "is damaged");
}

#[test]
fn ground_truth_sets_the_limit_where_there_is_some() {
    let Some(bench) = Bench::new(&["--pace", "camera", "--ground-truth", "truth"]) else { return };
    assert_eq!(bench.chosen["limit"], "dice at most 0.01 below the best");
    for candidate in bench.chosen["candidates"].as_array().unwrap() {
        assert!(candidate["dice_drop"].as_f64().unwrap() < 1e-3, "{candidate:#}");
        assert!(candidate["inference_p50_ms"].as_f64().unwrap() > 0.0, "{candidate:#}");
    }
}

#[test]
fn a_device_that_is_named_leaves_auto_alone() {
    let Some(bench) = Bench::new(&["--pace", "max", "--device", "cpu"]) else { return };
    assert_eq!(bench.chosen["remembered"], false);
    assert_eq!(bench.frame(&[]), ("candle-cpu".into(), String::new()));
}

#[test]
fn a_package_for_this_box_is_made_for_what_was_the_fastest() {
    let Some(bench) = Bench::new(&["--pace", "max"]) else { return };
    for (runtime, target, precision) in [
        ("openvino-cpu", "intel", "fp16"),
        ("tflite-cpu", "raspberry-pi", "int8"),
        ("candle-cpu", "cpu", "fp32"),
    ] {
        bench.prefer(runtime);
        let args = ["optimize", "red.onnx", "--calibration", "truth/images", "--json", "-o", "out"];
        let run = bench.sandbox.endort(args).env("REALTIME_RUNTIME_PATH", &bench.libraries).finish().code(0);
        let report = json(&run.stdout);
        assert_eq!((&report["target"], &report["precision"]), (&target.into(), &precision.into()));
        assert_eq!(report["runtime"], runtime);
        let said = format!("endort: auto: --target {target} --precision {precision}, because {runtime} was");
        assert!(run.stderr.contains(&said), "{}", run.stderr);
    }
}

//! `endort optimize`: what it writes, what it says, and what it refuses.

use endort::format::onnx::proto::{KeyValue, Model};
use image::{Rgb, RgbImage};
use prost::Message;
use serde_json::{Value, json};

use crate::media_clips::clip;
use crate::media_live::serve;
use crate::program::Sandbox;
use crate::small_model;
use crate::vendor::{site_packages, skipped};

/// Pictures of a red square on grey, each elsewhere, with masks, as the small model sees polyps.
pub fn pictures(sandbox: &Sandbox, count: u32) {
    for i in 0..count {
        let inside = |x: u32, y: u32| (10 + i..40 + i).contains(&x) && (12..44).contains(&y);
        let red =
            |x: u32, y: u32| if inside(x, y) { [220, 30, 40] } else { [100 + (x + y) as u8 % 20, 100, 100] };
        let path = sandbox.write(&format!("truth/images/{i}.png"), "");
        RgbImage::from_fn(64, 64, |x, y| Rgb(red(x, y))).save(path).unwrap();
        let path = sandbox.write(&format!("truth/masks/{i}.png"), "");
        image::GrayImage::from_fn(64, 64, |x, y| image::Luma([if inside(x, y) { 255 } else { 0 }]))
            .save(path)
            .unwrap();
    }
}

pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn number(value: &Value, pointer: &str) -> f64 {
    value.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} in {value:#}"))
}

#[test]
fn the_built_in_model_becomes_a_package_that_sees_the_same() {
    let sandbox = Sandbox::new();
    let args = ["optimize", "--target", "cpu", "-o", "out", "--json", "--calibration", "truth/images"];
    pictures(&sandbox, 3);
    let run = sandbox.endort(args).finish().code(0).stderr("");
    let report = json(&run.stdout);
    assert_eq!((&report["target"], &report["precision"]), (&"cpu".into(), &"fp32".into()));
    assert!(number(&report, "/after/operators") < number(&report, "/before/operators"), "{report:#}");
    assert!(number(&report, "/agreement/relative_error") < 1e-5, "{report:#}");
    assert!(number(&report, "/agreement/mask_dice") > 0.999, "{report:#}");
    assert!(number(&report, "/after/latency_ms") > 0.0);
    assert_eq!(sandbox.names("out"), ["model.json", "model.onnx"]);
    let manifest = json(&sandbox.read("out/model.json"));
    let made = &manifest["optimization"];
    assert_eq!((&made["target"], &made["source"]["model"]), (&"cpu".into(), &"polyp-lite".into()));
    assert_eq!(made["endort"], env!("CARGO_PKG_VERSION"));
    assert_eq!(made["source"]["sha256"], report["source_sha256"]);
    assert_eq!(manifest["files"]["model.onnx"]["sha256"], report["artifact_sha256"]);

    let run = sandbox.endort(["process-frame", "truth/images/0.png", "--model", "out", "--json"]);
    let record = json(&run.finish().code(0).stderr("").stdout);
    assert_eq!(record["model"], "polyp-lite");
    let run = sandbox.endort(["optimize", "out", "--target", "cpu"]).finish().code(1).stdout("");
    assert!(run.stderr.contains("start from the original"), "{}", run.stderr);
}

#[test]
fn what_suits_this_box_is_what_detect_device_recommends() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 2);
    let info = json(&sandbox.endort(["detect-device", "--json"]).finish().code(0).stdout);
    let advice = &info["recommendation"];
    let args = ["optimize", "red.onnx", "--target", "auto", "--calibration", "truth/images", "--json"];
    let run = sandbox.endort(args.into_iter().chain(["-o", "out"])).finish().code(0);
    let report = json(&run.stdout);
    assert_eq!((&report["target"], &report["precision"]), (&advice["target"], &advice["precision"]));
    let said = format!("endort: auto: --target {} --precision ", advice["target"].as_str().unwrap());
    assert!(run.stderr.starts_with(&said), "{}", run.stderr);
    assert_eq!(json(&sandbox.read("out/model.json"))["optimization"]["target"], advice["target"]);
    sandbox.endort(args.into_iter().chain(["-o", "out", "-q"])).finish().code(0).stderr("");
}

#[test]
fn vendors_runtimes_measure_what_is_made_for_them() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let stills = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/ground-truth/images");
    for (target, precision, runtime, limit) in [
        ("cpu", "fp32", "onnxruntime", 1e-4),
        ("jetson", "fp16", "onnxruntime-cpu", 1e-2),
        ("intel", "fp16", "openvino", 1e-2),
        ("apple", "fp16", "onnxruntime-cpu", 1e-2),
        ("raspberry-pi", "fp32", "tflite", 1e-4),
        ("raspberry-pi", "fp16", "tflite", 1e-2),
    ] {
        let args = ["optimize", "--target", target, "--precision", precision, "--runtime", runtime, "--json"];
        let more = ["--calibration", stills, "-o", "out", "--runtime-path", libraries.to_str().unwrap()];
        let run = sandbox.endort(args.into_iter().chain(more)).finish().code(0);
        let report = json(&run.stdout);
        let family = runtime.trim_end_matches("-cpu");
        assert_eq!(report["runtime"], format!("{family}-cpu"), "{report:#}");
        let error = number(&report, "/agreement/relative_error");
        assert!(error <= limit, "{target} in {precision} by {runtime} is {error} from the original");
        assert!(number(&report, "/after/latency_ms") > 0.0);
    }
}

#[test]
fn half_precision_halves_the_artifact() {
    let sandbox = Sandbox::new();
    pictures(&sandbox, 2);
    let size = |precision: &str| {
        let args =
            ["optimize", "--target", "cpu", "--json", "--calibration", "truth/images", "-o", precision];
        let run = sandbox.endort(args.into_iter().chain(["--precision", precision])).finish().code(0);
        let report = json(&run.stdout);
        assert!(number(&report, "/agreement/relative_error") < 1e-2, "{report:#}");
        number(&report, "/after/artifact_bytes")
    };
    let ratio = size("fp16") / size("fp32");
    assert!((0.45..0.60).contains(&ratio), "{ratio}");
}

#[test]
fn eight_bits_are_calibrated_recorded_and_told() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 8);
    let args = [
        "optimize",
        "red.onnx",
        "--target",
        "cpu",
        "--precision",
        "int8",
        "--calibration",
        "truth/images",
        "--ground-truth",
        "truth",
        "--sensitivity",
        "-o",
        "out",
    ];
    let run = sandbox.endort(args).finish().code(0);
    assert_eq!(
        run.stderr,
        "endort: warning: calibrated on 8 frames; at least 300 show what the network will meet\n"
    );
    for words in [
        "red for cpu in int8",
        "on the 8-bit grid: 1 of 1 operators (100.0 %)",
        "dice drop",
        "written to out",
    ] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    let made = json(&sandbox.read("out/model.json"))["optimization"].clone();
    assert_eq!((&made["calibration"]["frames"], &made["settings"]["method"]), (&8.into(), &"mse".into()));
    assert_eq!(made["calibration"]["sha256"].as_str().unwrap().len(), 64);
    assert!(number(&made, "/results/dice_drop") <= 0.01, "{made:#}");

    let bench =
        ["bench", "truth/images/0.png", "--model", "out", "--warmup", "0", "--pace", "max", "--json", "-"];
    let report = json(&sandbox.endort(bench).finish().code(0).stdout);
    assert_eq!(report["runs"][0]["precision"], "int8 computed in fp32");
    let other = ["process-frame", "truth/images/0.png", "--model", "out", "--precision", "fp32"];
    let run = sandbox.endort(other).finish().code(1).stdout("");
    assert!(run.stderr.starts_with("endort: model out: holds int8, not fp32"), "{}", run.stderr);

    // The same settings give the same artifact.
    let digest =
        |place: &str| json(&sandbox.read(&format!("{place}/model.json")))["files"]["model.onnx"].clone();
    let again: Vec<&str> = args[..12].iter().copied().chain(["again"]).collect();
    sandbox.endort(again).finish().code(0);
    assert_eq!(digest("out"), digest("again"));
}

#[test]
fn a_model_that_has_lost_its_sight_is_refused() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 4);
    // A network of two by two pixels cannot follow the outline.
    let args = ["optimize", "red.onnx", "--target", "cpu", "--input-size", "2x2", "-o", "out"];
    let truth = ["--ground-truth", "truth", "--calibration", "truth/images"];
    let run = sandbox.endort(args.into_iter().chain(truth)).finish().code(3).stderr("");
    assert!(
        run.stdout.contains(", limit 0.01: MISSED") && run.stdout.contains("nothing written"),
        "{}",
        run.stdout
    );
    assert!(!sandbox.file("out").exists());
    let run = sandbox.endort(args.into_iter().chain(truth).chain(["--max-dice-drop", "1", "--json"]));
    let report = json(&run.finish().code(0).stdout);
    assert!(number(&report, "/before/macs") > 100.0 * number(&report, "/after/macs"), "{report:#}");
    assert_eq!(json(&sandbox.read("out/model.json"))["input"]["width"], 2);
}

#[test]
fn eight_bits_that_cost_too_much_are_refused_with_the_layers_that_hurt() {
    let sandbox = Sandbox::new();
    small_model::write_in_two_steps(&sandbox);
    pictures(&sandbox, 4);
    // Who has seen nothing but a hint of red has no numbers for more of it.
    let dark = sandbox.write("dark/0.png", "");
    RgbImage::from_pixel(64, 64, Rgb([5, 0, 0])).save(dark).unwrap();
    let args = ["optimize", "red.onnx", "--target", "cpu", "--precision", "int8", "-o", "out", "-q"];
    let more = ["--calibration", "dark", "--ground-truth", "truth"];
    let run = sandbox.endort(args.into_iter().chain(more)).finish().code(3);
    for words in [": MISSED", "nothing written: keep the layers that hurt most with --keep-float", "red"] {
        assert!(run.stdout.contains(words), "{words}: {}", run.stdout);
    }
    assert!(!sandbox.file("out").exists());
    let run = sandbox.endort(args.into_iter().chain(more).chain(["--json"])).finish().code(3);
    let layers = json(&run.stdout)["layers"].clone();
    assert_eq!((layers.as_array().unwrap().len(), &layers[0]["layer"]), (2, &"red".into()), "{layers:#}");
    assert!(
        number(&layers, "/0/relative_error") > 0.1,
        "measured on the ground truth, not in the dark: {layers:#}"
    );
    // The layers that hurt, kept in floats.
    let kept =
        args.into_iter().chain(more).chain(["--keep-float", "red", "--keep-float", "enough", "--json"]);
    let report = json(&sandbox.endort(kept).finish().code(0).stdout);
    assert_eq!(report["low_precision"]["operators"], 0, "{report:#}");
    let made = json(&sandbox.read("out/model.json"));
    assert_eq!(made["optimization"]["settings"]["keep_float"], serde_json::json!(["enough", "red"]));
}

#[test]
fn ranges_are_chosen_and_biases_corrected_as_asked() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 4);
    let settings = |place: &str, more: &[&str]| {
        let args = ["optimize", "red.onnx", "--target", "cpu", "--precision", "int8", "-q", "-o", place];
        let run = args.into_iter().chain(["--calibration", "truth/images"]).chain(more.iter().copied());
        sandbox.endort(run).finish().code(0);
        json(&sandbox.read(&format!("{place}/model.json")))["optimization"]["settings"].clone()
    };
    let least = settings("least", &[]);
    assert_eq!((&least["method"], &least["bias_correction"]), (&"mse".into(), &true.into()));
    assert_eq!(least["percentile"], Value::Null);
    let most = settings("most", &["--calibration-method", "min-max", "--no-bias-correction"]);
    assert_eq!((&most["method"], &most["bias_correction"]), (&"min-max".into(), &false.into()));
    let some = settings("some", &["--calibration-method", "percentile", "--percentile", "90"]);
    assert_eq!((&some["method"], &some["percentile"]), (&"percentile".into(), &90.0.into()));
    let network = |place: &str| std::fs::read(sandbox.file(&format!("{place}/model.onnx"))).unwrap();
    assert!(network("least") != network("some") && network("most") != network("some"));
}

#[test]
fn a_package_never_takes_the_place_of_something_else() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 1);
    sandbox.write("out/notes.txt", "mine");
    let args = ["optimize", "red.onnx", "--target", "cpu", "--calibration", "truth/images", "-o", "out"];
    let run = sandbox.endort(args).finish().code(1).stdout("");
    assert!(
        run.stderr.starts_with("endort: out: is there already and is no optimized package"),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("out/notes.txt"), "mine");
    std::fs::remove_file(sandbox.file("out/notes.txt")).unwrap();
    sandbox.endort(args).finish().code(0);
    // What an earlier run wrote is replaced, and nothing else.
    sandbox.endort(args).finish().code(0);
    sandbox.write("out/notes.txt", "mine");
    let run = sandbox.endort(args).finish().code(1).stdout("");
    assert!(
        run.stderr.starts_with("endort: out: also holds notes.txt, which would be lost"),
        "{}",
        run.stderr
    );
    assert_eq!(sandbox.read("out/notes.txt"), "mine");
    for place in [".", "truth/.."] {
        let args = ["optimize", "red.onnx", "--target", "cpu", "--calibration", "truth/images", "-o", place];
        let run = sandbox.endort(args).finish().code(1).stdout("");
        assert!(run.stderr.contains("is no name for a folder"), "{}", run.stderr);
    }
    let mut left = sandbox.names(".");
    left.retain(|name| name.starts_with(".endort"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_source_that_changed_is_told_when_the_package_is_loaded() {
    let sandbox = Sandbox::new();
    let source = small_model::write(&sandbox);
    pictures(&sandbox, 1);
    let args = ["optimize", "red.onnx", "--target", "cpu", "--calibration", "truth/images", "-o", "out"];
    sandbox.endort(args).finish().code(0);
    let frame = ["process-frame", "truth/images/0.png", "--model", "out", "--json"];
    sandbox.endort(frame).finish().code(0).stderr("");
    let mut bytes = std::fs::read(&source).unwrap();
    // A field that readers skip: another file, the same network.
    bytes.extend([0x30, 0x01]);
    std::fs::write(&source, bytes).unwrap();
    let elsewhere = sandbox.file("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let original = std::path::absolute(&source).unwrap().display().to_string();
    let said = format!(
        "endort: red was made from a {original} that has changed since; make it again with endort optimize {original} \
         --target cpu --precision fp32\n"
    );
    sandbox.endort(frame).finish().code(0).stderr(&said);
    // Whatever bears the original's name in another folder is not meant.
    std::fs::write(elsewhere.join("red.onnx"), b"another").unwrap();
    let frame = ["process-frame", "../truth/images/0.png", "--model", "../out", "--json"];
    sandbox.endort(frame).current_dir(&elsewhere).finish().code(0).stderr(&said);
}

#[test]
fn weights_beside_the_file_belong_to_the_model() {
    let sandbox = Sandbox::new();
    let source = small_model::write(&sandbox);
    pictures(&sandbox, 1);
    let mut model = Model::decode(&std::fs::read(&source).unwrap()[..]).unwrap();
    let weight = &mut model.graph.as_mut().unwrap().initializer[0];
    let floats = std::mem::take(&mut weight.float_data);
    weight.data_location = 1;
    weight.external_data = vec![KeyValue { key: "location".into(), value: "red.onnx.data".into() }];
    std::fs::write(&source, model.encode_to_vec()).unwrap();
    let write = |floats: &[f32]| {
        let bytes: Vec<u8> = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        sandbox.write("red.onnx.data", bytes);
    };
    write(&floats);
    let digest = || endort::model::Package::open(source.to_str().unwrap()).unwrap().sha256;
    let before = digest();
    let args = ["optimize", "red.onnx", "--target", "cpu", "--calibration", "truth/images", "-o", "out"];
    sandbox.endort(args).finish().code(0);
    let frame = ["process-frame", "truth/images/0.png", "--model", "out", "--json"];
    sandbox.endort(frame).finish().code(0).stderr("");
    write(&floats.iter().map(|value| value + 1.0).collect::<Vec<_>>());
    assert_ne!(digest(), before);
    let run = sandbox.endort(frame).finish().code(0);
    assert!(run.stderr.contains("that has changed since"), "{}", run.stderr);
    write(&floats);
    assert_eq!(digest(), before);
}

#[test]
fn every_source_of_calibration_is_read_and_no_password_is_kept() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 8);
    sandbox.write("bad.mp4", "no video");
    let optimize = |more: &[&str]| {
        let args = ["optimize", "red.onnx", "--target", "cpu", "--precision", "int8", "-o", "out"];
        sandbox.endort([&args[..], &["--calibration", "truth/images"], more].concat()).finish()
    };
    let run = optimize(&["--calibration", "bad.mp4", "--calibration-frames", "4"]).code(1);
    assert!(run.stderr.starts_with("endort: bad.mp4: "), "{}", run.stderr);
    let recording = std::fs::read(clip("h264.mp4")).unwrap();
    let address = serve(recording).replace("http://", "http://nurse:s3cret@");
    optimize(&["--calibration", &address, "--calibration-frames", "20"]).code(0);
    let manifest = sandbox.read("out/model.json");
    assert!(!manifest.contains("s3cret"), "{manifest}");
    // A source with fewer pictures than its share leaves the rest to others, whichever comes first.
    assert_eq!(json(&manifest)["optimization"]["calibration"]["frames"], 20);
    let args = ["optimize", "red.onnx", "--target", "cpu", "--precision", "int8", "-o", "out"];
    let sources = ["--calibration", &clip("h264.mp4").display().to_string(), "--calibration", "truth/images"];
    sandbox.endort([&args[..], &sources, &["--calibration-frames", "20"]].concat()).finish().code(0);
    assert_eq!(json(&sandbox.read("out/model.json"))["optimization"]["calibration"]["frames"], 20);
}

/// A manifest of this name for the small model.
fn manifest(name: &str) -> String {
    let manifest = json!({
        "schema": 1, "name": name, "version": "1.0.0", "task": "segmentation", "artifact": "red.onnx",
        "input": {"name": "image", "width": 64, "height": 64, "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0]},
        "outputs": [{"name": "mask", "kind": "mask", "activation": "logits"}], "labels": ["red"],
    });
    manifest.to_string()
}

#[test]
fn a_package_s_name_is_no_place() {
    let sandbox = Sandbox::new();
    let source = small_model::write(&sandbox);
    pictures(&sandbox, 1);
    sandbox.write("inner/one/model.json", manifest("../escaped/x"));
    std::fs::rename(source, sandbox.file("inner/one/red.onnx")).unwrap();
    let args = ["optimize", "one", "--target", "cpu", "--calibration", "../truth/images"];
    sandbox.endort(args).current_dir(&sandbox.file("inner")).finish().code(0);
    assert_eq!(sandbox.names("."), ["inner", "truth"]);
    assert_eq!(sandbox.names("inner"), ["escaped-x-cpu-fp32", "one"]);
}

#[test]
fn a_package_made_from_a_package_is_stale_when_that_one_changes() {
    let sandbox = Sandbox::new();
    let source = small_model::write(&sandbox);
    pictures(&sandbox, 1);
    let make = |model: &str, out: &str| {
        let args = ["optimize", model, "--target", "cpu", "--calibration", "truth/images", "-o", out];
        sandbox.endort(args).finish().code(0);
    };
    sandbox.write("one/model.json", manifest("red"));
    let artifact = sandbox.file("one/red.onnx");
    std::fs::rename(source, &artifact).unwrap();
    // A package is named by its folder or by its manifest.
    make("one", "by-folder");
    make("one/model.json", "by-manifest");
    let frame = |package| ["process-frame", "truth/images/0.png", "--model", package, "--json"];
    for package in ["by-folder", "by-manifest"] {
        sandbox.endort(frame(package)).finish().code(0).stderr("");
    }
    let mut bytes = std::fs::read(&artifact).unwrap();
    bytes.extend([0x30, 0x01]);
    std::fs::write(&artifact, bytes).unwrap();
    for package in ["by-folder", "by-manifest"] {
        let run = sandbox.endort(frame(package)).finish().code(0);
        assert!(run.stderr.contains("that has changed since"), "{package}: {}", run.stderr);
    }
}

#[test]
fn another_input_size_is_measured_on_runtimes_that_read_the_file_themselves() {
    let Some(libraries) = site_packages() else { return skipped().unwrap_or(()) };
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 1);
    for runtime in ["candle-cpu", "onnxruntime", "openvino", "tflite"] {
        let args = ["optimize", "red.onnx", "--target", "cpu", "--input-size", "96x32", "--runtime", runtime];
        let rest = ["--calibration", "truth/images", "--json", "-o", "out", "--runtime-path"];
        let run =
            sandbox.endort([&args[..], &rest, &[libraries.to_str().unwrap()]].concat()).finish().code(0);
        let report: Value = serde_json::from_str(&run.stdout).unwrap();
        assert!(report["agreement"]["relative_error"].as_f64().unwrap() < 1e-4, "{runtime}: {report:#}");
    }
}

#[test]
fn impossible_wishes_are_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 1);
    let base = ["optimize", "red.onnx", "--calibration", "truth/images"];
    for (more, code, words) in [
        (&["--target", "coral", "--precision", "fp16"][..], 2, "the Edge TPU computes in int8 alone"),
        (&["--target", "cpu", "--keep-float", "x"], 2, "is for --precision int8"),
        (&["--target", "cpu", "--precision", "int8", "--keep-float", "x"], 1, "has no layer \"x\""),
        (&["--target", "cpu", "--input-size", "0x64"], 2, "must be WIDTHxHEIGHT"),
        (&["--target", "fridge"], 2, "invalid value 'fridge'"),
        (&["--target", "cpu", "--ground-truth", "missing"], 1, "missing"),
    ] {
        let run = sandbox.endort(base.iter().chain(more)).finish().code(code).stdout("");
        assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
    }
    let run = sandbox
        .endort(["optimize", "red.onnx", "--target", "cpu", "--calibration", "nothing"])
        .finish()
        .code(1);
    assert!(run.stderr.contains("nothing"), "{}", run.stderr);
}

/// A `trtexec` that does what the script says, with `$onnx` and `$engine` set.
#[cfg(unix)]
fn trtexec(sandbox: &Sandbox, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let text = format!(
        "#!/bin/sh\necho run >> {}\nfor a in \"$@\"; do case $a in --onnx=*) onnx=${{a#*=}};; \
         --saveEngine=*) engine=${{a#*=}};; esac; done\n{script}\n",
        sandbox.file("runs").display()
    );
    let path = sandbox.write("bin/trtexec", text);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[cfg(unix)]
#[test]
fn the_engine_is_built_by_trtexec_and_kept() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 1);
    let path = format!("{}:{}", sandbox.file("bin").display(), std::env::var("PATH").unwrap());
    let optimize = |place: &str| {
        let args = ["optimize", "red.onnx", "--target", "jetson", "--calibration", "truth/images", "--json"];
        let run = sandbox.endort(args.into_iter().chain(["-o", place]));
        run.env("PATH", path.clone()).env("XDG_CACHE_HOME", sandbox.file("cache")).finish()
    };
    trtexec(&sandbox, "echo building; cat \"$onnx\" \"$onnx\" > \"$engine\"");
    let report = json(&optimize("one").code(0).stderr("").stdout);
    assert_eq!((&report["precision"], &report["engine"]["cached"]), (&"fp16".into(), &false.into()));
    assert_eq!(sandbox.names("one"), ["model.engine", "model.json", "model.onnx"]);
    let bytes = std::fs::read(sandbox.file("one/model.engine")).unwrap();
    assert_eq!(bytes.len(), 2 * std::fs::read(sandbox.file("one/model.onnx")).unwrap().len());
    let report = json(&optimize("two").code(0).stdout);
    assert_eq!(report["engine"]["cached"], true);
    assert_eq!(sandbox.read("runs"), "run\n", "the second run takes the engine that is there");

    // An engine for this box is no news; one for another is told, and the network runs all the same.
    let frame = ["process-frame", "truth/images/0.png", "--model", "one", "--json"];
    let record = sandbox.endort(frame).finish().code(0).stderr("").stdout;
    for key in ["device", "driver"] {
        let mut manifest = json(&sandbox.read("one/model.json"));
        manifest["optimization"]["engine"][key] = "another 1.2\u{1b}[2J".into();
        sandbox.write("one/model.json", manifest.to_string());
        let run = sandbox.endort(frame).finish().code(0);
        assert_eq!(json(&run.stdout)["detections"], json(&record)["detections"]);
        // What a package says does not steer the terminal.
        assert!(run.stderr.lines().count() == 1 && !run.stderr.contains('\u{1b}'), "{}", run.stderr);
        for words in
            ["model.engine of red was built for", "another 1.2", "model.onnx runs", "--target jetson"]
        {
            assert!(run.stderr.contains(words), "{words}: {}", run.stderr);
        }
    }

    // Another TensorRT under the same driver: what the old one built does not fit it. It is an old one at that.
    let old = "case \"$*\" in *--buildOnly*) cat \"$onnx\" > \"$engine\";; \
               *) echo '[E] Unknown option: --skipInference'; seq 50; exit 1;; esac";
    trtexec(&sandbox, old);
    let report = json(&optimize("old").code(0).stdout);
    assert_eq!(report["engine"]["cached"], false);
    let bytes = std::fs::read(sandbox.file("old/model.engine")).unwrap();
    assert_eq!(bytes, std::fs::read(sandbox.file("old/model.onnx")).unwrap());

    std::fs::remove_dir_all(sandbox.file("cache")).unwrap();
    trtexec(&sandbox, "echo something; echo 'Error Code 4: no Myelin' >&2; exit 3");
    let run = optimize("three").code(1).stdout("");
    assert!(
        run.stderr.contains("failed (exit status: 3)") && run.stderr.contains("no Myelin"),
        "{}",
        run.stderr
    );
    assert!(!sandbox.file("three").exists());
    trtexec(&sandbox, "exit 0");
    let run = optimize("four").code(1).stdout("");
    assert!(run.stderr.contains("ended without writing an engine"), "{}", run.stderr);
}

#[test]
fn a_limit_on_dice_is_not_passed_where_no_mask_shows_anything() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 2);
    for entry in std::fs::read_dir(sandbox.file("truth/masks")).unwrap() {
        // Labels by number: the polyp is 1, the rest 0.
        let path = entry.unwrap().path();
        image::GrayImage::from_fn(64, 64, |x, _| image::Luma([u8::from(x > 20)])).save(path).unwrap();
    }
    let args = ["optimize", "red.onnx", "--target", "cpu", "--precision", "fp16", "-o", "out"];
    let truth = ["--ground-truth", "truth", "--calibration", "truth/images"];
    let run = sandbox.endort(args.into_iter().chain(truth)).finish().code(1).stdout("");
    assert!(run.stderr.starts_with("endort: truth/masks: hold values up to 1, and"), "{}", run.stderr);
    assert!(!sandbox.file("out").exists());
}

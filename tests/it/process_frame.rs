//! `endort process-frame`: records, overlays and masks of pictures.

use image::{GenericImageView, GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;

use crate::optimize::pictures;
use crate::program::Sandbox;
use crate::small_model;

/// A picture of no interest.
fn picture(sandbox: &Sandbox, name: &str) {
    let pixels = RgbImage::from_fn(96, 64, |x, y| Rgb([150, (x * 2) as u8, (y * 2) as u8]));
    pixels.save(sandbox.write(name, "")).unwrap();
}

#[test]
fn json_is_one_record_per_picture_and_nothing_else() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "in/a.png");
    picture(&sandbox, "in/b.jpg");
    let run = sandbox
        .endort(["process-frame", "in", "--json", "--runtime", "scripted:"])
        .finish()
        .code(0)
        .stderr("");
    let records: Vec<Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sources: Vec<_> = records.iter().map(|record| record["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["a.png", "b.jpg"]);
    for record in &records {
        assert_eq!((&record["width"], &record["height"]), (&96.into(), &64.into()));
        assert_eq!((&record["model"], &record["frame_id"]), (&"polyp-lite".into(), &0.into()));
        assert_eq!(record["detections"], Value::Array(vec![]));
        let stages = record["stages_ms"].as_object().unwrap();
        let names = ["decode", "queue_wait", "preprocess", "inference", "postprocess", "overlay"];
        assert!(names.iter().all(|name| stages[*name].is_number()), "{record}");
        let sum: f64 = stages.values().map(|value| value.as_f64().unwrap()).sum();
        assert!((sum - record["processing_time_ms"].as_f64().unwrap()).abs() < 0.01, "{record}");
    }
}

#[test]
fn the_built_in_model_runs_and_writes_overlay_and_mask_at_the_source_size() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "one.png");
    let args = ["process-frame", "one.png", "--overlay", "drawn.png", "--mask", "masks/one-mask.png"];
    let run = sandbox.endort(args).finish().code(0).stderr("");
    assert!(run.stdout.contains("one.png") && run.stdout.contains("96x64"), "{}", run.stdout);
    assert_eq!(image::open(sandbox.file("drawn.png")).unwrap().dimensions(), (96, 64));
    let mask: GrayImage = image::open(sandbox.file("masks/one-mask.png")).unwrap().into_luma8();
    assert_eq!(mask.dimensions(), (96, 64));
    assert!(mask.pixels().all(|&Luma([value])| value == 0 || value == 255));
}

#[test]
fn outputs_in_a_folder_bear_the_inputs_stems_and_never_meet() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "in/x/same.png");
    picture(&sandbox, "in/y/same.png");
    let args = ["process-frame", "in", "--runtime", "scripted:", "--mask", "out"];
    sandbox.endort(args).finish().code(0).stderr("");
    assert!(sandbox.file("out/x/same.png").exists() && sandbox.file("out/y/same.png").exists());

    picture(&sandbox, "in/x/same.jpg");
    let run = sandbox.endort(args).finish().code(1).stdout("");
    assert!(run.stderr.contains("would be written for"), "{}", run.stderr);
    let run =
        sandbox.endort(["process-frame", "in/x/same.png", "--overlay", "in/x/same.png"]).finish().code(1);
    assert!(run.stderr.contains("is an input: choose another place"), "{}", run.stderr);
}

#[test]
fn pictures_of_several_folders_keep_their_paths_apart() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "monday/same.png");
    picture(&sandbox, "tuesday/same.png");
    let args = ["process-frame", "monday", "tuesday", "--runtime", "scripted:", "--mask", "out"];
    sandbox.endort(args).finish().code(0).stderr("");
    for made in ["out/monday/same.png", "out/tuesday/same.png"] {
        assert!(sandbox.file(made).exists(), "{made}");
    }
}

#[test]
fn a_broken_picture_is_reported_and_the_rest_goes_on() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "in/good.png");
    sandbox.write("in/broken.png", b"\x89PNG\r\n\x1a\n and then nothing");
    sandbox.write("in/empty.jpg", "");
    let run = sandbox.endort(["process-frame", "in", "--json", "--runtime", "scripted:"]).finish().code(1);
    assert_eq!(run.stdout.lines().count(), 1);
    assert_eq!(run.stderr.lines().count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("broken.png") && run.stderr.contains("empty.jpg"), "{}", run.stderr);
}

#[test]
fn without_a_model_there_are_records_but_no_mask() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "one.png");
    let run = sandbox.endort(["process-frame", "one.png", "--model", "none", "--json"]).finish().code(0);
    let record: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&record["model"], &record["runtime"]), (&"none".into(), &"none".into()));
    let run =
        sandbox.endort(["process-frame", "one.png", "--model", "none", "--mask", "m.png"]).finish().code(1);
    assert!(run.stderr.starts_with("endort: model none: has no mask to write"), "{}", run.stderr);
}

#[test]
fn a_network_that_goes_wrong_is_an_error_and_not_a_finding() {
    let sandbox = Sandbox::new();
    picture(&sandbox, "one.png");
    for script in ["scripted:nan@0", "scripted:error@0"] {
        let run =
            sandbox.endort(["process-frame", "one.png", "--runtime", script]).finish().code(1).stdout("");
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    }
}

#[test]
fn two_kinds_of_output_in_one_folder_are_refused_however_it_is_spelled() {
    let sandbox = Sandbox::new();
    small_model::write(&sandbox);
    pictures(&sandbox, 1);
    std::fs::create_dir(sandbox.file("out")).unwrap();
    std::os::unix::fs::symlink("out", sandbox.file("link")).unwrap();
    let absolute = format!("{}/", sandbox.file("out").display());
    for mask in ["out/", "./out/", "link/", "truth/../out/", absolute.as_str()] {
        let args = [
            "process-frame",
            "truth/images/0.png",
            "--model",
            "red.onnx",
            "--overlay",
            "out/",
            "--mask",
            mask,
        ];
        let run = sandbox.endort(args).finish().code(1);
        assert!(run.stderr.contains("would be written twice"), "{mask}: {}", run.stderr);
    }
    assert!(sandbox.names("out").is_empty());
}

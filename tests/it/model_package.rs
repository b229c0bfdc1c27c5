//! Opening model packages: what is accepted, and what is refused with which words.

use std::fs;
use std::path::Path;

use endort::Error;
use endort::format::tflite;
use endort::model::Package;
use endort::model::manifest::{Activation, OutputKind};
use endort::runtime::{Engine, Options, Placement, open};

use crate::program::Sandbox;
use crate::small_model;

/// A copy of the shipped package that a test may spoil.
fn package() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/polyp-lite");
    for file in ["model.json", "polyp-lite.onnx"] {
        fs::copy(shipped.join(file), folder.path().join(file)).unwrap();
    }
    folder
}

fn open_folder(folder: &Path) -> endort::Result<Package> {
    Package::open(folder.to_str().unwrap())
}

/// Opens the package after a change to its manifest.
fn with_manifest(change: impl FnOnce(&mut serde_json::Value)) -> String {
    let folder = package();
    let path = folder.path().join("model.json");
    let mut manifest: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
    open_folder(folder.path()).unwrap_err().to_string()
}

#[test]
fn a_flipped_byte_is_a_checksum_error() {
    let folder = package();
    let path = folder.path().join("polyp-lite.onnx");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let e = open_folder(folder.path()).unwrap_err();
    assert!(matches!(e, Error::Checksum { .. }), "{e}");
}

#[test]
fn a_truncated_artifact_is_an_error() {
    let folder = package();
    let path = folder.path().join("polyp-lite.onnx");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..1000]).unwrap();
    let e = open_folder(folder.path()).unwrap_err().to_string();
    assert!(e.contains("1000 bytes"), "{e}");
}

#[test]
fn manifests_that_make_no_sense_are_refused() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 9] = [
        (|m| m["thresholds"]["mask"] = 1.5.into(), "threshold mask"),
        (|m| m["input"]["width"] = 0.into(), "input width 0"),
        (|m| m["input"]["width"] = 320.into(), "input has shape"),
        (|m| m["input"]["name"] = "picture".into(), "picture"),
        (|m| m["input"]["std"] = serde_json::json!([1, 0, 1]), "std"),
        (|m| m["artifact"] = "../polyp-lite.onnx".into(), "outside the package"),
        (|m| m["outputs"][0]["name"] = "nothing".into(), "there is no output"),
        (|m| m["outputs"][0]["kind"] = "yolo".into(), "cannot be read as"),
        (|m| m["schema"] = 2.into(), "schema 2"),
    ];
    for (change, words) in cases {
        let e = with_manifest(change);
        assert!(e.contains(words), "{e:?} lacks {words:?}");
    }
}

#[test]
fn a_bare_file_needs_one_output_to_be_guessed() {
    let folder = package();
    let file = folder.path().join("polyp-lite.onnx");
    fs::remove_file(folder.path().join("model.json")).unwrap();
    let e = Package::open(file.to_str().unwrap()).unwrap_err().to_string();
    assert!(e.contains("2 outputs") && e.contains("model.json"), "{e}");
}

#[test]
fn a_mask_that_is_squashed_already_is_not_squashed_again() {
    let sandbox = Sandbox::new();
    let opened = |name: &str, channels, tail: &[&str]| {
        Package::open(small_model::write_with_tail(&sandbox, name, channels, tail).to_str().unwrap())
    };
    for (tail, activation) in [
        (&[][..], Activation::Logits),
        (&["Relu"], Activation::Logits),
        (&["Sigmoid"], Activation::Probabilities),
        (&["Sigmoid", "Identity"], Activation::Probabilities),
        (&["Sigmoid", "Transpose", "Transpose"], Activation::Probabilities),
        (&["Sigmoid", "Relu"], Activation::Logits),
    ] {
        let package = opened("tail.onnx", 1, tail).unwrap();
        assert_eq!(package.manifest.outputs[0].activation, activation, "{tail:?}");
        if tail.contains(&"Transpose") {
            continue;
        }
        // The same network as a bare TFLite file.
        let bytes = tflite::write(&package.graph, tflite::Options::default()).unwrap();
        let file = sandbox.write("tail.tflite", bytes);
        let package = Package::open(file.to_str().unwrap()).unwrap();
        assert_eq!(package.manifest.outputs[0].activation, activation, "{tail:?} in TFLite");
    }
    // Some class is at every pixel, and it may be the background.
    let e = opened("classes.onnx", 2, &["Softmax"]).unwrap_err().to_string();
    assert!(e.contains("softmax over 2 classes"), "{e}");
}

#[test]
fn boxes_are_guessed_where_their_fields_can_mean_one_thing_only() {
    let sandbox = Sandbox::new();
    let opened = |name: &str, a_box_per_row| {
        Package::open(small_model::write_boxes(&sandbox, name, a_box_per_row).to_str().unwrap())
    };
    let manifest = opened("fields.onnx", false).unwrap().manifest;
    assert_eq!(manifest.outputs[0].kind, OutputKind::Yolo);
    assert_eq!(manifest.labels.len(), 3);
    // The fifth field of a row may be an objectness.
    let e = opened("rows.onnx", true).unwrap_err().to_string();
    assert!(e.contains("a box per row") && e.contains("yolo_objectness") && e.contains("model.json"), "{e}");
}

#[test]
fn a_package_s_file_is_opened_with_its_manifest() {
    let folder = package();
    let file = folder.path().join("polyp-lite.onnx");
    let opened = Package::open(file.to_str().unwrap()).unwrap();
    assert_eq!(
        opened.manifest.thresholds.mask,
        Package::open("polyp-lite").unwrap().manifest.thresholds.mask
    );
    assert_eq!(opened.manifest.outputs.len(), 2);
    // Another file is none of its business.
    let other = folder.path().join("other.onnx");
    fs::rename(&file, &other).unwrap();
    assert!(Package::open(other.to_str().unwrap()).unwrap_err().to_string().contains("2 outputs"));
}

#[test]
fn absent_runtimes_say_what_is_missing() {
    let package = Package::open("polyp-lite").unwrap();
    let open = |runtime: &str| {
        let options =
            Options { runtime: runtime.into(), device: Placement::Cpu, threads: 1, ..Options::default() };
        open(&package, &options)
    };
    let words = |runtime: &str| open(runtime).err().unwrap().to_string();
    assert!(words("tensorrt").contains("is unknown"));
    assert!(words("scripted:stall=10").contains("stall=10s@300"));
    if !cfg!(feature = "cuda") {
        assert!(words("candle-cuda").contains("--features cuda"));
    }
    assert_eq!(open("candle-cpu").unwrap().runtime(), "candle-cpu");
}

#[test]
fn the_scripted_runtime_follows_its_script() {
    use endort::runtime::scripted::Scripted;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;
    let package = Package::open("polyp-lite").unwrap();
    let slept = Arc::new(Mutex::new(vec![]));
    let log = slept.clone();
    let mut engine = Scripted::parse(&package, "delay=20ms,stall=10s@1,error@2,nan@3")
        .unwrap()
        .with_sleep(Box::new(move |d| log.lock().unwrap().push(d)));
    assert!(engine.run().unwrap().iter().all(|o| o.data.iter().all(|v| v.is_finite())));
    engine.run().unwrap();
    assert!(matches!(engine.run().unwrap_err(), Error::Runtime { .. }));
    assert!(engine.run().unwrap()[0].data[0].is_nan());
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(10));
    assert_eq!(*slept.lock().unwrap(), [short, short, long, short, short]);
}

//! Two hundred damaged and hostile packages: a clear error each, soon, in bounded memory, and never a panic.

use std::path::Path;
use std::time::{Duration, Instant};

use endort::format::onnx::proto::{Attribute, Dimension, KeyValue, Model, Node, Shape, Tensor};
use endort::model::Package;
use prost::Message;
use serde_json::json;

use crate::program::Sandbox;
use crate::random::Random;
use crate::small_model;

/// Longest time that one file may take to be refused.
const PATIENCE: Duration = Duration::from_secs(10);

/// One hostile file: what it is, and its content.
type Case = (String, Vec<u8>);

fn changed(model: &Model, what: &str, change: impl FnOnce(&mut endort::format::onnx::proto::Graph)) -> Case {
    let mut model = model.clone();
    change(model.graph.as_mut().unwrap());
    (what.to_owned(), model.encode_to_vec())
}

fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        op_type: op.into(),
        name: format!("hostile {op}"),
        input: inputs.iter().map(|&s| s.to_owned()).collect(),
        output: vec![output.into()],
        ..Node::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    Attribute { name: name.into(), ints: ints.to_vec(), ..Attribute::default() }
}

fn tensor(name: &str, data_type: i32, dims: &[i64]) -> Tensor {
    Tensor { name: name.into(), data_type, dims: dims.to_vec(), ..Tensor::default() }
}

/// Gives the graph the extent `n` of a constant of 64 MiB, and the attribute that fills it with ones.
fn fill(g: &mut endort::format::onnx::proto::Graph) -> Attribute {
    g.initializer.push(Tensor { int64_data: vec![1 << 24], ..tensor("n", 7, &[1]) });
    let one = Tensor { float_data: vec![1.0], ..tensor("one", 1, &[1]) };
    Attribute { name: "value".into(), t: Some(one), ..Attribute::default() }
}

/// Files that are sound as protocol buffers and absurd as networks.
fn absurd(model: &Model) -> Vec<Case> {
    let mut cases = vec![
        changed(model, "no nodes", |g| g.node.clear()),
        changed(model, "no weights", |g| g.initializer.clear()),
        changed(model, "no input", |g| g.input.clear()),
        changed(model, "no output", |g| g.output.clear()),
        changed(model, "a node that feeds itself", |g| g.node[0].input[0] = "mask".into()),
        changed(model, "a cycle of two", |g| {
            g.node =
                vec![node("Relu", &["b"], "a"), node("Relu", &["a"], "b"), node("Add", &["a", "b"], "mask")];
        }),
        changed(model, "a cycle of a thousand", |g| {
            let link = |i: usize| node("Relu", &[&format!("c{i}")], &format!("c{}", (i + 1) % 1000));
            g.node = (0..1000).map(link).chain([node("Relu", &["c5"], "mask")]).collect();
        }),
        changed(model, "the same value twice", |g| g.node.push(node("Relu", &["image"], "mask"))),
        changed(model, "two hundred thousand nodes", |g| {
            g.node = (0..200_000).map(|i| node("Relu", &["image"], &format!("r{i}"))).collect();
        }),
        changed(model, "ever larger values", |g| {
            let mut from = "image".to_owned();
            g.node.clear();
            for i in 0..64 {
                let to = format!("t{i}");
                g.node.push(Node { attribute: vec![], ..node("Concat", &[&from, &from], &to) });
                from = to;
            }
            g.node.push(node("Relu", &[&from], "mask"));
        }),
        changed(model, "three hundred constants", |g| {
            let fill = fill(g);
            let constant = |i: usize| Node {
                attribute: vec![fill.clone()],
                ..node("ConstantOfShape", &["n"], &format!("c{i}"))
            };
            g.node = (0..300).map(constant).chain([node("Relu", &["image"], "mask")]).collect();
        }),
        changed(model, "three hundred casts of a constant", |g| {
            let fill = fill(g);
            g.node = vec![Node { attribute: vec![fill], ..node("ConstantOfShape", &["n"], "c0") }];
            g.node.extend((0..300).map(|i| {
                let to = Attribute {
                    name: "to".into(),
                    i: if i % 2 == 0 { 7 } else { 1 },
                    ..Attribute::default()
                };
                Node { attribute: vec![to], ..node("Cast", &[&format!("c{i}")], &format!("c{}", i + 1)) }
            }));
            g.node.push(node("Relu", &["image"], "mask"));
        }),
        changed(model, "a million axes", |g| {
            for (name, value) in [("from", 0), ("to", 1 << 20), ("by", 1)] {
                g.initializer.push(Tensor { int64_data: vec![value], ..tensor(name, 7, &[]) });
            }
            g.node = vec![
                node("Range", &["from", "to", "by"], "axes"),
                node("Unsqueeze", &["image", "axes"], "mask"),
            ];
        }),
        changed(model, "a grid with a scale of zero", |g| {
            g.initializer.push(Tensor { float_data: vec![0.0], ..tensor("s", 1, &[]) });
            g.node = vec![node("QuantizeLinear", &["image", "s"], "mask")];
        }),
        changed(model, "a grid with more scales than channels", |g| {
            g.initializer.push(Tensor { float_data: vec![1.0; 5], ..tensor("s", 1, &[5]) });
            g.node = vec![node("QuantizeLinear", &["image", "s"], "mask")];
        }),
        changed(model, "a zero point outside of its type", |g| {
            g.initializer.push(Tensor { float_data: vec![1.0], ..tensor("s", 1, &[]) });
            g.initializer.push(Tensor { int32_data: vec![900], ..tensor("z", 3, &[]) });
            g.node = vec![node("QuantizeLinear", &["image", "s", "z"], "mask")];
        }),
        changed(model, "back from a grid it was never on", |g| {
            g.initializer.push(Tensor { float_data: vec![1.0], ..tensor("s", 1, &[]) });
            g.node = vec![node("DequantizeLinear", &["image", "s"], "mask")];
        }),
    ];
    for side in [0, -1, i64::MIN, i64::MAX, 1 << 40] {
        cases.push(changed(model, &format!("an input of {side}"), |g| {
            let shape =
                g.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
            shape.dim[2].dim_value = Some(side);
        }));
        cases.push(changed(model, &format!("weights of {side}"), |g| g.initializer[0].dims[1] = side));
        // A stride or dilation beyond the picture still leaves one window of one pixel.
        let absurd = |name: &str| if name == "pads" { side != 0 } else { side <= 0 };
        for name in ["strides", "pads", "dilations"].into_iter().filter(|name| absurd(name)) {
            let list = vec![side; if name == "pads" { 4 } else { 2 }];
            cases.push(changed(model, &format!("{name} of {side}"), |g| {
                g.node[0].attribute = vec![ints(name, &list)];
            }));
        }
        cases.push(changed(model, &format!("a constant of shape {side}"), |g| {
            g.initializer.push(Tensor { int64_data: vec![side, side], ..tensor("shape", 7, &[2]) });
            g.node = vec![node("ConstantOfShape", &["shape"], "mask")];
        }));
        cases.push(changed(model, &format!("a reshape to {side}"), |g| {
            g.initializer.push(Tensor { int64_data: vec![1, side, side], ..tensor("shape", 7, &[3]) });
            g.node = vec![node("Reshape", &["image", "shape"], "mask")];
        }));
        cases.push(changed(model, &format!("an expansion to {side}"), |g| {
            g.initializer.push(Tensor { int64_data: vec![side, 3, 64, 64], ..tensor("shape", 7, &[4]) });
            g.node = vec![node("Expand", &["image", "shape"], "mask")];
        }));
        cases.push(changed(model, &format!("a resize to {side}"), |g| {
            g.initializer.push(Tensor { int64_data: vec![1, 3, side, side], ..tensor("sizes", 7, &[4]) });
            g.node = vec![node("Resize", &["image", "", "", "sizes"], "mask")];
        }));
    }
    for axes in [9, 100, 10_000] {
        cases.push(changed(model, &format!("an input of {axes} axes"), |g| {
            let dim = vec![Dimension { dim_value: Some(1), dim_param: None }; axes];
            g.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape = Some(Shape { dim });
        }));
    }
    for (location, offset) in [
        ("../secret.bin", "0"),
        ("/etc/passwd", "0"),
        ("sub/../../secret.bin", "0"),
        ("link.bin", "0"),
        ("missing.bin", "0"),
        ("short.bin", "18446744073709551615"),
        ("short.bin", "-1"),
        (".", "0"),
        ("", "0"),
    ] {
        cases.push(changed(model, &format!("external data in {location:?} at {offset}"), |g| {
            let entry = |key: &str, value: &str| KeyValue { key: key.into(), value: value.into() };
            let t = &mut g.initializer[0];
            t.float_data.clear();
            t.data_location = 1;
            t.external_data = vec![entry("location", location), entry("offset", offset)];
        }));
    }
    cases
}

/// A sound file cut short, and with a few bits flipped, the same in each run.
fn damaged(bytes: &[u8], count: usize) -> Vec<Case> {
    let mut random = Random(7);
    let cut = |i: usize| (format!("cut to {} of {count}", i), bytes[..bytes.len() * i / count].to_vec());
    let mut cases: Vec<Case> = (0..count).map(cut).collect();
    for i in 0..count {
        let mut noisy = bytes.to_vec();
        (0..12).for_each(|_| {
            let at = random.below(noisy.len());
            noisy[at] ^= 1 << random.below(8);
        });
        cases.push((format!("noise {i}"), noisy));
    }
    cases
}

/// Opens a model; gives the error's words, or `None` where it is sound after all. Panics are what must not be.
fn open(path: &Path, what: &str) -> Option<String> {
    let begin = Instant::now();
    let opened = std::panic::catch_unwind(|| Package::open(path.to_str().unwrap()).map(|_| ()));
    assert!(begin.elapsed() < PATIENCE, "{what} took {:?}", begin.elapsed());
    let error = opened.unwrap_or_else(|_| panic!("{what} panicked")).err()?.to_string();
    assert!(!error.is_empty() && error.lines().count() == 1 && error.len() < 2000, "{what}: {error}");
    Some(error)
}

#[test]
fn hostile_networks_and_manifests_are_clear_errors() {
    let sandbox = Sandbox::new();
    let sound = std::fs::read(small_model::write(&sandbox)).unwrap();
    let model = Model::decode(sound.as_slice()).unwrap();
    sandbox.write("secret.bin", [0; 64]);
    sandbox.write("package/short.bin", [0; 4]);
    #[cfg(unix)]
    std::os::unix::fs::symlink(sandbox.file("secret.bin"), sandbox.file("package/link.bin")).unwrap();
    assert_eq!(open(&sandbox.write("package/sound.onnx", &sound), "the sound file"), None);

    let mut tried = 0;
    for (what, bytes) in absurd(&model) {
        let path = sandbox.write("package/case.onnx", bytes);
        assert!(open(&path, &what).is_some(), "{what} was accepted");
        tried += 1;
    }
    // Noise may spare what matters; then the file is sound, or still a network.
    let mut refused = 0;
    for (what, bytes) in damaged(&sound, 40) {
        let path = sandbox.write("package/case.onnx", bytes);
        refused += usize::from(open(&path, &what).is_some());
        tried += 1;
    }
    assert!(refused >= 60, "only {refused} damaged files were refused");

    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/polyp-lite");
    let manifest = std::fs::read(shipped.join("model.json")).unwrap();
    std::fs::copy(shipped.join("polyp-lite.onnx"), sandbox.file("package/polyp-lite.onnx")).unwrap();
    let mut refused = 0;
    for (what, bytes) in damaged(&manifest, 25) {
        sandbox.write("package/model.json", bytes);
        refused += usize::from(open(&sandbox.file("package"), &format!("manifest {what}")).is_some());
        tried += 1;
    }
    assert!(refused >= 40, "only {refused} damaged manifests were refused");
    let sound: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    for (pointer, value) in [
        ("/artifact", json!("../secret.bin")),
        ("/artifact", json!("/etc/passwd")),
        ("/artifact", json!("link.bin")),
        ("/artifact", json!("")),
        ("/input/width", json!(1e300)),
        ("/input/width", json!(99_999_999)),
        ("/input/width", json!(-1)),
        ("/input/mean", json!([1, 2])),
        ("/labels", json!([])),
        ("/labels", json!(vec!["x"; 100_000])),
        ("/schema", json!(u32::MAX)),
        ("/outputs", json!([])),
    ] {
        let mut manifest = sound.clone();
        *manifest.pointer_mut(pointer).unwrap() = value.clone();
        sandbox.write("package/model.json", manifest.to_string());
        let what = format!("{pointer} = {}", &value.to_string()[..value.to_string().len().min(40)]);
        assert!(open(&sandbox.file("package"), &what).is_some(), "{what} was accepted");
        tried += 1;
    }
    sandbox.write("package/model.json", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    assert!(open(&sandbox.file("package"), "a deep manifest").is_some());
    assert!(tried >= 200, "only {tried} files were tried");
}

#[cfg(target_os = "linux")]
#[test]
fn absurd_networks_do_not_fill_the_memory() {
    let sandbox = Sandbox::new();
    let sound = std::fs::read(small_model::write(&sandbox)).unwrap();
    let model = Model::decode(sound.as_slice()).unwrap();
    image::RgbImage::new(8, 8).save(sandbox.file("one.png")).unwrap();
    let large = [
        "larger",
        "weights of 1099511627776",
        "expansion to 1099",
        "resize to 1099",
        "shape 1099",
        "thousand",
        "three hundred",
    ];
    // Two bytes each: fields 1 (a node) and 5 (an initializer) of the graph, which is field 7; fields 1 (a name) of a node.
    let many = |what: &str, graph: Vec<u8>| {
        let mut file = vec![0x3a];
        prost::encode_length_delimiter(graph.len(), &mut file).unwrap();
        (what.to_owned(), [file, graph].concat())
    };
    let mut names = vec![0x0a];
    prost::encode_length_delimiter(40_000_000, &mut names).unwrap();
    names.extend([0x0a, 0].repeat(20_000_000));
    let tiny = [
        many("twenty million nodes", [0x0a, 0].repeat(20_000_000)),
        many("twenty million initializers", [0x2a, 0].repeat(20_000_000)),
        many("twenty million names", names),
    ];
    let cases = absurd(&model).into_iter().filter(|(what, _)| large.iter().any(|l| what.contains(l)));
    // Sound as a network, until it is laid out: a phase for each pixel between two of the input.
    let spread = changed(&model, "strides of eight thousand", |g| {
        g.node[0].op_type = "ConvTranspose".into();
        g.node[0].attribute = vec![ints("strides", &[8192, 8192]), ints("output_padding", &[8191, 8191])];
        g.initializer[0].dims = vec![3, 1, 1, 1];
        let side = |value: &mut endort::format::onnx::proto::ValueInfo, side| {
            let shape = value.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
            shape.dim[2..].iter_mut().for_each(|dim| dim.dim_value = Some(side));
        };
        side(&mut g.input[0], 1);
        side(&mut g.output[0], 8192);
    });
    let cases = cases.chain(tiny).chain([spread]);
    let mut tried = 0;
    for (what, bytes) in cases {
        sandbox.write("case.onnx", bytes);
        // Two gibibytes of addresses: enough for the program's libraries and threads, not for the network's promises.
        let line = format!(
            "ulimit -v 2097152; exec {} process-frame one.png --model case.onnx --threads 1",
            env!("CARGO_BIN_EXE_endort")
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &line])
            .current_dir(sandbox.path())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{what}: {stderr}");
        assert!(stderr.starts_with("endort: ") && stderr.lines().count() == 1, "{what}: {stderr}");
        tried += 1;
    }
    assert!(tried >= 10, "{tried}");
}

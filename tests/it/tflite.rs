//! TFLite files: written by endort, executed by LiteRT, judged by the Edge TPU's rules; and hostile ones.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use endort::format::onnx;
use endort::format::tflite::model::{self, Attributes, Model, Operator, Tensor};
use endort::format::tflite::schema::{self, Kind};
use endort::format::tflite::{self, Options, Weights, edge_tpu};
use endort::graph::op::{Binary, Conv};
use endort::graph::quantization::{Integer, Quantization};
use endort::graph::{self, Graph, Op, Tensor as Constant, Unary, ValueId};
use endort::model::{Artifact, Format, Package};
use endort::runtime::candle::cpu::CpuEngine;
use endort::runtime::{self, Engine, open};
use serde_json::Value;

use crate::engine::{floats, python};
use crate::program::Sandbox;
use crate::random::Random;
use crate::small_model;
use crate::vendor::{difference, options, outputs, site_packages, skipped};

/// Networks of `tests/networks.py` that TFLite has no operators for: the error function, a resize by another
/// rule, a transposed convolution in groups, and weights that are computed.
const BEYOND: [&str; 4] = ["activations", "computed_weights", "resizes", "transposed_convolutions"];

/// A package that holds a TFLite file alone.
fn package(bytes: Vec<u8>) -> Package {
    let graph = tflite::interface(&bytes, "test").unwrap();
    let manifest = Package::open("polyp-lite").unwrap().manifest;
    let artifact = Artifact { format: Format::Tflite, bytes, path: None };
    Package { manifest, graph, sha256: String::new(), artifact, folder: None }
}

fn run(bytes: Vec<u8>, input: &[f32], libraries: &Path) -> Vec<Vec<f32>> {
    let mut engine = open(&package(bytes), &options("tflite", libraries)).unwrap();
    engine.input().copy_from_slice(input);
    engine.run().unwrap().iter().map(|o| o.data.clone()).collect()
}

#[test]
fn networks_agree_with_onnx_runtime() {
    let (Some(libraries), Some(python)) = (site_packages(), python()) else { return skipped().unwrap_or(()) };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks.py");
    assert!(Command::new(python).arg(script).arg(folder.path()).status().unwrap().success());
    let mut seen = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let read = onnx::Options { name: &name, folder: Some(folder.path()), ..Default::default() };
        let graph = onnx::read(&fs::read(&path).unwrap(), &read).unwrap();
        let (input, expected) = (floats(&path.with_extension("in")), floats(&path.with_extension("out")));
        for (weights, tolerance) in [(Weights::F32, 1e-4), (Weights::F16, 1e-2)] {
            let written = tflite::write(&graph, Options { weights, ..Options::default() });
            if BEYOND.contains(&name.as_str()) {
                let e = written.unwrap_err().to_string();
                assert!(e.contains("(in TFLite)") && e.contains(&name), "{e}");
                continue;
            }
            let bytes = written.unwrap();
            let ours = run(bytes, &input, &libraries);
            let mut rest = expected.as_slice();
            let theirs: Vec<Vec<f32>> = ours
                .iter()
                .map(|o| {
                    let (mine, more) = rest.split_at(o.len());
                    rest = more;
                    mine.to_vec()
                })
                .collect();
            assert!(rest.is_empty());
            let apart = difference(&ours, &theirs);
            assert!(apart <= tolerance, "{name} with {weights:?} is {apart} away");
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} were tried");
}

#[test]
fn what_is_written_is_read_again() {
    let graph = Package::open("polyp-lite").unwrap().graph;
    let model = tflite::lower(&graph, Options::default()).unwrap();
    let bytes = tflite::encode(&model);
    assert_eq!(tflite::decode(&bytes).unwrap(), model);
    let interface = tflite::interface(&bytes, "test").unwrap();
    let shapes = |g: &Graph| -> Vec<(String, Vec<usize>)> {
        let all = g.inputs.iter().chain(&g.outputs).map(|&id| g.value(id));
        all.map(|v| (v.name.clone(), v.shape.clone())).collect()
    };
    assert_eq!(shapes(&interface), shapes(&graph));
}

fn push(graph: &mut Graph, op: Op, inputs: Vec<ValueId>) -> ValueId {
    let name = format!("v{}", graph.values().len());
    graph.push(&name, &name, op, inputs).unwrap()
}

/// The value on an 8-bit grid, as other tools write it.
fn on_grid(graph: &mut Graph, value: ValueId, scale: f32, zero: i32) -> ValueId {
    let grid = Quantization::per_tensor(scale, zero, Integer::Int8);
    let stored = push(graph, Op::Quantize(grid.clone()), vec![value]);
    push(graph, Op::Dequantize(grid), vec![stored])
}

/// Makes each operator's result an output, on a grid of this scale and zero, and writes the graph.
fn each_on_a_grid<const N: usize>(graph: &mut Graph, cases: [(Op, Vec<ValueId>, f32, i32); N]) -> Model {
    graph.outputs = cases
        .into_iter()
        .map(|(op, inputs, scale, zero)| {
            let made = push(graph, op, inputs);
            on_grid(graph, made, scale, zero)
        })
        .collect();
    tflite::lower(graph, Options::default()).unwrap()
}

/// LiteRT computes of what was written what endort computes of the graph, but for rounding.
fn agrees(graph: &Graph, model: &Model, input: &[f32], libraries: &Path) {
    let ours = run(tflite::encode(model), input, libraries);
    let mut engine = CpuEngine::new(graph, 1).unwrap();
    engine.input().copy_from_slice(input);
    let theirs: Vec<Vec<f32>> = engine.run().unwrap().iter().map(|output| output.data.clone()).collect();
    let apart = difference(&ours, &theirs);
    assert!(apart < 0.02, "{apart}");
}

#[test]
fn kernels_that_keep_a_grid_are_given_one() {
    let mut graph = Graph::new("grids");
    let x = graph.add_input("x", vec![1, 4, 8, 8]);
    let coarse = on_grid(&mut graph, x, 0.02, 0);
    let fine = on_grid(&mut graph, coarse, 0.005, 10);
    let cases = [
        (Op::Binary(Binary::Max), vec![coarse, fine], 0.02, 0),
        (Op::Concat { axis: 1 }, vec![coarse, fine], 0.021, 0),
        (Op::Unary(Unary::Sigmoid), vec![coarse], 1.0 / 255.0, -128),
        (Op::Unary(Unary::Tanh), vec![fine], 1.0 / 127.0, 0),
    ];
    let model = each_on_a_grid(&mut graph, cases);
    let grid = |tensor: usize| {
        let tensor = &model.tensors[tensor];
        tensor.quantization.clone().filter(|_| tensor.kind == Kind::I8)
    };
    let mut seen = 0;
    for operator in &model.operators {
        let result = grid(operator.outputs[0]);
        let inputs = operator.inputs.iter().flatten();
        match operator.code {
            schema::MAXIMUM | schema::CONCATENATION => {
                assert!(inputs.copied().all(|tensor| grid(tensor) == result), "{operator:?}");
            }
            schema::LOGISTIC | schema::TANH => assert_eq!(result, None, "{operator:?}"),
            _ => continue,
        }
        seen += 1;
    }
    assert_eq!(seen, 4);
    let Some(libraries) = site_packages() else { return skipped().unwrap_or(()) };
    let input: Vec<f32> = (0..256).map(|i| (i as f32 / 9.0).sin()).collect();
    agrees(&graph, &model, &input, &libraries);
}

#[test]
fn clips_and_slopes_need_no_floats_between_grids() {
    let mut graph = Graph::new("clips");
    let x = graph.add_input("x", vec![1, 4, 8, 8]);
    let x = on_grid(&mut graph, x, 0.02, 0);
    let slope = graph.add_constant("slope", Constant::i64(vec![4, 1, 1], vec![25, 50, -30, 100]).unwrap());
    let slope =
        push(&mut graph, Op::Dequantize(Quantization::per_tensor(0.01, 0, Integer::Int8)), vec![slope]);
    let weight: Vec<i64> = (0..16).map(|i| 40 * (i % 5) - 80).collect();
    let weight = graph.add_constant("weight", Constant::i64(vec![4, 4, 1, 1], weight).unwrap());
    let weight =
        push(&mut graph, Op::Dequantize(Quantization::per_tensor(0.02, 0, Integer::Int8)), vec![weight]);
    let conv = Conv {
        strides: [1, 1],
        pads: [0; 4],
        dilations: [1, 1],
        groups: 1,
        bias: false,
        residual: None,
        activation: Some(Unary::Clip { min: 0.0, max: 4.0 }),
    };
    let cases = [
        (Op::Unary(Unary::Clip { min: 0.0, max: 1.0 }), vec![x], 1.0 / 255.0, -128),
        (Op::PRelu, vec![x, slope], 0.02, 0),
        (Op::Conv(conv), vec![x, weight], 4.0 / 255.0, -128),
    ];
    let model = each_on_a_grid(&mut graph, cases);
    let codes: Vec<_> = model.operators.iter().map(|o| o.code).collect();
    let count = |code| codes.iter().filter(|&&c| c == code).count();
    // In, the clip between two grids, and out.
    assert_eq!((count(schema::QUANTIZE), count(schema::DEQUANTIZE)), (2, 3), "{codes:?}");
    assert_eq!((count(schema::PRELU), count(schema::CONV_2D)), (1, 1), "{codes:?}");
    let known = [schema::QUANTIZE, schema::DEQUANTIZE, schema::PRELU, schema::CONV_2D, schema::TRANSPOSE];
    assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
    let Some(libraries) = site_packages() else { return skipped().unwrap_or(()) };
    let input: Vec<f32> = (0..256).map(|i| 2.5 * (i as f32 / 9.0).sin()).collect();
    agrees(&graph, &model, &input, &libraries);
}

#[test]
fn a_weight_beyond_half_precision_stays_whole() {
    let sandbox = Sandbox::new();
    let file = small_model::write(&sandbox);
    let mut graph = Package::open(file.to_str().unwrap()).unwrap().graph;
    let kinds = |graph: &Graph| -> Vec<Kind> {
        let options = Options { weights: Weights::F16, ..Options::default() };
        tflite::lower(graph, options).unwrap().tensors.iter().map(|tensor| tensor.kind).collect()
    };
    assert!(kinds(&graph).contains(&Kind::F16));
    let weight = graph.nodes[0].inputs[1];
    let shape = graph.shape(weight).to_vec();
    graph.value_mut(weight).constant = Some(graph::Tensor::f32(shape, vec![1e6, -2.0, -2.0]).unwrap());
    assert!(!kinds(&graph).contains(&Kind::F16), "1e6 would become infinite");
}

#[test]
fn a_float_network_is_not_for_the_edge_tpu() {
    let graph = Package::open("polyp-lite").unwrap().graph;
    let model = tflite::lower(&graph, Options::default()).unwrap();
    let found = edge_tpu::check(&model);
    assert!(found.len() > model.operators.len(), "every operator, the input and the outputs");
    assert!(found.iter().any(|v| v.operator.is_none() && v.name == "image"));
    assert!(found.iter().any(|v| v.name == "CONV_2D" && v.rule.contains("8-bit")));
}

fn tensor(name: &str, shape: &[usize], kind: Kind, data: Option<Vec<u8>>) -> Tensor {
    let quantization = model::Quantization { scales: vec![0.5], zeros: vec![-3], axis: 0 };
    let quantization = Some(quantization).filter(|_| kind == Kind::I8);
    Tensor { name: name.into(), shape: shape.to_vec(), kind, data, quantization }
}

/// One operator from `image` to `mask`, with constants between.
fn single(code: schema::Code, custom: Option<&str>, constants: Vec<Tensor>, attributes: Attributes) -> Model {
    let mut tensors = vec![tensor("image", &[1, 64, 64, 3], Kind::I8, None)];
    tensors.extend(constants);
    tensors.push(tensor("mask", &[1, 64, 64, 1], Kind::I8, None));
    let last = tensors.len() - 1;
    let inputs = (0..last).map(Some).collect();
    let custom = custom.map(str::to_owned);
    let operators = vec![Operator { code, custom, version: 1, inputs, outputs: vec![last], attributes }];
    Model { description: String::new(), tensors, operators, inputs: vec![0], outputs: vec![last] }
}

#[test]
fn the_edge_tpu_s_limits_are_told_one_by_one() {
    let integers = |values: &[i32]| Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
    let axes = |values: &[i32]| vec![tensor("axes", &[values.len()], Kind::I32, integers(values))];
    let none = Attributes::None;
    let cases = [
        (single(schema::EXP, None, vec![], none.clone()), Some("not among the supported")),
        (single(schema::HARD_SWISH, None, vec![], none.clone()), Some("not among the supported")),
        (single(schema::RELU6, None, vec![], none.clone()), None),
        (single(schema::MEAN, None, axes(&[1, 2]), Attributes::Reduce(true)), None),
        (single(schema::MEAN, None, axes(&[3]), Attributes::Reduce(true)), Some("multiple of 4")),
        (single(schema::SUM, None, axes(&[0]), Attributes::Reduce(true)), Some("over the batch")),
        (
            single(schema::PAD, None, axes(&[1, 0, 0, 0, 0, 0, 0, 0]), none.clone()),
            Some("padding of the batch"),
        ),
        (single(schema::SOFTMAX, None, vec![], Attributes::Softmax), Some("more than one axis")),
        (
            single(schema::ADD, None, vec![tensor("bias", &[1], Kind::F32, Some(vec![0; 4]))], none),
            Some("8-bit"),
        ),
    ];
    for (model, rule) in cases {
        let found = edge_tpu::check(&model);
        match rule {
            None => assert_eq!(found, []),
            Some(words) => assert!(found.iter().any(|v| v.rule.contains(words)), "{words}: {found:?}"),
        }
    }
}

#[test]
fn an_optimized_package_runs_on_the_edge_tpu_s_terms() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ground-truth");
    let args = ["optimize", "polyp-lite", "--target", "coral", "--precision", "int8", "-o", "coral"];
    let stills = samples.join("images").display().to_string();
    let more = ["--calibration", &stills, "--calibration-frames", "6", "-q"];
    sandbox.endort(args.into_iter().chain(more)).finish().code(0);
    let manifest: Value =
        serde_json::from_slice(&fs::read(sandbox.file("coral/model.json")).unwrap()).unwrap();
    let share = &manifest["optimization"]["results"]["tflite"];
    let counts = ["operators", "integer", "for_edge_tpu"].map(|key| share[key].as_u64().unwrap());
    assert!(counts[0] > 90 && counts == [counts[0]; 3], "{share}");
    let file = sandbox.file("coral/model.tflite");
    let model = tflite::decode(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(edge_tpu::check(&model), [], "all operators are on the Edge TPU's list");
    assert!(model.operators.iter().all(|o| o.code != schema::QUANTIZE && o.code != schema::DEQUANTIZE));
    let io = model.inputs.iter().chain(&model.outputs).map(|&id| model.tensors[id].kind);
    assert!(io.into_iter().all(|kind| kind == Kind::I8));
    // A real picture, from the package and from the bare file's folder, by LiteRT.
    let picture = fs::read_dir(samples.join("images")).unwrap().next().unwrap().unwrap().path();
    let (picture, libraries) = (picture.display().to_string(), libraries.display().to_string());
    let record = |model: &str, runtime: &str| -> Value {
        let args = ["process-frame", &picture, "--model", model, "--runtime", runtime, "--json"];
        let run = sandbox.endort(args).env("REALTIME_RUNTIME_PATH", &libraries).finish().code(0).stderr("");
        serde_json::from_str(&run.stdout).unwrap()
    };
    let (integers, original) = (record("coral", "tflite"), record("polyp-lite", "candle-cpu"));
    assert_eq!(integers["runtime"], "tflite-cpu");
    // The package holds the same network as ONNX for those that read that.
    assert_eq!(record("coral", "onnxruntime")["runtime"], "onnxruntime-cpu");
    let count = |r: &Value| r["detections"].as_array().unwrap().len();
    assert!(count(&integers).abs_diff(count(&original)) <= 1, "{integers:#} {original:#}");
}

#[test]
fn networks_of_others_run_on_the_edge_tpu_s_terms() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stills = root.join("samples/ground-truth/images").display().to_string();
    // Hard-swish, hard sigmoid, squeeze-and-excite; SiLU, divisions, and a softmax that the Edge TPU refuses;
    // transposed convolutions.
    let networks = [("torch_mobilenet_v3", &[][..]), ("torch_yolo", &["SOFTMAX"]), ("torch_unet", &[])];
    for (name, left) in networks {
        let model = root.join("tests/networks").join(format!("{name}.onnx")).display().to_string();
        let args = ["optimize", &model, "--target", "coral", "--runtime", "tflite", "-o", name, "--json"];
        let more = ["--calibration", &stills, "--calibration-frames", "8", "-q"];
        let run = sandbox
            .endort(args.into_iter().chain(more))
            .env("REALTIME_RUNTIME_PATH", libraries.display().to_string())
            .finish();
        let report: Value = serde_json::from_str(&run.code(0).stdout).unwrap();
        let model = tflite::decode(&fs::read(sandbox.file(name).join("model.tflite")).unwrap()).unwrap();
        let found = edge_tpu::check(&model);
        assert_eq!(found.iter().map(|v| v.name.as_str()).collect::<Vec<_>>(), left, "{name}: {found:?}");
        let counts =
            ["operators", "integer", "for_edge_tpu"].map(|key| report["tflite"][key].as_u64().unwrap());
        let all = model.operators.len() as u64;
        assert_eq!(counts, [all, all, all - left.len() as u64], "{report:#}");
        let apart = report["agreement"]["relative_error"].as_f64().unwrap();
        assert!(apart < 0.02, "{name} is {apart} away in LiteRT");
    }
}

#[test]
fn a_package_of_a_tflite_file_alone_runs() {
    let Some(libraries) = site_packages().or_else(skipped) else { return };
    let sandbox = Sandbox::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/polyp-lite/model.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(shipped).unwrap()).unwrap();
    let graph = Package::open("polyp-lite").unwrap().graph;
    let bytes = tflite::write(&graph, Options::default()).unwrap();
    manifest["artifact"] = "net.tflite".into();
    manifest["input"]["layout"] = "nhwc".into();
    manifest["files"] = serde_json::json!({});
    sandbox.write("package/net.tflite", &bytes);
    sandbox.write("package/model.json", manifest.to_string());
    let package = Package::open(sandbox.file("package").to_str().unwrap()).unwrap();
    let reference = open(&Package::open("polyp-lite").unwrap(), &options("candle-cpu", &libraries)).unwrap();
    let reference = outputs({ reference }.as_mut(), 3);
    for runtime in ["tflite", "auto", "openvino"] {
        let mut engine = open(&package, &options(runtime, &libraries)).unwrap();
        assert_eq!(engine.input_shape(), [1, 3, 288, 352]);
        let apart = difference(&outputs(engine.as_mut(), 3), &reference);
        assert!(apart <= 1e-4, "{runtime} is {apart} from candle-cpu");
    }
    for runtime in ["candle-cpu", "onnxruntime"] {
        let e = open(&package, &options(runtime, &libraries)).err().unwrap().to_string();
        assert!(e.contains("TFLite") && e.contains("--runtime tflite"), "{e}");
    }
    let e = open(&package, &options("edge-tpu", &libraries)).err().unwrap().to_string();
    assert!(e.contains("not compiled for the Edge TPU"), "{e}");
}

#[test]
fn hostile_files_are_errors_and_nothing_worse() {
    let mut random = Random(7);
    let graph = Package::open("polyp-lite").unwrap().graph;
    let mut model = tflite::lower(&graph, Options::default()).unwrap();
    // Damage is to meet the structure, not the weights.
    model.tensors.iter_mut().filter(|t| t.data.as_ref().is_some_and(|d| d.len() > 64)).for_each(|t| {
        t.data = Some(vec![0; 16]);
    });
    let bytes = tflite::encode(&model);
    assert!(tflite::decode(&bytes).is_ok());
    for length in (0..bytes.len()).step_by(131) {
        let cut = &bytes[..length];
        if let Ok(model) = tflite::decode(cut) {
            edge_tpu::check(&model);
        }
    }
    let mut refused = 0;
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
        match tflite::decode(&damaged) {
            Ok(model) => drop(edge_tpu::check(&model)),
            Err(_) => refused += 1,
        }
        let _ = (tflite::interface(&damaged, "damaged"), tflite::signature_outputs(&damaged));
    }
    assert!(refused > 100, "{refused}");
    let sandbox = Sandbox::new();
    let cut = sandbox.write("cut.tflite", &bytes[..bytes.len() / 2]);
    let run = sandbox.endort(["process-frame", "x.png", "--model", cut.to_str().unwrap()]).finish();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
}

/// A file of under a megabyte in which a hundred thousand operators share one list of `inputs` inputs and a name.
fn sharing(inputs: usize, name: &str) -> Vec<u8> {
    use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset, VOffsetT, WIPOffset};
    type Table = WIPOffset<TableFinishedWIPOffset>;
    const MANY: usize = 100_000;

    fn table(b: &mut FlatBufferBuilder<'static>, vectors: &[(VOffsetT, WIPOffset<()>)]) -> Table {
        let start = b.start_table();
        vectors.iter().for_each(|&(field, vector)| b.push_slot_always(4 + 2 * field, vector));
        b.end_table(start)
    }
    fn list(b: &mut FlatBufferBuilder<'static>, tables: &[Table]) -> WIPOffset<()> {
        WIPOffset::new(b.create_vector(tables).value())
    }
    fn numbers(b: &mut FlatBufferBuilder<'static>, numbers: &[i32]) -> WIPOffset<()> {
        WIPOffset::new(b.create_vector(numbers).value())
    }

    let mut b = FlatBufferBuilder::new();
    let shared = numbers(&mut b, &vec![0; inputs]);
    let operator = table(&mut b, &[(1, shared)]);
    let operators = list(&mut b, &vec![operator; MANY]);
    let one = numbers(&mut b, &[1]);
    let first = numbers(&mut b, &[0]);
    let tensor = table(&mut b, &[(0, one)]);
    let tensors = list(&mut b, &[tensor]);
    let empty = table(&mut b, &[]);
    let name = WIPOffset::new(b.create_string(name).value());
    let code = table(&mut b, &[(1, name)]);
    let (codes, buffers) = (list(&mut b, &[code]), list(&mut b, &[empty]));
    let graph = table(&mut b, &[(0, tensors), (1, first), (2, first), (3, operators)]);
    let graphs = list(&mut b, &[graph]);
    let root = table(&mut b, &[(1, codes), (2, graphs), (4, buffers)]);
    b.finish(root, Some("TFL3"));
    b.finished_data().to_vec()
}

#[test]
fn tables_that_share_their_lists_do_not_fill_the_memory() {
    for bytes in [sharing(100_000, ""), sharing(1, &"n".repeat(4096))] {
        assert!(bytes.len() < 1 << 20, "{}", bytes.len());
        let error = tflite::decode(&bytes).unwrap_err();
        assert_eq!(error, "its lists hold more than the file");
    }
}

#[test]
fn operators_find_their_inputs_or_the_file_is_refused() {
    let relu = |from, to| Operator {
        code: schema::RELU,
        custom: None,
        version: 1,
        inputs: vec![Some(from)],
        outputs: vec![to],
        attributes: Attributes::None,
    };
    let network = |operators: Vec<Operator>, hidden: &[usize]| {
        let float = |name: &str, shape: &[usize]| tensor(name, shape, Kind::F32, None);
        let tensors = vec![float("image", &[1, 4]), float("hidden", hidden), float("mask", &[1, 4])];
        let model = Model { tensors, operators, inputs: vec![0], outputs: vec![2], ..Model::default() };
        tflite::decode(&tflite::encode(&model)).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(network(vec![relu(0, 1), relu(1, 2)], &[1, 4]), Ok(()));
    let image = tensor("image", &[1, 4], Kind::F32, None);
    let mask = Tensor { quantization: None, ..tensor("mask", &[1, 4], Kind::I8, None) };
    let tensors = vec![image, mask];
    let model =
        Model { tensors, operators: vec![relu(0, 1)], inputs: vec![0], outputs: vec![1], ..Model::default() };
    let told = tflite::decode(&tflite::encode(&model)).unwrap_err().to_string();
    assert!(told.contains("RELU computes with \"mask\", integers without a scale"), "{told}");
    for (operators, hidden, words) in [
        (vec![relu(1, 2), relu(0, 1)], [1, 4], "RELU uses \"hidden\" before it is there"),
        (
            vec![relu(0, 1), relu(0, 1), relu(1, 2)],
            [1, 4],
            "RELU computes \"hidden\", which is there already",
        ),
        (vec![relu(0, 1)], [1, 4], "nothing computes the output \"mask\""),
        (vec![relu(0, 1), relu(1, 2)], [2, 2], "RELU makes"),
    ] {
        let told = network(operators, &hidden).unwrap_err();
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[cfg(unix)]
#[test]
fn coral_s_compiler_is_run_where_it_is_there() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    let Some(libraries) = stand_ins(sandbox.path()) else { return };
    let compiled = single(schema::CUSTOM, Some("edgetpu-custom-op"), vec![], Attributes::None);
    let compiled = sandbox.write("made.tflite", tflite::encode(&compiled));
    let script = |words: &str, code: i32| {
        let text = format!(
            "#!/bin/sh\n[ \"$1\" = --show_operations ] && [ \"$2\" = --out_dir ] && [ -f \"$4\" ] || exit 9\n\
             cp '{}' \"$3/model_edgetpu.tflite\"\necho 'Number of operations that will run on Edge TPU: 70'\n\
             echo '{words}'\nexit {code}\n",
            compiled.display()
        );
        let path = sandbox.write("bin/edgetpu_compiler", text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let stills =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/ground-truth/images").display().to_string();
    let optimize = || {
        let args = ["optimize", "polyp-lite", "--target", "coral", "--calibration", &stills];
        let path = format!("{}:{}", sandbox.file("bin").display(), std::env::var("PATH").unwrap());
        sandbox
            .endort(args.into_iter().chain(["--calibration-frames", "2", "-o", "coral"]))
            .env("PATH", path)
            .finish()
    };
    script("Number of operations that will run on CPU: 3", 0);
    let said = optimize().code(0).stderr;
    assert!(said.contains("left 3 operators"), "{said}");
    let manifest: Value = serde_json::from_str(&sandbox.read("coral/model.json")).unwrap();
    assert!(manifest["files"]["model_edgetpu.tflite"]["sha256"].is_string(), "{manifest:#}");
    // The stand-in's network has another shape than polyp-lite: that it is told apart shows that it was taken.
    let package = Package::open(sandbox.file("coral").to_str().unwrap()).unwrap();
    let e = open(&package, &options("edge-tpu", &libraries)).err().unwrap().to_string();
    assert!(e.contains("has shape [1, 3, 64, 64]"), "{e}");
    fs::remove_dir_all(sandbox.file("coral")).unwrap();
    script("Invalid model: not quantized", 1);
    let e = optimize().code(1).stderr;
    assert!(e.contains("edgetpu_compiler") && e.contains("not quantized"), "{e}");
}

/// Builds the stand-ins for the two libraries, if there is a C compiler.
fn stand_ins(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/tflite_edge_tpu.c");
    for (name, flag) in [("libtensorflowlite_c.so", "-DTFLITE"), ("libedgetpu.so.1", "-DEDGE_TPU")] {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", flag, "-o"]).arg(folder.join(name)).arg(&source);
        match cc.status() {
            Ok(status) => assert!(status.success()),
            Err(_) => return skipped(),
        }
    }
    Some(folder.to_owned())
}

#[test]
fn the_edge_tpu_gets_its_delegate_and_integers() {
    let sandbox = Sandbox::new();
    let Some(libraries) = stand_ins(sandbox.path()) else { return };
    let compiled = single(schema::CUSTOM, Some("edgetpu-custom-op"), vec![], Attributes::None);
    let package = package(tflite::encode(&compiled));
    let mut engine = open(&package, &options("edge-tpu", &libraries)).unwrap();
    assert_eq!((engine.runtime(), engine.version()), ("edge-tpu", Some("2.16.1")));
    assert_eq!(engine.input_shape(), [1, 3, 64, 64]);
    // Channels first, in steps of 0.5, limited to what 8 bits hold.
    engine.input()[..4].copy_from_slice(&[1.0, 1.2, -2.5, 1000.0]);
    engine.input()[64 * 64] = 50.0;
    let out = engine.run().unwrap()[0].clone();
    assert_eq!(out.shape, [1, 1, 64, 64]);
    assert_eq!(out.data[..4], [1.0, 1.0, -2.5, 65.0]);
    drop(engine);
    // That a device cannot execute what it was given shows when it is opened, not at the first frame.
    let unplugged = Model { description: "unplugged".to_owned(), ..compiled };
    let unplugged = self::package(tflite::encode(&unplugged));
    let e = open(&unplugged, &options("edge-tpu", &libraries)).err().unwrap().to_string();
    assert_eq!(e, "runtime edge-tpu: failed to run the model");
    let e = open(&package, &options("tflite-tpu", &libraries)).err().unwrap().to_string();
    assert!(e.contains("is unknown") && e.contains("edge-tpu"), "{e}");
    let plain = runtime::Options { libraries: vec![], ..options("edge-tpu", &libraries) };
    if let Err(e) = open(&package, &plain) {
        let e = e.to_string();
        assert!(e.contains("tensorflowlite_c") && e.contains("--runtime-path"), "{e}");
    }
}

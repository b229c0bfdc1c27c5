//! Networks that endort writes: they read back the same, ONNX's checker takes them, and ONNX Runtime computes what
//! the original gives, before and after every pass.

use std::fs;
use std::path::Path;
use std::process::Command;

use endort::format::onnx::{self, WriteOptions};
use endort::graph::passes::{self, int8};
use endort::graph::{Graph, Op};
use endort::runtime::Engine;
use endort::runtime::candle::cpu::CpuEngine;

use crate::engine::{compare, floats, python};

fn read(bytes: &[u8]) -> Graph {
    onnx::read(bytes, &onnx::Options { name: "written", ..Default::default() }).unwrap()
}

fn as_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// What an engine gives, all outputs one after the other.
fn run(graph: &Graph, input: &[f32]) -> Vec<f32> {
    let mut graph = graph.clone();
    passes::run_all(&mut graph);
    let mut engine = CpuEngine::new(&graph, 1).unwrap();
    engine.input().copy_from_slice(input);
    engine.run().unwrap().iter().flat_map(|o| o.data.clone()).collect()
}

/// Ranges of every activation on one input.
fn observe(graph: &Graph, input: &[f32]) -> int8::Observations {
    let mut all = graph.clone();
    all.outputs = graph.nodes.iter().map(|n| n.output).collect();
    let mut engine = CpuEngine::new(&all, 1).unwrap();
    engine.input().copy_from_slice(input);
    let outputs = engine.run().unwrap();
    let observed = |values: &[f32]| {
        let mut histogram = int8::Histogram::default();
        histogram.add(values, 1);
        int8::Observed { range: histogram.range(int8::Method::MinMax), channel_means: vec![] }
    };
    let mut seen: int8::Observations =
        all.outputs.iter().zip(outputs).map(|(&id, o)| (id, observed(&o.data))).collect();
    seen.insert(graph.inputs[0], observed(input));
    seen
}

fn quantized(source: &Graph, input: &[f32], scheme: int8::Scheme) -> Graph {
    let graph = int8::prepare(source, scheme).unwrap();
    let options = int8::Options { scheme, bias_correction: false, keep_float: Default::default() };
    int8::quantize(&graph, &observe(&graph, input), &options).unwrap()
}

/// Graphs are the same if the same passes leave the same operators on the same shapes.
fn structure(graph: &Graph) -> Vec<(Op, Vec<usize>)> {
    let mut graph = graph.clone();
    passes::run_all(&mut graph);
    graph.nodes.iter().map(|n| (n.op.clone(), graph.shape(n.output).to_vec())).collect()
}

#[test]
fn written_networks_are_what_was_read() {
    let Some(python) = python() else {
        eprintln!("skipped: set ENDORT_PYTHON, or make test builds .venv with tests/requirements.txt");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks.py");
    assert!(Command::new(&python).arg(&script).arg(folder.path()).status().unwrap().success());
    let mut wrong = vec![];
    let mut seen = 0;
    let paths: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    for path in paths.iter().filter(|p| p.extension().is_some_and(|e| e == "onnx")) {
        seen += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (input, expected) = (floats(&path.with_extension("in")), floats(&path.with_extension("out")));
        let options = onnx::Options { name: &name, folder: Some(folder.path()), ..Default::default() };
        let raw = onnx::read(&fs::read(path).unwrap(), &options).unwrap();
        let mut write = |variant: &str, graph: &Graph, half_weights: bool| -> Graph {
            let bytes = onnx::write(graph, &WriteOptions { half_weights }).unwrap();
            fs::write(folder.path().join(format!("{name}@{variant}.onnx")), &bytes).unwrap();
            let back = read(&bytes);
            if structure(graph) != structure(&back) {
                wrong.push(format!("{name}@{variant} reads back as another network"));
            }
            back
        };
        let mut simple = raw.clone();
        passes::simplify(&mut simple);
        let mut fused = raw.clone();
        passes::run_all(&mut fused);
        let mut half = simple.clone();
        passes::half_weights::run(&mut half);
        let back =
            [write("raw", &raw, false), write("simple", &simple, false), write("fused", &fused, false)];
        write("half", &half, true);
        if name != "quantized" {
            use int8::Scheme::{Asymmetric, EdgeTpu, Symmetric, TfLite};
            for scheme in [Asymmetric, Symmetric, TfLite, EdgeTpu] {
                let graph = quantized(&raw, &input, scheme);
                let variant = format!("int8-{scheme:?}");
                let back = write(&variant, &graph, false);
                // An activation inside a convolution is a node of its own in the file.
                let mut fused = back.clone();
                passes::simplify(&mut fused);
                let macs = |graph: &Graph| (int8::share(graph).macs, int8::share(graph).quantized_macs);
                assert_eq!(macs(&graph), macs(&fused), "{name}");
                let path = folder.path().join(format!("{name}@{variant}.out"));
                fs::write(path, as_bytes(&run(&back, &input))).unwrap();
            }
        }
        for graph in back {
            let mut graph = graph;
            passes::run_all(&mut graph);
            let mut engine = CpuEngine::new(&graph, 2).unwrap();
            wrong.extend(compare(&format!("{name} read back"), &mut engine, &input, &expected));
        }
    }
    let check = Command::new(&python).arg(&script).arg("--check").arg(folder.path()).output().unwrap();
    wrong.push(String::from_utf8_lossy(&check.stdout).trim().to_owned());
    wrong.push(if check.status.success() {
        String::new()
    } else {
        String::from_utf8_lossy(&check.stderr).into()
    });
    wrong.retain(|line| !line.is_empty());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 19, "only {seen} networks were tested");
}

#[test]
fn a_quantized_network_follows_the_rules_that_its_description_states() {
    let bytes =
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("models/polyp-lite/polyp-lite.onnx")).unwrap();
    let source = read(&bytes);
    let mut state = 1u32;
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    let input: Vec<f32> = (0..source.shape(source.inputs[0]).iter().product()).map(|_| noise()).collect();
    let graph = quantized(&source, &input, int8::Scheme::TfLite);
    let share = int8::share(&graph);
    assert_eq!(
        (share.quantized, share.quantized_macs),
        (share.operators, share.macs),
        "all of it is on the grid"
    );
    let producer = |id| graph.nodes.iter().find(|n| n.output == id);
    let grid_of = |id| match producer(id).map(|n| &n.op) {
        Some(Op::Dequantize(q)) => q.clone(),
        other => panic!("{other:?} where a Dequantize should be"),
    };
    let mut convolutions = 0;
    for node in &graph.nodes {
        match &node.op {
            Op::Quantize(q) => {
                let users: Vec<_> = graph.nodes.iter().filter(|n| n.inputs.contains(&node.output)).collect();
                assert!(matches!(users[..], [user] if user.op == Op::Dequantize(q.clone())), "{}", node.name);
                assert!(q.axis.is_none());
            }
            Op::Conv(c) => {
                convolutions += 1;
                let [x, w, b] = [0, 1, 2].map(|i| grid_of(node.inputs[i]));
                assert!(c.bias && c.residual.is_none());
                assert_eq!((w.axis, b.axis), (Some(0), Some(0)));
                assert!(w.zero_point.iter().chain(&b.zero_point).all(|&z| z == 0));
                for (b, w) in b.scale.iter().zip(&w.scale) {
                    assert!((b / (x.scale[0] * w) - 1.0).abs() < 1e-5, "{}", node.name);
                }
            }
            op if int8::is_passive(op) => {
                let output = graph.nodes.iter().find(|n| n.inputs[0] == node.output).unwrap();
                let Op::Quantize(output) = &output.op else { panic!("{} is not quantized", node.name) };
                node.inputs.iter().for_each(|&id| assert_eq!(&grid_of(id), output, "{}", node.name));
            }
            _ => {}
        }
    }
    assert!(convolutions > 40);
}

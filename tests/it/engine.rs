//! The engine beside ONNX Runtime, on small networks that `tests/networks.py` writes; and on hostile files.

use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Device};
use endort::Error;
use endort::format::onnx;
use endort::graph::{Graph, Op, Tensor, Unary, passes};
use endort::runtime::Engine;
use endort::runtime::candle::cpu::{CpuEngine, Isa};
use endort::runtime::candle::lowered::Lowered;

use crate::random::Random;

/// Largest difference allowed, as a share of the largest value.
const TOLERANCE: f32 = 1e-4;

/// The Python with the packages of `tests/requirements.txt`, if there is one.
pub fn python() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("ENDORT_PYTHON").map(PathBuf::from);
    named.or_else(|| Some(root.join(".venv/bin/python")).filter(|p| p.exists()))
}

pub fn floats(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// Runs an engine and describes where its outputs differ.
pub fn compare(what: &str, engine: &mut dyn Engine, input: &[f32], expected: &[f32]) -> Option<String> {
    // Twice, so that a buffer that is not cleared, or shared wrongly, shows.
    for _ in 0..2 {
        engine.input().copy_from_slice(input);
        let outputs = match engine.run() {
            Ok(outputs) => outputs,
            Err(e) => return Some(format!("{what}: {e}")),
        };
        let total: usize = outputs.iter().map(|o| o.data.len()).sum();
        if total != expected.len() {
            return Some(format!("{what}: {total} values, not {}", expected.len()));
        }
        let mut rest = expected;
        for o in outputs {
            let (theirs, more) = rest.split_at(o.data.len());
            rest = more;
            let scale = theirs.iter().fold(1e-3f32, |m, v| m.max(v.abs()));
            let close = |(_, (a, b)): &(usize, (&f32, &f32))| (**a - **b).abs() <= TOLERANCE * scale;
            if let Some((i, (a, b))) = o.data.iter().zip(theirs).enumerate().find(|pair| !close(pair)) {
                return Some(format!("{what}: {}[{i}] of {:?} is {a}, not {b}", o.name, o.shape));
            }
        }
    }
    None
}

type Pass = fn(&mut Graph) -> usize;

/// In the order in which they are run.
const PASSES: [(&str, Pass); 7] = [
    ("fuse_grid", passes::fuse_grid::run),
    ("fold_constants", passes::fold_constants::run),
    ("remove_identity", passes::remove_identity::run),
    ("fold_batch_norm", passes::fold_batch_norm::run),
    ("fuse_activation", passes::fuse_activation::run),
    ("dead_code", passes::dead_code::run),
    ("fuse_residual", passes::fuse_residual::run),
];

#[test]
fn agrees_with_onnx_runtime() {
    let Some(python) = python() else {
        eprintln!("skipped: set ENDORT_PYTHON, or make test builds .venv with tests/requirements.txt");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/networks.py");
    let status = Command::new(python).arg(script).arg(folder.path()).status().unwrap();
    assert!(status.success(), "tests/networks.py failed");
    let mut seen = 0;
    let mut wrong = vec![];
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        seen += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (input, expected) = (floats(&path.with_extension("in")), floats(&path.with_extension("out")));
        let options = onnx::Options { name: &name, folder: Some(folder.path()), ..Default::default() };
        let raw = onnx::read(&std::fs::read(&path).unwrap(), &options).unwrap();
        let mut optimised = raw.clone();
        passes::run_all(&mut optimised);
        for isa in Isa::available() {
            for threads in [1, 3] {
                let what = format!("{name} with {isa:?} and {threads} threads");
                let mut engine = CpuEngine::with_isa(&optimised, threads, isa).unwrap();
                wrong.extend(compare(&what, &mut engine, &input, &expected));
            }
        }
        let mut engine = CpuEngine::new(&raw, 2).unwrap();
        wrong.extend(compare(&format!("{name} without passes"), &mut engine, &input, &expected));
        // Each pass by itself, on what those before it left.
        let mut graph = raw.clone();
        for (pass, run) in PASSES {
            run(&mut graph);
            let mut engine = CpuEngine::new(&graph, 2).unwrap();
            wrong.extend(compare(&format!("{name} after {pass}"), &mut engine, &input, &expected));
        }
        for (which, graph) in [("", &optimised), (" without passes", &raw)] {
            let mut engine = Lowered::new(graph, Device::Cpu, DType::F32, "candle").unwrap();
            let what = format!("{name} by candle's operators{which}");
            wrong.extend(compare(&what, &mut engine, &input, &expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen >= 19, "only {seen} networks were tested");
}

#[test]
fn integers_that_are_known_can_be_an_output() {
    let mut graph = Graph::new("test");
    let x = graph.add_input("x", vec![1, 2, 3, 4]);
    let y = graph.push("relu", "y", Op::Unary(Unary::Relu), vec![x]).unwrap();
    let constant = |shape: Vec<usize>| Tensor::i64(shape, vec![1, 2, 3, 4]).unwrap();
    let [flat, square] = [constant(vec![4]), constant(vec![1, 1, 2, 2])];
    graph.outputs = vec![y, graph.add_constant("flat", flat), graph.add_constant("square", square)];
    let mut engine = CpuEngine::new(&graph, 1).unwrap();
    engine.input().fill(7.0);
    let outputs = engine.run().unwrap();
    assert_eq!(outputs[0].data, [7.0; 24]);
    for output in &outputs[1..] {
        assert_eq!(output.data, [1.0, 2.0, 3.0, 4.0], "{:?}", output.shape);
    }
}

/// What a GPU computes of a package in 16 bits, by the same steps on the processor.
#[test]
fn sixteen_bits_by_candle_s_own_operators_stay_close() {
    let mut graph = read(&polyp_lite()).unwrap();
    passes::run_all(&mut graph);
    let mut exact = CpuEngine::new(&graph, 2).unwrap();
    let mut halves = Lowered::new(&graph, Device::Cpu, DType::F16, "candle").unwrap();
    let smooth = |i: usize| ((i % 352) as f32 / 50.0).sin() + ((i / 352) as f32 / 40.0).cos();
    let outputs = |engine: &mut dyn Engine| -> Vec<Vec<f32>> {
        engine.input().iter_mut().enumerate().for_each(|(i, value)| *value = smooth(i));
        engine.run().unwrap().iter().map(|output| output.data.clone()).collect()
    };
    for (a, b) in outputs(&mut exact).iter().zip(&outputs(&mut halves)) {
        // Of logits: where all are below one, they stand for doubt, and their own size is no measure.
        let scale = a.iter().fold(1.0f32, |most, value| most.max(value.abs()));
        let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
        assert!(apart <= 2e-2, "{apart}");
        // Else it would have computed in 32 bits.
        assert!(apart > 1e-5, "{apart}");
    }
}

fn polyp_lite() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::fs::read(root.join("models/polyp-lite/polyp-lite.onnx")).unwrap()
}

fn read(bytes: &[u8]) -> endort::Result<Graph> {
    onnx::read(bytes, &onnx::Options { name: "test", ..Default::default() })
}

#[test]
fn passes_leave_a_fused_network() {
    let mut graph = read(&polyp_lite()).unwrap();
    let before = graph.nodes.len();
    passes::run_all(&mut graph);
    let left: Vec<&str> = graph.nodes.iter().map(|n| n.op.name()).collect();
    assert!(left.len() < before);
    for gone in ["BatchNormalization", "Unary", "Identity", "Add"] {
        assert!(!left.contains(&gone), "{gone} is still there: {left:?}");
    }
}

/// The network's structure without its weights' bytes: damage then meets names, shapes and attributes.
fn structure() -> Vec<u8> {
    use prost::Message;
    let mut model = onnx::proto::Model::decode(polyp_lite().as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for t in &mut graph.initializer {
        let elements: i64 = t.dims.iter().product();
        if elements > 512 {
            t.raw_data.clear();
            t.float_data.clear();
            t.int32_data.clear();
        }
    }
    model.encode_to_vec()
}

#[test]
fn hostile_files_are_errors_and_nothing_worse() {
    let mut random = Random(2);
    let bytes = structure();
    for length in (0..bytes.len()).step_by(97) {
        assert!(read(&bytes[..length]).is_err(), "cut to {length} bytes");
    }
    for _ in 0..2000 {
        let mut damaged = bytes.clone();
        for _ in 0..=random.below(8) {
            let at = random.below(damaged.len());
            damaged[at] ^= 1 << random.below(8);
        }
        // What is still a sound network may be read; it must then compile or be refused.
        if let Ok(mut graph) = read(&damaged) {
            passes::run_all(&mut graph);
        }
    }
    for _ in 0..200 {
        let noise: Vec<u8> = (0..random.below(4096)).map(|_| random.next() as u8).collect();
        assert!(read(&noise).is_err());
    }
}

#[test]
fn an_unsupported_operator_is_named() {
    use prost::Message;
    let mut model = onnx::proto::Model::decode(polyp_lite().as_slice()).unwrap();
    let node = &mut model.graph.as_mut().unwrap().node[0];
    node.op_type = "DeformConv".into();
    node.name = "stem".into();
    let e = read(&model.encode_to_vec()).unwrap_err();
    assert!(matches!(e, Error::UnsupportedOperator { .. }), "{e:?}");
    assert!(e.to_string().contains("DeformConv") && e.to_string().contains("stem"), "{e}");
}

//! What a GPU executes beside what the processor does.
//!
//! The steps for GPUs run on the processor too, except for the kernels of NVIDIA's (`kernels.cu`): with
//! `ENDORT_TEST_GPU=cuda:0` the same cases run there, and, with `ENDORT_TEST_NETWORKS` naming a folder that
//! `tests/networks.py` has filled, its networks do.

use std::path::PathBuf;

use candle_core::{DType, Device};
use endort::format::onnx;
use endort::graph::op::{Conv, Residual, SliceRange};
use endort::graph::resize::{Coordinates, Interpolation, Resize, Rounding};
use endort::graph::{Graph, Op, Tensor, Unary, ValueId, passes};
use endort::runtime::Engine;
use endort::runtime::candle::cpu::CpuEngine;
use endort::runtime::candle::lowered::Lowered;

use crate::engine::{compare, floats};
use crate::random::Random;

/// The processor, and the GPU that `ENDORT_TEST_GPU` names.
fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = vec![("the processor", Device::Cpu)];
    if let Ok(name) = std::env::var("ENDORT_TEST_GPU") {
        let index = name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).expect("such as cuda:0");
        devices.push(("the GPU", Device::new_cuda(index).unwrap()));
    }
    devices
}

/// A number that 16 bits hold as it is: what differs then is what was computed in them.
fn coarse(random: &mut Random) -> f32 {
    half::f16::from_f32(random.normal()).to_f32()
}

fn weights(graph: &mut Graph, random: &mut Random, name: &str, shape: Vec<usize>) -> ValueId {
    let data = (0..shape.iter().product()).map(|_| coarse(random)).collect();
    graph.add_constant(name, Tensor::f32(shape, data).unwrap())
}

/// A convolution, maybe with a bias, another convolution's output as its residual, and an activation.
fn convolution(random: &mut Random) -> Option<Graph> {
    let mut pick = |choices: &[usize]| choices[random.below(choices.len())];
    let kernel = match pick(&[0, 1, 2, 3]) {
        0 => [1, 1],
        1 => [3, 3],
        2 => [5, 5],
        _ => [pick(&[1, 2, 3]), pick(&[1, 2, 4])],
    };
    // Depthwise, dense, and in groups.
    let [groups, into, out] = match pick(&[0, 0, 1, 1, 2]) {
        0 => [pick(&[2, 3, 16]), 1, pick(&[1, 1, 2])],
        1 => [1, pick(&[1, 3, 5, 16, 33]), pick(&[1, 4, 7])],
        _ => [pick(&[2, 3]), pick(&[2, 3, 9]), pick(&[1, 2, 3])],
    };
    let plain = pick(&[0, 1]) == 1;
    let mut either = |choices: &[usize]| if plain { 1 } else { pick(choices) };
    let (strides, dilations) = ([either(&[1, 2]), either(&[1, 2, 3])], [either(&[1, 2]), either(&[1, 1, 3])]);
    let pads = if plain { [kernel[0] / 2; 4] } else { [0; 4].map(|_| pick(&[0, 1, 2, 3])) };
    let (height, width) = (pick(&[1, 7, 16, 21]), pick(&[1, 5, 16, 33]));
    if height + pads[0] + pads[2] < (kernel[0] - 1) * dilations[0] + 1
        || width + pads[1] + pads[3] < (kernel[1] - 1) * dilations[1] + 1
    {
        return None;
    }
    let bias = pick(&[0, 1]) == 1;
    let residual =
        [None, Some(Residual::BeforeActivation), Some(Residual::AfterActivation)][pick(&[0, 1, 2])];
    let activations = [
        None,
        Some(Unary::Relu),
        Some(Unary::Clip { min: 0.0, max: 6.0 }),
        Some(Unary::Clip { min: -1.0, max: 0.5 }),
        Some(Unary::HardSwish),
        Some(Unary::Tanh),
    ];
    let activation = activations[pick(&[0, 1, 2, 3, 4, 5])];
    let conv = Conv { strides, pads, dilations, groups, bias, residual, activation };
    let mut graph = Graph::new("convolution");
    let x = graph.add_input("x", vec![1, groups * into, height, width]);
    let shape = vec![groups * out, into, kernel[0], kernel[1]];
    let mut inputs = vec![x, weights(&mut graph, random, "w", shape.clone())];
    if bias {
        inputs.push(weights(&mut graph, random, "b", vec![groups * out]));
    }
    if residual.is_some() {
        let other = weights(&mut graph, random, "other", shape);
        let bare = Conv { bias: false, residual: None, activation: None, ..conv.clone() };
        inputs.push(graph.push("bare", "r", Op::Conv(bare), vec![x, other]).unwrap());
    }
    let y = graph.push("conv", "y", Op::Conv(conv), inputs).unwrap();
    graph.outputs = vec![y];
    Some(graph)
}

/// Runs a graph on the processor's own kernels and by candle's steps on every device.
fn differences(graph: &Graph, random: &mut Random) -> Vec<String> {
    let mut exact = CpuEngine::new(graph, 1).unwrap();
    let input: Vec<f32> = exact.input().iter().map(|_| coarse(random)).collect();
    exact.input().copy_from_slice(&input);
    let expected: Vec<f32> = exact.run().unwrap().iter().flat_map(|o| o.data.clone()).collect();
    let what = format!("{:?}", graph.nodes.iter().map(|n| &n.op).collect::<Vec<_>>());
    let mut wrong = vec![];
    for (name, device) in devices() {
        let mut engine = Lowered::new(graph, device.clone(), DType::F32, "candle").unwrap();
        wrong.extend(compare(&format!("{what} on {name}"), &mut engine, &input, &expected));
        if !device.is_cuda() {
            continue;
        }
        let mut halves = Lowered::new(graph, device, DType::F16, "candle").unwrap();
        halves.input().copy_from_slice(&input);
        let outputs: Vec<f32> = match halves.run() {
            Ok(outputs) => outputs.iter().flat_map(|o| o.data.clone()).collect(),
            Err(e) => {
                wrong.push(format!("{what} in 16 bits on {name}: {e}"));
                continue;
            }
        };
        let scale = expected.iter().fold(1.0f32, |m, v| m.max(v.abs()));
        let apart = outputs.iter().zip(&expected).map(|(a, b)| (a - b).abs() / scale).fold(0.0, f32::max);
        if outputs.len() != expected.len() || apart > 1e-2 || outputs.iter().any(|v| v.is_nan()) {
            wrong.push(format!("{what} in 16 bits on {name}: {apart} apart"));
        }
    }
    wrong
}

#[test]
fn convolutions_of_all_kinds_agree_with_the_processor() {
    let mut random = Random(7);
    let mut wrong = vec![];
    let mut seen = 0;
    while seen < 300 {
        if let Some(graph) = convolution(&mut random) {
            seen += 1;
            wrong.extend(differences(&graph, &mut random));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn resizes_agree_with_the_processor() {
    let mut random = Random(8);
    let mut wrong = vec![];
    for mode in [Interpolation::Linear, Interpolation::Nearest(Rounding::Floor)] {
        for coordinates in [Coordinates::HalfPixel, Coordinates::AlignCorners, Coordinates::Asymmetric] {
            for (from, size) in [([3, 4], [6, 8]), ([7, 5], [3, 11]), ([1, 1], [4, 1])] {
                let scale = [0, 1].map(|axis| size[axis] as f32 / from[axis] as f32);
                let mut graph = Graph::new("resize");
                let x = graph.add_input("x", vec![1, 3, from[0], from[1]]);
                let op = Op::Resize(Resize { mode, coordinates, size, scale });
                graph.outputs = vec![graph.push("resize", "y", op, vec![x]).unwrap()];
                wrong.extend(differences(&graph, &mut random));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_slice_with_steps_may_follow_one_without() {
    let mut graph = Graph::new("slice");
    let x = graph.add_input("x", vec![1, 3, 6, 8]);
    let range = |start, step, len| SliceRange { start, step, len };
    let ranges = vec![range(0, 1, 1), range(1, 1, 2), range(2, 1, 3), range(7, -2, 4)];
    graph.outputs = vec![graph.push("slice", "y", Op::Slice { ranges }, vec![x]).unwrap()];
    let wrong = differences(&graph, &mut Random(9));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn networks_agree_with_onnx_runtime_on_the_gpu() {
    let folder = std::env::var_os("ENDORT_TEST_NETWORKS").map(PathBuf::from);
    let (Some(folder), Some((_, device))) = (folder, devices().pop().filter(|(_, d)| !d.is_cpu())) else {
        eprintln!("skipped: set ENDORT_TEST_GPU and ENDORT_TEST_NETWORKS");
        return;
    };
    let mut wrong = vec![];
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (input, expected) = (floats(&path.with_extension("in")), floats(&path.with_extension("out")));
        let options = onnx::Options { name: &name, folder: Some(&folder), ..Default::default() };
        let raw = onnx::read(&std::fs::read(&path).unwrap(), &options).unwrap();
        let mut optimised = raw.clone();
        passes::run_all(&mut optimised);
        for (which, graph) in [("", &optimised), (" without passes", &raw)] {
            let mut engine = Lowered::new(graph, device.clone(), DType::F32, "candle").unwrap();
            wrong.extend(compare(&format!("{name}{which}"), &mut engine, &input, &expected));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

//! Post-training quantization to 8 bits.
//!
//! [`prepare()`] brings a network into the form that is quantized, the caller observes its activations on
//! real pictures ([`Histogram`]), and [`quantize`] makes the grid explicit as
//! [`quantization`](crate::graph::quantization) describes it.

mod expand;
mod histogram;
mod plan;
mod prepare;
mod rewrite;
mod weights;

use std::collections::{HashMap, HashSet};

pub use histogram::{Histogram, Method};
pub use plan::is_passive;
pub use prepare::{activations, prepare};
pub use rewrite::quantize;

use super::super::{Graph, Op, ValueId, shape};

/// Which rules of a target the grid keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Activations with a zero point; operators without 8-bit kernels stay floats (ONNX Runtime, OpenVINO).
    Asymmetric,
    /// As `Asymmetric` with zero points of 0 and float biases (TensorRT).
    Symmetric,
    /// TensorFlow Lite's specification of 8-bit quantization: every operator is quantized, sigmoid, softmax
    /// and tangent have their fixed grids, matrices have one scale.
    TfLite,
    /// As `TfLite`, with what the Edge TPU has no operators for in steps that it has.
    EdgeTpu,
}

impl Scheme {
    /// Whether TensorFlow Lite's specification holds.
    pub fn is_tflite(self) -> bool {
        matches!(self, Self::TfLite | Self::EdgeTpu)
    }
}

/// What calibration saw of an activation.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The range that the grid is to cover.
    pub range: (f32, f32),
    /// Mean per channel (axis 1) over everything seen, for the correction of biases.
    pub channel_means: Vec<f64>,
}

/// How to quantize.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rules of the target.
    pub scheme: Scheme,
    /// Shift biases by what the rounding of weights changes on average (Nagel et al., Data-Free Quantization
    /// Through Weight Equalization and Bias Correction, 2019).
    pub bias_correction: bool,
    /// Names of nodes that stay floats.
    pub keep_float: HashSet<String>,
}

/// What calibration saw, by value.
pub type Observations = HashMap<ValueId, Observed>;

/// How much of a network computes on the grid.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Share {
    /// Operators, without those that only mark the grid.
    pub operators: usize,
    /// Operators whose activations are all on the grid.
    pub quantized: usize,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Multiply-accumulates of quantized operators.
    pub quantized_macs: u64,
}

/// Counts which operators have their inputs from a `Dequantize` and their output in a `Quantize`.
pub fn share(graph: &Graph) -> Share {
    let mut from_grid = vec![false; graph.values().len()];
    let mut to_grid = vec![false; graph.values().len()];
    for node in &graph.nodes {
        match node.op {
            Op::Dequantize(_) => from_grid[node.output.index()] = true,
            Op::Quantize(_) => to_grid[node.inputs[0].index()] = true,
            _ => {}
        }
    }
    let mut share = Share::default();
    for node in graph.nodes.iter().filter(|n| !matches!(n.op, Op::Quantize(_) | Op::Dequantize(_))) {
        let shapes: Vec<&[usize]> = node.inputs.iter().map(|&id| graph.shape(id)).collect();
        let macs = shape::macs(&node.op, &shapes, graph.shape(node.output));
        let mut activations = node.inputs.iter().filter(|&&id| graph.constant(id).is_none());
        share.operators += 1;
        share.macs += macs;
        if activations.all(|id| from_grid[id.index()]) && to_grid[node.output.index()] {
            share.quantized += 1;
            share.quantized_macs += macs;
        }
    }
    share
}

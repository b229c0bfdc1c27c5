//! Weights and biases on the grid.

use super::{Observed, Options, Scheme};
use crate::graph::op::Op;
use crate::graph::quantization::{Integer, Quantization};
use crate::graph::{Graph, Node, Tensor};

/// Largest stored weight: symmetric, so that products of 16-bit pairs cannot overflow.
const MAX_WEIGHT: f32 = 127.0;
/// Largest stored bias; leaves room for the sum of products.
const MAX_BIAS: f32 = (1 << 30) as f32;

/// Weights and bias of a layer on the grid.
pub struct Layer {
    /// Stored weights.
    pub weights: Tensor,
    /// Their grid.
    pub weight_grid: Quantization,
    /// The bias in floats, corrected.
    pub bias: Vec<f32>,
}

/// The axis of output channels, for weights that may have a scale for each.
pub fn channel_axis(op: &Op, scheme: Scheme) -> Option<usize> {
    match op {
        Op::Conv(_) => Some(0),
        Op::ConvTranspose(c) => (c.groups == 1).then_some(1),
        Op::Gemm { trans_b, .. } => (!scheme.is_tflite()).then_some(usize::from(!trans_b)),
        Op::MatMul => (!scheme.is_tflite()).then_some(1),
        _ => None,
    }
}

/// Quantizes a layer whose input has the scale `input_scale`; `None` if its weights are not constant.
pub fn layer(
    graph: &Graph,
    node: &Node,
    input_scale: f32,
    seen: Option<&Observed>,
    options: &Options,
) -> Option<Layer> {
    let id = *node.inputs.get(1)?;
    let (data, shape) = (graph.constant_f32(id)?, graph.shape(id).to_vec());
    let axis = channel_axis(&node.op, options.scheme).filter(|_| node.op != Op::MatMul || shape.len() == 2);
    let channels = outputs(&node.op, &shape);
    let mut bias = match node.inputs.get(2).and_then(|&id| graph.constant_f32(id)) {
        Some(bias) => bias.to_vec(),
        None => vec![0.0; channels],
    };
    let mut largest = vec![0f32; axis.map_or(1, |a| shape[a])];
    let slices = largest.len();
    let inner: usize = axis.map_or(data.len(), |a| shape[a + 1..].iter().product());
    let slice_of = |i: usize| i / inner.max(1) % slices;
    data.iter().enumerate().for_each(|(i, w)| {
        let most = &mut largest[slice_of(i)];
        *most = most.max(w.abs());
    });
    // A bias that is huge beside its weights would overflow: a coarser scale for the weights then.
    let bias_of = |slice: usize| match slices {
        1 => bias.iter().fold(0f32, |m, b| m.max(b.abs())),
        _ => bias.get(slice).map_or(0.0, |b| b.abs()),
    };
    let scale_of = |(slice, &most): (usize, &f32)| {
        let scale = (most / MAX_WEIGHT).max(bias_of(slice) / (input_scale * MAX_BIAS));
        if scale > 0.0 { scale.max(f32::MIN_POSITIVE) } else { 1.0 }
    };
    let scale: Vec<f32> = largest.iter().enumerate().map(scale_of).collect();
    let weight_grid = match axis {
        Some(axis) => Quantization::per_axis(scale, axis, Integer::Int8),
        None => Quantization::per_tensor(scale[0], 0, Integer::Int8),
    };
    let stored: Vec<i64> = data
        .iter()
        .enumerate()
        .map(|(i, &w)| i64::from(weight_grid.store(w, slice_of(i)).max(-(MAX_WEIGHT as i32))))
        .collect();
    if let Some(seen) = seen.filter(|_| options.bias_correction) {
        let lost = |i: usize| data[i] - weight_grid.value(stored[i] as i32, slice_of(i));
        correct(&node.op, &shape, &seen.channel_means, lost, &mut bias);
    }
    Some(Layer { weights: Tensor::i64(shape, stored).ok()?, weight_grid, bias })
}

/// The grid of a bias, which follows from those of the input and the weights.
pub fn bias_grid(input_scale: f32, weights: &Quantization) -> Quantization {
    let scale: Vec<f32> = weights.scale.iter().map(|s| (s * input_scale).max(f32::MIN_POSITIVE)).collect();
    match weights.axis {
        Some(_) => Quantization::per_axis(scale, 0, Integer::Int32),
        None => Quantization::per_tensor(scale[0], 0, Integer::Int32),
    }
}

/// Number of output channels of a layer with these weights.
fn outputs(op: &Op, shape: &[usize]) -> usize {
    match op {
        Op::Conv(_) => shape[0],
        Op::ConvTranspose(c) => shape[1] * c.groups,
        Op::Gemm { trans_b: true, .. } => shape[0],
        _ => shape.last().copied().unwrap_or(1),
    }
}

/// Adds to each bias what rounding took from the weights, times the mean of the input they meet.
fn correct(op: &Op, shape: &[usize], means: &[f64], lost: impl Fn(usize) -> f32, bias: &mut [f32]) {
    let taps: usize = shape.get(2..).unwrap_or_default().iter().product();
    let mut shift = vec![0f64; bias.len()];
    for i in 0..shape.iter().product() {
        let (a, b) = (i / taps / shape[1], i / taps % shape[1]);
        let (input, output, share) = match op {
            Op::Conv(c) => (a / (shape[0] / c.groups).max(1) * shape[1] + b, a, 1.0),
            // Of a stride's taps only one in each direction meets a given output pixel.
            Op::ConvTranspose(c) => {
                let share = 1.0 / (c.strides[0] * c.strides[1]) as f64;
                (a, a / (shape[0] / c.groups).max(1) * shape[1] + b, share)
            }
            Op::Gemm { trans_b: true, .. } => (b, a, 1.0),
            _ => (a, b, 1.0),
        };
        if let (Some(mean), Some(shift)) = (means.get(input), shift.get_mut(output)) {
            *shift += f64::from(lost(i)) * mean * share;
        }
    }
    bias.iter_mut().zip(shift).for_each(|(b, s)| *b += s as f32);
}

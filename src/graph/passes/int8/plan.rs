//! Which operators are quantized, and which tensors share a grid.

use std::collections::HashMap;

use super::{Observations, Options, Scheme};
use crate::graph::op::{Binary, Op, PadMode, Reduce};
use crate::graph::quantization::{Integer, Quantization};
use crate::graph::{Graph, Node, Unary, ValueId};

/// Smallest width of a range: a tensor that is always 0 still needs a positive scale.
const MIN_WIDTH: f32 = 1e-6;

/// Which operators are quantized, and the grid of each activation that needs one.
pub struct Plan {
    /// Per node.
    pub quantized: Vec<bool>,
    /// Per activation.
    pub grids: HashMap<ValueId, Quantization>,
}

/// Works the plan out. An error names a tensor that calibration did not see.
pub fn plan(graph: &Graph, observations: &Observations, options: &Options) -> Result<Plan, String> {
    let quantized = choose(graph, options);
    let mut groups = Groups { parent: (0..graph.values().len()).collect(), fixed: HashMap::new() };
    for (node, _) in graph.nodes.iter().zip(&quantized).filter(|(_, q)| **q) {
        if let Some(grid) = fixed_grid(node, options.scheme) {
            groups.fixed.insert(node.output.index(), grid);
        }
        if is_passive(&node.op) {
            let inputs: Vec<ValueId> =
                node.inputs.iter().copied().filter(|&id| graph.constant(id).is_none()).collect();
            for id in &inputs {
                // Joining what has a fixed grid with something else needs a requantization instead.
                let root = groups.root(id.index());
                if inputs.len() == 1 || !groups.fixed.contains_key(&root) {
                    groups.join(id.index(), node.output.index());
                }
            }
        }
    }
    let mut ranges: HashMap<usize, (f32, f32)> = HashMap::new();
    let mut needed: Vec<ValueId> = vec![];
    for (node, _) in graph.nodes.iter().zip(&quantized).filter(|(_, q)| **q) {
        let activations = node.inputs.iter().copied().filter(|&id| graph.constant(id).is_none());
        for id in activations.chain([node.output]) {
            let name = &graph.value(id).name;
            let seen = observations.get(&id).ok_or_else(|| format!("{name:?} was not observed"))?;
            let (low, high) = seen.range;
            let mut include = |root: usize| {
                let range = ranges.entry(root).or_insert((0.0, 0.0));
                *range = (range.0.min(low), range.1.max(high));
            };
            include(groups.root(id.index()));
            if is_passive(&node.op) {
                include(groups.root(node.output.index()));
            }
            needed.push(id);
        }
        // What is joined to the values, or padded around them, must be on their grid too.
        if is_passive(&node.op) {
            let mut ends = match node.op {
                Op::Pad { mode: PadMode::Constant(v), .. } => (v.min(0.0), v.max(0.0)),
                _ => (0.0, 0.0),
            };
            for constant in node.inputs.iter().filter_map(|&id| graph.constant(id)) {
                ends = constant.to_f32().iter().fold(ends, |(l, h), &v| (l.min(v), h.max(v)));
            }
            let range = ranges.entry(groups.root(node.output.index())).or_insert((0.0, 0.0));
            *range = (range.0.min(ends.0), range.1.max(ends.1));
        }
    }
    let grid_of = |id: ValueId| {
        let root = groups.root(id.index());
        let range = ranges.get(&root).copied().unwrap_or_default();
        groups.fixed.get(&root).cloned().unwrap_or_else(|| grid(range, options.scheme))
    };
    let grids = needed.iter().map(|&id| (id, grid_of(id))).collect();
    Ok(Plan { quantized, grids })
}

/// The grid over a range that holds 0.
pub fn grid((low, high): (f32, f32), scheme: Scheme) -> Quantization {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let (scale, zero) = match scheme {
        Scheme::Symmetric => (low.abs().max(high).max(MIN_WIDTH) / 127.0, 0),
        Scheme::Asymmetric | Scheme::TfLite | Scheme::EdgeTpu => {
            let scale = (high - low).max(MIN_WIDTH) / 255.0;
            (scale, (-128.0 - low / scale).round().clamp(-128.0, 127.0) as i32)
        }
    };
    Quantization::per_tensor(scale, zero, Integer::Int8)
}

/// Whether an operator only moves or selects values, so that inputs and output share their grid.
pub fn is_passive(op: &Op) -> bool {
    match op {
        Op::Pool(_)
        | Op::Resize(_)
        | Op::Concat { .. }
        | Op::Slice { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::Expand { .. }
        | Op::Identity
        | Op::Binary(Binary::Max | Binary::Min) => true,
        Op::Reduce { kind, .. } => matches!(kind, Reduce::Max | Reduce::Min),
        _ => false,
    }
}

/// The grids that TensorFlow Lite fixes.
fn fixed_grid(node: &Node, scheme: Scheme) -> Option<Quantization> {
    let (steps, zero) = match node.op {
        _ if !scheme.is_tflite() => return None,
        Op::Unary(Unary::Sigmoid) | Op::Softmax { .. } => (256.0, -128),
        Op::Unary(Unary::Tanh) => (128.0, 0),
        _ => return None,
    };
    Some(Quantization::per_tensor(1.0 / steps, zero, Integer::Int8))
}

fn choose(graph: &Graph, options: &Options) -> Vec<bool> {
    let mut on_grid = vec![false; graph.values().len()];
    graph.inputs.iter().for_each(|id| on_grid[id.index()] = true);
    let decide = |node: &Node| {
        let mut quantized =
            supported(graph, node, options.scheme) && !options.keep_float.contains(&node.name);
        // Values that are floats need no grid just to be moved.
        quantized &= !is_passive(&node.op) || node.inputs.iter().any(|id| on_grid[id.index()]);
        on_grid[node.output.index()] = quantized;
        quantized
    };
    graph.nodes.iter().map(decide).collect()
}

/// Whether an operator can be quantized at all, and the target gains by it.
fn supported(graph: &Graph, node: &Node, scheme: Scheme) -> bool {
    let tflite = scheme.is_tflite();
    let constant = |slot: usize| node.inputs.get(slot).is_some_and(|&id| graph.constant_f32(id).is_some());
    match &node.op {
        Op::Conv(c) => constant(1) && (!c.bias || constant(2)) && c.residual.is_none(),
        Op::ConvTranspose(c) => constant(1) && (!c.bias || constant(2)),
        Op::Gemm { alpha, beta, trans_a, .. } => {
            let columns = graph.shape(node.output)[1];
            let bias = node
                .inputs
                .get(2)
                .is_none_or(|&id| *beta == 1.0 && graph.constant_f32(id).is_some_and(|b| b.len() == columns));
            *alpha == 1.0 && !trans_a && constant(1) && bias
        }
        Op::MatMul => true,
        Op::Binary(Binary::Add | Binary::Mul | Binary::Sub) => true,
        Op::Binary(Binary::Max | Binary::Min) => tflite,
        Op::Pad { mode: PadMode::Constant(v), .. } => v.abs() <= f32::MAX,
        Op::Unary(u) => match u {
            Unary::Relu | Unary::Clip { .. } | Unary::LeakyRelu { .. } | Unary::Sigmoid => true,
            Unary::HardSwish | Unary::Tanh | Unary::HardSigmoid { .. } => tflite,
            _ => false,
        },
        Op::Reduce { kind, .. } => *kind == Reduce::Mean || tflite,
        Op::Softmax { .. } | Op::PRelu => tflite,
        op => is_passive(op),
    }
}

/// Sets of values that share a grid.
struct Groups {
    parent: Vec<usize>,
    fixed: HashMap<usize, Quantization>,
}

impl Groups {
    fn root(&self, mut i: usize) -> usize {
        while self.parent[i] != i {
            i = self.parent[i];
        }
        i
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        // The one with a fixed grid stays the root.
        let (root, child) = if self.fixed.contains_key(&b) { (b, a) } else { (a, b) };
        self.parent[child] = root;
    }
}

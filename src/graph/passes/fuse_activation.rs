//! Activations go into the convolution before them; x · sigmoid(x) becomes SiLU, and
//! x · hard-sigmoid(x) becomes hard-swish.

use crate::graph::op::{Binary, Op};
use crate::graph::{Graph, Unary, ValueId};

/// Fuses them. Returns how many nodes went.
pub fn run(graph: &mut Graph) -> usize {
    let patterns = recognise(graph);
    let fused = fuse(graph);
    super::dead_code::run(graph);
    patterns + fused
}

/// Multiplications of a value by a gate of itself.
fn recognise(graph: &mut Graph) -> usize {
    let mut found = 0;
    let producers = graph.producers();
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        let Op::Binary(Binary::Mul) = node.op else { continue };
        let gate = |value: ValueId, gate: ValueId| {
            let gate = &graph.nodes[producers[gate.index()]?];
            match (&gate.op, gate.inputs[0] == value) {
                (Op::Unary(Unary::Sigmoid), true) => Some((value, Unary::Silu)),
                (Op::Unary(Unary::HardSigmoid { alpha, beta }), true)
                    if (alpha - 1.0 / 6.0).abs() < 1e-6 && *beta == 0.5 =>
                {
                    Some((value, Unary::HardSwish))
                }
                _ => None,
            }
        };
        let (a, b) = (node.inputs[0], node.inputs[1]);
        if let Some((value, unary)) = gate(a, b).or_else(|| gate(b, a)) {
            let node = &mut graph.nodes[i];
            node.op = Op::Unary(unary);
            node.inputs = vec![value];
            found += 1;
        }
    }
    super::dead_code::run(graph);
    found
}

fn fuse(graph: &mut Graph) -> usize {
    let mut fused = 0;
    let mut uses = graph.use_counts();
    let producers = graph.producers();
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        let Op::Unary(unary) = node.op else { continue };
        let (from, to) = (node.output, node.inputs[0]);
        let Some(producer) = producers[to.index()] else { continue };
        if uses[to.index()] != 1 {
            continue;
        }
        let slot = match &mut graph.nodes[producer].op {
            Op::Conv(c) if c.residual.is_none() => &mut c.activation,
            Op::ConvTranspose(c) => &mut c.activation,
            _ => continue,
        };
        if slot.is_some() {
            continue;
        }
        *slot = Some(unary);
        let name = graph.value(from).name.clone();
        graph.value_mut(to).name = name;
        graph.replace_uses(from, to);
        uses[to.index()] = uses[from.index()];
        uses[from.index()] = 0;
        fused += 1;
    }
    fused
}

//! The addition that closes a residual block goes into the convolution that feeds it.

use crate::graph::op::{Binary, Op, Residual};
use crate::graph::{Graph, Unary};

/// Fuses them. Returns how many nodes went.
pub fn run(graph: &mut Graph) -> usize {
    let mut fused = 0;
    for i in 0..graph.nodes.len() {
        if fuse_addition(graph, i) {
            fused += 1;
        }
    }
    fused += fuse_activations(graph);
    super::dead_code::run(graph);
    fused
}

/// Turns an addition into the convolution that is its later operand; the convolution itself is left dead.
fn fuse_addition(graph: &mut Graph, i: usize) -> bool {
    let Op::Binary(Binary::Add) = graph.nodes[i].op else { return false };
    let inputs = graph.nodes[i].inputs.clone();
    if inputs[0] == inputs[1] || graph.shape(inputs[0]) != graph.shape(inputs[1]) {
        return false;
    }
    let uses = graph.use_counts();
    let producer = |slot: usize| {
        let id = inputs[slot];
        let at = graph.nodes[..i].iter().position(|n| n.output == id)?;
        // Weights that are computed leave no room for another input at run time.
        let constant = graph.nodes[at].inputs.iter().skip(1).all(|&id| graph.constant(id).is_some());
        let fits = constant && matches!(&graph.nodes[at].op, Op::Conv(c) if c.residual.is_none());
        (fits && uses[id.index()] == 1).then_some((at, inputs[1 - slot]))
    };
    // The later one, so that the other operand is there when the fused convolution runs.
    let Some((at, residual)) = [0, 1].into_iter().filter_map(producer).max_by_key(|&(at, _)| at) else {
        return false;
    };
    let mut node = graph.nodes[at].clone();
    let Op::Conv(c) = &mut node.op else { return false };
    c.residual = Some(match c.activation {
        Some(_) => Residual::AfterActivation,
        None => Residual::BeforeActivation,
    });
    node.inputs.push(residual);
    node.output = graph.nodes[i].output;
    graph.nodes[i] = node;
    true
}

/// ResNet's order: the activation follows the addition.
fn fuse_activations(graph: &mut Graph) -> usize {
    let (uses, producers) = (graph.use_counts(), graph.producers());
    let mut fused = 0;
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        let Op::Unary(unary) = node.op else { continue };
        let (from, to) = (node.output, node.inputs[0]);
        let Some(producer) = producers[to.index()] else { continue };
        if uses[to.index()] == 1 && take_activation(&mut graph.nodes[producer].op, unary) {
            let name = graph.value(from).name.clone();
            graph.value_mut(to).name = name;
            graph.replace_uses(from, to);
            fused += 1;
        }
    }
    fused
}

fn take_activation(op: &mut Op, unary: Unary) -> bool {
    match op {
        Op::Conv(c) if c.residual == Some(Residual::BeforeActivation) && c.activation.is_none() => {
            c.activation = Some(unary);
            true
        }
        _ => false,
    }
}

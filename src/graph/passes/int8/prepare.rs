//! The form of a network that is quantized: simplified, and with nothing fused but what integer kernels have.

use super::Scheme;
use super::expand::expand;
use crate::graph::names::Names;
use crate::graph::op::{Conv, ConvTranspose};
use crate::graph::{Graph, Node, Op, Unary, Value, ValueId, passes};

/// Simplifies a network, expresses it in what `scheme` has integer kernels for, and gives every operator a tensor
/// of its own that can be observed.
///
/// # Errors
/// If the network is quantized already.
pub fn prepare(graph: &Graph, scheme: Scheme) -> Result<Graph, String> {
    if graph.nodes.iter().any(|n| matches!(n.op, Op::Quantize(_) | Op::Dequantize(_))) {
        return Err("is quantized already: start from the original".into());
    }
    let mut graph = graph.clone();
    passes::simplify(&mut graph);
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for mut node in std::mem::take(&mut graph.nodes) {
        match take_activation(&mut node.op) {
            None => nodes.push(node),
            Some(activation) => {
                let (name, shape) = (&graph.value(node.output).name, graph.shape(node.output).to_vec());
                let sum = Value { name: format!("{name}.sum"), shape, constant: None };
                let sum = graph.add_value(sum);
                let name = format!("{}.activation", node.name);
                let output = std::mem::replace(&mut node.output, sum);
                nodes.push(node);
                nodes.push(Node { name, op: Op::Unary(activation), inputs: vec![sum], output });
            }
        }
    }
    graph.nodes = nodes;
    expand(&mut graph, scheme);
    name_nodes(&mut graph);
    Ok(graph)
}

/// Gives every node a name that no other has: layers are asked for and reported by it.
fn name_nodes(graph: &mut Graph) {
    let mut names = Names::default();
    for i in 0..graph.nodes.len() {
        let node = &graph.nodes[i];
        let base = if node.name.is_empty() { &graph.value(node.output).name } else { &node.name };
        graph.nodes[i].name = names.unique(base);
    }
}

/// Takes out an activation that is more than a clamp.
fn take_activation(op: &mut Op) -> Option<Unary> {
    let (Op::Conv(Conv { activation, .. }) | Op::ConvTranspose(ConvTranspose { activation, .. })) = op else {
        return None;
    };
    activation.take_if(|a| !matches!(a, Unary::Relu | Unary::Clip { .. }))
}

/// Values that calibration must observe: everything that is not constant.
pub fn activations(graph: &Graph) -> Vec<ValueId> {
    graph.inputs.iter().copied().chain(graph.nodes.iter().map(|n| n.output)).collect()
}

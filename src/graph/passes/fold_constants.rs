//! Constant folding: what depends on constants alone is computed once.

use crate::graph::eval::evaluate;
use crate::graph::shape::{infer, macs};
use crate::graph::{Graph, Op, Tensor, ValueId};

/// Largest result that is worth keeping as a constant.
const MAX_FOLDED_ELEMENTS: usize = 1 << 24;
/// Largest number of multiply-accumulates that folding may spend on one node.
const MAX_FOLDED_MACS: u64 = 1 << 28;
/// Largest number of elements that all constants of a graph may hold together (1 GiB of floats).
pub const MAX_CONSTANT_ELEMENTS: usize = 1 << 28;

/// What folding may cost for all nodes of a graph together: a few seconds.
const MAX_COST: u64 = 1 << 30;

/// The result of `op` and what finding it costs, if its inputs are constant and it is cheap. An error says what does not
/// fit.
pub fn fold(graph: &Graph, op: &Op, inputs: &[ValueId]) -> Result<Option<(Tensor, u64)>, String> {
    // A grid that is made explicit stays so until `fuse_grid` removes it for engines that compute in floats.
    if matches!(op, Op::Quantize(_) | Op::Dequantize(_)) {
        return Ok(None);
    }
    let Some(constants) = inputs.iter().map(|&id| graph.constant(id)).collect::<Option<Vec<_>>>() else {
        return Ok(None);
    };
    if constants.is_empty() {
        return Ok(None);
    }
    let shapes: Vec<&[usize]> = constants.iter().map(|t| t.shape()).collect();
    let shape = infer(op, &shapes)?;
    let len: usize = shape.iter().product();
    let held: usize = graph.values().iter().filter_map(|v| v.constant.as_ref()).map(Tensor::len).sum();
    let macs = macs(op, &shapes, &shape);
    let elements = constants.iter().map(|tensor| tensor.len()).sum::<usize>() + len;
    let cost = macs.saturating_add(elements as u64);
    let spent = graph.folding_cost.saturating_add(cost);
    if len > MAX_FOLDED_ELEMENTS || macs > MAX_FOLDED_MACS || spent > MAX_COST {
        return Ok(None);
    }
    if held + len > MAX_CONSTANT_ELEMENTS {
        return Err(format!("the model's constants exceed the limit of {MAX_CONSTANT_ELEMENTS} values"));
    }
    Ok(Some((evaluate(op, &constants)?, cost)))
}

/// Replaces nodes whose inputs are all constant. Returns how many.
pub fn run(graph: &mut Graph) -> usize {
    let mut kept = Vec::with_capacity(graph.nodes.len());
    let mut folded = 0;
    for node in std::mem::take(&mut graph.nodes) {
        // A node that cannot be folded is kept: it was accepted when the graph was built.
        match fold(graph, &node.op, &node.inputs) {
            Ok(Some((tensor, cost))) => {
                graph.folding_cost += cost;
                graph.value_mut(node.output).constant = Some(tensor);
                folded += 1;
            }
            Ok(None) | Err(_) => kept.push(node),
        }
    }
    graph.nodes = kept;
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::Binary;

    #[test]
    fn arithmetic_on_constants_disappears() {
        let mut g = Graph::new("test");
        let two = g.add_constant("two", Tensor::f32(vec![1], vec![2.0]).unwrap());
        let x = g.add_input("x", vec![1]);
        let four = g.push("n", "four", Op::Binary(Binary::Mul), vec![two, two]).unwrap();
        let y = g.push("m", "y", Op::Binary(Binary::Add), vec![x, four]).unwrap();
        g.outputs.push(y);
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(g.constant_f32(four), Some([4.0].as_slice()));
    }

    #[test]
    fn huge_results_are_not_materialised() {
        let mut g = Graph::new("test");
        let one = g.add_constant("one", Tensor::f32(vec![1], vec![1.0]).unwrap());
        let op = Op::Expand { shape: vec![MAX_FOLDED_ELEMENTS + 1] };
        assert_eq!(fold(&g, &op, &[one]), Ok(None));
    }
}

//! For engines that compute in floats: onto the grid and straight back is a function of each value.

use crate::graph::eval::evaluate;
use crate::graph::{Graph, Op, Unary};

/// Turns each pair of `Quantize` and `Dequantize` into one [`Unary::Grid`]. Returns how many nodes went.
pub fn run(graph: &mut Graph) -> usize {
    let mut fused = unpack(graph);
    let producers = graph.producers();
    for i in 0..graph.nodes.len() {
        let Op::Dequantize(back) = &graph.nodes[i].op else { continue };
        let Some(producer) = producers[graph.nodes[i].inputs[0].index()] else { continue };
        let Op::Quantize(to) = &graph.nodes[producer].op else { continue };
        let ([scale], [zero], true) = (&to.scale[..], &to.zero_point[..], to == back) else { continue };
        let bound = |stored: i32| (f64::from(stored) - f64::from(*zero)) as f32;
        let grid = Unary::Grid { scale: *scale, low: bound(to.integer.min()), high: bound(to.integer.max()) };
        let inputs = graph.nodes[producer].inputs.clone();
        let node = &mut graph.nodes[i];
        (node.op, node.inputs) = (Op::Unary(grid), inputs);
        fused += 1;
    }
    super::dead_code::run(graph);
    fused
}

/// Turns constants behind a grid into floats. Returns how many nodes went.
pub fn unpack(graph: &mut Graph) -> usize {
    let before = graph.nodes.len();
    let mut kept = Vec::with_capacity(before);
    for node in std::mem::take(&mut graph.nodes) {
        let marks = matches!(node.op, Op::Quantize(_) | Op::Dequantize(_));
        let constant = graph.constant(node.inputs[0]).filter(|_| marks);
        match constant.and_then(|t| evaluate(&node.op, &[t]).ok()) {
            Some(tensor) => graph.value_mut(node.output).constant = Some(tensor),
            None => kept.push(node),
        }
    }
    graph.nodes = kept;
    before - graph.nodes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Tensor;
    use crate::graph::quantization::{Integer, Quantization};

    #[test]
    fn the_pair_and_the_function_agree() {
        let q = Quantization::per_tensor(0.3, -20, Integer::Int8);
        let mut g = Graph::new("test");
        let x = g.add_input("x", vec![5]);
        let stored = g.push("q", "stored", Op::Quantize(q.clone()), vec![x]).unwrap();
        let y = g.push("dq", "y", Op::Dequantize(q.clone()), vec![stored]).unwrap();
        g.outputs.push(y);
        let x = Tensor::f32(vec![5], vec![-100.0, -0.16, 0.0, 7.43, 1000.0]).unwrap();
        let stored = evaluate(&Op::Quantize(q.clone()), &[&x]).unwrap();
        assert_eq!(stored.as_f32().unwrap(), [-128.0, -21.0, -20.0, 5.0, 127.0]);
        let pair = evaluate(&Op::Dequantize(q), &[&stored]).unwrap();
        assert_eq!(run(&mut g), 1);
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(evaluate(&g.nodes[0].op, &[&x]).unwrap(), pair);
    }
}

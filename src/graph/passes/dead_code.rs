//! Dead code: nodes that no output depends on, and the content of constants that nothing uses.

use crate::graph::Graph;

/// Removes them. Returns how many nodes went.
pub fn run(graph: &mut Graph) -> usize {
    let mut needed = vec![false; graph.values().len()];
    graph.outputs.iter().for_each(|id| needed[id.index()] = true);
    for node in graph.nodes.iter().rev() {
        if needed[node.output.index()] {
            node.inputs.iter().for_each(|id| needed[id.index()] = true);
        }
    }
    let before = graph.nodes.len();
    graph.nodes.retain(|node| needed[node.output.index()]);
    for (value, needed) in graph.values.iter_mut().zip(needed) {
        if !needed {
            value.constant = None;
        }
    }
    before - graph.nodes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Op, Unary};

    #[test]
    fn only_what_the_output_needs_stays() {
        let mut g = Graph::new("test");
        let x = g.add_input("x", vec![4]);
        let y = g.push("keep", "y", Op::Unary(Unary::Relu), vec![x]).unwrap();
        let z = g.push("drop", "z", Op::Unary(Unary::Exp), vec![y]).unwrap();
        g.push("drop too", "w", Op::Unary(Unary::Exp), vec![z]).unwrap();
        g.outputs.push(y);
        assert_eq!(run(&mut g), 2);
        assert_eq!(g.nodes.len(), 1);
        assert_eq!(g.nodes[0].name, "keep");
    }
}

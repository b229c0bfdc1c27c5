//! Identity removal: nodes that pass their input on, and reshapes, casts or slices that change nothing.

use std::collections::HashMap;

use crate::graph::{Graph, Op, ValueId};

/// Removes them. Returns how many. A node that gives an output its name stays.
pub fn run(graph: &mut Graph) -> usize {
    // What stands for each value that goes. Nodes come after those that they use, so that one pass is enough.
    let mut instead: HashMap<ValueId, ValueId> = HashMap::new();
    for i in 0..graph.nodes.len() {
        let inputs = &mut graph.nodes[i].inputs;
        inputs.iter_mut().for_each(|id| *id = instead.get(id).copied().unwrap_or(*id));
        let node = &graph.nodes[i];
        if !graph.outputs.contains(&node.output) && changes_nothing(graph, i) {
            instead.insert(node.output, node.inputs[0]);
        }
    }
    super::dead_code::run(graph);
    instead.len()
}

fn changes_nothing(graph: &Graph, i: usize) -> bool {
    let node = &graph.nodes[i];
    let same_shape = || graph.shape(node.inputs[0]) == graph.shape(node.output);
    match &node.op {
        Op::Identity => true,
        Op::Reshape { .. } | Op::Expand { .. } => same_shape(),
        Op::Slice { ranges } => same_shape() && ranges.iter().all(|r| r.start == 0 && r.step == 1),
        Op::Transpose { perm } => perm.iter().enumerate().all(|(i, &p)| i == p),
        Op::Concat { .. } => node.inputs.len() == 1,
        Op::Pad { before, after, .. } => before.iter().chain(after).all(|&p| p == 0),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Unary;

    #[test]
    fn identities_go_and_named_outputs_stay() {
        let mut g = Graph::new("test");
        let x = g.add_input("x", vec![2, 3]);
        let a = g.push("identity", "a", Op::Identity, vec![x]).unwrap();
        let b = g.push("reshape", "b", Op::Reshape { shape: vec![2, 3] }, vec![a]).unwrap();
        let c = g.push("relu", "c", Op::Unary(Unary::Relu), vec![b]).unwrap();
        let y = g.push("name", "y", Op::Identity, vec![c]).unwrap();
        g.outputs.push(y);
        assert_eq!(run(&mut g), 2);
        let names: Vec<_> = g.nodes.iter().map(|n| n.name.as_str()).collect();
        assert_eq!(names, ["relu", "name"]);
        assert_eq!(g.nodes[0].inputs, [x]);
    }
}

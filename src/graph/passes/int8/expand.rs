//! Functions that a target has no integer kernel for, in steps that it has one for.

use super::Scheme;
use crate::graph::op::Binary;
use crate::graph::{Graph, Node, Op, Tensor, Unary, Value, ValueId};

/// Replaces functions by steps that compute the same, each with a tensor of its own that can be observed.
///
/// Nobody divides integers; TensorFlow Lite has no x · sigmoid(x); the Edge TPU has neither hard-swish nor leaky
/// ReLU.
pub fn expand(graph: &mut Graph, scheme: Scheme) {
    for mut node in std::mem::take(&mut graph.nodes) {
        let Op::Unary(unary) = node.op else {
            multiply_instead(graph, &mut node);
            graph.nodes.push(node);
            continue;
        };
        let edge_tpu = scheme == Scheme::EdgeTpu;
        let x = node.inputs[0];
        let mut steps = Steps { graph, node: &node };
        match unary {
            Unary::Silu if scheme.is_tflite() => {
                let gate = steps.unary("gate", Unary::Sigmoid, x);
                steps.last(Binary::Mul, [x, gate]);
            }
            Unary::HardSwish if edge_tpu => {
                let gate = steps.gate(x, 1.0 / 6.0, 0.5);
                steps.last(Binary::Mul, [x, gate]);
            }
            Unary::HardSigmoid { alpha, beta } if scheme.is_tflite() && alpha > 0.0 => {
                let clipped = steps.clipped(x, alpha, beta);
                let alpha = steps.scalar("alpha", alpha);
                steps.last(Binary::Mul, [clipped, alpha]);
            }
            Unary::LeakyRelu { alpha } if edge_tpu && (0.0..=1.0).contains(&alpha) => {
                let alpha = steps.scalar("alpha", alpha);
                let low = steps.binary("low", Binary::Mul, [x, alpha]);
                steps.last(Binary::Max, [x, low]);
            }
            _ => graph.nodes.push(node),
        }
    }
}

/// A division by constants becomes a multiplication, which has integer kernels.
fn multiply_instead(graph: &mut Graph, node: &mut Node) {
    let Op::Binary(Binary::Div) = node.op else { return };
    let divisor = node.inputs[1];
    let Some(data) = graph.constant_f32(divisor).filter(|data| data.iter().all(|&d| d != 0.0)) else {
        return;
    };
    let reciprocal = data.iter().map(|d| d.recip()).collect();
    if let Ok(reciprocal) = Tensor::f32(graph.shape(divisor).to_vec(), reciprocal) {
        let name = format!("{}.reciprocal", graph.value(divisor).name);
        node.inputs[1] = graph.add_constant(name, reciprocal);
        node.op = Op::Binary(Binary::Mul);
    }
}

/// What a node becomes.
struct Steps<'a> {
    graph: &'a mut Graph,
    node: &'a Node,
}

impl Steps<'_> {
    /// clip(alpha · x + beta, 0, 1) / alpha: a shift and a clip of what is on a grid already.
    fn clipped(&mut self, x: ValueId, alpha: f32, beta: f32) -> ValueId {
        let shift = self.scalar("shift", beta / alpha);
        let shifted = self.binary("shifted", Binary::Add, [x, shift]);
        self.unary("clipped", Unary::Clip { min: 0.0, max: 1.0 / alpha }, shifted)
    }

    fn gate(&mut self, x: ValueId, alpha: f32, beta: f32) -> ValueId {
        let clipped = self.clipped(x, alpha, beta);
        let alpha = self.scalar("alpha", alpha);
        self.binary("gate", Binary::Mul, [clipped, alpha])
    }

    fn scalar(&mut self, part: &str, value: f32) -> ValueId {
        let name = self.name(part);
        self.graph.add_constant(name, Tensor::from(value))
    }

    fn unary(&mut self, part: &str, unary: Unary, x: ValueId) -> ValueId {
        self.step(part, Op::Unary(unary), vec![x])
    }

    fn binary(&mut self, part: &str, binary: Binary, inputs: [ValueId; 2]) -> ValueId {
        self.step(part, Op::Binary(binary), inputs.to_vec())
    }

    /// A step whose result has the shape of the node's.
    fn step(&mut self, part: &str, op: Op, inputs: Vec<ValueId>) -> ValueId {
        let shape = self.graph.shape(self.node.output).to_vec();
        let name = format!("{}.{part}", self.graph.value(self.node.output).name);
        let output = self.graph.add_value(Value { name, shape, constant: None });
        self.graph.nodes.push(Node { name: self.name(part), op, inputs, output });
        output
    }

    /// The step that gives what the node gave.
    fn last(&mut self, binary: Binary, inputs: [ValueId; 2]) {
        let Node { name, output, .. } = self.node.clone();
        self.graph.nodes.push(Node { name, op: Op::Binary(binary), inputs: inputs.to_vec(), output });
    }

    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.node.name)
    }
}

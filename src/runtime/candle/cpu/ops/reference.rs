//! Operators without a kernel of their own, by the graph's reference evaluator, on row-major values.

use std::sync::Arc;

use super::Step;
use crate::graph::Op;
use crate::graph::eval::{View, evaluate_into};
use crate::runtime::candle::cpu::team::Team;

/// Where an operand comes from.
pub enum Operand {
    /// A step's input.
    Input(usize),
    /// A constant.
    Constant(Arc<[f32]>),
}

/// An operator, its operands and their extents.
pub struct Reference {
    /// The operator.
    pub op: Op,
    /// Operands with their extents, at most two of them inputs.
    pub operands: Vec<(Operand, Vec<usize>)>,
    /// Extents of the output.
    pub shape: Vec<usize>,
}

impl Step for Reference {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn run(&self, _: &Team, out: &mut [f32], inputs: [&[f32]; 2]) {
        let mut views: Vec<View<'_>> = Vec::with_capacity(self.operands.len());
        for (operand, shape) in &self.operands {
            let len = shape.iter().product();
            let data = match operand {
                Operand::Input(i) => &inputs[*i][..len],
                Operand::Constant(c) => c,
            };
            views.push(View { shape, data });
        }
        let len = self.shape.iter().product();
        evaluate_into(&self.op, &views, &self.shape, &mut out[..len]);
    }
}

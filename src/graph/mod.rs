//! The network as data: operators, shapes, and passes over them.
//!
//! A [`Graph`] is plain data in topological order with static shapes. Readers in [`format`](crate::format)
//! build it with [`Graph::push`], [`passes`] simplify it, runtimes and exporters read it.

pub mod eval;
pub mod names;
pub mod op;
pub mod passes;
pub mod quantization;
pub mod resize;
pub mod shape;
pub mod tensor;
pub mod unary;

use crate::error::{Error, Result};
pub use op::Op;
pub use tensor::Tensor;
pub use unary::Unary;

/// Largest number of multiply-accumulates of one run: a real-time network needs a hundredth of it.
pub const MAX_MACS: u64 = 1 << 40;

/// Number of a value within its graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(usize);

impl ValueId {
    /// Position in [`Graph::values`].
    pub fn index(self) -> usize {
        self.0
    }
}

/// A tensor that flows through the graph, or a constant.
#[derive(Debug, Clone)]
pub struct Value {
    /// The name in the file, or one derived from it.
    pub name: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Its content, if it does not depend on the graph's inputs.
    pub constant: Option<Tensor>,
}

/// One step of the network.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name in the file, or one derived from it.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What from.
    pub inputs: Vec<ValueId>,
    /// What to.
    pub output: ValueId,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Graph {
    /// The model's name, for messages.
    pub name: String,
    /// Values that the caller gives.
    pub inputs: Vec<ValueId>,
    /// Values that the caller gets.
    pub outputs: Vec<ValueId>,
    /// Steps, each after all that it depends on.
    pub nodes: Vec<Node>,
    values: Vec<Value>,
    /// What folding constants has cost so far, in elements that were read, computed and written.
    folding_cost: u64,
}

impl Graph {
    /// A graph without anything in it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            inputs: vec![],
            outputs: vec![],
            nodes: vec![],
            values: vec![],
            folding_cost: 0,
        }
    }

    /// All values; [`ValueId::index`] is the position.
    pub fn values(&self) -> &[Value] {
        &self.values
    }

    /// One value.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// One value, to be changed.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.0]
    }

    /// Extents of a value.
    pub fn shape(&self, id: ValueId) -> &[usize] {
        &self.values[id.0].shape
    }

    /// A value's content, if it is constant.
    pub fn constant(&self, id: ValueId) -> Option<&Tensor> {
        self.values[id.0].constant.as_ref()
    }

    /// A value's content, if it is constant and holds floats.
    pub fn constant_f32(&self, id: ValueId) -> Option<&[f32]> {
        self.constant(id)?.as_f32()
    }

    fn add_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() - 1)
    }

    /// Adds a value that the caller gives.
    pub fn add_input(&mut self, name: impl Into<String>, shape: Vec<usize>) -> ValueId {
        let id = self.add_value(Value { name: name.into(), shape, constant: None });
        self.inputs.push(id);
        id
    }

    /// Adds a value that the caller gets and that no step of this graph computes: for networks that are
    /// executed from their file.
    pub fn add_output(&mut self, name: impl Into<String>, shape: Vec<usize>) -> ValueId {
        let id = self.add_value(Value { name: name.into(), shape, constant: None });
        self.outputs.push(id);
        id
    }

    /// Adds a constant.
    pub fn add_constant(&mut self, name: impl Into<String>, tensor: Tensor) -> ValueId {
        let shape = tensor.shape().to_vec();
        self.add_value(Value { name: name.into(), shape, constant: Some(tensor) })
    }

    /// Adds a step at the end, or its result as a constant where all inputs are constant and the result is
    /// cheap to find. `output` names the result. An error says why the operator does not fit its inputs.
    pub fn push(
        &mut self,
        name: &str,
        output: &str,
        op: Op,
        inputs: Vec<ValueId>,
    ) -> Result<ValueId, String> {
        if let Some((tensor, cost)) = passes::fold_constants::fold(self, &op, &inputs)? {
            self.folding_cost += cost;
            return Ok(self.add_constant(output, tensor));
        }
        let shapes: Vec<&[usize]> = inputs.iter().map(|&id| self.shape(id)).collect();
        let shape = shape::infer(&op, &shapes)?;
        let integers = |id: &ValueId| self.constant(*id).is_some_and(|t| t.as_i64().is_some());
        if !matches!(op, Op::Dequantize(_)) && inputs.iter().any(integers) {
            return Err("integers that are not constants are not supported".into());
        }
        let output = self.add_value(Value { name: output.to_owned(), shape, constant: None });
        self.nodes.push(Node { name: name.to_owned(), op, inputs, output });
        Ok(output)
    }

    /// Number of multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        let count = |node: &Node| {
            let shapes: Vec<&[usize]> = node.inputs.iter().map(|&id| self.shape(id)).collect();
            shape::macs(&node.op, &shapes, self.shape(node.output))
        };
        self.nodes.iter().map(count).fold(0, u64::saturating_add)
    }

    /// Makes `to` stand wherever `from` is used, as an output too.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        let all = self.nodes.iter_mut().flat_map(|n| &mut n.inputs).chain(&mut self.outputs);
        all.filter(|id| **id == from).for_each(|id| *id = to);
    }

    /// How often each value is used, as an input of nodes or as an output of the graph.
    pub fn use_counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.values.len()];
        for id in self.nodes.iter().flat_map(|n| &n.inputs).chain(&self.outputs) {
            counts[id.0] += 1;
        }
        counts
    }

    /// Which node produces each value.
    pub fn producers(&self) -> Vec<Option<usize>> {
        let mut producers = vec![None; self.values.len()];
        for (i, node) in self.nodes.iter().enumerate() {
            producers[node.output.0] = Some(i);
        }
        producers
    }

    /// An [`Error::Model`] about this graph.
    pub fn error(&self, detail: impl Into<String>) -> Error {
        Error::Model { model: self.name.clone(), detail: detail.into() }
    }
}

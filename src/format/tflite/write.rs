//! A graph as a TFLite model: operator by operator, channels last, padding that TFLite knows or made explicit;
//! what lies between a `Dequantize` and a `Quantize` on [integers](super::grid).

mod node;

use std::collections::HashMap;

use half::f16;

use super::grid;
use super::layout;
use super::model::{self, Attributes, Model, Operator, Tensor};
use super::schema::{self, Code, Fused, Kind};
use crate::error::{Error, Result};
use crate::graph::quantization::Quantization;
use crate::graph::tensor::fits_half;
use crate::graph::{Graph, Node, Op, Unary, ValueId, passes};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weights {
    /// As 32-bit floats.
    #[default]
    F32,
    /// As 16-bit floats, with an operator before each use that widens them; runtimes that compute in 16 bits
    /// take them as they are.
    F16,
}

/// How a network is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// How weights that are floats are stored.
    pub weights: Weights,
    /// Give and take 8-bit integers, as the Edge TPU wants it, where the graph's inputs go straight onto a
    /// grid and its outputs come straight off one. Without it inputs and outputs are floats.
    pub integer_io: bool,
}

/// Turns a graph into a TFLite model. A graph with an integer grid
/// ([`quantization`](crate::graph::quantization)) becomes one of 8-bit operators.
///
/// # Errors
/// [`Error::UnsupportedOperator`] for what TFLite has no operator for.
pub fn lower(graph: &Graph, options: Options) -> Result<Model> {
    let mut graph = graph.clone();
    // The passes would fold weights off their grid.
    if !graph.nodes.iter().any(|n| matches!(n.op, Op::Dequantize(_))) {
        passes::simplify(&mut graph);
    }
    let graph = &graph;
    let mut lowering = Lowering {
        graph,
        weights: options.weights,
        integer_io: options.integer_io,
        model: Model::default(),
        at: HashMap::new(),
        producers: graph.producers(),
        grids: grid::grids(graph),
        sources: HashMap::new(),
        computed: HashMap::new(),
        on_grid: HashMap::new(),
        integer: None,
    };
    lowering.model.description = concat!("endort ", env!("CARGO_PKG_VERSION")).to_owned();
    for &id in &graph.inputs {
        let tensor = lowering.stored(id);
        lowering.model.inputs.push(tensor);
    }
    for node in &graph.nodes {
        lowering.node(node).map_err(|detail| Error::UnsupportedOperator {
            model: graph.name.clone(),
            operator: node.op.name().into(),
            node: node.name.clone(),
            detail: format!("{detail} (in TFLite)"),
        })?;
    }
    for &id in &graph.outputs {
        lowering.output(id);
    }
    Ok(lowering.model)
}

/// A model under construction.
pub(super) struct Lowering<'a> {
    pub(super) graph: &'a Graph,
    weights: Weights,
    pub(super) integer_io: bool,
    pub(super) model: Model,
    /// The tensor that holds each value, as floats.
    pub(super) at: HashMap<ValueId, usize>,
    /// Which node computes each value.
    pub(super) producers: Vec<Option<usize>>,
    /// Grids of values that go nowhere else.
    pub(super) grids: HashMap<ValueId, Quantization>,
    /// The value that each constant tensor was made of.
    pub(super) sources: HashMap<usize, ValueId>,
    /// Values that an operator on integers computed, before their `Quantize`.
    pub(super) computed: HashMap<ValueId, usize>,
    /// Tensors on a grid, by the result of `Quantize` and of `Dequantize`.
    pub(super) on_grid: HashMap<ValueId, usize>,
    /// The grid of the result, while a node is being written that may turn out to compute on integers.
    pub(super) integer: Option<model::Quantization>,
}

/// An error says what TFLite cannot do.
type Done<T = ()> = std::result::Result<T, String>;

impl Lowering<'_> {
    /// The tensor of a value; a new one where it has none yet.
    pub(super) fn stored(&mut self, id: ValueId) -> usize {
        let on_grid = self.on_grid.get(&id).copied();
        if let Some(tensor) = on_grid.filter(|_| self.integer.is_some()) {
            return tensor;
        }
        if let Some(&tensor) = self.at.get(&id).filter(|_| self.integer.is_none()) {
            return tensor;
        }
        let value = self.graph.value(id);
        let shape = layout::shape(&value.shape);
        let tensor = match (self.constant(id), on_grid) {
            (Some(data), _) => {
                let data = if value.shape.len() == 4 {
                    layout::transpose(&data, &value.shape, &layout::from_graph())
                } else {
                    data
                };
                let tensor = self.floats(&value.name, shape, &data);
                self.sources.insert(tensor, id);
                tensor
            }
            (None, Some(tensor)) => self.widened(id, tensor),
            (None, None) => self.tensor(&value.name, shape),
        };
        // A constant that an operator on integers uses is stored for it alone.
        if self.integer.is_none() {
            self.at.insert(id, tensor);
        }
        tensor
    }

    /// A float tensor that an operator computes.
    pub(super) fn tensor(&mut self, name: &str, shape: Vec<usize>) -> usize {
        self.add(Tensor { name: name.to_owned(), shape, kind: Kind::F32, data: None, quantization: None })
    }

    fn add(&mut self, mut tensor: Tensor) -> usize {
        if tensor.name.is_empty() {
            tensor.name = format!("tensor_{}", self.model.tensors.len());
        }
        self.model.tensors.push(tensor);
        self.model.tensors.len() - 1
    }

    /// Constant floats.
    pub(super) fn floats(&mut self, name: &str, shape: Vec<usize>, data: &[f32]) -> usize {
        let data = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = name.to_owned();
        self.add(Tensor { name, shape, kind: Kind::F32, data: Some(data), quantization: None })
    }

    /// Constant integers.
    pub(super) fn integers(&mut self, name: &str, shape: Vec<usize>, data: &[i32]) -> usize {
        let data = data.iter().flat_map(|v| v.to_le_bytes()).collect();
        let name = name.to_owned();
        self.add(Tensor { name, shape, kind: Kind::I32, data: Some(data), quantization: None })
    }

    /// Weights, made of the value `id`: constants that are stored in half precision where that is asked for.
    pub(super) fn weights(&mut self, id: ValueId, shape: Vec<usize>, data: &[f32]) -> usize {
        let name = &self.graph.value(id).name;
        if self.weights == Weights::F32 || self.integer.is_some() || !fits_half(data) {
            let tensor = self.floats(name, shape, data);
            self.sources.insert(tensor, id);
            return tensor;
        }
        let halves = data.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect();
        let (kind, data) = (Kind::F16, Some(halves));
        let half =
            Tensor { name: format!("{name}.f16"), shape: shape.clone(), kind, data, quantization: None };
        let half = self.add(half);
        let wide = self.tensor(name, shape);
        self.emit(schema::DEQUANTIZE, 3, &[half], wide, Attributes::None);
        wide
    }

    /// Extents of a tensor.
    pub(super) fn shape(&self, tensor: usize) -> Vec<usize> {
        self.model.tensors[tensor].shape.clone()
    }

    /// A step.
    pub(super) fn emit(
        &mut self,
        code: Code,
        version: i32,
        inputs: &[usize],
        output: usize,
        attributes: Attributes,
    ) {
        let inputs = inputs.iter().copied().map(Some).collect();
        let outputs = vec![output];
        self.model.operators.push(Operator { code, custom: None, version, inputs, outputs, attributes });
    }

    /// A step whose result has the shape of its first input.
    pub(super) fn map(
        &mut self,
        code: Code,
        version: i32,
        inputs: &[usize],
        attributes: Attributes,
    ) -> usize {
        let output = self.tensor("", self.shape(inputs[0]));
        self.emit(code, version, inputs, output, attributes);
        output
    }

    /// The same values in another order.
    pub(super) fn transpose(&mut self, tensor: usize, perm: &[usize]) -> usize {
        let shape = self.shape(tensor);
        let moved: Vec<usize> = perm.iter().map(|&a| shape[a]).collect();
        if layout::keeps_order(&shape, perm) {
            return self.reshape(tensor, moved);
        }
        let indices: Vec<i32> = perm.iter().map(|&a| a as i32).collect();
        let indices = self.integers("", vec![perm.len()], &indices);
        let output = self.tensor("", moved);
        self.emit(schema::TRANSPOSE, 1, &[tensor, indices], output, Attributes::None);
        output
    }

    /// The same values under another shape.
    pub(super) fn reshape(&mut self, tensor: usize, shape: Vec<usize>) -> usize {
        if self.shape(tensor) == shape {
            return tensor;
        }
        let extents: Vec<i32> = shape.iter().map(|&n| n as i32).collect();
        let extents = self.integers("", vec![shape.len()], &extents);
        let output = self.tensor("", shape.clone());
        self.emit(schema::RESHAPE, 1, &[tensor, extents], output, Attributes::Reshape(shape));
        output
    }

    /// A value in the graph's own order of axes.
    pub(super) fn plain(&mut self, id: ValueId) -> usize {
        let tensor = self.stored(id);
        if self.graph.shape(id).len() == 4 { self.transpose(tensor, &layout::to_graph()) } else { tensor }
    }

    /// A tensor in the graph's order of axes, put into the stored one.
    pub(super) fn unplain(&mut self, tensor: usize) -> usize {
        if self.shape(tensor).len() == 4 { self.transpose(tensor, &layout::from_graph()) } else { tensor }
    }

    /// Makes `tensor` the one that holds a node's result.
    pub(super) fn finish(&mut self, node: &Node, tensor: usize) {
        let fresh = self.at.values().all(|&t| t != tensor) && self.model.tensors[tensor].data.is_none();
        let name = &self.graph.value(node.output).name;
        if fresh && !name.is_empty() {
            self.model.tensors[tensor].name.clone_from(name);
        }
        self.at.insert(node.output, tensor);
    }

    /// A value that the caller gets: a tensor of its own, under the graph's name.
    fn output(&mut self, id: ValueId) {
        let on_grid = self.on_grid.get(&id).copied().filter(|_| self.integer_io);
        let mut tensor = on_grid.unwrap_or_else(|| self.stored(id));
        let taken = self.model.inputs.contains(&tensor) || self.model.outputs.contains(&tensor);
        let name = &self.graph.value(id).name;
        if !taken && self.model.tensors[tensor].data.is_none() {
            self.model.tensors[tensor].name.clone_from(name);
        } else {
            let shape = self.shape(tensor);
            let extents: Vec<i32> = shape.iter().map(|&n| n as i32).collect();
            let extents = self.integers("", vec![shape.len()], &extents);
            let copy = self.tensor(name, shape.clone());
            self.emit(schema::RESHAPE, 1, &[tensor, extents], copy, Attributes::Reshape(shape));
            let source = self.model.tensors[tensor].clone();
            let target = &mut self.model.tensors[copy];
            (target.kind, target.quantization) = (source.kind, source.quantization);
            tensor = copy;
        }
        self.model.outputs.push(tensor);
    }

    /// A value of fewer axes, as it broadcasts against `rank` axes.
    fn broadcastable(&mut self, id: ValueId, rank: usize) -> Done<usize> {
        let shape = self.graph.shape(id);
        if shape.len() == rank || (rank != 4 && shape.len() < 4) {
            return Ok(self.stored(id));
        }
        if shape.len() > rank || rank > 4 {
            return Err(format!("broadcasting {shape:?} to {rank} axes"));
        }
        let full: Vec<usize> =
            std::iter::repeat_n(1, rank - shape.len()).chain(shape.iter().copied()).collect();
        if let Some(data) = self.constant(id) {
            let data = if rank == 4 { layout::transpose(&data, &full, &layout::from_graph()) } else { data };
            let name = self.graph.value(id).name.clone();
            let tensor = self.floats(&name, layout::shape(&full), &data);
            self.sources.insert(tensor, id);
            return Ok(tensor);
        }
        let tensor = self.stored(id);
        let tensor = self.reshape(tensor, full);
        Ok(self.unplain(tensor))
    }

    /// A function of each value.
    pub(super) fn unary(&mut self, x: usize, unary: Unary) -> Done<usize> {
        let simple = |code, version| Some((code, version, Attributes::None));
        let found = match unary {
            Unary::Relu => simple(schema::RELU, 1),
            Unary::Clip { min: 0.0, max: 6.0 } => simple(schema::RELU6, 1),
            Unary::Clip { min: -1.0, max: 1.0 } => simple(schema::RELU_N1_TO_1, 1),
            Unary::Sigmoid => simple(schema::LOGISTIC, 1),
            Unary::HardSwish => simple(schema::HARD_SWISH, 1),
            Unary::LeakyRelu { alpha } => Some((schema::LEAKY_RELU, 1, Attributes::LeakyRelu(alpha))),
            Unary::Elu { alpha: 1.0 } => simple(schema::ELU, 1),
            Unary::Tanh => simple(schema::TANH, 1),
            Unary::Exp => simple(schema::EXP, 1),
            Unary::Log => simple(schema::LOG, 1),
            Unary::Sqrt => simple(schema::SQRT, 1),
            Unary::Neg => simple(schema::NEG, 1),
            Unary::Abs => simple(schema::ABS, 1),
            Unary::Floor => simple(schema::FLOOR, 1),
            Unary::Ceil => simple(schema::CEIL, 1),
            _ => None,
        };
        if let Some((code, version, attributes)) = found {
            return Ok(self.map(code, version, &[x], attributes));
        }
        match unary {
            Unary::Clip { min, max } if self.saturates(min, max) => match &self.model.tensors[x].quantization
            {
                // What was computed just now gets the grid of the result.
                None => Ok(x),
                Some(_) => Ok(self.map(schema::QUANTIZE, 1, &[x], Attributes::None)),
            },
            Unary::Clip { min, max } => {
                let mut y = x;
                if min > f32::NEG_INFINITY {
                    y = self.with_scalar(schema::MAXIMUM, y, min);
                }
                if max < f32::INFINITY {
                    y = self.with_scalar(schema::MINIMUM, y, max);
                }
                Ok(y)
            }
            Unary::HardSigmoid { alpha, beta } => {
                let y = self.with_scalar(schema::MUL, x, alpha);
                let y = self.with_scalar(schema::ADD, y, beta);
                self.unary(y, Unary::Clip { min: 0.0, max: 1.0 })
            }
            Unary::Silu => {
                let gate = self.map(schema::LOGISTIC, 1, &[x], Attributes::None);
                Ok(self.map(schema::MUL, 1, &[x, gate], Attributes::Arithmetic(Fused::None)))
            }
            // max(x, 0) + alpha (e^min(x, 0) - 1)
            Unary::Elu { alpha } => {
                let low = self.with_scalar(schema::MINIMUM, x, 0.0);
                let low = self.map(schema::EXP, 1, &[low], Attributes::None);
                let low = self.with_scalar(schema::SUB, low, 1.0);
                let low = self.with_scalar(schema::MUL, low, alpha);
                let high = self.map(schema::RELU, 1, &[x], Attributes::None);
                Ok(self.map(schema::ADD, 1, &[high, low], Attributes::Arithmetic(Fused::None)))
            }
            // max(x, 0) + ln(1 + e^-|x|)
            Unary::Softplus => {
                let low = self.map(schema::ABS, 1, &[x], Attributes::None);
                let low = self.map(schema::NEG, 1, &[low], Attributes::None);
                let low = self.map(schema::EXP, 1, &[low], Attributes::None);
                let low = self.with_scalar(schema::ADD, low, 1.0);
                let low = self.map(schema::LOG, 1, &[low], Attributes::None);
                let high = self.map(schema::RELU, 1, &[x], Attributes::None);
                Ok(self.map(schema::ADD, 1, &[high, low], Attributes::Arithmetic(Fused::None)))
            }
            Unary::Reciprocal => {
                let one = self.floats("", vec![], &[1.0]);
                let output = self.tensor("", self.shape(x));
                self.emit(schema::DIV, 1, &[one, x], output, Attributes::Arithmetic(Fused::None));
                Ok(output)
            }
            other => Err(format!("there is no operator for {other:?}")),
        }
    }

    fn with_scalar(&mut self, code: Code, x: usize, value: f32) -> usize {
        let value = self.floats("", vec![], &[value]);
        let attributes = match code {
            schema::MAXIMUM | schema::MINIMUM => Attributes::None,
            _ => Attributes::Arithmetic(Fused::None),
        };
        self.map(code, 1, &[x, value], attributes)
    }

    /// An activation that follows `x`.
    pub(super) fn activate(&mut self, x: usize, activation: Option<Unary>) -> Done<usize> {
        activation.map_or(Ok(x), |unary| self.unary(x, unary))
    }
}

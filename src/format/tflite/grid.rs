//! Integers for the [writer](super::write): operators between a `Dequantize` and a `Quantize` become TFLite's
//! operators on 8-bit tensors.
//!
//! A node is first written as if it computed in floats, then what was written is turned into integers: the
//! result gets the grid of the `Quantize` behind it, what only moves values keeps the grid of its input,
//! constants are stored on theirs. Where that does not work out, the node stays a float one, with `DEQUANTIZE`
//! before and `QUANTIZE` behind it.

use std::collections::HashMap;

use super::model::{self, Attributes, Operator};
use super::schema::{self, Code, Kind};
use super::write::Lowering;
use crate::graph::quantization::{Integer, Quantization};
use crate::graph::tensor::Data;
use crate::graph::{Graph, Node, Op, ValueId};

/// Grids of values that are used by `Quantize` alone, all with the same parameters.
pub(super) fn grids(graph: &Graph) -> HashMap<ValueId, Quantization> {
    let mut found: HashMap<ValueId, Option<&Quantization>> = HashMap::new();
    for node in &graph.nodes {
        for &id in &node.inputs {
            let wanted = match &node.op {
                Op::Quantize(q) => Some(q),
                _ => None,
            };
            let entry = found.entry(id).or_insert(wanted);
            if *entry != wanted {
                *entry = None;
            }
        }
    }
    graph.outputs.iter().for_each(|&id| {
        found.insert(id, None);
    });
    found.into_iter().filter_map(|(id, q)| Some((id, q?.clone()))).collect()
}

/// A grid as TFLite has it for activations: one scale, 8 bits with a sign.
fn activation(q: &Quantization) -> Result<model::Quantization, String> {
    let ([scale], [zero]) = (&q.scale[..], &q.zero_point[..]) else {
        return Err("activations with a scale per channel".into());
    };
    let zero = match q.integer {
        Integer::Int8 => *zero,
        Integer::Uint8 => zero - 128,
        Integer::Int32 => return Err("activations of 32 bits".into()),
    };
    Ok(model::Quantization { scales: vec![*scale], zeros: vec![zero.into()], axis: 0 })
}

/// Operators that compute on 8 bits, with the version from which on they do.
pub(super) fn integer_version(code: Code) -> Option<i32> {
    Some(match code {
        schema::ADD
        | schema::AVERAGE_POOL_2D
        | schema::CONCATENATION
        | schema::LOGISTIC
        | schema::MAX_POOL_2D
        | schema::MUL
        | schema::RELU
        | schema::RELU6
        | schema::SOFTMAX
        | schema::TANH
        | schema::PAD
        | schema::GATHER
        | schema::TRANSPOSE
        | schema::MEAN
        | schema::SUB
        | schema::STRIDED_SLICE
        | schema::MAXIMUM
        | schema::MINIMUM
        | schema::PADV2
        | schema::SLICE
        | schema::SUM
        | schema::REDUCE_MAX
        | schema::REDUCE_MIN
        | schema::LEAKY_RELU
        | schema::RESIZE_BILINEAR
        | schema::RESIZE_NEAREST_NEIGHBOR => 2,
        schema::CONV_2D | schema::DEPTHWISE_CONV_2D | schema::TRANSPOSE_CONV => 3,
        schema::FULLY_CONNECTED | schema::BATCH_MATMUL => 4,
        schema::RELU_N1_TO_1 | schema::RESHAPE | schema::HARD_SWISH | schema::PRELU | schema::QUANTIZE => 1,
        _ => return None,
    })
}

/// Operators that move values without changing them.
pub(super) fn moves(code: Code) -> bool {
    matches!(
        code,
        schema::PAD
            | schema::PADV2
            | schema::RESHAPE
            | schema::TRANSPOSE
            | schema::SLICE
            | schema::STRIDED_SLICE
            | schema::GATHER
            | schema::CONCATENATION
            | schema::MAX_POOL_2D
            | schema::RESIZE_NEAREST_NEIGHBOR
    )
}

/// Which input holds the values, which the weights, and along which axis those have their scales.
fn roles(code: Code) -> (usize, Option<(usize, usize)>) {
    match code {
        schema::CONV_2D | schema::FULLY_CONNECTED => (0, Some((1, 0))),
        schema::DEPTHWISE_CONV_2D => (0, Some((1, 3))),
        schema::TRANSPOSE_CONV => (2, Some((1, 0))),
        _ => (0, None),
    }
}

impl Lowering<'_> {
    /// A constant's floats, whether it is stored as such or on a grid.
    pub(super) fn constant(&self, id: ValueId) -> Option<Vec<f32>> {
        if let Some(data) = self.graph.constant_f32(id) {
            return Some(data.to_vec());
        }
        let (q, stored) = self.stored_integers(id)?;
        let (inner, count) = q.slices(self.graph.shape(id));
        let slice = |i: usize| (i / inner.max(1)) % count;
        Some(stored.iter().enumerate().map(|(i, &v)| q.value(v as i32, slice(i))).collect())
    }

    /// The grid and the integers of a constant behind a `Dequantize`.
    pub(super) fn stored_integers(&self, id: ValueId) -> Option<(&Quantization, &[i64])> {
        let node = &self.graph.nodes[self.producers[id.index()]?];
        let Op::Dequantize(q) = &node.op else { return None };
        match self.graph.constant(node.inputs[0])?.data() {
            Data::I64(stored) => Some((q, stored)),
            Data::F32(_) => None,
        }
    }

    /// Onto a grid: nothing to do where the operator before it computes on the grid already.
    pub(super) fn quantize(&mut self, node: &Node, q: &Quantization) -> Result<(), String> {
        let (from, to) = (node.inputs[0], node.output);
        let grid = activation(q)?;
        let computed = self.computed.get(&from).copied();
        let tensor = match computed.filter(|&t| self.model.tensors[t].quantization.as_ref() == Some(&grid)) {
            Some(tensor) => tensor,
            None if self.integer_io
                && self.graph.inputs.contains(&from)
                && self.grids.contains_key(&from) =>
            {
                let tensor = self.stored(from);
                let input = &mut self.model.tensors[tensor];
                (input.kind, input.quantization) = (Kind::I8, Some(grid));
                tensor
            }
            None => {
                let source = match computed.or_else(|| self.on_grid.get(&from).copied()) {
                    Some(tensor) => tensor,
                    None => self.stored(from),
                };
                let shape = self.shape(source);
                let tensor = self.tensor(&self.graph.value(to).name.clone(), shape);
                self.emit(schema::QUANTIZE, 1, &[source], tensor, Attributes::None);
                let output = &mut self.model.tensors[tensor];
                (output.kind, output.quantization) = (Kind::I8, Some(grid));
                tensor
            }
        };
        self.on_grid.insert(to, tensor);
        Ok(())
    }

    /// Off a grid: whoever needs floats gets a `DEQUANTIZE` when it does.
    pub(super) fn dequantize(&mut self, node: &Node) {
        if let Some(&tensor) = self.on_grid.get(&node.inputs[0]) {
            self.on_grid.insert(node.output, tensor);
        }
    }

    /// The float tensor of a value that lies on a grid.
    pub(super) fn widened(&mut self, id: ValueId, tensor: usize) -> usize {
        let shape = self.shape(tensor);
        let wide = self.tensor(&self.graph.value(id).name.clone(), shape);
        self.emit(schema::DEQUANTIZE, 2, &[tensor], wide, Attributes::None);
        wide
    }

    /// Writes a node on integers, if that is possible; leaves everything as it was if not.
    pub(super) fn try_integer(&mut self, node: &Node) -> bool {
        let Some(q) = self.grids.get(&node.output) else { return false };
        let Ok(grid) = activation(q) else { return false };
        let ready = |id: &ValueId| self.on_grid.contains_key(id) || self.stored_integers(*id).is_some();
        if !node.inputs.iter().all(ready) {
            return false;
        }
        let (tensors, operators) = (self.model.tensors.len(), self.model.operators.len());
        let (at, sources) = (self.at.clone(), self.sources.clone());
        self.integer = Some(grid.clone());
        let result = self.operator(node);
        self.integer = None;
        let done = result.and_then(|tensor| {
            self.convert(tensors, operators, tensor, &grid)?;
            Ok(tensor)
        });
        match done {
            Ok(tensor) => {
                self.computed.insert(node.output, tensor);
                true
            }
            Err(_) => {
                self.model.tensors.truncate(tensors);
                self.model.operators.truncate(operators);
                (self.at, self.sources) = (at, sources);
                false
            }
        }
    }

    /// Turns what was written since `tensors` and `operators` into integers, its result onto `grid`.
    fn convert(
        &mut self,
        tensors: usize,
        operators: usize,
        result: usize,
        grid: &model::Quantization,
    ) -> Result<(), String> {
        if result < tensors {
            let same = self.model.tensors[result].quantization.as_ref() == Some(grid);
            return if same { Ok(()) } else { Err("changes the grid alone".into()) };
        }
        // What comes behind the last operator that computes only moves its values, so that one has the grid already.
        let written = &self.model.operators[operators..];
        let computing = written.iter().rposition(|o| !moves(o.code)).map(|at| operators + at);
        for at in operators..self.model.operators.len() {
            let Operator { code, inputs, outputs, .. } = self.model.operators[at].clone();
            let version = integer_version(code).ok_or("has no kernel for integers")?;
            let (data, weights) = roles(code);
            let input = inputs[data].ok_or("lacks its input")?;
            if let Some((index, axis)) = weights {
                self.store_weights(inputs[index].ok_or("lacks its weights")?, axis)?;
                if let Some(bias) = inputs.get(data.max(index) + 1).copied().flatten() {
                    self.store_bias(bias, input, inputs[index].unwrap_or(input))?;
                }
            }
            for &tensor in inputs.iter().flatten() {
                if self.model.tensors[tensor].kind == Kind::F32 {
                    self.store_operand(code, tensor, input)?;
                }
            }
            let before = self.model.tensors[input].quantization.clone();
            for output in outputs {
                let quantization = match (output == result || Some(at) == computing, moves(code)) {
                    (true, true) if before.as_ref() != Some(grid) => return Err("moves between grids".into()),
                    (true, _) => Some(grid.clone()),
                    (false, true) => before.clone(),
                    (false, false) => return Err("has a result in between without a grid".into()),
                };
                let tensor = &mut self.model.tensors[output];
                (tensor.kind, tensor.quantization) = (Kind::I8, quantization);
            }
            self.check_grids(code, at)?;
            let operator = &mut self.model.operators[at];
            operator.version = operator.version.max(version);
        }
        Ok(())
    }

    /// Whether a node is being written whose result lies on a grid that ends where a clip would: its integers saturate
    /// there, to half a step.
    pub(super) fn saturates(&self, min: f32, max: f32) -> bool {
        let Some(model::Quantization { scales, zeros, .. }) = &self.integer else { return false };
        let ([scale], [zero]) = (&scales[..], &zeros[..]) else { return false };
        let ends = [i8::MIN, i8::MAX].map(|q| (i64::from(q) - zero) as f32 * scale);
        ends[0] >= min - scale / 2.0 && ends[1] <= max + scale / 2.0
    }

    /// Whether the kernel for integers keeps to the grids that the operator at `at` has: some do not go from one to
    /// another, and some know one result alone.
    fn check_grids(&self, code: Code, at: usize) -> Result<(), String> {
        let Operator { inputs, outputs, .. } = &self.model.operators[at];
        let grid = |tensor: usize| {
            let tensor = &self.model.tensors[tensor];
            tensor.quantization.as_ref().filter(|_| tensor.kind == Kind::I8)
        };
        let result = outputs.first().and_then(|&tensor| grid(tensor));
        match code {
            schema::CONCATENATION
            | schema::MAXIMUM
            | schema::MINIMUM
            | schema::RESIZE_BILINEAR
            | schema::AVERAGE_POOL_2D
            | schema::REDUCE_MAX
            | schema::REDUCE_MIN => {
                let same =
                    inputs.iter().flatten().filter_map(|&tensor| grid(tensor)).all(|g| Some(g) == result);
                if same { Ok(()) } else { Err("does not go from one grid to another".into()) }
            }
            // TensorFlow Lite 8-bit quantization specification: <https://ai.google.dev/edge/litert/models/quantization_spec>
            schema::LOGISTIC | schema::SOFTMAX | schema::TANH => {
                let (scale, zero) = if code == schema::TANH { (1.0 / 128.0, 0) } else { (1.0 / 256.0, -128) };
                let fixed = result.is_some_and(|g| g.scales == [scale] && g.zeros == [zero]);
                if fixed { Ok(()) } else { Err("has a grid of its own".into()) }
            }
            _ => Ok(()),
        }
    }

    /// Stores constant floats as integers of a grid whose scales go along an axis.
    fn store(&mut self, tensor: usize, kind: Kind, quantization: model::Quantization) -> Result<(), String> {
        let target = &mut self.model.tensors[tensor];
        let floats = target.data.take().ok_or("an operand is not constant")?;
        let inner: usize = match target.shape.get(quantization.axis + 1..) {
            Some(rest) if quantization.scales.len() > 1 => rest.iter().product(),
            _ => usize::MAX,
        };
        let mut data = vec![];
        for (i, bytes) in floats.as_chunks::<4>().0.iter().enumerate() {
            let slice = (i / inner) % quantization.scales.len();
            let (scale, zero) = (quantization.scales[slice], quantization.zeros[slice]);
            let q = f64::from(f32::from_le_bytes(*bytes)) / f64::from(scale);
            let q = q.round_ties_even() + zero as f64;
            // Casts saturate.
            match kind {
                Kind::I32 => data.extend((q as i32).to_le_bytes()),
                _ => data.push(q as i8 as u8),
            }
        }
        target.data = Some(data);
        (target.kind, target.quantization) = (kind, Some(quantization));
        Ok(())
    }

    fn store_weights(&mut self, tensor: usize, axis: usize) -> Result<(), String> {
        if self.model.tensors[tensor].quantization.is_some() {
            return Ok(());
        }
        let id = *self.sources.get(&tensor).ok_or("its weights are not constant")?;
        let (q, _) = self.stored_integers(id).ok_or("its weights are not on a grid")?;
        if q.integer != Integer::Int8 || q.zero_point.iter().any(|z| *z != 0) {
            return Err("its weights are not symmetric 8-bit integers".into());
        }
        let scales = q.scale.clone();
        if scales.len() > 1 && self.model.tensors[tensor].shape.get(axis) != Some(&scales.len()) {
            return Err("its weights have scales along another axis".into());
        }
        let zeros = vec![0; scales.len()];
        self.store(tensor, Kind::I8, model::Quantization { scales, zeros, axis })
    }

    /// Biases are on the grid of the products: scale of the input · scale of the weights.
    fn store_bias(&mut self, bias: usize, input: usize, weights: usize) -> Result<(), String> {
        let scales = |t: usize| self.model.tensors[t].quantization.as_ref().map(|q| q.scales.clone());
        let input =
            *scales(input).and_then(|s| s.first().copied()).as_ref().ok_or("its input has no grid")?;
        let scales: Vec<f32> =
            scales(weights).ok_or("its weights have no grid")?.iter().map(|w| w * input).collect();
        let zeros = vec![0; scales.len()];
        self.store(bias, Kind::I32, model::Quantization { scales, zeros, axis: 0 })
    }

    /// A float constant that is neither weights nor bias.
    fn store_operand(&mut self, code: Code, tensor: usize, input: usize) -> Result<(), String> {
        let source = self.sources.get(&tensor).and_then(|&id| self.stored_integers(id));
        let quantization = match (source, code) {
            (Some((q, _)), _) => activation(q)?,
            // What is padded with saturates on the grid of what is padded.
            (None, schema::PADV2) => {
                self.model.tensors[input].quantization.clone().ok_or("its input has no grid")?
            }
            _ => return Err("a constant has no grid".into()),
        };
        self.store(tensor, Kind::I8, quantization)
    }
}

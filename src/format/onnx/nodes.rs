//! ONNX nodes to graph operators, with their meaning in every opset from 9 to 21.

mod data;
mod quantize;
mod spatial;

use super::attributes::{Args, axis};
use super::proto::Node;
use super::{Options, Reader, tensor};
use crate::error::{Error, Result};
use crate::graph::op::{Binary, Reduce};
use crate::graph::{Op, Tensor, Unary, ValueId};

/// Whether a domain is that of the standard operators.
pub fn is_standard(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// What a node turns into.
enum Step {
    /// One operator on these inputs.
    Op(Op, Vec<ValueId>),
    /// A value that is known already.
    Constant(Tensor),
    /// One operator on one input per output.
    Split(Vec<Op>, ValueId),
}

impl Reader {
    /// Adds a node to the graph.
    pub fn read_node(&mut self, node: &Node, options: &Options<'_>) -> Result<()> {
        let unsupported = |detail: String| Error::UnsupportedOperator {
            model: options.name.to_owned(),
            operator: node.op_type.clone(),
            node: node.name.clone(),
            detail,
        };
        let malformed = |detail: String| Error::Model {
            model: options.name.to_owned(),
            detail: format!("{} (node {:?}): {detail}", node.op_type, node.name),
        };
        if !is_standard(&node.domain) {
            return Err(unsupported(format!("domain {:?}", node.domain)));
        }
        let step = translate(&Args { node, reader: self }, options).map_err(|e| match e {
            Refusal::Unsupported(detail) => unsupported(detail),
            Refusal::Malformed(detail) => malformed(detail),
        })?;
        let data_type = self.data_type(node);
        let outputs: Vec<&String> = node.output.iter().collect();
        let Some(first) = outputs.first() else {
            return Err(malformed("has no output".into()));
        };
        match step {
            Step::Constant(tensor) => {
                let id = self.graph.add_constant(first.as_str(), tensor);
                data_type.map(|data_type| self.integers.insert(id, data_type));
                self.define(first, id).map_err(malformed)
            }
            Step::Op(op, inputs) => {
                let id = self.graph.push(&node.name, first, op, inputs).map_err(malformed)?;
                data_type.map(|data_type| self.integers.insert(id, data_type));
                self.define(first, id).map_err(malformed)
            }
            Step::Split(ops, input) => {
                if ops.len() != outputs.len() {
                    return Err(malformed(format!("has {} outputs, not {}", outputs.len(), ops.len())));
                }
                for (op, output) in ops.into_iter().zip(outputs) {
                    let id = self.graph.push(&node.name, output, op, vec![input]).map_err(malformed)?;
                    self.define(output, id).map_err(malformed)?;
                }
                Ok(())
            }
        }
    }
}

impl Reader {
    /// The element type of a node's result, as far as what a constant's integers are in the file depends on it.
    fn data_type(&self, node: &Node) -> Option<i32> {
        match node.op_type.as_str() {
            "Cast" => node.attribute.iter().find(|a| a.name == "to").and_then(|a| i32::try_from(a.i).ok()),
            "Constant" | "ConstantOfShape" => {
                node.attribute.iter().find_map(|a| a.t.as_ref()).map(|value| value.data_type)
            }
            // What moves values leaves them what they are.
            "Identity" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Expand" | "Transpose"
            | "Slice" | "Gather" | "Concat" => {
                let input = self.names.get(node.input.first()?)?;
                self.integers.get(input).copied()
            }
            _ => None,
        }
    }
}

/// Why a node is not accepted.
enum Refusal {
    /// Correct as far as we know, but not implemented.
    Unsupported(String),
    /// Against the specification.
    Malformed(String),
}

impl From<String> for Refusal {
    fn from(detail: String) -> Self {
        Self::Malformed(detail)
    }
}

impl From<&str> for Refusal {
    fn from(detail: &str) -> Self {
        Self::Malformed(detail.to_owned())
    }
}

fn translate(a: &Args<'_>, options: &Options<'_>) -> Result<Step, Refusal> {
    let op = match a.node.op_type.as_str() {
        "Conv" => return Ok(spatial::conv(a)?),
        "ConvTranspose" => return Ok(spatial::conv_transpose(a)?),
        "MaxPool" | "AveragePool" => return spatial::pool(a),
        "Resize" | "Upsample" => return spatial::resize(a),
        "Split" => return Ok(data::split(a)?),
        "Slice" => return Ok(data::slice(a)?),
        "Pad" => return data::pad(a),
        "Gather" => return Ok(data::gather(a)?),
        "Shape" => return Ok(data::shape_of(a)?),
        "Range" => return Ok(data::range(a)?),
        "ConstantOfShape" => return Ok(data::constant_of_shape(a, options.folder)?),
        "Constant" => return data::constant(a, options.folder),
        "Cast" => return data::cast(a),
        "QuantizeLinear" => return quantize::quantize(a),
        "DequantizeLinear" => return quantize::dequantize(a),
        "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Expand" => return data::reshape(a),
        "BatchNormalization" => {
            if a.flag("training_mode", false) {
                return Err(Refusal::Unsupported("training mode".into()));
            }
            Op::BatchNorm { epsilon: a.float("epsilon", 1e-5) }
        }
        "Concat" => Op::Concat { axis: a.axis(1, a.shape(0)?.len())? },
        "Softmax" => return softmax(a),
        "Transpose" => {
            let rank = a.shape(0)?.len();
            let perm = match a.ints("perm") {
                Some(p) => p.iter().map(|&p| axis(p, rank)).collect::<Result<_, _>>()?,
                None => (0..rank).rev().collect(),
            };
            Op::Transpose { perm }
        }
        "GlobalAveragePool" => global(a, Reduce::Mean)?,
        "GlobalMaxPool" => global(a, Reduce::Max)?,
        "ReduceMean" => return Ok(reduce(a, Reduce::Mean)?),
        "ReduceSum" => return Ok(reduce(a, Reduce::Sum)?),
        "ReduceMax" => return Ok(reduce(a, Reduce::Max)?),
        "ReduceMin" => return Ok(reduce(a, Reduce::Min)?),
        "Gemm" => Op::Gemm {
            alpha: a.float("alpha", 1.0),
            beta: a.float("beta", 1.0),
            trans_a: a.flag("transA", false),
            trans_b: a.flag("transB", false),
        },
        "MatMul" => Op::MatMul,
        "PRelu" => Op::PRelu,
        "Clip" => {
            let min = a.scalar(1, "min", f32::MIN)?;
            let max = a.scalar(2, "max", f32::MAX)?;
            return Ok(Step::Op(Op::Unary(Unary::Clip { min, max }), vec![a.input(0)?]));
        }
        // Dropout does nothing at inference; its mask output is not defined, so using it is an error.
        "Identity" | "Dropout" => return Ok(Step::Op(Op::Identity, vec![a.input(0)?])),
        name => match (unary(name, a), binary(name)) {
            (Some(u), _) => Op::Unary(u),
            (_, Some(b)) => Op::Binary(b),
            _ => return Err(Refusal::Unsupported("unknown operator".into())),
        },
    };
    Ok(Step::Op(op, a.inputs()?))
}

fn unary(name: &str, a: &Args<'_>) -> Option<Unary> {
    Some(match name {
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "HardSigmoid" => Unary::HardSigmoid { alpha: a.float("alpha", 0.2), beta: a.float("beta", 0.5) },
        "HardSwish" => Unary::HardSwish,
        "LeakyRelu" => Unary::LeakyRelu { alpha: a.float("alpha", 0.01) },
        "Elu" => Unary::Elu { alpha: a.float("alpha", 1.0) },
        "Softplus" => Unary::Softplus,
        "Tanh" => Unary::Tanh,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Log" => Unary::Log,
        "Sqrt" => Unary::Sqrt,
        "Reciprocal" => Unary::Reciprocal,
        "Neg" => Unary::Neg,
        "Abs" => Unary::Abs,
        "Floor" => Unary::Floor,
        "Ceil" => Unary::Ceil,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        "Pow" => Binary::Pow,
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        _ => return None,
    })
}

fn softmax(a: &Args<'_>) -> Result<Step, Refusal> {
    let rank = a.shape(0)?.len();
    // Before opset 13 all axes from `axis` on were one; that is the same only where it is the last.
    let axis = a.axis(if a.reader.opset < 13 { 1 } else { -1 }, rank)?;
    if a.reader.opset < 13 && axis + 1 != rank {
        return Err(Refusal::Unsupported(format!("axis {axis} of {rank} before opset 13")));
    }
    Ok(Step::Op(Op::Softmax { axis }, vec![a.input(0)?]))
}

fn global(a: &Args<'_>, kind: Reduce) -> Result<Op, String> {
    Ok(Op::Reduce { kind, axes: (2..a.shape(0)?.len()).collect(), keep_dims: true })
}

fn reduce(a: &Args<'_>, kind: Reduce) -> Result<Step, String> {
    let rank = a.shape(0)?.len();
    let listed = a.list(1, "axes")?.unwrap_or_default();
    let mut axes = listed.iter().map(|&i| axis(i, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() {
        if a.flag("noop_with_empty_axes", false) {
            return Ok(Step::Op(Op::Identity, vec![a.input(0)?]));
        }
        axes = (0..rank).collect();
    }
    Ok(Step::Op(Op::Reduce { kind, axes, keep_dims: a.flag("keepdims", true) }, vec![a.input(0)?]))
}

/// Reads a tensor that is an attribute.
fn attribute_tensor(
    a: &Args<'_>,
    name: &str,
    folder: Option<&std::path::Path>,
) -> Result<Option<Tensor>, String> {
    a.tensor(name).map(|t| tensor::read(t, folder)).transpose()
}

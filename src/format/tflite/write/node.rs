//! Nodes as operators, those that need a line or two; the others have files of their own.

use super::{Done, Lowering};
use crate::format::tflite::layout;
use crate::format::tflite::model::Attributes;
use crate::format::tflite::schema::{self, Fused};
use crate::graph::op::Binary;
use crate::graph::{Node, Op};

impl Lowering<'_> {
    pub(super) fn node(&mut self, node: &Node) -> Done {
        match &node.op {
            Op::Quantize(q) => return self.quantize(node, q),
            Op::Dequantize(_) => {
                self.dequantize(node);
                return Ok(());
            }
            _ if self.try_integer(node) => return Ok(()),
            _ => {}
        }
        let output = self.operator(node)?;
        self.finish(node, output);
        Ok(())
    }

    /// Writes what a node computes and gives the tensor that holds it.
    pub(in crate::format::tflite) fn operator(&mut self, node: &Node) -> Done<usize> {
        let output = match &node.op {
            Op::Conv(conv) => self.conv(node, conv)?,
            Op::ConvTranspose(conv) => self.conv_transpose(node, conv)?,
            Op::BatchNorm { epsilon } => self.batch_norm(node, *epsilon)?,
            Op::Unary(unary) => {
                let x = self.stored(node.inputs[0]);
                self.unary(x, *unary)?
            }
            Op::PRelu => {
                let rank = self.graph.shape(node.inputs[0]).len();
                let x = self.stored(node.inputs[0]);
                let slope = self.broadcastable(node.inputs[1], rank)?;
                // One axis less: PRELU's slope has no batch.
                let shape = self.shape(slope);
                let slope = match shape[..] {
                    [1, _, ..] if shape.len() == rank => self.drop_batch(slope),
                    _ => slope,
                };
                self.map(schema::PRELU, 1, &[x, slope], Attributes::None)
            }
            Op::Binary(binary) => self.binary(node, *binary)?,
            Op::Softmax { axis } => self.softmax(node, *axis)?,
            Op::Concat { axis } => {
                let rank = self.graph.shape(node.output).len();
                let inputs: Vec<usize> = node.inputs.iter().map(|&id| self.stored(id)).collect();
                let output = self.tensor("", layout::shape(self.graph.shape(node.output)));
                let attributes = Attributes::Concat(layout::axis(*axis, rank), Fused::None);
                self.emit(schema::CONCATENATION, 1, &inputs, output, attributes);
                output
            }
            Op::Slice { ranges } => self.slice(node, ranges)?,
            Op::Resize(resize) => self.resize(node, resize)?,
            Op::Pool(pool) => self.pool(node, pool)?,
            Op::Reduce { kind, axes, keep_dims } => self.reduce(node, *kind, axes, *keep_dims),
            Op::Gemm { alpha, beta, trans_a, trans_b } => {
                self.gemm(node, [*alpha, *beta], [*trans_a, *trans_b])?
            }
            Op::MatMul => self.mat_mul(node)?,
            Op::Reshape { shape } => {
                let x = self.plain(node.inputs[0]);
                let y = self.reshape(x, shape.clone());
                self.unplain(y)
            }
            Op::Transpose { perm } => {
                let x = self.stored(node.inputs[0]);
                self.transpose(x, &layout::permutation(perm))
            }
            Op::Pad { before, after, mode } => self.pad(node, before, after, *mode)?,
            Op::Gather { axis, indices, indices_shape } => self.gather(node, *axis, indices, indices_shape),
            Op::Expand { shape } => {
                let x = self.broadcastable(node.inputs[0], shape.len())?;
                let stored = layout::shape(shape);
                let extents: Vec<i32> = stored.iter().map(|&n| n as i32).collect();
                let extents = self.integers("", vec![stored.len()], &extents);
                let output = self.tensor("", stored);
                self.emit(schema::BROADCAST_TO, 2, &[x, extents], output, Attributes::None);
                output
            }
            Op::Identity => self.stored(node.inputs[0]),
            Op::Quantize(_) | Op::Dequantize(_) => return Err("a grid is no operator of its own".into()),
        };
        Ok(output)
    }

    fn drop_batch(&mut self, tensor: usize) -> usize {
        let shape = self.shape(tensor)[1..].to_vec();
        // A constant is given its shape; nothing else needs an operator for that.
        if self.model.tensors[tensor].data.is_some() {
            let mut copy = self.model.tensors[tensor].clone();
            copy.shape = shape;
            let copy = self.add(copy);
            if let Some(&source) = self.sources.get(&tensor) {
                self.sources.insert(copy, source);
            }
            return copy;
        }
        self.reshape(tensor, shape)
    }

    fn binary(&mut self, node: &Node, binary: Binary) -> Done<usize> {
        let code = match binary {
            Binary::Add => schema::ADD,
            Binary::Sub => schema::SUB,
            Binary::Mul => schema::MUL,
            Binary::Div => schema::DIV,
            Binary::Pow => schema::POW,
            Binary::Max => schema::MAXIMUM,
            Binary::Min => schema::MINIMUM,
        };
        let attributes = match binary {
            Binary::Pow | Binary::Max | Binary::Min => Attributes::None,
            _ => Attributes::Arithmetic(Fused::None),
        };
        let shape = self.graph.shape(node.output).to_vec();
        let a = self.broadcastable(node.inputs[0], shape.len())?;
        let b = self.broadcastable(node.inputs[1], shape.len())?;
        let output = self.tensor("", layout::shape(&shape));
        self.emit(code, 1, &[a, b], output, attributes);
        Ok(output)
    }

    /// scale (x - mean) / √(variance + ε) + bias, as a product and a sum.
    fn batch_norm(&mut self, node: &Node, epsilon: f32) -> Done<usize> {
        let graph = self.graph;
        let constant = |i: usize| self.constant(node.inputs[i]).ok_or("its parameters are not constant");
        let (scale, bias, mean, variance) = (constant(1)?, constant(2)?, constant(3)?, constant(4)?);
        let factor: Vec<f32> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
        let offset: Vec<f32> = bias.iter().zip(&mean).zip(&factor).map(|((b, m), f)| b - m * f).collect();
        let rank = graph.shape(node.inputs[0]).len();
        if rank != 4 && rank != 2 {
            return Err(format!("normalising {rank} axes"));
        }
        let x = self.stored(node.inputs[0]);
        let factor = self.floats("", vec![factor.len()], &factor);
        let offset = self.floats("", vec![offset.len()], &offset);
        let y = self.map(schema::MUL, 1, &[x, factor], Attributes::Arithmetic(Fused::None));
        Ok(self.map(schema::ADD, 1, &[y, offset], Attributes::Arithmetic(Fused::None)))
    }

    fn softmax(&mut self, node: &Node, axis: usize) -> Done<usize> {
        let rank = self.graph.shape(node.output).len();
        let x = self.stored(node.inputs[0]);
        let axis = layout::axis(axis, rank);
        let last = rank - 1;
        if axis == last {
            return Ok(self.map(schema::SOFTMAX, 1, &[x], Attributes::Softmax));
        }
        let mut perm: Vec<usize> = (0..rank).collect();
        perm.swap(axis, last);
        let x = self.transpose(x, &perm);
        let y = self.map(schema::SOFTMAX, 1, &[x], Attributes::Softmax);
        Ok(self.transpose(y, &perm))
    }
}

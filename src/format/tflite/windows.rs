//! Convolutions and pools for the [writer](super::write): TFLite pads as `SAME` or not at all, so any other
//! padding becomes an operator of its own.

use super::layout;
use super::model::{Attributes, Window};
use super::schema::{self, Fused, Padding};
use super::write::Lowering;
use crate::graph::op::{Conv, ConvTranspose, Pool, PoolKind, Residual};
use crate::graph::{Node, Unary, shape};

type Done<T = usize> = Result<T, String>;

/// A value that never wins a maximum against a float.
const LOWEST: f32 = f32::MIN;

/// The activation that an operator may apply itself, and what is left for one of its own.
fn split(activation: Option<Unary>) -> (Fused, Option<Unary>) {
    match activation {
        None => (Fused::None, None),
        Some(Unary::Relu) => (Fused::Relu, None),
        Some(Unary::Clip { min: 0.0, max: 6.0 }) => (Fused::Relu6, None),
        Some(Unary::Clip { min: -1.0, max: 1.0 }) => (Fused::ReluN1To1, None),
        other => (Fused::None, other),
    }
}

/// What `SAME` puts before and after an axis.
fn same(extent: usize, kernel: usize, stride: usize, dilation: usize) -> [usize; 2] {
    let span = (kernel - 1) * dilation + 1;
    let total = ((extent.div_ceil(stride) - 1) * stride + span).saturating_sub(extent);
    [total / 2, total - total / 2]
}

/// Whether `SAME` pads rows and columns just so.
fn is_same(
    extents: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
) -> bool {
    (0..2).all(|i| same(extents[i], kernel[i], strides[i], dilations[i]) == [pads[i], pads[i + 2]])
}

impl Lowering<'_> {
    /// Padding of rows and columns, as an operator; constant, for floats.
    fn pad_window(&mut self, x: usize, pads: [usize; 4], value: f32) -> usize {
        let [top, left, bottom, right] = pads;
        let mut shape = self.shape(x);
        shape[1] += top + bottom;
        shape[2] += left + right;
        let amounts = [0, 0, top, bottom, left, right, 0, 0].map(|n| n as i32);
        let amounts = self.integers("", vec![4, 2], &amounts);
        let output = self.tensor("", shape);
        if value == 0.0 {
            self.emit(schema::PAD, 1, &[x, amounts], output, Attributes::None);
        } else {
            let value = self.floats("", vec![], &[value]);
            self.emit(schema::PADV2, 1, &[x, amounts, value], output, Attributes::None);
        }
        output
    }

    /// The input of a window, padded where its operator cannot, and the padding that is left to the operator.
    fn padded(
        &mut self,
        x: usize,
        kernel: [usize; 2],
        window: ([usize; 2], [usize; 2], [usize; 4]),
        value: f32,
    ) -> (usize, Padding) {
        let (strides, dilations, pads) = window;
        let shape = self.shape(x);
        if pads == [0; 4] {
            (x, Padding::Valid)
        } else if is_same([shape[1], shape[2]], kernel, strides, dilations, pads) {
            (x, Padding::Same)
        } else {
            (self.pad_window(x, pads, value), Padding::Valid)
        }
    }

    fn bias(&mut self, node: &Node, present: bool, channels: usize) -> Done {
        if !present {
            return Ok(self.floats("", vec![channels], &vec![0.0; channels]));
        }
        let id = node.inputs[2];
        let data = self.constant(id).ok_or("its bias is not constant")?;
        let name = self.graph.value(id).name.clone();
        Ok(self.floats(&name, vec![channels], &data))
    }

    pub(super) fn conv(&mut self, node: &Node, conv: &Conv) -> Done {
        let graph = self.graph;
        let weights = graph.value(node.inputs[1]);
        let data = self.constant(node.inputs[1]).ok_or("its weights are not constant")?;
        let [out, per_group, kh, kw] = shape::rank4(&weights.shape)?;
        let channels = per_group * conv.groups;
        let x = self.stored(node.inputs[0]);
        let (x, padding) = self.padded(x, [kh, kw], (conv.strides, conv.dilations, conv.pads), 0.0);
        // A residual that comes before the activation keeps it out of the convolution.
        let own = if conv.residual == Some(Residual::BeforeActivation) { None } else { conv.activation };
        let (fused, rest) = split(own);
        let window = Window { padding, strides: conv.strides, dilations: conv.dilations, fused };
        let depthwise = conv.groups > 1 && per_group == 1 && out % channels == 0;
        // [out, in, kh, kw] to [out, kh, kw, in], or to [1, kh, kw, out] where each channel stands alone.
        let (code, version, filter_shape, perm, options) = if depthwise {
            let version = if conv.dilations == [1, 1] { 1 } else { 2 };
            let options = Attributes::Depthwise(window, out / channels);
            (schema::DEPTHWISE_CONV_2D, version, vec![1, kh, kw, out], [1, 2, 3, 0], options)
        } else {
            let version = if conv.groups > 1 { 6 } else { 1 };
            (schema::CONV_2D, version, vec![out, kh, kw, per_group], [0, 2, 3, 1], Attributes::Conv(window))
        };
        let filter = layout::transpose(&data, &weights.shape, &perm);
        let filter = self.weights(node.inputs[1], filter_shape, &filter);
        let bias = self.bias(node, conv.bias, out)?;
        let mut y = self.tensor("", layout::shape(graph.shape(node.output)));
        self.emit(code, version, &[x, filter, bias], y, options);
        y = self.activate(y, rest)?;
        if conv.residual.is_some() {
            let residual = self.stored(*node.inputs.last().ok_or("its residual is missing")?);
            let late = conv.residual == Some(Residual::BeforeActivation);
            let (fused, rest) = split(conv.activation.filter(|_| late));
            y = self.map(schema::ADD, 1, &[y, residual], Attributes::Arithmetic(fused));
            y = self.activate(y, rest)?;
        }
        Ok(y)
    }

    pub(super) fn conv_transpose(&mut self, node: &Node, conv: &ConvTranspose) -> Done {
        let graph = self.graph;
        let weights = graph.value(node.inputs[1]);
        let data = self.constant(node.inputs[1]).ok_or("its weights are not constant")?;
        let [channels, out, kh, kw] = shape::rank4(&weights.shape)?;
        if conv.groups != 1 || conv.dilations != [1, 1] {
            return Err("transposed convolutions with groups or dilations".into());
        }
        let x = self.stored(node.inputs[0]);
        let [_, _, h, w] = shape::rank4(graph.shape(node.inputs[0]))?;
        let result = layout::shape(graph.shape(node.output));
        let (extents, kernel) = ([h, w], [kh, kw]);
        let whole = |i: usize| (extents[i] - 1) * conv.strides[i] + kernel[i];
        let cropped = (0..2).all(|i| {
            let total = whole(i).saturating_sub(result[i + 1]);
            result[i + 1] == extents[i] * conv.strides[i] && conv.pads[i] == total / 2
        });
        let plain = conv.pads == [0; 4];
        let (padding, full) = match (plain, cropped) {
            (true, _) => (Padding::Valid, result.clone()),
            (false, true) => (Padding::Same, result.clone()),
            (false, false) => {
                let extent = |i: usize| whole(i).max(result[i + 1] + conv.pads[i]);
                (Padding::Valid, vec![result[0], extent(0), extent(1), out])
            }
        };
        let filter = layout::transpose(&data, &[channels, out, kh, kw], &[1, 2, 3, 0]);
        let filter = self.weights(node.inputs[1], vec![out, kh, kw, channels], &filter);
        let bias = self.bias(node, conv.bias, out)?;
        let sizes: Vec<i32> = full.iter().map(|&n| n as i32).collect();
        let sizes = self.integers("", vec![4], &sizes);
        let mut y = self.tensor("", full.clone());
        let window = Window { padding, strides: conv.strides, dilations: [1, 1], fused: Fused::None };
        self.emit(schema::TRANSPOSE_CONV, 3, &[sizes, filter, x, bias], y, Attributes::TransposeConv(window));
        if full != result {
            let begin = self.integers("", vec![4], &[0, conv.pads[0] as i32, conv.pads[1] as i32, 0]);
            let size: Vec<i32> = result.iter().map(|&n| n as i32).collect();
            let size = self.integers("", vec![4], &size);
            let crop = self.tensor("", result);
            self.emit(schema::SLICE, 1, &[y, begin, size], crop, Attributes::None);
            y = crop;
        }
        self.activate(y, conv.activation)
    }

    pub(super) fn pool(&mut self, node: &Node, pool: &Pool) -> Done {
        if pool.dilations != [1, 1] {
            return Err("pools with dilations".into());
        }
        let x = self.stored(node.inputs[0]);
        let input = self.shape(x);
        let result = layout::shape(self.graph.shape(node.output));
        let window = (pool.strides, pool.dilations, pool.pads);
        let (code, value) = match pool.kind {
            PoolKind::Max => (schema::MAX_POOL_2D, LOWEST),
            PoolKind::Average { .. } => (schema::AVERAGE_POOL_2D, 0.0),
        };
        let counted = matches!(pool.kind, PoolKind::Average { count_include_pad: true });
        let (x, padding) = if counted && pool.pads != [0; 4] {
            (self.pad_window(x, pool.pads, 0.0), Padding::Valid)
        } else {
            self.padded(x, pool.kernel, window, value)
        };
        let made = self.shape(x) != input;
        let options = Attributes::Pool(
            Window { padding, strides: pool.strides, dilations: [1, 1], fused: Fused::None },
            pool.kernel,
        );
        let mut y = self.tensor("", result.clone());
        self.emit(code, 1, &[x], y, options);
        if made && matches!(pool.kind, PoolKind::Average { count_include_pad: false }) {
            // What was divided by the whole window is divided by the taps that met the picture.
            let factors = self.taps(&input, &result, pool);
            let factors = self.floats("", vec![1, result[1], result[2], 1], &factors);
            y = self.map(schema::MUL, 1, &[y, factors], Attributes::Arithmetic(Fused::None));
        }
        Ok(y)
    }

    /// The window's taps over those that meet the picture, per pixel of the output.
    fn taps(&self, input: &[usize], output: &[usize], pool: &Pool) -> Vec<f32> {
        let count = |i: usize, at: usize| {
            let start = at * pool.strides[i];
            (0..pool.kernel[i])
                .filter(|k| (pool.pads[i]..pool.pads[i] + input[i + 1]).contains(&(start + k)))
                .count()
        };
        let all = (pool.kernel[0] * pool.kernel[1]) as f32;
        (0..output[1])
            .flat_map(|row| (0..output[2]).map(move |column| (row, column)))
            .map(|(row, column)| all / (count(0, row) * count(1, column)).max(1) as f32)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_is_tensorflow_s() {
        assert_eq!(same(224, 3, 1, 1), [1, 1]);
        // Odd padding goes to the end, which PyTorch's symmetric one does not.
        assert_eq!(same(224, 3, 2, 1), [0, 1]);
        assert_eq!(same(225, 3, 2, 1), [1, 1]);
        assert_eq!(same(10, 3, 1, 2), [2, 2]);
        assert!(!is_same([224, 224], [3, 3], [2, 2], [1, 1], [1; 4]));
    }
}

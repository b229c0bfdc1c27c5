//! The reference: every operator in plain scalar loops, as its specification states it.
//!
//! It folds constants, is what faster kernels are tested against, and executes on the CPU whatever has no
//! faster kernel. It writes into memory that the caller provides and allocates nothing per element.

mod conv;
mod linear;
mod movement;
mod quantize;
mod window;

use super::op::{Op, Reduce};
use super::shape::infer;
use super::tensor::Tensor;

pub use movement::strides;

/// A tensor of floats that belongs to someone else, row-major.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Extents.
    pub shape: &'a [usize],
    /// As many values.
    pub data: &'a [f32],
}

/// Computes `op` into `out`, which has the extents `shape` that [`infer`] gives for these inputs.
pub fn evaluate_into(op: &Op, inputs: &[View<'_>], shape: &[usize], out: &mut [f32]) {
    let x = inputs[0];
    match op {
        Op::Conv(c) => conv::conv(c, inputs, shape, out),
        Op::ConvTranspose(c) => conv::conv_transpose(c, inputs, shape, out),
        Op::BatchNorm { epsilon } => batch_norm(*epsilon, inputs, out),
        Op::Unary(u) => out.iter_mut().zip(x.data).for_each(|(o, &x)| *o = u.apply(x)),
        Op::PRelu => {
            movement::zip_broadcast(x, inputs[1], shape, out, |x, slope| if x < 0.0 { slope * x } else { x });
        }
        Op::Binary(b) => movement::zip_broadcast(x, inputs[1], shape, out, |p, q| b.apply(p, q)),
        Op::Softmax { axis } => softmax(x, *axis, out),
        Op::Concat { axis } => {
            let parts: Vec<_> = inputs.iter().map(|v| (v.shape, v.data)).collect();
            movement::concat(&parts, *axis, shape, out);
        }
        Op::Resize(r) => window::resize(r, x, out),
        Op::Pool(p) => window::pool(p, x, shape, out),
        Op::Reduce { kind, axes, .. } => reduce(*kind, axes, x, out),
        Op::Gemm { alpha, beta, trans_a, trans_b } => {
            linear::gemm(*alpha, *beta, *trans_a, *trans_b, inputs, shape, out);
        }
        Op::MatMul => linear::matmul(x, inputs[1], shape, out),
        Op::Quantize(q) => quantize::quantize(q, x, out),
        Op::Dequantize(q) => quantize::dequantize(q, x, out),
        Op::Slice { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::Expand { .. }
        | Op::Identity => movement::apply(op, x.shape, x.data, shape, out),
    }
}

/// Computes `op` on constants. An error says what does not fit, or that the operator wants floats.
pub fn evaluate(op: &Op, inputs: &[&Tensor]) -> Result<Tensor, String> {
    let shapes: Vec<&[usize]> = inputs.iter().map(|t| t.shape()).collect();
    let shape = infer(op, &shapes)?;
    let len = shape.iter().product();
    if !matches!(op, Op::Dequantize(_)) && inputs.iter().all(|t| t.as_i64().is_some()) {
        let values: Vec<&[i64]> = inputs.iter().filter_map(|t| t.as_i64()).collect();
        return Tensor::i64(shape.clone(), movement::evaluate_i64(op, &shapes, &values, &shape, len)?);
    }
    // A mixture is arithmetic between a float and an integer that stands for one.
    let floats: Vec<std::borrow::Cow<'_, [f32]>> = inputs.iter().map(|t| t.to_f32()).collect();
    let views: Vec<View<'_>> =
        shapes.iter().zip(&floats).map(|(&shape, data)| View { shape, data }).collect();
    let mut out = vec![0.0; len];
    evaluate_into(op, &views, &shape, &mut out);
    Tensor::f32(shape, out)
}

fn batch_norm(epsilon: f32, inputs: &[View<'_>], out: &mut [f32]) {
    let x = inputs[0];
    let [scale, bias, mean, variance] = [1, 2, 3, 4].map(|i| inputs[i].data);
    let plane: usize = x.shape[2..].iter().product();
    if plane == 0 {
        return;
    }
    for (i, (o, x)) in out.chunks_exact_mut(plane).zip(x.data.chunks_exact(plane)).enumerate() {
        let c = i % scale.len();
        let factor = scale[c] / (variance[c] + epsilon).sqrt();
        let offset = bias[c] - mean[c] * factor;
        o.iter_mut().zip(x).for_each(|(o, x)| *o = x * factor + offset);
    }
}

fn softmax(x: View<'_>, axis: usize, out: &mut [f32]) {
    let extent = x.shape[axis];
    let inner: usize = x.shape[axis + 1..].iter().product();
    let outer: usize = x.shape[..axis].iter().product();
    for o in 0..outer {
        for i in 0..inner {
            let at = |k: usize| (o * extent + k) * inner + i;
            // The maximum is subtracted so that e^x cannot overflow.
            let max = (0..extent).map(|k| x.data[at(k)]).fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for k in 0..extent {
                let e = (x.data[at(k)] - max).exp();
                out[at(k)] = e;
                sum += e;
            }
            (0..extent).for_each(|k| out[at(k)] /= sum);
        }
    }
}

fn reduce(kind: Reduce, axes: &[usize], x: View<'_>, out: &mut [f32]) {
    let start = match kind {
        Reduce::Mean | Reduce::Sum => 0.0,
        Reduce::Max => f32::NEG_INFINITY,
        Reduce::Min => f32::INFINITY,
    };
    out.fill(start);
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    let mut out_strides = strides(&kept);
    axes.iter().for_each(|&a| out_strides[a] = 0);
    let mut walk = movement::Walk::new(x.shape);
    for &v in x.data {
        let o = &mut out[walk.offset(&out_strides)];
        *o = match kind {
            Reduce::Mean | Reduce::Sum => *o + v,
            Reduce::Max => o.max(v),
            Reduce::Min => o.min(v),
        };
        walk.step();
    }
    if kind == Reduce::Mean {
        let count = axes.iter().map(|&a| x.shape[a] as f32).product::<f32>();
        out.iter_mut().for_each(|o| *o /= count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_and_survives_large_values() {
        let x = Tensor::f32(vec![1, 3], vec![1000.0, 1001.0, 1002.0]).unwrap();
        let y = evaluate(&Op::Softmax { axis: 1 }, &[&x]).unwrap();
        let y = y.as_f32().unwrap();
        assert!((y.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!((y[2] - 0.665_240_94).abs() < 1e-6);
    }

    #[test]
    fn mean_over_rows_and_columns() {
        let x = Tensor::f32(vec![1, 2, 2, 2], (0..8).map(|v| v as f32).collect()).unwrap();
        let op = Op::Reduce { kind: Reduce::Mean, axes: vec![2, 3], keep_dims: true };
        let y = evaluate(&op, &[&x]).unwrap();
        assert_eq!((y.shape(), y.as_f32().unwrap()), ([1, 2, 1, 1].as_slice(), [1.5, 5.5].as_slice()));
    }
}

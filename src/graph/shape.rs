//! Shape inference: the extents of an operator's output, and whether its inputs fit it.

use super::op::{Conv, ConvTranspose, Op, Pool};
use super::tensor::element_count;

/// Extents of `op`'s output. An error says what does not fit.
pub fn infer(op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let shape = infer_unbounded(op, inputs)?;
    element_count(&shape)?;
    Ok(shape)
}

fn infer_unbounded(op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let &x = inputs.first().ok_or("has no input")?;
    match op {
        Op::Conv(c) => conv(c, inputs),
        Op::ConvTranspose(c) => conv_transpose(c, inputs),
        Op::BatchNorm { .. } => {
            arity(inputs, 5..=5)?;
            let channels = *x.get(1).ok_or("wants at least two axes")?;
            for &p in &inputs[1..] {
                expect(p, &[channels])?;
            }
            Ok(x.to_vec())
        }
        Op::Unary(_) | Op::Identity => {
            arity(inputs, 1..=1)?;
            Ok(x.to_vec())
        }
        Op::Quantize(q) | Op::Dequantize(q) => {
            arity(inputs, 1..=1)?;
            q.check(x)?;
            Ok(x.to_vec())
        }
        Op::PRelu => {
            arity(inputs, 2..=2)?;
            let shape = broadcast(x, inputs[1])?;
            expect(&shape, x)?;
            Ok(shape)
        }
        Op::Binary(_) => {
            arity(inputs, 2..=2)?;
            broadcast(x, inputs[1])
        }
        Op::Softmax { axis } => {
            check_axis(*axis, x)?;
            Ok(x.to_vec())
        }
        Op::Concat { axis } => concat(*axis, inputs),
        Op::Slice { ranges } => {
            same_rank(ranges.len(), x)?;
            for (r, &extent) in ranges.iter().zip(x) {
                let last = r.start as i128 + r.step as i128 * (r.len as i128 - 1);
                if r.len > 0 && (r.start >= extent || last < 0 || last >= extent as i128) {
                    return Err(format!("a slice leaves the extent {extent}"));
                }
            }
            Ok(ranges.iter().map(|r| r.len).collect())
        }
        Op::Resize(r) => {
            let [n, c, h, w] = rank4(x)?;
            let sound = |s: f32| s.is_finite() && s > 0.0;
            if h == 0 || w == 0 || !sound(r.scale[0]) || !sound(r.scale[1]) {
                return Err(format!("cannot scale {h}x{w} by {:?}", r.scale));
            }
            Ok(vec![n, c, r.size[0], r.size[1]])
        }
        Op::Pool(p) => pool(p, x),
        Op::Reduce { axes, keep_dims, .. } => {
            axes.iter().try_for_each(|&a| check_axis(a, x))?;
            if axes.iter().any(|&a| x[a] == 0) {
                return Err("reduces over nothing".into());
            }
            let kept = x.iter().enumerate().filter_map(|(i, &d)| match axes.contains(&i) {
                true if *keep_dims => Some(1),
                true => None,
                false => Some(d),
            });
            Ok(kept.collect())
        }
        Op::Gemm { trans_a, trans_b, .. } => {
            arity(inputs, 2..=3)?;
            let [m, k] = rank2(x, *trans_a)?;
            let [k2, n] = rank2(inputs[1], *trans_b)?;
            if k != k2 {
                return Err(format!("inner extents {k} and {k2} differ"));
            }
            if let Some(&c) = inputs.get(2) {
                expect(&broadcast(c, &[m, n])?, &[m, n])?;
            }
            Ok(vec![m, n])
        }
        Op::MatMul => {
            arity(inputs, 2..=2)?;
            matmul(x, inputs[1])
        }
        Op::Reshape { shape } => {
            if element_count(shape)? != element_count(x)? {
                return Err(format!("cannot reshape {x:?} to {shape:?}"));
            }
            Ok(shape.clone())
        }
        Op::Transpose { perm } => {
            same_rank(perm.len(), x)?;
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted.iter().enumerate().any(|(i, &p)| i != p) {
                return Err(format!("{perm:?} is not a permutation"));
            }
            Ok(perm.iter().map(|&p| x[p]).collect())
        }
        Op::Pad { before, after, mode } => {
            same_rank(before.len(), x)?;
            same_rank(after.len(), x)?;
            let reflect = matches!(mode, super::op::PadMode::Reflect);
            let constant = matches!(mode, super::op::PadMode::Constant(_));
            (0..x.len())
                .map(|i| {
                    let (b, a) = (before[i], after[i]);
                    let short = (reflect && b.max(a) >= x[i].max(1)) || (!constant && x[i] == 0);
                    if short && b.max(a) > 0 {
                        return Err(format!("cannot pad the extent {} by {}", x[i], b.max(a)));
                    }
                    x[i].checked_add(b).and_then(|d| d.checked_add(a)).ok_or("padding is absurd".into())
                })
                .collect()
        }
        Op::Gather { axis, indices, indices_shape } => {
            check_axis(*axis, x)?;
            if element_count(indices_shape)? != indices.len() {
                return Err("the indices do not fit their shape".into());
            }
            if let Some(i) = indices.iter().find(|&&i| i >= x[*axis]) {
                return Err(format!("index {i} leaves the extent {}", x[*axis]));
            }
            Ok([&x[..*axis], indices_shape, &x[axis + 1..]].concat())
        }
        Op::Expand { shape } => {
            expect(&broadcast(x, shape)?, shape)?;
            Ok(shape.clone())
        }
    }
}

/// Multiply-accumulates of one execution of `op`; only operators that are mostly that count.
pub fn macs(op: &Op, inputs: &[&[usize]], output: &[usize]) -> u64 {
    let product = |s: &[usize]| s.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    match (op, inputs) {
        (Op::Conv(_), [_, w, ..]) => product(output).saturating_mul(product(&w[1..])),
        (Op::ConvTranspose(_), [x, w, ..]) => product(x).saturating_mul(product(&w[1..])),
        (Op::Gemm { trans_a, .. }, [a, ..]) => {
            product(output).saturating_mul(a[usize::from(!trans_a)] as u64)
        }
        (Op::MatMul, [a, ..]) => product(output).saturating_mul(a.last().copied().unwrap_or(1) as u64),
        (Op::Pool(p), _) => product(output).saturating_mul(product(&p.kernel)),
        _ => 0,
    }
}

/// The extents that `a` and `b` broadcast to (ONNX's multidirectional, that is NumPy's rule).
pub fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| (i + s.len()).checked_sub(rank).map_or(1, |i| s[i]);
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => Err(format!("{a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Output extent of a sliding window, or `None` where the window does not fit once.
pub fn window(extent: usize, kernel: usize, stride: usize, dilation: usize, pads: usize) -> Option<usize> {
    let span = kernel.checked_sub(1)?.checked_mul(dilation.max(1))?.checked_add(1)?;
    let room = extent.checked_add(pads)?.checked_sub(span)?;
    Some(room.checked_div(stride)? + 1)
}

fn windows(
    extent: [usize; 2],
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    pads: [usize; 4],
) -> Result<[usize; 2], String> {
    let one = |i: usize| {
        let total = pads[i].checked_add(pads[i + 2])?;
        window(extent[i], kernel[i], strides[i], dilations[i], total).filter(|_| dilations[i] > 0)
    };
    match (one(0), one(1)) {
        (Some(h), Some(w)) => Ok([h, w]),
        _ => Err(format!(
            "a window of {kernel:?} (stride {strides:?}, dilation {dilations:?}) does not fit {extent:?}"
        )),
    }
}

fn conv(c: &Conv, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let expected = 2 + usize::from(c.bias) + usize::from(c.residual.is_some());
    arity(inputs, expected..=expected)?;
    let [n, channels, h, w] = rank4(inputs[0])?;
    let [out, per_group, kh, kw] = rank4(inputs[1])?;
    if c.groups == 0 || channels % c.groups != 0 || out % c.groups != 0 || channels / c.groups != per_group {
        return Err(format!("{channels} channels, {} groups and weights {:?} differ", c.groups, inputs[1]));
    }
    if c.bias {
        expect(inputs[2], &[out])?;
    }
    let [oh, ow] = windows([h, w], [kh, kw], c.strides, c.dilations, c.pads)?;
    let shape = vec![n, out, oh, ow];
    if c.residual.is_some() {
        expect(inputs[expected - 1], &shape)?;
    }
    Ok(shape)
}

fn conv_transpose(c: &ConvTranspose, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let expected = 2 + usize::from(c.bias);
    arity(inputs, expected..=expected)?;
    let [n, channels, h, w] = rank4(inputs[0])?;
    let [in_channels, per_group, kh, kw] = rank4(inputs[1])?;
    if c.groups == 0 || channels % c.groups != 0 || in_channels != channels {
        return Err(format!("{channels} channels, {} groups and weights {:?} differ", c.groups, inputs[1]));
    }
    let out = per_group.checked_mul(c.groups).ok_or("has too many channels")?;
    if c.bias {
        expect(inputs[2], &[out])?;
    }
    let extent = |i: usize, x: usize, k: usize| {
        let span = k.checked_sub(1)?.checked_mul(c.dilations[i])?.checked_add(1)?;
        x.checked_sub(1)?
            .checked_mul(c.strides[i])?
            .checked_add(span)?
            .checked_add(c.output_padding[i])?
            .checked_sub(c.pads[i].checked_add(c.pads[i + 2])?)
            .filter(|_| c.strides[i] > 0 && c.dilations[i] > 0 && c.output_padding[i] < c.strides[i].max(2))
    };
    match (extent(0, h, kh), extent(1, w, kw)) {
        (Some(oh), Some(ow)) => Ok(vec![n, out, oh, ow]),
        _ => Err(format!("cannot apply a kernel of {kh}x{kw} to {h}x{w}")),
    }
}

fn pool(p: &Pool, x: &[usize]) -> Result<Vec<usize>, String> {
    let [n, c, h, w] = rank4(x)?;
    let span = |i: usize| (p.kernel[i].max(1) - 1).saturating_mul(p.dilations[i]).saturating_add(1);
    if (0..2).any(|i| p.pads[i] >= span(i) || p.pads[i + 2] >= span(i).saturating_add(p.strides[i])) {
        return Err(format!("padding {:?} exceeds the window {:?}", p.pads, p.kernel));
    }
    let [oh, ow] = windows([h, w], p.kernel, p.strides, p.dilations, p.pads)?;
    Ok(vec![n, c, oh, ow])
}

fn concat(axis: usize, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let mut shape = inputs[0].to_vec();
    check_axis(axis, &shape)?;
    for x in &inputs[1..] {
        same_rank(shape.len(), x)?;
        if x.iter().zip(&shape).enumerate().any(|(i, (a, b))| i != axis && a != b) {
            return Err(format!("cannot join {x:?} to {shape:?} along axis {axis}"));
        }
        shape[axis] = shape[axis].checked_add(x[axis]).ok_or("is too large")?;
    }
    Ok(shape)
}

fn matmul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let ([batch_a @ .., m, k], [batch_b @ .., k2, n]) = (a, b) else {
        return Err(format!("wants matrices, not {a:?} and {b:?}"));
    };
    if k != k2 {
        return Err(format!("inner extents {k} and {k2} differ"));
    }
    let mut shape = broadcast(batch_a, batch_b)?;
    shape.extend([*m, *n]);
    Ok(shape)
}

fn arity(inputs: &[&[usize]], allowed: std::ops::RangeInclusive<usize>) -> Result<(), String> {
    if allowed.contains(&inputs.len()) { Ok(()) } else { Err(format!("has {} inputs", inputs.len())) }
}

fn expect(found: &[usize], wanted: &[usize]) -> Result<(), String> {
    if found == wanted { Ok(()) } else { Err(format!("shape {found:?} should be {wanted:?}")) }
}

fn check_axis(axis: usize, x: &[usize]) -> Result<(), String> {
    if axis < x.len() { Ok(()) } else { Err(format!("axis {axis} does not exist in {x:?}")) }
}

fn same_rank(rank: usize, x: &[usize]) -> Result<(), String> {
    if rank == x.len() { Ok(()) } else { Err(format!("wants {rank} axes, not {x:?}")) }
}

/// The four extents of a batch of pictures.
pub fn rank4(x: &[usize]) -> Result<[usize; 4], String> {
    x.try_into().map_err(|_| format!("wants four axes (batch, channel, row, column), not {x:?}"))
}

fn rank2(x: &[usize], transposed: bool) -> Result<[usize; 2], String> {
    let [a, b] = x.try_into().map_err(|_| format!("wants a matrix, not {x:?}"))?;
    Ok(if transposed { [b, a] } else { [a, b] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv_op(strides: [usize; 2], pads: [usize; 4], groups: usize) -> Op {
        Op::Conv(Conv {
            strides,
            pads,
            dilations: [1, 1],
            groups,
            bias: false,
            residual: None,
            activation: None,
        })
    }

    #[test]
    fn convolutions_follow_the_formula() {
        let x: &[usize] = &[1, 3, 288, 352];
        let w: &[usize] = &[32, 3, 3, 3];
        assert_eq!(infer(&conv_op([2, 2], [1; 4], 1), &[x, w]), Ok(vec![1, 32, 144, 176]));
        assert!(infer(&conv_op([2, 2], [1; 4], 2), &[x, w]).is_err(), "groups must divide the channels");
        assert!(infer(&conv_op([0, 1], [1; 4], 1), &[x, w]).is_err(), "a stride of zero");
        assert!(infer(&conv_op([1, 1], [usize::MAX; 4], 1), &[x, w]).is_err(), "absurd padding");
        let tiny: &[usize] = &[1, 3, 2, 2];
        assert!(infer(&conv_op([1, 1], [0; 4], 1), &[tiny, w]).is_err(), "the window does not fit");
    }

    #[test]
    fn broadcasting_is_numpy_s() {
        assert_eq!(broadcast(&[1, 8, 1, 1], &[4, 5]), Ok(vec![1, 8, 4, 5]));
        assert_eq!(broadcast(&[], &[3]), Ok(vec![3]));
        assert!(broadcast(&[2], &[3]).is_err());
    }

    #[test]
    fn matrix_products_broadcast_their_batch() {
        assert_eq!(infer(&Op::MatMul, &[&[2, 1, 3, 4], &[5, 4, 6]]), Ok(vec![2, 5, 3, 6]));
        assert!(infer(&Op::MatMul, &[&[3], &[3, 4]]).is_err());
    }
}

//! Operators that move values about, for floats and integers alike.

use super::View;
use crate::graph::op::{Binary, Op, PadMode};

/// Distance of neighbours along each axis of a row-major tensor.
pub fn strides(shape: &[usize]) -> Vec<usize> {
    let mut out = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        out[i - 1] = out[i] * shape[i];
    }
    out
}

/// Steps through all positions of a shape in row-major order.
pub struct Walk<'a> {
    shape: &'a [usize],
    at: [usize; crate::graph::tensor::MAX_RANK],
}

impl<'a> Walk<'a> {
    pub fn new(shape: &'a [usize]) -> Self {
        Self { shape, at: [0; crate::graph::tensor::MAX_RANK] }
    }

    /// Where the position lies in a tensor with these strides.
    pub fn offset(&self, strides: &[usize]) -> usize {
        self.at.iter().zip(strides).map(|(a, s)| a * s).sum()
    }

    pub fn step(&mut self) {
        for i in (0..self.shape.len()).rev() {
            self.at[i] += 1;
            if self.at[i] < self.shape[i] {
                return;
            }
            self.at[i] = 0;
        }
    }
}

/// Strides of `shape` as seen from `target`: zero along axes that are broadcast.
fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<usize> {
    let own = strides(shape);
    let missing = target.len() - shape.len();
    (0..target.len())
        .map(|i| match i.checked_sub(missing) {
            Some(j) if shape[j] != 1 => own[j],
            _ => 0,
        })
        .collect()
}

/// `f` of each pair of values, with broadcasting to `shape`.
pub fn zip_broadcast(
    a: View<'_>,
    b: View<'_>,
    shape: &[usize],
    out: &mut [f32],
    f: impl Fn(f32, f32) -> f32,
) {
    if a.shape == b.shape {
        out.iter_mut().zip(a.data.iter().zip(b.data)).for_each(|(o, (&a, &b))| *o = f(a, b));
        return;
    }
    let (sa, sb) = (broadcast_strides(a.shape, shape), broadcast_strides(b.shape, shape));
    let mut walk = Walk::new(shape);
    for o in out {
        *o = f(a.data[walk.offset(&sa)], b.data[walk.offset(&sb)]);
        walk.step();
    }
}

/// Joins tensors along `axis`.
pub fn concat<T: Copy>(parts: &[(&[usize], &[T])], axis: usize, shape: &[usize], out: &mut [T]) {
    let inner: usize = shape[axis + 1..].iter().product();
    let row = shape[axis] * inner;
    if row == 0 {
        return;
    }
    let mut start = 0;
    for (part_shape, data) in parts {
        let len = part_shape[axis] * inner;
        if len == 0 {
            continue;
        }
        for (o, x) in out.chunks_exact_mut(row).zip(data.chunks_exact(len)) {
            o[start..start + len].copy_from_slice(x);
        }
        start += len;
    }
}

/// A movement operator of one input.
pub fn apply<T: Copy + FromF32>(op: &Op, x_shape: &[usize], x: &[T], shape: &[usize], out: &mut [T]) {
    let own = strides(x_shape);
    match op {
        Op::Slice { ranges } => {
            let start: usize = ranges.iter().zip(&own).map(|(r, s)| r.start * s).sum();
            let mut walk = Walk::new(shape);
            for o in out {
                let offset: isize =
                    (0..shape.len()).map(|i| walk.at[i] as isize * ranges[i].step * own[i] as isize).sum();
                *o = x[start.wrapping_add_signed(offset)];
                walk.step();
            }
        }
        Op::Transpose { perm } => {
            let moved: Vec<usize> = perm.iter().map(|&p| own[p]).collect();
            copy_strided(x, &moved, shape, out);
        }
        Op::Expand { .. } => copy_strided(x, &broadcast_strides(x_shape, shape), shape, out),
        Op::Gather { axis, indices, .. } => {
            let inner: usize = x_shape[axis + 1..].iter().product();
            let outer: usize = x_shape[..*axis].iter().product();
            let mut rows = (0..outer).flat_map(|o| indices.iter().map(move |i| o * x_shape[*axis] + i));
            if inner > 0 {
                for (o, row) in out.chunks_exact_mut(inner).zip(&mut rows) {
                    o.copy_from_slice(&x[row * inner..][..inner]);
                }
            }
        }
        Op::Pad { before, mode, .. } => pad(before, *mode, x_shape, x, shape, out),
        _ => out.copy_from_slice(x),
    }
}

fn copy_strided<T: Copy>(x: &[T], strides: &[usize], shape: &[usize], out: &mut [T]) {
    let mut walk = Walk::new(shape);
    for o in out {
        *o = x[walk.offset(strides)];
        walk.step();
    }
}

fn pad<T: Copy + FromF32>(
    before: &[usize],
    mode: PadMode,
    x_shape: &[usize],
    x: &[T],
    shape: &[usize],
    out: &mut [T],
) {
    let own = strides(x_shape);
    let mut walk = Walk::new(shape);
    for o in out {
        let mut offset = Some(0);
        for i in 0..shape.len() {
            let at = walk.at[i] as isize - before[i] as isize;
            let last = x_shape[i] as isize - 1;
            let inside = match mode {
                PadMode::Edge => Some(at.clamp(0, last)),
                PadMode::Reflect if at < 0 => Some(-at),
                PadMode::Reflect if at > last => Some(2 * last - at),
                _ => (0..=last).contains(&at).then_some(at),
            };
            offset = offset.zip(inside).map(|(o, at)| o + at as usize * own[i]);
        }
        let fill = match mode {
            PadMode::Constant(v) => v,
            PadMode::Reflect | PadMode::Edge => 0.0,
        };
        *o = offset.map_or(T::from_f32(fill), |i| x[i]);
        walk.step();
    }
}

/// What padding needs to know of a type.
pub trait FromF32 {
    fn from_f32(v: f32) -> Self;
}

impl FromF32 for f32 {
    fn from_f32(v: f32) -> Self {
        v
    }
}

impl FromF32 for i64 {
    fn from_f32(v: f32) -> Self {
        v as i64
    }
}

/// Integer arithmetic, for what files compute about shapes.
pub fn evaluate_i64(
    op: &Op,
    shapes: &[&[usize]],
    inputs: &[&[i64]],
    shape: &[usize],
    len: usize,
) -> Result<Vec<i64>, String> {
    let mut out = vec![0; len];
    match op {
        Op::Concat { axis } => {
            let parts: Vec<_> = shapes.iter().copied().zip(inputs.iter().copied()).collect();
            concat(&parts, *axis, shape, &mut out);
        }
        Op::Binary(b) => {
            let (sa, sb) = (broadcast_strides(shapes[0], shape), broadcast_strides(shapes[1], shape));
            let mut walk = Walk::new(shape);
            for o in &mut out {
                *o = binary_i64(*b, inputs[0][walk.offset(&sa)], inputs[1][walk.offset(&sb)])
                    .ok_or("integer arithmetic overflows or divides by zero")?;
                walk.step();
            }
        }
        Op::Slice { .. }
        | Op::Reshape { .. }
        | Op::Transpose { .. }
        | Op::Pad { .. }
        | Op::Gather { .. }
        | Op::Expand { .. }
        | Op::Identity => apply(op, shapes[0], inputs[0], shape, &mut out),
        _ => return Err("is not supported on integers".into()),
    }
    Ok(out)
}

fn binary_i64(op: Binary, a: i64, b: i64) -> Option<i64> {
    match op {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div => a.checked_div(b),
        Binary::Pow => a.checked_pow(u32::try_from(b).ok()?),
        Binary::Max => Some(a.max(b)),
        Binary::Min => Some(a.min(b)),
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::eval::evaluate;
    use crate::graph::op::{Op, PadMode, SliceRange};
    use crate::graph::tensor::Tensor;

    fn ramp(shape: &[usize]) -> Tensor {
        let n = shape.iter().product::<usize>();
        Tensor::f32(shape.to_vec(), (0..n).map(|v| v as f32).collect()).unwrap()
    }

    fn values(op: Op, x: &Tensor) -> Vec<f32> {
        evaluate(&op, &[x]).unwrap().as_f32().unwrap().to_vec()
    }

    #[test]
    fn transposes_and_slices() {
        let x = ramp(&[2, 3]);
        assert_eq!(values(Op::Transpose { perm: vec![1, 0] }, &x), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        let backwards =
            vec![SliceRange { start: 1, step: -1, len: 2 }, SliceRange { start: 0, step: 2, len: 2 }];
        assert_eq!(values(Op::Slice { ranges: backwards }, &x), [3.0, 5.0, 0.0, 2.0]);
    }

    #[test]
    fn padding_has_three_kinds() {
        let x = ramp(&[3]);
        let pad = |mode| values(Op::Pad { before: vec![2], after: vec![1], mode }, &x);
        assert_eq!(pad(PadMode::Constant(9.0)), [9.0, 9.0, 0.0, 1.0, 2.0, 9.0]);
        assert_eq!(pad(PadMode::Edge), [0.0, 0.0, 0.0, 1.0, 2.0, 2.0]);
        assert_eq!(pad(PadMode::Reflect), [2.0, 1.0, 0.0, 1.0, 2.0, 1.0]);
    }

    #[test]
    fn gather_and_expand() {
        let x = ramp(&[3, 2]);
        let gather = Op::Gather { axis: 0, indices: vec![2, 0], indices_shape: vec![2] };
        assert_eq!(values(gather, &x), [4.0, 5.0, 0.0, 1.0]);
        assert_eq!(values(Op::Expand { shape: vec![2, 2] }, &ramp(&[2, 1])), [0.0, 0.0, 1.0, 1.0]);
    }

    #[test]
    fn integer_division_by_zero_is_an_error() {
        let one = Tensor::i64(vec![1], vec![1]).unwrap();
        let zero = Tensor::i64(vec![1], vec![0]).unwrap();
        assert!(evaluate(&Op::Binary(crate::graph::op::Binary::Div), &[&one, &zero]).is_err());
    }
}

//! Operators that move values about, and those that compute shapes.

use std::path::Path;

use super::{Refusal, Step, attribute_tensor};
use crate::format::onnx::attributes::{Args, axis, unsigned};
use crate::format::onnx::tensor::is_float;
use crate::graph::op::{Op, PadMode, SliceRange};
use crate::graph::tensor::{Data, MAX_RANK, Tensor, element_count};

/// Largest number of values that `Range` and `ConstantOfShape` may make.
const MAX_GENERATED: usize = 1 << 24;

pub fn split(a: &Args<'_>) -> Result<Step, String> {
    let x = a.shape(0)?;
    let axis = a.axis(0, x.len())?;
    let outputs = a.node.output.len();
    let sizes = match a.list(1, "split")? {
        Some(sizes) => sizes.iter().map(|&s| unsigned(s)).collect::<Result<Vec<_>, _>>()?,
        None => {
            let parts = unsigned(a.int("num_outputs", outputs as i64))?;
            if parts == 0 || parts != outputs {
                return Err(format!("has {outputs} outputs, not {parts}"));
            }
            let part = x[axis].div_ceil(parts);
            (0..parts).map(|i| x[axis].saturating_sub(i * part).min(part)).collect()
        }
    };
    if sizes.iter().try_fold(0usize, |n, &s| n.checked_add(s)) != Some(x[axis]) {
        return Err(format!("parts {sizes:?} do not add up to {}", x[axis]));
    }
    let mut start = 0;
    let part = |len: usize| {
        let mut ranges = whole(x);
        ranges[axis] = SliceRange { start, step: 1, len };
        start += len;
        Op::Slice { ranges }
    };
    Ok(Step::Split(sizes.into_iter().map(part).collect(), a.input(0)?))
}

fn whole(x: &[usize]) -> Vec<SliceRange> {
    x.iter().map(|&len| SliceRange { start: 0, step: 1, len }).collect()
}

pub fn slice(a: &Args<'_>) -> Result<Step, String> {
    let x = a.shape(0)?;
    let starts = a.list(1, "starts")?.ok_or("lacks starts")?;
    let ends = a.list(2, "ends")?.ok_or("lacks ends")?;
    let axes = a.list(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = a.list(4, "")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()].iter().any(|&l| l != starts.len()) {
        return Err("has lists of different lengths".into());
    }
    let mut ranges = whole(x);
    for i in 0..starts.len() {
        let at = axis(axes[i], x.len())?;
        ranges[at] = range_of(x[at], starts[i], ends[i], steps[i])?;
    }
    Ok(Step::Op(Op::Slice { ranges }, vec![a.input(0)?]))
}

/// NumPy's `start:end:step`.
fn range_of(extent: usize, start: i64, end: i64, step: i64) -> Result<SliceRange, String> {
    let n = extent as i64;
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let resolve = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(low, high);
    let (first, last) = (resolve(start), resolve(end));
    let distance = if step > 0 { last - first } else { first - last };
    let len = match step {
        0 => return Err("has a step of zero".into()),
        _ if distance <= 0 => 0,
        _ => (distance - 1) as u64 / step.unsigned_abs() + 1,
    };
    let step = isize::try_from(step).map_err(|_| "has an absurd step".to_owned())?;
    Ok(SliceRange { start: if len == 0 { 0 } else { first as usize }, step, len: len as usize })
}

pub fn pad(a: &Args<'_>) -> Result<Step, Refusal> {
    let rank = a.shape(0)?.len();
    let pads = a.list(1, "pads")?.ok_or_else(|| Refusal::Malformed("lacks pads".into()))?;
    let axes: Vec<usize> = match a.list(3, "")? {
        Some(axes) => axes.iter().map(|&i| axis(i, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(format!("pads = {pads:?} for {} axes", axes.len()).into());
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, &at) in axes.iter().enumerate() {
        let both = [pads[i], pads[i + axes.len()]];
        let [Ok(b), Ok(e)] = both.map(unsigned) else {
            return Err(Refusal::Unsupported(format!("negative padding {pads:?}")));
        };
        (before[at], after[at]) = (b, e);
    }
    let mode = match a.string("mode", "constant") {
        "constant" => PadMode::Constant(a.scalar(2, "value", 0.0)?),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return Err(Refusal::Unsupported(format!("mode {other:?}"))),
    };
    Ok(Step::Op(Op::Pad { before, after, mode }, vec![a.input(0)?]))
}

pub fn gather(a: &Args<'_>) -> Result<Step, String> {
    let x = a.shape(0)?;
    let at = a.axis(0, x.len())?;
    let tensor = a.constant(1)?.ok_or("lacks indices")?;
    let indices = tensor.as_i64().ok_or("has indices that are not integers")?;
    let indices = indices.iter().map(|&i| axis(i, x[at])).collect::<Result<_, _>>()?;
    let indices_shape = tensor.shape().to_vec();
    Ok(Step::Op(Op::Gather { axis: at, indices, indices_shape }, vec![a.input(0)?]))
}

pub fn shape_of(a: &Args<'_>) -> Result<Step, String> {
    let x: Vec<i64> = a.shape(0)?.iter().map(|&d| d as i64).collect();
    let clamp = |v: i64| (if v < 0 { v.saturating_add(x.len() as i64) } else { v }).clamp(0, x.len() as i64);
    let start = clamp(a.int("start", 0)) as usize;
    let end = (clamp(a.int("end", x.len() as i64)) as usize).max(start);
    let part = x[start..end].to_vec();
    Ok(Step::Constant(Tensor::i64(vec![part.len()], part)?))
}

pub fn range(a: &Args<'_>) -> Result<Step, String> {
    let get = |slot| a.constant(slot)?.ok_or_else(|| format!("lacks input {slot}"));
    let (start, limit, delta) = (get(0)?, get(1)?, get(2)?);
    let number = |t: &Tensor| t.scalar().map(f64::from).ok_or("wants single numbers");
    let count = ((number(limit)? - number(start)?) / number(delta)?).ceil();
    if !(0.0..=MAX_GENERATED as f64).contains(&count) {
        return Err(format!("{count} values; the limit is {MAX_GENERATED}"));
    }
    let n = count as usize;
    let data = match (start.as_i64(), delta.as_i64()) {
        (Some([s]), Some([d])) => {
            Data::I64((0..n as i64).map(|i| s.wrapping_add(i.wrapping_mul(*d))).collect())
        }
        _ => {
            let (s, d) = (number(start)?, number(delta)?);
            Data::F32((0..n).map(|i| (s + i as f64 * d) as f32).collect())
        }
    };
    Ok(Step::Constant(Tensor::new(vec![n], data)?))
}

pub fn constant_of_shape(a: &Args<'_>, folder: Option<&Path>) -> Result<Step, String> {
    let shape = a.list(0, "")?.ok_or("lacks its shape")?;
    let shape = shape.iter().map(|&d| unsigned(d)).collect::<Result<Vec<_>, _>>()?;
    let len = element_count(&shape)?;
    if len > MAX_GENERATED {
        return Err(format!("{len} values; the limit is {MAX_GENERATED}"));
    }
    let data = match attribute_tensor(a, "value", folder)?.as_ref().map(Tensor::data) {
        Some(Data::I64(v)) if v.len() == 1 => Data::I64(vec![v[0]; len]),
        Some(Data::F32(v)) if v.len() == 1 => Data::F32(vec![v[0]; len]),
        None => Data::F32(vec![0.0; len]),
        Some(_) => return Err("wants a single value".into()),
    };
    Ok(Step::Constant(Tensor::new(shape, data)?))
}

pub fn constant(a: &Args<'_>, folder: Option<&Path>) -> Result<Step, Refusal> {
    if let Some(t) = attribute_tensor(a, "value", folder)? {
        return Ok(Step::Constant(t));
    }
    let tensor = if a.has("value_float") {
        Tensor::f32(vec![], vec![a.float("value_float", 0.0)])
    } else if a.has("value_int") {
        Tensor::i64(vec![], vec![a.int("value_int", 0)])
    } else if let Some(v) = a.floats("value_floats").filter(|v| !v.is_empty()) {
        Tensor::f32(vec![v.len()], v.to_vec())
    } else if let Some(v) = a.ints("value_ints") {
        Tensor::i64(vec![v.len()], v.to_vec())
    } else {
        return Err(Refusal::Unsupported("a constant that is neither numbers nor a tensor".into()));
    };
    Ok(Step::Constant(tensor?))
}

/// Floats of every width are one type here; constants change between floats and integers.
pub fn cast(a: &Args<'_>) -> Result<Step, Refusal> {
    let to = i32::try_from(a.int("to", 0)).unwrap_or(0);
    let Some(float) = is_float(to) else {
        return Err(Refusal::Unsupported(format!("element type {to}")));
    };
    let input = a.input(0)?;
    let Some(t) = a.reader.graph.constant(input) else {
        return match float {
            true => Ok(Step::Op(Op::Identity, vec![input])),
            false => Err(Refusal::Unsupported("floats to integers at run time".into())),
        };
    };
    let data = match t.data() {
        Data::I64(v) if float => Data::F32(v.iter().map(|&i| i as f32).collect()),
        Data::F32(v) if !float => Data::I64(v.iter().map(|&f| f as i64).collect()),
        same => same.clone(),
    };
    Ok(Step::Constant(Tensor::new(t.shape().to_vec(), data)?))
}

/// `Reshape`, `Flatten`, `Squeeze`, `Unsqueeze` and `Expand`: the new shape is known here.
pub fn reshape(a: &Args<'_>) -> Result<Step, Refusal> {
    let x = a.shape(0)?;
    let shape = match a.node.op_type.as_str() {
        "Reshape" => reshaped(x, &a.list(1, "shape")?.ok_or("lacks its shape")?, a.flag("allowzero", false))?,
        "Flatten" => {
            // The axis may also lie behind the last one.
            let axis = match a.int("axis", 1) {
                at if at == x.len() as i64 => x.len(),
                at => axis(at, x.len())?,
            };
            vec![element_count(&x[..axis])?, element_count(&x[axis..])?]
        }
        "Squeeze" => {
            let listed = a.list(1, "axes")?;
            let axes = match listed {
                Some(l) => l.iter().map(|&i| axis(i, x.len())).collect::<Result<Vec<_>, _>>()?,
                None => (0..x.len()).filter(|&i| x[i] == 1).collect(),
            };
            if axes.iter().any(|&i| x[i] != 1) {
                return Err(format!("cannot squeeze {x:?} along {axes:?}").into());
            }
            (0..x.len()).filter(|i| !axes.contains(i)).map(|i| x[i]).collect()
        }
        "Unsqueeze" => {
            let listed = a.list(1, "axes")?.ok_or("lacks axes")?;
            let rank = x.len() + listed.len();
            if rank > MAX_RANK {
                return Err(format!("makes {rank} axes, more than the limit of {MAX_RANK}").into());
            }
            let axes = listed.iter().map(|&i| axis(i, rank)).collect::<Result<Vec<_>, _>>()?;
            let mut rest = x.iter().copied();
            let shape: Vec<usize> =
                (0..rank).map(|i| if axes.contains(&i) { 1 } else { rest.next().unwrap_or(1) }).collect();
            if rest.next().is_some() {
                return Err(format!("axes {axes:?} repeat").into());
            }
            shape
        }
        _ => {
            let target = a.list(1, "")?.ok_or("lacks its shape")?;
            let target = target.iter().map(|&d| unsigned(d)).collect::<Result<Vec<_>, _>>()?;
            // Broadcasting goes both ways here: a target extent of 1 keeps the input's.
            let shape = crate::graph::shape::broadcast(x, &target)?;
            return Ok(Step::Op(Op::Expand { shape }, vec![a.input(0)?]));
        }
    };
    Ok(Step::Op(Op::Reshape { shape }, vec![a.input(0)?]))
}

/// Zeros stand for the input's extent, and one -1 for whatever is left.
fn reshaped(x: &[usize], target: &[i64], allow_zero: bool) -> Result<Vec<usize>, String> {
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (i, &d) in target.iter().enumerate() {
        shape.push(match d {
            -1 if open.replace(i).is_some() => return Err(format!("{target:?} leaves two extents open")),
            -1 => 1,
            0 if !allow_zero => *x.get(i).ok_or_else(|| format!("{target:?} copies a missing axis"))?,
            d => unsigned(d)?,
        });
    }
    if let Some(i) = open {
        let known = element_count(&shape)?;
        shape[i] = element_count(x)?
            .checked_div(known)
            .filter(|n| n * known == x.iter().product::<usize>())
            .ok_or_else(|| format!("cannot reshape {x:?} to {target:?}"))?;
    }
    Ok(shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_numpy_s() {
        let get = |start, end, step| range_of(5, start, end, step).map(|r| (r.start, r.len));
        assert_eq!(get(1, 3, 1), Ok((1, 2)));
        assert_eq!(get(-2, i64::MAX, 1), Ok((3, 2)));
        assert_eq!(get(0, 5, 2), Ok((0, 3)));
        assert_eq!(get(-1, i64::MIN, -1), Ok((4, 5)));
        assert_eq!(get(3, 1, 1), Ok((0, 0)));
        assert!(get(0, 1, 0).is_err());
    }

    #[test]
    fn reshape_fills_what_is_open() {
        assert_eq!(reshaped(&[1, 6, 4], &[0, -1, 2], false), Ok(vec![1, 12, 2]));
        assert!(reshaped(&[5], &[-1, 2], false).is_err());
        assert!(reshaped(&[6], &[-1, -1], false).is_err());
    }
}

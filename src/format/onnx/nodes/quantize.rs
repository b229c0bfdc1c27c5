//! `QuantizeLinear` and `DequantizeLinear`, per tensor and per axis.

use super::{Refusal, Step};
use crate::format::onnx::attributes::{Args, axis};
use crate::format::onnx::tensor::dtype;
use crate::graph::quantization::{Integer, Quantization};
use crate::graph::{Op, ValueId};

pub fn quantize(a: &Args<'_>) -> Result<Step, Refusal> {
    let named = i32::try_from(a.int("output_dtype", 0)).unwrap_or(-1);
    let integer = match zero_point_type(a)? {
        Some(found) => found,
        None if named == 0 => Integer::Uint8,
        None => integer(named)?,
    };
    Ok(Step::Op(Op::Quantize(parameters(a, integer)?), vec![a.input(0)?]))
}

pub fn dequantize(a: &Args<'_>) -> Result<Step, Refusal> {
    let x = a.input(0)?;
    let integer = match zero_point_type(a)? {
        Some(found) => found,
        None => type_of(a, x).ok_or("has an input that is not integers")??,
    };
    Ok(Step::Op(Op::Dequantize(parameters(a, integer)?), vec![x]))
}

/// The integer type that the zero point names; `None` where there is none.
fn zero_point_type(a: &Args<'_>) -> Result<Option<Integer>, Refusal> {
    let Some(id) = a.optional(2) else { return Ok(None) };
    let found = type_of(a, id).ok_or_else(|| Refusal::Unsupported("a zero point of unknown type".into()))?;
    found.map(Some)
}

/// The integer type of a value, where it has one that is known.
fn type_of(a: &Args<'_>, id: ValueId) -> Option<Result<Integer, Refusal>> {
    let produced = a.reader.graph.nodes.iter().rev().find(|n| n.output == id).and_then(|n| match &n.op {
        Op::Quantize(q) => Some(Ok(q.integer)),
        _ => None,
    });
    produced.or_else(|| a.reader.integers.get(&id).map(|&t| integer(t)))
}

fn integer(data_type: i32) -> Result<Integer, Refusal> {
    match data_type {
        dtype::INT8 => Ok(Integer::Int8),
        dtype::UINT8 => Ok(Integer::Uint8),
        dtype::INT32 => Ok(Integer::Int32),
        other => Err(Refusal::Unsupported(format!("the stored type {other}"))),
    }
}

fn parameters(a: &Args<'_>, integer: Integer) -> Result<Quantization, Refusal> {
    if a.int("block_size", 0) != 0 {
        return Err(Refusal::Unsupported("scales per block".into()));
    }
    let scale = a.constant(1)?.and_then(|t| t.as_f32()).ok_or("has no scale of floats")?.to_vec();
    let zero_point = match a.constant(2)? {
        Some(t) => {
            let values = t.as_i64().ok_or("has a zero point that is not an integer")?;
            values.iter().map(|&z| i32::try_from(z)).collect::<Result<_, _>>().map_err(|e| e.to_string())?
        }
        None => vec![0; scale.len()],
    };
    // Attributes of a single scale do not matter, and some writers leave a senseless axis there.
    let axis = match scale.len() {
        1 => None,
        _ => Some(axis(a.int("axis", 1), a.shape(0)?.len())?),
    };
    Ok(Quantization { scale, zero_point, axis, integer })
}

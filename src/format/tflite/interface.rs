//! What of a `.tflite` file the rest of endort sees: one input and its outputs, channels first.

use super::model::{Model, Tensor};
use super::schema::{self, Kind};
use crate::error::{Error, Result};
use crate::graph::{Graph, Op, Unary};

/// A graph with the file's inputs and outputs and no steps: whoever executes it is given the file.
///
/// # Errors
/// [`Error::Model`] for a file that is damaged, unsound or beyond the bounds.
pub fn interface(bytes: &[u8], name: &str) -> Result<Graph> {
    let fail = |detail: String| Error::Model { model: name.to_owned(), detail };
    let model = super::decode::decode(bytes).map_err(fail)?;
    if model.outputs.is_empty() {
        return Err(fail("has no output".into()));
    }
    let mut graph = Graph::new(name);
    for (&id, output) in tensors(&model) {
        let tensor = &model.tensors[id];
        numbers(tensor).map_err(fail)?;
        let shape = channels_first(&tensor.shape);
        if output {
            graph.add_output(&tensor.name, shape);
        } else {
            graph.add_input(&tensor.name, shape);
        }
    }
    Ok(graph)
}

/// The operator that squashes the values of the only output into 0..1, if one does.
///
/// # Errors
/// [`Error::Model`] for a file that cannot be read.
pub fn squashed(bytes: &[u8], name: &str) -> Result<Option<Op>> {
    let fail = |detail: String| Error::Model { model: name.to_owned(), detail };
    let model = super::decode::decode(bytes).map_err(fail)?;
    let mut tensor = model.outputs.first().copied();
    // No walk is longer than the file, however its operators are tied together.
    for _ in 0..model.operators.len() {
        let last = model.operators.iter().find(|operator| operator.outputs.first().copied() == tensor);
        let Some(last) = last.filter(|_| tensor.is_some()) else { return Ok(None) };
        match last.code {
            schema::LOGISTIC => return Ok(Some(Op::Unary(Unary::Sigmoid))),
            schema::SOFTMAX => {
                let rank = last.outputs.first().map_or(0, |&id| model.tensors[id].shape.len());
                // Channels are last there.
                return Ok(Some(Op::Softmax { axis: if rank == 4 { 1 } else { rank.saturating_sub(1) } }));
            }
            schema::DEQUANTIZE
            | schema::QUANTIZE
            | schema::RESHAPE
            | schema::TRANSPOSE
            | schema::STRIDED_SLICE
            | schema::SLICE
            | schema::RESIZE_BILINEAR
            | schema::RESIZE_NEAREST_NEIGHBOR => tensor = last.inputs.first().copied().flatten(),
            _ => return Ok(None),
        }
    }
    Ok(None)
}

fn tensors(model: &Model) -> impl Iterator<Item = (&usize, bool)> {
    model.inputs.iter().map(|id| (id, false)).chain(model.outputs.iter().map(|id| (id, true)))
}

/// Whether a caller can fill or read a tensor.
fn numbers(tensor: &Tensor) -> std::result::Result<(), String> {
    let grid = tensor.quantization.as_ref().is_some_and(|q| q.scales.len() == 1 && q.scales[0] > 0.0);
    match tensor.kind {
        Kind::F32 | Kind::F16 => Ok(()),
        Kind::I8 | Kind::U8 if grid => Ok(()),
        Kind::I8 | Kind::U8 => Err(format!("{:?} holds integers without a scale", tensor.name)),
        other => Err(format!("{:?} holds numbers of the type {other:?}", tensor.name)),
    }
}

/// Extents as the rest of endort has them: four axes are batch, row, column, channel in the file.
pub fn channels_first(stored: &[usize]) -> Vec<usize> {
    match *stored {
        [n, h, w, c] => vec![n, c, h, w],
        _ => stored.to_vec(),
    }
}

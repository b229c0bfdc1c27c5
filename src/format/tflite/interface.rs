//! What of a `.tflite` file the rest of endort sees: one input and its outputs, channels first.

use super::model::{Model, Tensor};
use super::schema::Kind;
use crate::error::{Error, Result};
use crate::graph::Graph;

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

//! Which layers an 8-bit grid hurts most: each is quantized alone.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::calibrate::Calibrated;
use super::compare;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::graph::passes::int8::{Options, quantize};
use crate::graph::{Graph, Op, passes};
use crate::model::Manifest;
use crate::runtime::candle::cpu::CpuEngine;

/// Inputs that each layer is tried on.
const INPUTS: usize = 4;

/// What quantizing one layer alone does to the outputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerError {
    /// The layer's name.
    pub layer: String,
    /// √(Σ difference² / Σ value²) of the network's outputs.
    pub relative_error: f64,
}

/// The layers with weights, the one that hurts most first. `progress` hears how many there are, then of each.
///
/// # Errors
/// Whatever keeps the network from running, and [`Error::Cancelled`](crate::Error::Cancelled).
pub fn sensitivity(
    graph: &Graph,
    manifest: &Manifest,
    calibrated: &Calibrated,
    options: &Options,
    threads: usize,
    cancel: &Cancel,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<LayerError>> {
    let inputs = &calibrated.kept[..calibrated.kept.len().min(INPUTS)];
    let run = |graph: &Graph| {
        let mut graph = graph.clone();
        passes::run_all(&mut graph);
        compare::outputs(&mut CpuEngine::new(&graph, threads)?, inputs, cancel)
    };
    let expected = run(graph)?;
    let weighted = |op: &Op| matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul);
    let layers: Vec<&str> = graph.nodes.iter().filter(|n| weighted(&n.op)).map(|n| n.name.as_str()).collect();
    let names: HashSet<&str> = graph.nodes.iter().map(|n| n.name.as_str()).collect();
    let mut errors = vec![];
    for (i, &layer) in layers.iter().enumerate() {
        progress(i, layers.len());
        let keep_float = names.iter().filter(|n| **n != layer).map(|&n| n.to_owned()).collect();
        let alone = Options { keep_float, ..options.clone() };
        let quantized =
            quantize(graph, &calibrated.observations, &alone).map_err(|detail| graph.error(detail))?;
        let relative_error = compare::agreement(manifest, &expected, &run(&quantized)?).relative_error;
        errors.push(LayerError { layer: layer.to_owned(), relative_error });
    }
    errors.sort_by(|a, b| b.relative_error.total_cmp(&a.relative_error));
    Ok(errors)
}

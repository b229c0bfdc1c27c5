//! Observing a network's activations on real pictures.

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::frames;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::graph::passes::int8::{Histogram, Method, Observations, Observed, activations};
use crate::graph::{Graph, Op, ValueId};
use crate::model::Manifest;
use crate::runtime::Engine;
use crate::runtime::candle::cpu::CpuEngine;

/// Fewer frames than this do not show what a network will meet.
pub const MIN_FRAMES: usize = 300;

/// Values of one tensor that a frame adds to its histogram, about.
const SAMPLES: usize = 1 << 15;

/// What calibration is to look at.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Files, folders, globs, addresses or `synthetic…`.
    pub sources: &'a [String],
    /// Number of frames, spread evenly over them.
    pub frames: usize,
    /// How ranges are chosen.
    pub method: Method,
    /// How many of the network's inputs are kept for comparisons.
    pub keep: usize,
    /// Threads; 0 for one per core.
    pub threads: usize,
}

/// What was observed.
#[derive(Debug, Default)]
pub struct Calibrated {
    /// Ranges and means of every activation.
    pub observations: Observations,
    /// Number of frames.
    pub frames: usize,
    /// SHA-256 of the network's inputs in order, in lower-case hex.
    pub sha256: String,
    /// Some of the inputs, evenly spread, or those that were named for comparisons.
    pub kept: Vec<Vec<f32>>,
}

/// Runs a [prepared](fn@crate::graph::passes::int8::prepare) network over the pictures. `progress` hears of each.
///
/// # Errors
/// Whatever keeps the pictures from being read, and a network that gives values that are no numbers.
pub fn calibrate(
    graph: &Graph,
    manifest: &Manifest,
    request: &Request<'_>,
    cancel: &Cancel,
    progress: &mut dyn FnMut(),
) -> Result<Calibrated> {
    // A network whose outputs are all of its activations.
    let mut observed = graph.clone();
    let ids = activations(graph);
    observed.outputs = ids.iter().copied().filter(|id| !graph.inputs.contains(id)).collect();
    let mut engine = CpuEngine::new(&observed, request.threads)?;
    let mut seen: Vec<Seen> =
        graph.inputs.iter().chain(&observed.outputs).map(|&id| Seen::new(graph, id)).collect();
    let mut digest = Sha256::new();
    let mut kept = vec![];
    let mut every = 1;
    let mut count = 0;
    let taken = frames::inputs(manifest, request.sources, request.frames, cancel, &mut |input| {
        input.iter().for_each(|v| digest.update(v.to_le_bytes()));
        if count % every == 0 {
            kept.push(input.to_vec());
            // Full: every second one goes, and from here on only every second one comes.
            if kept.len() > request.keep.max(1) {
                let mut index = 0;
                kept.retain(|_| {
                    index += 1;
                    index % 2 == 1
                });
                every *= 2;
            }
        }
        count += 1;
        engine.input().copy_from_slice(input);
        let outputs = engine.run()?;
        let values = std::iter::once(input).chain(outputs.iter().map(|o| o.data.as_slice()));
        let values: Vec<&[f32]> = values.collect();
        seen.par_iter_mut().zip(values).for_each(|(seen, values)| seen.add(values));
        progress();
        Ok(())
    })?;
    let mut observations = Observations::new();
    let ranges: Vec<(f32, f32)> = seen.par_iter().map(|s| s.histogram.range(request.method)).collect();
    for (seen, range) in seen.into_iter().zip(ranges) {
        if seen.histogram.is_broken() {
            let name = &graph.value(seen.id).name;
            return Err(
                graph.error(format!("{name:?} holds values that are no numbers: the network is broken"))
            );
        }
        let per_channel = seen.plane as f64 * taken as f64;
        let channel_means = seen.sums.iter().map(|s| s / per_channel).collect();
        observations.insert(seen.id, Observed { range, channel_means });
    }
    let sha256 = digest.finalize().iter().map(|b| format!("{b:02x}")).collect();
    if cancel.is_cancelled() {
        return Err(Error::Cancelled);
    }
    Ok(Calibrated { observations, frames: taken, sha256, kept })
}

/// What is collected of one activation.
struct Seen {
    id: ValueId,
    histogram: Histogram,
    /// Distance of the values that are counted: odd, so that it walks over all channels and columns.
    step: usize,
    /// Sum per channel, where the means are of use.
    sums: Vec<f64>,
    plane: usize,
}

impl Seen {
    fn new(graph: &Graph, id: ValueId) -> Self {
        let shape = graph.shape(id);
        let weighted = |n: &crate::graph::Node| {
            n.inputs[0] == id
                && matches!(n.op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul)
        };
        let channels = match shape.get(1) {
            Some(&channels) if graph.nodes.iter().any(weighted) => channels,
            _ => 0,
        };
        let plane = shape.get(2..).unwrap_or_default().iter().product::<usize>().max(1);
        let step = (shape.iter().product::<usize>() / SAMPLES).max(1) | 1;
        Self { id, histogram: Histogram::default(), step, sums: vec![0.0; channels], plane }
    }

    fn add(&mut self, values: &[f32]) {
        self.histogram.add(values, self.step);
        let planes = values.chunks_exact(self.plane);
        for (sum, plane) in self.sums.iter_mut().zip(planes) {
            // Blocks in single precision, so that this is compiled to vectors; their sum in double.
            *sum += plane.chunks(256).map(|b| f64::from(b.iter().sum::<f32>())).sum::<f64>();
        }
    }
}

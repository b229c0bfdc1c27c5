//! How far two engines for the same model differ, on the same inputs.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::Manifest;
use crate::model::manifest::{Activation, OutputKind};
use crate::runtime::{Engine, HostTensor};
use crate::vision::metrics::Overlap;

/// Runs before a measurement, not counted.
const WARM_UP: usize = 3;
/// Runs of a measurement.
const RUNS: usize = 15;

/// How far the optimized network's outputs are from the original's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Agreement {
    /// Frames that were compared.
    pub frames: usize,
    /// Largest difference of a value, as a share of the largest value of that output.
    pub max_difference: f64,
    /// √(Σ difference² / Σ value²) over everything.
    pub relative_error: f64,
    /// Mean Dice between the two masks; absent where there is no mask.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mask_dice: Option<f64>,
}

/// What an engine gives for each input.
pub fn outputs(
    engine: &mut dyn Engine,
    inputs: &[Vec<f32>],
    cancel: &Cancel,
) -> Result<Vec<Vec<HostTensor>>> {
    let run = |input: &Vec<f32>| {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        engine.input().copy_from_slice(input);
        engine.run().map(<[HostTensor]>::to_vec)
    };
    inputs.iter().map(run).collect()
}

/// Compares outputs that are in the same order.
pub fn agreement(manifest: &Manifest, before: &[Vec<HostTensor>], after: &[Vec<HostTensor>]) -> Agreement {
    let mask = manifest.outputs.iter().find(|o| o.kind == OutputKind::Mask);
    let (mut largest, mut error, mut power) = (0f64, 0f64, 0f64);
    let mut dice = vec![];
    for (before, after) in before.iter().zip(after) {
        for b in before {
            let Some(a) = after.iter().find(|a| a.name == b.name) else { continue };
            let scale = b.data.iter().fold(1e-6f64, |m, v| m.max(f64::from(v.abs())));
            for (&b, &a) in b.data.iter().zip(&a.data) {
                let difference = f64::from(b) - f64::from(a);
                largest = largest.max(difference.abs() / scale);
                error += difference * difference;
                power += f64::from(b) * f64::from(b);
            }
            if let Some(spec) = mask.filter(|spec| spec.name == b.name) {
                let p = f64::from(manifest.thresholds.mask);
                let threshold = match spec.activation {
                    Activation::Logits => (p / (1.0 - p)).ln(),
                    Activation::Probabilities => p,
                };
                let binary = |data: &[f32]| -> Vec<u8> {
                    data.iter().map(|&v| if f64::from(v) >= threshold { 255 } else { 0 }).collect()
                };
                dice.push(Overlap::count(&binary(&a.data), &binary(&b.data)).dice());
            }
        }
    }
    Agreement {
        frames: before.len(),
        max_difference: largest,
        relative_error: (error / power.max(f64::MIN_POSITIVE)).sqrt(),
        mask_dice: (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64),
    }
}

/// Median time of one run in milliseconds, on an input that is there already.
pub fn latency_ms(engine: &mut dyn Engine, input: &[f32]) -> Result<f64> {
    engine.input().copy_from_slice(input);
    let mut times = vec![];
    for i in 0..WARM_UP + RUNS {
        let begin = Instant::now();
        engine.run()?;
        if i >= WARM_UP {
            times.push(begin.elapsed().as_secs_f64() * 1e3);
        }
    }
    times.sort_unstable_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

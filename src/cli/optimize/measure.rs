//! Both networks on the same pictures: time, outputs and Dice.

use std::path::Path;

use super::Optimize;
use crate::cli::bench::accuracy;
use crate::error::Result;
use crate::model::Package;
use crate::optimize::compare::{self, Agreement};
use crate::optimize::{Made, Observed};
use crate::pipeline::FrameProcessor;
use crate::pipeline::processor::ProcessorOptions;
use crate::runtime::{self, Engine};
use crate::vision::metrics::AccuracySummary;

/// What was measured.
pub struct Measured {
    /// What executed both networks.
    pub runtime: String,
    /// Median time of one run in milliseconds, before and after.
    pub latency_ms: [f64; 2],
    /// How far outputs differ.
    pub agreement: Agreement,
    /// Against ground truth, before and after.
    pub accuracy: Option<[AccuracySummary; 2]>,
}

impl Measured {
    /// Measures `made` beside the original; `before` is the original at the size that `made` has.
    pub fn new(
        o: &Optimize<'_>,
        original: &Package,
        before: &Package,
        made: &Made,
        observed: &Observed,
    ) -> Result<Self> {
        let cancel = &o.context.cancel;
        let loaded = made.as_loaded_by(&o.engine.runtime, o.precision);
        let inputs = &observed.calibrated.kept;
        let mut outputs = vec![];
        let mut latency_ms = [0.0; 2];
        let mut runtime = String::new();
        for (latency_ms, package) in latency_ms.iter_mut().zip([before, &loaded]) {
            let mut engine = open(o, package)?;
            runtime = engine.runtime().to_owned();
            outputs.push(compare::outputs(engine.as_mut(), inputs, cancel)?);
            *latency_ms = compare::latency_ms(engine.as_mut(), &inputs[0])?;
        }
        if original.manifest.input != before.manifest.input {
            let mut engine = open(o, original)?;
            let input = vec![0.0; engine.input().len()];
            latency_ms[0] = compare::latency_ms(engine.as_mut(), &input)?;
        }
        let agreement = compare::agreement(&before.manifest, &outputs[0], &outputs[1]);
        let accuracy = match &o.args.ground_truth {
            Some(folder) => Some([accuracy(o, original, folder)?, accuracy(o, &loaded, folder)?]),
            None => None,
        };
        Ok(Self { runtime, latency_ms, agreement, accuracy })
    }

    /// How much Dice the optimized network loses.
    pub fn dice_drop(&self) -> Option<f64> {
        let [before, after] = self.accuracy.as_ref()?;
        Some(before.dice? - after.dice?)
    }
}

fn open(o: &Optimize<'_>, package: &Package) -> Result<Box<dyn Engine>> {
    runtime::open(package, &o.engine)
}

fn accuracy(o: &Optimize<'_>, package: &Package, folder: &Path) -> Result<AccuracySummary> {
    let engine = open(o, package)?;
    let mut processor = FrameProcessor::new(package.manifest.clone(), engine, ProcessorOptions::default())?;
    let bar = o.bar(0, "ground truth");
    let summary = accuracy::measure(folder, &mut processor, &bar, &o.context.cancel);
    bar.finish_and_clear();
    summary
}

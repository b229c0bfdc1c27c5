//! After `--runtime all`: which of the runtimes that see the same is the fastest, kept for `auto`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::report::Run;
use crate::cancel::Cancel;
use crate::cli::fastest::{circumstances, memory};
use crate::cli::model::{Choice, runtime_options};
use crate::config::{Device, Realtime};
use crate::error::{Error, Result};
use crate::model::Package;
use crate::optimize::compare::{self, Agreement};
use crate::optimize::frames;
use crate::runtime::fastest::Fastest;
use crate::runtime::{self, HostTensor};

/// With ground truth: the largest drop in Dice below the best of the runtimes.
const MAX_DICE_DROP: f64 = 0.01;
/// Without: the largest relative error of the outputs against the reference. The same 8-bit network is 0.01 to
/// 0.02 apart on different runtimes, a 32-bit one 1e-6; another network's outputs are 1 apart.
const MAX_RELATIVE_ERROR: f64 = 0.05;
/// Frames on which outputs are compared.
const FRAMES: usize = 16;
/// Frames where the source's own cannot be had twice.
const RENDERED: &str = "synthetic:640x512@30,seed=21,frames=16";

/// The fastest runtime for a model, of those that were measured side by side.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FastestRuntime {
    /// The model's name.
    pub model: String,
    /// Digest of its network.
    pub model_sha256: String,
    /// What a runtime must keep to be taken.
    pub limit: String,
    /// All that were measured, the fastest first.
    pub candidates: Vec<Candidate>,
    /// The fastest within the limit; absent where none is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
    /// Whether `auto` takes it from now on.
    pub remembered: bool,
}

/// A runtime, as far as the choice goes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub runtime: String,
    /// Version of the vendor's library, where one executes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime_version: Option<String>,
    /// Median time of the network for a frame at camera pace, which decides where it was measured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inference_p50_ms: Option<f64>,
    /// Frames per second at full speed, which decides else.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fps: Option<f64>,
    /// How far below the best Dice it is, where there is ground truth.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dice_drop: Option<f64>,
    /// How far its outputs are from the reference's, where there is no ground truth.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub agreement: Option<Agreement>,
    /// Whether it keeps the limit.
    pub within_limit: bool,
}

impl Candidate {
    /// What it cost, in words.
    pub fn speed(&self) -> String {
        match (self.inference_p50_ms, self.fps) {
            (Some(ms), _) => format!("inference {ms:.1} ms"),
            (_, fps) => format!("{:.1} fps", fps.unwrap_or_default()),
        }
    }

    /// Smaller is faster.
    fn cost(&self) -> f64 {
        self.inference_p50_ms.or(self.fps.map(|fps| 1e3 / fps)).unwrap_or(f64::INFINITY)
    }
}

/// What the choice is made with.
pub struct Chooser<'a> {
    /// The bench's source.
    pub source: &'a str,
    /// Settings in force.
    pub settings: &'a Realtime,
    /// Threads; 0 for one per core.
    pub threads: usize,
    /// Set to stop.
    pub cancel: &'a Cancel,
}

impl Chooser<'_> {
    /// Chooses among the runs of one model with one stream. `None` where the AI ran in none of them.
    ///
    /// # Errors
    /// A model or source that can no longer be read, and a runtime that fails.
    pub fn choose(&self, model: &str, runs: &[Run]) -> Result<Option<FastestRuntime>> {
        let package = Package::open(model)?;
        let ours = |run: &&Run| {
            let same = run.model_sha256.as_deref() == Some(&package.sha256);
            same && run.streams == 1 && run.ai_failure.is_none()
        };
        let runs: Vec<&Run> = runs.iter().filter(ours).collect();
        let mut candidates: Vec<Candidate> = vec![];
        for run in &runs {
            if candidates.iter().all(|c| c.runtime != run.runtime) {
                candidates.push(candidate(&run.runtime, &runs));
            }
        }
        let Some(reference) = candidates.first().map(|c| c.runtime.clone()) else { return Ok(None) };
        let limit = match dice(&mut candidates, &runs) {
            true => format!("dice at most {MAX_DICE_DROP} below the best"),
            false => {
                self.agreement(&package, &mut candidates)?;
                format!("outputs within {} % of {reference}", MAX_RELATIVE_ERROR * 100.0)
            }
        };
        candidates.sort_by(|a, b| a.cost().total_cmp(&b.cost()));
        let runtime = candidates.iter().find(|c| c.within_limit).map(|c| c.runtime.clone());
        let (model, model_sha256) = (package.manifest.name, package.sha256);
        Ok(Some(FastestRuntime { model, model_sha256, limit, candidates, runtime, remembered: false }))
    }

    /// Compares outputs on the same frames with those of the first, the reference: the built-in runtime, where it
    /// can execute the model.
    fn agreement(&self, package: &Package, candidates: &mut [Candidate]) -> Result<()> {
        let sources = [self.frames()];
        let mut inputs = vec![];
        frames::inputs(&package.manifest, &sources, FRAMES, self.cancel, &mut |input| {
            inputs.push(input.to_vec());
            Ok(())
        })?;
        let mut reference: Option<Vec<Vec<HostTensor>>> = None;
        for candidate in candidates {
            let choice = Choice {
                model: "",
                runtime: &candidate.runtime,
                precision: None,
                device: Device::Auto,
                threads: self.threads,
                throughput: false,
            };
            let mut engine = runtime::open(package, &runtime_options(&choice, self.settings))?;
            let outputs = compare::outputs(engine.as_mut(), &inputs, self.cancel)?;
            let reference = reference.get_or_insert_with(|| outputs.clone());
            let agreement = compare::agreement(&package.manifest, reference, &outputs);
            // NaN is within no limit.
            candidate.within_limit = agreement.relative_error <= MAX_RELATIVE_ERROR;
            candidate.agreement = Some(agreement);
        }
        Ok(())
    }

    fn frames(&self) -> String {
        let path = Path::new(self.source);
        let again = path.is_file() || path.is_dir() || self.source.starts_with("synthetic");
        if again { self.source.to_owned() } else { RENDERED.to_owned() }
    }

    /// Keeps the choice for `auto`.
    ///
    /// # Errors
    /// [`Error::Write`], and a user without a cache folder.
    pub fn remember(&self, fastest: &mut FastestRuntime) -> Result<()> {
        let Some(winner) = fastest.runtime.as_deref() else { return Ok(()) };
        let of = |runtime: &str| fastest.candidates.iter().find(|c| c.runtime == runtime);
        let Some(candidate) = of(winner) else { return Ok(()) };
        // Beside it, the one that would run without this.
        let other =
            fastest.candidates.iter().find(|c| c.runtime.starts_with("candle") && c.runtime != winner);
        let beside = other.map_or_else(String::new, |c| format!("; {}: {}", c.runtime, c.speed()));
        let known = Fastest {
            circumstances: circumstances(self.settings, self.threads)?,
            runtime: winner.to_owned(),
            runtime_version: candidate.runtime_version.clone(),
            because: format!("{}{beside}", candidate.speed()),
        };
        let memory = memory().ok_or_else(|| Error::Output {
            path: "~/.cache".into(),
            detail: "no home folder is known: set HOME or XDG_CACHE_HOME".to_owned(),
        })?;
        memory.keep(&fastest.model_sha256, known)?;
        fastest.remembered = true;
        Ok(())
    }
}

fn candidate(runtime: &str, runs: &[&Run]) -> Candidate {
    let at = |pace: &str| runs.iter().find(|run| run.runtime == runtime && run.pace == pace);
    let camera = at("camera").and_then(|run| run.stages_ms.get("inference"));
    Candidate {
        runtime: runtime.to_owned(),
        runtime_version: runs.iter().find(|r| r.runtime == runtime).and_then(|r| r.runtime_version.clone()),
        inference_p50_ms: camera.map(|inference| inference.p50),
        fps: at("max").map(|run| run.fps),
        dice_drop: None,
        agreement: None,
        within_limit: false,
    }
}

/// Judges by Dice; `false` where it is not known of all of them.
fn dice(candidates: &mut [Candidate], runs: &[&Run]) -> bool {
    let of = |c: &Candidate| runs.iter().find(|r| r.runtime == c.runtime)?.accuracy?.dice;
    let Some(found) = candidates.iter().map(of).collect::<Option<Vec<f64>>>() else { return false };
    let best = found.iter().copied().fold(0.0, f64::max);
    for (candidate, dice) in candidates.iter_mut().zip(found) {
        candidate.dice_drop = Some(best - dice);
        candidate.within_limit = best - dice <= MAX_DICE_DROP;
    }
    true
}

//! What `auto` stands for: the runtime that `endort bench --runtime all` found the fastest for a model here.

use std::num::NonZeroUsize;
use std::sync::OnceLock;

use super::machine;
use super::model::Choice;
use crate::config::{Device, Realtime};
use crate::device::info::Measured;
use crate::device::{self, Fingerprint};
use crate::error::Result;
use crate::model::Package;
use crate::runtime::fastest::{Circumstances, Fastest, Memory, Recalled};

/// What is kept in the user's cache folder; `None` for a user who has none.
pub fn memory() -> Option<Memory> {
    machine::cache_folder().map(|cache| Memory::new(&cache))
}

/// What a measurement with these settings and so many threads (0: one per core) is good for.
///
/// # Errors
/// A machine that cannot be looked at.
pub fn circumstances(settings: &Realtime, threads: usize) -> Result<Circumstances> {
    // The machine stays the same while a command runs.
    static LOOKED: OnceLock<Fingerprint> = OnceLock::new();
    let machine = match LOOKED.get() {
        Some(looked) => looked.clone(),
        None => {
            let looked = device::fingerprint(&machine::options(settings))?;
            LOOKED.get_or_init(|| looked).clone()
        }
    };
    let model_threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
        asked => asked,
    };
    Ok(Circumstances {
        machine,
        optimization_level: settings.optimization_level.value.to_string(),
        model_threads,
    })
}

/// Whether a choice leaves the runtime open.
pub fn is_open(choice: &Choice) -> bool {
    matches!(choice.runtime, "" | "auto") && choice.device == Device::Auto
}

/// What is known of a model here, for a choice that leaves the runtime open.
pub fn recall(package: &Package, choice: &Choice, settings: &Realtime) -> Recalled {
    match memory().filter(|_| is_open(choice)) {
        Some(memory) => memory.recall(&package.sha256, || circumstances(settings, choice.threads)),
        None => Recalled::Nothing,
    }
}

/// What `auto` would take for a model here because it was measured, where nobody names a number of threads.
pub fn measured(model: &str, settings: &Realtime) -> Option<Measured> {
    let package = Package::open(model).ok()?;
    match memory()?.recall(&package.sha256, || circumstances(settings, 0)) {
        Recalled::Fits(known) => {
            Some(Measured { model: model.to_owned(), runtime: known.runtime, because: known.because })
        }
        _ => None,
    }
}

/// What is said where the fastest runtime is taken.
pub fn taken(model: &str, fastest: &Fastest) -> String {
    let (runtime, because) = (&fastest.runtime, &fastest.because);
    format!("auto takes {runtime} for {model}, the fastest here by endort bench --runtime all ({because})")
}

/// What is said where what is known cannot be used, with the way out.
pub fn not_taken(model: &str, why: &str) -> String {
    format!(
        "auto goes without what was measured of {model} here: {why}; endort bench --model {model} --runtime all measures again"
    )
}

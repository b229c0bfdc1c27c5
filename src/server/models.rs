//! Models by name: loaded by whoever started the server, kept ready, and watched while they work.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::watched::Watched;
use crate::error::Result;
use crate::pipeline::Analyzer;

/// The model that finds nothing and costs nothing.
pub const NONE: &str = "none";

/// A model that is ready to run.
pub struct Loaded {
    /// Finds things in frames.
    pub analyzer: Box<dyn Analyzer>,
    /// Digest of the model's network.
    pub sha256: String,
    /// Whether another one costs next to nothing, because they share what was loaded.
    pub shares: bool,
}

/// Loads a model by name, for frames that follow each other in time or for single pictures (`video`).
pub type Loader = Arc<dyn Fn(&str, Use) -> Result<Loaded> + Send + Sync>;

/// What a model is loaded for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Frames that follow each other in time.
    Video,
    /// Single pictures.
    Picture,
}

/// Models of a server.
pub(super) struct Models {
    loader: Loader,
    default: String,
    /// Analyzers of single pictures that nobody uses at the moment.
    idle: Mutex<BTreeMap<String, Vec<Watched>>>,
    kept: usize,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Models({})", self.default)
    }
}

impl Models {
    pub(super) fn new(loader: Loader, default: String, kept: usize) -> Self {
        Self { loader, default, idle: Mutex::default(), kept }
    }

    /// The model that is used where nobody names one.
    pub(super) fn default_name(&self) -> &str {
        &self.default
    }

    /// Loads a model for a stream; `None` for [`NONE`].
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub(super) fn for_video(&self, name: &str) -> Result<Option<Watched>> {
        self.load(name, Use::Video)
    }

    /// Borrows a model for one picture; give it back with [`give_back`](Self::give_back) if it did well.
    ///
    /// # Errors
    /// Whatever is wrong with it.
    pub(super) fn for_picture(&self, name: &str) -> Result<Option<Watched>> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(name).and_then(Vec::pop);
        match kept {
            Some(kept) => Ok(Some(kept)),
            None => self.load(name, Use::Picture),
        }
    }

    /// Keeps a model for the next picture, unless enough are kept.
    pub(super) fn give_back(&self, name: &str, model: Watched) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = idle.values().map(Vec::len).sum();
        let same = idle.entry(name.to_owned()).or_default();
        if all < self.kept && (same.is_empty() || !model.shares()) {
            same.push(model);
        }
    }

    fn load(&self, name: &str, wanted: Use) -> Result<Option<Watched>> {
        if name == NONE {
            return Ok(None);
        }
        let (loader, name) = (Arc::clone(&self.loader), name.to_owned());
        Watched::open(Box::new(move || loader(&name, wanted))).map(Some)
    }
}

//! Models of a server: each is compiled once, and rooms and requests share its weights.

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::memory;
use super::model::{self, Choice};
use crate::config::Realtime;
use crate::error::{Error, Result};
use crate::model::Manifest;
use crate::pipeline::FrameProcessor;
use crate::pipeline::processor::ProcessorOptions;
use crate::runtime::pool::Engines;
use crate::server::models::Loaded;

/// Most models that are kept compiled; the one that was loaded first gives way.
const KEPT: usize = 4;
/// Most files of a package that are looked at for a change.
const MAX_FILES: usize = 64;

/// Compiled models by name.
#[derive(Default)]
pub struct ModelCache {
    kept: Mutex<VecDeque<Kept>>,
}

/// A compiled model.
struct Kept {
    name: String,
    stamp: Stamp,
    manifest: Manifest,
    sha256: String,
    engines: Arc<Engines>,
}

/// Which files a model was made of; empty for a built-in one.
type Stamp = Vec<(PathBuf, u64, Option<SystemTime>)>;

impl ModelCache {
    /// A model that is ready to run, loaded or made of one that was loaded before from the same files; and what
    /// loading it found worth saying.
    ///
    /// # Errors
    /// Whatever is wrong with the package, the runtime or the device.
    pub fn load(
        &self,
        choice: &Choice,
        settings: &Realtime,
        options: ProcessorOptions,
    ) -> Result<(Loaded, Vec<String>)> {
        let stamp = stamp(Path::new(choice.model));
        if let Some((manifest, sha256, engines)) = self.find(choice.model, &stamp) {
            let processor = FrameProcessor::new(manifest, engines.lend()?, options)?;
            let analyzer = Box::new(processor);
            return Ok((Loaded { analyzer, sha256, shares: true }, Vec::new()));
        }
        let loaded = model::load(choice, settings, options)?.ok_or_else(|| Error::Model {
            model: choice.model.to_owned(),
            detail: "is switched off by the settings".to_owned(),
        })?;
        let (processor, sha256) = (loaded.processor, loaded.sha256);
        let maker = processor.maker();
        let shares = maker.is_some();
        if let Some(maker) = maker {
            let (name, manifest) = (choice.model.to_owned(), processor.manifest().clone());
            let engines = Engines::new(maker);
            self.keep(Kept { name, stamp, manifest, sha256: sha256.clone(), engines });
        }
        // Reading and packing a network takes several times the memory that it needs afterwards.
        memory::give_back();
        Ok((Loaded { analyzer: Box::new(processor), sha256, shares }, loaded.notes))
    }

    fn find(&self, name: &str, stamp: &Stamp) -> Option<(Manifest, String, Arc<Engines>)> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|kept| kept.name == name && kept.stamp == *stamp)?;
        Some((found.manifest.clone(), found.sha256.clone(), Arc::clone(&found.engines)))
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|old| old.name != new.name);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back(new);
    }
}

/// Size and time of change of each file of a model.
fn stamp(path: &Path) -> Stamp {
    let mut files = vec![path.to_owned()];
    if let Ok(folder) = fs::read_dir(path) {
        files.extend(folder.take(MAX_FILES).filter_map(|entry| Some(entry.ok()?.path())));
        files.sort();
    }
    let looked_at = files.into_iter().filter_map(|file| {
        let meta = fs::metadata(&file).ok()?;
        Some((file, meta.len(), meta.modified().ok()))
    });
    looked_at.collect()
}

//! Whether an optimized package still belongs to the model that it was made from, and its engine to the device.

use std::path::Path;

use super::digest::{hex_digest, of_artifact};
use super::package::{MANIFEST_FILE, folder_of, named_folder};
use super::{Package, builtin};
use crate::format::onnx::MAX_FILE_BYTES;

impl Package {
    /// What is stale about an optimized package, with the remedy; `None` if it is not, or is the original.
    ///
    /// A source that is no longer there cannot be compared and is no complaint.
    pub fn staleness(&self) -> Option<String> {
        let made = self.manifest.optimization.as_ref()?;
        let now = source_digest(&made.source.model)?;
        (now != made.source.sha256).then(|| {
            format!(
                "{} was made from a {} that has changed since; make it again with endort optimize {} --target {} --precision {}",
                self.manifest.name, made.source.model, made.source.model, made.target, made.precision
            )
        })
    }

    /// What is foreign about an engine that was built for another device or driver than these, with the remedy; `None`
    /// without an engine, and for one that fits.
    pub fn foreign_engine(&self, device: &str, driver: &str) -> Option<String> {
        let made = self.manifest.optimization.as_ref()?;
        let engine = made.engine.as_ref()?;
        ((engine.device.as_str(), engine.driver.as_str()) != (device, driver)).then(|| {
            format!(
                "{} of {} was built for {} (driver {}), and this is {device} (driver {driver}): it is left aside and {} runs; \
                 endort optimize {} --target {} --precision {} builds one here",
                engine.file, self.manifest.name, engine.device, engine.driver, self.manifest.artifact, made.source.model,
                made.target, made.precision
            )
        })
    }
}

/// Digest of the artifact that a model's name stands for now.
fn source_digest(model: &str) -> Option<String> {
    if let Some(builtin) = builtin::find(model) {
        return builtin.files.first().map(|(_, bytes)| hex_digest(bytes));
    }
    let path = Path::new(model);
    let (file, folder) = match named_folder(path, path.is_dir()) {
        Some(folder) => {
            let manifest = std::fs::read(folder.join(MANIFEST_FILE)).ok()?;
            let manifest: super::Manifest = serde_json::from_slice(&manifest).ok()?;
            (folder.join(manifest.artifact), folder)
        }
        None => (path.to_owned(), folder_of(path)),
    };
    let length = std::fs::metadata(&file).ok()?.len();
    let bytes = (length <= MAX_FILE_BYTES).then(|| std::fs::read(&file).ok()).flatten()?;
    Some(of_artifact(&bytes, Some(folder)))
}

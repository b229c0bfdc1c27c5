//! What tells one model from another.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::format::onnx;

/// SHA-256 in lower-case hex.
pub(crate) fn hex_digest(bytes: &[u8]) -> String {
    hex(Sha256::new().chain_update(bytes))
}

/// Digest of an artifact: that of its bytes; where it keeps weights in files beside it, of those as well, by their names.
pub(super) fn of_artifact(bytes: &[u8], folder: Option<&Path>) -> String {
    let mut digest = Sha256::new().chain_update(bytes);
    let mut piece = vec![0; 1 << 16];
    let beside = folder.map(|folder| onnx::external_files(bytes, folder)).unwrap_or_default();
    for (name, path) in beside {
        digest.update(name);
        digest.update([0]);
        // What cannot be read cannot be opened as a model either.
        let Ok(mut file) = File::open(path) else { continue };
        loop {
            match file.read(&mut piece) {
                Ok(length @ 1..) => digest.update(&piece[..length]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
    }
    hex(digest)
}

fn hex(digest: Sha256) -> String {
    digest.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

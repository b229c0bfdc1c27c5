//! What tells one input's content from another's: a digest, and a shortcut where nothing was touched.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// An input's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Where the file was.
    #[serde(with = "super::path_text")]
    pub path: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// When it was last changed, in nanoseconds since 1970.
    pub changed_ns: u64,
    /// SHA-256 of its content, in lower-case hex.
    pub sha256: String,
}

impl Fingerprint {
    /// Reads the whole file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], and [`Error::Cancelled`] soon after `cancel` is set.
    pub fn take(path: &Path, cancel: &Cancel) -> Result<Self> {
        let (bytes, changed_ns) = stat(path)?;
        let sha256 = digest(path, cancel)?;
        Ok(Self { path: absolute(path)?, bytes, changed_ns, sha256 })
    }

    /// Whether the file at `path` still has this content. Reads it only where length and time of change do
    /// not answer that.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    pub fn holds_for(&self, path: &Path, cancel: &Cancel) -> Result<bool> {
        let (bytes, changed_ns) = stat(path)?;
        if bytes != self.bytes {
            return Ok(false);
        }
        let untouched = changed_ns != 0 && changed_ns == self.changed_ns && absolute(path)? == self.path;
        Ok(untouched || digest(path, cancel)? == self.sha256)
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::read(path))
}

fn stat(path: &Path) -> Result<(u64, u64)> {
    let meta = std::fs::metadata(path).map_err(Error::read(path))?;
    let changed = meta.modified().map_err(Error::read(path))?.duration_since(UNIX_EPOCH);
    // A time before 1970 is a broken clock's: nothing to go by, so the content decides.
    let changed_ns = changed.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(0));
    Ok((meta.len(), changed_ns))
}

fn digest(path: &Path, cancel: &Cancel) -> Result<String> {
    const CHUNK: usize = 1 << 20;
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut chunk = vec![0; CHUNK];
    let mut hash = Sha256::new();
    loop {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match file.read(&mut chunk).map_err(Error::read(path))? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&chunk[..read]),
        }
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_decides_and_the_shortcut_agrees() {
        let folder = tempfile::tempdir().unwrap();
        let cancel = Cancel::new();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "abc").unwrap();
        let print = Fingerprint::take(&path, &cancel).unwrap();
        // FIPS 180-2, appendix B.1.
        assert_eq!(print.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(print.holds_for(&path, &cancel).unwrap());

        let copy = folder.path().join("b.mp4");
        std::fs::write(&copy, "abc").unwrap();
        assert!(print.holds_for(&copy, &cancel).unwrap(), "another file of the same content");
        std::fs::write(&copy, "abd").unwrap();
        assert!(!print.holds_for(&copy, &cancel).unwrap(), "another content of the same length");
        std::fs::write(&path, "abcd").unwrap();
        assert!(!print.holds_for(&path, &cancel).unwrap());

        // A clock that stood before 1970 tells nothing.
        let before = UNIX_EPOCH - std::time::Duration::from_secs(86_400);
        let dated = |content: &str| {
            std::fs::write(&path, content).unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(before).unwrap();
        };
        dated("abc");
        let print = Fingerprint::take(&path, &cancel).unwrap();
        dated("xyz");
        assert!(!print.holds_for(&path, &cancel).unwrap());

        cancel.cancel();
        assert!(matches!(Fingerprint::take(&path, &cancel), Err(Error::Cancelled)));
    }
}

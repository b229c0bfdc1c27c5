//! Where `trtexec` is, and what it would build for.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cli::machine;
use crate::device::host::{Host, nvidia_driver};
use crate::optimize::engine::Builder;

/// The engine's name in a package.
pub const ENGINE: &str = "model.engine";

/// Where JetPack puts it.
const JETPACK: &str = "/usr/src/tensorrt/bin/trtexec";

/// The program on the `PATH`, or where JetPack puts it; `None` if it is not there.
pub fn find() -> Option<Builder> {
    let path = env::var_os("PATH").unwrap_or_default();
    let candidates = env::split_paths(&path).map(|folder| folder.join("trtexec"));
    let program = candidates.chain([PathBuf::from(JETPACK)]).find(|p| is_program(p))?;
    Some(Builder {
        program,
        cache: machine::cache_folder().map(|folder| folder.join("engines")),
        device: Host::read(Path::new("/")).device,
        driver: nvidia_driver(Path::new("/")),
    })
}

#[cfg(unix)]
pub fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
pub fn is_program(path: &Path) -> bool {
    path.is_file()
}

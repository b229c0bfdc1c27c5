//! Where `trtexec` is, and what it would build for.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::device::host::Host;
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
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from).or_else(home);
    Some(Builder {
        program,
        cache: cache.map(|folder| folder.join("endort/engines")),
        device: Host::read(Path::new("/")).device,
        driver: driver(),
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

/// The driver's own word on its version: of a Jetson its L4T release, else the kernel module's.
fn driver() -> String {
    let first_line = |path: &str| {
        let text = fs::read_to_string(path).ok()?;
        text.lines().next().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty())
    };
    first_line("/etc/nv_tegra_release")
        .or_else(|| first_line("/proc/driver/nvidia/version"))
        .unwrap_or_else(|| "unknown".to_owned())
}

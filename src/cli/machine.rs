//! The machine that endort runs on, as commands look at it, and the user's cache folder on it.

use std::path::PathBuf;

use crate::config::Realtime;
use crate::device::Options;

/// How to look at this machine: with the process's environment, and where the settings say that libraries are.
pub fn options(settings: &Realtime) -> Options {
    // What is no text in the environment names nothing that could be found.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Options { libraries: settings.runtime_path.value.0.clone(), ..Options::live(environment) }
}

/// Where endort and vendors' runtimes keep what they compiled and measured, as the XDG base directory
/// specification has it.
pub fn cache_folder() -> Option<PathBuf> {
    let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
    let root = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")))?;
    Some(root.join("endort"))
}

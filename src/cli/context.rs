//! What every command gets from the frame around it: settings, a way to be stopped, and the terminal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::console::Console;
use super::exit::INTERRUPTED;
use crate::cancel::Cancel;
use crate::config::{self, Flags, Realtime, ServerFlags};
use crate::error::{Error, Result};

/// Settings file that is read where it exists and `--config` names no other.
const DEFAULT_CONFIG: &str = "endort.toml";

/// What a command runs with.
#[derive(Debug)]
pub struct Context {
    /// Where results and messages go.
    pub console: Console,
    /// Set by Ctrl-C: finish what is under way properly, then stop.
    pub cancel: Cancel,
    config: Option<PathBuf>,
    variables: BTreeMap<String, String>,
}

impl Context {
    /// A context over the process's environment.
    pub fn new(console: Console, config: Option<PathBuf>) -> Self {
        let variables = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .filter(|(name, _)| name.starts_with(config::VARIABLE_PREFIX))
            .collect();
        Self { console, cancel: Cancel::new(), config, variables }
    }

    /// The settings in force, with `flags` on top; said aloud with `-v`.
    ///
    /// # Errors
    ///
    /// A settings file that cannot be read, and whatever [`Realtime::resolve`] refuses.
    pub fn settings(&self, flags: &Flags) -> Result<Realtime> {
        let file = self.file()?;
        let file = file.as_ref().map(|(path, text)| config::File { path, text });
        let settings = Realtime::resolve(file, &self.variables, flags)?;
        for (name, value, origin) in settings.rows() {
            self.console.detail(&format!("{name} = {value} ({origin})"));
        }
        Ok(settings)
    }

    /// The settings of a server in force, with `flags` on top; said aloud with `-v`.
    ///
    /// # Errors
    ///
    /// A settings file that cannot be read, and whatever [`config::Server::resolve`] refuses.
    pub fn server_settings(&self, flags: &ServerFlags) -> Result<config::Server> {
        let file = self.file()?;
        let file = file.as_ref().map(|(path, text)| config::File { path, text });
        let settings = config::Server::resolve(file, flags)?;
        for (name, value, origin) in settings.rows() {
            self.console.detail(&format!("{name} = {value} ({origin})"));
        }
        Ok(settings)
    }

    /// The settings file that was named, or the one that is here.
    fn file(&self) -> Result<Option<(PathBuf, String)>> {
        let path = match &self.config {
            Some(path) => path.clone(),
            None if Path::new(DEFAULT_CONFIG).exists() => PathBuf::from(DEFAULT_CONFIG),
            None => return Ok(None),
        };
        let text = read(&path)?;
        Ok(Some((path, text)))
    }

    /// Makes Ctrl-C (and SIGTERM, SIGHUP) set [`cancel`](Self::cancel); a second one exits at once.
    ///
    /// # Errors
    ///
    /// The operating system refused the handler.
    pub fn catch_interrupts(&self) -> Result<()> {
        let cancel = self.cancel.clone();
        let console = self.console.clone();
        let interrupted = Arc::new(AtomicBool::new(false));
        let handler = move || {
            if interrupted.swap(true, Ordering::SeqCst) {
                std::process::exit(i32::from(INTERRUPTED));
            }
            cancel.cancel();
            console.note("interrupted: finishing what is under way (again to stop at once)");
        };
        ctrlc::set_handler(handler).map_err(|error| Error::Config {
            origin: "Ctrl-C".to_owned(),
            detail: format!("cannot be caught: {error}"),
        })
    }
}

/// A settings file is a page or two; anything larger was named by mistake.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::metadata(path).map_err(Error::read(path))?.len();
    if bytes > MAX_CONFIG_BYTES {
        return Err(Error::TooLarge {
            what: format!("settings file {}", path.display()),
            found: format!("{bytes} bytes"),
            limit: format!("{MAX_CONFIG_BYTES} bytes"),
        });
    }
    std::fs::read_to_string(path).map_err(Error::read(path))
}

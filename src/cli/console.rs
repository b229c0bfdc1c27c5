//! The terminal: results on standard output, everything else on standard error.

use std::collections::HashSet;
use std::io::{self, IsTerminal, LineWriter, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};

use crate::error::{Error, Result};
use crate::sink::output::Output;

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verbosity {
    /// Errors only.
    Quiet,
    /// What a person wants to know while a command runs.
    Normal,
    /// Which settings are in force and where they came from as well.
    Verbose,
}

/// Standard output and standard error, shared by cloning.
#[derive(Debug, Clone)]
pub struct Console {
    verbosity: Verbosity,
    color: bool,
    progress: MultiProgress,
    /// What [`note_once`](Self::note_once) has said.
    said: Arc<Mutex<HashSet<String>>>,
}

impl Console {
    /// The process's own terminal.
    pub fn new(verbosity: Verbosity) -> Self {
        let visible = verbosity > Verbosity::Quiet && io::stderr().is_terminal();
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        // https://no-color.org: present and not empty, whatever its value.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            verbosity,
            color: !no_color && io::stdout().is_terminal(),
            progress: MultiProgress::with_draw_target(target),
            said: Arc::default(),
        }
    }

    /// Whether results on standard output may be coloured.
    pub fn color(&self) -> bool {
        self.color
    }

    /// Columns of the terminal that standard output is, or `None` where it is a file or a pipe.
    pub fn width(&self) -> Option<u16> {
        comfy_table::Table::new().width().filter(|_| io::stdout().is_terminal())
    }

    /// Progress bars, hidden unless standard error is a terminal. Messages step around them.
    pub fn progress(&self) -> &MultiProgress {
        &self.progress
    }

    /// Writes `text` and a line break to standard output.
    ///
    /// # Errors
    ///
    /// [`Error::Write`], also where the reader has gone (`| head`), which ends a command quietly.
    pub fn print(&self, text: &str) -> Result<()> {
        self.progress.suspend(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::write(STDOUT))
        })
    }

    /// Standard output for a sink that writes line by line.
    pub fn output(&self) -> Output {
        Output::stream(STDOUT, Box::new(LineWriter::new(Stdout(self.progress.clone()))))
    }

    /// Whether anything is said that matters from `from` on.
    pub fn says(&self, from: Verbosity) -> bool {
        self.verbosity >= from
    }

    /// Says something a person wants to know; silent with `-q`.
    pub fn note(&self, text: &str) {
        self.say(Verbosity::Normal, text);
    }

    /// Says something a person wants to know, but not what was said before.
    pub fn note_once(&self, text: &str) {
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned()) {
            self.note(text);
        }
    }

    /// Says something that only `-v` asks for.
    pub fn detail(&self, text: &str) {
        self.say(Verbosity::Verbose, text);
    }

    /// Says what went wrong and what to do, in one line, however quiet.
    pub fn error(&self, error: &Error) {
        let cause = error.to_string();
        match error.remedy() {
            Some(remedy) => self.say(Verbosity::Quiet, &format!("{cause}; {remedy}")),
            None => self.say(Verbosity::Quiet, &cause),
        }
    }

    /// Says something that matters from `from` on, in one line.
    pub fn say(&self, from: Verbosity, text: &str) {
        if !self.says(from) {
            return;
        }
        let line = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
        // A file's name, or what a file says, must not steer the terminal.
        let line = line.replace(char::is_control, "\u{fffd}");
        // Nobody is left to tell where standard error itself is closed.
        self.progress.suspend(|| writeln!(io::stderr().lock(), "endort: {line}").ok());
    }
}

/// Standard output that steps around the progress bars.
struct Stdout(MultiProgress);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Name of standard output in messages.
const STDOUT: &str = "standard output";

/// Whether `error` says that the reader of standard output has gone.
pub fn reader_has_gone(error: &Error) -> bool {
    matches!(error, Error::Write { path, source }
        if path.as_os_str() == STDOUT && source.kind() == io::ErrorKind::BrokenPipe)
}

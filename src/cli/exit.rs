//! How a command ended, and the exit code for it.

use std::process::ExitCode;

use crate::error::Error;

/// Exit code of an interrupted command.
pub const INTERRUPTED: u8 = 130;

/// How a command that ran ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All done.
    Done,
    /// Some of it failed, and each failure was reported.
    Failed,
    /// It ran, but missed its budget or its accuracy limit.
    Missed,
    /// Interrupted; what was finished is kept.
    Interrupted,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Failed => 1,
            Outcome::Missed => 3,
            Outcome::Interrupted => INTERRUPTED,
        })
    }
}

/// The exit code for a command that stopped on `error`.
pub fn code_of(error: &Error) -> ExitCode {
    ExitCode::from(match error {
        // A wrong setting is wrong usage, wherever it was written.
        Error::Setting { .. } | Error::Config { .. } => 2,
        Error::Cancelled => INTERRUPTED,
        _ => 1,
    })
}

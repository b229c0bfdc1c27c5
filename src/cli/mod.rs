//! The command line: one file per subcommand, and the only code that prints.
//!
//! Doc comments of arguments are the help texts; `completions/` and `man/` are generated from the same
//! definitions. To add a command: a file with its `Args` and its
//! `run(args: &Args, context: &Context) -> Result<Outcome>`, a variant of [`Command`], a line in [`Cli::run`].

pub mod args;
pub mod bench;
pub mod console;
pub mod context;
pub mod detect_device;
pub mod exit;
pub mod fastest;
pub mod machine;
mod memory;
pub mod model;
mod model_cache;
pub mod optimize;
pub mod place;
pub mod process_frame;
pub mod render;
pub mod serve;
pub mod stream;

use std::path::PathBuf;
use std::process::ExitCode;

pub use console::Console;
pub use context::Context;
pub use exit::Outcome;

use crate::error::{Error, Result};
use console::Verbosity;

/// Real-time AI on endoscopy video
///
/// Finds polyps in every frame of a recording, a camera or a picture, and says whether this box does it in
/// time. Research software: not a medical device, and not for diagnosis.
#[derive(Debug, clap::Parser)]
#[command(
    name = "endort",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    max_term_width = 100
)]
#[command(after_help = AFTER_HELP)]
pub struct Cli {
    /// Read settings from FILE instead of ./endort.toml
    #[arg(long, value_name = "FILE", global = true, help_heading = "Global options")]
    config: Option<PathBuf>,

    /// Say which settings are in force and where each came from
    #[arg(short, long, global = true, conflicts_with = "quiet", help_heading = "Global options")]
    verbose: bool,

    /// Say nothing but errors
    #[arg(short, long, global = true, help_heading = "Global options")]
    quiet: bool,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0    done
  1    failed: one line says what and what to do
  2    wrong usage, or a wrong setting
  3    ran, but missed its budget or its accuracy limit
  130  interrupted, with what was finished kept (serve ends that way, and with 0)";

/// What endort can do.
#[derive(Debug, clap::Subcommand)]
#[allow(missing_docs, reason = "a comment on a variant would replace the command's own help text")]
pub enum Command {
    DetectDevice(detect_device::Args),
    ProcessFrame(process_frame::Args),
    Stream(stream::Args),
    Bench(bench::Args),
    Optimize(optimize::Args),
    Render(render::Args),
    Serve(serve::Args),
}

impl Cli {
    /// The context that the global flags describe.
    pub fn context(&self) -> Context {
        let verbosity = match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (_, true) => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        Context::new(Console::new(verbosity), self.config.clone())
    }

    /// Runs the command.
    ///
    /// # Errors
    ///
    /// Whatever stopped it; [`report`] prints it and gives the exit code.
    pub fn run(&self, context: &Context) -> Result<Outcome> {
        context.catch_interrupts()?;
        match &self.command {
            Command::DetectDevice(args) => detect_device::run(args, context),
            Command::ProcessFrame(args) => process_frame::run(args, context),
            Command::Bench(args) => bench::run(args, context),
            Command::Optimize(args) => optimize::run(args, context),
            Command::Render(args) => render::run(args, context),
            Command::Serve(args) => serve::run(args, context),
            Command::Stream(args) => stream::run(args, context),
        }
    }
}

/// Prints the one line that an error gets and gives the exit code.
pub fn report(error: &Error, context: &Context) -> ExitCode {
    if console::reader_has_gone(error) {
        // `endort … | head` is done once head is.
        return ExitCode::SUCCESS;
    }
    context.console.error(error);
    exit::code_of(error)
}

//! endort: parse, run, print one error, exit.

use std::process::ExitCode;

use clap::Parser;
use endort::cli::{Cli, report};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let context = cli.context();
    cli.run(&context).map_or_else(|error| report(&error, &context), ExitCode::from)
}

//! endort: parse, run, print one error, exit.

fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}

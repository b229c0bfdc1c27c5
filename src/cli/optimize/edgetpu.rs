//! What is said of a network for the Edge TPU, and where its compiler is.

use std::env;
use std::path::PathBuf;

use super::report::TfliteShare;
use super::trtexec::is_program;
use crate::cancel::Cancel;
use crate::error::Result;
use crate::optimize::edge_tpu::{COMPILED, Compiled, compile};

/// Operators that break a rule, of which this many are named.
const NAMED: usize = 5;

/// What of a file is not for the Edge TPU, if anything.
pub fn broken(share: &TfliteShare) -> Option<String> {
    let named = share.broken.iter().take(NAMED).map(|v| format!("{} ({}): {}", v.name, v.output, v.rule));
    (!share.broken.is_empty()).then(|| {
        format!(
            "{} of {} operators are not for the Edge TPU: {}",
            share.broken.len(),
            share.operators,
            named.collect::<Vec<_>>().join("; ")
        )
    })
}

/// Compiles a file where the compiler is on the `PATH`. The first result is what to warn of.
///
/// # Errors
/// Whatever the compiler says.
pub fn finish(file: &[u8], cancel: &Cancel) -> Result<(Vec<String>, Option<Compiled>)> {
    let mut warnings = vec![];
    let Some(program) = find() else {
        warnings.push(
            "edgetpu_compiler is not on the PATH: run this command again where it is, before the Edge TPU can run the \
             model"
                .to_owned(),
        );
        return Ok((warnings, None));
    };
    let compiled = compile(&program, file, cancel)?;
    if let Some([_, cpu]) = compiled.operators.filter(|[_, cpu]| *cpu > 0) {
        warnings.push(format!("edgetpu_compiler left {cpu} operators of {COMPILED} to the CPU"));
    }
    Ok((warnings, Some(compiled)))
}

fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).map(|folder| folder.join("edgetpu_compiler")).find(|p| is_program(p))
}

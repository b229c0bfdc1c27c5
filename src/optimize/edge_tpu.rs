//! Coral's `edgetpu_compiler`: it replaces what the Edge TPU executes by one operator of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// The compiled file's name in a package.
pub const COMPILED: &str = "model_edgetpu.tflite";
/// How often a cancelled run is looked for.
const POLL: Duration = Duration::from_millis(50);
/// Longest part of what the program says that an error shows, in characters.
const SHOWN: usize = 300;

/// What the compiler made.
#[derive(Debug)]
pub struct Compiled {
    /// The file.
    pub bytes: Vec<u8>,
    /// Operators that run on the Edge TPU, and those left to the CPU, as the compiler counts them.
    pub operators: Option<[usize; 2]>,
}

/// Compiles a `.tflite` file with the program.
///
/// # Errors
/// [`Error::Runtime`] with the program's words if it fails or writes nothing, [`Error::Cancelled`].
pub fn compile(program: &Path, model: &[u8], cancel: &Cancel) -> Result<Compiled> {
    let failed = |detail: String| Error::Runtime { runtime: program.display().to_string(), detail };
    let folder = tempfile::tempdir().map_err(Error::write("a temporary folder"))?;
    let (source, log) = (folder.path().join("model.tflite"), folder.path().join("said.txt"));
    fs::write(&source, model).map_err(Error::write(&source))?;
    let said = fs::File::create(&log).map_err(Error::write(&log))?;
    let errors = said.try_clone().map_err(Error::write(&log))?;
    let mut child = Command::new(program)
        .args(["--show_operations", "--out_dir"])
        .arg(folder.path())
        .arg(&source)
        .stdin(Stdio::null())
        .stdout(said)
        .stderr(errors)
        .spawn()
        .map_err(|e| failed(format!("cannot be started: {e}")))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| failed(e.to_string()))? {
            break status;
        }
        if cancel.is_cancelled() {
            child.kill().ok();
            child.wait().ok();
            return Err(Error::Cancelled);
        }
        std::thread::sleep(POLL);
    };
    let said = fs::read(&log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
    let words =
        || said.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHOWN).collect::<String>();
    if !status.success() {
        return Err(failed(format!("failed ({status}): {}", words())));
    }
    let written: PathBuf = folder.path().join(COMPILED);
    let bytes = fs::read(&written).map_err(|_| failed(format!("wrote no {COMPILED}: {}", words())))?;
    Ok(Compiled { bytes, operators: counts(&said) })
}

/// The compiler's own count: `Number of operations that will run on Edge TPU: 71`, and the same for the CPU.
fn counts(said: &str) -> Option<[usize; 2]> {
    let after = |words: &str| {
        let rest = said.lines().find_map(|line| line.split_once(words))?.1;
        rest.trim().parse().ok()
    };
    Some([after("will run on Edge TPU:")?, after("will run on CPU:")?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_s_count_is_read() {
        let said = "Edge TPU Compiler version 16.0\nNumber of operations that will run on Edge TPU: 71\n\
                    Number of operations that will run on CPU: 2\n";
        assert_eq!(counts(said), Some([71, 2]));
        assert_eq!(counts("Model compiled successfully"), None);
    }
}

//! TensorRT's engine, built by `trtexec` on the box that will run it, and kept for the next time.
//!
//! An engine fits one device, one driver and one TensorRT. It is cached under a digest of them and of the model.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cancel::Cancel;
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::model::hex_digest;

/// Lines of `trtexec` that an error message shows.
const LAST_LINES: usize = 3;
/// Builds the engine and does not measure it; TensorRT before 8.6, as JetPack up to 5 has it, knows the other name alone.
const SKIP: &str = "--skipInference";
const SKIP_OF_OLD: &str = "--buildOnly";
/// How often a cancelled build is looked for.
const POLL: Duration = Duration::from_millis(100);

/// The program and the device that it builds for.
#[derive(Debug, Clone)]
pub struct Builder {
    /// The program.
    pub program: PathBuf,
    /// Where engines are kept; `None` to keep none.
    pub cache: Option<PathBuf>,
    /// The device's name.
    pub device: String,
    /// The driver's version.
    pub driver: String,
}

/// An engine that was built or found.
#[derive(Debug)]
pub struct Built {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether it was there from an earlier time.
    pub cached: bool,
}

impl Builder {
    /// Builds an engine for the ONNX file `artifact` with the given digest. `progress` hears what the program
    /// says, line by line.
    ///
    /// # Errors
    /// [`Error::Runtime`] with the program's last words if it fails, [`Error::Cancelled`].
    pub fn build(
        &self,
        artifact: &[u8],
        sha256: &str,
        precision: Precision,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&str),
    ) -> Result<Built> {
        let (device, driver, program) = (&self.device, &self.driver, self.program_state());
        let key = format!("{device}\n{driver}\n{program}\n{sha256}\n{}", precision.as_str());
        let key = hex_digest(key.as_bytes());
        let kept = self.cache.as_ref().map(|folder| folder.join(format!("{key}.engine")));
        if let Some(bytes) = kept.as_ref().and_then(|path| fs::read(path).ok()).filter(|b| !b.is_empty()) {
            return Ok(Built { bytes, cached: true });
        }
        let folder = tempfile::tempdir().map_err(Error::write("a temporary folder"))?;
        let (model, engine) = (folder.path().join("model.onnx"), folder.path().join("model.engine"));
        fs::write(&model, artifact).map_err(Error::write(&model))?;
        let mut unknown = false;
        let first = self.run(&model, &engine, precision, SKIP, cancel, &mut |line| {
            unknown |= line.contains("nknown option");
            progress(line);
        });
        match first {
            Err(Error::Runtime { .. }) if unknown => {
                self.run(&model, &engine, precision, SKIP_OF_OLD, cancel, progress)?;
            }
            other => other?,
        }
        let bytes = fs::read(&engine).map_err(|_| self.failed("ended without writing an engine".into()))?;
        if let Some(path) = kept {
            keep(&path, &bytes)?;
        }
        Ok(Built { bytes, cached: false })
    }

    /// What tells TensorRT's versions apart without asking the program, which takes seconds to answer: an upgrade
    /// replaces it.
    fn program_state(&self) -> String {
        let program = fs::canonicalize(&self.program).unwrap_or_else(|_| self.program.clone());
        let changed = fs::metadata(&program).ok().map(|meta| (meta.len(), meta.modified().ok()));
        format!("{} {changed:?}", program.display())
    }

    fn failed(&self, detail: String) -> Error {
        Error::Runtime { runtime: self.program.display().to_string(), detail }
    }

    fn run(
        &self,
        model: &Path,
        engine: &Path,
        precision: Precision,
        skip: &str,
        cancel: &Cancel,
        progress: &mut dyn FnMut(&str),
    ) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg(format!("--onnx={}", model.display())).arg(format!("--saveEngine={}", engine.display()));
        let formats: &[&str] = match precision {
            Precision::Fp32 => &[],
            Precision::Fp16 => &["--fp16"],
            // Layers that have no grid may be 16-bit.
            Precision::Int8 => &["--int8", "--fp16"],
        };
        command.args(formats).arg(skip).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| self.failed(format!("cannot be started: {e}")))?;
        let (send, receive) = crossbeam_channel::unbounded::<String>();
        let pipes: [Option<Box<dyn std::io::Read + Send>>; 2] = [
            child.stdout.take().map(|p| Box::new(p) as Box<dyn std::io::Read + Send>),
            child.stderr.take().map(|p| Box::new(p) as Box<dyn std::io::Read + Send>),
        ];
        for pipe in pipes.into_iter().flatten() {
            let send = send.clone();
            std::thread::spawn(move || {
                BufReader::new(pipe).lines().map_while(std::result::Result::ok).for_each(|line| {
                    send.send(line).ok();
                });
            });
        }
        drop(send);
        let mut last = std::collections::VecDeque::new();
        loop {
            match receive.recv_timeout(POLL) {
                Ok(line) => {
                    progress(&line);
                    last.push_back(line);
                    if last.len() > LAST_LINES {
                        last.pop_front();
                    }
                }
                Err(crossbeam_channel::RecvTimeoutError::Timeout) => {}
                Err(crossbeam_channel::RecvTimeoutError::Disconnected) => break,
            }
            if cancel.is_cancelled() {
                child.kill().ok();
                child.wait().ok();
                return Err(Error::Cancelled);
            }
        }
        let status = child.wait().map_err(|e| self.failed(e.to_string()))?;
        match status.success() {
            true => Ok(()),
            false => {
                let words = last.make_contiguous().join(" | ");
                Err(self.failed(format!("failed ({status}): {words}")))
            }
        }
    }
}

/// Puts an engine into the cache, whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(Error::write(folder))?;
    let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(Error::write(path))?;
    std::io::Write::write_all(&mut draft, bytes).map_err(Error::write(path))?;
    draft.persist(path).map_err(|e| Error::Write { path: path.to_owned(), source: e.error })?;
    Ok(())
}

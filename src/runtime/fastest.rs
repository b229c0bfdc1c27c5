//! Which runtime was the fastest for a model on a box, kept from one run to the next: one small file per model,
//! with an entry per box. `endort bench --runtime all` writes it, `auto` goes by it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::device::Fingerprint;
use crate::error::{Error, Result};

/// The form of the file; another one is not read.
const SCHEMA: u32 = 1;
/// Boxes that a file keeps, the latest first: users' folders may be shared by many.
const MAX_BOXES: usize = 16;
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 18;

/// What a measurement is only good for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The machine.
    #[serde(flatten)]
    pub machine: Fingerprint,
    /// How far networks were rewritten first.
    pub optimization_level: String,
    /// Threads that a runtime was given.
    #[serde(default)]
    pub model_threads: usize,
}

impl Circumstances {
    /// What is otherwise `now`, in a few words each.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = self.machine.changes(&now.machine);
        if self.optimization_level != now.optimization_level {
            let (then, now) = (&self.optimization_level, &now.optimization_level);
            changes.push(format!("optimization level: {then} then, {now} now"));
        }
        if self.model_threads != now.model_threads {
            changes.push(format!(
                "threads for the model: {} then, {} now",
                self.model_threads, now.model_threads
            ));
        }
        changes
    }
}

/// The fastest runtime for a model on one box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fastest {
    /// Where and how it was measured.
    #[serde(rename = "box")]
    pub circumstances: Circumstances,
    /// The runtime, as `--runtime` takes it.
    pub runtime: String,
    /// Version of the vendor's library, where one executes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime_version: Option<String>,
    /// What made it the fastest, such as `inference 6.2 ms, candle-cpu 15.1 ms`.
    pub because: String,
}

/// What is known of a model on a box.
#[derive(Debug, Clone, PartialEq)]
pub enum Recalled {
    /// Nothing was measured.
    Nothing,
    /// This was the fastest.
    Fits(Box<Fastest>),
    /// This was, but the box has changed since, in these ways.
    Stale(Box<Fastest>, Vec<String>),
    /// What is there cannot be used, for this reason.
    Unusable(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct File {
    schema: u32,
    boxes: Vec<Fastest>,
}

/// The folder of what is known.
#[derive(Debug, Clone)]
pub struct Memory {
    folder: PathBuf,
}

impl Memory {
    /// What is kept in endort's cache folder `cache`.
    pub fn new(cache: &Path) -> Self {
        Self { folder: cache.join("fastest") }
    }

    /// The file of the model with this digest.
    pub fn path(&self, model_sha256: &str) -> PathBuf {
        self.folder.join(format!("{model_sha256}.json"))
    }

    /// What is known of a model; `now` is only asked where anything is.
    pub fn recall(&self, model_sha256: &str, now: impl FnOnce() -> Result<Circumstances>) -> Recalled {
        let path = self.path(model_sha256);
        if !path.exists() {
            return Recalled::Nothing;
        }
        let unusable = |detail: String| Recalled::Unusable(format!("{}: {detail}", path.display()));
        let (boxes, now) = match (read(&path), now()) {
            (Ok(boxes), Ok(now)) => (boxes, now),
            (Err(detail), _) => return unusable(detail),
            (_, Err(error)) => return unusable(error.to_string()),
        };
        let here = |known: &&Fastest| known.circumstances.machine.is_same_box(&now.machine);
        let known = boxes.iter().find(|known| known.circumstances == now).or_else(|| boxes.iter().find(here));
        let Some(known) = known else { return Recalled::Nothing };
        // The file may have been written by anyone who can write there: nothing but the names of real runtimes.
        if !super::each().contains(&known.runtime.as_str()) {
            return unusable(format!("names a runtime {:?} that does not exist", known.runtime));
        }
        let changes = known.circumstances.changes(&now);
        match changes.is_empty() {
            true => Recalled::Fits(Box::new(known.clone())),
            false => Recalled::Stale(Box::new(known.clone()), changes),
        }
    }

    /// Keeps what was measured, in the place of what was known under the same circumstances.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn keep(&self, model_sha256: &str, fastest: Fastest) -> Result<()> {
        let path = self.path(model_sha256);
        // What cannot be read is replaced.
        let mut boxes = read(&path).unwrap_or_default();
        boxes.retain(|known| known.circumstances != fastest.circumstances);
        boxes.insert(0, fastest);
        boxes.truncate(MAX_BOXES);
        fs::create_dir_all(&self.folder).map_err(Error::write(&self.folder))?;
        let mut draft = tempfile::NamedTempFile::new_in(&self.folder).map_err(Error::write(&path))?;
        serde_json::to_writer_pretty(&mut draft, &File { schema: SCHEMA, boxes })
            .map_err(|error| Error::Write { path: path.clone(), source: error.into() })?;
        draft.persist(&path).map_err(|e| Error::Write { path: path.clone(), source: e.error })?;
        Ok(())
    }

    /// Forgets a model, on all boxes; whether anything was known of it.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn forget(&self, model_sha256: &str) -> Result<bool> {
        let path = self.path(model_sha256);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::Write { path, source }),
        }
    }
}

fn read(path: &Path) -> std::result::Result<Vec<Fastest>, String> {
    let bytes = fs::metadata(path).map_err(|e| e.to_string())?.len();
    if bytes > MAX_BYTES {
        return Err(format!("has {bytes} bytes, more than {MAX_BYTES}"));
    }
    let text = fs::read(path).map_err(|e| e.to_string())?;
    let file: File = serde_json::from_slice(&text).map_err(|e| format!("is damaged ({e})"))?;
    match file.schema == SCHEMA {
        true => Ok(file.boxes),
        false => Err(format!("has the form {}, not {SCHEMA}", file.schema)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circumstances(cpu: &str, threads: usize) -> Circumstances {
        let machine = Fingerprint {
            device: "box".into(),
            cpu: cpu.into(),
            threads,
            accelerators: vec![],
            runtimes: vec!["candle-cpu".into()],
            endort: "0.1.0".into(),
        };
        Circumstances { machine, optimization_level: "high".into(), model_threads: 2 }
    }

    fn fastest(circumstances: Circumstances, runtime: &str) -> Fastest {
        Fastest { circumstances, runtime: runtime.into(), runtime_version: None, because: "test".into() }
    }

    #[test]
    fn what_was_measured_is_known_on_the_same_box_alone() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        let at = |cpu: &str, threads| memory.recall("ab", || Ok(circumstances(cpu, threads)));
        assert_eq!(at("i5", 4), Recalled::Nothing);
        memory.keep("ab", fastest(circumstances("i5", 4), "tflite-cpu")).unwrap();
        memory.keep("ab", fastest(circumstances("i7", 8), "openvino-cpu")).unwrap();
        let Recalled::Fits(known) = at("i5", 4) else { panic!("not known") };
        assert_eq!(known.runtime, "tflite-cpu");
        let Recalled::Stale(known, changes) = at("i7", 2) else { panic!("not stale") };
        assert_eq!(
            (known.runtime.as_str(), changes),
            ("openvino-cpu", vec!["threads: 8 then, 2 now".into()])
        );
        assert_eq!(at("i3", 4), Recalled::Nothing);
        memory.keep("ab", fastest(circumstances("i5", 4), "candle-cpu")).unwrap();
        let Recalled::Fits(known) = at("i5", 4) else { panic!("not known") };
        assert_eq!(known.runtime, "candle-cpu");
        assert!(memory.forget("ab").unwrap() && !memory.forget("ab").unwrap());
        assert_eq!(at("i5", 4), Recalled::Nothing);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_told_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        let at = || memory.recall("ab", || Ok(circumstances("i5", 4)));
        memory.keep("ab", fastest(circumstances("i5", 4), "scripted:panic")).unwrap();
        assert!(matches!(at(), Recalled::Unusable(why) if why.contains("scripted:panic")));
        for text in ["", "{", "[]", r#"{"schema": 2, "boxes": []}"#] {
            fs::write(memory.path("ab"), text).unwrap();
            assert!(matches!(at(), Recalled::Unusable(_)), "{text}");
        }
        memory.keep("ab", fastest(circumstances("i5", 4), "candle-cpu")).unwrap();
        assert!(matches!(at(), Recalled::Fits(_)));
        for i in 0..2 * MAX_BOXES {
            memory.keep("ab", fastest(circumstances("i5", 5 + i), "candle-cpu")).unwrap();
        }
        assert_eq!(read(&memory.path("ab")).unwrap().len(), MAX_BOXES);
    }
}

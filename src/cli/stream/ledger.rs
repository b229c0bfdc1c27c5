//! The ledger of a batch: which input is finished, with which content, settings and outputs.
//!
//! A file of JSON Lines in the output folder. An entry is appended and on the disk after the outputs that it
//! speaks of have their final names; so whatever it calls done is done, and a run that was killed in between
//! makes those outputs once more. The last entry for the same outputs counts.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;
use crate::error::{Error, Result};
use crate::pipeline::stats::Summary;
use crate::sink::output::folder_of;

/// The ledger's name in the output folder.
pub const FILE_NAME: &str = "endort-stream.jsonl";

/// Longest line that is read: a line of ours has a few hundred bytes.
const MAX_LINE: u64 = 1 << 20;

/// What happened to one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The input's name.
    pub input: String,
    /// Its content; absent for what has none to compare, such as a camera.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub content: Option<Fingerprint>,
    /// Digest of everything that decides what the results look like.
    pub settings: String,
    /// What was made of it, with names relative to the ledger where possible.
    pub outputs: Vec<Made>,
    /// How it went.
    #[serde(flatten)]
    pub status: Status,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Where it is.
    #[serde(with = "super::path_text")]
    pub path: PathBuf,
    /// Its length; 0 for one that was not made.
    pub bytes: u64,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Status {
    /// All outputs are whole.
    Done(Tally),
    /// Nothing was made of it.
    Failed {
        /// The error, in one line.
        error: String,
    },
}

/// The figures of a finished input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Frames presented.
    pub frames: u64,
    /// Frames that the policy skipped.
    pub dropped: u64,
    /// Frames of which nobody took the picture in time: they are not in the outputs.
    #[serde(default)]
    pub lost: u64,
    /// Frames in which something was found.
    pub frames_with_findings: u64,
    /// Different objects over the whole recording.
    pub tracks: u64,
    /// Frames per second.
    pub fps: f64,
    /// Absent at full speed, where latency is a matter of how many frames wait.
    #[serde(flatten)]
    pub timing: Option<Timing>,
}

/// How the frames of a source with a pace of its own kept to the budget.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Frames beyond the latency budget.
    pub violations: u64,
    /// Captured to presented with its findings, in milliseconds.
    pub latency_ms: Summary,
}

/// An open ledger. One process at a time has it.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    path: PathBuf,
    entries: HashMap<Vec<PathBuf>, Entry>,
}

impl Ledger {
    /// Opens the ledger in `folder`, or begins one.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if that is impossible, [`Error::Output`] if another process has it, or if it holds
    /// something that is no ledger.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE_NAME);
        let mut options = File::options();
        let file = options.read(true).append(true).create(true).open(&path).map_err(Error::write(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let detail = "another endort is writing into this folder: wait for it, or choose another";
                return Err(Error::Output { path: folder.to_owned(), detail: detail.to_owned() });
            }
            // Some network file systems know no locks: better unguarded than unusable.
            Err(TryLockError::Error(_)) => {}
        }
        let (entries, whole) = read(&file, &path)?;
        // A line that was cut short by a crash speaks of nothing that can be relied on.
        file.set_len(whole).map_err(Error::write(&path))?;
        Ok(Self { file, path, entries })
    }

    /// What is known about the input that `outputs` are made from.
    pub fn find(&self, outputs: &[PathBuf]) -> Option<&Entry> {
        let key: Vec<_> = outputs.iter().map(|path| self.relative(path)).collect();
        self.entries.get(&key)
    }

    /// Whether every output that `entry` speaks of is there as it was left.
    pub fn outputs_are_there(&self, entry: &Entry) -> bool {
        entry.outputs.iter().all(|made| {
            std::fs::metadata(folder_of(&self.path).join(&made.path))
                .is_ok_and(|meta| meta.is_file() && meta.len() == made.bytes)
        })
    }

    /// An output as entries name it, with its present length.
    pub fn made(&self, path: &Path) -> Made {
        let bytes = std::fs::metadata(path).map_or(0, |meta| meta.len());
        Made { path: self.relative(path), bytes }
    }

    /// Puts an entry on the disk.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if that is impossible.
    pub fn add(&mut self, entry: Entry) -> Result<()> {
        let line = serde_json::to_string(&entry).map_err(std::io::Error::from);
        let written = line.and_then(|mut line| {
            line.push('\n');
            self.file.write_all(line.as_bytes())?;
            self.file.sync_data()
        });
        written.map_err(Error::write(&self.path))?;
        self.entries.insert(key(&entry), entry);
        Ok(())
    }

    fn relative(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(folder_of(&self.path)) {
            Ok(relative) => relative.to_owned(),
            Err(_) => std::path::absolute(path).unwrap_or_else(|_| path.to_owned()),
        }
    }
}

fn key(entry: &Entry) -> Vec<PathBuf> {
    entry.outputs.iter().map(|made| made.path.clone()).collect()
}

type Entries = HashMap<Vec<PathBuf>, Entry>;

/// The entries, and the length of the part that holds whole lines.
fn read(file: &File, path: &Path) -> Result<(Entries, u64)> {
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0)).map_err(Error::read(path))?;
    let mut entries = HashMap::new();
    let mut whole = 0;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let mut limited = std::io::Read::take(&mut reader, MAX_LINE);
        let length = limited.read_until(b'\n', &mut line).map_err(Error::read(path))?;
        if line.pop() != Some(b'\n') {
            if length as u64 == MAX_LINE {
                return Err(not_a_ledger(path, number, "too long"));
            }
            break;
        }
        let entry: Entry =
            serde_json::from_slice(&line).map_err(|error| not_a_ledger(path, number, &error.to_string()))?;
        entries.insert(key(&entry), entry);
        whole += length as u64;
    }
    Ok((entries, whole))
}

fn not_a_ledger(path: &Path, line: u64, detail: &str) -> Error {
    Error::Output {
        path: path.to_owned(),
        detail: format!(
            "line {line} is not an entry of a ledger ({detail}): move the file away, or choose another folder"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str, frames: u64, ledger: &Ledger, output: &Path) -> Entry {
        Entry {
            input: name.to_owned(),
            content: None,
            settings: "s".to_owned(),
            outputs: vec![ledger.made(output)],
            status: Status::Done(Tally { frames, ..Tally::default() }),
        }
    }

    #[test]
    fn what_was_added_is_found_by_the_next_run_and_the_last_entry_counts() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("sub/a.jsonl");
        std::fs::create_dir(folder.path().join("sub")).unwrap();
        std::fs::write(&output, "12345").unwrap();
        let mut ledger = Ledger::open(folder.path()).unwrap();
        for frames in [1, 2] {
            ledger.add(entry("a.mp4", frames, &ledger, &output)).unwrap();
        }
        drop(ledger);

        let ledger = Ledger::open(folder.path()).unwrap();
        let found = ledger.find(std::slice::from_ref(&output)).unwrap();
        assert_eq!(found.outputs, [Made { path: "sub/a.jsonl".into(), bytes: 5 }]);
        assert_eq!(found.status, Status::Done(Tally { frames: 2, ..Tally::default() }));
        assert!(ledger.outputs_are_there(found));
        assert!(ledger.find(&[folder.path().join("b.jsonl")]).is_none());
        std::fs::write(&output, "1234").unwrap();
        assert!(!ledger.outputs_are_there(found), "the output has changed since");
        std::fs::remove_file(&output).unwrap();
        assert!(!ledger.outputs_are_there(found));
    }

    #[test]
    fn a_line_cut_short_is_dropped_and_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let output = folder.path().join("a.jsonl");
        let mut ledger = Ledger::open(folder.path()).unwrap();
        ledger.add(entry("a.mp4", 1, &ledger, &output)).unwrap();
        drop(ledger);
        let whole = std::fs::read(&path).unwrap();
        for cut in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&whole[..cut]);
            std::fs::write(&path, torn).unwrap();
            drop(Ledger::open(folder.path()).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn one_process_at_a_time_and_only_a_ledger_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path()).unwrap();
        let second = Ledger::open(folder.path()).unwrap_err().to_string();
        assert!(second.contains("another endort is writing into this folder"), "{second}");
        drop(ledger);
        std::fs::write(folder.path().join(FILE_NAME), "{\"frame_id\": 1}\n").unwrap();
        let foreign = Ledger::open(folder.path()).unwrap_err().to_string();
        assert!(foreign.contains("line 1 is not an entry of a ledger"), "{foreign}");
    }
}

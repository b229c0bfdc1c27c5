//! The audit log: who started and stopped what, with which model and settings; append-only and chained.
//!
//! A JSON document per line. Each holds the digest of the line before it, and its own: SHA-256 over its other fields
//! as they are written. A line that was changed, removed or put in later breaks the chain from there on, and a server
//! does not continue a broken one. Lines that were cut off the end cannot be noticed from within: keep the last
//! digest elsewhere.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// What the first line follows.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// How a line's own digest is put behind its other fields.
const DIGEST: &str = ",\"digest\":\"";
const LAST: &str = "\"}\n";
/// Longest line that is written and read.
const MAX_LINE: u64 = 64 << 10;

/// An open audit log.
#[derive(Debug)]
pub(super) struct Audit {
    path: PathBuf,
    end: Mutex<End>,
}

#[derive(Debug)]
struct End {
    file: File,
    number: u64,
    digest: String,
}

impl Audit {
    /// Opens a log to go on with it, or begins one.
    ///
    /// # Errors
    /// [`Error::Config`] that names the line where the chain is broken, [`Error::Read`], [`Error::Write`].
    pub(super) fn open(path: &Path) -> Result<Self> {
        let (number, digest) = if path.exists() { verify(path)? } else { (0, BEGINNING.to_owned()) };
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::write(path))?;
        Ok(Self { path: path.to_owned(), end: Mutex::new(End { file, number, digest }) })
    }

    /// Adds a line and makes sure that it is on the disk.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::Write`]; the log then ends where it ended before.
    pub(super) fn append<const N: usize>(
        &self,
        event: &str,
        user: &str,
        fields: [(&str, Value); N],
    ) -> Result<()> {
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
        let mut line = Map::new();
        line.insert("number".to_owned(), end.number.into());
        line.insert("at_ms".to_owned(), at.into());
        line.insert("event".to_owned(), event.into());
        line.insert("user".to_owned(), user.into());
        line.extend(fields.into_iter().map(|(key, value)| (key.to_owned(), value)));
        line.insert("before".to_owned(), end.digest.clone().into());
        let text = Value::Object(line).to_string();
        let digest = digest_of(&text);
        let text = format!("{}{DIGEST}{digest}{LAST}", &text[..text.len() - 1]);
        if text.len() as u64 > MAX_LINE {
            // It would read as a broken chain, for good.
            return Err(Error::TooLarge {
                what: format!("a line of the audit log, {event},"),
                found: format!("{} bytes", text.len()),
                limit: format!("{MAX_LINE} bytes"),
            });
        }
        let length = end.file.metadata().map_err(Error::write(&self.path))?.len();
        if let Err(error) = end.file.write_all(text.as_bytes()).and_then(|()| end.file.sync_data()) {
            // Half a line would break the chain for good.
            let _ = end.file.set_len(length);
            return Err(Error::write(&self.path)(error));
        }
        end.number += 1;
        end.digest = digest;
        Ok(())
    }
}

/// Checks a log from its beginning; gives the number of its lines and the last one's digest.
///
/// # Errors
/// [`Error::Config`] that names the line where the chain is broken, [`Error::Read`].
pub(super) fn verify(path: &Path) -> Result<(u64, String)> {
    let mut lines = BufReader::new(File::open(path).map_err(Error::read(path))?);
    let (mut number, mut before) = (0, BEGINNING.to_owned());
    loop {
        let mut text = String::new();
        let read =
            std::io::Read::take(&mut lines, MAX_LINE).read_line(&mut text).map_err(Error::read(path))?;
        if read == 0 {
            return Ok((number, before));
        }
        before = check(&text, number, &before).ok_or_else(|| Error::Config {
            origin: format!("{}:{}", path.display(), number + 1),
            detail: "the chain of the audit log is broken here; keep the file and name another".to_owned(),
        })?;
        number += 1;
    }
}

/// The digest of a line that is what it should be.
fn check(text: &str, number: u64, before: &str) -> Option<String> {
    // The digest is over the text, so that no reader's idea of a number matters.
    let (text, digest) = text.strip_suffix(LAST)?.rsplit_once(DIGEST)?;
    let text = format!("{text}}}");
    let line: Map<String, Value> = serde_json::from_str(&text).ok()?;
    let sound = line.get("number")?.as_u64()? == number
        && line.get("before")?.as_str()? == before
        && digest == digest_of(&text);
    sound.then(|| digest.to_owned())
}

fn digest_of(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path) -> (PathBuf, String) {
        let path = folder.join("audit.jsonl");
        for session in 0..2 {
            let audit = Audit::open(&path).unwrap();
            for n in 0..3 {
                audit.append("room_started", "desk", [("room", format!("or-{session}{n}").into())]).unwrap();
            }
        }
        let text = std::fs::read_to_string(&path).unwrap();
        (path, text)
    }

    #[test]
    fn a_log_goes_on_where_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = written(folder.path());
        assert_eq!(verify(&path).unwrap().0, 6);
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!((&last["number"], &last["user"]), (&5.into(), &"desk".into()));
        assert_eq!(verify(&path).unwrap().1, last["digest"].as_str().unwrap());
    }

    #[test]
    fn a_line_that_could_not_be_read_again_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = written(folder.path());
        let audit = Audit::open(&path).unwrap();
        let long = "x".repeat(MAX_LINE as usize);
        let refused = audit.append("room_started", "desk", [("source", long.into())]);
        assert!(matches!(refused, Err(Error::TooLarge { .. })), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        // The longest that can be: what is left of a line without a text in it.
        audit.append("room_started", "desk", [("source", "".into())]).unwrap();
        let rest = std::fs::read_to_string(&path).unwrap().len() - text.len();
        let long = "x".repeat(MAX_LINE as usize - rest);
        audit.append("room_started", "desk", [("source", long.into())]).unwrap();
        assert_eq!(verify(&path).unwrap().0, 8);
    }

    #[test]
    fn whatever_was_changed_is_found_and_not_continued() {
        let folder = tempfile::tempdir().unwrap();
        let (path, text) = written(folder.path());
        let lines: Vec<&str> = text.lines().collect();
        let without_third = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
        let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().join("\n") + "\n";
        for (changed, at) in [
            (text.replace("or-02", "or-99"), 3),
            (without_third, 3),
            (swapped, 3),
            (text.trim_end().to_owned(), 6),
            (text.clone() + "{}\n", 7),
        ] {
            std::fs::write(&path, changed).unwrap();
            let error = Audit::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("audit.jsonl:{at}: ")), "{error}");
        }
    }
}

//! A text output that appears whole or not at all: written under a temporary name, renamed at the end.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Ending of an output that is not whole yet.
pub const PART_SUFFIX: &str = ".part";

/// The name under which the output `path` is written until it is whole.
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(PART_SUFFIX);
    name.into()
}

/// The folder that `path` lies in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Whether something is there that is written to and never replaced: a device, a pipe, a socket.
pub fn is_special(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

/// The file that a link leads to, so that it is replaced and not the link.
fn followed(path: PathBuf) -> PathBuf {
    let is_link = std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_symlink());
    if is_link { std::fs::canonicalize(&path).unwrap_or(path) } else { path }
}

/// The name that the output `path` has until it is whole, wherever a link leads.
pub fn temporary(path: &Path) -> PathBuf {
    part_path(&followed(path.to_owned()))
}

/// The file that takes the place of `path` when it is whole.
///
/// # Errors
/// [`Error::Output`] where a device or a pipe is there, which nothing takes the place of.
pub fn replaceable(path: PathBuf) -> Result<PathBuf> {
    if is_special(&path) {
        let detail = "is a device or a pipe, where a file is to be written".to_owned();
        return Err(Error::Output { path, detail });
    }
    Ok(followed(path))
}

/// Where a sink writes its text.
pub struct Output {
    writer: Writer,
    /// The file's final name, or what the stream is called in messages.
    name: PathBuf,
    failed: bool,
}

enum Writer {
    /// A file under its temporary name.
    Part(BufWriter<File>),
    Stream(Box<dyn Write + Send>),
    /// A file that has been renamed.
    Whole,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Output({})", self.name.display())
    }
}

impl Output {
    /// An output that becomes the file `path` at [`finish`](Self::finish) and is removed if dropped before.
    ///
    /// A file that an earlier run left under the temporary name is replaced. A device or a pipe is written to as it
    /// is, and where `path` is a link, the file that it leads to is the one that is replaced.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the file cannot be created.
    pub fn file(path: impl Into<PathBuf>) -> Result<Self> {
        let name = followed(path.into());
        if is_special(&name) {
            let device = File::options().write(true).open(&name).map_err(Error::write(&name))?;
            return Ok(Self::stream(name, Box::new(BufWriter::new(device))));
        }
        let file = File::create(part_path(&name)).map_err(Error::write(&name))?;
        Ok(Self { writer: Writer::Part(BufWriter::new(file)), name, failed: false })
    }

    /// An output that others read as it is written, called `name` in messages.
    pub fn stream(name: impl Into<PathBuf>, writer: Box<dyn Write + Send>) -> Self {
        Self { writer: Writer::Stream(writer), name: name.into(), failed: false }
    }

    /// The file's final name, or what the stream is called.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// An unnamed file that is gone when it is closed, on the same disk as the output where that is a file.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if there is no room for one.
    pub fn scratch(&self) -> Result<File> {
        let file = match self.writer {
            Writer::Stream(_) => tempfile::tempfile(),
            Writer::Part(_) | Writer::Whole => tempfile::tempfile_in(folder_of(&self.name)),
        };
        file.map_err(Error::write(&self.name))
    }

    /// Lets `write` write something.
    ///
    /// # Errors
    ///
    /// [`Error::Write`]; the output cannot be finished after that.
    pub fn write(&mut self, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
        let result = match &mut self.writer {
            Writer::Part(file) => write(file),
            Writer::Stream(stream) => write(stream),
            Writer::Whole => Err(io::Error::other("it is finished already")),
        };
        self.failed |= result.is_err();
        result.map_err(Error::write(&self.name))
    }

    /// Hands everything written so far to whoever reads along.
    ///
    /// # Errors
    ///
    /// [`Error::Write`]; the output cannot be finished after that.
    pub fn flush(&mut self) -> Result<()> {
        self.write(|writer| writer.flush())
    }

    /// Leaves a file that will not be whole under its temporary name.
    pub fn keep_part(&mut self) {
        if let Writer::Part(_) = self.writer {
            self.writer = Writer::Whole;
        }
    }

    /// Makes the output whole: everything is on the disk, under its final name.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if that is impossible, or if something could not be written before.
    pub fn finish(&mut self) -> Result<()> {
        if self.failed {
            let earlier = io::Error::other("part of it could not be written");
            return Err(Error::write(&self.name)(earlier));
        }
        self.flush()?;
        if let Writer::Part(file) = &mut self.writer {
            let renamed =
                file.get_ref().sync_all().and_then(|()| std::fs::rename(part_path(&self.name), &self.name));
            renamed.map_err(Error::write(&self.name))?;
            self.writer = Writer::Whole;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Writer::Part(_) = self.writer {
            // Nothing more can be done about a file that will not go.
            std::fs::remove_file(part_path(&self.name)).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exam.jsonl");
        std::fs::write(part_path(&path), "left by a run that was killed").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.write(|writer| writer.write_all(b"one\n")).unwrap();
        output.flush().unwrap();
        assert!(!path.exists());
        assert_eq!(std::fs::read(part_path(&path)).unwrap(), b"one\n");
        output.finish().unwrap();
        drop(output);
        assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
        assert!(!part_path(&path).exists());
    }

    #[test]
    fn an_abandoned_file_leaves_nothing_and_spares_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exam.jsonl");
        std::fs::write(&path, "earlier").unwrap();
        let mut output = Output::file(&path).unwrap();
        output.write(|writer| writer.write_all(b"half")).unwrap();
        drop(output);
        assert_eq!(std::fs::read(&path).unwrap(), b"earlier");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_could_not_be_written_is_not_finished() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut output = Output::stream("standard output", Box::new(Full));
        assert!(output.write(|writer| writer.write_all(b"x")).is_err());
        assert!(output.finish().is_err());
    }
}

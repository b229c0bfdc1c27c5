//! Where the outputs of each input go, and whether that can be, before work begins.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::sink::output::{folder_of, temporary};
use crate::source::{Input, Location, is_media};

/// Where one kind of output goes.
#[derive(Debug)]
pub enum Target {
    /// One file per input, each with its input's relative path.
    Folder(PathBuf),
    /// The one input's output.
    File(PathBuf),
}

impl Target {
    /// What `path` names: a folder if it is one or ends in `/`, if there are several inputs, or if it is new and
    /// has no ending; else a file. `endings` are those by which a new path is taken for a file.
    ///
    /// # Errors
    /// [`Error::Output`] if it names a file and there are several inputs.
    pub fn new(path: &Path, several: bool, endings: &[&str]) -> Result<Self> {
        let ending = path.extension().and_then(OsStr::to_str).map(str::to_ascii_lowercase);
        let reads_as_file = ending.is_some_and(|ending| endings.contains(&ending.as_str()));
        let ends_in_slash = path.as_os_str().as_encoded_bytes().ends_with(b"/");
        if path.is_dir() || ends_in_slash {
            Ok(Self::Folder(path.to_owned()))
        } else if several && (reads_as_file || path.exists()) {
            let detail = "names one file, and there are several inputs: name a folder";
            Err(Error::Output { path: path.to_owned(), detail: detail.to_owned() })
        } else if several || (path.extension().is_none() && !path.exists()) {
            Ok(Self::Folder(path.to_owned()))
        } else {
            Ok(Self::File(path.to_owned()))
        }
    }

    /// The folder, if it is one.
    pub fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) => Some(path),
            Self::File(_) => None,
        }
    }

    /// The output of `input`.
    pub fn path(&self, input: &Input, ending: &str) -> PathBuf {
        let folder = match self {
            Self::File(path) => return path.clone(),
            Self::Folder(folder) => folder,
        };
        let relative = &input.relative;
        // The dots of an address are part of its name, unless they are those of a file's ending.
        if matches!(input.location, Location::File(_)) || is_media(relative) {
            return folder.join(relative).with_extension(ending);
        }
        let mut name = relative.clone().into_os_string();
        name.push(".");
        name.push(ending);
        folder.join(name)
    }
}

/// Refuses outputs that would meet each other, an input or a folder.
///
/// # Errors
/// [`Error::Output`] for the first of them.
pub fn check<'a>(jobs: impl Iterator<Item = (&'a Input, Vec<PathBuf>)> + Clone) -> Result<()> {
    let mut inputs = HashSet::new();
    for (input, _) in jobs.clone() {
        if let Location::File(path) = &input.location {
            inputs.extend(identity(path));
        }
    }
    let mut makers = HashMap::new();
    for (input, outputs) in jobs {
        for output in outputs {
            let refuse = |detail: String| Err(Error::Output { path: output.clone(), detail });
            if identity(&output).is_some_and(|identity| inputs.contains(&identity)) {
                return refuse("is an input: choose another place for the output".to_owned());
            }
            if identity(&temporary(&output)).is_some_and(|identity| inputs.contains(&identity)) {
                let detail =
                    "would be written over an input until it is whole: choose another name for the output";
                return refuse(detail.to_owned());
            }
            if output.is_dir() {
                return refuse("is a folder, where a file is to be written".to_owned());
            }
            if let Some(other) = makers.insert(spelled_out(&output), input.name()) {
                let name = input.name();
                return refuse(if other == name {
                    "would be written twice: give each kind of output a name of its own".to_owned()
                } else {
                    format!("would be written for {other} and for {name}: rename one, or run them apart")
                });
            }
        }
    }
    Ok(())
}

/// One path for all ways to name a file that may not be there yet: its folder's own path and its name.
pub fn spelled_out(path: &Path) -> PathBuf {
    let folder = folder_of(path);
    let folder = fs::canonicalize(folder).or_else(|_| std::path::absolute(folder));
    folder.map_or_else(|_| path.to_owned(), |folder| folder.join(path.file_name().unwrap_or_default()))
}

/// What tells two files apart, whatever they are called.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Where several sources' folders differ, each input's path is kept from the folder that they share.
pub fn keep_apart(inputs: &mut [Input]) {
    let roots: Vec<_> = inputs.iter().map(root).collect();
    let mut distinct = roots.iter().flatten();
    let Some(first) = distinct.next().cloned() else { return };
    let shared = distinct.fold(first, |shared: PathBuf, root| {
        let same = shared.components().zip(root.components()).take_while(|(a, b)| a == b);
        same.map(|(part, _)| part).collect()
    });
    for (input, root) in inputs.iter_mut().zip(&roots) {
        if let Some(below) = root.as_ref().and_then(|root| root.strip_prefix(&shared).ok()) {
            input.relative = below.join(&input.relative);
        }
    }
}

/// The folder that a file's relative path starts from.
fn root(input: &Input) -> Option<PathBuf> {
    let Location::File(path) = &input.location else { return None };
    let absolute = fs::canonicalize(folder_of(path)).ok()?;
    absolute.ancestors().nth(input.relative.components().count().saturating_sub(1)).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_dots_and_a_file_loses_its_ending() {
        let folder = Target::Folder("out".into());
        let path = |spec: &str| {
            let inputs = crate::source::expand(spec).unwrap();
            folder.path(&inputs[0], "jsonl").display().to_string()
        };
        assert_eq!(path("rtsp://10.0.0.5:554/s"), "out/10.0.0.5_554_s.jsonl");
        assert_eq!(path("rtsp://10.0.0.7:554/s"), "out/10.0.0.7_554_s.jsonl");
        assert_eq!(path("rtsp://cam1.hospital.org/live"), "out/cam1.hospital.org_live.jsonl");
        assert_eq!(path("http://srv/a.mp4"), "out/srv_a.jsonl");
        assert_eq!(path("/dev/video3"), "out/video3.jsonl");
        assert_eq!(path(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")), "out/Cargo.jsonl");
    }
}

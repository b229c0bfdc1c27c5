//! From what the user named to the single inputs behind it.

use std::cmp::Ordering;
use std::fs;
use std::path::{Path, PathBuf};

use super::spec::{Location, file_name};
use crate::error::{Error, Result};

/// Endings (lower case) of the recordings that are found in folders. Any other file can be named itself.
pub const VIDEO_EXTENSIONS: [&str; 32] = [
    "264", "265", "3gp", "asf", "av1", "avi", "dv", "f4v", "flv", "gif", "h264", "h265", "hevc", "ivf",
    "m2ts", "m2v", "m4v", "mjpeg", "mjpg", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "mxf", "nut", "ogv",
    "ts", "vob", "webm", "wmv",
];

/// Endings (lower case) of the still pictures that are found in folders.
pub const PICTURE_EXTENSIONS: [&str; 10] =
    ["bmp", "dib", "jfif", "jpe", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// One input and the place of its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Where it is.
    pub location: Location,
    /// Its path below the folder (or the fixed part of the glob) that was named, or its own name; outputs
    /// keep this path, so that inputs of the same name from different folders do not meet.
    pub relative: PathBuf,
}

impl Input {
    fn single(location: Location) -> Self {
        Self { relative: location.output_name(), location }
    }

    fn file(path: PathBuf, root: &Path) -> Self {
        let relative = path.strip_prefix(root).map_or_else(|_| file_name(&path), Path::to_owned);
        Self { location: Location::File(path), relative }
    }

    /// The name that records and tables show.
    pub fn name(&self) -> String {
        match &self.location {
            Location::File(_) => self.relative.to_string_lossy().into_owned(),
            other => other.to_string(),
        }
    }
}

/// The inputs that `spec` stands for: one for a file, address or device; for a folder or glob all media files
/// below it, in natural order (`frame2` before `frame10`).
///
/// Hidden files and folders are left out. A glob whose last part ends in a fixed extension (`*.dat`) takes
/// every file that matches, any other glob the media files among them.
pub fn expand(spec: &str) -> Result<Vec<Input>> {
    match Location::parse(spec)? {
        Location::File(path) if spec.contains(['*', '?', '[']) && !path.exists() => expand_glob(spec),
        Location::File(path) => expand_file(path),
        location => Ok(vec![Input::single(location)]),
    }
}

/// As [`expand`], for a name that need not be text.
pub fn expand_path(path: &Path) -> Result<Vec<Input>> {
    path.to_str().map_or_else(|| expand_file(path.to_owned()), expand)
}

fn expand_file(path: PathBuf) -> Result<Vec<Input>> {
    if !fs::metadata(&path).map_err(Error::read(&path))?.is_dir() {
        return Ok(vec![Input::single(Location::File(path))]);
    }
    let inputs = walk(&path, &path)?;
    if inputs.is_empty() {
        return Err(no_input(&path.display().to_string(), "no video or picture in this folder or below"));
    }
    Ok(inputs)
}

fn no_input(spec: &str, detail: &str) -> Error {
    Error::NoInput { source_name: spec.to_owned(), detail: detail.to_owned() }
}

fn expand_glob(spec: &str) -> Result<Vec<Input>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let paths = glob::glob_with(spec, options).map_err(|e| no_input(spec, e.msg))?;
    let root = fixed_part(spec);
    let takes_all = Path::new(spec)
        .extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| !extension.contains(['*', '?', '[', ']']));
    let mut inputs = Vec::new();
    for path in paths {
        let path = path.map_err(|e| Error::Read { path: e.path().to_owned(), source: e.into() })?;
        if path.is_dir() {
            inputs.extend(walk(&path, &root)?);
        } else if takes_all || is_media(&path) {
            inputs.push(Input::file(path, &root));
        }
    }
    // A folder and a file below it may both match.
    sort(&mut inputs);
    inputs.dedup();
    if inputs.is_empty() {
        return Err(no_input(spec, "no video or picture matches"));
    }
    Ok(inputs)
}

/// The folders in front of the first part that has wildcards.
pub fn fixed_part(pattern: &str) -> PathBuf {
    Path::new(pattern)
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect()
}

fn walk(folder: &Path, root: &Path) -> Result<Vec<Input>> {
    let visible = |entry: &walkdir::DirEntry| {
        entry.depth() == 0 || !entry.file_name().to_string_lossy().starts_with('.')
    };
    let mut inputs = Vec::new();
    for entry in walkdir::WalkDir::new(folder).follow_links(true).into_iter().filter_entry(visible) {
        match entry {
            Ok(entry) if entry.file_type().is_file() && is_media(entry.path()) => {
                inputs.push(Input::file(entry.into_path(), root));
            }
            Ok(_) => {}
            // A link that leads back to its own folder adds nothing, and a dangling one has nothing.
            Err(e) if e.loop_ancestor().is_some() || is_dangling(&e) => {}
            Err(e) => {
                let path = e.path().unwrap_or(folder).to_owned();
                return Err(Error::read(path)(e.into()));
            }
        }
    }
    sort(&mut inputs);
    Ok(inputs)
}

fn is_dangling(error: &walkdir::Error) -> bool {
    error.path().is_some_and(Path::is_symlink)
        && error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}

/// Whether the file's ending is that of a video or picture.
pub fn is_media(path: &Path) -> bool {
    ends_in(path, &VIDEO_EXTENSIONS) || is_picture(path)
}

/// Whether the file's ending is that of a picture.
pub fn is_picture(path: &Path) -> bool {
    ends_in(path, &PICTURE_EXTENSIONS)
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
    ending.is_some_and(|ending| endings.contains(&ending.as_str()))
}

fn sort(inputs: &mut [Input]) {
    inputs.sort_by(|a, b| natural(&a.relative, &b.relative).then_with(|| a.relative.cmp(&b.relative)));
}

/// Natural order, folder by folder, so that a folder's files stay together.
fn natural(a: &Path, b: &Path) -> Ordering {
    let mut pairs = a.components().zip(b.components()).map(|(a, b)| {
        natord::compare_ignore_case(&a.as_os_str().to_string_lossy(), &b.as_os_str().to_string_lossy())
    });
    pairs.find(|order| order.is_ne()).unwrap_or_else(|| a.components().count().cmp(&b.components().count()))
}

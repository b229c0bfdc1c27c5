//! Opening a model: from a package folder, a bare `.onnx` file, or one that is built in.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use super::digest::{hex_digest, of_artifact};
use super::manifest::{FileEntry, Layout, Manifest};
use super::{builtin, check, guess};
use crate::error::{Error, Result};
use crate::format::{onnx, tflite};
use crate::graph::{Graph, Op};

/// What a network can only do before it is written for a device.
const NO_RESIZE: &str =
    "is TFLite, whose input size is fixed: change the size of the ONNX model that it was made from";
/// Largest manifest, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// The manifest's name in a package folder.
pub const MANIFEST_FILE: &str = "model.json";

/// What a network's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ONNX.
    Onnx,
    /// TFLite.
    Tflite,
}

impl Format {
    /// What a file is, by its first bytes.
    fn of(bytes: &[u8]) -> Self {
        if tflite::is_tflite(bytes) { Self::Tflite } else { Self::Onnx }
    }
}

/// A network's file.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// What it is.
    pub format: Format,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The file; `None` for a built-in model.
    pub path: Option<PathBuf>,
}

/// A model that was read and checked.
#[derive(Debug, Clone)]
pub struct Package {
    /// What it expects and gives.
    pub manifest: Manifest,
    /// The network as read; its input is `[1, channels, rows, columns]` whatever the artifact's layout.
    pub graph: Graph,
    /// SHA-256 of the artifact and of the files that hold weights of it, in lower-case hex.
    pub sha256: String,
    /// The network's file, as runtimes take it that read it themselves.
    pub artifact: Artifact,
    /// The package's folder, or the folder of the bare file; `None` for a built-in model.
    pub folder: Option<PathBuf>,
}

impl Package {
    /// Opens `spec`: a folder with `model.json`, an `.onnx` file, or a built-in name. A file that a `model.json` beside
    /// it calls its artifact is opened as that package.
    ///
    /// A path that exists wins over a built-in name only where it is written as a path (`./polyp-lite`).
    ///
    /// # Errors
    /// [`Error::NoModel`] where there is none, [`Error::Read`], [`Error::Checksum`] for a file that is not what the manifest promises,
    /// [`Error::Model`] and [`Error::UnsupportedOperator`] for what is wrong inside.
    pub fn open(spec: &str) -> Result<Self> {
        Self::open_at(spec, None)
    }

    /// As [`open`](Self::open), with the network's input changed to `size` (height, width): shapes are
    /// inferred anew from the file, and what does not fit the new size is an error.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_at(spec: &str, size: Option<[usize; 2]>) -> Result<Self> {
        if let Some(builtin) = builtin::find(spec) {
            return Self::from_builtin(builtin, size);
        }
        let path = Path::new(spec);
        let meta = fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => no_model(spec, unknown(spec)),
            _ => Error::Read { path: path.to_owned(), source: e },
        })?;
        if let Some(folder) = named_folder(path, meta.is_dir()) {
            Self::from_folder(spec, folder, size)
        } else if path
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("onnx") || e.eq_ignore_ascii_case("tflite"))
        {
            match package_of(path) {
                Some(folder) => Self::from_folder(spec, folder, size),
                None => Self::from_file(spec, path, size),
            }
        } else {
            Err(no_model(spec, "is neither a package folder nor an .onnx or .tflite file"))
        }
    }

    fn from_builtin(b: &builtin::Builtin, size: Option<[usize; 2]>) -> Result<Self> {
        let manifest = parse_manifest(b.name, b.manifest)?;
        let artifact = b.files.iter().find(|(name, _)| *name == manifest.artifact).map(|(_, bytes)| *bytes);
        let artifact =
            artifact.ok_or_else(|| model_error(b.name, format!("lacks {:?}", manifest.artifact)))?;
        Self::assemble(b.name, manifest, artifact, None, size)
    }

    fn from_folder(spec: &str, folder: &Path, size: Option<[usize; 2]>) -> Result<Self> {
        let text = read_bounded(spec, &folder.join(MANIFEST_FILE), MAX_MANIFEST_BYTES)?;
        let manifest = parse_manifest(spec, &text)?;
        for (name, entry) in &manifest.files {
            let path = inside(spec, folder, name)?;
            if *name != manifest.artifact {
                verify(spec, name, entry, &read_bounded(spec, &path, onnx::MAX_FILE_BYTES)?)?;
            }
        }
        let artifact = inside(spec, folder, &manifest.artifact)?;
        let bytes = read_bounded(spec, &artifact, onnx::MAX_FILE_BYTES)?;
        let mut package = Self::assemble(spec, manifest, &bytes, Some(folder), size)?;
        let twin = package.manifest.optimization.as_ref().and_then(|o| o.tflite.clone());
        if let Some(name) = twin.filter(|_| size.is_none()) {
            let path = inside(spec, folder, &name)?;
            let bytes = read_bounded(spec, &path, onnx::MAX_FILE_BYTES)?;
            package.artifact = Artifact { format: Format::Tflite, bytes, path: Some(path) };
        }
        Ok(package)
    }

    /// A package from its manifest and artifact; `folder` is where external data may lie.
    fn assemble(
        spec: &str,
        mut manifest: Manifest,
        artifact: &[u8],
        folder: Option<&Path>,
        size: Option<[usize; 2]>,
    ) -> Result<Self> {
        if let Some(entry) = manifest.files.get(&manifest.artifact) {
            verify(spec, &manifest.artifact, entry, artifact)?;
        }
        if let Some([height, width]) = size {
            (manifest.input.height, manifest.input.width) = (height, width);
        }
        check::manifest(&manifest).map_err(|detail| model_error(spec, detail))?;
        let format = Format::of(artifact);
        let layout = manifest.input.layout;
        let options = onnx::Options {
            name: spec,
            folder,
            input_size: Some([manifest.input.height, manifest.input.width]),
            channels_last: layout == Layout::Nhwc,
            resize: size.is_some(),
        };
        let graph = match format {
            Format::Onnx => oriented(spec, onnx::read(artifact, &options)?, layout)?,
            Format::Tflite if size.is_some() => return Err(model_error(spec, NO_RESIZE)),
            Format::Tflite => tflite::interface(artifact, spec)?,
        };
        check::graph(&manifest, &graph).map_err(|detail| model_error(spec, detail))?;
        let sha256 = of_artifact(artifact, folder);
        let path = folder.map(|folder| folder.join(&manifest.artifact));
        let artifact = Artifact { format, bytes: artifact.to_vec(), path };
        Self { manifest, graph, sha256, artifact, folder: folder.map(Path::to_owned) }.rewritten(size)
    }

    fn from_file(spec: &str, path: &Path, size: Option<[usize; 2]>) -> Result<Self> {
        let bytes = read_bounded(spec, path, onnx::MAX_FILE_BYTES)?;
        let folder = folder_of(path);
        let options = onnx::Options { name: spec, folder: Some(folder), ..Default::default() };
        let format = Format::of(&bytes);
        let (graph, layout) = match format {
            Format::Onnx => {
                // Its order shows in the file as it is; another size can be asked for once that is known.
                let plain = onnx::read(&bytes, &options);
                let layout = plain.as_ref().map_or(Layout::Nchw, guess::layout);
                let channels_last = layout == Layout::Nhwc;
                let graph = match size {
                    None => plain?,
                    Some(_) => onnx::read(
                        &bytes,
                        &onnx::Options { input_size: size, resize: true, channels_last, ..options },
                    )?,
                };
                (oriented(spec, graph, layout)?, layout)
            }
            Format::Tflite if size.is_some() => return Err(model_error(spec, NO_RESIZE)),
            Format::Tflite => (tflite::interface(&bytes, spec)?, Layout::Nchw),
        };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let artifact = path.file_name().unwrap_or_default().to_string_lossy();
        let squashed = match format {
            Format::Onnx => guess::squashed(&graph).cloned(),
            Format::Tflite => tflite::squashed(&bytes, spec)?,
        };
        let manifest = guess::manifest(&stem, &artifact, &graph, layout, squashed.as_ref())
            .map_err(|detail| model_error(spec, detail))?;
        check::manifest(&manifest).map_err(|detail| model_error(spec, detail))?;
        check::graph(&manifest, &graph).map_err(|detail| model_error(spec, detail))?;
        let sha256 = of_artifact(&bytes, Some(folder));
        let artifact = Artifact { format, bytes, path: Some(path.to_owned()) };
        Self { manifest, graph, sha256, artifact, folder: Some(folder.to_owned()) }.rewritten(size)
    }

    /// With another input size, its file as that size has it: runtimes that read the file themselves get that one.
    fn rewritten(mut self, size: Option<[usize; 2]>) -> Result<Self> {
        if size.is_some() {
            let bytes = onnx::write(&self.graph, &onnx::WriteOptions::default())?;
            self.artifact = Artifact { format: Format::Onnx, bytes, path: None };
            self.manifest.input.layout = Layout::Nchw;
        }
        Ok(self)
    }
}

fn no_model(spec: &str, detail: impl Into<String>) -> Error {
    Error::NoModel { model: spec.to_owned(), detail: detail.into() }
}

fn unknown(spec: &str) -> String {
    let names: Vec<&str> = builtin::names().collect();
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let what = if spec.contains(['/', '.']) { "no such file or folder" } else { "no such model" };
    format!("{what}; built in: {found}")
}

pub(super) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The folder of the package that `path` names by its folder or by its manifest.
pub(super) fn named_folder(path: &Path, is_folder: bool) -> Option<&Path> {
    if is_folder {
        return Some(path);
    }
    path.file_name().is_some_and(|name| name == MANIFEST_FILE).then(|| folder_of(path))
}

/// The folder of a file that is the artifact of the package there.
fn package_of(file: &Path) -> Option<&Path> {
    let folder = folder_of(file);
    let text = read_bounded("", &folder.join(MANIFEST_FILE), MAX_MANIFEST_BYTES).ok()?;
    let manifest = parse_manifest("", &text).ok()?;
    (file.file_name()? == manifest.artifact.as_str()).then_some(folder)
}

/// A network as read from a file of that layout, with the input's channel axis in front.
fn oriented(spec: &str, graph: Graph, layout: Layout) -> Result<Graph> {
    match layout {
        Layout::Nchw => Ok(graph),
        Layout::Nhwc => channels_first(&graph).map_err(|detail| model_error(spec, detail)),
    }
}

/// The same network with the input's channel axis in front.
fn channels_first(source: &Graph) -> Result<Graph, String> {
    let mut graph = source.clone();
    let [input] = graph.inputs[..] else { return Err("an NHWC model must have one input".into()) };
    let &[n, h, w, c] = graph.shape(input) else {
        return Err(format!(
            "the input has shape {:?}, not [1, rows, columns, channels]",
            graph.shape(input)
        ));
    };
    let name = graph.value(input).name.clone();
    graph.inputs.clear();
    let nodes = std::mem::take(&mut graph.nodes);
    let first = graph.add_input(&name, vec![n, c, h, w]);
    let perm = vec![0, 2, 3, 1];
    let moved = graph.push("channels_last", &format!("{name}.nhwc"), Op::Transpose { perm }, vec![first])?;
    graph.nodes.extend(nodes);
    graph.replace_uses(input, moved);
    Ok(graph)
}

fn parse_manifest(spec: &str, text: &[u8]) -> Result<Manifest> {
    serde_json::from_slice(text).map_err(|e| model_error(spec, format!("{MANIFEST_FILE}: {e}")))
}

/// Path of a package's file, which must not lead outside.
fn inside(spec: &str, folder: &Path, name: &str) -> Result<PathBuf> {
    let relative = Path::new(name);
    let outside = || model_error(spec, format!("the file {name:?} lies outside the package"));
    let plain = relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
    if name.is_empty() || !plain {
        return Err(outside());
    }
    let path = folder.join(relative);
    let real = path.canonicalize().map_err(Error::read(&path))?;
    let root = folder.canonicalize().map_err(Error::read(folder))?;
    if real.starts_with(root) { Ok(path) } else { Err(outside()) }
}

fn read_bounded(spec: &str, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let file = fs::File::open(path).map_err(Error::read(path))?;
    let mut bytes = vec![];
    // One byte more than allowed tells a file that is too long, whatever its metadata says.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    if bytes.len() as u64 > limit {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return Err(model_error(spec, format!("{name} is larger than the limit of {limit} bytes")));
    }
    Ok(bytes)
}

fn verify(spec: &str, file: &str, entry: &FileEntry, bytes: &[u8]) -> Result<()> {
    if let Some(expected) = entry.bytes.filter(|&b| b != bytes.len() as u64) {
        let detail = format!("{file} is damaged: it has {} bytes, the manifest says {expected}", bytes.len());
        return Err(model_error(spec, detail));
    }
    let found = hex_digest(bytes);
    if found == entry.sha256.to_ascii_lowercase() {
        return Ok(());
    }
    let (model, file, expected) = (spec.to_owned(), file.to_owned(), entry.sha256.clone());
    Err(Error::Checksum { model, file, found, expected })
}

fn model_error(spec: &str, detail: impl Into<String>) -> Error {
    Error::Model { model: spec.to_owned(), detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_model_opens() {
        let package = Package::open("polyp-lite").unwrap();
        assert_eq!(package.manifest.name, "polyp-lite");
        assert_eq!(package.sha256, package.manifest.files["polyp-lite.onnx"].sha256);
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let e = Package::open("polyp-heavy").unwrap_err().to_string();
        assert!(e.contains("no such model") && e.contains("polyp-lite"), "{e}");
        assert!(Package::open("no/such/model.onnx").unwrap_err().to_string().contains("no such file"));
    }
}

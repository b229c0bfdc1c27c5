//! The library's typed error: what went wrong, with what, and what to do about it.
//!
//! [`Display`](std::fmt::Display) gives the cause in one line; [`Error::remedy`] gives the next step.
//! The command line prints both in one line; nothing in the library prints.

use std::io;
use std::path::PathBuf;

/// Result of a library call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong below the command line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// The operating system's word on it.
        source: io::Error,
    },
    /// A file or folder could not be created, written or renamed.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// The operating system's word on it.
        source: io::Error,
    },
    /// A source names nothing: no file matches, or a folder holds no media.
    #[error("{source_name}: {detail}")]
    NoInput {
        /// The source as the user gave it.
        source_name: String,
        /// What was looked for and not found.
        detail: String,
    },
    /// The bytes are not a picture or a video that can be decoded.
    #[error("{source_name}: {detail}")]
    Media {
        /// The file, address or device.
        source_name: String,
        /// What the decoder said.
        detail: String,
    },
    /// The bytes are not a still picture that can be decoded.
    #[error("{source_name}: {detail}")]
    Picture {
        /// The file, or what else it came from.
        source_name: String,
        /// What the decoder said.
        detail: String,
    },
    /// A folder of ground truth that does not go together.
    #[error("{path}: {detail}", path = path.display())]
    GroundTruth {
        /// The folder or file.
        path: PathBuf,
        /// What does not fit.
        detail: String,
    },
    /// A file that is no report of `endort bench`.
    #[error("{path}: is not a report of endort bench --json: {detail}", path = path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        detail: String,
    },
    /// A source that was delivering frames stopped doing so.
    #[error("{source_name}: lost the source: {detail}")]
    SourceLost {
        /// The address or device.
        source_name: String,
        /// What was observed.
        detail: String,
    },
    /// A picture or tensor is larger than its stated bound.
    #[error("{what} is {found}, more than the limit of {limit}")]
    TooLarge {
        /// What was measured.
        what: String,
        /// Its size, with its unit.
        found: String,
        /// The bound, with its unit.
        limit: String,
    },
    /// A model package or file is incomplete, damaged or contradicts itself.
    #[error("model {model}: {detail}")]
    Model {
        /// The package folder, file or built-in name.
        model: String,
        /// What is wrong with it.
        detail: String,
    },
    /// There is no model of this name, and no package or file at this path.
    #[error("model {model}: {detail}")]
    NoModel {
        /// The name or path as given.
        model: String,
        /// What was looked for and not found.
        detail: String,
    },
    /// A model's file does not have the content that its manifest promises.
    #[error("model {model}: {file} is damaged: sha256 is {found}, the manifest says {expected}")]
    Checksum {
        /// The package.
        model: String,
        /// The file inside the package.
        file: String,
        /// Digest of the file as found, in hex.
        found: String,
        /// Digest that the manifest gives, in hex.
        expected: String,
    },
    /// The network uses an operator, or an attribute of one, that endort does not execute.
    #[error("model {model}: operator {operator} (node {node:?}) is not supported: {detail}")]
    UnsupportedOperator {
        /// The model.
        model: String,
        /// Operator type as the file names it.
        operator: String,
        /// The node's name.
        node: String,
        /// Which part of it is unsupported.
        detail: String,
    },
    /// A runtime is not available on this machine, or failed while executing.
    #[error("runtime {runtime}: {detail}")]
    Runtime {
        /// The runtime's name, as `--runtime` takes it.
        runtime: String,
        /// What it said.
        detail: String,
    },
    /// A setting has an impossible value.
    #[error("{origin}: {key} = {value}: {allowed}")]
    Setting {
        /// File and line, environment variable or flag that gave the value.
        origin: String,
        /// The setting's name.
        key: String,
        /// The value as given.
        value: String,
        /// What is allowed.
        allowed: String,
    },
    /// A settings file is not what it should be as a whole.
    #[error("{origin}: {detail}")]
    Config {
        /// The file, with the line where one is known.
        origin: String,
        /// What is wrong with it.
        detail: String,
    },
    /// An output would overwrite something, or cannot take what is to be written.
    #[error("{}: {detail}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// Why it cannot be used.
        detail: String,
    },
    /// A pipeline stage panicked: a defect in endort, reported instead of hanging.
    #[error("stage {stage} panicked: {message}")]
    StagePanicked {
        /// The stage's (and thread's) name.
        stage: String,
        /// The panic's message.
        message: String,
    },
    /// The AI lane has no answer for one frame, and goes on with the next.
    #[error("frame not analysed: {detail}")]
    NotAnalysed {
        /// Why not.
        detail: String,
    },
    /// The run was cancelled (Ctrl-C); what was finished is kept.
    #[error("interrupted")]
    Cancelled,
}

impl Error {
    /// What the user can do about it, in one clause; `None` where the message says it all.
    pub fn remedy(&self) -> Option<String> {
        let text = match self {
            Self::Read { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => "check the spelling of the path",
                io::ErrorKind::PermissionDenied => "check who may read it (ls -l)",
                _ => return None,
            },
            Self::Write { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => "choose a place that you may write to",
                io::ErrorKind::StorageFull => {
                    "free some space, then run again (endort stream: with --resume)"
                }
                io::ErrorKind::NotFound => "create the folder first, or choose another",
                _ => return None,
            },
            Self::NoInput { .. } => "name a file, a folder, a glob, '-', an address or synthetic",
            Self::Media { .. } => "check with ffprobe that FFmpeg can read it",
            Self::Picture { .. } => "check that the picture is whole (endort stream takes videos)",
            Self::GroundTruth { .. } => {
                "a folder of ground truth has images/ and masks/ with equal names and sizes"
            }
            Self::Report { .. } => "make one with endort bench --json FILE",
            Self::SourceLost { .. } => "check the cable, the address and the sender",
            Self::TooLarge { .. } => "scale it down before giving it to endort",
            Self::Model { .. } | Self::NoModel { .. } => {
                "give a package folder with model.json, an .onnx file, polyp-lite or none"
            }
            Self::Checksum { .. } => "copy the package again from where it came from",
            Self::UnsupportedOperator { .. } => "export the model with standard operators (opset 11 to 21)",
            Self::Runtime { .. } => "see what this box offers with endort detect-device",
            Self::StagePanicked { .. } => "this is a defect in endort: please report it with the command",
            Self::Config { .. } => "see docs/REALTIME_PROCESSING.md for what it may hold",
            Self::Setting { .. } | Self::Output { .. } | Self::NotAnalysed { .. } | Self::Cancelled => {
                return None;
            }
        };
        Some(text.to_owned())
    }

    /// A closure for `map_err` that says which path could not be read.
    pub fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }

    /// A closure for `map_err` that says which path could not be written.
    pub fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }
}

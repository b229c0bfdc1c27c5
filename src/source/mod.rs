//! Where frames come from: one trait, one file per kind of source.
//!
//! A [`Source`] hands out frames in presentation order and knows nothing of pace, policy or clocks:
//! the pipeline decides when a frame is due and stamps the moment it was captured.

mod expand;
pub mod limits;
mod live;
pub mod looped;
mod open;
mod options;
pub mod picture;
mod recording;
pub mod redact;
mod spec;
pub mod synthetic;
pub mod tap;
mod video;

use std::time::Duration;

pub use expand::{
    Input, PICTURE_EXTENSIONS, VIDEO_EXTENSIONS, expand, expand_path, fixed_part, is_media, is_picture,
};
pub use open::{open, open_input};
pub use options::{EventHandler, HwDecode, OpenOptions, SourceEvent};
pub use recording::Recording;
pub use spec::{Location, SCHEMES};

use crate::error::Result;
use crate::frame::Frame;

/// What is known about a source before its first frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceInfo {
    /// Short name as records and tables show it (a file's name, an address without credentials).
    pub name: String,
    /// Width in pixels, upright.
    pub width: usize,
    /// Height in pixels, upright.
    pub height: usize,
    /// Average frame rate, where the source states one.
    pub fps: Option<f64>,
    /// Number of frames, where the source states one (an estimate: containers can be wrong).
    pub frames: Option<u64>,
    /// Length, where the source states one.
    pub duration: Option<Duration>,
    /// True for cameras and network streams: frames arrive at their own pace and cannot wait.
    pub live: bool,
    /// Codec or generator, for people (`h264`, `png`, `synthetic`).
    pub codec: String,
    /// Width of a pixel over its height, upright, where the source states that pixels are not square.
    pub pixel_aspect: Option<(i32, i32)>,
    /// Whether it has sound.
    pub sound: bool,
}

/// Something that delivers frames.
pub trait Source: Send {
    /// What is known about it.
    fn info(&self) -> &SourceInfo;

    /// The next frame, or `None` at the end.
    ///
    /// Blocks until there is one. Returns [`Error::Cancelled`](crate::Error::Cancelled) soon after the
    /// [`Cancel`](crate::cancel::Cancel) that the source was opened with is set. `captured` is left at zero.
    fn next(&mut self) -> Result<Option<Frame>>;
}

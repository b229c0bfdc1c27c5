//! A rendered colonoscopy: a source that needs no file, and exact ground truth.
//!
//! A camera moves through a folded, wet, vessel-patterned tube in which polyps of several kinds grow. Every
//! frame is a pure function of the [`Options`] and its number: frames can be rendered in any order and with
//! any number of threads, and come out the same bytes (on one platform; other mathematics libraries may round
//! differently). Because the renderer knows which surface each pixel shows, its masks are exact.
//!
//! How a frame is made: `camera` integrates the tube's course around the camera; `scene` projects and
//! lights the vertices of wall (`anatomy`) and polyps (`polyp`); `raster` finds the surface of each
//! pixel; `shade` gives it light and colour from tiles of mucosa (`texture`, `vessels`, `skin`);
//! `sensor` adds what optics and sensor add; `look` cuts the endoscope's outline. The result goes
//! straight to YCbCr 4:2:0, BT.709, limited range.

mod anatomy;
mod camera;
mod geometry;
mod look;
mod noise;
mod options;
mod outline;
mod polyp;
mod raster;
mod renderer;
mod scene;
mod sensor;
mod shade;
mod skin;
mod texture;
mod truth;
mod vessels;

pub use options::{MAX_FPS, MAX_HEIGHT, MAX_WIDTH, MIN_SIDE, Options, View, parse_rate};
pub use polyp::Kind;
pub use renderer::{Rendered, Renderer};
pub use truth::PolypView;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Source, SourceInfo};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment, Timestamp};

/// The rendered colonoscopy as a source.
#[derive(Debug)]
pub struct Synthetic {
    renderer: Renderer,
    info: SourceInfo,
    name: Arc<str>,
    next: u64,
    cancel: Cancel,
}

impl Synthetic {
    /// A source from a specification; see [`Options::from_spec`].
    pub fn from_spec(spec: &str) -> Result<Self> {
        Self::new(Options::from_spec(spec)?)
    }

    /// A source from options.
    pub fn new(options: Options) -> Result<Self> {
        let info = SourceInfo {
            name: "synthetic".to_owned(),
            width: options.width,
            height: options.height,
            fps: Some(1.0 / options.frame_time()),
            frames: options.frames,
            duration: options.frames.map(|n| Duration::from_secs_f64(n as f64 * options.frame_time())),
            live: false,
            codec: "synthetic".to_owned(),
        };
        let name = Arc::from(info.name.as_str());
        Ok(Self { renderer: Renderer::new(options)?, info, name, next: 0, cancel: Cancel::new() })
    }

    /// The same source, which ends with [`Error::Cancelled`] once `cancel` is set.
    pub fn watch(mut self, cancel: Cancel) -> Self {
        self.cancel = cancel;
        self
    }
}

impl Source for Synthetic {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let number = self.next;
        if self.renderer.options().frames.is_some_and(|frames| number >= frames) {
            return Ok(None);
        }
        let started = Instant::now();
        let picture = self.renderer.picture(number)?;
        self.next += 1;
        let (num, den) = self.renderer.options().fps;
        Ok(Some(Frame {
            id: FrameId(number),
            source: Arc::clone(&self.name),
            pts: Timestamp { ticks: number as i64, base: (den, num) },
            duration: Some(1),
            captured: Moment::default(),
            decode: started.elapsed(),
            picture,
        }))
    }
}

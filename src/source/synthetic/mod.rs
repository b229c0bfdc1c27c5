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

use rayon::prelude::*;

use super::{Source, SourceInfo};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment, Picture, Timestamp};

/// Length of the way that is played to and fro, in seconds.
const LOOP_SECONDS: f64 = 2.0;
/// Most memory that the frames of that way may take.
const LOOP_BYTES: usize = 256 << 20;

/// The rendered colonoscopy as a source.
///
/// With a number of frames given, each is rendered when it is asked for. Without, the source never ends, and
/// because rendering takes longer than decoding a recording (and would compete with what is measured), the
/// first two seconds (256 MiB at most) are rendered when it is opened and then played forward and backward
/// from memory; `loop=off` renders on and on instead.
#[derive(Debug)]
pub struct Synthetic {
    renderer: Renderer,
    info: SourceInfo,
    name: Arc<str>,
    next: u64,
    cancel: Cancel,
    /// Pictures that are played to and fro; empty where every frame is rendered.
    reel: Vec<Picture>,
}

impl Synthetic {
    /// A source from a specification; see [`Options::from_spec`].
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for what cannot be rendered.
    pub fn from_spec(spec: &str) -> Result<Self> {
        Self::open(Options::from_spec(spec)?, &Cancel::new())
    }

    /// A source from options. It ends with [`Error::Cancelled`] once `cancel` is set.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for what cannot be rendered, [`Error::Cancelled`].
    pub fn open(options: Options, cancel: &Cancel) -> Result<Self> {
        let info = SourceInfo {
            name: "synthetic".to_owned(),
            width: options.width,
            height: options.height,
            fps: Some(1.0 / options.frame_time()),
            frames: options.frames,
            duration: options
                .frames
                .and_then(|n| Duration::try_from_secs_f64(n as f64 * options.frame_time()).ok()),
            live: false,
            codec: "synthetic".to_owned(),
            ..SourceInfo::default()
        };
        let name = Arc::from(info.name.as_str());
        let renderer = Renderer::new(options)?;
        let reel = film(&renderer, cancel)?;
        Ok(Self { renderer, info, name, next: 0, cancel: cancel.clone(), reel })
    }

    fn picture(&self, number: u64) -> Result<Picture> {
        match self.reel.len() as u64 {
            0 => self.renderer.picture(number),
            1 => Ok(self.reel[0].clone()),
            length => {
                let turn = 2 * (length - 1);
                let at = number % turn;
                Ok(self.reel[at.min(turn - at) as usize].clone())
            }
        }
    }
}

/// Renders the way that an endless source plays to and fro.
fn film(renderer: &Renderer, cancel: &Cancel) -> Result<Vec<Picture>> {
    let options = renderer.options();
    if options.frames.is_some() || !options.looped {
        return Ok(Vec::new());
    }
    let bytes = options.width * options.height * 3 / 2;
    let frames = (LOOP_SECONDS / options.frame_time()).ceil() as usize;
    (0..frames.min(LOOP_BYTES / bytes).max(1) as u64)
        .into_par_iter()
        .map(|number| if cancel.is_cancelled() { Err(Error::Cancelled) } else { renderer.picture(number) })
        .collect()
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
        if self.info.frames.is_some_and(|frames| number >= frames) {
            return Ok(None);
        }
        let started = Instant::now();
        let picture = self.picture(number)?;
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

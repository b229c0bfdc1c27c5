//! Progress bars: one for the source under way, one for all of them.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::super::Console;
use crate::source::SourceInfo;

/// Redraws while nothing arrives, so that the elapsed time moves.
const TICK: Duration = Duration::from_millis(250);

/// The bar over all sources. It counts bytes: frames are not known before a file is opened.
pub struct Overall {
    bar: ProgressBar,
    files: usize,
    finished: usize,
    frames: u64,
    bytes: u64,
    since: Instant,
}

impl Overall {
    /// A bar over `files` files of `bytes` bytes in all; none is shown for a single file.
    pub fn new(console: &Console, files: usize, bytes: u64) -> Self {
        let bar =
            if files > 1 { console.progress().add(ProgressBar::new(bytes)) } else { ProgressBar::hidden() };
        bar.set_style(style("{msg:>24} {wide_bar} {percent:>3} %  {eta_precise} left"));
        let overall = Self { bar, files, finished: 0, frames: 0, bytes: 0, since: Instant::now() };
        overall.show(0);
        overall
    }

    /// Part of the file under way is done.
    pub fn advance(&self, frames: u64, share: f64, bytes: u64) {
        self.bar.set_position(self.bytes + (share * bytes as f64) as u64);
        self.show(frames);
    }

    /// A file of `bytes` bytes is done with, one way or another.
    pub fn finish_file(&mut self, frames: u64, bytes: u64) {
        self.finished += 1;
        self.frames += frames;
        self.bytes += bytes;
        self.bar.set_position(self.bytes);
        self.show(0);
    }

    /// Takes the bar off the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }

    fn show(&self, frames: u64) {
        let seconds = self.since.elapsed().as_secs_f64().max(1e-3);
        let fps = (self.frames + frames) as f64 / seconds;
        self.bar.set_message(format!("{} of {} files {fps:.0} fps", self.finished, self.files));
    }
}

/// The bar of one source.
pub struct File {
    bar: ProgressBar,
    length: Option<u64>,
    since: Instant,
}

impl File {
    /// A bar for a source, as long as the source says it is.
    pub fn new(console: &Console, info: &SourceInfo) -> Self {
        let estimate = info.duration.zip(info.fps).map(|(length, fps)| (length.as_secs_f64() * fps) as u64);
        let length = info.frames.or(estimate).filter(|&frames| frames > 0 && !info.live);
        let bar = match length {
            Some(frames) => ProgressBar::new(frames),
            None => ProgressBar::new_spinner(),
        };
        bar.set_style(style(match length {
            Some(_) => "{prefix:>24} {wide_bar} {pos}/{len} frames {msg}  {eta_precise} left",
            None => "{prefix:>24} {spinner} {pos} frames {msg}  {elapsed_precise}",
        }));
        let bar = console.progress().insert(0, bar);
        bar.set_prefix(info.name.clone());
        bar.enable_steady_tick(TICK);
        Self { bar, length, since: Instant::now() }
    }

    /// `frames` frames are done; gives the share of the whole, where its length is known.
    pub fn advance(&self, frames: u64) -> f64 {
        self.bar.set_position(frames);
        let seconds = self.since.elapsed().as_secs_f64().max(1e-3);
        self.bar.set_message(format!("{:.0} fps", frames as f64 / seconds));
        self.length.map_or(0.0, |length| (frames as f64 / length as f64).min(1.0))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

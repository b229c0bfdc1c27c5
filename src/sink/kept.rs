//! Video kept as it is: a source's packets in Matroska, not coded again.
//!
//! Matroska can be read up to wherever writing broke off, takes every codec that cameras and recorders send, and
//! keeps times to the millisecond.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::output::part_path;
use crate::av::copied::Copied;
use crate::av::dict::Dict;
use crate::av::error::AvError;
use crate::av::file_url;
use crate::av::muxer::Muxer;
use crate::error::{Error, Result};
use crate::source::tap::{Coded, KEPT_IN};

/// Options for a file that can be read at any time: a crash takes a second of video with it, at most.
pub(super) const READABLE: [(&str, &str); 2] = [("cluster_time_limit", "1000"), ("flush_packets", "1")];

/// A Matroska file of one connection's packets, `NAME.part` until it is whole.
pub(crate) struct KeptVideo {
    target: PathBuf,
    copied: Copied,
    packets: u64,
}

impl KeptVideo {
    /// Creates the file; its time starts with the packet `first`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn create(target: PathBuf, first: &Coded) -> Result<Self> {
        let part = part_path(&target);
        // First by the standard library, whose errors say which folder is missing or not writable.
        File::create(&part).map_err(Error::write(&target))?;
        let failed = |error: AvError| Error::write(&target)(error.to_io());
        let stream = &*first.stream;
        let timing = stream.timing(first.pts);
        let copied = Muxer::create(&file_url(&part)?, KEPT_IN).and_then(|muxer| {
            Copied::start(muxer, &stream.parameters, stream.rate, timing, Dict::of(READABLE))
        });
        let copied = copied.map_err(failed)?;
        Ok(Self { target, copied, packets: 0 })
    }

    /// Writes a packet of the same connection. One that is shown before the first cannot be decoded and is left out.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn write(&mut self, coded: Coded) -> Result<()> {
        let Coded { mut packet, pts, dts, .. } = coded;
        if pts < self.copied.timing.zero {
            return Ok(());
        }
        self.copied.address(&mut packet, pts, dts);
        self.copied.muxer.write(&mut packet).map_err(|e| Error::write(&self.target)(e.to_io()))?;
        self.packets += 1;
        Ok(())
    }

    /// Packets written so far.
    pub(crate) fn packets(&self) -> u64 {
        self.packets
    }

    /// Completes the file and gives it its name. Without this it stays as `NAME.part`, readable all the same.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub(crate) fn finish(self) -> Result<()> {
        let Self { target, copied, .. } = self;
        copied.muxer.finish().map_err(|e| Error::write(&target)(e.to_io()))?;
        rename(&target)
    }
}

/// Makes sure that a file is on the disk, and gives it its name.
pub(super) fn rename(target: &Path) -> Result<()> {
    let part = part_path(target);
    File::open(&part)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(&part, target))
        .map_err(Error::write(target))
}

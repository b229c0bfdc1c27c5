//! The two files of one recording: video, and the records of its frames.

use std::path::Path;
use std::time::{Duration, SystemTime};

use super::name;
use crate::error::Result;
use crate::frame::Frame;
use crate::record::FrameRecord;
use crate::sink::Sink;
use crate::sink::jsonl::JsonLines;
use crate::sink::kept::KeptVideo;
use crate::sink::output::{Output, part_path};
use crate::sink::video::{VideoOptions, VideoSink};
use crate::source::SourceInfo;
use crate::source::tap::Coded;

/// Endings of the two.
const VIDEO: &str = "mkv";
const RECORDS: &str = "jsonl";

/// How video is coded that does not come coded: fast, since it is done beside the AI.
const PRESET: &str = "superfast";
const CRF: u8 = 20;
const THREADS: usize = 1;

/// Two files that are being written.
pub(super) struct Pair {
    stem: String,
    video: Video,
    records: JsonLines,
    /// Time of the room at which the time of both starts.
    zero_ms: f64,
    /// Time of the room up to which there are pictures.
    end_ms: f64,
    frames: u64,
    written: u64,
}

enum Video {
    Kept(Box<KeptVideo>),
    Coded(Box<VideoSink>),
}

impl Pair {
    /// Files for a connection's packets; `first` is not written yet.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write).
    pub(super) fn of_packets(folder: &Path, room: &str, first: &Coded) -> Result<Self> {
        Self::create(folder, room, first.stream.ms(first.pts), |path| {
            Ok(Video::Kept(Box::new(KeptVideo::create(path, first)?)))
        })
    }

    /// Files for frames, which are coded; `first` is not written yet.
    ///
    /// # Errors
    /// [`Error::Write`](crate::Error::Write).
    pub(super) fn of_frames(folder: &Path, room: &str, info: &SourceInfo, first: &Frame) -> Result<Self> {
        let options = VideoOptions {
            preset: PRESET.to_owned(),
            crf: CRF,
            threads: THREADS,
            audio: false,
            keep_part: true,
        };
        Self::create(folder, room, first.pts.as_ms(), |path| {
            Ok(Video::Coded(Box::new(VideoSink::create(path, info, None, options)?)))
        })
    }

    fn create(
        folder: &Path,
        room: &str,
        zero_ms: f64,
        video: impl FnOnce(std::path::PathBuf) -> Result<Video>,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder).map_err(crate::Error::write(folder))?;
        let (mut at, path) =
            (SystemTime::now(), |stem: &str, ending| folder.join(format!("{stem}.{ending}")));
        let mut stem = name::stem(room, at);
        // A clock that was set back must not cost an earlier recording.
        while [path(&stem, VIDEO), part_path(&path(&stem, VIDEO))].iter().any(|path| path.exists()) {
            at += Duration::from_millis(1);
            stem = name::stem(room, at);
        }
        let path = |ending| path(&stem, ending);
        let records = JsonLines::new(Output::file(path(RECORDS))?);
        let video = video(path(VIDEO))?;
        Ok(Self { video, records, zero_ms, end_ms: zero_ms, frames: 0, written: 0, stem })
    }

    /// Names of the files once they are whole.
    pub(super) fn files(&self) -> [String; 2] {
        [VIDEO, RECORDS].map(|ending| format!("{}.{ending}", self.stem))
    }

    /// Whether packets are kept as they come, and frames are not written.
    pub(super) fn keeps_packets(&self) -> bool {
        matches!(self.video, Video::Kept(_))
    }

    /// Whether a frame is not after all pictures that have been written.
    pub(super) fn has_passed(&self, frame: &Frame) -> bool {
        frame.pts.as_ms() <= self.end_ms
    }

    /// Frames and records so far.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.frames, self.written)
    }

    pub(super) fn packet(&mut self, coded: Coded) -> Result<()> {
        if let Video::Kept(video) = &mut self.video {
            self.end_ms = self.end_ms.max(coded.stream.ms(coded.pts));
            video.write(coded)?;
            self.frames = video.packets();
        }
        Ok(())
    }

    pub(super) fn frame(&mut self, frame: &Frame) -> Result<()> {
        if let Video::Coded(video) = &mut self.video {
            video.picture(frame)?;
            self.end_ms = self.end_ms.max(frame.pts.as_ms());
            self.frames += 1;
        }
        Ok(())
    }

    /// Whether the record's picture, or a later one, has been written.
    pub(super) fn reaches(&self, record: &FrameRecord) -> bool {
        // Records are rounded to a microsecond.
        record.pts_ms <= self.end_ms + 0.001
    }

    /// Keeps a frame's record, its time on the video's clock. What is older than the video is left out.
    pub(super) fn record(&mut self, mut record: FrameRecord) -> Result<()> {
        let pts_ms = record.pts_ms - self.zero_ms;
        // Records are rounded to a microsecond.
        if pts_ms < -0.001 {
            return Ok(());
        }
        record.pts_ms = (pts_ms.max(0.0) * 1e3).round() / 1e3;
        self.written += 1;
        self.records.record(&record)
    }

    /// Completes both files and gives them their names.
    pub(super) fn finish(mut self) -> Result<()> {
        // The video first: records without their video would be of little use.
        let video = match &mut self.video {
            Video::Coded(video) => video.finish(),
            Video::Kept(_) => Ok(()),
        };
        let video = match self.video {
            Video::Kept(video) => video.finish(),
            Video::Coded(_) => video,
        };
        if video.is_err() {
            self.records.keep_part();
        }
        video?;
        self.records.finish()
    }

    /// Leaves both as they are, under their temporary names.
    pub(super) fn give_up(mut self) {
        self.records.keep_part();
    }
}

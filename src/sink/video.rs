//! Annotated video: the source's frames with their marks, its time stamps, its length and its sound.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::File;
use std::path::{Path, PathBuf};

use ffmpeg_next::ffi::{AVColorPrimaries, AVColorRange, AVColorSpace, AVColorTransferCharacteristic};

use super::Sink;
use super::kept::{READABLE, rename};
use super::output::{part_path, replaceable};
use crate::av::audio::{Audio, MICROSECONDS, RESTART_US};
use crate::av::convert::Converter;
use crate::av::dict::Dict;
use crate::av::encoder::{Encoder, EncoderSettings};
use crate::av::error::AvError;
use crate::av::frame::AvFrame;
use crate::av::input::{ColorTags, Input, Medium};
use crate::av::muxer::Muxer;
use crate::av::packet::Packet;
use crate::av::{file_url, rescale};
use crate::error::{Error, Result};
use crate::frame::{Color, Frame, Matrix, Picture, PixelFormat, Range, ticks_per_frame};
use crate::source::tap::KEPT_IN;
use crate::source::{Recording, SourceInfo};

/// Endings that can be written, and FFmpeg's names of their containers. All take H.264; MP4 and MOV keep every
/// time stamp exactly, Matroska to the millisecond, MPEG-TS to 1/90000 s.
const CONTAINERS: [(&str, &CStr); 5] =
    [("mp4", c"mp4"), ("m4v", c"mp4"), ("mov", c"mov"), ("mkv", c"matroska"), ("ts", c"mpegts")];

/// How annotated video is coded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VideoOptions {
    /// x264's preset: `ultrafast` to `veryslow`.
    pub preset: String,
    /// x264's constant quality: 0 (lossless) to 51; about 18 cannot be told from the source.
    pub crf: u8,
    /// Encoder threads; 0 for one per core.
    pub threads: usize,
    /// Whether the source's sound is kept.
    pub audio: bool,
    /// Whether a file that is not whole is kept as `NAME.part`; in Matroska it can be read up to its last second.
    pub keep_part: bool,
}

impl Default for VideoOptions {
    fn default() -> Self {
        Self { preset: "veryfast".to_owned(), crf: 20, threads: 0, audio: true, keep_part: false }
    }
}

/// Writes H.264 in MP4 that browsers play (or the container of the output's ending).
///
/// The file is written as `NAME.part` and gets its name when [`finish`](Sink::finish) succeeds; dropped
/// before, it is removed (unless [`VideoOptions::keep_part`] says otherwise). Each frame keeps its time stamp.
/// Clocks that start anywhere (MPEG-TS, cameras) start at zero. H.264 at 4:2:0 has even sizes only: an odd picture
/// gets one more column or row, which repeats the last. Frames that change their size on the way are scaled to that
/// of the first.
pub struct VideoSink {
    target: PathBuf,
    info: SourceInfo,
    origin: Option<Recording>,
    /// Whether the pictures end before the source does.
    cut: bool,
    options: VideoOptions,
    format: &'static CStr,
    notes: Vec<String>,
    state: State,
}

enum State {
    /// The file is there, and waits for the first frame.
    Fresh(Box<Muxer>),
    /// Frames are being written.
    Writing(Box<Writing>),
    /// The file has its final name.
    Finished,
    /// Something could not be written.
    Failed,
}

impl VideoSink {
    /// Creates the file. `origin` is the recording that the frames come from, for its sound and colour tags.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] for an ending that is not known, [`Error::Write`] if the file cannot be created.
    pub fn create(
        target: impl Into<PathBuf>,
        info: &SourceInfo,
        origin: Option<Recording>,
        options: VideoOptions,
    ) -> Result<Self> {
        let target = target.into();
        let format = container(&target)?;
        let target = replaceable(target)?;
        let part = part_path(&target);
        // First by the standard library, whose errors say which folder is missing or not writable.
        File::create(&part).map_err(Error::write(&target))?;
        let url = file_url(&part)?;
        let muxer = Muxer::create(&url, format).map_err(|e| Error::write(&target)(e.to_io()))?;
        let info = info.clone();
        let state = State::Fresh(Box::new(muxer));
        Ok(Self { target, info, origin, cut: false, options, format, notes: Vec::new(), state })
    }

    /// What differs from what was asked or from the source, one sentence each; complete once it is finished.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What FFmpeg refuses by itself concerns this recording alone; what the operating system refuses may concern all.
    fn write_error(&self, error: AvError) -> Error {
        if error.is_refusal() {
            let detail = format!("cannot be written to {}: {error}", self.target.display());
            return Error::Media { source_name: self.info.name.clone(), detail };
        }
        Error::write(&self.target)(error.to_io())
    }
}

impl Sink for VideoSink {
    fn wants_overlay(&self) -> bool {
        true
    }

    fn cut(&mut self) {
        self.cut = true;
    }

    fn picture(&mut self, frame: &Frame) -> Result<()> {
        let mut writing = match std::mem::replace(&mut self.state, State::Failed) {
            State::Writing(writing) => writing,
            State::Fresh(muxer) => Box::new(self.start(*muxer, frame)?),
            State::Finished | State::Failed => return Err(self.write_error(AvError::INVALID_DATA)),
        };
        writing.frame(frame).map_err(|e| self.write_error(e))?;
        self.state = State::Writing(writing);
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Writing(writing) => {
                let broken = writing.finish(!self.cut).map_err(|e| self.write_error(e))?;
                if broken > 0 {
                    self.notes.push(format!("{broken} broken pieces of sound left out"));
                }
            }
            State::Fresh(_) => {
                let detail = "there was no frame to write".to_owned();
                return Err(Error::Output { path: self.target.clone(), detail });
            }
            State::Finished => {
                self.state = State::Finished;
                return Ok(());
            }
            State::Failed => return Err(self.write_error(AvError::INVALID_DATA)),
        }
        rename(&self.target)?;
        self.state = State::Finished;
        Ok(())
    }
}

impl Drop for VideoSink {
    fn drop(&mut self) {
        if !matches!(self.state, State::Finished) && !self.options.keep_part {
            // Nothing more can be done about a file that will not go.
            std::fs::remove_file(part_path(&self.target)).ok();
        }
    }
}

fn container(target: &Path) -> Result<&'static CStr> {
    let ending =
        target.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_ascii_lowercase();
    CONTAINERS.iter().find(|(known, _)| *known == ending).map(|(_, format)| *format).ok_or_else(|| {
        let known = CONTAINERS.map(|(known, _)| known).join(", .");
        let detail = format!("annotated video is written to a name that ends in one of .{known}");
        Error::Output { path: target.to_owned(), detail }
    })
}

/// What the recording says beyond its frames.
struct Origin {
    color: Option<ColorTags>,
    /// Microseconds of its clock at which its time starts.
    zero_us: i64,
}

impl VideoSink {
    fn start(&mut self, mut muxer: Muxer, frame: &Frame) -> Result<Writing> {
        let picture = &frame.picture;
        let base = frame.pts.base;
        let first_us = rescale(frame.pts.ticks, base, MICROSECONDS);
        let origin = self.origin(first_us);
        // A frame before the start of time would be cut off by players.
        let shift_us = origin.zero_us.min(first_us);
        let even = |n: usize| n.next_multiple_of(2);
        let color = tags(picture, origin.color);
        let encoder = Encoder::open(&EncoderSettings {
            size: (even(picture.width()), even(picture.height())),
            base,
            rate: self.info.fps,
            pixel_aspect: self.info.pixel_aspect.unwrap_or((0, 1)),
            color,
            preset: self.options.preset.clone(),
            crf: self.options.crf,
            threads: self.options.threads,
            global_header: muxer.wants_global_header(),
        })
        .map_err(|e| Error::Output {
            path: self.target.clone(),
            detail: format!("no encoder for annotated video: {e}"),
        })?;
        if !encoder.is_h264() {
            self.notes.push(format!("written with {}: this FFmpeg has no H.264 encoder", encoder.name()));
        }
        // SAFETY: the encoder is open.
        let stream = unsafe { muxer.add_encoded(encoder.as_ptr(), base) }.map_err(|e| self.write_error(e))?;
        let audio = self.audio(&mut muxer, shift_us);
        let mut options = Dict::new();
        if matches!(self.format.to_bytes(), b"mp4" | b"mov") {
            options.set("movflags", "+faststart");
            // A first frame after time zero is stored in the movie's own ticks: by default milliseconds.
            options.set("movie_timescale", &movie_timescale(base).to_string());
        }
        if self.options.keep_part && self.format == KEPT_IN {
            READABLE.iter().for_each(|(key, value)| options.set(key, value));
        }
        muxer.start(options).map_err(|e| self.write_error(e))?;
        Ok(Writing {
            muxer,
            encoder,
            audio,
            converter: Converter::new(),
            packet: Packet::new().map_err(|e| self.write_error(e))?,
            stream,
            base,
            shift: rescale(shift_us, MICROSECONDS, base),
            size: (picture.width(), picture.height()),
            color: yuv_color(picture),
            fallback: self.info.fps.map_or(1, |fps| ticks_per_frame(base, fps)),
            last: None,
            durations: VecDeque::new(),
            frames: 0,
        })
    }

    fn origin(&self, first_us: i64) -> Origin {
        let Some(input) = self.open_origin(Medium::Video) else {
            return Origin { color: None, zero_us: first_us };
        };
        Origin { color: Some(input.color_tags()), zero_us: input.arbitrary_origin_us().unwrap_or(0) }
    }

    fn open_origin(&self, medium: Medium) -> Option<Input> {
        self.origin.as_ref()?.open(medium)
    }

    fn audio(&mut self, muxer: &mut Muxer, shift_us: i64) -> Option<Audio> {
        if !self.options.audio {
            return None;
        }
        let Some(input) = self.open_origin(Medium::Audio) else {
            if self.info.sound {
                self.notes.push("sound left out: the source cannot be read a second time".to_owned());
            }
            return None;
        };
        let codec = input.codec_name();
        match Audio::add(input, muxer, shift_us) {
            Ok(audio) => {
                if let Some(codec) = audio.replaced() {
                    let ending = self.target.extension().unwrap_or_default().to_string_lossy().into_owned();
                    self.notes.push(format!("sound coded again as AAC: .{ending} does not take {codec}"));
                }
                Some(audio)
            }
            Err(e) => {
                self.notes.push(format!("sound left out: {codec} cannot be read ({e})"));
                None
            }
        }
    }
}

/// A file with its header written.
struct Writing {
    muxer: Muxer,
    encoder: Encoder,
    audio: Option<Audio>,
    converter: Converter,
    packet: Packet,
    stream: usize,
    base: (i32, i32),
    /// Ticks of the source at which the output's time starts.
    shift: i64,
    /// The picture's true size, without padding.
    size: (usize, usize),
    /// Matrix and range that the file states: those of the first picture.
    color: Color,
    /// Ticks per frame, should there be only one.
    fallback: i64,
    /// The last frame's time in the output, and its own duration.
    last: Option<(i64, Option<i64>)>,
    /// Time and duration of the frames that the encoder still holds, except the last one's.
    durations: VecDeque<(i64, i64)>,
    frames: u64,
}

impl Writing {
    fn frame(&mut self, frame: &Frame) -> Result<(), AvError> {
        let mut ticks = rescale(frame.pts.ticks, frame.pts.base, self.base).saturating_sub(self.shift);
        // A clock that starts again goes on where the last frame ends.
        if let Some((last, _)) = self.last
            && last.saturating_sub(ticks) > rescale(RESTART_US, MICROSECONDS, self.base)
        {
            let next = last + self.last_duration();
            self.shift -= next - ticks;
            ticks = next;
        }
        let pts = match self.last {
            // Containers need rising times; a source that repeats one is broken.
            Some((last, _)) => {
                let pts = ticks.max(last + 1);
                self.durations.push_back((last, pts - last));
                pts
            }
            None => ticks,
        };
        let duration = frame.duration.map(|ticks| rescale(ticks, frame.pts.base, self.base));
        self.last = Some((pts, duration.filter(|&ticks| ticks > 0)));
        self.frames += 1;
        let mut picture = self.encodable(&frame.picture)?;
        picture.set_pts(pts);
        self.encoder.send(Some(&picture))?;
        self.forward()
    }

    /// The picture as 4:2:0 with even sides, in the colours that the file states.
    fn encodable(&mut self, picture: &Picture) -> Result<AvFrame, AvError> {
        let (width, height) = (self.size.0.next_multiple_of(2), self.size.1.next_multiple_of(2));
        let same =
            (picture.width(), picture.height(), picture.color()) == (self.size.0, self.size.1, self.color);
        if picture.format() == PixelFormat::Yuv420 && same {
            return AvFrame::copy_of(picture, width, height);
        }
        let converted = self.converter.frame(picture, PixelFormat::Yuv420, self.size, self.color)?;
        if self.size == (width, height) {
            return Ok(converted);
        }
        AvFrame::copy_of(&converted.into_picture(self.color).ok_or(AvError::INVALID_DATA)?, width, height)
    }

    /// Writes what the encoder has ready, and the sound up to there.
    fn forward(&mut self) -> Result<(), AvError> {
        while self.encoder.receive(&mut self.packet)? {
            let pts = self.packet.pts().unwrap_or(0);
            let known = self.durations.iter().position(|&(time, _)| time == pts);
            let duration = match known.and_then(|index| self.durations.remove(index)) {
                Some((_, duration)) => duration,
                None => self.last_duration(),
            };
            self.packet.set_duration(duration);
            if let Some(audio) = &mut self.audio {
                let until = self.packet.dts().map(|dts| rescale(dts, self.base, MICROSECONDS));
                audio.write(&mut self.muxer, Some(until.unwrap_or(0)))?;
            }
            self.packet.address(self.stream, self.base, self.muxer.time_base(self.stream));
            self.muxer.write(&mut self.packet)?;
        }
        Ok(())
    }

    /// How long the last frame is shown: as the source says, else like the average of its kind.
    fn last_duration(&self) -> i64 {
        self.last.and_then(|(_, duration)| duration).unwrap_or(self.fallback).max(1)
    }

    /// Completes the file; returns how many pieces of sound were left out because they are broken.
    fn finish(mut self: Box<Self>, whole: bool) -> Result<u64, AvError> {
        self.encoder.send(None)?;
        self.forward()?;
        let mut broken = 0;
        if let Some(mut audio) = self.audio.take() {
            if whole {
                audio.write(&mut self.muxer, None)?;
            } else {
                let (end, _) = self.last.unwrap_or((0, None));
                audio.write(&mut self.muxer, Some(rescale(end, self.base, MICROSECONDS)))?;
                audio.cut(&mut self.muxer)?;
            }
            broken = audio.broken();
        }
        self.muxer.finish().map(|()| broken)
    }
}

/// Ticks per second in which multiples of `base` are exact, at least a thousand.
fn movie_timescale((_, den): (i32, i32)) -> i32 {
    if den >= 1000 { den } else { den * (1000 / den + 1) }
}

/// Colour of the coded video: a YCbCr picture's own, and limited range for what is converted from grey or
/// RGB, which every player shows rightly.
fn yuv_color(picture: &Picture) -> Color {
    match picture.format() {
        PixelFormat::Gray8 | PixelFormat::Rgb24 => Color { range: Range::Limited, ..picture.color() },
        _ => picture.color(),
    }
}

/// The file's own tags where its samples are kept; those of the picture where they are converted, or where no
/// file tells.
fn tags(picture: &Picture, origin: Option<ColorTags>) -> ColorTags {
    const LIMITED: i32 = AVColorRange::AVCOL_RANGE_MPEG as i32;
    const FULL: i32 = AVColorRange::AVCOL_RANGE_JPEG as i32;
    let color = yuv_color(picture);
    let range = if color.range == Range::Full { FULL } else { LIMITED };
    let converted = matches!(picture.format(), PixelFormat::Gray8 | PixelFormat::Rgb24);
    match (origin, color.matrix) {
        (Some(origin), _) if !converted => {
            ColorTags { range: if range == FULL { FULL } else { origin.range }, ..origin }
        }
        (origin, matrix) => {
            let (space, primaries, transfer) = match matrix {
                Matrix::Bt601 => (
                    AVColorSpace::AVCOL_SPC_SMPTE170M,
                    // The 525 and the 625 line systems share the matrix and differ here.
                    AVColorPrimaries::AVCOL_PRI_UNSPECIFIED,
                    AVColorTransferCharacteristic::AVCOL_TRC_SMPTE170M,
                ),
                Matrix::Bt709 => (
                    AVColorSpace::AVCOL_SPC_BT709,
                    AVColorPrimaries::AVCOL_PRI_BT709,
                    AVColorTransferCharacteristic::AVCOL_TRC_BT709,
                ),
            };
            let (primaries, transfer) = origin
                .map_or((primaries as i32, transfer as i32), |origin| (origin.primaries, origin.transfer));
            ColorTags { space: space as i32, primaries, transfer, range }
        }
    }
}

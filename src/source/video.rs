//! Frames from a container, stream or device through FFmpeg.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::check_size;
use super::options::{HwDecode, OpenOptions, SourceEvent};
use super::tap::Stream;
use super::{Source, SourceInfo};
use crate::av::audio::{MICROSECONDS, RESTART_US};
use crate::av::chain::{Chain, Stamp, Turn};
use crate::av::convert::Converter;
use crate::av::decoder::{Decoder, DecoderOptions, Output};
use crate::av::dict::Dict;
use crate::av::error::AvError;
use crate::av::frame::AvFrame;
use crate::av::input::{Input, Medium, Target};
use crate::av::packet::Packet;
use crate::av::rescale;
use crate::av::watch::Watch;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment, Timestamp};

/// Errors in a row after which a decoder that is being emptied is taken to be empty.
const MAX_DRAIN_ERRORS: u32 = 64;

/// How much earlier than stated a recording's pictures may end before it is told: seconds, and share of the whole.
/// Sound is often a little longer.
const EARLY_END: (f64, f64) = (1.0, 0.05);

/// How a video is opened.
pub(super) struct Opening {
    /// Where it is.
    pub(super) target: Target,
    /// The name that is shown.
    pub(super) name: String,
    /// Whether it delivers at its own pace.
    pub(super) live: bool,
    /// Options for FFmpeg's demuxer and protocol.
    pub(super) demuxer: Dict,
    /// How long a read may take; `None` for as long as it likes.
    pub(super) timeout: Option<Duration>,
}

/// A clock that begins anew has run over where that leads on from the last time, to within a minute.
const RUN_OVER_US: i64 = 60_000_000;

/// Ticks of the times of arrival: milliseconds.
const ARRIVAL_BASE: (i32, i32) = (1, 1000);

/// Times of a live source that has none, such as a camera that sends Motion JPEG over HTTP.
#[derive(Debug, Default)]
struct Arrivals {
    first: Option<Instant>,
    last: Option<i64>,
}

impl Arrivals {
    /// Gives a packet the time at which it came, in ticks of [`ARRIVAL_BASE`] since the first.
    fn stamp(&mut self, packet: &mut Packet) {
        let now = self.first.get_or_insert_with(Instant::now).elapsed().as_millis();
        let ticks = i64::try_from(now).unwrap_or(i64::MAX);
        let ticks = self.last.map_or(ticks, |last| ticks.max(last.saturating_add(1)));
        self.last = Some(ticks);
        packet.set_times(ticks, ticks);
        packet.set_duration(0);
    }
}

/// What has been reached.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Packets come from the container.
    Reading,
    /// The container is at its end; the decoder still holds frames.
    Draining,
    /// All frames have been handed out.
    Done,
}

/// A video that is being decoded.
pub(super) struct VideoSource {
    info: SourceInfo,
    name: Arc<str>,
    input: Input,
    decoder: Decoder,
    chain: Chain,
    converter: Converter,
    packet: Packet,
    stage: Stage,
    options: OpenOptions,
    base: (i32, i32),
    /// Of a live source without times of its own.
    arrivals: Option<Arrivals>,
    /// The latest decoding time so far, in ticks, of a source whose clock is followed.
    newest: Option<i64>,
    /// Ticks by which its clock is behind, since it started again.
    behind: i64,
    /// Ticks from one frame to the next, where the rate is known.
    interval: Option<i64>,
    next_id: u64,
    /// Where the next frame belongs if it does not say.
    expected_pts: i64,
    /// Time spent since the last frame was handed out.
    spent: Duration,
    /// Pieces that could not be decoded.
    damaged: u64,
    /// How many of these came while the decoder was being emptied.
    drain_errors: u32,
    /// An error of the container, to be told when what came before it has been handed out.
    broken: Option<String>,
}

impl VideoSource {
    /// Opens a video and its decoder.
    pub(super) fn open(opening: Opening, options: &OpenOptions, cancel: &Cancel) -> Result<Self> {
        let Opening { target, name, live, demuxer, timeout } = opening;
        let watch = Watch::new(cancel.clone(), timeout);
        let input = Input::open(target, demuxer, Medium::Video, Arc::clone(&watch))
            .map_err(|e| open_error(&name, live, &watch, e))?;
        let Some(input) = input else {
            return Err(Error::Media { source_name: name, detail: "has no video".to_owned() });
        };
        let (width, height) = upright_size(&input);
        if width == 0 || height == 0 {
            let detail = "the size of its pictures could not be found".to_owned();
            return Err(Error::Media { source_name: name, detail });
        }
        check_size(&name, width, height)?;
        let mut decoder = Decoder::open(
            &input,
            DecoderOptions {
                threads: options.threads,
                low_delay: live && !swaps_pictures(&input),
                one_by_one: live,
                hardware: options.hardware == HwDecode::Auto,
            },
        )
        .map_err(|e| Error::Media {
            source_name: name.clone(),
            detail: format!("no decoder for {}: {}", input.codec_name(), explain(e)),
        })?;
        if let Some(detail) = decoder.take_fallback() {
            options.tell(&SourceEvent::HardwareUnavailable { detail });
        }
        // Where no times come and none can be known from the order, those of arrival count.
        let arrivals = (live && input.has_no_times() && !input.is_reordered()).then(Arrivals::default);
        let (base, rate) = match arrivals {
            Some(_) => (ARRIVAL_BASE, None),
            None => (input.time_base(), input.frame_rate()),
        };
        if let Some(tap) = &options.tap {
            // A picture that has to be turned is not what its packets show.
            let stream = Stream::of(&input, base, rate).filter(|_| turn(&input) == Turn::None);
            tap.begin(stream);
        }
        let input_is_cut = input
            .missing_bytes()
            .filter(|_| !live)
            .map(|missing| format!("the file is at least {missing} bytes shorter than its index says"));
        let seconds = input.seconds().filter(|_| !live);
        let fps = rate.map(|(num, den)| f64::from(num) / f64::from(den));
        let estimate = || Some((seconds? * fps?).round() as u64).filter(|&frames| frames > 0);
        let info = SourceInfo {
            name: name.clone(),
            width,
            height,
            fps,
            frames: if live { None } else { input.frames().or_else(estimate) },
            duration: seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            live,
            codec: input.codec_name(),
            pixel_aspect: upright_aspect(&input),
            sound: input.has_sound(),
        };
        Ok(Self {
            info,
            name: Arc::from(name),
            chain: Chain::new(turn(&input), base),
            converter: Converter::new(),
            packet: Packet::new().map_err(out_of_memory)?,
            input,
            decoder,
            stage: Stage::Reading,
            options: options.clone(),
            base,
            arrivals,
            newest: None,
            behind: 0,
            interval: rate.and_then(|(num, den)| interval(base, num, den)),
            next_id: 0,
            expected_pts: 0,
            spent: Duration::ZERO,
            broken: input_is_cut,
            damaged: 0,
            drain_errors: 0,
        })
    }

    /// Whether it has an end that is known: a length in seconds, or in bytes.
    pub(super) fn is_recording(&self) -> bool {
        self.info.duration.is_some() || self.input.is_one_piece()
    }

    /// One step: a frame out of the decoder, or a packet into it.
    fn step(&mut self) -> Result<()> {
        let started = Instant::now();
        let output = self.decoder.receive();
        self.spent += started.elapsed();
        match output {
            Ok(Output::Frame(frame)) => self.take(frame),
            Ok(Output::End) => self.end(),
            Ok(Output::Hungry) => self.feed(),
            Err(AvError::NO_MEMORY) => Err(out_of_memory(AvError::NO_MEMORY)),
            Err(_) => {
                self.damaged += 1;
                if self.stage == Stage::Reading { self.feed() } else { self.endless_errors() }
            }
        }
    }

    fn take(&mut self, frame: AvFrame) -> Result<()> {
        let (width, height) = frame.size();
        check_size(&self.name, width, height)?;
        let pts = frame.timestamp().unwrap_or(self.expected_pts);
        let duration = frame.duration();
        self.expected_pts = pts.saturating_add(duration.or(self.interval).unwrap_or(1));
        let started = Instant::now();
        let stamp = Stamp { pts, duration, decode: std::mem::take(&mut self.spent) };
        let pushed = self.chain.push(frame, stamp);
        self.spent += started.elapsed();
        pushed.map_err(|e| self.media_error(format!("a frame cannot be processed: {}", explain(e))))
    }

    /// Reads a packet and gives it to the decoder.
    fn feed(&mut self) -> Result<()> {
        let started = Instant::now();
        let read = self.input.read(&mut self.packet);
        if !self.info.live {
            // Waiting for a camera is not decoding; reading a file is part of it.
            self.spent += started.elapsed();
        }
        match read {
            Ok(true) => {
                if let Some(arrivals) = &mut self.arrivals {
                    arrivals.stamp(&mut self.packet);
                }
                self.follow_clock();
                if let Some(tap) = &self.options.tap {
                    tap.push(&self.packet);
                }
                let started = Instant::now();
                let sent = self.decoder.send(Some(&self.packet));
                self.spent += started.elapsed();
                self.damaged += u64::from(sent.is_err());
                return Ok(());
            }
            Ok(false) => {}
            Err(e) => match self.read_error(e) {
                Error::Media { detail, .. } => self.broken = Some(detail),
                e => return Err(e),
            },
        }
        self.stage = Stage::Draining;
        // A decoder that refuses to be emptied is at its end at once, which the next step finds.
        let _ = self.decoder.send(None);
        Ok(())
    }

    /// Lets a clock go on that has run over, as that of MPEG-TS does after 26 hours. One that starts again, as an encoder's
    /// does that was switched off, goes on where the last packet ends for whoever shows or keeps packets, which needs times
    /// that rise; else records have the recording's own times, and outputs follow its clock by themselves.
    fn follow_clock(&mut self) {
        let Some(time) = self.packet.dts().or(self.packet.pts()) else { return };
        let mut time = time.saturating_add(self.behind);
        let newest = *self.newest.get_or_insert(time);
        let follows = self.info.live || self.options.follow_clock;
        let run_over = self.input.clock_range().filter(|range| {
            let apart = newest.saturating_sub(time.saturating_add(*range)).saturating_abs();
            apart < rescale(RUN_OVER_US, MICROSECONDS, self.base)
        });
        if let Some(range) = run_over {
            // FFmpeg has raised by as much already whatever is shown after that and decoded before.
            self.behind = self.behind.saturating_add(range);
            time = time.saturating_add(range);
        } else if follows && newest.saturating_sub(time) > rescale(RESTART_US, MICROSECONDS, self.base) {
            let next = newest.saturating_add(self.packet.duration().or(self.interval).unwrap_or(1));
            self.behind = self.behind.saturating_add(next - time);
            time = next;
        }
        self.newest = Some(time.max(newest));
        self.packet.shift(self.behind.saturating_neg());
    }

    fn read_error(&self, error: AvError) -> Error {
        let watch = self.input.watch();
        if watch.is_cancelled() {
            return Error::Cancelled;
        }
        if watch.is_late() || self.info.live {
            return Error::SourceLost { source_name: self.info.name.clone(), detail: silence(watch, error) };
        }
        self.media_error(explain(error))
    }

    fn endless_errors(&mut self) -> Result<()> {
        self.drain_errors += 1;
        if self.drain_errors > MAX_DRAIN_ERRORS { self.end() } else { Ok(()) }
    }

    fn end(&mut self) -> Result<()> {
        self.stage = Stage::Done;
        self.chain.finish().map_err(|e| self.media_error(explain(e)))
    }

    fn deliver(&mut self, frame: AvFrame, stamp: Stamp) -> Result<Frame> {
        let started = Instant::now();
        let picture = self
            .converter
            .picture(frame)
            .map_err(|e| self.media_error(format!("its pixel format cannot be converted: {}", explain(e))))?;
        let id = FrameId(self.next_id);
        self.next_id += 1;
        if let Some(tap) = self.options.tap.as_ref().filter(|_| id.0 == 0 && !self.info.live) {
            tap.place(0);
        }
        Ok(Frame {
            id,
            source: Arc::clone(&self.name),
            pts: Timestamp { ticks: stamp.pts, base: self.base },
            duration: stamp.duration,
            captured: Moment::default(),
            decode: stamp.decode + std::mem::take(&mut self.spent) + started.elapsed(),
            picture,
        })
    }

    /// What is to be said at the end: nothing, that it broke off, or that parts were missing.
    fn verdict(&mut self) -> Result<Option<Frame>> {
        let frames = self.next_id;
        if let Some(detail) = self.broken.take() {
            return Err(self.media_error(format!("breaks off after {frames} frames: {detail}")));
        }
        let damaged = std::mem::take(&mut self.damaged);
        if frames == 0 && !self.info.live {
            return Err(self.media_error("no frame could be decoded".to_owned()));
        }
        if damaged > 0 && !self.info.live {
            let detail = format!("{damaged} pieces could not be decoded, {frames} frames could");
            self.options.tell(&SourceEvent::Damaged { detail });
        }
        if let Some(detail) = self.early_end() {
            self.options.tell(&SourceEvent::Damaged { detail });
        }
        Ok(None)
    }

    /// What is missing at the end, where the container states a length. Formats for streaming (Matroska, MPEG-TS)
    /// end anywhere without an error, so that a recording that was cut off looks whole.
    fn early_end(&self) -> Option<String> {
        let stated = self.info.duration.filter(|_| self.input.seconds_are_stated())?.as_secs_f64();
        let (num, den) = self.base;
        let end = self.expected_pts as f64 * f64::from(num) / f64::from(den);
        let (seconds, share) = EARLY_END;
        (stated - end > seconds.max(share * stated))
            .then(|| format!("its pictures end at {end:.1} s of the {stated:.1} s that the file states"))
    }

    fn media_error(&self, detail: String) -> Error {
        Error::Media { source_name: self.info.name.clone(), detail }
    }
}

impl Source for VideoSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            if self.input.watch().is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some((frame, stamp)) = self.chain.pop() {
                return self.deliver(frame, stamp).map(Some);
            }
            if self.stage == Stage::Done {
                return self.verdict();
            }
            self.step()?;
        }
    }
}

fn turn(input: &Input) -> Turn {
    input.display_matrix().map_or(Turn::None, |matrix| Turn::from_matrix(&matrix))
}

fn upright_size(input: &Input) -> (usize, usize) {
    let (width, height) = input.size();
    let (width, height) = (usize::try_from(width).unwrap_or(0), usize::try_from(height).unwrap_or(0));
    if turn(input).swaps_sides() { (height, width) } else { (width, height) }
}

/// Width of a pixel over its height, as the picture is shown.
fn upright_aspect(input: &Input) -> Option<(i32, i32)> {
    let (width, height) = input.pixel_aspect()?;
    Some(if turn(input).swaps_sides() { (height, width) } else { (width, height) })
}

/// Whether a decoder that is to give each picture at once gives them in a wrong order: MPEG-1, MPEG-2 and MPEG-4 Part 2
/// hand out a picture before those that are shown before it. H.264 and H.265 keep the order all the same.
fn swaps_pictures(input: &Input) -> bool {
    input.is_reordered() && !["h264", "hevc"].contains(&input.codec_name().as_str())
}

/// Ticks of `base` in one frame at `num / den` frames per second, at least one.
fn interval(base: (i32, i32), num: i32, den: i32) -> Option<i64> {
    let ticks = i64::from(den).checked_mul(i64::from(base.1))?;
    let per_tick = i64::from(num).checked_mul(i64::from(base.0))?;
    ticks.checked_div(per_tick).map(|ticks| ticks.max(1))
}

fn out_of_memory(error: AvError) -> Error {
    Error::Media { source_name: "FFmpeg".to_owned(), detail: error.to_string() }
}

fn open_error(name: &str, live: bool, watch: &Watch, error: AvError) -> Error {
    let source_name = name.to_owned();
    if watch.is_cancelled() {
        Error::Cancelled
    } else if live || watch.is_late() {
        Error::SourceLost { source_name, detail: silence(watch, error) }
    } else {
        Error::Media { source_name, detail: explain(error) }
    }
}

fn silence(watch: &Watch, error: AvError) -> String {
    match watch.timeout() {
        // A container may hand out its last packet before it tells that the call before was given up.
        Some(timeout) if watch.is_late() || error == AvError::EXIT => {
            format!("nothing came for {:.1} s", timeout.as_secs_f64())
        }
        _ => explain(error),
    }
}

/// FFmpeg's error with the reason that it logged, if it did.
fn explain(error: AvError) -> String {
    match crate::av::log::cause() {
        Some(cause) => format!("{error} ({cause})"),
        None => error.to_string(),
    }
}

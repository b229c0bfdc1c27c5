//! A recording's sound on its way into another container: copied where that takes it, else coded as AAC.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::ptr;

use ffmpeg_next::ffi::{self, AVCodecID, AVSampleFormat};

use super::error::{AvError, check};
use super::frame::AvFrame;
use super::graph::Graph;
use super::input::Input;
use super::muxer::Muxer;
use super::packet::Packet;

/// Bits per second of coded sound.
const BIT_RATE: i64 = 128_000;

/// Samples per second where the source has a rate that AAC does not know.
const DEFAULT_RATE: i32 = 48_000;

/// Rates that AAC knows (ISO/IEC 14496-3, table 1.18).
const AAC_RATES: [i32; 12] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000];

/// The sound of one input, as a stream of one output.
pub(crate) struct Audio {
    input: Input,
    packet: Packet,
    /// Whether `packet` holds something that is to be written later.
    pending: bool,
    ended: bool,
    stream: usize,
    /// Seconds that the output's time is behind the input's, in microseconds.
    shift_us: i64,
    /// Ticks that the output's time is behind the shifted one's, because the input's clock started again.
    restarted: i64,
    /// Time of the last packet that was read, and how long it lasts; in the output's time, in ticks of the input.
    last: Option<(i64, i64)>,
    aac: Option<Aac>,
    /// Packets that the container refused.
    broken: u64,
}

impl Audio {
    /// Adds the sound of `input` to `muxer`, before the header is written.
    pub(crate) fn add(input: Input, muxer: &mut Muxer, shift_us: i64) -> Result<Self, AvError> {
        // SAFETY: the parameters are valid while `input` is.
        let (stream, aac) = if unsafe { muxer.takes(input.parameters()) } {
            // SAFETY: as above.
            (unsafe { muxer.add_copied(input.parameters(), input.time_base()) }?, None)
        } else {
            let aac = Aac::open(&input, muxer.wants_global_header())?;
            // SAFETY: the encoder is open.
            (unsafe { muxer.add_encoded(aac.encoder.0, aac.base()) }?, Some(aac))
        };
        Ok(Self {
            input,
            packet: Packet::new()?,
            pending: false,
            ended: false,
            stream,
            shift_us,
            restarted: 0,
            last: None,
            aac,
            broken: 0,
        })
    }

    /// Pieces of sound that were left out so far because they are broken.
    pub(crate) fn broken(&self) -> u64 {
        self.broken + self.aac.as_ref().map_or(0, |aac| aac.broken)
    }

    /// FFmpeg's name of the codec that had to be replaced by AAC.
    pub(crate) fn replaced(&self) -> Option<String> {
        self.aac.as_ref().map(|_| self.input.codec_name())
    }

    /// Writes the sound that comes before `until_us` of the output's time, or all that is left. What the container or
    /// the encoder refuses is left out: a broken piece of sound costs no picture.
    pub(crate) fn write(&mut self, muxer: &mut Muxer, until_us: Option<i64>) -> Result<(), AvError> {
        while !self.ended {
            if !self.pending && !self.read()? {
                self.ended = true;
                return self.drain(muxer);
            }
            self.pending = true;
            let base = self.input.time_base();
            let time = self.packet.dts().or(self.packet.pts()).map(|t| super::rescale(t, base, MICROSECONDS));
            if let (Some(time), Some(until)) = (time, until_us)
                && time > until
            {
                return Ok(());
            }
            self.pending = false;
            match &mut self.aac {
                None => {
                    self.packet.address(self.stream, base, muxer.time_base(self.stream));
                    self.broken += u64::from(refused(muxer.write(&mut self.packet))?);
                }
                Some(aac) => {
                    aac.send(Some(&self.packet))?;
                    Self::forward(aac, self.stream, muxer)?;
                }
            }
        }
        Ok(())
    }

    /// Ends the stream without reading on, for a video that was cut short.
    pub(crate) fn cut(&mut self, muxer: &mut Muxer) -> Result<(), AvError> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        self.drain(muxer)
    }

    fn read(&mut self) -> Result<bool, AvError> {
        // Broken sound ends early; the picture is what counts.
        while self.input.read(&mut self.packet).unwrap_or(false) {
            if self.place() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives the packet its time in the output; `false` if it has to be left out because times must rise.
    fn place(&mut self) -> bool {
        let base = self.input.time_base();
        self.packet.shift(super::rescale(self.shift_us, MICROSECONDS, base) + self.restarted);
        let Some(mut time) = self.packet.dts().or(self.packet.pts()) else { return true };
        if let Some((last, duration)) = self.last {
            // A clock that starts again goes on where the last sound ends, as the pictures do.
            if last.saturating_sub(time) > super::rescale(RESTART_US, MICROSECONDS, base) {
                let back = time - (last + duration.max(1));
                self.packet.shift(back);
                self.restarted += back;
                time -= back;
            }
            // Coded anew, sound gets times of its own.
            if time <= last && self.aac.is_none() {
                return false;
            }
        }
        self.last = Some((time, self.packet.duration().unwrap_or(0)));
        true
    }

    fn drain(&mut self, muxer: &mut Muxer) -> Result<(), AvError> {
        match &mut self.aac {
            None => Ok(()),
            Some(aac) => {
                aac.send(None)?;
                Self::forward(aac, self.stream, muxer)
            }
        }
    }

    fn forward(aac: &mut Aac, stream: usize, muxer: &mut Muxer) -> Result<(), AvError> {
        while let Some(mut packet) = aac.ready.pop_front() {
            packet.address(stream, aac.base(), muxer.time_base(stream));
            aac.broken += u64::from(refused(muxer.write(&mut packet))?);
        }
        Ok(())
    }
}

/// Whether FFmpeg would not take what it was given; what the operating system refuses stays an error.
fn refused(outcome: Result<(), AvError>) -> Result<bool, AvError> {
    match outcome {
        Ok(()) => Ok(false),
        Err(e) if e.is_refusal() => Ok(true),
        Err(e) => Err(e),
    }
}

/// How far a time lies before the one that came last, in microseconds, where a clock has started again rather than
/// faltered.
pub(crate) const RESTART_US: i64 = 1_000_000;

/// A time base of one microsecond.
pub(crate) const MICROSECONDS: (i32, i32) = (1, 1_000_000);

/// An owned codec context.
struct Context(*mut ffi::AVCodecContext);

// SAFETY: the context is used by one thread at a time, through `&mut Aac`.
unsafe impl Send for Context {}

impl Context {
    fn new(codec: *const ffi::AVCodec) -> Result<Self, AvError> {
        if codec.is_null() {
            return Err(AvError::DECODER_NOT_FOUND);
        }
        // SAFETY: the codec is a static description.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        if context.is_null() { Err(AvError::NO_MEMORY) } else { Ok(Self(context)) }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: the context is ours.
        unsafe { ffi::avcodec_free_context(&raw mut self.0) };
    }
}

/// Decoder, converter and AAC encoder.
struct Aac {
    decoder: Context,
    /// Made for the first decoded frame.
    graph: Option<Graph>,
    encoder: Context,
    /// Ticks of the input.
    input_base: (i32, i32),
    /// Where the last frame that was coded ends, in ticks of the output.
    end: i64,
    /// Packets that are coded and not yet fetched.
    ready: VecDeque<Packet>,
    /// Frames that the graph or the encoder refused, and packets that the container did.
    broken: u64,
}

impl Aac {
    fn open(input: &Input, global_header: bool) -> Result<Self, AvError> {
        // SAFETY: contexts are ours and not yet open; the parameters are valid while `input` is.
        unsafe {
            let codec = ffi::avcodec_find_decoder((*input.parameters()).codec_id);
            let decoder = Context::new(codec)?;
            check(ffi::avcodec_parameters_to_context(decoder.0, input.parameters()))?;
            let (num, den) = input.time_base();
            (*decoder.0).pkt_timebase = ffi::AVRational { num, den };
            check(ffi::avcodec_open2(decoder.0, codec, ptr::null_mut()))?;

            let codec = ffi::avcodec_find_encoder(AVCodecID::AV_CODEC_ID_AAC);
            let encoder = Context::new(codec)?;
            let rate = (*decoder.0).sample_rate;
            let rate = if AAC_RATES.contains(&rate) { rate } else { DEFAULT_RATE };
            let channels = if (*decoder.0).ch_layout.nb_channels == 1 { 1 } else { 2 };
            (*encoder.0).sample_fmt = AVSampleFormat::AV_SAMPLE_FMT_FLTP;
            (*encoder.0).sample_rate = rate;
            (*encoder.0).bit_rate = BIT_RATE;
            (*encoder.0).time_base = ffi::AVRational { num: 1, den: rate };
            ffi::av_channel_layout_default(&raw mut (*encoder.0).ch_layout, channels);
            if global_header {
                (*encoder.0).flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as i32;
            }
            check(ffi::avcodec_open2(encoder.0, codec, ptr::null_mut()))?;
            Ok(Self {
                decoder,
                graph: None,
                encoder,
                input_base: input.time_base(),
                end: i64::MIN,
                ready: VecDeque::new(),
                broken: 0,
            })
        }
    }

    fn rate(&self) -> i32 {
        // SAFETY: the context is ours and open.
        unsafe { (*self.encoder.0).sample_rate }
    }

    /// Seconds per tick of its packets.
    fn base(&self) -> (i32, i32) {
        (1, self.rate())
    }

    /// Codes a packet's sound; `None` says that there is no more.
    fn send(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        // SAFETY: the decoder is open; a null packet starts draining. A packet that cannot be decoded is a
        // gap in the sound.
        let _ =
            unsafe { ffi::avcodec_send_packet(self.decoder.0, packet.map_or(ptr::null(), Packet::as_ptr)) };
        loop {
            let mut frame = AvFrame::empty()?;
            // SAFETY: the decoder is open and the frame is empty.
            if unsafe { ffi::avcodec_receive_frame(self.decoder.0, frame.as_mut_ptr()) } < 0 {
                break;
            }
            if let Some(pts) = frame.timestamp() {
                frame.set_pts(pts);
            }
            self.broken += u64::from(refused(self.filter(Some(&mut frame)))?);
        }
        if packet.is_none() {
            self.broken += u64::from(refused(self.filter(None))?);
            // SAFETY: the encoder is open; a null frame starts draining.
            check(unsafe { ffi::avcodec_send_frame(self.encoder.0, ptr::null()) })?;
            self.collect()?;
        }
        Ok(())
    }

    /// Sends decoded sound through the graph to the encoder; `None` says that there is no more.
    fn filter(&mut self, frame: Option<&mut AvFrame>) -> Result<(), AvError> {
        let graph = match (self.graph.take(), &frame) {
            (Some(graph), _) => graph,
            (None, Some(frame)) => self.make_graph(frame)?,
            (None, None) => return Ok(()),
        };
        self.graph.insert(graph).send(frame)?;
        self.encode()
    }

    fn encode(&mut self) -> Result<(), AvError> {
        let base = self.base();
        while let Some((mut frame, pts)) =
            self.graph.as_mut().map_or(Ok(None), |graph| graph.receive(base))?
        {
            let samples = frame.samples();
            // Where a clock falters, sound that lies under what is coded already is left out; the rest keeps its time.
            if pts < self.end.saturating_sub(samples / 2) {
                continue;
            }
            let pts = pts.max(self.end);
            self.end = pts.saturating_add(samples);
            frame.set_pts(pts);
            // SAFETY: the encoder is open; it takes a reference of its own.
            let sent = check(unsafe { ffi::avcodec_send_frame(self.encoder.0, frame.as_ptr()) });
            self.broken += u64::from(refused(sent.map(drop))?);
            // It takes no further frame before what it has coded is fetched.
            self.collect()?;
        }
        Ok(())
    }

    /// Fetches the packets that are coded.
    fn collect(&mut self) -> Result<(), AvError> {
        loop {
            let mut packet = Packet::new()?;
            // SAFETY: the encoder is open and the packet is empty.
            match check(unsafe { ffi::avcodec_receive_packet(self.encoder.0, packet.as_mut_ptr()) }) {
                Ok(_) => self.ready.push_back(packet),
                Err(AvError::AGAIN | AvError::EOF) => return Ok(()),
                Err(e) => {
                    self.broken += u64::from(refused(Err(e))?);
                    return Ok(());
                }
            }
        }
    }

    /// From sound as decoded to sound as the encoder takes it.
    fn make_graph(&self, frame: &AvFrame) -> Result<Graph, AvError> {
        let (num, den) = self.input_base;
        // SAFETY: the frame is valid and holds sound; the encoder is ours and open. Both outlive the borrows.
        let (rate, format, from, to) = unsafe {
            let frame = &*frame.as_ptr();
            (frame.sample_rate, frame.format, &frame.ch_layout, &(*self.encoder.0).ch_layout)
        };
        let input = format!(
            "time_base={num}/{den}:sample_rate={rate}:sample_fmt={format}:channel_layout={}",
            layout(from)?
        );
        let output =
            format!("sample_fmts=fltp:sample_rates={}:channel_layouts={}\0", self.rate(), layout(to)?);
        let output = CStr::from_bytes_with_nul(output.as_bytes()).map_err(|_| AvError::INVALID_DATA)?;
        let mut graph = Graph::new((c"abuffer", &input), &[(c"aformat", output)], c"abuffersink")?;
        // SAFETY: the encoder is open.
        let samples = unsafe { (*self.encoder.0).frame_size };
        graph.set_frame_size(u32::try_from(samples).unwrap_or(0));
        Ok(graph)
    }
}

/// FFmpeg's text for a channel layout; a layout that only counts its channels gets the usual one.
fn layout(layout: &ffi::AVChannelLayout) -> Result<String, AvError> {
    let mut text = [0; 64];
    // SAFETY: an all-zero layout is FFmpeg's own way to start; the buffer is as long as stated, and FFmpeg
    // terminates it.
    unsafe {
        let mut usual = std::mem::zeroed::<ffi::AVChannelLayout>();
        ffi::av_channel_layout_default(&raw mut usual, layout.nb_channels);
        let unordered = layout.order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_UNSPEC;
        let described = if unordered { &usual } else { layout };
        check(ffi::av_channel_layout_describe(described, text.as_mut_ptr(), text.len()))?;
        Ok(CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned())
    }
}

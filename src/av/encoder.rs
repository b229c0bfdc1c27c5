//! An H.264 encoder (or the nearest to it that this build of FFmpeg has).

use std::ffi::CStr;
use std::ptr;

use ffmpeg_next::ffi::{self, AVPixelFormat};

use super::dict::Dict;
use super::error::{AvError, check};
use super::frame::AvFrame;
use super::input::ColorTags;
use super::packet::Packet;
use super::pixel::set_raw_enum;

/// Encoders that take planar 4:2:0, best first. The last is not H.264, and not played by browsers, but every
/// build of FFmpeg has it.
const ENCODERS: [&CStr; 6] =
    [c"libx264", c"h264_videotoolbox", c"h264_nvenc", c"libopenh264", c"h264_v4l2m2m", c"mpeg4"];

/// Bits per pixel and frame for encoders that know no constant quality; generous for endoscopy.
const BITS_PER_PIXEL: f64 = 0.15;

/// Seconds between key frames: how far a player jumps back to show a given moment.
const KEY_SECONDS: f64 = 2.0;

/// What is to be encoded, and how.
#[derive(Debug, Clone)]
pub(crate) struct EncoderSettings {
    /// Width and height in pixels, both even.
    pub(crate) size: (usize, usize),
    /// Seconds per tick.
    pub(crate) base: (i32, i32),
    /// Average frames per second, where known.
    pub(crate) rate: Option<f64>,
    /// Width of a pixel over its height.
    pub(crate) pixel_aspect: (i32, i32),
    /// Colour description.
    pub(crate) color: ColorTags,
    /// x264's trade of time for size.
    pub(crate) preset: String,
    /// x264's constant quality, 0 (lossless) to 51.
    pub(crate) crf: u8,
    /// Threads; 0 for one per core.
    pub(crate) threads: usize,
    /// Whether the container keeps codec headers apart.
    pub(crate) global_header: bool,
}

/// An opened encoder.
pub(crate) struct Encoder {
    context: *mut ffi::AVCodecContext,
    name: &'static CStr,
}

// SAFETY: the context is used by one thread at a time (`&mut self`); its worker threads are FFmpeg's own.
unsafe impl Send for Encoder {}

impl Encoder {
    /// The best encoder that this FFmpeg has and that opens.
    pub(crate) fn open(settings: &EncoderSettings) -> Result<Self, AvError> {
        super::init();
        let mut failure = AvError::ENCODER_NOT_FOUND;
        for name in ENCODERS {
            // SAFETY: the name is NUL-terminated.
            let codec = unsafe { ffi::avcodec_find_encoder_by_name(name.as_ptr()) };
            if codec.is_null() {
                continue;
            }
            match Self::open_as(name, codec, settings) {
                Ok(encoder) => return Ok(encoder),
                Err(e) => failure = e,
            }
        }
        Err(failure)
    }

    fn open_as(
        name: &'static CStr,
        codec: *const ffi::AVCodec,
        settings: &EncoderSettings,
    ) -> Result<Self, AvError> {
        let side = |n: usize| i32::try_from(n).map_err(|_| AvError::INVALID_DATA);
        // SAFETY: the codec is a static description.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        if context.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let encoder = Self { context, name };
        let mut options = Dict::new();
        let rate = settings.rate.filter(|rate| (0.1..=1000.0).contains(rate));
        // SAFETY: the context is ours and not yet open.
        unsafe {
            (*context).width = side(settings.size.0)?;
            (*context).height = side(settings.size.1)?;
            (*context).pix_fmt = AVPixelFormat::AV_PIX_FMT_YUV420P;
            (*context).time_base = ffi::AVRational { num: settings.base.0, den: settings.base.1 };
            if let Some(rate) = rate {
                // Only rate control looks at it: time stamps rule.
                (*context).framerate = ffi::av_d2q(rate, 1_001_000);
                (*context).gop_size = (rate * KEY_SECONDS).ceil() as i32;
            }
            let (num, den) = settings.pixel_aspect;
            (*context).sample_aspect_ratio = ffi::AVRational { num, den };
            set_raw_enum(&raw mut (*context).colorspace, settings.color.space);
            set_raw_enum(&raw mut (*context).color_primaries, settings.color.primaries);
            set_raw_enum(&raw mut (*context).color_trc, settings.color.transfer);
            set_raw_enum(&raw mut (*context).color_range, settings.color.range);
            (*context).thread_count = i32::try_from(settings.threads).unwrap_or(0);
            if settings.global_header {
                (*context).flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as i32;
            }
            if name == c"libx264" {
                options.set("preset", &settings.preset);
                options.set("crf", &settings.crf.to_string());
            } else {
                let pixels = (settings.size.0 * settings.size.1) as f64;
                (*context).bit_rate = (pixels * rate.unwrap_or(30.0) * BITS_PER_PIXEL) as i64;
            }
            check(ffi::avcodec_open2(context, codec, options.as_mut_ptr()))?;
        }
        Ok(encoder)
    }

    /// FFmpeg's name of the encoder in use.
    pub(crate) fn name(&self) -> String {
        self.name.to_string_lossy().into_owned()
    }

    /// Whether it makes H.264.
    pub(crate) fn is_h264(&self) -> bool {
        self.name != c"mpeg4"
    }

    /// For a muxer that copies its parameters.
    pub(crate) fn as_ptr(&self) -> *const ffi::AVCodecContext {
        self.context
    }

    /// Gives it a frame; `None` says that there are no more.
    pub(crate) fn send(&mut self, frame: Option<&AvFrame>) -> Result<(), AvError> {
        // SAFETY: the context is open; a null frame starts draining.
        check(unsafe { ffi::avcodec_send_frame(self.context, frame.map_or(ptr::null(), AvFrame::as_ptr)) })
            .map(drop)
    }

    /// Takes the next packet; false if there is none (yet).
    pub(crate) fn receive(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        packet.clear();
        // SAFETY: the context is open and the packet is empty.
        match check(unsafe { ffi::avcodec_receive_packet(self.context, packet.as_mut_ptr()) }) {
            Ok(_) => Ok(true),
            Err(AvError::AGAIN | AvError::EOF) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) };
    }
}

//! A video decoder.

use std::ptr;

use ffmpeg_next::ffi;

use super::error::{AvError, check};
use super::frame::AvFrame;
use super::hardware::{self, Hardware};
use super::input::Input;
use super::packet::Packet;
use crate::source::limits::MAX_PIXELS;

/// How to decode.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DecoderOptions {
    /// Threads; 0 for one per core.
    pub(crate) threads: usize,
    /// Give each picture out at once, without waiting for those that are shown before it.
    pub(crate) low_delay: bool,
    /// Decode one picture at a time instead of several.
    pub(crate) one_by_one: bool,
    /// Try the machine's decoders first.
    pub(crate) hardware: bool,
}

/// What a decoder has for us.
pub(crate) enum Output {
    /// A frame, in main memory.
    Frame(AvFrame),
    /// Nothing until it gets another packet.
    Hungry,
    /// Nothing any more.
    End,
}

/// An opened decoder.
pub(crate) struct Decoder {
    context: *mut ffi::AVCodecContext,
    hardware: Option<Hardware>,
    /// Why the hardware was not used, once.
    fallback: Option<String>,
}

// SAFETY: the context is used by one thread at a time (`&mut self`); its worker threads are FFmpeg's own.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder for the selected stream of `input`.
    pub(crate) fn open(input: &Input, options: DecoderOptions) -> Result<Self, AvError> {
        super::log::forget();
        // SAFETY: the parameters are valid while `input` is; the result is checked.
        let codec = unsafe { ffi::avcodec_find_decoder((*input.parameters()).codec_id) };
        if codec.is_null() {
            return Err(AvError::DECODER_NOT_FOUND);
        }
        let mut fallback = None;
        if options.hardware {
            match hardware::create(codec) {
                Ok(None) => {}
                Ok(Some(hardware)) => match Self::open_with(input, codec, options, Some(hardware)) {
                    Ok(decoder) => return Ok(decoder),
                    Err(e) => fallback = Some(e.to_string()),
                },
                Err(reason) => fallback = Some(reason),
            }
        }
        let mut decoder = Self::open_with(input, codec, options, None)?;
        decoder.fallback = fallback;
        Ok(decoder)
    }

    fn open_with(
        input: &Input,
        codec: *const ffi::AVCodec,
        options: DecoderOptions,
        hardware: Option<Hardware>,
    ) -> Result<Self, AvError> {
        // SAFETY: the codec is a static description.
        let context = unsafe { ffi::avcodec_alloc_context3(codec) };
        if context.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let decoder = Self { context, hardware, fallback: None };
        let (num, den) = input.time_base();
        // SAFETY: the context is ours and not yet open; the parameters are valid while `input` is.
        unsafe {
            check(ffi::avcodec_parameters_to_context(context, input.parameters()))?;
            (*context).pkt_timebase = ffi::AVRational { num, den };
            (*context).max_pixels = MAX_PIXELS as i64;
            (*context).thread_count = i32::try_from(options.threads).unwrap_or(0);
            (*context).thread_type = ffi::FF_THREAD_SLICE;
            if options.low_delay {
                (*context).flags |= ffi::AV_CODEC_FLAG_LOW_DELAY as i32;
            }
            if !options.one_by_one {
                (*context).thread_type |= ffi::FF_THREAD_FRAME;
            }
            if let Some(hardware) = &decoder.hardware {
                hardware.attach(context)?;
            }
            check(ffi::avcodec_open2(context, codec, ptr::null_mut()))?;
        }
        Ok(decoder)
    }

    /// Why the hardware decoder that was asked for is not used; told once.
    pub(crate) fn take_fallback(&mut self) -> Option<String> {
        self.fallback.take()
    }

    /// Gives the decoder a packet; `None` says that there are no more.
    pub(crate) fn send(&mut self, packet: Option<&Packet>) -> Result<(), AvError> {
        // SAFETY: the context is open; a null packet starts draining.
        let sent =
            unsafe { ffi::avcodec_send_packet(self.context, packet.map_or(ptr::null(), Packet::as_ptr)) };
        check(sent).map(drop)
    }

    /// Takes the next frame.
    pub(crate) fn receive(&mut self) -> Result<Output, AvError> {
        let mut frame = AvFrame::empty()?;
        // SAFETY: the context is open and the frame is empty.
        match check(unsafe { ffi::avcodec_receive_frame(self.context, frame.as_mut_ptr()) }) {
            Ok(_) => match &mut self.hardware {
                Some(hardware) => hardware.download(frame).map(Output::Frame),
                None => Ok(Output::Frame(frame)),
            },
            Err(AvError::AGAIN) => Ok(Output::Hungry),
            Err(AvError::EOF) => Ok(Output::End),
            Err(e) => Err(e),
        }
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the context is ours.
        unsafe { ffi::avcodec_free_context(&raw mut self.context) };
    }
}

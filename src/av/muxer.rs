//! A container that is being written, to a file or to memory.

use std::ffi::{CStr, c_int};
use std::ptr;

use ffmpeg_next::ffi;

use super::dict::Dict;
use super::error::{AvError, check};
use super::packet::Packet;

/// FFmpeg's numbers of the AAC profiles that ADTS can tell, and of one that is not known.
const AAC_IN_ADTS: [c_int; 7] = [0, 1, 2, 3, 4, 28, -99];

/// A container with its streams.
pub(crate) struct Muxer {
    context: *mut ffi::AVFormatContext,
    /// Whether what is written stays in memory until it is taken.
    in_memory: bool,
    /// Whether the header is written, so that the trailer may be.
    started: bool,
}

// SAFETY: the context is used by one thread at a time (`&mut self`).
unsafe impl Send for Muxer {}

impl Muxer {
    /// Creates the file at `url` (`file:…`) as a container of the named format.
    pub(crate) fn create(url: &CStr, format: &CStr) -> Result<Self, AvError> {
        super::init();
        let mut context = ptr::null_mut();
        // SAFETY: the strings are NUL-terminated; on failure nothing is allocated.
        check(unsafe {
            ffi::avformat_alloc_output_context2(&raw mut context, ptr::null(), format.as_ptr(), url.as_ptr())
        })?;
        let muxer = Self { context, in_memory: false, started: false };
        // SAFETY: the context is ours; the file is closed in `close`.
        check(unsafe {
            ffi::avio_open(&raw mut (*context).pb, url.as_ptr(), ffi::AVIO_FLAG_WRITE as c_int)
        })?;
        Ok(muxer)
    }

    /// A container of the named format in memory; [`take`](Self::take) gives what was written.
    pub(crate) fn in_memory(format: &CStr) -> Result<Self, AvError> {
        super::init();
        let mut context = ptr::null_mut();
        // SAFETY: the name is NUL-terminated; on failure nothing is allocated.
        check(unsafe {
            ffi::avformat_alloc_output_context2(&raw mut context, ptr::null(), format.as_ptr(), ptr::null())
        })?;
        let muxer = Self { context, in_memory: true, started: false };
        // SAFETY: the context is ours; the buffer is freed in `close`.
        check(unsafe { ffi::avio_open_dyn_buf(&raw mut (*context).pb) })?;
        Ok(muxer)
    }

    /// What was written to memory since the last call.
    pub(crate) fn take(&mut self) -> Result<Vec<u8>, AvError> {
        let bytes = self.close_memory();
        // SAFETY: the context is ours and has no buffer now.
        check(unsafe { ffi::avio_open_dyn_buf(&raw mut (*self.context).pb) })?;
        Ok(bytes)
    }

    /// Copies and frees the buffer in memory, if there is one.
    fn close_memory(&mut self) -> Vec<u8> {
        let mut buffer = ptr::null_mut();
        // SAFETY: the buffer was opened by `avio_open_dyn_buf` where there is one, and is not used any more; what it
        // holds is as long as stated, and ours to free.
        unsafe {
            let file = std::mem::replace(&mut (*self.context).pb, ptr::null_mut());
            if file.is_null() {
                return Vec::new();
            }
            let length = usize::try_from(ffi::avio_close_dyn_buf(file, &raw mut buffer)).unwrap_or(0);
            let bytes = match buffer.is_null() {
                true => Vec::new(),
                false => std::slice::from_raw_parts(buffer, length).to_vec(),
            };
            ffi::av_free(buffer.cast());
            bytes
        }
    }

    /// Whether codec headers belong into the container's own.
    pub(crate) fn wants_global_header(&self) -> bool {
        // SAFETY: the context has an output format.
        unsafe { (*(*self.context).oformat).flags & ffi::AVFMT_GLOBALHEADER as c_int != 0 }
    }

    /// Whether the container takes such sound by common practice.
    ///
    /// # Safety
    /// `parameters` are those of a stream of an open input.
    pub(crate) unsafe fn takes(&self, parameters: *const ffi::AVCodecParameters) -> bool {
        use ffi::AVCodecID::{
            AV_CODEC_ID_AAC, AV_CODEC_ID_AC3, AV_CODEC_ID_EAC3, AV_CODEC_ID_FLAC, AV_CODEC_ID_MP2,
            AV_CODEC_ID_MP3, AV_CODEC_ID_OPUS, AV_CODEC_ID_TRUEHD,
        };
        // SAFETY: the parameters are valid by contract; the context has an output format, whose name is a static string.
        let (codec, profile, format) = unsafe {
            ((*parameters).codec_id, (*parameters).profile, CStr::from_ptr((*(*self.context).oformat).name))
        };
        // What FFmpeg's own answer below does not know.
        match (format.to_bytes(), codec) {
            // Its table knows a tag of these, and writing the header refuses them.
            (b"mov", AV_CODEC_ID_FLAC | AV_CODEC_ID_OPUS) | (b"mov" | b"mp4", AV_CODEC_ID_TRUEHD) => false,
            // Its header has two bits for the kind of AAC: Main, LC, SSR, LTP, and what is built on LC.
            (b"mpegts", AV_CODEC_ID_AAC) if !AAC_IN_ADTS.contains(&profile) => false,
            // It has no table (ISO/IEC 13818-1, table 2-34, and ETSI TS 101 154).
            (
                b"mpegts",
                AV_CODEC_ID_AAC | AV_CODEC_ID_AC3 | AV_CODEC_ID_EAC3 | AV_CODEC_ID_MP2 | AV_CODEC_ID_MP3,
            ) => true,
            // SAFETY: as above.
            _ => unsafe {
                let normal = ffi::FF_COMPLIANCE_NORMAL as c_int;
                ffi::avformat_query_codec((*self.context).oformat, codec, normal) == 1
            },
        }
    }

    /// Adds a stream as `encoder` makes it, with this time base as a wish; returns its index.
    ///
    /// # Safety
    /// `encoder` is an open encoder's context.
    pub(crate) unsafe fn add_encoded(
        &mut self,
        encoder: *const ffi::AVCodecContext,
        base: (i32, i32),
    ) -> Result<usize, AvError> {
        let (stream, index) = self.add_stream(base)?;
        // SAFETY: the stream is valid, and the encoder is by contract.
        unsafe {
            check(ffi::avcodec_parameters_from_context((*stream).codecpar, encoder))?;
            (*stream).sample_aspect_ratio = (*encoder).sample_aspect_ratio;
            (*stream).avg_frame_rate = (*encoder).framerate;
        }
        Ok(index)
    }

    /// Adds a stream that is copied; returns its index.
    ///
    /// # Safety
    /// `parameters` are those of a stream of an open input.
    pub(crate) unsafe fn add_copied(
        &mut self,
        parameters: *const ffi::AVCodecParameters,
        base: (i32, i32),
    ) -> Result<usize, AvError> {
        let (stream, index) = self.add_stream(base)?;
        // SAFETY: the stream is valid, and the parameters are by contract.
        unsafe {
            check(ffi::avcodec_parameters_copy((*stream).codecpar, parameters))?;
            // The tag belongs to the other container; the muxer finds its own.
            (*(*stream).codecpar).codec_tag = 0;
            (*stream).sample_aspect_ratio = (*parameters).sample_aspect_ratio;
        }
        Ok(index)
    }

    fn add_stream(&mut self, base: (i32, i32)) -> Result<(*mut ffi::AVStream, usize), AvError> {
        // SAFETY: the context is ours; the new stream belongs to it.
        unsafe {
            let stream = ffi::avformat_new_stream(self.context, ptr::null());
            if stream.is_null() {
                return Err(AvError::NO_MEMORY);
            }
            (*stream).time_base = ffi::AVRational { num: base.0, den: base.1 };
            Ok((stream, (*stream).index as usize))
        }
    }

    /// States the average rate of stream `index`, where it is known.
    pub(crate) fn set_rate(&mut self, index: usize, rate: Option<(i32, i32)>) {
        // SAFETY: the pointer is read only for indices below the number of streams.
        unsafe {
            if let Some((num, den)) = rate
                && index < (*self.context).nb_streams as usize
            {
                (**(*self.context).streams.add(index)).avg_frame_rate = ffi::AVRational { num, den };
            }
        }
    }

    /// Writes the header; afterwards [`time_base`](Self::time_base) is what the container uses.
    pub(crate) fn start(&mut self, mut options: Dict) -> Result<(), AvError> {
        // SAFETY: the context is ours and has its streams.
        check(unsafe { ffi::avformat_write_header(self.context, options.as_mut_ptr()) })?;
        self.started = true;
        Ok(())
    }

    /// Seconds per tick of stream `index`.
    pub(crate) fn time_base(&self, index: usize) -> (i32, i32) {
        // SAFETY: the pointer is read only for indices below the number of streams.
        unsafe {
            if index >= (*self.context).nb_streams as usize {
                return (1, 1000);
            }
            let base = (**(*self.context).streams.add(index)).time_base;
            (base.num, base.den)
        }
    }

    /// Writes a packet (addressed to its stream, in that stream's ticks) in the order of decoding.
    pub(crate) fn write(&mut self, packet: &mut Packet) -> Result<(), AvError> {
        // SAFETY: the header is written by `start`; the packet's data are taken over, leaving it empty.
        check(unsafe { ffi::av_interleaved_write_frame(self.context, packet.as_mut_ptr()) })?;
        self.check_file()
    }

    /// Writes a packet as a fragment of MP4 by itself, at exactly its time (with `frag_custom`).
    pub(crate) fn write_alone(&mut self, packet: &mut Packet) -> Result<(), AvError> {
        // SAFETY: the header is written by `start`; the muxer's own options are in `priv_data`, whose first field is
        // their class, and the strings are NUL-terminated. A null packet ends the fragment.
        unsafe {
            // Without this the muxer moves it to where the durations before it end.
            let options = (*self.context).priv_data;
            check(ffi::av_opt_set(options, c"movflags".as_ptr(), c"+frag_discont".as_ptr(), 0))?;
            check(ffi::av_write_frame(self.context, packet.as_mut_ptr()))?;
            check(ffi::av_write_frame(self.context, ptr::null_mut()))?;
        }
        self.check_file()
    }

    /// Writes what is left and the trailer, and closes the file.
    pub(crate) fn finish(mut self) -> Result<(), AvError> {
        if self.started {
            // SAFETY: the header is written.
            check(unsafe { ffi::av_write_trailer(self.context) })?;
            self.check_file()?;
        }
        self.close()
    }

    /// An error that the file met while FFmpeg was buffering.
    fn check_file(&self) -> Result<(), AvError> {
        // SAFETY: the file is open while `self` is.
        check(unsafe { (*self.context).pb.as_ref() }.map_or(0, |file| file.error)).map(drop)
    }

    fn close(&mut self) -> Result<(), AvError> {
        if self.in_memory {
            self.close_memory();
            return Ok(());
        }
        // SAFETY: closes the file, which may be closed (null) already.
        check(unsafe { ffi::avio_closep(&raw mut (*self.context).pb) }).map(drop)
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        // The file is not wanted any more, or is closed: its error does not matter.
        let _ = self.close();
        // SAFETY: the context is ours.
        unsafe { ffi::avformat_free_context(self.context) };
    }
}

//! A container, capture device or network stream, opened for its video.

use std::ffi::{CStr, CString, c_int};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_next::ffi;

use super::dict::Dict;
use super::error::{AvError, check};
use super::packet::Packet;
use super::pixel::raw_enum;
use super::reader::Reader;
use super::watch::Watch;
use crate::source::limits::MAX_PIXELS;

/// Demuxers that make "video" out of any text file; no endoscope writes those.
const TEXT_ART: [&CStr; 5] = [c"tty", c"bin", c"xbin", c"adf", c"idf"];

/// How long finding out about the streams may take beyond the wait for their first data.
const PROBE: Duration = Duration::from_secs(2);

/// What is to be opened.
pub(crate) enum Target {
    /// A file (`file:…`) or an address.
    Url(CString),
    /// A capture device: FFmpeg's name for its kind, and the device.
    Device(&'static CStr, CString),
    /// A pipe.
    Pipe(std::fs::File),
}

/// Which streams are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Moving pictures.
    Video,
    /// Sound.
    Audio,
}

/// An opened container and the one stream of it that is read.
pub(crate) struct Input {
    context: *mut ffi::AVFormatContext,
    stream: usize,
    watch: Arc<Watch>,
    /// Freed after `context`, which reads from it.
    _reader: Option<Reader>,
}

// SAFETY: the context is used by one thread at a time (`&mut self`), its callbacks refer to the `Watch`
// (which is `Sync`) and to the reader (which moves along).
unsafe impl Send for Input {}

impl Input {
    /// Opens `target` and finds its best stream of the wanted kind.
    ///
    /// `Ok(None)`: opened, but without such a stream.
    pub(crate) fn open(
        target: Target,
        mut options: Dict,
        medium: Medium,
        watch: Arc<Watch>,
    ) -> Result<Option<Self>, AvError> {
        super::init();
        super::log::forget();
        watch.arm();
        // Otherwise a clock that starts again is taken for one that has run over, and what follows for a day later.
        options.set("correct_ts_overflow", "0");
        // SAFETY: no preconditions; the result is checked.
        let mut context = unsafe { ffi::avformat_alloc_context() };
        if context.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        // SAFETY: the context is valid and not yet open; `watch` is kept by `Self` until it is closed.
        unsafe { (*context).interrupt_callback = watch.callback() };
        let (url, format, reader) = match target {
            Target::Url(url) => (url, ptr::null(), None),
            Target::Device(kind, device) => {
                // SAFETY: the name is NUL-terminated.
                let format = unsafe { ffi::av_find_input_format(kind.as_ptr()) };
                if format.is_null() {
                    // SAFETY: the context is ours and was not opened.
                    unsafe { ffi::avformat_free_context(context) };
                    return Err(AvError::DEMUXER_NOT_FOUND);
                }
                // Devices are read without blocking, so that a cancellation reaches us between two frames.
                // SAFETY: the context is valid and not yet open.
                unsafe { (*context).flags |= ffi::AVFMT_FLAG_NONBLOCK as c_int };
                (device, format, None)
            }
            Target::Pipe(pipe) => match Reader::new(pipe, Arc::clone(&watch)) {
                Ok(mut reader) => {
                    // SAFETY: the context is valid, and the reader is kept until it is closed.
                    unsafe { (*context).pb = reader.as_mut_ptr() };
                    (CString::default(), ptr::null(), Some(reader))
                }
                Err(e) => {
                    // SAFETY: the context is ours and was not opened.
                    unsafe { ffi::avformat_free_context(context) };
                    return Err(e);
                }
            },
        };
        // SAFETY: all pointers are valid for the call; on failure FFmpeg frees the context.
        check(unsafe {
            ffi::avformat_open_input(&raw mut context, url.as_ptr(), format.cast_mut(), options.as_mut_ptr())
        })?;
        let mut input = Self { context, stream: 0, watch, _reader: reader };
        input.refuse_text_art()?;
        input.probe()?;
        Ok(input.choose(medium).then_some(input))
    }

    fn refuse_text_art(&self) -> Result<(), AvError> {
        // SAFETY: an opened context has an input format with a NUL-terminated name.
        let name = unsafe { CStr::from_ptr((*(*self.context).iformat).name) };
        if TEXT_ART.contains(&name) { Err(AvError::INVALID_DATA) } else { Ok(()) }
    }

    /// Reads enough to know the streams, decoding a little; with the bound on sizes in force for that too.
    fn probe(&mut self) -> Result<(), AvError> {
        // SAFETY: the context is open.
        let count = unsafe { (*self.context).nb_streams } as usize;
        let limit = MAX_PIXELS.to_string();
        let mut bounds: Vec<Dict> = (0..count).map(|_| Dict::of([("max_pixels", limit.as_str())])).collect();
        let mut options: Vec<*mut ffi::AVDictionary> = bounds.iter_mut().map(Dict::take).collect();
        self.watch.arm_for(PROBE);
        // SAFETY: there is one dictionary for each stream known so far, which is what FFmpeg reads.
        let found = unsafe { ffi::avformat_find_stream_info(self.context, options.as_mut_ptr()) };
        for (dict, pointer) in bounds.iter_mut().zip(options) {
            dict.put_back(pointer);
        }
        check(found).map(drop)
    }

    /// Selects the best stream and discards all others; false if there is none.
    fn choose(&mut self, medium: Medium) -> bool {
        let kind = match medium {
            Medium::Video => ffi::AVMediaType::AVMEDIA_TYPE_VIDEO,
            Medium::Audio => ffi::AVMediaType::AVMEDIA_TYPE_AUDIO,
        };
        // SAFETY: the context is open; a null decoder pointer means that it is not asked for.
        let best = unsafe { ffi::av_find_best_stream(self.context, kind, -1, -1, ptr::null_mut(), 0) };
        let Ok(best) = usize::try_from(best) else { return false };
        self.stream = best;
        // SAFETY: the stream pointers of an open context are valid for its `nb_streams`.
        unsafe {
            if (*self.stream_ptr()).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0 {
                return false;
            }
            for index in 0..(*self.context).nb_streams as usize {
                if index != best {
                    (**(*self.context).streams.add(index)).discard = ffi::AVDiscard::AVDISCARD_ALL;
                }
            }
        }
        true
    }

    /// The selected stream, valid while `self` is.
    pub(crate) fn stream_ptr(&self) -> *mut ffi::AVStream {
        // SAFETY: `stream` is below `nb_streams` of the open context.
        unsafe { *(*self.context).streams.add(self.stream) }
    }

    /// The selected stream's codec parameters, valid while `self` is.
    pub(crate) fn parameters(&self) -> *const ffi::AVCodecParameters {
        // SAFETY: a stream of an open context has parameters.
        unsafe { (*self.stream_ptr()).codecpar }
    }

    /// Seconds per tick of the selected stream.
    pub(crate) fn time_base(&self) -> (i32, i32) {
        // SAFETY: the stream is valid.
        let base = unsafe { (*self.stream_ptr()).time_base };
        if base.num > 0 && base.den > 0 { (base.num, base.den) } else { (1, 1000) }
    }

    /// Frames per second, where known.
    pub(crate) fn frame_rate(&self) -> Option<(i32, i32)> {
        // SAFETY: context and stream are valid; a null frame is allowed.
        let rate = unsafe { ffi::av_guess_frame_rate(self.context, self.stream_ptr(), ptr::null_mut()) };
        (rate.num > 0 && rate.den > 0).then_some((rate.num, rate.den))
    }

    /// Ticks after which the container's clock begins anew, such as 2^33 in MPEG-TS.
    pub(crate) fn clock_range(&self) -> Option<i64> {
        // SAFETY: the stream is valid.
        let bits = unsafe { (*self.stream_ptr()).pts_wrap_bits };
        (16..63).contains(&bits).then(|| 1 << bits)
    }

    /// Whether the container has no times, so that FFmpeg counts frames instead, 25 to a second.
    pub(crate) fn has_no_times(&self) -> bool {
        // SAFETY: an opened context has an input format.
        unsafe { (*(*self.context).iformat).flags & ffi::AVFMT_NOTIMESTAMPS != 0 }
    }

    /// Whether frames come out of the decoder in another order than their packets.
    pub(crate) fn is_reordered(&self) -> bool {
        // SAFETY: the parameters are valid.
        unsafe { (*self.parameters()).video_delay > 0 }
    }

    /// Whether there is sound beside the pictures.
    pub(crate) fn has_sound(&self) -> bool {
        let kind = ffi::AVMediaType::AVMEDIA_TYPE_AUDIO;
        // SAFETY: the context is open; a null decoder pointer means that it is not asked for.
        unsafe { ffi::av_find_best_stream(self.context, kind, -1, -1, ptr::null_mut(), 0) >= 0 }
    }

    /// Number of frames that the container states.
    pub(crate) fn frames(&self) -> Option<u64> {
        // SAFETY: the stream is valid.
        u64::try_from(unsafe { (*self.stream_ptr()).nb_frames }).ok().filter(|&n| n > 0)
    }

    /// Seconds that the stream (or else the container) states.
    pub(crate) fn seconds(&self) -> Option<f64> {
        // SAFETY: context and stream are valid.
        let (stream, container) = unsafe { ((*self.stream_ptr()).duration, (*self.context).duration) };
        let (num, den) = self.time_base();
        let stream = (stream > 0).then(|| stream as f64 * f64::from(num) / f64::from(den));
        stream.or((container > 0).then(|| container as f64 / f64::from(ffi::AV_TIME_BASE)))
    }

    /// Whether [`seconds`](Self::seconds) is more than a guess from the file's size.
    pub(crate) fn seconds_are_stated(&self) -> bool {
        // SAFETY: the context is open.
        let method = unsafe { (*self.context).duration_estimation_method };
        method != ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE
    }

    /// Whether it is one piece whose length is known, as a file is on a web server: not what a camera sends without
    /// end, and not the list of a stream's parts.
    pub(crate) fn is_one_piece(&self) -> bool {
        // SAFETY: the context is open and has an input format, whose name is a static string; `pb` is null where the
        // demuxer reads by itself.
        unsafe {
            let format = CStr::from_ptr((*(*self.context).iformat).name).to_bytes();
            let is_list = matches!(format, b"hls" | b"dash");
            !is_list && (*self.context).pb.as_mut().is_some_and(|file| ffi::avio_size(file) > 0)
        }
    }

    /// Bytes that an MP4 or MOV file's table of samples promises behind the end of the file: it was cut off.
    /// (Other containers' indices are hints for seeking, and may be stale in whole files.)
    pub(crate) fn missing_bytes(&self) -> Option<i64> {
        // SAFETY: context and stream are valid, and an index entry is read only if there is one.
        unsafe {
            if !CStr::from_ptr((*(*self.context).iformat).name).to_bytes().starts_with(b"mov,") {
                return None;
            }
            let stream = self.stream_ptr();
            let last = ffi::avformat_index_get_entries_count(stream) - 1;
            let entry = ffi::avformat_index_get_entry(stream, last).as_ref()?;
            let file = (*self.context).pb.as_mut()?;
            let length = ffi::avio_size(file);
            let promised = entry.pos.checked_add(i64::from(entry.size()))?;
            (length > 0 && promised > length).then(|| promised - length)
        }
    }

    /// Where the container's clock starts, in microseconds, if that start is arbitrary (as in MPEG-TS, whose
    /// clock may have run for hours) and carries no meaning.
    pub(crate) fn arbitrary_origin_us(&self) -> Option<i64> {
        // SAFETY: the context is open and has an input format.
        let (flags, start) = unsafe { ((*(*self.context).iformat).flags, (*self.context).start_time) };
        (flags & ffi::AVFMT_TS_DISCONT != 0 && start != ffi::AV_NOPTS_VALUE).then_some(start)
    }

    /// FFmpeg's name of the codec.
    pub(crate) fn codec_name(&self) -> String {
        // SAFETY: the parameters are valid, and the name is a static string.
        unsafe { CStr::from_ptr(ffi::avcodec_get_name((*self.parameters()).codec_id)) }
            .to_string_lossy()
            .into_owned()
    }

    /// Width and height as coded, before any rotation.
    pub(crate) fn size(&self) -> (i32, i32) {
        // SAFETY: the parameters are valid.
        unsafe { ((*self.parameters()).width, (*self.parameters()).height) }
    }

    /// Colour tags as the container and codec state them.
    pub(crate) fn color_tags(&self) -> ColorTags {
        let parameters = self.parameters();
        // SAFETY: the parameters are valid; the fields are C enums, read as the integers they are.
        unsafe {
            ColorTags {
                space: raw_enum(&raw const (*parameters).color_space),
                primaries: raw_enum(&raw const (*parameters).color_primaries),
                transfer: raw_enum(&raw const (*parameters).color_trc),
                range: raw_enum(&raw const (*parameters).color_range),
            }
        }
    }

    /// Width of a pixel over its height, where the container states that pixels are not square.
    pub(crate) fn pixel_aspect(&self) -> Option<(i32, i32)> {
        // SAFETY: the context and its stream are valid; a null frame is allowed.
        let sar =
            unsafe { ffi::av_guess_sample_aspect_ratio(self.context, self.stream_ptr(), ptr::null_mut()) };
        (sar.num > 0 && sar.den > 0 && sar.num != sar.den).then_some((sar.num, sar.den))
    }

    /// The display matrix, where the container has one: a 3×3 matrix in 16.16 fixed point, row by row.
    pub(crate) fn display_matrix(&self) -> Option<[i32; 9]> {
        use ffmpeg_next::codec::packet::side_data::Type;
        // SAFETY: the wrapped context does not own ours (`ManuallyDrop` keeps it from closing it) and does
        // not outlive this call.
        let borrowed =
            std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::format::context::Input::wrap(self.context) });
        let stream = borrowed.stream(self.stream)?;
        let data = stream.side_data().find(|data| data.kind() == Type::DisplayMatrix)?;
        let mut matrix = [0; 9];
        let (words, _) = data.data().as_chunks::<4>();
        if words.len() < matrix.len() {
            return None;
        }
        for (cell, bytes) in matrix.iter_mut().zip(words) {
            *cell = i32::from_ne_bytes(*bytes);
        }
        Some(matrix)
    }

    /// Reads the selected stream's next packet into `packet`; false at the end.
    pub(crate) fn read(&mut self, packet: &mut Packet) -> Result<bool, AvError> {
        super::log::forget();
        self.watch.arm();
        loop {
            packet.clear();
            if self.watch.is_cancelled() {
                return Err(AvError::EXIT);
            }
            // SAFETY: the context is open and the packet is empty, so that nothing of it leaks.
            match check(unsafe { ffi::av_read_frame(self.context, packet.as_mut_ptr()) }) {
                Ok(_) if packet.stream() == self.stream => return Ok(true),
                Ok(_) => {}
                Err(AvError::EOF) => return Ok(false),
                // A device in non-blocking mode has nothing yet.
                Err(AvError::AGAIN) if !self.watch.is_late() => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Whether a read was given up because nothing came in time.
    pub(crate) fn watch(&self) -> &Watch {
        &self.watch
    }
}

/// Colour description in the code points of ITU-T H.273, as integers because files may hold any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ColorTags {
    /// Matrix coefficients.
    pub(crate) space: c_int,
    /// Primaries.
    pub(crate) primaries: c_int,
    /// Transfer characteristic.
    pub(crate) transfer: c_int,
    /// FFmpeg's `AVColorRange`.
    pub(crate) range: c_int,
}

impl Drop for Input {
    fn drop(&mut self) {
        // SAFETY: the context is ours and open; its reader is dropped afterwards.
        unsafe { ffi::avformat_close_input(&raw mut self.context) };
    }
}

//! The one home of `ffmpeg_next`: everything that `source/` and `sink/` need of FFmpeg.
//!
//! The wrappers stand on `ffmpeg_next::ffi` and own what they point to. The safe layer of `ffmpeg_next` is
//! used where it hides differences between FFmpeg versions; elsewhere it is avoided for proven reasons: its
//! plane accessors trust strides that may be negative or stale, reading into a used packet leaks, paths that
//! are not UTF-8 panic, and enumerations that a file can fill with any number are read as Rust enums.
//!
//! ```text
//! Input ──packet──► Decoder ──frame──► Chain (deinterlace, rotate) ──► Converter ──► Picture
//! Picture ──► Encoder ──packet──► Muxer ◄──packet── Audio (copied or transcoded)
//! ```

pub(crate) mod audio;
pub(crate) mod chain;
pub mod convert;
pub(crate) mod copied;
pub(crate) mod decoder;
pub(crate) mod dict;
pub(crate) mod encoder;
pub(crate) mod error;
pub(crate) mod fragments;
pub(crate) mod frame;
pub(crate) mod graph;
pub(crate) mod hardware;
pub(crate) mod input;
pub mod log;
pub(crate) mod muxer;
pub(crate) mod packet;
pub(crate) mod parameters;
pub(crate) mod pixel;
pub(crate) mod reader;
pub(crate) mod watch;

use std::ffi::{CStr, CString};
use std::sync::Once;

use ffmpeg_next::ffi;

/// Prepares FFmpeg once per process: quiet logging, network, capture devices.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::install();
        // SAFETY: both only fill FFmpeg's own tables; `Once` keeps them from running twice at a time.
        unsafe {
            ffi::avformat_network_init();
            ffi::avdevice_register_all();
        }
    });
}

/// Version of the FFmpeg that endort runs with, as that build states it.
pub fn version() -> String {
    // SAFETY: the function returns a static NUL-terminated string.
    unsafe { CStr::from_ptr(ffi::av_version_info()) }.to_string_lossy().into_owned()
}

/// `ticks` of `from` in ticks of `to`, rounded to the nearest; bases are seconds per tick.
pub(crate) fn rescale(ticks: i64, from: (i32, i32), to: (i32, i32)) -> i64 {
    let base = |(num, den)| ffi::AVRational { num, den };
    // SAFETY: arithmetic on plain numbers.
    unsafe { ffi::av_rescale_q(ticks, base(from), base(to)) }
}

/// A file's path as FFmpeg takes it, safe from being read as an address.
pub(crate) fn file_url(path: &std::path::Path) -> crate::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    let mut url = b"file:".to_vec();
    url.extend_from_slice(path.as_os_str().as_bytes());
    CString::new(url).map_err(|_| crate::Error::Media {
        source_name: path.display().to_string(),
        detail: "its name holds a NUL byte".to_owned(),
    })
}

//! FFmpeg's error codes as a type.

use std::ffi::{CStr, c_int};
use std::fmt;
use std::io;

use ffmpeg_next::ffi;

/// A negative return value of FFmpeg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AvError(c_int);

impl AvError {
    /// The end of the stream.
    pub(crate) const EOF: Self = Self(ffi::AVERROR_EOF);
    /// More input is needed before there is output.
    pub(crate) const AGAIN: Self = Self(-libc::EAGAIN);
    /// An interrupt callback asked to stop.
    pub(crate) const EXIT: Self = Self(ffi::AVERROR_EXIT);
    /// Memory could not be had.
    pub(crate) const NO_MEMORY: Self = Self(-libc::ENOMEM);
    /// The data make no sense.
    pub(crate) const INVALID_DATA: Self = Self(ffi::AVERROR_INVALIDDATA);
    /// There is no such component in this build of FFmpeg.
    pub(crate) const DEMUXER_NOT_FOUND: Self = Self(ffi::AVERROR_DEMUXER_NOT_FOUND);
    /// There is no such encoder in this build of FFmpeg.
    pub(crate) const ENCODER_NOT_FOUND: Self = Self(ffi::AVERROR_ENCODER_NOT_FOUND);
    /// There is no such filter in this build of FFmpeg.
    pub(crate) const FILTER_NOT_FOUND: Self = Self(ffi::AVERROR_FILTER_NOT_FOUND);
    /// There is no decoder for this codec in this build of FFmpeg.
    pub(crate) const DECODER_NOT_FOUND: Self = Self(ffi::AVERROR_DECODER_NOT_FOUND);

    /// The code as FFmpeg's functions return it.
    pub(crate) fn code(self) -> c_int {
        self.0
    }

    /// The operating system's error number, if this is one.
    fn errno(self) -> Option<i32> {
        // FFmpeg's own codes are four letters in a negative integer, far below any errno.
        let number = -self.0;
        (1..4096).contains(&number).then_some(number)
    }

    /// Whether FFmpeg refused by itself, because of what it was given.
    pub(crate) fn is_refusal(self) -> bool {
        // EINVAL is what its containers say of times that do not rise.
        self.errno().is_none_or(|number| number == libc::EINVAL)
    }

    /// The operating system's error; FFmpeg's own ones become [`io::ErrorKind::Other`].
    pub(crate) fn to_io(self) -> io::Error {
        self.errno().map_or_else(|| io::Error::other(self.to_string()), io::Error::from_raw_os_error)
    }
}

impl fmt::Display for AvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 128];
        // SAFETY: the buffer is as long as stated, and FFmpeg terminates what it writes.
        let text = unsafe {
            ffi::av_strerror(self.0, text.as_mut_ptr(), text.len());
            CStr::from_ptr(text.as_ptr())
        };
        f.write_str(&text.to_string_lossy())
    }
}

/// The value of a call that returns a negative number for an error.
pub(crate) fn check(code: c_int) -> Result<c_int, AvError> {
    if code < 0 { Err(AvError(code)) } else { Ok(code) }
}

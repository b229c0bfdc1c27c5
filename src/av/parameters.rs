//! What must be known to decode a stream's packets, kept apart from the container that they come from.

use std::ffi::{CStr, c_int};

use ffmpeg_next::ffi::{self, AVCodecID};

use super::error::{AvError, check};
use super::input::Input;

/// Codec parameters of their own.
#[derive(Debug)]
pub(crate) struct Parameters(*mut ffi::AVCodecParameters);

// SAFETY: the parameters are owned, and never written to after `of`.
unsafe impl Send for Parameters {}
// SAFETY: as above.
unsafe impl Sync for Parameters {}

impl Parameters {
    /// A copy of those of the selected stream of `input`.
    pub(crate) fn of(input: &Input) -> Result<Self, AvError> {
        // SAFETY: no preconditions; the result is checked.
        let parameters = unsafe { ffi::avcodec_parameters_alloc() };
        if parameters.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let parameters = Self(parameters);
        // SAFETY: both are valid, and the copy is ours.
        check(unsafe { ffi::avcodec_parameters_copy(parameters.0, input.parameters()) })?;
        Ok(parameters)
    }

    /// For a muxer that copies them.
    pub(crate) fn as_ptr(&self) -> *const ffi::AVCodecParameters {
        self.0
    }

    /// The codec.
    pub(crate) fn codec(&self) -> AVCodecID {
        // SAFETY: the parameters are valid.
        unsafe { (*self.0).codec_id }
    }

    /// Frames by which decoding runs ahead of presentation.
    pub(crate) fn delay(&self) -> i64 {
        // SAFETY: the parameters are valid.
        i64::from(unsafe { (*self.0).video_delay }.max(0))
    }

    /// What the codec keeps apart from its packets; empty where there is nothing.
    pub(crate) fn extradata(&self) -> &[u8] {
        // SAFETY: FFmpeg keeps as many bytes as it states, for as long as the parameters live.
        unsafe {
            let length = usize::try_from((*self.0).extradata_size).unwrap_or(0);
            if (*self.0).extradata.is_null() || length == 0 {
                return &[];
            }
            std::slice::from_raw_parts((*self.0).extradata, length)
        }
    }

    /// Whether packets of this codec can be kept as they are by the container of this name, which raw pictures
    /// should not be although they could.
    pub(crate) fn fit_into(&self, format: &CStr) -> bool {
        if matches!(self.codec(), AVCodecID::AV_CODEC_ID_RAWVIDEO | AVCodecID::AV_CODEC_ID_WRAPPED_AVFRAME) {
            return false;
        }
        // SAFETY: the name is NUL-terminated; what is found is a static description.
        unsafe {
            let format = ffi::av_guess_format(format.as_ptr(), std::ptr::null(), std::ptr::null());
            !format.is_null()
                && ffi::avformat_query_codec(format, self.codec(), ffi::FF_COMPLIANCE_NORMAL as c_int) == 1
        }
    }
}

impl Drop for Parameters {
    fn drop(&mut self) {
        // SAFETY: the parameters are ours.
        unsafe { ffi::avcodec_parameters_free(&raw mut self.0) };
    }
}

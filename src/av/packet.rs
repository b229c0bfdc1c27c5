//! A packet: coded data between container and codec.

use ffmpeg_next::ffi;

use super::error::AvError;

/// One packet, reused from call to call.
#[derive(Debug)]
pub(crate) struct Packet(*mut ffi::AVPacket);

// SAFETY: the packet owns its reference-counted data, whose counting is atomic.
unsafe impl Send for Packet {}

impl Packet {
    /// An empty packet.
    pub(crate) fn new() -> Result<Self, AvError> {
        // SAFETY: no preconditions.
        let packet = unsafe { ffi::av_packet_alloc() };
        if packet.is_null() { Err(AvError::NO_MEMORY) } else { Ok(Self(packet)) }
    }

    /// For calls that only read it.
    pub(crate) fn as_ptr(&self) -> *const ffi::AVPacket {
        self.0
    }

    /// For calls that fill or take it.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.0
    }

    /// Releases the data, so that the packet can be filled again without a leak.
    pub(crate) fn clear(&mut self) {
        // SAFETY: the packet is ours and valid.
        unsafe { ffi::av_packet_unref(self.0) };
    }

    /// Index of its stream.
    pub(crate) fn stream(&self) -> usize {
        // SAFETY: the packet is ours and valid.
        usize::try_from(unsafe { (*self.0).stream_index }).unwrap_or(usize::MAX)
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        // SAFETY: the packet is ours; the function unreferences its data too.
        unsafe { ffi::av_packet_free(&raw mut self.0) };
    }
}

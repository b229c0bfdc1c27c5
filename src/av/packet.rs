//! A packet: coded data between container and codec.

use ffmpeg_next::ffi;

use super::error::{AvError, check};

/// One packet, reused from call to call.
#[derive(Debug)]
pub(crate) struct Packet(*mut ffi::AVPacket);

// SAFETY: the packet owns its reference-counted data, whose counting is atomic.
unsafe impl Send for Packet {}
// SAFETY: as above; all methods on `&self` only read.
unsafe impl Sync for Packet {}

impl Packet {
    /// An empty packet.
    pub(crate) fn new() -> Result<Self, AvError> {
        // SAFETY: no preconditions.
        let packet = unsafe { ffi::av_packet_alloc() };
        if packet.is_null() { Err(AvError::NO_MEMORY) } else { Ok(Self(packet)) }
    }

    /// Another reference to the same data, with times of its own.
    pub(crate) fn share(&self) -> Result<Self, AvError> {
        let shared = Self::new()?;
        // SAFETY: both packets are valid, and the new one is empty.
        check(unsafe { ffi::av_packet_ref(shared.0, self.0) })?;
        Ok(shared)
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

    /// Decoding time in its stream's ticks.
    pub(crate) fn dts(&self) -> Option<i64> {
        // SAFETY: the packet is ours and valid.
        Some(unsafe { (*self.0).dts }).filter(|&dts| dts != ffi::AV_NOPTS_VALUE)
    }

    /// Presentation time in its stream's ticks.
    pub(crate) fn pts(&self) -> Option<i64> {
        // SAFETY: the packet is ours and valid.
        Some(unsafe { (*self.0).pts }).filter(|&pts| pts != ffi::AV_NOPTS_VALUE)
    }

    /// How long what it holds is shown, in its stream's ticks, where that is known.
    pub(crate) fn duration(&self) -> Option<i64> {
        // SAFETY: the packet is ours and valid.
        Some(unsafe { (*self.0).duration }).filter(|&duration| duration > 0)
    }

    /// Whether decoding can begin with it.
    pub(crate) fn is_key(&self) -> bool {
        // SAFETY: the packet is ours and valid.
        unsafe { (*self.0).flags & ffi::AV_PKT_FLAG_KEY != 0 }
    }

    /// Bytes of data.
    pub(crate) fn len(&self) -> usize {
        // SAFETY: the packet is ours and valid.
        usize::try_from(unsafe { (*self.0).size }).unwrap_or(0)
    }

    /// Sets its times of presentation and decoding.
    pub(crate) fn set_times(&mut self, pts: i64, dts: i64) {
        // SAFETY: the packet is ours and valid.
        unsafe { ((*self.0).pts, (*self.0).dts) = (pts, dts) };
    }

    /// Sets how long what it holds is shown.
    pub(crate) fn set_duration(&mut self, ticks: i64) {
        // SAFETY: the packet is ours and valid.
        unsafe { (*self.0).duration = ticks };
    }

    /// Makes its times earlier by `ticks`.
    pub(crate) fn shift(&mut self, ticks: i64) {
        let (pts, dts) = (self.pts(), self.dts());
        // SAFETY: the packet is ours and valid.
        unsafe {
            (*self.0).pts = pts.map_or(ffi::AV_NOPTS_VALUE, |pts| pts.saturating_sub(ticks));
            (*self.0).dts = dts.map_or(ffi::AV_NOPTS_VALUE, |dts| dts.saturating_sub(ticks));
        }
    }

    /// Addresses it to stream `index`, whose ticks are `to` instead of `from`.
    pub(crate) fn address(&mut self, index: usize, from: (i32, i32), to: (i32, i32)) {
        let base = |(num, den)| ffi::AVRational { num, den };
        // SAFETY: the packet is ours and valid.
        unsafe {
            ffi::av_packet_rescale_ts(self.0, base(from), base(to));
            (*self.0).stream_index = i32::try_from(index).unwrap_or(i32::MAX);
            (*self.0).pos = -1;
        }
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

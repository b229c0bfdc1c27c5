//! A container with one stream of packets that were coded elsewhere.

use super::dict::Dict;
use super::error::AvError;
use super::muxer::Muxer;
use super::packet::Packet;
use super::parameters::Parameters;

/// How the times of packets become those of a container.
pub(crate) struct Timing {
    /// Seconds per tick of the packets' times.
    pub(crate) base: (i32, i32),
    /// Ticks that a packet is shown which does not say.
    pub(crate) interval: i64,
    /// Ticks at which the container's time starts.
    pub(crate) zero: i64,
}

/// The container, its header written.
pub(crate) struct Copied {
    pub(crate) muxer: Muxer,
    stream: usize,
    pub(crate) timing: Timing,
}

impl Copied {
    /// Writes the header for packets that `parameters` describe; `rate` is stated where it is known.
    pub(crate) fn start(
        mut muxer: Muxer,
        parameters: &Parameters,
        rate: Option<(i32, i32)>,
        timing: Timing,
        options: Dict,
    ) -> Result<Self, AvError> {
        // SAFETY: the parameters are a valid copy of an open input's.
        let stream = unsafe { muxer.add_copied(parameters.as_ptr(), timing.base) }?;
        muxer.set_rate(stream, rate);
        muxer.start(options)?;
        Ok(Self { muxer, stream, timing })
    }

    /// Makes a packet with these times ready to be written.
    pub(crate) fn address(&self, packet: &mut Packet, pts: i64, dts: i64) {
        let Timing { base, interval, zero } = self.timing;
        packet.set_times(pts - zero, dts - zero);
        packet.set_duration(packet.duration().unwrap_or(interval));
        packet.address(self.stream, base, self.muxer.time_base(self.stream));
    }
}

//! H.264 as fragmented MP4, a fragment per picture: what browsers take piece by piece, without coding again.

use ffmpeg_next::ffi::AVCodecID;

use super::copied::{Copied, Timing};
use super::dict::Dict;
use super::error::AvError;
use super::muxer::Muxer;
use super::packet::Packet;
use super::parameters::Parameters;

/// Fragments are complete in themselves and written when they are asked for; nothing is kept of those that are out.
const FLAGS: &str = "empty_moov+default_base_moof+frag_custom+skip_trailer";

/// Writes the packets of one H.264 stream.
pub(crate) struct Fragments(Copied);

impl Fragments {
    /// A writer whose time starts at the first packet's decoding time; and what comes before all fragments.
    pub(crate) fn start(parameters: &Parameters, timing: Timing) -> Result<(Self, Vec<u8>), AvError> {
        let options = Dict::of([("movflags", FLAGS), ("use_editlist", "0")]);
        let mut copied = Copied::start(Muxer::in_memory(c"mp4")?, parameters, None, timing, options)?;
        let head = copied.muxer.take()?;
        Ok((Self(copied), head))
    }

    /// One packet as a fragment.
    pub(crate) fn write(&mut self, mut packet: Packet, pts: i64, dts: i64) -> Result<Vec<u8>, AvError> {
        self.0.address(&mut packet, pts, dts);
        self.0.muxer.write_alone(&mut packet)?;
        self.0.muxer.take()
    }
}

/// The media type of fragmented MP4 with this stream in it, as browsers want it named; `None` if it is not H.264 or
/// does not say how it is coded.
pub(crate) fn media_type(parameters: &Parameters) -> Option<String> {
    if parameters.codec() != AVCodecID::AV_CODEC_ID_H264 {
        return None;
    }
    let [profile, constraints, level] = profile(parameters.extradata())?;
    Some(format!("video/mp4; codecs=\"avc1.{profile:02x}{constraints:02x}{level:02x}\""))
}

/// Profile, constraints and level: in the head of MP4's own form, or behind the first byte of the sequence's parameter
/// set (type 7) in a stream of units.
fn profile(extradata: &[u8]) -> Option<[u8; 3]> {
    let found = match extradata {
        [1, rest @ ..] => rest.get(..3)?,
        units => {
            let set = |window: &[u8]| window[..3] == [0, 0, 1] && window[3] & 31 == 7;
            let at = units.windows(4).position(set)?;
            units.get(at + 4..at + 7)?
        }
    };
    found.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_found_in_both_forms() {
        assert_eq!(profile(&[1, 0x64, 0, 0x1f, 0xff]), Some([0x64, 0, 0x1f]));
        assert_eq!(
            profile(&[0, 0, 0, 1, 9, 16, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9]),
            Some([0x42, 0xc0, 0x1e])
        );
        for bad in [&[][..], &[1, 0x64], &[0, 0, 0, 1], &[0, 0, 1, 0x67, 0x42], &[0, 0, 1, 0x68, 1, 2, 3, 4]]
        {
            assert_eq!(profile(bad), None);
        }
    }
}

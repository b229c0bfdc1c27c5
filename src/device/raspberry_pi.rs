//! Raspberry Pi: what the firmware says of power and heat.

use super::info::{Problem, RaspberryPi, Throttled};
use super::probe::Probe;

/// Bits of `get_throttled`, as Raspberry Pi's documentation of vcgencmd has them; each holds now, and sixteen
/// bits higher since the start.
const BITS: [(u32, &str); 4] =
    [(0, "under-voltage"), (1, "clock capped"), (2, "throttled"), (3, "soft temperature limit")];

/// What only a Raspberry Pi has.
pub(super) fn read(probe: &Probe, problems: &mut Vec<Problem>) -> RaspberryPi {
    let throttled = throttled(probe);
    if let Some(state) = &throttled {
        let mut say = |why: String, remedy: &str| problems.push(Problem::new("Raspberry Pi", why, remedy));
        let when = |what: &str| match () {
            () if state.now.iter().any(|s| s == what) => Some("now"),
            () if state.since_boot.iter().any(|s| s == what) => Some("since it was started"),
            () => None,
        };
        if let Some(when) = when("under-voltage") {
            say(
                format!("the firmware reports under-voltage {when}, and slows the processor for it"),
                "use the official power supply and a short cable",
            );
        }
        if let Some(when) = when("soft temperature limit").or(when("throttled")).or(when("clock capped"))
            && !(state.now.iter().chain(&state.since_boot).any(|s| s == "under-voltage"))
        {
            say(
                format!("the firmware has slowed the processor for its heat {when}"),
                "fit a fan or a larger heat sink",
            );
        }
    }
    RaspberryPi { throttled }
}

fn throttled(probe: &Probe) -> Option<Throttled> {
    // The folder's name differs between boards; the driver's links lead to it.
    let driver = "sys/bus/platform/drivers/raspberrypi-firmware";
    let devices = probe.root.names(driver).into_iter().map(|name| format!("{driver}/{name}"));
    let fixed = "sys/devices/platform/soc/soc:firmware".to_owned();
    let bits =
        devices.chain([fixed]).find_map(|folder| probe.root.hex(&format!("{folder}/get_throttled")))?;
    Some(decode(bits))
}

fn decode(bits: u32) -> Throttled {
    let names = |shift: u32| {
        let set = BITS.iter().filter(move |(bit, _)| bits >> (bit + shift) & 1 == 1);
        set.map(|(_, name)| (*name).to_owned()).collect()
    };
    Throttled { bits: format!("{bits:#x}"), now: names(0), since_boot: names(16) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bits_now_and_since_the_start() {
        let state = super::decode(0x50005);
        assert_eq!(state.now, ["under-voltage", "throttled"]);
        assert_eq!(state.since_boot, ["under-voltage", "throttled"]);
        let state = super::decode(0x80000);
        assert_eq!((state.now.len(), state.since_boot), (0, vec!["soft temperature limit".to_owned()]));
        assert_eq!(super::decode(0).bits, "0x0");
    }
}

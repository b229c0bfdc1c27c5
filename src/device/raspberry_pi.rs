//! Raspberry Pi: what the firmware says of power and heat.

use super::command;
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
    // The folder's name differs between boards; the driver's links lead to it. Not every kernel has the file.
    let driver = "sys/bus/platform/drivers/raspberrypi-firmware";
    let devices = probe.root.names(driver).into_iter().map(|name| format!("{driver}/{name}"));
    let fixed = "sys/devices/platform/soc/soc:firmware".to_owned();
    let file = devices.chain([fixed]).find_map(|folder| probe.root.hex(&format!("{folder}/get_throttled")));
    let ask = || parse_answer(&command::ask("vcgencmd", &["get_throttled"])?);
    file.or_else(|| probe.live.then(ask).flatten()).map(decode)
}

/// The number in `throttled=0x50005`.
fn parse_answer(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().strip_prefix("throttled=0x")?, 16).ok()
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
        assert_eq!(super::parse_answer("throttled=0x50000\n"), Some(0x50000));
        assert_eq!(super::parse_answer("VCHI initialization failed"), None);
    }
}

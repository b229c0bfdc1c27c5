//! NVIDIA graphics cards: on the bus, in `/proc/driver/nvidia`, and by the driver's own `nvidia-smi`.

use std::collections::BTreeMap;

use super::bus::PciDevice;
use super::command;
use super::info::{Accelerator, AcceleratorKind, Problem};
use super::probe::{Hurdle, Probe};
use super::root::clean;

/// NVIDIA's vendor number on PCI.
const VENDOR: u32 = 0x10de;
/// Cards that `/proc/driver/nvidia` may list.
const MAX_CARDS: usize = 64;

/// A card as the driver lists it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Card {
    model: Option<String>,
    minor: Option<u32>,
}

/// What `nvidia-smi` adds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Details {
    memory_mb: Option<u64>,
    compute_capability: Option<String>,
}

/// The NVIDIA cards of a machine.
pub(super) fn find(probe: &Probe, pci: &[PciDevice], problems: &mut Vec<Problem>) -> Vec<Accelerator> {
    let cards = driver_cards(probe);
    let devices = pci.iter().filter(|device| device.vendor == VENDOR && device.is_graphics());
    let mut details = None;
    devices
        .map(|device| {
            let card = cards.get(&device.address).cloned().unwrap_or_default();
            let name = card.model.or_else(|| device.name(probe.root)).map_or_else(
                || format!("NVIDIA GPU {:04x}:{:04x}", device.vendor, device.device),
                |name| if name.starts_with("NVIDIA") { name } else { format!("NVIDIA {name}") },
            );
            let node = format!("/dev/nvidia{}", card.minor.unwrap_or(0));
            let hurdle = hurdle(probe, device, &node);
            if let Some(hurdle) = &hurdle {
                problems.push(Problem::new(name.clone(), &hurdle.why, &hurdle.remedy));
            }
            let ready = hurdle.is_none();
            let all =
                details.get_or_insert_with(|| if probe.live && ready { ask() } else { BTreeMap::new() });
            let more = all.get(&device.address).cloned().unwrap_or_default();
            Accelerator {
                kind: AcceleratorKind::NvidiaGpu,
                name,
                location: device.location(),
                driver: device.driver.clone(),
                driver_version: driver_version(&probe.root.text("proc/driver/nvidia/version")),
                memory_mb: more.memory_mb,
                compute_capability: more.compute_capability,
                nodes: if probe.root.exists(&node) { vec![node] } else { vec![] },
                ready,
                runtime: None,
            }
        })
        .collect()
}

/// Cards by their address.
fn driver_cards(probe: &Probe) -> BTreeMap<String, Card> {
    let base = "proc/driver/nvidia/gpus";
    let names = probe.root.names(base).into_iter().take(MAX_CARDS);
    names
        .filter_map(|name| {
            let text = probe.root.text(&format!("{base}/{name}/information"));
            let field = |key: &str| {
                let line =
                    text.lines().find_map(|line| line.strip_prefix(key)?.trim_start().strip_prefix(':'))?;
                clean(line.trim())
            };
            let card =
                Card { model: field("Model"), minor: field("Device Minor").and_then(|n| n.parse().ok()) };
            Some((field("Bus Location").or_else(|| clean(&name))?, card))
        })
        .collect()
}

/// The number in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 …`.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    let version = |word: &&str| {
        word.contains('.') && word.split('.').all(|n| !n.is_empty() && n.chars().all(|c| c.is_ascii_digit()))
    };
    line.split_whitespace().find(version).map(str::to_owned)
}

fn hurdle(probe: &Probe, device: &PciDevice, node: &str) -> Option<Hurdle> {
    let install = || {
        if probe.in_container() {
            "install NVIDIA's driver on the host".to_owned()
        } else if probe.board.os.is_like("ubuntu") {
            "sudo ubuntu-drivers install, then restart".to_owned()
        } else if probe.board.os.is_like("debian") {
            "sudo apt install nvidia-driver (section non-free), then restart".to_owned()
        } else if probe.board.os.is_like("fedora") {
            "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda (RPM Fusion), then restart".to_owned()
        } else {
            "install NVIDIA's driver, then restart".to_owned()
        }
    };
    match device.driver.as_deref() {
        None => return Some(Hurdle::new("no driver is loaded for it", install())),
        Some("nouveau") => {
            return Some(Hurdle::new("the driver nouveau has it, which cannot compute", install()));
        }
        Some("vfio-pci") => {
            let why = "it is set aside for a virtual machine (driver vfio-pci)";
            return Some(Hurdle::new(why, "give it back to the host, or run endort in that machine"));
        }
        Some(_) => {}
    }
    if probe.in_container() && !probe.root.exists(node) {
        return Some(Hurdle::new(
            format!("{node} is not in this container"),
            "start the container with --gpus all (NVIDIA Container Toolkit)",
        ));
    }
    let load = "sudo nvidia-modprobe -c 0 -u";
    if let Some(hurdle) = probe.node_hurdle(node, load, &format!("sudo chmod 666 {node}")) {
        return Some(hurdle);
    }
    match probe.libraries.find(&["libcuda"]) {
        None => {
            let remedy = match (probe.in_container(), probe.board.os.is_like("debian")) {
                (true, _) => {
                    "start the container with --gpus all and NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
                }
                (false, true) => {
                    "sudo apt install libcuda1 (Debian) or libnvidia-compute of the driver's version (Ubuntu)"
                }
                (false, false) => "install the compute libraries of the driver's version",
            };
            Some(Hurdle::new("the driver's library libcuda.so.1 is missing", remedy))
        }
        Some(found) => found.unusable.map(|why| {
            Hurdle::new(
                format!("{} cannot be loaded: {why}", found.path),
                "install the driver's libraries again",
            )
        }),
    }
}

/// Memory and compute capability by address.
fn ask() -> BTreeMap<String, Details> {
    let args = ["--query-gpu=pci.bus_id,memory.total,compute_cap", "--format=csv,noheader,nounits"];
    command::ask("nvidia-smi", &args).map_or_else(BTreeMap::new, |text| parse_answer(&text))
}

fn parse_answer(text: &str) -> BTreeMap<String, Details> {
    let lines = text.lines().take(MAX_CARDS);
    lines
        .filter_map(|line| {
            let mut fields = line.split(',').map(str::trim);
            // nvidia-smi writes the domain with eight digits, the kernel with four.
            let (domain, rest) = fields.next()?.split_once(':')?;
            let domain = u32::from_str_radix(domain, 16).ok()?;
            let memory_mb = fields.next().and_then(|field| field.parse().ok());
            let compute = fields.next().filter(|field| field.starts_with(|c: char| c.is_ascii_digit()));
            let compute_capability = compute.and_then(clean);
            Some((format!("{domain:04x}:{}", rest.to_lowercase()), Details { memory_mb, compute_capability }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_versions_of_both_modules() {
        let closed =
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\n";
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (a@b)\n";
        assert_eq!(driver_version(closed).as_deref(), Some("535.129.03"));
        assert_eq!(driver_version(open).as_deref(), Some("570.86.15"));
        assert_eq!(driver_version("NVRM version: none\nGCC version: 12.3.0"), None);
    }

    #[test]
    fn what_nvidia_smi_says() {
        let details = parse_answer("00000000:01:00.0, 24564, 8.9\n00000000:C1:00.0, [N/A], [N/A]\nbroken\n");
        let first = Details { memory_mb: Some(24564), compute_capability: Some("8.9".to_owned()) };
        assert_eq!(details["0000:01:00.0"], first);
        assert_eq!((details["0000:c1:00.0"].clone(), details.len()), (Details::default(), 2));
    }
}

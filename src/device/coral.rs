//! Google Coral: the Edge TPU on USB and on PCI Express.

use super::bus::{PciDevice, UsbDevice};
use super::info::{Accelerator, AcceleratorKind, Problem};
use super::probe::{Hurdle, Probe};

/// On USB before its firmware is loaded, and after a program has used it once (libedgetpu's driver/usb).
const USB_IDS: [(u32, u32); 2] = [(0x1a6e, 0x089a), (0x18d1, 0x9302)];
/// On PCI Express (Linux' drivers/staging/gasket/apex_driver.c).
const PCI_ID: (u32, u32) = (0x1ac1, 0x089a);
/// A port of USB 3 or better, in megabits per second.
const USB3_MBIT: u64 = 5000;

const LIBRARY: &str = "libedgetpu";
const INSTALL_LIBRARY: &str =
    "sudo apt install libedgetpu1-std from Coral's repository (coral.ai/docs/accelerator/get-started)";
const INSTALL_DRIVER: &str =
    "sudo apt install gasket-dkms from Coral's repository (coral.ai/docs/m2/get-started), then restart";
const USB_RULE: &str = "printf '%s\\n' 'SUBSYSTEM==\"usb\", ATTRS{idVendor}==\"1a6e\", GROUP=\"plugdev\"' \
    'SUBSYSTEM==\"usb\", ATTRS{idVendor}==\"18d1\", GROUP=\"plugdev\"' | \
    sudo tee /etc/udev/rules.d/99-edgetpu-accelerator.rules; sudo usermod -aG plugdev $USER; \
    sudo udevadm control --reload-rules; then plug it in again and log in again";
const PCI_RULE: &str = "echo 'SUBSYSTEM==\"apex\", MODE=\"0660\", GROUP=\"apex\"' | \
    sudo tee /etc/udev/rules.d/65-apex.rules; sudo groupadd -f apex; sudo usermod -aG apex $USER; then restart";

/// Every Edge TPU.
pub(super) fn find(
    probe: &Probe,
    pci: &[PciDevice],
    usb: &[UsbDevice],
    problems: &mut Vec<Problem>,
) -> Vec<Accelerator> {
    let mut found: Vec<Accelerator> = usb
        .iter()
        .filter(|device| USB_IDS.contains(&(device.vendor, device.product)))
        .map(|device| on_usb(probe, device, problems))
        .collect();
    let cards = pci.iter().filter(|device| (device.vendor, device.device) == PCI_ID);
    found.extend(cards.enumerate().map(|(index, device)| on_pci(probe, device, index, problems)));
    found
}

fn on_usb(probe: &Probe, device: &UsbDevice, problems: &mut Vec<Problem>) -> Accelerator {
    let name = "Coral USB Accelerator";
    let denied =
        device.node.as_deref().and_then(|node| probe.node_hurdle(node, "plug it in again", USB_RULE));
    let hurdles: Vec<Hurdle> = library(probe).into_iter().chain(denied).collect();
    let ready = hurdles.is_empty();
    problems.extend(hurdles.into_iter().map(|hurdle| Problem::new(name, hurdle.why, hurdle.remedy)));
    if device.speed_mbit.is_some_and(|speed| speed < USB3_MBIT) {
        let why = "it is connected at USB 2's speed, which makes each frame wait for its transfer";
        problems.push(Problem::new(name, why, "plug it into a USB 3 port (blue), with a USB 3 cable"));
    }
    Accelerator {
        kind: AcceleratorKind::CoralUsb,
        name: name.to_owned(),
        location: format!("usb {}", device.port),
        driver: None,
        driver_version: None,
        memory_mb: None,
        compute_capability: None,
        nodes: device.node.clone().filter(|node| probe.root.exists(node)).into_iter().collect(),
        ready,
        runtime: None,
    }
}

fn on_pci(probe: &Probe, device: &PciDevice, index: usize, problems: &mut Vec<Problem>) -> Accelerator {
    let name = "Coral PCIe Accelerator";
    let node = node_of(probe, device).unwrap_or_else(|| format!("/dev/apex_{index}"));
    let denied = match device.driver.as_deref() {
        Some("apex") => probe.node_hurdle(&node, "restart", PCI_RULE),
        Some(other) => {
            Some(Hurdle::new(format!("the driver {other} has it instead of apex"), INSTALL_DRIVER))
        }
        None => Some(Hurdle::new("its kernel drivers gasket and apex are not loaded", INSTALL_DRIVER)),
    };
    let hurdles: Vec<Hurdle> = denied.into_iter().chain(library(probe)).collect();
    let ready = hurdles.is_empty();
    problems.extend(hurdles.into_iter().map(|hurdle| Problem::new(name, hurdle.why, hurdle.remedy)));
    let nodes = if probe.root.exists(&node) { vec![node.clone()] } else { vec![] };
    let driver_version = node.rsplit('/').next().and_then(|apex| {
        // gasket's own attribute.
        probe.root.word(&format!("sys/class/apex/{apex}/driver_version"))
    });
    Accelerator {
        kind: AcceleratorKind::CoralPcie,
        name: name.to_owned(),
        location: device.location(),
        driver: device.driver.clone(),
        driver_version,
        memory_mb: None,
        compute_capability: None,
        nodes,
        ready,
        runtime: None,
    }
}

/// The node that the driver made for this card: `apex_0` below the card's folder.
fn node_of(probe: &Probe, device: &PciDevice) -> Option<String> {
    let names = probe.root.names(&format!("{}/apex", device.folder));
    names.into_iter().find(|name| name.starts_with("apex_")).map(|name| format!("/dev/{name}"))
}

fn library(probe: &Probe) -> Option<Hurdle> {
    match probe.libraries.find(&[LIBRARY]) {
        None => Some(Hurdle::new("its runtime, libedgetpu.so.1, is not installed", INSTALL_LIBRARY)),
        Some(found) => {
            let why = found.unusable?;
            Some(Hurdle::new(format!("{} cannot be loaded: {why}", found.path), INSTALL_LIBRARY))
        }
    }
}

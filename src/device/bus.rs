//! Devices on PCI Express and USB, from sysfs.
//!
//! Addresses come from `uevent`, not from the names of folders: file systems and archives that cannot hold a
//! colon carry captured trees too.

use super::root::{Root, clean};

/// Devices of a bus that are looked at.
const MAX_DEVICES: usize = 1024;

/// A PCI device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PciDevice {
    /// Its folder in sysfs.
    pub folder: String,
    /// Its address, such as `0000:01:00.0`.
    pub address: String,
    pub vendor: u32,
    pub device: u32,
    /// Class, subclass and interface: 0x030000 is a graphics card.
    pub class: u32,
    /// The kernel driver that has it.
    pub driver: Option<String>,
}

impl PciDevice {
    pub fn is_graphics(&self) -> bool {
        self.class >> 16 == 0x03
    }

    pub fn location(&self) -> String {
        format!("pci {}", self.address)
    }

    /// The name that the root's own list of PCI names has for it.
    pub fn name(&self, root: &Root) -> Option<String> {
        let lists = ["usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids"];
        let list = lists.into_iter().find(|path| root.exists(path))?;
        let (vendor, device) = (format!("{:04x}  ", self.vendor), format!("\t{:04x}  ", self.device));
        let (mut inside, mut name) = (false, None);
        root.lines(list, |line| {
            if let Some(rest) = line.strip_prefix(&device).filter(|_| inside) {
                name = clean(rest);
            } else if !line.starts_with(['\t', '#']) {
                // The devices of a vendor follow its own line.
                let was_inside = inside;
                inside = line.starts_with(&vendor);
                return !was_inside || inside;
            }
            name.is_none()
        });
        // The marketing name stands in brackets behind the chip's: `AD102 [GeForce RTX 4090]`.
        let name = name?;
        let bracket = name.rsplit_once('[').and_then(|(_, rest)| rest.strip_suffix(']'));
        Some(bracket.unwrap_or(&name).to_owned())
    }
}

/// All PCI devices.
pub(super) fn pci(root: &Root) -> Vec<PciDevice> {
    let base = "sys/bus/pci/devices";
    let names = root.names(base).into_iter().take(MAX_DEVICES);
    names
        .filter_map(|name| {
            let folder = format!("{base}/{name}");
            Some(PciDevice {
                address: uevent(root, &folder, "PCI_SLOT_NAME").or_else(|| clean(&name))?,
                vendor: root.hex(&format!("{folder}/vendor"))?,
                device: root.hex(&format!("{folder}/device"))?,
                class: root.hex(&format!("{folder}/class")).unwrap_or(0),
                driver: root.link_name(&format!("{folder}/driver")),
                folder,
            })
        })
        .collect()
}

/// A USB device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsbDevice {
    /// Its port, such as `2-1`.
    pub port: String,
    pub vendor: u32,
    pub product: u32,
    /// Its node, `/dev/bus/usb/002/003`.
    pub node: Option<String>,
    /// Megabits per second: 480 is USB 2, 5000 USB 3.
    pub speed_mbit: Option<u64>,
}

/// All USB devices.
pub(super) fn usb(root: &Root) -> Vec<UsbDevice> {
    let base = "sys/bus/usb/devices";
    let names = root.names(base).into_iter().take(MAX_DEVICES);
    names
        .filter_map(|name| {
            let folder = format!("{base}/{name}");
            let number = |file: &str| root.number(&format!("{folder}/{file}"));
            Some(UsbDevice {
                vendor: root.hex(&format!("{folder}/idVendor"))?,
                product: root.hex(&format!("{folder}/idProduct"))?,
                node: number("busnum")
                    .zip(number("devnum"))
                    .map(|(bus, device)| format!("/dev/bus/usb/{bus:03}/{device:03}")),
                speed_mbit: number("speed"),
                port: clean(&name)?,
            })
        })
        .collect()
}

/// A value of a device's `uevent`.
pub(super) fn uevent(root: &Root, folder: &str, key: &str) -> Option<String> {
    let text = root.text(&format!("{folder}/uevent"));
    clean(text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_roots_own_list() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("usr/share/misc")).unwrap();
        let list = "# comment\n10de  NVIDIA Corporation\n\t2684  AD102 [GeForce RTX 4090]\n\t\t10de 1  Sub\n\
                    8086  Intel Corporation\n\t7d55  Meteor Lake-P [Intel Arc Graphics]\n\t2684  Not this\n";
        std::fs::write(folder.path().join("usr/share/misc/pci.ids"), list).unwrap();
        let root = Root::new(folder.path());
        let device = |vendor, device| PciDevice {
            folder: String::new(),
            address: String::new(),
            vendor,
            device,
            class: 0,
            driver: None,
        };
        assert_eq!(device(0x10de, 0x2684).name(&root).as_deref(), Some("GeForce RTX 4090"));
        assert_eq!(device(0x8086, 0x7d55).name(&root).as_deref(), Some("Intel Arc Graphics"));
        assert_eq!(device(0x10de, 0x7d55).name(&root), None);
    }
}

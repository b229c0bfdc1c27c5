//! Which machine it is: by its device tree, its firmware tables (DMI), and the programs installed on it.

use super::cpu::CpuInfo;
use super::info::Kind;
use super::root::{Root, clean};

/// Identity of a machine.
#[derive(Debug, Clone)]
pub(super) struct Board {
    pub kind: Kind,
    pub name: String,
    pub os: Os,
    pub arch: String,
    pub container: Option<String>,
    /// The device tree's `compatible`, most particular first; empty on a PC.
    pub compatible: Vec<String>,
}

/// The operating system.
#[derive(Debug, Clone, Default)]
pub(super) struct Os {
    /// Name and version for people.
    pub name: String,
    /// `ID` of os-release(5), and `ID_LIKE`: `debian`, `ubuntu debian`.
    pub family: Vec<String>,
}

impl Os {
    fn read(root: &Root) -> Self {
        let mut text = root.text("etc/os-release");
        if text.is_empty() {
            text = root.text("usr/lib/os-release");
        }
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
            clean(value.trim().trim_matches(['"', '\'']))
        };
        let families = [field("ID"), field("ID_LIKE")].into_iter().flatten();
        Self {
            name: field("PRETTY_NAME").or_else(|| field("NAME")).unwrap_or_default(),
            family: families.flat_map(|ids| ids.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect(),
        }
    }

    pub fn is_like(&self, id: &str) -> bool {
        self.family.iter().any(|known| known == id)
    }
}

/// Instruction set of a machine that does not tell.
pub(super) const UNKNOWN_ARCH: &str = "unknown";

impl Board {
    pub fn read(root: &Root, cpu: &CpuInfo) -> Self {
        let arch = arch(root, cpu);
        let compatible = device_tree_list(root, "compatible");
        let model = device_tree_list(root, "model").into_iter().next();
        let is_tegra =
            compatible.iter().any(|name| name.starts_with("nvidia,tegra") || name.contains("jetson"))
                || cpu.hardware.as_deref().is_some_and(|name| name.starts_with("tegra"));
        // Containers hide the device tree; these show through, as NVIDIA's own tools look for them.
        let is_tegra = is_tegra
            || soc(root, "family").is_some_and(|name| name.to_ascii_lowercase().starts_with("tegra"))
            || ["etc/nv_tegra_release", "dev/nvhost-gpu", "dev/nvgpu"].iter().any(|path| root.exists(path));
        let model = model.or_else(|| soc(root, "machine"));
        let named = |what: &str| model.as_deref().or(cpu.board.as_deref()).is_some_and(|m| m.contains(what));
        let is_pi = compatible.iter().any(|name| name.starts_with("raspberrypi,")) || named("Raspberry Pi");
        let kind = match () {
            () if is_tegra || named("Jetson") => Kind::Jetson,
            () if is_pi => Kind::RaspberryPi,
            () if cpu.vendor == "GenuineIntel" => Kind::Intel,
            () if arch == "x86_64" || arch == "x86" => Kind::X86,
            () if arch == "aarch64" || arch == "arm" => Kind::Arm,
            () => Kind::Other,
        };
        let name = model.or_else(|| cpu.board.clone()).or_else(|| dmi_name(root));
        Self {
            kind,
            name: name.unwrap_or_else(|| format!("{arch} computer")),
            os: Os::read(root),
            arch,
            container: container(root),
            compatible,
        }
    }
}

/// What the kernel says of the system on the chip.
fn soc(root: &Root, what: &str) -> Option<String> {
    clean(&root.text(&format!("sys/devices/soc0/{what}")))
}

/// Strings of a property of the device tree's root; each ends in a NUL.
fn device_tree_list(root: &Root, property: &str) -> Vec<String> {
    // The first is a link to the second, which some captures leave out.
    ["proc/device-tree", "sys/firmware/devicetree/base"]
        .iter()
        .map(|base| root.head(&format!("{base}/{property}"), 4096))
        .find(|bytes| !bytes.is_empty())
        .map(|bytes| bytes.split(|&b| b == 0).filter_map(|s| clean(&String::from_utf8_lossy(s))).collect())
        .unwrap_or_default()
}

/// What board makers write where they had nothing to say.
const NO_NAMES: [&str; 9] = [
    "to be filled by o.e.m.",
    "default string",
    "system manufacturer",
    "system product name",
    "system version",
    "not specified",
    "not applicable",
    "o.e.m.",
    "none",
];

fn dmi_name(root: &Root) -> Option<String> {
    let field = |name: &str| {
        let value = root.word(&format!("sys/class/dmi/id/{name}"))?;
        (!NO_NAMES.contains(&value.to_lowercase().as_str())).then_some(value)
    };
    let (vendor, product) = match field("product_name") {
        Some(product) => (field("sys_vendor"), product),
        None => (field("board_vendor"), field("board_name")?),
    };
    match vendor {
        Some(vendor) if !product.starts_with(&vendor) => Some(format!("{vendor} {product}")),
        _ => Some(product),
    }
}

/// The instruction set that programs are made for: by the shell's ELF header, which tells a 32-bit system on a
/// 64-bit processor, else the kernel's own word (Linux 6.1 and later), else the shape of `/proc/cpuinfo`.
fn arch(root: &Root, cpu: &CpuInfo) -> String {
    let shell = root.head("bin/sh", 64);
    let by_shell = elf_machine(&shell).and_then(machine_name).map(str::to_owned);
    let by_kernel = root.word("proc/sys/kernel/arch").map(|word| match word.as_str() {
        "armv7l" | "armv6l" => "arm".to_owned(),
        "i686" | "i586" => "x86".to_owned(),
        _ => word,
    });
    let by_processor = || match () {
        () if cpu.is_arm() && cpu.arm_version.unwrap_or(0) >= 8 => "aarch64",
        () if cpu.is_arm() => "arm",
        () if cpu.long_mode => "x86_64",
        () if !cpu.vendor.is_empty() => "x86",
        () => UNKNOWN_ARCH,
    };
    by_shell.or(by_kernel).unwrap_or_else(|| by_processor().to_owned())
}

/// `e_machine` of an ELF file (System V ABI): what it was made for. `None` for anything else.
pub(super) fn elf_machine(head: &[u8]) -> Option<u16> {
    let little = head.starts_with(b"\x7fELF") && head.get(5) == Some(&1);
    let bytes = head.get(18..20)?;
    little.then(|| u16::from_le_bytes([bytes[0], bytes[1]]))
}

/// Name of an instruction set by its `e_machine`.
pub(super) fn machine_name(machine: u16) -> Option<&'static str> {
    match machine {
        3 => Some("x86"),
        40 => Some("arm"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

/// The container that this is, by the marks that Docker, Podman, systemd and Kubernetes leave.
fn container(root: &Root) -> Option<String> {
    if let Some(name) = root.word("run/systemd/container") {
        return Some(name);
    }
    if root.exists("run/.containerenv") {
        return Some("podman".to_owned());
    }
    let groups = root.text("proc/1/cgroup");
    let by_group = [("kubepods", "kubernetes"), ("/docker", "docker"), ("/lxc", "lxc"), ("libpod", "podman")];
    let found = by_group.iter().find(|(mark, _)| groups.contains(mark)).map(|(_, name)| (*name).to_owned());
    found.or_else(|| root.exists(".dockerenv").then(|| "docker".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elf_headers_tell_the_instruction_set() {
        let mut head = [0_u8; 20];
        head[..6].copy_from_slice(b"\x7fELF\x02\x01");
        head[18] = 183;
        assert_eq!(elf_machine(&head).and_then(machine_name), Some("aarch64"));
        assert_eq!(elf_machine(b"#!/bin/sh\n and more text than a header"), None);
        assert_eq!(elf_machine(&head[..19]), None);
    }
}

//! Accelerators behind the kernel's `drm` and `accel` classes: Intel's GPU and NPU, AMD's GPU; and Hailo.

use super::bus::PciDevice;
use super::info::{Accelerator, AcceleratorKind, Problem};
use super::probe::{Hurdle, Probe};

const INTEL: u32 = 0x8086;
const AMD: u32 = 0x1002;
const HAILO: u32 = 0x1e60;
/// PCI class of a processing accelerator (PCI Code and ID Assignment Specification).
const PROCESSING_ACCELERATOR: u32 = 0x12;

/// The accelerators of this module on the bus.
pub(super) fn find(probe: &Probe, pci: &[PciDevice], problems: &mut Vec<Problem>) -> Vec<Accelerator> {
    pci.iter()
        .filter_map(|device| {
            let (accelerator, hurdle) = match device.vendor {
                INTEL if device.is_graphics() => intel_gpu(probe, device),
                INTEL if device.class >> 16 == PROCESSING_ACCELERATOR => intel_npu(probe, device),
                AMD if device.is_graphics() => amd_gpu(probe, device),
                HAILO => hailo(probe, device),
                _ => return None,
            };
            problems.extend(hurdle.map(|hurdle| Problem::new(&accelerator.name, hurdle.why, hurdle.remedy)));
            Some(accelerator)
        })
        .collect()
}

fn accelerator(
    probe: &Probe,
    device: &PciDevice,
    kind: AcceleratorKind,
    name: String,
    node: Option<String>,
    ready: bool,
) -> Accelerator {
    Accelerator {
        kind,
        name,
        location: device.location(),
        driver: device.driver.clone(),
        driver_version: None,
        memory_mb: None,
        compute_capability: None,
        nodes: node.filter(|node| probe.root.exists(node)).into_iter().collect(),
        ready,
        runtime: None,
    }
}

fn named(probe: &Probe, device: &PciDevice, maker: &str, what: &str) -> String {
    match device.name(probe.root) {
        Some(name) if name.starts_with(maker) => name,
        Some(name) => format!("{maker} {name}"),
        None => format!("{maker} {what} {:04x}:{:04x}", device.vendor, device.device),
    }
}

/// The node that the driver made for a device: `renderD128` below its `drm` folder, `accel0` below `accel`.
fn node_of(probe: &Probe, device: &PciDevice, class: &str, prefix: &str, dev: &str) -> Option<String> {
    let names = probe.root.names(&format!("{}/{class}", device.folder));
    names.into_iter().find(|name| name.starts_with(prefix)).map(|name| format!("{dev}/{name}"))
}

fn render_hurdle(probe: &Probe, device: &PciDevice, node: Option<&str>, driver: &str) -> Option<Hurdle> {
    let Some(loaded) = device.driver.as_deref() else {
        let remedy = if probe.board.os.is_like("debian") {
            format!(
                "sudo apt install firmware-misc-nonfree (Debian) or linux-firmware (Ubuntu), use a kernel that knows it ({driver}), then restart"
            )
        } else {
            format!("install linux-firmware and a kernel that knows it ({driver}), then restart")
        };
        return Some(Hurdle::new("no driver is loaded for it, so there is no /dev/dri/renderD*", remedy));
    };
    if loaded == "vfio-pci" {
        let why = "it is set aside for a virtual machine (driver vfio-pci)";
        return Some(Hurdle::new(why, "give it back to the host, or run endort in that machine"));
    }
    let Some(node) = node else {
        return Some(Hurdle::new(
            format!("the driver {loaded} made no render node (/dev/dri/renderD*)"),
            "remove nomodeset from the kernel's command line, then restart",
        ));
    };
    probe.node_hurdle(node, "restart", &to_render(node))
}

/// How to give a node to the group that graphics and neural processors belong to.
fn to_render(node: &str) -> String {
    format!(
        "sudo chgrp render {node}; sudo chmod 660 {node}; sudo usermod -aG render $USER; then log in again"
    )
}

fn intel_gpu(probe: &Probe, device: &PciDevice) -> (Accelerator, Option<Hurdle>) {
    let node = node_of(probe, device, "drm", "renderD", "/dev/dri");
    let mut hurdle = render_hurdle(probe, device, node.as_deref(), "i915 or xe");
    // OpenVINO reaches the GPU through OpenCL alone.
    if hurdle.is_none() && !probe.root.names("etc/OpenCL/vendors").iter().any(|name| name.contains("intel")) {
        let remedy = if probe.board.os.is_like("debian") {
            "sudo apt install intel-opencl-icd"
        } else {
            "install Intel's compute runtime (github.com/intel/compute-runtime)"
        };
        let why = "OpenVINO cannot compute on it: Intel's OpenCL driver is not installed";
        hurdle = Some(Hurdle::new(why, remedy));
    }
    let name = named(probe, device, "Intel", "graphics");
    (accelerator(probe, device, AcceleratorKind::IntelGpu, name, node, hurdle.is_none()), hurdle)
}

fn intel_npu(probe: &Probe, device: &PciDevice) -> (Accelerator, Option<Hurdle>) {
    const INSTALL: &str =
        "install Intel's NPU driver (github.com/intel/linux-npu-driver/releases), then restart";
    let node = node_of(probe, device, "accel", "accel", "/dev/accel");
    let hurdle = match (device.driver.as_deref(), node.as_deref()) {
        (None, _) => Some(Hurdle::new("the driver intel_vpu is not loaded (Linux 6.8 or later)", INSTALL)),
        (Some(_), None) => {
            Some(Hurdle::new("its driver made no /dev/accel/accel*: the firmware is missing", INSTALL))
        }
        (Some(_), Some(node)) => probe.node_hurdle(node, "restart", &to_render(node)).or_else(|| {
            let libraries: [(&str, &[&str]); 2] = [
                ("libze_intel_npu.so.1", &["libze_intel_npu", "libze_intel_vpu"]),
                ("Level Zero, libze_loader.so.1", &["libze_loader"]),
            ];
            let usable = |names| probe.libraries.find(names).is_some_and(|found| found.unusable.is_none());
            let (missing, _) = libraries.into_iter().find(|(_, names)| !usable(names))?;
            Some(Hurdle::new(format!("the user part of its driver is missing ({missing})"), INSTALL))
        }),
    };
    let name = named(probe, device, "Intel", "NPU");
    (accelerator(probe, device, AcceleratorKind::IntelNpu, name, node, hurdle.is_none()), hurdle)
}

fn amd_gpu(probe: &Probe, device: &PciDevice) -> (Accelerator, Option<Hurdle>) {
    let node = node_of(probe, device, "drm", "renderD", "/dev/dri");
    let hurdle = render_hurdle(probe, device, node.as_deref(), "amdgpu");
    let name = named(probe, device, "AMD", "graphics");
    let mut gpu = accelerator(probe, device, AcceleratorKind::AmdGpu, name, node, hurdle.is_none());
    gpu.memory_mb =
        probe.root.number(&format!("{}/mem_info_vram_total", device.folder)).map(|bytes| bytes >> 20);
    (gpu, hurdle)
}

fn hailo(probe: &Probe, device: &PciDevice) -> (Accelerator, Option<Hurdle>) {
    let node = "/dev/hailo0".to_owned();
    let hurdle = match device.driver {
        None => Some(Hurdle::new("its driver is not loaded", "sudo apt install hailo-all, then restart")),
        Some(_) => probe.node_hurdle(&node, "restart", "sudo chmod 666 /dev/hailo0"),
    };
    let name = named(probe, device, "Hailo", "neural processor");
    (accelerator(probe, device, AcceleratorKind::Hailo, name, Some(node), hurdle.is_none()), hurdle)
}

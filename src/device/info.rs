//! What `detect-device` finds: plain data, printed as a table and as JSON by those who ask.
//!
//! Names carry their units. Fields that do not apply are absent in JSON; lists are empty.

use serde::{Deserialize, Serialize};

use super::recommend::Recommendation;

/// What `endort detect-device --json` prints: the machine and what to run on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// Version of endort that looked.
    pub endort: String,
    /// What was found.
    #[serde(flatten)]
    pub machine: Machine,
    /// The one setting to begin with.
    pub recommendation: Recommendation,
    /// What was measured here; absent where nothing was, and for another root.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub measured: Option<Measured>,
}

/// The runtime that `endort bench --runtime all` found the fastest for a model, which `auto` takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// The model.
    pub model: String,
    /// The runtime, as `--runtime` takes it.
    pub runtime: String,
    /// What made it the fastest.
    pub because: String,
}

/// Everything that is known about a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The family that decides what fits.
    pub kind: Kind,
    /// The board or product as it names itself.
    pub device: String,
    /// Operating system and its version.
    pub os: String,
    /// Instruction set of the programs that run there: `x86_64`, `aarch64`, `arm`.
    pub arch: String,
    /// The container that this is, such as `docker`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container: Option<String>,
    /// The processor.
    pub cpu: Cpu,
    /// Main memory.
    pub memory: Memory,
    /// What only a Jetson has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jetson: Option<Jetson>,
    /// What only a Raspberry Pi has.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raspberry_pi: Option<RaspberryPi>,
    /// GPUs, NPUs and TPUs, usable or not.
    pub accelerators: Vec<Accelerator>,
    /// Inference runtimes: the built-in one and every library that was found.
    pub runtimes: Vec<RuntimeFound>,
    /// Decoding of video in hardware; absent for another root, whose FFmpeg cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub video_decode: Option<VideoDecode>,
    /// Capture devices.
    pub cameras: Vec<Camera>,
    /// What is there and cannot be used, or keeps the machine below what it could do.
    pub problems: Vec<Problem>,
}

/// Families of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// NVIDIA Jetson: Tegra with its own GPU.
    Jetson,
    /// Raspberry Pi.
    RaspberryPi,
    /// A Mac with Apple's own processor.
    AppleSilicon,
    /// A machine with an Intel processor.
    Intel,
    /// Any other x86 machine.
    X86,
    /// Any other ARM machine.
    Arm,
    /// Something else.
    Other,
}

impl Kind {
    /// For people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Jetson => "NVIDIA Jetson",
            Self::RaspberryPi => "Raspberry Pi",
            Self::AppleSilicon => "Apple Silicon",
            Self::Intel => "Intel",
            Self::X86 => "x86",
            Self::Arm => "ARM",
            Self::Other => "unknown kind",
        }
    }
}

/// A processor and what a process may use of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Its name.
    pub model: String,
    /// Hardware threads that are online.
    pub threads_online: usize,
    /// Cores that are online, hardware threads of one core counted once.
    pub cores_online: usize,
    /// How many of them are fast ones, where a system says so (macOS).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fast_cores: Option<usize>,
    /// Hardware threads that a process may keep busy here: affinity and cgroup quota respected.
    pub threads_usable: usize,
    /// What makes `threads_usable` smaller than `threads_online`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limited_by: Option<String>,
    /// Highest clock of the fastest core, in megahertz.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_mhz: Option<u64>,
    /// Instructions that matter to networks: `avx2`, `fma`, `avx512`, `avx512-vnni`, `avx512-bf16`, `avx-vnni`,
    /// `amx-int8`, `amx-bf16`; `neon`, `fp16`, `dotprod`, `i8mm`, `bf16`, `sve`.
    pub features: Vec<String>,
}

/// Main memory and what a process may use of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// Installed, in mebibytes, less what firmware and kernel keep.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub total_mb: Option<u64>,
    /// What a process may use: the total or the cgroup's limit, in mebibytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub usable_mb: Option<u64>,
    /// Free or reclaimable at this moment, in mebibytes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub available_mb: Option<u64>,
    /// What makes `usable_mb` smaller than `total_mb`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limited_by: Option<String>,
}

/// What only a Jetson has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Jetson {
    /// The module on the carrier board, by its part number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub module: Option<String>,
    /// The chip, such as `tegra234`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chip: Option<String>,
    /// Version of Jetson Linux (L4T), such as `36.4.3`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub l4t: Option<String>,
    /// The JetPack that this L4T belongs to, such as `6.2`; the major version alone where more is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub jetpack: Option<String>,
    /// The power mode in force.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub power_mode: Option<PowerMode>,
}

/// A mode of nvpmodel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerMode {
    /// Its number, as `nvpmodel -m` takes it.
    pub id: u32,
    /// Its name, such as `15W` or `MAXN`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// Names of the other modes of this board.
    pub others: Vec<String>,
}

/// What only a Raspberry Pi has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RaspberryPi {
    /// The firmware's word on power and heat; absent where it cannot be asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub throttled: Option<Throttled>,
}

/// Power and heat, as the firmware's `get_throttled` tells them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// The bits, in hexadecimal.
    pub bits: String,
    /// What holds at this moment.
    pub now: Vec<String>,
    /// What has happened since the machine was started.
    pub since_boot: Vec<String>,
}

/// Kinds of accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AcceleratorKind {
    /// The GPU of a Jetson.
    JetsonGpu,
    /// An NVIDIA graphics card.
    NvidiaGpu,
    /// Google's Edge TPU on USB.
    CoralUsb,
    /// Google's Edge TPU on PCI Express, as a card or as an M.2 module.
    CoralPcie,
    /// Intel graphics, in the processor or on a card.
    IntelGpu,
    /// The neural processor of an Intel Core Ultra.
    IntelNpu,
    /// AMD graphics.
    AmdGpu,
    /// The GPU of Apple Silicon.
    AppleGpu,
    /// A Hailo neural processor, as on the Raspberry Pi AI HAT+.
    Hailo,
}

/// A GPU, NPU or TPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accelerator {
    /// What it is.
    pub kind: AcceleratorKind,
    /// Its name.
    pub name: String,
    /// Where it is plugged in: `pci 0000:01:00.0`, `usb 2-1`; empty for a part of the chip.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub location: String,
    /// The kernel driver that has it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub driver: Option<String>,
    /// The driver's version, where it has one of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub driver_version: Option<String>,
    /// Its own memory in mebibytes; absent where it is shared with the processor or unknown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_mb: Option<u64>,
    /// CUDA's compute capability, such as `8.7`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub compute_capability: Option<String>,
    /// Device nodes through which programs reach it.
    pub nodes: Vec<String>,
    /// Whether driver, nodes, rights and libraries are all there.
    pub ready: bool,
    /// endort's runtime that can use it as things are, where there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub runtime: Option<String>,
}

/// An inference runtime that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeFound {
    /// Its name, such as `OpenVINO`.
    pub name: String,
    /// Its version, where it can be told without loading it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// The library or program; absent for what is built into endort.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Execution providers that lie beside an ONNX Runtime: `cuda`, `tensorrt`, `openvino`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub providers: Vec<String>,
    /// How it was found: `built in`, a variable, `library path`, `Python package`, `known folder`.
    pub found_by: String,
    /// Why it cannot be used, where that shows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unusable: Option<String>,
}

/// Decoding of video in hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VideoDecode {
    /// Version of the FFmpeg that endort runs with.
    pub ffmpeg: String,
    /// Ways that FFmpeg knows, and whether the machine has a device for them.
    pub hardware: Vec<HardwareDecode>,
}

/// A way to decode in hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareDecode {
    /// FFmpeg's name for it: `cuda`, `vaapi`, `videotoolbox`.
    pub api: String,
    /// Codecs that FFmpeg can hand to it; the device may take fewer.
    pub codecs: Vec<String>,
    /// Whether a device could be opened.
    pub ready: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A capture device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Camera {
    /// Its node, which is also a source for `endort stream`.
    pub node: String,
    /// Its name.
    pub name: String,
    /// Whether the node is there and may be opened.
    pub ready: bool,
}

/// Something that is there and cannot be used, or holds the machine back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about.
    pub what: String,
    /// Why it is a problem.
    pub why: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into(), remedy: remedy.into() }
    }
}

//! Looking at a whole machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::access::Access;
use super::apple::{self, Mac};
use super::board::Board;
use super::cpu::{self, CpuInfo};
use super::fingerprint::Fingerprint;
use super::info::{
    Accelerator, AcceleratorKind, DeviceInfo, HardwareDecode, Kind, Machine, Problem, RuntimeFound,
    VideoDecode,
};
use super::library::Libraries;
use super::probe::{Hurdle, Probe};
use super::recommend::{Build, Workload, recommend};
use super::root::Root;
use super::route::EDGE_TPU_COMPILER;
use super::{bus, camera, coral, graphics, jetson, limits, nvidia, packages, raspberry_pi, route, runtimes};
use crate::av;
use crate::error::{Error, Result};

/// Environment variables that say where libraries and programs lie.
pub const VARIABLES: [&str; 8] = [
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "ORT_DYLIB_PATH",
    "OPENVINO_INSTALL_DIR",
    "INTEL_OPENVINO_DIR",
    "VIRTUAL_ENV",
    "CONDA_PREFIX",
    "PATH",
];

/// Where and how to look.
#[derive(Debug, Clone)]
pub struct Options {
    /// The root file system.
    pub root: PathBuf,
    /// Whether it is that of the machine endort runs on: then its programs, its FFmpeg and its kernel are asked.
    pub live: bool,
    /// Who wants to open the devices.
    pub access: Access,
    /// Values of [`VARIABLES`]; others are ignored.
    pub environment: BTreeMap<String, String>,
    /// Folders, or files, in which libraries are looked for before all others (`runtime_path` of the settings).
    pub libraries: Vec<PathBuf>,
    /// GPU code of the program that is to run there.
    pub build: Build,
    /// The network that is to run there.
    pub workload: Workload,
}

impl Options {
    /// The machine endort runs on, as this process, with its environment.
    pub fn live(environment: impl IntoIterator<Item = (String, String)>) -> Self {
        let counts = |(name, _): &(String, String)| VARIABLES.contains(&name.as_str());
        Self {
            live: true,
            access: Access::Process,
            environment: environment.into_iter().filter(counts).collect(),
            ..Self::captured(Path::new("/"))
        }
    }

    /// Another root file system: nothing of the live machine is asked, and rights are not judged.
    pub fn captured(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            live: false,
            access: Access::Unknown,
            environment: BTreeMap::new(),
            libraries: Vec::new(),
            build: Build::current(),
            workload: Workload::default(),
        }
    }
}

/// Looks at a machine. What cannot be read is unknown, not an error.
///
/// # Errors
/// [`Error::Read`] where the root is no folder that can be listed.
pub fn detect(options: &Options) -> Result<DeviceInfo> {
    std::fs::read_dir(&options.root).map_err(Error::read(&options.root))?;
    let path = options.root.canonicalize().map_err(Error::read(&options.root))?;
    if !path.is_dir() {
        return Err(Error::Read { path, source: io::ErrorKind::NotADirectory.into() });
    }
    let mut machine = look(options, &Root::new(&path));
    machine.video_decode = options.live.then(video_decode);
    let recommendation = recommend(&machine, &options.workload);
    Ok(DeviceInfo { endort: env!("CARGO_PKG_VERSION").to_owned(), machine, recommendation, measured: None })
}

/// What of the machine endort runs on decides how fast each runtime is there. Its GPUs' own programs and its FFmpeg
/// are not asked: this is wanted each time a model is loaded.
///
/// # Errors
/// Those of [`detect`].
pub fn fingerprint(options: &Options) -> Result<Fingerprint> {
    let path = options.root.canonicalize().map_err(Error::read(&options.root))?;
    let live = options.live && cfg!(target_os = "macos");
    Ok(Fingerprint::of(&look(&Options { live, ..options.clone() }, &Root::new(&path))))
}

fn look(options: &Options, root: &Root) -> Machine {
    let info = CpuInfo::parse(&root.text("proc/cpuinfo"));
    let mac = apple::read(root, options.live);
    let board = board(root, &info, mac.as_ref(), options.live);
    let libraries = Libraries::new(root, &board.arch, &options.environment, &options.libraries);
    let packages = packages::installed(root);
    let (access, live) = (&options.access, options.live);
    let probe = Probe { root, board: &board, access, libraries: &libraries, packages: &packages, live };

    let mut problems = Vec::new();
    let jetson = (board.kind == Kind::Jetson).then(|| jetson::read(&probe, &mut problems));
    let raspberry_pi = (board.kind == Kind::RaspberryPi).then(|| raspberry_pi::read(&probe, &mut problems));
    let runtimes = runtimes::find(&probe, options.build);
    let mut accelerators = accelerators(&probe, &runtimes, options.build, &mut problems);
    if let Some(mut gpu) = mac.as_ref().and_then(|mac| mac.gpu.clone()) {
        find_runtime(&mut gpu, None, &runtimes, options.build, &mut problems);
        accelerators.push(gpu);
    }
    if mac.is_none() && apple::is_macos(root) {
        problems.push(apple::unknown(&board.os.name));
    }
    if board.arch == "arm" && info.arm_version.is_some_and(|version| version >= 8) {
        let why = "its processor has 64 bits and its system 32, in which endort's fast arithmetic is missing";
        problems.push(Problem::new(&board.os.name, why, "install the 64-bit edition of the system"));
    }
    problems.extend(edge_tpu_compiler(&accelerators, &runtimes, &board.arch));
    let cameras = camera::find(&probe, &mut problems);
    for runtime in &runtimes {
        if let Some(why) = &runtime.unusable {
            let path = runtime.path.as_deref().unwrap_or_default();
            let remedy = "install it again, for this machine's processor";
            problems.push(Problem::new(&runtime.name, format!("{path} cannot be loaded: {why}"), remedy));
        }
    }
    Machine {
        kind: board.kind,
        cpu: mac.as_ref().map_or_else(|| cpu::read(root, &info, &board.arch), |mac| mac.cpu.clone()),
        memory: mac.as_ref().map_or_else(|| limits::memory(root), |mac| mac.memory.clone()),
        jetson,
        raspberry_pi,
        accelerators,
        runtimes,
        video_decode: None,
        cameras,
        problems,
        device: board.name,
        os: board.os.name,
        arch: board.arch,
        container: board.container,
    }
}

fn board(root: &Root, info: &CpuInfo, mac: Option<&Mac>, live: bool) -> Board {
    let mut board = Board::read(root, info);
    if let Some(mac) = mac {
        (board.kind, board.name, board.arch) = (mac.kind, mac.name.clone(), mac.arch.clone());
        board.os.name.clone_from(&mac.os);
    }
    if board.os.name.is_empty() {
        board.os.name = apple::os(root).unwrap_or_default();
    }
    if board.os.name.is_empty() {
        board.os.name = if live { std::env::consts::OS } else { "unknown system" }.to_owned();
    }
    board
}

fn accelerators(
    probe: &Probe,
    runtimes: &[RuntimeFound],
    build: Build,
    problems: &mut Vec<Problem>,
) -> Vec<Accelerator> {
    let (pci, usb) = (bus::pci(probe.root), bus::usb(probe.root));
    let mut found = Vec::new();
    if probe.board.kind == Kind::Jetson {
        let (mut gpu, obstacle) = jetson::gpu(probe, problems);
        find_runtime(&mut gpu, obstacle, runtimes, build, problems);
        found.push(gpu);
    }
    let mut others = nvidia::find(probe, &pci, problems);
    others.extend(coral::find(probe, &pci, &usb, problems));
    others.extend(graphics::find(probe, &pci, problems));
    for mut accelerator in others {
        find_runtime(&mut accelerator, None, runtimes, build, problems);
        found.push(accelerator);
    }
    found
}

/// Names endort's runtime for an accelerator that is ready, and says what is missing for one.
fn find_runtime(
    accelerator: &mut Accelerator,
    obstacle: Option<Hurdle>,
    runtimes: &[RuntimeFound],
    build: Build,
    problems: &mut Vec<Problem>,
) {
    // What is missing is said at once, not one step after the other.
    match route::choose(accelerator.kind, runtimes, build, obstacle) {
        Ok(runtime) => accelerator.runtime = runtime.filter(|_| accelerator.ready).map(str::to_owned),
        Err(hurdle) => problems.push(Problem::new(&accelerator.name, hurdle.why, hurdle.remedy)),
    }
}

/// A network has to be compiled for the Edge TPU, by a program that exists for x86-64 alone.
fn edge_tpu_compiler(accelerators: &[Accelerator], runtimes: &[RuntimeFound], arch: &str) -> Option<Problem> {
    let is_coral =
        |a: &&Accelerator| matches!(a.kind, AcceleratorKind::CoralUsb | AcceleratorKind::CoralPcie);
    accelerators.iter().find(is_coral)?;
    if runtimes.iter().any(|runtime| runtime.name == EDGE_TPU_COMPILER) {
        return None;
    }
    let remedy = match arch {
        "x86_64" => {
            "sudo apt install edgetpu-compiler from Coral's repository (coral.ai/docs/edgetpu/compiler)"
        }
        _ => {
            "run endort optimize --target coral on an x86-64 machine with edgetpu_compiler, and copy the package here"
        }
    };
    Some(Problem::new(
        EDGE_TPU_COMPILER,
        "a model has to be compiled for the Edge TPU, and the compiler is not here",
        remedy,
    ))
}

fn video_decode() -> VideoDecode {
    let hardware = av::hardware::decoders().into_iter().map(|way| HardwareDecode {
        api: way.api,
        codecs: way.codecs,
        ready: way.reason.is_none(),
        reason: way.reason,
    });
    VideoDecode { ffmpeg: av::version(), hardware: hardware.collect() }
}

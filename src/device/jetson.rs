//! NVIDIA Jetson: module, Jetson Linux and JetPack, power mode, and its GPU.

use super::binary::version_in;
use super::info::{Accelerator, AcceleratorKind, Jetson, PowerMode, Problem};
use super::probe::{Hurdle, Probe};
use super::root::clean;

/// Modules by part number, as Jetson's EEPROM layout and the device trees of Linux have them.
const MODULES: [(&str, &str); 24] = [
    ("p2180", "Jetson TX1"),
    ("p3310", "Jetson TX2"),
    ("p3489-0888", "Jetson TX2 4GB"),
    ("p3489", "Jetson TX2i"),
    ("p3636", "Jetson TX2 NX"),
    ("p3448-0003", "Jetson Nano 2GB"),
    ("p3541", "Jetson Nano 2GB"),
    ("p3448", "Jetson Nano"),
    ("p3450", "Jetson Nano"),
    ("p2888-0008", "Jetson AGX Xavier Industrial"),
    ("p2888", "Jetson AGX Xavier"),
    ("p2972", "Jetson AGX Xavier"),
    ("p3668", "Jetson Xavier NX"),
    ("p3701-0004", "Jetson AGX Orin 32GB"),
    ("p3701-0005", "Jetson AGX Orin 64GB"),
    ("p3701-0008", "Jetson AGX Orin Industrial"),
    ("p3701", "Jetson AGX Orin"),
    ("p3767-0000", "Jetson Orin NX 16GB"),
    ("p3767-0001", "Jetson Orin NX 8GB"),
    ("p3767-0004", "Jetson Orin Nano 4GB"),
    ("p3767-0003", "Jetson Orin Nano 8GB"),
    ("p3767-0005", "Jetson Orin Nano 8GB"),
    ("p3767", "Jetson Orin"),
    ("p3834", "Jetson Thor"),
];

/// A chip and its GPU: name in the device tree, architecture, compute capability, last JetPack.
struct Chip {
    name: &'static str,
    gpu: &'static str,
    compute_capability: &'static str,
    last_jetpack: u32,
}

/// NVIDIA's table of CUDA GPUs and its JetPack archive.
const CHIPS: [Chip; 5] = [
    Chip { name: "tegra210", gpu: "Maxwell", compute_capability: "5.3", last_jetpack: 4 },
    Chip { name: "tegra186", gpu: "Pascal", compute_capability: "6.2", last_jetpack: 4 },
    Chip { name: "tegra194", gpu: "Volta", compute_capability: "7.2", last_jetpack: 5 },
    Chip { name: "tegra234", gpu: "Ampere", compute_capability: "8.7", last_jetpack: 7 },
    Chip { name: "tegra264", gpu: "Blackwell", compute_capability: "11.0", last_jetpack: 7 },
];

/// L4T and the JetPack that it belongs to, from NVIDIA's JetPack archive. Newer ones keep their major version.
const JETPACKS: [(&str, &str); 30] = [
    ("32.1", "4.2"),
    ("32.2", "4.2.1"),
    ("32.2.1", "4.2.2"),
    ("32.3.1", "4.3"),
    ("32.4.3", "4.4"),
    ("32.4.4", "4.4.1"),
    ("32.5", "4.5"),
    ("32.5.1", "4.5.1"),
    ("32.6.1", "4.6"),
    ("32.7.1", "4.6.1"),
    ("32.7.2", "4.6.2"),
    ("32.7.3", "4.6.3"),
    ("32.7.4", "4.6.4"),
    ("32.7.5", "4.6.5"),
    ("32.7.6", "4.6.6"),
    ("34.1.1", "5.0.1"),
    ("35.1", "5.0.2"),
    ("35.2.1", "5.1"),
    ("35.3.1", "5.1.1"),
    ("35.4.1", "5.1.2"),
    ("35.5", "5.1.3"),
    ("35.6", "5.1.4"),
    ("35.6.1", "5.1.5"),
    ("36.2", "6.0"),
    ("36.3", "6.0"),
    ("36.4", "6.1"),
    ("36.4.3", "6.2"),
    ("36.4.4", "6.2.1"),
    ("38.2", "7.0"),
    ("38.4", "7.1"),
];

/// CUDA that endort's CUDA runtime (cudarc) can load.
const MIN_CUDA: (u32, u32) = (11, 4);

/// What only a Jetson has.
pub(super) fn read(probe: &Probe, problems: &mut Vec<Problem>) -> Jetson {
    let release = probe.root.text("etc/nv_tegra_release");
    let l4t = parse_release(&release);
    if l4t.is_none() {
        let why =
            "the version of Jetson Linux is unknown: /etc/nv_tegra_release is missing or cannot be read";
        let remedy = if probe.in_container() {
            "start the container from one of NVIDIA's l4t images, with --runtime nvidia"
        } else {
            "sudo apt install nvidia-l4t-core"
        };
        problems.push(Problem::new("Jetson Linux", why, remedy));
    }
    let power_mode = power_mode(probe);
    if let Some(mode) = &power_mode
        && let Some(faster) = faster_mode(probe, mode)
    {
        let name = mode.name.clone().unwrap_or_else(|| mode.id.to_string());
        problems.push(Problem::new(
            "power mode",
            format!("{name} holds the module below its full speed"),
            format!("sudo nvpmodel -m {faster}, where power supply and cooling allow it"),
        ));
    }
    Jetson {
        module: module(&probe.board.compatible),
        chip: chip(probe).map(|chip| chip.name.to_owned()),
        jetpack: l4t.as_deref().and_then(jetpack),
        l4t,
        power_mode,
    }
}

fn module(compatible: &[String]) -> Option<String> {
    // `nvidia,p3768-0000+p3767-0005-super` names carrier and module, `nvidia,p3767-0005` the module.
    let parts =
        compatible.iter().flat_map(|name| name.split([',', '+'])).filter(|part| part.starts_with('p'));
    let parts: Vec<&str> = parts.collect();
    let (_, name) = MODULES.iter().find(|(part, _)| parts.iter().any(|p| p.starts_with(part)))?;
    Some((*name).to_owned())
}

fn chip(probe: &Probe) -> Option<&'static Chip> {
    let is =
        |chip: &&Chip| probe.board.compatible.iter().any(|name| name == &format!("nvidia,{}", chip.name));
    CHIPS.iter().find(is)
}

/// `36.4.3` of `# R36 (release), REVISION: 4.3, GCID: …`.
fn parse_release(text: &str) -> Option<String> {
    let line = text.lines().next()?.trim_start_matches(['#', ' ']);
    let major: u32 = line.strip_prefix('R')?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let revision = line.split_once("REVISION:")?.1.trim_start();
    let revision = revision.split([',', ' ']).next()?;
    let is_version = !revision.is_empty() && revision.chars().all(|c| c.is_ascii_digit() || c == '.');
    is_version.then(|| format!("{major}.{revision}"))
}

fn jetpack(l4t: &str) -> Option<String> {
    // `36.3.0` and `36.3` are the same.
    let short = l4t.strip_suffix(".0").unwrap_or(l4t);
    if let Some((_, jetpack)) = JETPACKS.iter().find(|(known, _)| *known == short) {
        return Some((*jetpack).to_owned());
    }
    let major = match l4t.split('.').next()? {
        "32" => "4",
        "34" | "35" => "5",
        "36" => "6",
        "38" => "7",
        _ => return None,
    };
    Some(major.to_owned())
}

/// The mode in `/var/lib/nvpmodel/status`, named by `/etc/nvpmodel.conf`.
fn power_mode(probe: &Probe) -> Option<PowerMode> {
    let status = probe.root.text("var/lib/nvpmodel/status");
    let id = status.split_whitespace().find_map(|word| word.strip_prefix("pmode:"))?.parse().ok()?;
    let modes = modes(&probe.root.text("etc/nvpmodel.conf"));
    let name_of = |wanted: u32| modes.iter().find(|(id, _)| *id == wanted).map(|(_, name)| name.clone());
    let others = modes.iter().filter(|(other, _)| *other != id).map(|(_, name)| name.clone());
    Some(PowerMode { id, name: name_of(id), others: others.collect() })
}

/// Number and name in each `< POWER_MODEL ID=0 NAME=15W >`.
fn modes(conf: &str) -> Vec<(u32, String)> {
    let lines = conf.lines().filter(|line| line.starts_with('<') && line.contains("POWER_MODEL"));
    lines
        .filter_map(|line| {
            let field = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
            Some((field("ID=")?.parse().ok()?, clean(field("NAME=")?)?))
        })
        .take(32)
        .collect()
}

/// The number of NVIDIA's unlimited mode, if another one is in force.
fn faster_mode(probe: &Probe, mode: &PowerMode) -> Option<u32> {
    if mode.name.as_deref().is_none_or(|name| name.starts_with("MAXN")) {
        return None;
    }
    let modes = modes(&probe.root.text("etc/nvpmodel.conf"));
    modes.into_iter().find(|(_, name)| name.starts_with("MAXN")).map(|(id, _)| id)
}

/// The GPU of the chip, and what keeps candle's CUDA code from it.
pub(super) fn gpu(probe: &Probe, problems: &mut Vec<Problem>) -> (Accelerator, Option<Hurdle>) {
    let chip = chip(probe);
    let name = chip.map_or_else(|| "Jetson GPU".to_owned(), |chip| format!("Jetson {} GPU", chip.gpu));
    // JetPack 4 and 5, JetPack 5 and later, and Thor.
    let candidates = ["/dev/nvhost-gpu", "/dev/nvgpu/igpu0/ctrl", "/dev/nvidia0"];
    let nodes: Vec<String> =
        candidates.iter().filter(|node| probe.root.exists(node)).map(|&node| node.to_owned()).collect();
    let hurdle = hurdle(probe, &nodes);
    let ready = hurdle.is_none();
    problems.extend(hurdle.map(|hurdle| Problem::new(name.clone(), hurdle.why, hurdle.remedy)));
    let gpu = Accelerator {
        kind: AcceleratorKind::JetsonGpu,
        name,
        location: String::new(),
        driver: None,
        driver_version: None,
        memory_mb: None,
        compute_capability: chip.map(|chip| chip.compute_capability.to_owned()),
        nodes,
        ready,
        runtime: None,
    };
    (gpu, old_cuda(probe, chip))
}

fn hurdle(probe: &Probe, nodes: &[String]) -> Option<Hurdle> {
    let Some(node) = nodes.first() else {
        return Some(if probe.in_container() {
            Hurdle::new(
                "its device nodes are not in this container",
                "start the container with --runtime nvidia",
            )
        } else {
            Hurdle::new("its device nodes are not there", "install Jetson Linux with its kernel drivers")
        });
    };
    if let Some(hurdle) = probe.node_hurdle(node, "restart", "sudo apt install --reinstall nvidia-l4t-init") {
        return Some(hurdle);
    }
    if probe.libraries.find(&["libcuda"]).is_none_or(|found| found.unusable.is_some()) {
        return Some(if probe.in_container() {
            Hurdle::new("libcuda.so.1 is not in this container", "start the container with --runtime nvidia")
        } else {
            Hurdle::new("the driver's library libcuda.so.1 is missing", "sudo apt install nvidia-l4t-cuda")
        });
    }
    None
}

fn old_cuda(probe: &Probe, chip: Option<&Chip>) -> Option<Hurdle> {
    let found = probe.libraries.find(&["libcudart"])?;
    let version = version_in(&found.file_name)?;
    let mut numbers = version.split('.').map(|n| n.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next()?, numbers.next()?);
    if (major, minor) >= MIN_CUDA {
        return None;
    }
    let why =
        format!("CUDA {major}.{minor} is older than the {}.{} that endort needs", MIN_CUDA.0, MIN_CUDA.1);
    let remedy = match chip {
        Some(chip) if chip.last_jetpack >= 5 => format!("flash JetPack {}", chip.last_jetpack),
        _ => "nothing to install: NVIDIA has no newer JetPack for this module; use its processor".to_owned(),
    };
    Some(Hurdle::new(why, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_their_jetpack() {
        let line =
            |major, revision| format!("# R{major} (release), REVISION: {revision}, GCID: 1, BOARD: generic");
        let known = [
            (line(36, "4.3"), "36.4.3", "6.2"),
            (line(36, "3.0"), "36.3.0", "6.0"),
            (line(35, "4.1"), "35.4.1", "5.1.2"),
            (line(32, "7.1"), "32.7.1", "4.6.1"),
            (line(36, "9.9"), "36.9.9", "6"),
        ];
        for (text, l4t, pack) in known {
            assert_eq!(parse_release(&text).as_deref(), Some(l4t));
            assert_eq!(jetpack(l4t).as_deref(), Some(pack));
        }
        for broken in ["", "# R (release)", "R36 REVISION: ", "# R36 (release), REVISION: x;rm"] {
            assert_eq!(parse_release(broken), None, "{broken}");
        }
        assert_eq!(jetpack("99.1"), None);
    }

    #[test]
    fn modules_by_part_number() {
        let of = |names: &[&str]| module(&names.iter().map(|&n| n.to_owned()).collect::<Vec<_>>());
        let orin = ["nvidia,p3768-0000+p3767-0005-super", "nvidia,p3767-0005", "nvidia,tegra234"];
        assert_eq!(of(&orin).as_deref(), Some("Jetson Orin Nano 8GB"));
        assert_eq!(of(&["nvidia,p2972-0000", "nvidia,tegra194"]).as_deref(), Some("Jetson AGX Xavier"));
        assert_eq!(of(&["nvidia,tegra999"]), None);
    }

    #[test]
    fn power_modes_of_a_configuration() {
        let conf = "# comment\n< PARAM TYPE=FILE NAME=CPU_ONLINE >\n< POWER_MODEL ID=0 NAME=15W >\n\
                    CPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n< PM_CONFIG DEFAULT=0 >\n";
        assert_eq!(modes(conf), [(0, "15W".to_owned()), (2, "MAXN_SUPER".to_owned())]);
    }
}

//! Macs, asked through `sysctl`: macOS has no files that tell. A captured tree holds what `sysctl` printed.

use super::command;
use super::info::{Accelerator, AcceleratorKind, Cpu, Kind, Memory, Problem};
use super::root::{Root, clean};

/// What every macOS has, and nothing else.
const VERSION: &str = "System/Library/CoreServices/SystemVersion.plist";
/// The output of `sysctl` in a captured tree.
const SAVED: &str = "sysctl.txt";
/// What is asked.
const KEYS: [&str; 3] = ["hw", "machdep.cpu.brand_string", "kern.osproductversion"];

/// Keys of sysctl(3) for instructions, and our names for them.
const FEATURES: [(&str, &str); 8] = [
    ("hw.optional.AdvSIMD", "neon"),
    ("hw.optional.arm.FEAT_FP16", "fp16"),
    ("hw.optional.arm.FEAT_DotProd", "dotprod"),
    ("hw.optional.arm.FEAT_I8MM", "i8mm"),
    ("hw.optional.arm.FEAT_BF16", "bf16"),
    ("hw.optional.avx2_0", "avx2"),
    ("hw.optional.fma", "fma"),
    ("hw.optional.avx512f", "avx512"),
];

/// What a Mac says of itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mac {
    pub kind: Kind,
    pub name: String,
    pub os: String,
    pub arch: String,
    pub cpu: Cpu,
    pub memory: Memory,
    pub gpu: Option<Accelerator>,
}

/// Whether this is macOS.
pub(super) fn is_macos(root: &Root) -> bool {
    root.exists(VERSION)
}

/// The machine, where it is a Mac: the live one is asked, of another its saved answers are read.
pub(super) fn read(root: &Root, live: bool) -> Option<Mac> {
    match live {
        true if cfg!(target_os = "macos") => parse(&command::ask("/usr/sbin/sysctl", &KEYS)?),
        true => None,
        false => parse(&root.text(SAVED)),
    }
}

/// macOS and its version, as its files have it.
pub(super) fn os(root: &Root) -> Option<String> {
    if !is_macos(root) {
        return None;
    }
    let text = root.text(VERSION);
    let after = text.split_once("<key>ProductVersion</key>").map(|(_, rest)| rest);
    let version = after.and_then(|rest| rest.split_once("<string>")?.1.split_once("</string>"));
    Some(match version.and_then(|(version, _)| clean(version)) {
        Some(version) => format!("macOS {version}"),
        None => "macOS".to_owned(),
    })
}

/// That a captured Mac's answers are not there.
pub(super) fn unknown(os: &str) -> Problem {
    let why = "what processor and memory it has is not in its files";
    let remedy = format!("on the Mac: sysctl {} > sysctl.txt, and put that into the tree", KEYS.join(" "));
    Problem::new(os, why, remedy)
}

/// What `sysctl` prints: `hw.memsize: 17179869184` and so on.
fn parse(text: &str) -> Option<Mac> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim);
    let number = |key: &str| value(key)?.parse::<u64>().ok();
    let is_arm = number("hw.optional.arm64") == Some(1);
    let threads = number("hw.logicalcpu").or(number("hw.ncpu"))? as usize;
    let fast = number("hw.perflevel0.physicalcpu").map(|cores| cores as usize);
    let has = |key: &str| number(key) == Some(1) || (key == "hw.optional.AdvSIMD" && is_arm);
    let features = FEATURES.iter().filter(|(key, _)| has(key)).map(|(_, name)| (*name).to_owned());
    let chip = value("machdep.cpu.brand_string")?.to_owned();
    let total = number("hw.memsize").map(|bytes| bytes >> 20);
    let cores = number("hw.physicalcpu").map_or(threads, |cores| cores as usize);
    Some(Mac {
        kind: if is_arm { Kind::AppleSilicon } else { Kind::Intel },
        name: format!("Apple {}", value("hw.model")?),
        os: format!("macOS {}", value("kern.osproductversion").unwrap_or("of unknown version")),
        arch: if is_arm { "aarch64" } else { "x86_64" }.to_owned(),
        cpu: Cpu {
            model: chip.clone(),
            threads_online: threads,
            cores_online: cores.clamp(1, threads.max(1)),
            fast_cores: fast,
            threads_usable: threads,
            limited_by: None,
            max_mhz: None,
            features: features.collect(),
        },
        memory: Memory { total_mb: total, usable_mb: total, available_mb: None, limited_by: None },
        gpu: is_arm.then(|| Accelerator {
            kind: AcceleratorKind::AppleGpu,
            name: format!("{chip} GPU (Metal)"),
            location: String::new(),
            driver: None,
            driver_version: None,
            memory_mb: None,
            compute_capability: None,
            nodes: vec![],
            ready: true,
            runtime: None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_intel_mac_has_what_its_processor_has() {
        let text = "hw.ncpu: 12\nhw.physicalcpu: 6\nhw.logicalcpu: 12\nhw.memsize: 17179869184\nhw.model: Macmini8,1\n\
                    hw.optional.avx2_0: 1\nhw.optional.fma: 1\nhw.optional.avx512f: 0\n\
                    machdep.cpu.brand_string: Intel(R) Core(TM) i7-8700B CPU @ 3.20GHz\nkern.osproductversion: 14.5\n";
        let mac = parse(text).unwrap();
        assert_eq!((mac.kind, mac.arch.as_str(), mac.gpu.is_some()), (Kind::Intel, "x86_64", false));
        assert_eq!(mac.cpu.features, ["avx2", "fma"]);
    }

    #[test]
    fn a_mac_by_what_sysctl_prints() {
        let text = "hw.ncpu: 8\nhw.physicalcpu: 8\nhw.logicalcpu: 8\nhw.perflevel0.physicalcpu: 4\n\
                    hw.memsize: 17179869184\nhw.model: Mac14,3\nhw.optional.arm64: 1\n\
                    hw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_I8MM: 1\nhw.optional.arm.FEAT_BF16: 0\n\
                    machdep.cpu.brand_string: Apple M2\nkern.osproductversion: 15.1\n";
        let mac = parse(text).unwrap();
        assert_eq!(
            (mac.kind, mac.name.as_str(), mac.os.as_str()),
            (Kind::AppleSilicon, "Apple Mac14,3", "macOS 15.1")
        );
        assert_eq!(mac.cpu.features, ["neon", "dotprod", "i8mm"]);
        assert_eq!(
            (mac.cpu.threads_online, mac.cpu.fast_cores, mac.memory.total_mb),
            (8, Some(4), Some(16384))
        );
        assert_eq!(mac.gpu.unwrap().name, "Apple M2 GPU (Metal)");
        assert_eq!(parse("hw.ncpu: many\n"), None);
    }
}

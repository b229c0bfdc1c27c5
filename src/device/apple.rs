//! Apple Silicon, asked through `sysctl`: macOS has no files that tell.

use super::command;
use super::info::{Accelerator, AcceleratorKind, Cpu, Kind, Memory};

/// Keys of sysctl(3) for instructions, and our names for them.
const FEATURES: [(&str, &str); 6] = [
    ("hw.optional.AdvSIMD", "neon"),
    ("hw.optional.arm.FEAT_FP16", "fp16"),
    ("hw.optional.arm.FEAT_DotProd", "dotprod"),
    ("hw.optional.arm.FEAT_I8MM", "i8mm"),
    ("hw.optional.arm.FEAT_BF16", "bf16"),
    ("hw.optional.avx2_0", "avx2"),
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

/// The live machine, where it is a Mac.
pub(super) fn live() -> Option<Mac> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    parse(&command::ask("/usr/sbin/sysctl", &["hw", "machdep.cpu.brand_string", "kern.osproductversion"])?)
}

/// What `sysctl` prints: `hw.memsize: 17179869184` and so on.
fn parse(text: &str) -> Option<Mac> {
    let value =
        |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": ")).map(str::trim);
    let number = |key: &str| value(key)?.parse::<u64>().ok();
    let is_arm = number("hw.optional.arm64") == Some(1);
    let threads = number("hw.logicalcpu").or(number("hw.ncpu"))? as usize;
    // The efficiency cores take several times as long: a thread there would be the one that all wait for.
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
            cores_online: fast.unwrap_or(cores).clamp(1, threads.max(1)),
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
        assert_eq!((mac.cpu.threads_online, mac.cpu.cores_online, mac.memory.total_mb), (8, 4, Some(16384)));
        assert_eq!(mac.gpu.unwrap().name, "Apple M2 GPU (Metal)");
        assert_eq!(parse("hw.ncpu: many\n"), None);
    }
}

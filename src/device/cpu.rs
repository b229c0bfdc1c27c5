//! The processor from `/proc/cpuinfo`: name, cores, clock and the instructions that matter to networks.

use std::collections::BTreeSet;

use super::info::Cpu;
use super::limits;
use super::root::{Root, clean};

/// Flag in `/proc/cpuinfo` and our name for it. x86's are in arch/x86/include/asm/cpufeatures.h of Linux,
/// ARM's in Documentation/arch/arm64/elf_hwcaps.rst.
const FEATURES: [(&str, &str); 15] = [
    ("avx2", "avx2"),
    ("fma", "fma"),
    ("avx512f", "avx512"),
    ("avx512_vnni", "avx512-vnni"),
    ("avx512_bf16", "avx512-bf16"),
    ("avx_vnni", "avx-vnni"),
    ("amx_int8", "amx-int8"),
    ("amx_bf16", "amx-bf16"),
    ("asimd", "neon"),
    ("neon", "neon"),
    ("asimdhp", "fp16"),
    ("asimddp", "dotprod"),
    ("i8mm", "i8mm"),
    ("bf16", "bf16"),
    ("sve", "sve"),
];

/// ARM's cores by implementer and part number, as Linux lists them in arch/arm64/include/asm/cputype.h.
const ARM_CORES: [(u32, u32, &str); 34] = [
    (0x41, 0xc07, "Cortex-A7"),
    (0x41, 0xd03, "Cortex-A53"),
    (0x41, 0xd04, "Cortex-A35"),
    (0x41, 0xd05, "Cortex-A55"),
    (0x41, 0xd07, "Cortex-A57"),
    (0x41, 0xd08, "Cortex-A72"),
    (0x41, 0xd09, "Cortex-A73"),
    (0x41, 0xd0a, "Cortex-A75"),
    (0x41, 0xd0b, "Cortex-A76"),
    (0x41, 0xd0c, "Neoverse-N1"),
    (0x41, 0xd0d, "Cortex-A77"),
    (0x41, 0xd0e, "Cortex-A76AE"),
    (0x41, 0xd40, "Neoverse-V1"),
    (0x41, 0xd41, "Cortex-A78"),
    (0x41, 0xd42, "Cortex-A78AE"),
    (0x41, 0xd44, "Cortex-X1"),
    (0x41, 0xd46, "Cortex-A510"),
    (0x41, 0xd47, "Cortex-A710"),
    (0x41, 0xd48, "Cortex-X2"),
    (0x41, 0xd49, "Neoverse-N2"),
    (0x41, 0xd4b, "Cortex-A78C"),
    (0x41, 0xd4d, "Cortex-A715"),
    (0x41, 0xd4e, "Cortex-X3"),
    (0x41, 0xd4f, "Neoverse-V2"),
    (0x41, 0xd80, "Cortex-A520"),
    (0x41, 0xd81, "Cortex-A720"),
    (0x41, 0xd82, "Cortex-X4"),
    (0x41, 0xd83, "Neoverse-V3AE"),
    (0x41, 0xd84, "Neoverse-V3"),
    (0x41, 0xd8e, "Neoverse-N3"),
    (0x4e, 0x003, "NVIDIA Denver 2"),
    (0x4e, 0x004, "NVIDIA Carmel"),
    (0xc0, 0xac3, "Ampere-1"),
    (0xc0, 0xac4, "Ampere-1a"),
];

/// `/proc/cpuinfo`, taken apart.
#[derive(Debug, Default)]
pub(super) struct CpuInfo {
    /// `vendor_id`, such as `GenuineIntel`; empty on ARM.
    pub vendor: String,
    /// `model name`, where the kernel gives one.
    pub model_name: Option<String>,
    /// The board, which a Raspberry Pi's kernel adds at the end (`Model`).
    pub board: Option<String>,
    /// The Tegra or other chip that an old kernel names (`Hardware`).
    pub hardware: Option<String>,
    /// Logical processors.
    pub processors: usize,
    /// Distinct cores, where the kernel tells packages and cores apart.
    pub cores: BTreeSet<(u32, u32)>,
    /// Kinds of ARM cores, in order of appearance, with their number.
    arm: Vec<(u32, u32, usize)>,
    /// Instructions that every processor has.
    flags: Option<BTreeSet<String>>,
    /// Highest current clock in megahertz (x86).
    mhz: Option<f64>,
    /// A flag that tells 64-bit x86 (`lm`).
    pub long_mode: bool,
    /// `CPU architecture` on ARM.
    pub arm_version: Option<u32>,
}

impl CpuInfo {
    pub fn parse(text: &str) -> Self {
        let mut info = Self::default();
        let (mut package, mut implementer) = (0, 0);
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match key.trim() {
                "processor" if value.parse::<u32>().is_ok() => info.processors += 1,
                "vendor_id" if info.vendor.is_empty() => info.vendor = clean(value).unwrap_or_default(),
                "model name" if info.model_name.is_none() => info.model_name = clean(value),
                "Model" if info.board.is_none() => info.board = clean(value),
                "Hardware" if info.hardware.is_none() => info.hardware = clean(value),
                "physical id" => package = value.parse().unwrap_or(0),
                "core id" => {
                    info.cores.extend(value.parse().ok().map(|core| (package, core)));
                }
                "cpu MHz" => {
                    let mhz: f64 = value.parse().unwrap_or(0.0);
                    info.mhz = Some(info.mhz.unwrap_or(0.0).max(mhz)).filter(|mhz| *mhz >= 1.0);
                }
                "flags" | "Features" => {
                    info.long_mode |= value.split_whitespace().any(|flag| flag == "lm");
                    let has = |flag: &str| value.split_whitespace().any(|f| f == flag);
                    let known = FEATURES.iter().filter(|(flag, _)| has(flag));
                    let names: BTreeSet<String> = known.map(|(_, name)| (*name).to_owned()).collect();
                    // A program may run on any of the cores: what one lacks does not count.
                    info.flags = Some(match info.flags.take() {
                        Some(before) => before.intersection(&names).cloned().collect(),
                        None => names,
                    });
                }
                "CPU implementer" => implementer = hex(value).unwrap_or(0),
                "CPU architecture" => info.arm_version = value.parse().ok().or(info.arm_version),
                "CPU part" => {
                    let part = hex(value).unwrap_or(0);
                    match info.arm.iter_mut().find(|(i, p, _)| (*i, *p) == (implementer, part)) {
                        Some((_, _, count)) => *count += 1,
                        None => info.arm.push((implementer, part, 1)),
                    }
                }
                _ => {}
            }
        }
        info
    }

    /// The instructions, by our names, in the order of the table.
    fn features(&self) -> Vec<String> {
        let mut names: Vec<&str> = FEATURES.iter().map(|(_, name)| *name).collect();
        names.dedup();
        let has = |name: &&str| self.flags.as_ref().is_some_and(|flags| flags.contains(*name));
        names.into_iter().filter(has).map(str::to_owned).collect()
    }

    fn name(&self, arch: &str) -> String {
        if let Some(name) = &self.model_name
            && !self.is_arm()
        {
            return name.clone();
        }
        let named: Vec<String> = self
            .arm
            .iter()
            .map(|&(implementer, part, count)| {
                let known = ARM_CORES.iter().find(|(i, p, _)| (*i, *p) == (implementer, part));
                let name = known.map_or_else(
                    || format!("ARM core {implementer:#x}:{part:#x}"),
                    |(_, _, name)| (*name).to_owned(),
                );
                if self.arm.len() > 1 { format!("{count} x {name}") } else { name }
            })
            .collect();
        match named.is_empty() {
            false => named.join(" + "),
            true => self.model_name.clone().unwrap_or_else(|| arch.to_owned()),
        }
    }

    pub fn is_arm(&self) -> bool {
        !self.arm.is_empty()
    }
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()
}

/// The processor and how much of it may be used. `info` is the root's `/proc/cpuinfo`.
pub(super) fn read(root: &Root, info: &CpuInfo, arch: &str) -> Cpu {
    let online = limits::online(root);
    let threads_online = online.as_ref().map_or(info.processors, limits::count).max(1);
    let cores = match info.cores.len() {
        // ARM kernels do not say, and no ARM core in these machines has two threads.
        0 => threads_online,
        // A kernel that lists fewer processors than are online listed fewer cores, too.
        cores => cores.min(threads_online),
    };
    let limit = limits::threads(root, threads_online);
    Cpu {
        model: info.name(arch),
        threads_online,
        cores_online: cores,
        fast_cores: None,
        threads_usable: limit.threads,
        limited_by: limit.reason,
        max_mhz: max_mhz(root).or(info.mhz.map(|mhz| mhz.round() as u64)),
        features: info.features(),
    }
}

/// Highest clock of any core that cpufreq knows of.
fn max_mhz(root: &Root) -> Option<u64> {
    let base = "sys/devices/system/cpu/cpufreq";
    let policies = root.names(base);
    let policy = policies.iter().map(|policy| format!("{base}/{policy}/cpuinfo_max_freq"));
    let khz = policy.filter_map(|path| root.number(&path)).max();
    khz.or_else(|| root.number("sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")).map(|khz| khz / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_x86_processor_has_its_cores_and_instructions() {
        let one = |n: u32, core: u32| {
            format!(
                "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) Ultra 5 125H\n\
                 physical id\t: 0\ncore id\t\t: {core}\ncpu MHz\t\t: {}.000\n\
                 flags\t\t: fpu lm avx2 fma avx_vnni\n\n",
                1200 + n
            )
        };
        let info = CpuInfo::parse(&[one(0, 0), one(1, 0), one(2, 4)].concat());
        assert_eq!((info.processors, info.cores.len()), (3, 2));
        assert_eq!(info.name("x86_64"), "Intel(R) Core(TM) Ultra 5 125H");
        assert_eq!(info.features(), ["avx2", "fma", "avx-vnni"]);
        assert!(info.long_mode && info.mhz == Some(1202.0));
    }

    #[test]
    fn arm_cores_are_named_by_their_part_and_share_what_all_of_them_have() {
        let core = |n: u32, part: &str, features: &str| {
            format!(
                "processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: 0x41\n\
                 CPU architecture: 8\nCPU part\t: {part}\n\n"
            )
        };
        let mixed =
            [core(0, "0xd05", "fp asimd asimdhp asimddp"), core(1, "0xd0b", "fp asimd asimdhp asimddp i8mm")];
        let info = CpuInfo::parse(&mixed.concat());
        assert_eq!(info.name("aarch64"), "1 x Cortex-A55 + 1 x Cortex-A76");
        assert_eq!(info.features(), ["neon", "fp16", "dotprod"]);
        let info = CpuInfo::parse(&core(0, "0x999", "fp"));
        assert_eq!((info.name("aarch64").as_str(), info.features().len()), ("ARM core 0x41:0x999", 0));
    }

    #[test]
    fn garbage_is_an_unknown_processor() {
        let info = CpuInfo::parse("\u{0}\u{1}::::\nprocessor\nflags:\ncpu MHz: NaN\nCPU part: zz\n: :");
        assert_eq!((info.processors, info.features().len()), (0, 0));
        assert_eq!(CpuInfo::parse("").name("x86_64"), "x86_64");
    }
}

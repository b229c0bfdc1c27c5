//! The machine in a few words, for reports.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::thread::available_parallelism;

use serde::{Deserialize, Serialize};

/// What a report says about the machine it was made on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The board or product, where the machine says so.
    pub device: String,
    /// The processor.
    pub cpu: String,
    /// Cores that this process may use (affinity and cgroup quota respected).
    pub cores: usize,
    /// Installed memory in mebibytes; absent where it is unknown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_mb: Option<u64>,
    /// Operating system and its version.
    pub os: String,
    /// Instruction set.
    pub arch: String,
}

impl Host {
    /// Reads the machine from its files under `root` (`/` for the machine endort runs on).
    pub fn read(root: &Path) -> Self {
        let cpuinfo = text(root, "proc/cpuinfo");
        let cpu = field(&cpuinfo, "model name").or_else(|| field(&cpuinfo, "Model"));
        let device = device_tree_model(root).or_else(|| dmi_name(root));
        let os_release = text(root, "etc/os-release");
        let os = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        let arch = std::env::consts::ARCH.to_owned();
        let cpu = cpu.unwrap_or_else(|| arch.clone());
        Self {
            device: device.unwrap_or_else(|| format!("{arch} computer")),
            cpu,
            cores: available_parallelism().map_or(1, NonZeroUsize::get),
            memory_mb: memory_mb(&text(root, "proc/meminfo")),
            os: os.map_or_else(|| std::env::consts::OS.to_owned(), |name| name.trim_matches('"').to_owned()),
            arch,
        }
    }
}

fn text(root: &Path, path: &str) -> String {
    // Device-tree strings end in a NUL byte.
    fs::read(root.join(path))
        .map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches(['\0', '\n']).to_owned())
        .unwrap_or_default()
}

fn field(cpuinfo: &str, name: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn memory_mb(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, "MemTotal")?.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024)
}

fn device_tree_model(root: &Path) -> Option<String> {
    Some(text(root, "proc/device-tree/model")).filter(|model| !model.is_empty())
}

fn dmi_name(root: &Path) -> Option<String> {
    let vendor = text(root, "sys/class/dmi/id/sys_vendor");
    let product = text(root, "sys/class/dmi/id/product_name");
    let name = format!("{vendor} {product}").trim().to_owned();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    #[test]
    fn a_board_names_itself_in_its_device_tree() {
        let root = tree(&[
            ("proc/device-tree/model", "Raspberry Pi 5 Model B Rev 1.0\0"),
            (
                "proc/cpuinfo",
                "processor\t: 0\nBogoMIPS\t: 108.00\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
            ),
            ("proc/meminfo", "MemTotal:        8245248 kB\n"),
            ("etc/os-release", "NAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ]);
        let host = Host::read(root.path());
        assert_eq!(host.device, "Raspberry Pi 5 Model B Rev 1.0");
        assert_eq!(host.memory_mb, Some(8052));
        assert_eq!(host.os, "Debian GNU/Linux 12 (bookworm)");
    }

    #[test]
    fn a_pc_names_itself_in_its_firmware_tables() {
        let root = tree(&[
            ("sys/class/dmi/id/sys_vendor", "Intel(R) Client Systems\n"),
            ("sys/class/dmi/id/product_name", "NUC12WSHi5\n"),
            ("proc/cpuinfo", "model name\t: 12th Gen Intel(R) Core(TM) i5-1240P\n"),
        ]);
        let host = Host::read(root.path());
        assert_eq!(host.device, "Intel(R) Client Systems NUC12WSHi5");
        assert_eq!(host.cpu, "12th Gen Intel(R) Core(TM) i5-1240P");
    }

    #[test]
    fn a_machine_that_says_nothing_is_still_described() {
        let host = Host::read(tree(&[]).path());
        assert!(host.device.ends_with("computer") && host.cores > 0);
        assert_eq!(host.memory_mb, None);
    }
}

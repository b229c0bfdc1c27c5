//! The machine in a few words, for reports.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::apple;
use super::board::Board;
use super::cpu::{self, CpuInfo};
use super::limits;
use super::root::{Root, clean};

/// What a report says about the machine it was made on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The board or product, where the machine says so.
    pub device: String,
    /// The processor.
    pub cpu: String,
    /// Cores that this process may use (affinity and cgroup quota respected).
    pub cores: usize,
    /// Memory that this process may use in mebibytes (cgroup limit respected); absent where it is unknown.
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
        let live = root == Path::new("/");
        let root = Root::new(root);
        let info = CpuInfo::parse(&root.text("proc/cpuinfo"));
        let board = Board::read(&root, &info);
        if let Some(mac) = apple::read(&root, live) {
            return Self {
                device: mac.name,
                cpu: mac.cpu.model,
                cores: mac.cpu.threads_usable,
                memory_mb: mac.memory.usable_mb,
                os: mac.os,
                arch: mac.arch,
            };
        }
        let cpu = cpu::read(&root, &info, &board.arch);
        Self {
            device: board.name,
            cpu: cpu.model,
            cores: cpu.threads_usable,
            memory_mb: limits::memory(&root).usable_mb,
            os: if board.os.name.is_empty() { std::env::consts::OS.to_owned() } else { board.os.name },
            arch: board.arch,
        }
    }
}

/// NVIDIA's word on its driver's version: of a Jetson its L4T release, else the kernel module's; `unknown` without.
pub fn nvidia_driver(root: &Path) -> String {
    let root = Root::new(root);
    let first_line = |path: &str| root.text(path).lines().next().and_then(clean);
    first_line("etc/nv_tegra_release")
        .or_else(|| first_line("proc/driver/nvidia/version"))
        .unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

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

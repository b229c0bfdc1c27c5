//! What a process may really use: processors by affinity and cgroup quota, memory by cgroup limit.
//!
//! Both versions of cgroups are read, and every level of the hierarchy counts, because a limit above binds as
//! one below. In a container the path of `/proc/self/cgroup` is often the host's and not there; the levels
//! that are there are the ones that bind.

use std::collections::BTreeSet;

use super::info::Memory;
use super::root::Root;

/// Processors in a list such as `0-3,8` of cpuset(7). More than this are not believed.
const MAX_CPUS: u32 = 4096;
/// Levels of a cgroup's path that are looked at.
const MAX_LEVELS: usize = 32;

/// Processors that are online.
pub(super) fn online(root: &Root) -> Option<BTreeSet<u32>> {
    parse_list(&root.word("sys/devices/system/cpu/online")?)
}

pub(super) fn count(cpus: &BTreeSet<u32>) -> usize {
    cpus.len()
}

fn parse_list(text: &str) -> Option<BTreeSet<u32>> {
    let mut cpus = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if last >= MAX_CPUS {
            return None;
        }
        cpus.extend(first..=last);
    }
    (!cpus.is_empty()).then_some(cpus)
}

/// Hardware threads that may be kept busy.
pub(super) struct ThreadLimit {
    pub threads: usize,
    pub reason: Option<String>,
}

/// How many of `online` hardware threads a process may keep busy, and what holds it back.
pub(super) fn threads(root: &Root, online: usize) -> ThreadLimit {
    let mut limit = ThreadLimit { threads: online, reason: None };
    let status = root.text("proc/self/status");
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    if let Some(cpus) = allowed.and_then(|list| parse_list(list.trim()))
        && cpus.len() < limit.threads
    {
        let list = allowed.unwrap_or_default().trim();
        limit = ThreadLimit { threads: cpus.len(), reason: Some(format!("affinity to processors {list}")) };
    }
    for (path, quota) in quotas(root) {
        // Threads beyond the quota would only be stopped until the next period.
        let threads = (quota.floor() as usize).max(1);
        if threads < limit.threads {
            let noun = if round(quota) == 1.0 { "processor" } else { "processors" };
            let reason = Some(format!("a quota of {} {noun} ({path})", round(quota)));
            limit = ThreadLimit { threads, reason };
        }
    }
    limit
}

fn round(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Quotas in processors, with the file of each: `cpu.max` of version 2 (Documentation/admin-guide/cgroup-v2)
/// and `cpu.cfs_quota_us` of version 1 (Documentation/scheduler/sched-bwc).
fn quotas(root: &Root) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    for folder in levels(root, "cpu") {
        let path = format!("{folder}/cpu.max");
        let max = root.word(&path).unwrap_or_default();
        let mut fields = max.split(' ').map(str::parse::<f64>);
        if let (Some(Ok(quota)), Some(Ok(period))) = (fields.next(), fields.next()) {
            found.push((path, quota / period));
        }
        let path = format!("{folder}/cpu.cfs_quota_us");
        // -1, which is no number here, means no quota.
        if let (Some(quota), Some(period)) =
            (root.number(&path), root.number(&format!("{folder}/cpu.cfs_period_us")))
        {
            found.push((path, quota as f64 / period as f64));
        }
    }
    found.retain(|(_, quota)| quota.is_finite() && *quota > 0.0);
    found
}

/// Folders that may hold limits of a controller for this process: its own cgroup's and all above it.
fn levels(root: &Root, controller: &str) -> Vec<String> {
    let groups = root.text("proc/self/cgroup");
    let mut folders = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let mounts: Vec<String> = if controllers.is_empty() {
            vec!["/sys/fs/cgroup".to_owned(), "/sys/fs/cgroup/unified".to_owned()]
        } else if controllers.split(',').any(|name| name == controller) {
            vec![format!("/sys/fs/cgroup/{controllers}"), format!("/sys/fs/cgroup/{controller}")]
        } else {
            continue;
        };
        for mount in mounts {
            let mut path = path.trim_matches('/');
            for _ in 0..MAX_LEVELS {
                let folder = format!("{mount}/{path}").trim_end_matches('/').to_owned();
                if !path.contains("..") && !folders.contains(&folder) && root.exists(&folder) {
                    folders.push(folder);
                }
                let Some((above, _)) = path.rsplit_once('/') else {
                    if path.is_empty() {
                        break;
                    }
                    path = "";
                    continue;
                };
                path = above;
            }
        }
    }
    folders
}

/// Main memory and what a process may use of it.
pub(super) fn memory(root: &Root) -> Memory {
    let meminfo = root.text("proc/meminfo");
    let mib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
    };
    let total = mib("MemTotal");
    let mut memory =
        Memory { total_mb: total, usable_mb: total, available_mb: mib("MemAvailable"), limited_by: None };
    for folder in levels(root, "memory") {
        for file in ["memory.max", "memory.limit_in_bytes"] {
            let path = format!("{folder}/{file}");
            // `max`, and version 1's "none", a number beyond any memory, are no limits.
            let Some(limit) = root.number(&path).map(|bytes| bytes >> 20) else { continue };
            if memory.usable_mb.is_none_or(|usable| limit < usable) && limit < 1 << 40 {
                memory.usable_mb = Some(limit);
                memory.available_mb = memory.available_mb.map(|available| available.min(limit));
                memory.limited_by = Some(format!("a limit of {limit} MB ({path})"));
            }
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        let root = Root::new(folder.path());
        (folder, root)
    }

    #[test]
    fn lists_of_processors() {
        assert_eq!(parse_list("0-3,8").unwrap().len(), 5);
        assert_eq!(parse_list("5").unwrap().len(), 1);
        for bad in ["", "a", "3-", "0-99999999", "-"] {
            assert_eq!(parse_list(bad), None, "{bad}");
        }
    }

    #[test]
    fn version_2_counts_every_level() {
        let (_folder, root) = tree(&[
            ("proc/self/cgroup", "0::/machine.slice/room.scope\n"),
            ("sys/fs/cgroup/machine.slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/machine.slice/room.scope/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/machine.slice/room.scope/memory.max", "4294967296\n"),
            ("sys/fs/cgroup/machine.slice/memory.max", "max\n"),
            ("proc/meminfo", "MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n"),
        ]);
        let limit = threads(&root, 8);
        assert_eq!(limit.threads, 1);
        assert_eq!(limit.reason.unwrap(), "a quota of 1.5 processors (/sys/fs/cgroup/machine.slice/cpu.max)");
        let memory = memory(&root);
        assert_eq!((memory.total_mb, memory.usable_mb), (Some(16384), Some(4096)));
        assert_eq!(memory.available_mb, Some(4096));
    }

    #[test]
    fn version_1_in_a_container_that_sees_the_hosts_path() {
        let (_folder, root) = tree(&[
            ("proc/self/cgroup", "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("proc/self/status", "Name:\tendort\nCpus_allowed_list:\t0-3\n"),
            ("proc/meminfo", "MemTotal: 2097152 kB\n"),
        ]);
        assert_eq!(threads(&root, 8).threads, 2);
        assert_eq!((memory(&root).usable_mb, memory(&root).limited_by), (Some(2048), None));
    }

    #[test]
    fn nonsense_limits_nothing() {
        let (_folder, root) = tree(&[
            ("proc/self/cgroup", "0::/../../etc\n::\n\u{1}"),
            ("sys/fs/cgroup/cpu.max", "0 0\n"),
            ("proc/self/status", "Cpus_allowed_list:\tall\n"),
        ]);
        assert_eq!(threads(&root, 4).threads, 4);
        assert_eq!(memory(&root).usable_mb, None);
    }
}

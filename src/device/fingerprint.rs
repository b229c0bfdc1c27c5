//! What of a machine decides how fast a runtime is there, and what has changed since it was looked at last.

use serde::{Deserialize, Serialize};

use super::info::{Machine, RuntimeFound};

/// A machine as far as the speed of runtimes goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// The board or product.
    pub device: String,
    /// The processor.
    pub cpu: String,
    /// Hardware threads that a process may keep busy.
    pub threads: usize,
    /// Accelerators with their drivers' versions.
    pub accelerators: Vec<String>,
    /// Runtimes that can be used, with their versions.
    pub runtimes: Vec<String>,
    /// Version of endort.
    pub endort: String,
}

impl Fingerprint {
    /// That of a machine that was looked at.
    pub fn of(machine: &Machine) -> Self {
        let versioned = |name: &str, version: Option<&String>| {
            version.map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
        };
        let runtime = |found: &RuntimeFound| versioned(&found.name, found.version.as_ref());
        Self {
            device: machine.device.clone(),
            cpu: machine.cpu.model.clone(),
            threads: machine.cpu.threads_usable,
            accelerators: machine
                .accelerators
                .iter()
                .map(|a| versioned(&a.name, a.driver_version.as_ref()))
                .collect(),
            runtimes: machine.runtimes.iter().filter(|r| r.unusable.is_none()).map(runtime).collect(),
            endort: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }

    /// Whether both are of the same board and processor, whatever else has changed.
    pub fn is_same_box(&self, other: &Self) -> bool {
        (&self.device, &self.cpu) == (&other.device, &other.cpu)
    }

    /// What is otherwise `now`, in a few words each; empty where nothing is.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut changes = vec![];
        if !self.is_same_box(now) {
            changes.push(format!("this is {} with {}", now.device, now.cpu));
        }
        if self.threads != now.threads {
            changes.push(format!("threads: {} then, {} now", self.threads, now.threads));
        }
        let lists = [(&self.accelerators, &now.accelerators), (&self.runtimes, &now.runtimes)];
        for (then, now) in lists {
            let of = |list: &[String], other: &[String], word: &str| -> Vec<String> {
                list.iter()
                    .filter(|name| !other.contains(name))
                    .map(|name| format!("{name} {word}"))
                    .collect()
            };
            changes.extend(of(then, now, "is not found any more"));
            changes.extend(of(now, then, "is new"));
        }
        if self.endort != now.endort {
            changes.push(format!("endort {} then, {} now", self.endort, now.endort));
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_named() {
        let then = Fingerprint {
            device: "NUC".into(),
            cpu: "i5".into(),
            threads: 4,
            accelerators: vec![],
            runtimes: vec!["candle-cpu".into(), "OpenVINO 2026.3".into()],
            endort: "0.1.0".into(),
        };
        assert_eq!(then.changes(&then), Vec::<String>::new());
        let runtimes = vec!["candle-cpu".into(), "OpenVINO 2026.4".into()];
        let now = Fingerprint { threads: 2, runtimes, ..then.clone() };
        assert_eq!(
            then.changes(&now),
            ["threads: 4 then, 2 now", "OpenVINO 2026.3 is not found any more", "OpenVINO 2026.4 is new"]
        );
        assert!(then.is_same_box(&now));
        assert!(!then.is_same_box(&Fingerprint { cpu: "i7".into(), ..then.clone() }));
    }
}

//! Settings in layers: defaults, then `endort.toml`, then `REALTIME_*` variables, then flags.
//!
//! Each value remembers where it came from. The environment is handed in as a map and the file as text, so
//! that nothing below the command line reads either.

mod file;
mod server;
mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
pub use server::{RoomSetting, Server, ServerFlags};
pub use value::{
    Device, OptimizationLevel, Paths, Precision, parse_buffer_size, parse_max_latency_ms, parse_target_fps,
};

/// Prefix of the variables that set something; an unknown one with this prefix is an error.
pub const VARIABLE_PREFIX: &str = "REALTIME_";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a settings file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
    /// A flag of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value in force.
    pub value: T,
    /// Who set it.
    pub origin: Origin,
}

impl<T> Setting<T> {
    fn default_of(value: T) -> Self {
        Self { value, origin: Origin::Default }
    }

    fn set(&mut self, value: T, origin: &Origin) {
        *self = Self { value, origin: origin.clone() };
    }

    /// Sets what could be read, passes on what could not.
    fn take(&mut self, read: Parsed<T>, origin: &Origin) -> Parsed<()> {
        self.set(read?, origin);
        Ok(())
    }
}

/// The settings that every command which runs a model shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Realtime {
    /// Whether the AI lane runs at all; without it the video passes unmarked.
    pub enabled: Setting<bool>,
    /// Frames per second that the budget asks for.
    pub target_fps: Setting<f64>,
    /// Longest time from captured to presented, in milliseconds, before a frame counts as a violation.
    pub max_latency_ms: Setting<f64>,
    /// Frames that may wait for the AI.
    pub buffer_size: Setting<usize>,
    /// Where the network runs.
    pub device: Setting<Device>,
    /// What executes the network.
    pub runtime: Setting<String>,
    /// How far the network is rewritten before it runs.
    pub optimization_level: Setting<OptimizationLevel>,
    /// Where vendors' runtimes are looked for before the system's folders.
    pub runtime_path: Setting<Paths>,
}

/// Runtime that is used where nobody names one.
pub const DEFAULT_RUNTIME: &str = "auto";
/// Runtime that `REALTIME_USE_TPU` stands for.
const TPU_RUNTIME: &str = "edge-tpu";

impl Default for Realtime {
    fn default() -> Self {
        Self {
            enabled: Setting::default_of(true),
            target_fps: Setting::default_of(30.0),
            max_latency_ms: Setting::default_of(200.0),
            buffer_size: Setting::default_of(5),
            device: Setting::default_of(Device::Auto),
            runtime: Setting::default_of(DEFAULT_RUNTIME.to_owned()),
            optimization_level: Setting::default_of(OptimizationLevel::default()),
            runtime_path: Setting::default_of(Paths::default()),
        }
    }
}

/// What the flags say; `None` where a flag is absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flags {
    /// `--no-ai` was given.
    pub no_ai: bool,
    /// `--target-fps`
    pub target_fps: Option<f64>,
    /// `--max-latency-ms`
    pub max_latency_ms: Option<f64>,
    /// `--buffer-size`
    pub buffer_size: Option<usize>,
    /// `--device`
    pub device: Option<Device>,
    /// `--runtime`
    pub runtime: Option<String>,
    /// `--optimization-level`
    pub optimization_level: Option<OptimizationLevel>,
    /// `--runtime-path`
    pub runtime_path: Option<Paths>,
}

/// A settings file that has been read.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    /// The file as the user named it, for messages.
    pub path: &'a std::path::Path,
    /// Its content.
    pub text: &'a str,
}

impl Realtime {
    /// Puts the layers on top of each other.
    ///
    /// # Errors
    ///
    /// [`Error::Setting`] for a key or variable that is unknown or has an impossible value, and
    /// [`Error::Config`] for a file that is not TOML; both name the place.
    pub fn resolve(
        file: Option<File<'_>>,
        variables: &BTreeMap<String, String>,
        flags: &Flags,
    ) -> Result<Self> {
        let mut settings = Self::default();
        if let Some(file) = file {
            file::apply(&mut settings, file)?;
        }
        settings.apply_variables(variables)?;
        settings.apply_flags(flags);
        Ok(settings)
    }

    /// Name, value and origin of each setting, for people.
    pub fn rows(&self) -> Vec<(&'static str, String, &Origin)> {
        fn row<'a, T: ToString>(
            name: &'static str,
            setting: &'a Setting<T>,
        ) -> (&'static str, String, &'a Origin) {
            (name, setting.value.to_string(), &setting.origin)
        }
        vec![
            row("enabled", &self.enabled),
            row("target_fps", &self.target_fps),
            row("max_latency_ms", &self.max_latency_ms),
            row("buffer_size", &self.buffer_size),
            row("device", &self.device),
            row("runtime", &self.runtime),
            row("optimization_level", &self.optimization_level),
            row("runtime_path", &self.runtime_path),
        ]
    }

    fn apply_variables(&mut self, variables: &BTreeMap<String, String>) -> Result<()> {
        for (name, text) in variables.range(VARIABLE_PREFIX.to_owned()..) {
            let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else { break };
            let key = KEYS.iter().find(|key| key.variable == name).ok_or_else(|| Error::Setting {
                origin: "environment".to_owned(),
                key: name.clone(),
                value: text.clone(),
                allowed: unknown(&rest.to_lowercase(), |key| key.variable),
            })?;
            (key.set)(self, text.trim(), &Origin::Variable(key.variable)).map_err(|allowed| {
                Error::Setting {
                    origin: "environment".to_owned(),
                    key: name.clone(),
                    value: text.clone(),
                    allowed,
                }
            })?;
        }
        Ok(())
    }

    fn apply_flags(&mut self, flags: &Flags) {
        fn put<T: Clone>(setting: &mut Setting<T>, value: Option<&T>, flag: &'static str) {
            if let Some(value) = value {
                setting.set(value.clone(), &Origin::Flag(flag));
            }
        }
        put(&mut self.enabled, flags.no_ai.then_some(&false), "--no-ai");
        put(&mut self.target_fps, flags.target_fps.as_ref(), "--target-fps");
        put(&mut self.max_latency_ms, flags.max_latency_ms.as_ref(), "--max-latency-ms");
        put(&mut self.buffer_size, flags.buffer_size.as_ref(), "--buffer-size");
        put(&mut self.device, flags.device.as_ref(), "--device");
        put(&mut self.runtime, flags.runtime.as_ref(), "--runtime");
        put(&mut self.optimization_level, flags.optimization_level.as_ref(), "--optimization-level");
        put(&mut self.runtime_path, flags.runtime_path.as_ref(), "--runtime-path");
    }
}

/// What a value looks like in a TOML file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Text,
}

/// A value, or what would have been allowed.
type Parsed<T> = std::result::Result<T, String>;
type Setter = fn(&mut Realtime, &str, &Origin) -> Parsed<()>;

/// A key of `[realtime]`, the variable of the same meaning, and how its text becomes a value.
struct Key {
    name: &'static str,
    variable: &'static str,
    kind: Kind,
    set: Setter,
}

const KEYS: [Key; 8] = [
    Key {
        name: "enabled",
        variable: "REALTIME_ENABLED",
        kind: Kind::Boolean,
        set: |s, text, origin| s.enabled.take(value::parse_bool(text), origin),
    },
    Key {
        name: "target_fps",
        variable: "REALTIME_TARGET_FPS",
        kind: Kind::Number,
        set: |s, text, origin| s.target_fps.take(parse_target_fps(text), origin),
    },
    Key {
        name: "max_latency_ms",
        variable: "REALTIME_MAX_LATENCY_MS",
        kind: Kind::Number,
        set: |s, text, origin| s.max_latency_ms.take(parse_max_latency_ms(text), origin),
    },
    Key {
        name: "buffer_size",
        variable: "REALTIME_BUFFER_SIZE",
        kind: Kind::Number,
        set: |s, text, origin| s.buffer_size.take(parse_buffer_size(text), origin),
    },
    Key {
        name: "use_gpu",
        variable: "REALTIME_USE_GPU",
        kind: Kind::Boolean,
        set: |s, text, origin| {
            let device = |gpu| if gpu { Device::Auto } else { Device::Cpu };
            s.device.take(value::parse_bool(text).map(device), origin)
        },
    },
    Key {
        name: "use_tpu",
        variable: "REALTIME_USE_TPU",
        kind: Kind::Boolean,
        set: |s, text, origin| {
            let runtime = |tpu| if tpu { TPU_RUNTIME } else { DEFAULT_RUNTIME }.to_owned();
            s.runtime.take(value::parse_bool(text).map(runtime), origin)
        },
    },
    Key {
        name: "optimization_level",
        variable: "REALTIME_OPTIMIZATION_LEVEL",
        kind: Kind::Text,
        set: |s, text, origin| s.optimization_level.take(text.parse(), origin),
    },
    Key {
        name: "runtime_path",
        variable: "REALTIME_RUNTIME_PATH",
        kind: Kind::Text,
        set: |s, text, origin| s.runtime_path.take(text.parse(), origin),
    },
];

/// What to say of a key that does not exist: the closest one that does, or all of them.
fn unknown(name: &str, show: fn(&Key) -> &'static str) -> String {
    let closest = KEYS.iter().max_by_key(|key| similar_letters(name, key.name));
    match closest {
        Some(key) if similar_letters(name, key.name) * 4 >= key.name.len() * 3 => {
            format!("unknown, did you mean {}?", show(key))
        }
        _ => format!("unknown, known are {}", KEYS.each_ref().map(show).join(", ")),
    }
}

/// Length of the longest common subsequence: high for a name with a letter missing, doubled or swapped.
fn similar_letters(a: &str, b: &str) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a.bytes() {
        let mut diagonal = 0;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests;

//! The one setting to begin with: which runtime, number format, input size and threads fit a machine.
//!
//! Accelerators are matched against a table that names only what this version of endort executes (`route.rs`).
//! On the processor the input size follows an estimate of its arithmetic; `endort bench` measures what it is worth.

use serde::{Deserialize, Serialize};

use super::board::UNKNOWN_ARCH;
use super::info::{Accelerator, Cpu, Machine};
use super::route::{EDGE_TPU_COMPILER, ROUTES, folder_to_name, on_the_cpu};
use super::target::Target;
use crate::config::Precision;

/// A setting and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recommendation {
    /// What to optimize a model for.
    pub target: Target,
    /// The runtime, as `--runtime` takes it.
    pub runtime: String,
    /// The number format.
    pub precision: Precision,
    /// Width of the network's input in pixels.
    pub input_width_px: usize,
    /// Height of the network's input in pixels.
    pub input_height_px: usize,
    /// Threads for the network.
    pub threads: usize,
    /// Why.
    pub reason: String,
    /// The command to run next.
    pub next: String,
}

/// What a network asks of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// The model's name, as `--model` takes it.
    pub model: String,
    /// Width of its input in pixels.
    pub width_px: usize,
    /// Height of its input in pixels.
    pub height_px: usize,
    /// Multiplications with addition for one frame of that size.
    pub macs: u64,
}

impl Default for Workload {
    /// The built-in model.
    fn default() -> Self {
        Self { model: "polyp-lite".to_owned(), width_px: 352, height_px: 288, macs: 873_421_184 }
    }
}

/// GPU code that a build of endort contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Build {
    /// Built with `--features cuda`.
    pub cuda: bool,
    /// Built with `--features metal`.
    pub metal: bool,
}

impl Build {
    /// This build.
    pub const fn current() -> Self {
        Self { cuda: cfg!(feature = "cuda"), metal: cfg!(feature = "metal") }
    }
}

/// The runtime that every build has.
pub(super) const CPU_RUNTIME: &str = "candle-cpu";

/// The setting to begin with on `machine` for `workload`.
pub fn recommend(machine: &Machine, workload: &Workload) -> Recommendation {
    let usable = |kind, runtime: &str| {
        let fits = |a: &&Accelerator| a.kind == kind && a.ready && a.runtime.as_deref() == Some(runtime);
        machine.accelerators.iter().find(fits)
    };
    let best = ROUTES.iter().find_map(|route| Some((route, usable(route.accelerator, route.runtime)?)));
    let mut advice = match best {
        Some((route, accelerator)) => Recommendation {
            target: route.target,
            runtime: route.runtime.to_owned(),
            precision: route.precision,
            input_width_px: workload.width_px,
            input_height_px: workload.height_px,
            threads: threads(&machine.cpu),
            reason: format!("{} and all that {} needs are there", accelerator.name, route.runtime),
            next: String::new(),
        },
        None => on_the_processor(machine, workload),
    };
    let compiler = machine.runtimes.iter().any(|runtime| runtime.name == EDGE_TPU_COMPILER);
    let can_make = advice.target != Target::Coral || compiler;
    let others = if best.is_none() { on_the_cpu(&machine.runtimes) } else { vec![] };
    let (runtime, folders) = match best {
        Some((route, _)) => (route.runtime, route.library_folder(&machine.runtimes).into_iter().collect()),
        None if others.is_empty() => (CPU_RUNTIME, vec![]),
        None => (ALL, others.iter().filter_map(|found| folder_to_name(found)).collect()),
    };
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|found| found.name.as_str()).collect();
        let there = if others.len() == 1 { "is" } else { "are" };
        advice.reason.push_str(&format!("; {} {there} there too, and may be faster", list(&names)));
    }
    advice.next = next(&advice, workload, runtime, &folders, can_make);
    advice
}

/// `a`, `a and b`, `a, b and c`.
fn list(names: &[&str]) -> String {
    match names {
        [first @ .., last] if !first.is_empty() => format!("{} and {last}", first.join(", ")),
        _ => names.concat(),
    }
}

/// The command to run next: measure, on a model made for the machine where that differs from the one there is.
/// Where it cannot be made on the machine, a problem says so.
fn next(
    advice: &Recommendation,
    workload: &Workload,
    runtime: &str,
    folders: &[String],
    can_make: bool,
) -> String {
    let mut make = String::new();
    let mut bench = "endort bench".to_owned();
    let size = format!("{}x{}", advice.input_width_px, advice.input_height_px);
    let own_size = (advice.input_width_px, advice.input_height_px) == (workload.width_px, workload.height_px);
    if advice.target != Target::Cpu || !own_size {
        let kind = if own_size { advice.target.to_string() } else { size.clone() };
        let made = format!("{}-{kind}", workload.model);
        let shrink = if own_size { String::new() } else { format!(" --input-size {size}") };
        let (model, target, precision) = (&workload.model, advice.target, advice.precision);
        if can_make {
            make = format!(
                "endort optimize {model} --target {target} --precision {precision}{shrink} -o {made} && "
            );
        }
        bench.push_str(&format!(" --model {made}"));
    }
    let runtime_path = match folders.is_empty() {
        true => String::new(),
        false => format!(" --runtime-path {}", folders.join(":")),
    };
    // What is measured for `auto` holds for commands with as many threads, and those that follow will name none.
    let threads = if runtime == ALL { String::new() } else { format!(" --threads {}", advice.threads) };
    format!("{make}{bench} --runtime {runtime}{threads}{runtime_path}")
}

fn on_the_processor(machine: &Machine, workload: &Workload) -> Recommendation {
    let cpu = &machine.cpu;
    let threads = threads(cpu);
    let speed = estimated_gmacs_per_s(cpu, &machine.arch, threads);
    let (width, height) = fitting_size(workload, speed);
    let cores = if threads == 1 { "one thread".to_owned() } else { format!("{threads} threads") };
    let milliseconds = match estimated_ms(workload, (width, height), speed) {
        // Below that, other things than arithmetic decide.
        ms if ms < 10.0 => "less than 10 ms".to_owned(),
        ms => format!("about {ms:.0} ms"),
    };
    let simd = simd(cpu, &machine.arch);
    let size = if (width, height) == (workload.width_px, workload.height_px) {
        format!("{cores} with {simd} should take {milliseconds} a frame")
    } else {
        let full = estimated_ms(workload, (workload.width_px, workload.height_px), speed);
        format!(
            "{cores} with {simd} should take {milliseconds} a frame at this input size, and {full:.0} ms at the \
             model's own {}x{}",
            workload.width_px, workload.height_px
        )
    };
    let in_trouble = |a: &&Accelerator| machine.problems.iter().any(|problem| problem.what == a.name);
    let why = match machine.accelerators.iter().find(in_trouble) {
        Some(accelerator) => format!("{} cannot be used as it is (see above)", accelerator.name),
        None if machine.accelerators.is_empty() => "no accelerator was found".to_owned(),
        None => "endort has no runtime for the accelerators of this machine".to_owned(),
    };
    let (width, height, size) = match machine.cpu.features.is_empty() && machine.arch == UNKNOWN_ARCH {
        true => (workload.width_px, workload.height_px, "nothing is known of the processor".to_owned()),
        false => (width, height, format!("{size} (estimated)")),
    };
    Recommendation {
        target: Target::Cpu,
        runtime: CPU_RUNTIME.to_owned(),
        precision: Precision::Fp32,
        input_width_px: width,
        input_height_px: height,
        threads,
        reason: format!("{why}; {size}"),
        next: String::new(),
    }
}

/// One thread per core that may be used, slow ones left out: all would wait for the thread there. Beyond eight, whether more help is for `endort bench` to say: the
/// network has a few hundred small steps, and each waits for its slowest thread.
fn threads(cpu: &Cpu) -> usize {
    cpu.threads_usable.min(cpu.fast_cores.unwrap_or(cpu.cores_online)).clamp(1, 8)
}

/// The widest arithmetic that endort uses of the processor; on 32-bit systems it has none of its own.
fn simd(cpu: &Cpu, arch: &str) -> &'static str {
    let has = |name: &str| cpu.features.iter().any(|feature| feature == name);
    match () {
        () if arch == "arm" || arch == "x86" => BASIC,
        () if has("avx512") => "AVX-512",
        () if has("avx2") && has("fma") => "AVX2",
        () if has("sve") => "SVE",
        () if has("neon") => "NEON",
        () => BASIC,
    }
}

/// What puts all runtimes that are present side by side.
const ALL: &str = "all";

/// What is left where there are no wide registers.
const BASIC: &str = "basic instructions";

/// Multiplications with addition in 32-bit floats that a core begins per clock: width of its registers times
/// its pipes. Cores before ARM's v8.2 (the first with `dotprod`) have half the pipes (ARM's optimization guides).
fn macs_per_clock(cpu: &Cpu, arch: &str) -> f64 {
    match simd(cpu, arch) {
        "AVX-512" => 32.0,
        "AVX2" => 16.0,
        "SVE" | "NEON" if cpu.features.iter().any(|feature| feature == "dotprod") => 8.0,
        "SVE" | "NEON" => 4.0,
        _ => 1.0,
    }
}

/// Share of the arithmetic that candle-cpu reaches with `polyp-lite`: 15 ms on two AVX-512 cores at 2.6 GHz.
const EFFICIENCY: f64 = 0.35;
/// Clock to reckon with where a machine keeps its own to itself.
const UNKNOWN_MHZ: u64 = 2000;
/// Time for one frame that leaves room for 30 frames a second.
const FRAME_MS: f64 = 33.0;
/// Time up to which the model keeps its own input size: the estimate is too rough to give it up for less.
const OWN_SIZE_MS: f64 = 1.25 * FRAME_MS;
/// Networks of this kind halve their input five times.
const STEP_PX: usize = 32;
/// Below this, small polyps are a few pixels.
const MIN_WIDTH_PX: usize = 160;

fn estimated_gmacs_per_s(cpu: &Cpu, arch: &str, threads: usize) -> f64 {
    let gigahertz = cpu.max_mhz.unwrap_or(UNKNOWN_MHZ) as f64 / 1e3;
    threads as f64 * macs_per_clock(cpu, arch) * gigahertz * EFFICIENCY
}

/// Time for one frame in milliseconds: the work grows with the input's area.
fn estimated_ms(workload: &Workload, (width, height): (usize, usize), gmacs_per_s: f64) -> f64 {
    let share = (width * height) as f64 / (workload.width_px * workload.height_px).max(1) as f64;
    workload.macs as f64 * share / gmacs_per_s / 1e6
}

/// The largest input of the workload's shape, in whole steps, that is done within a frame's time; the smallest
/// where none is.
fn fitting_size(workload: &Workload, gmacs_per_s: f64) -> (usize, usize) {
    let own = (workload.width_px, workload.height_px);
    let smaller = (MIN_WIDTH_PX..workload.width_px).rev().filter(|width| width % STEP_PX == 0).map(|width| {
        let height = width * workload.height_px / workload.width_px;
        (width, (height + STEP_PX / 2) / STEP_PX * STEP_PX)
    });
    if estimated_ms(workload, own, gmacs_per_s) <= OWN_SIZE_MS {
        return own;
    }
    let mut last = own;
    for size in smaller.filter(|(_, height)| *height > 0) {
        last = size;
        if estimated_ms(workload, size, gmacs_per_s) <= FRAME_MS {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(threads: usize, max_mhz: u64, features: &[&str]) -> Cpu {
        Cpu {
            model: "test".to_owned(),
            threads_online: threads,
            cores_online: threads,
            fast_cores: None,
            threads_usable: threads,
            limited_by: None,
            max_mhz: Some(max_mhz),
            features: features.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn the_estimate_meets_what_was_measured() {
        // README: 15 ms on two AVX-512 cores of a Xeon.
        let speed = estimated_gmacs_per_s(&cpu(2, 2600, &["avx2", "avx512", "fma"]), "x86_64", 2);
        let ms = estimated_ms(&Workload::default(), (352, 288), speed);
        assert!((12.0..18.0).contains(&ms), "{ms}");
    }

    #[test]
    fn a_weak_processor_gets_a_smaller_input_of_the_same_shape() {
        let workload = Workload::default();
        let strong = estimated_gmacs_per_s(&cpu(4, 3000, &["avx2", "fma"]), "x86_64", 4);
        assert_eq!(fitting_size(&workload, strong), (352, 288));
        let pi4 = estimated_gmacs_per_s(&cpu(4, 1800, &["neon"]), "aarch64", 4);
        let (width, height) = fitting_size(&workload, pi4);
        assert!(width < 352 && width % 32 == 0 && height % 32 == 0, "{width}x{height}");
        assert!(estimated_ms(&workload, (width, height), pi4) <= FRAME_MS);
        assert_eq!(fitting_size(&workload, 0.01), (160, 128));
    }

    #[test]
    fn an_odd_workload_is_no_trap() {
        let of = |width_px, height_px, macs| Workload { width_px, height_px, macs, ..Workload::default() };
        let tiny = of(0, 0, 0);
        assert_eq!(fitting_size(&tiny, 1.0), (0, 0));
        let wide = of(4096, 2, u64::MAX);
        assert_eq!(fitting_size(&wide, 1.0), (4096, 2));
    }
}

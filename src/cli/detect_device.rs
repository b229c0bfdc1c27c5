//! `endort detect-device`: what this box is, what it can use, and what it is missing.

use std::path::PathBuf;

use comfy_table::{ContentArrangement, Table, presets};

use super::args::DEFAULT_MODEL;
use super::{Context, Outcome, fastest, machine};
use crate::config::{Flags, Realtime};
use crate::device::info::{
    Accelerator, Cpu, DeviceInfo, Machine, Measured, Memory, RuntimeFound, VideoDecode,
};
use crate::device::{Options, detect};
use crate::error::Result;

/// Say what this box is and what to run on it
///
/// Finds the board, the processor and what may be used of it, accelerators, inference runtimes, video decoding
/// in hardware and cameras; says what is there but cannot be used, and what to do about it; recommends one
/// setting to begin with.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Print one JSON document and nothing else
    #[arg(long)]
    pub json: bool,

    /// Look at the machine whose /proc, /sys, /dev, /etc, /usr and /var lie below DIR
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// What this machine is, and what was measured on it.
///
/// # Errors
/// What is needed to look at it cannot be read.
pub fn this_machine(settings: &Realtime) -> Result<DeviceInfo> {
    let mut info = detect(&machine::options(settings))?;
    info.measured = fastest::measured(DEFAULT_MODEL, settings);
    if info.measured.is_some() {
        // That has been done: what auto takes is to hold the budget.
        let next = &mut info.recommendation.next;
        *next = next.replace("--runtime all", "--runtime auto");
    }
    Ok(info)
}

/// Looks at the machine and prints what was found.
///
/// # Errors
/// A root that cannot be read, and standard output that cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    // Whatever is looked at, a settings file that is named is checked.
    let settings = context.settings(&Flags::default())?;
    let info = match &args.root {
        Some(root) => detect(&Options::captured(root))?,
        None => this_machine(&settings)?,
    };
    if args.json {
        let json = serde_json::to_string_pretty(&info)
            .map_err(|error| crate::Error::Write { path: "standard output".into(), source: error.into() })?;
        context.console.print(&json)?;
    } else {
        context.console.print(&report(&info, context.console.width()))?;
    }
    Ok(Outcome::Done)
}

/// The report for people.
fn report(info: &DeviceInfo, width: Option<u16>) -> String {
    let machine = &info.machine;
    let mut parts = vec![heading(machine), table(machine, width)];
    if !machine.problems.is_empty() {
        parts.push(problems(machine));
    }
    let advice = &info.recommendation;
    let threads =
        if advice.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", advice.threads) };
    let mut lines = vec![
        format!(
            "recommended: {}, {}, input {}x{}, {threads}",
            advice.runtime, advice.precision, advice.input_width_px, advice.input_height_px
        ),
        format!("  because {}", advice.reason),
    ];
    if let Some(Measured { model, runtime, because }) = &info.measured {
        lines.push(format!("measured: {runtime} is the fastest here for {model} ({because}); auto takes it"));
    }
    lines.push(format!("next: {}", advice.next));
    parts.push(lines.join("\n"));
    parts.join("\n\n")
}

fn heading(machine: &Machine) -> String {
    let container =
        machine.container.as_ref().map_or_else(String::new, |name| format!(", in a container ({name})"));
    format!("{} ({}, {})\n{}{container}", machine.device, machine.kind.title(), machine.arch, machine.os)
}

fn table(machine: &Machine, width: Option<u16>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    if let Some(width) = width {
        table.set_width(width).set_content_arrangement(ContentArrangement::Dynamic);
    }
    for (name, lines) in rows(machine) {
        table.add_row([name.to_owned(), lines.join("\n")]);
    }
    table.to_string()
}

fn rows(machine: &Machine) -> Vec<(&'static str, Vec<String>)> {
    let mut rows = Vec::new();
    if let Some(jetson) = &machine.jetson {
        let module = [jetson.module.clone(), jetson.chip.clone()].into_iter().flatten().collect::<Vec<_>>();
        rows.push(("module", vec![or_unknown(&module.join(", "))]));
        let linux = jetson.l4t.as_ref().map_or_else(|| "unknown".to_owned(), |l4t| format!("L4T {l4t}"));
        let jetpack =
            jetson.jetpack.as_ref().map_or_else(String::new, |jetpack| format!(" (JetPack {jetpack})"));
        rows.push(("Jetson Linux", vec![format!("{linux}{jetpack}")]));
        if let Some(mode) = &jetson.power_mode {
            let name = mode.name.clone().unwrap_or_else(|| "unnamed".to_owned());
            let others = if mode.others.is_empty() {
                String::new()
            } else {
                format!("; others: {}", mode.others.join(", "))
            };
            rows.push(("power mode", vec![format!("{name} (nvpmodel {}){others}", mode.id)]));
        }
    }
    rows.push(("processor", processor(&machine.cpu)));
    rows.push(("memory", memory(&machine.memory)));
    if let Some(state) = machine.raspberry_pi.as_ref().and_then(|pi| pi.throttled.as_ref()) {
        let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        rows.push((
            "power, heat",
            vec![format!("now: {}; since the start: {}", list(&state.now), list(&state.since_boot))],
        ));
    }
    rows.push((
        "accelerators",
        or_none(machine.accelerators.iter().map(|a| accelerator(a, machine)).collect()),
    ));
    rows.push(("runtimes", or_none(machine.runtimes.iter().map(runtime).collect())));
    if let Some(decode) = &machine.video_decode {
        rows.push(("video decoding", video(decode)));
    }
    let camera = |camera: &crate::device::info::Camera| {
        format!("{} {}{}", camera.node, camera.name, if camera.ready { "" } else { ": NOT USABLE" })
    };
    rows.push(("cameras", or_none(machine.cameras.iter().map(camera).collect())));
    rows
}

fn or_unknown(text: &str) -> String {
    if text.is_empty() { "unknown".to_owned() } else { text.to_owned() }
}

fn or_none(lines: Vec<String>) -> Vec<String> {
    if lines.is_empty() { vec!["none found".to_owned()] } else { lines }
}

fn processor(cpu: &Cpu) -> Vec<String> {
    let count = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
    let mut size = count(cpu.cores_online, "core");
    if let Some(fast) = cpu.fast_cores.filter(|&fast| fast < cpu.cores_online) {
        size.push_str(&format!(" ({fast} fast)"));
    }
    if cpu.threads_online != cpu.cores_online {
        size = format!("{size}, {}", count(cpu.threads_online, "thread"));
    }
    let clock = cpu.max_mhz.map_or_else(String::new, |mhz| format!(", {:.1} GHz", mhz as f64 / 1e3));
    let mut lines = vec![format!("{}, {size}{clock}", cpu.model)];
    lines.push(match cpu.features.is_empty() {
        true => "no wide instructions that endort uses".to_owned(),
        false => cpu.features.join(", "),
    });
    if let Some(reason) = &cpu.limited_by {
        lines.push(format!("may use {}: {reason}", count(cpu.threads_usable, "thread")));
    }
    lines
}

fn memory(memory: &Memory) -> Vec<String> {
    let gb = |mb: u64| format!("{:.1} GB", mb as f64 / 1024.0);
    let total = memory.total_mb.map_or_else(|| "unknown".to_owned(), gb);
    let free = memory.available_mb.map_or_else(String::new, |mb| format!(", {} available now", gb(mb)));
    let mut lines = vec![format!("{total}{free}")];
    if let (Some(reason), Some(usable)) = (&memory.limited_by, memory.usable_mb) {
        lines.push(format!("may use {}: {reason}", gb(usable)));
    }
    lines
}

fn accelerator(accelerator: &Accelerator, machine: &Machine) -> String {
    let mut details: Vec<String> = Vec::new();
    if !accelerator.location.is_empty() {
        details.push(accelerator.location.clone());
    }
    if let Some(driver) = &accelerator.driver {
        let version =
            accelerator.driver_version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
        details.push(format!("driver {driver}{version}"));
    }
    if let Some(mb) = accelerator.memory_mb {
        details.push(format!("{:.1} GB", mb as f64 / 1024.0));
    }
    if let Some(capability) = &accelerator.compute_capability {
        details.push(format!("compute capability {capability}"));
    }
    let details = if details.is_empty() { String::new() } else { format!(" ({})", details.join(", ")) };
    let state = match (accelerator.ready, &accelerator.runtime) {
        (false, _) => "NOT USABLE".to_owned(),
        (true, Some(runtime)) => format!("ready for {runtime}"),
        (true, None) if machine.problems.iter().any(|problem| problem.what == accelerator.name) => {
            "there, but not for endort yet (see below)".to_owned()
        }
        (true, None) => "ready, but endort has no runtime for it".to_owned(),
    };
    format!("{}{details}: {state}", accelerator.name)
}

fn runtime(runtime: &RuntimeFound) -> String {
    let version = runtime.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
    let state = if runtime.unusable.is_some() { ": NOT USABLE" } else { "" };
    match &runtime.path {
        Some(path) => format!("{}{version}, {path} ({}){state}", runtime.name, runtime.found_by),
        None => format!("{}{version} ({}){state}", runtime.name, runtime.found_by),
    }
}

fn video(decode: &VideoDecode) -> Vec<String> {
    let ready = decode.hardware.iter().filter(|way| way.ready);
    let lines: Vec<String> = ready.map(|way| format!("{}: {}", way.api, way.codecs.join(", "))).collect();
    match lines.is_empty() {
        true => vec![format!("by the processor (FFmpeg {} found no hardware for it)", decode.ffmpeg)],
        false => lines,
    }
}

fn problems(machine: &Machine) -> String {
    let lines = machine
        .problems
        .iter()
        .map(|problem| format!("  {}: {}\n    -> {}", problem.what, problem.why, problem.remedy));
    format!("to be fixed:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

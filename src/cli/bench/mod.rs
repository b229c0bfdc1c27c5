//! `endort bench`: does this box hold the budget?

pub(super) mod accuracy;
mod compare;
mod fastest;
mod measure;
mod report;
mod tables;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::args::{DEFAULT_MODEL, RealtimeArgs, precision};
use super::fastest::memory;
use super::model::{self, Choice, NO_MODEL};
use super::{Context, Outcome};
use crate::config::{Device, Origin, Precision, Realtime};
use crate::device::host::Host;
use crate::error::{Error, Result};
use crate::model::Package;
use crate::pipeline;
use crate::pipeline::processor::ProcessorOptions;
use crate::sink::output::{Output, folder_of, is_special};
use crate::vision::metrics::AccuracySummary;
use fastest::{Chooser, FastestRuntime};
use measure::Setup;
use report::{Report, Run, SourceReport, Verdict};
use tables::Style;

/// Measure whether this box holds the budget
///
/// Runs a source through the model, at camera pace and at full speed, and prints frames per second, latency
/// per stage and in total, violations, and a verdict.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A file, folder, glob, address, /dev/videoN, or `synthetic[:WxH@FPS]`
    #[arg(value_name = "SOURCE", default_value = "synthetic:1280x720@30")]
    pub source: String,

    /// Model to measure; repeat it for several
    #[arg(long, value_name = "MODEL", default_value = DEFAULT_MODEL, help_heading = "Model")]
    pub model: Vec<String>,

    /// Runtime to measure (candle-cpu, onnxruntime, openvino, tflite, …), or `all`; repeat it for several [default: auto]
    ///
    /// `all` puts those that are present side by side. The fastest of them that sees the same is what `auto` takes for
    /// this model on this box from then on: Dice at most 0.01 below the best with --ground-truth, outputs within 5 % of
    /// candle-cpu's without.
    #[arg(long, value_name = "RUNTIME", help_heading = "Model")]
    pub runtime: Vec<String>,

    /// Forget which runtime `--runtime all` found the fastest for the models, and measure nothing
    #[arg(long, help_heading = "Model")]
    pub forget: bool,

    /// Number format that the model must hold; repeat it for several [default: its own]
    #[arg(long, value_name = "PRECISION", value_parser = precision(), help_heading = "Model")]
    pub precision: Vec<Precision>,

    /// Threads for the model [default: one per core]
    #[arg(long, value_name = "N", help_heading = "Model")]
    pub threads: Option<NonZeroUsize>,

    /// Whether frames come when they are due, or as fast as they are taken
    #[arg(long, value_enum, default_value_t = Pace::Both)]
    pub pace: Pace,

    /// Seconds to measure for; the source is repeated if it is shorter [default: the source once]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<f64>,

    /// Frames that are run first and not counted
    #[arg(long, value_name = "FRAMES", default_value_t = 30)]
    pub warmup: u64,

    /// Streams at once, or `auto`: how many this box holds within the budget
    #[arg(long, value_name = "N|auto", default_value = "1")]
    pub streams: Streams,

    /// Also measure accuracy against DIR/images and DIR/masks (equal stems)
    #[arg(long, value_name = "DIR")]
    pub ground_truth: Option<PathBuf>,

    /// Write the report as JSON to FILE; `-` prints it and nothing else
    #[arg(long, value_name = "FILE|-")]
    pub json: Option<PathBuf>,

    /// Write the report as CSV to FILE
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,

    /// Write the report as Markdown to FILE
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,

    /// Say what changed beyond noise since the JSON report in FILE
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,

    /// Exit with 3 if a run misses its budget
    #[arg(long)]
    pub check: bool,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

/// When frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Each frame when it is due, as from a camera
    Camera,
    /// Each frame as soon as there is room for it
    Max,
    /// First the one, then the other
    Both,
}

/// How many streams run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streams {
    /// This many.
    Count(NonZeroUsize),
    /// As many as hold the budget.
    Auto,
}

impl FromStr for Streams {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            _ => match text.parse::<NonZeroUsize>() {
                Ok(count) if count.get() <= MAX_STREAMS => Ok(Self::Count(count)),
                _ => Err(format!("must be a number from 1 to {MAX_STREAMS}, or auto")),
            },
        }
    }
}

/// Longest measurement: a day.
const MAX_SECONDS: f64 = 86_400.0;

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= MAX_SECONDS => Ok(value),
        _ => Err(format!("must be a number of seconds above 0, at most {MAX_SECONDS}")),
    }
}

/// The runtime's name that stands for all that are present.
const ALL_RUNTIMES: &str = "all";
/// Most streams that are run at once.
const MAX_STREAMS: usize = 32;
/// Largest earlier report that `--compare` reads.
const MAX_REPORT_BYTES: u64 = 64 << 20;

/// Measures, and prints or writes the report.
///
/// # Errors
/// Whatever keeps a run from being measured or a report from being written.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let before = args.compare.as_deref().map(read_report).transpose()?;
    let settings = context.settings(&args.realtime.flags(None))?;
    let runtimes =
        if args.runtime.is_empty() { vec![settings.runtime.value.clone()] } else { args.runtime.clone() };
    let bench = Bench { args, context, settings: &settings, runtimes };
    if args.forget {
        return bench.forget();
    }
    bench.check_places()?;
    let (mut runs, mut source) = (Vec::new(), None);
    let ended = bench.runs(&mut runs, &mut source);
    // What was measured is told whatever ended it.
    let Some(source) = source else { return ended.and(Err(Error::Cancelled)) };
    let finished = ended.is_ok();
    let fastest = if finished { bench.fastest(&runs) } else { vec![] };
    let report = Report {
        endort: env!("CARGO_PKG_VERSION").to_owned(),
        host: Host::read(Path::new("/")),
        source,
        runs,
        fastest,
    };
    let changes = before.as_ref().map(|before| compare::compare(before, &report));
    bench.publish(&report, changes.as_deref())?;
    // `auto` adds streams until the budget is missed: the box passes if it holds one.
    let counts = |run: &&Run| args.streams != Streams::Auto || run.streams == 1;
    let passed = report.runs.iter().filter(counts).all(|run| run.verdict == Verdict::Pass);
    match ended {
        Err(Error::Cancelled) => Ok(Outcome::Interrupted),
        Err(error) => Err(error),
        Ok(()) if args.check && !passed => Ok(Outcome::Missed),
        Ok(()) => Ok(Outcome::Done),
    }
}

struct Bench<'a> {
    args: &'a Args,
    context: &'a Context,
    settings: &'a Realtime,
    runtimes: Vec<String>,
}

impl Bench<'_> {
    /// Forgets which runtime was the fastest for each model.
    fn forget(&self) -> Result<Outcome> {
        for model in self.args.model.iter().filter(|model| *model != NO_MODEL) {
            let sha256 = Package::open(model)?.sha256;
            let known = memory().map(|memory| memory.forget(&sha256)).transpose()?.unwrap_or(false);
            let what = if known { "forgot" } else { "knew nothing of" };
            self.context.console.note(&format!("{what} the fastest runtime for {model}"));
        }
        Ok(Outcome::Done)
    }

    /// The fastest runtime for each model, where all were put side by side; kept for `auto` where that left the
    /// device open.
    fn fastest(&self, runs: &[Run]) -> Vec<FastestRuntime> {
        if !self.runtimes.iter().any(|runtime| runtime == ALL_RUNTIMES) {
            return vec![];
        }
        let chooser = Chooser {
            source: &self.args.source,
            settings: self.settings,
            threads: self.args.threads.map_or(0, NonZeroUsize::get),
            cancel: &self.context.cancel,
        };
        let console = &self.context.console;
        let mut found = vec![];
        for model in self.args.model.iter().filter(|model| *model != NO_MODEL) {
            // The measurement stands whatever becomes of this.
            let mut fastest = match chooser.choose(model, runs) {
                Ok(Some(fastest)) => fastest,
                Ok(None) => continue,
                Err(error) => {
                    console.note(&format!("the fastest runtime for {model} is not known: {error}"));
                    continue;
                }
            };
            if self.settings.device.value != Device::Auto {
                console.note("the fastest runtime is not kept for auto: --device names one device");
            } else if let Err(error) = chooser.remember(&mut fastest) {
                console.note(&format!("the fastest runtime for {model} is not kept for auto: {error}"));
            } else if let Some(flags) = self.flags_of_auto().filter(|_| fastest.remembered) {
                console.note(&format!("--runtime auto goes by that where {flags} is given as well"));
            }
            found.push(fastest);
        }
        found
    }

    /// What a later command must name too, so that what is measured now holds for it.
    fn flags_of_auto(&self) -> Option<String> {
        let all = std::thread::available_parallelism().ok();
        let threads = self.args.threads.filter(|threads| Some(*threads) != all);
        let threads = threads.map(|threads| format!("--threads {threads}"));
        let given = |origin: &Origin, flag: &str| matches!(origin, Origin::Flag(_)).then(|| flag.to_owned());
        let path = given(&self.settings.runtime_path.origin, "--runtime-path");
        let level = given(&self.settings.optimization_level.origin, "--optimization-level");
        let flags: Vec<String> = threads.into_iter().chain(path).chain(level).collect();
        (!flags.is_empty()).then(|| flags.join(" and "))
    }

    /// Refuses places where no report can be written, before hours are spent on one.
    fn check_places(&self) -> Result<()> {
        let files = [&self.args.json, &self.args.csv, &self.args.markdown];
        for path in files.into_iter().flatten().filter(|path| path.as_os_str() != "-" && !is_special(path)) {
            tempfile::tempfile_in(folder_of(path)).map_err(Error::write(path.as_path()))?;
        }
        Ok(())
    }

    /// Measures every combination into `runs`; `source` is `None` until one has been measured.
    fn runs(&self, runs: &mut Vec<Run>, source: &mut Option<SourceReport>) -> Result<()> {
        for choice in self.choices()? {
            let accuracy = self.accuracy(&choice)?;
            for pace in self.paces() {
                for streams in 1..=MAX_STREAMS {
                    if let Streams::Count(count) = self.args.streams
                        && count.get() != streams
                    {
                        continue;
                    }
                    let (mut run, described) = self.measure(&choice, pace, streams)?;
                    source.get_or_insert(described);
                    let passed = run.verdict == Verdict::Pass;
                    run.accuracy = accuracy;
                    runs.push(run);
                    if self.context.cancel.is_cancelled() {
                        return Err(Error::Cancelled);
                    }
                    if !passed {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Every model on every runtime in every precision; pass-through needs neither of the two.
    fn choices(&self) -> Result<Vec<Choice<'_>>> {
        let threads = self.args.threads.map_or(0, NonZeroUsize::get);
        let device = self.settings.device.value;
        let mut choices = Vec::new();
        for model in &self.args.model {
            for runtime in self.runtimes_for(model)? {
                let asked = self.args.precision.iter().map(|&p| Some(p));
                // Nothing asked for stands for what each package holds.
                for precision in asked.chain(self.args.precision.is_empty().then_some(None)) {
                    choices.push(Choice { model, runtime, precision, device, threads, throughput: false });
                    if model == NO_MODEL {
                        break;
                    }
                }
                if model == NO_MODEL {
                    break;
                }
            }
        }
        Ok(choices)
    }

    /// The runtimes to measure a model on: what was named, and in the place of `all` those that open it.
    fn runtimes_for(&self, model: &str) -> Result<Vec<&str>> {
        let mut runtimes: Vec<&str> = Vec::new();
        for runtime in &self.runtimes {
            if runtime != ALL_RUNTIMES || model == NO_MODEL {
                runtimes.push(runtime);
                continue;
            }
            let threads = self.args.threads.map_or(0, NonZeroUsize::get);
            let found = model::present(model, threads, self.settings)?;
            let absent: Vec<&str> =
                found.iter().filter(|(_, why)| why.is_some()).map(|(name, _)| *name).collect();
            if !absent.is_empty() {
                self.context
                    .console
                    .note(&format!("not present for {model}: {} (-v says why)", absent.join(", ")));
            }
            for (name, why) in &found {
                match why {
                    Some(error) => self.context.console.detail(&format!("{name}: {error}")),
                    None => runtimes.push(name),
                }
            }
        }
        Ok(runtimes)
    }

    fn paces(&self) -> Vec<pipeline::Pace> {
        match (self.args.streams, self.args.pace) {
            // How many rooms a box holds is a question about cameras.
            (Streams::Auto, _) | (_, Pace::Camera) => vec![pipeline::Pace::Source],
            (_, Pace::Max) => vec![pipeline::Pace::Max],
            (_, Pace::Both) => vec![pipeline::Pace::Max, pipeline::Pace::Source],
        }
    }

    fn measure(&self, choice: &Choice, pace: pipeline::Pace, streams: usize) -> Result<(Run, SourceReport)> {
        let setup = Setup {
            source: &self.args.source,
            settings: self.settings,
            duration: self.args.duration.map(Duration::from_secs_f64),
            warmup_frames: self.args.warmup,
            cancel: &self.context.cancel,
            console: &self.context.console,
        };
        let pace_name = if pace == pipeline::Pace::Source { "camera" } else { "full" };
        let bar = self
            .bar(format!("{} on {} at {pace_name} pace, {streams} stream(s)", choice.model, choice.runtime));
        let measured = measure::measure(&setup, choice, pace, streams, &bar);
        bar.finish_and_clear();
        measured
    }

    fn accuracy(&self, choice: &Choice) -> Result<Option<AccuracySummary>> {
        let Some(folder) = &self.args.ground_truth else { return Ok(None) };
        let Some(mut loaded) = model::load(choice, self.settings, ProcessorOptions::default())? else {
            return Ok(None);
        };
        loaded.notes.iter().for_each(|note| self.context.console.note_once(note));
        let bar = self.bar(format!("{} on {}: accuracy", choice.model, choice.runtime));
        let summary = accuracy::measure(folder, &mut loaded.processor, &bar, &self.context.cancel);
        bar.finish_and_clear();
        summary.map(Some)
    }

    fn bar(&self, message: String) -> ProgressBar {
        let template = "{msg}  {wide_bar} {pos}/{len}  {per_sec}  {eta}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.context.console.progress().add(ProgressBar::new(0).with_style(style).with_message(message))
    }

    fn publish(&self, report: &Report, changes: Option<&[compare::Change]>) -> Result<()> {
        let console = &self.context.console;
        let json = serde_json::to_string_pretty(report)
            .map_err(|error| Error::Output { path: "report".into(), detail: error.to_string() })?;
        if let Some(path) = &self.args.csv {
            write_whole(path, &tables::csv(report))?;
        }
        if let Some(path) = &self.args.markdown {
            let mut text = tables::render(report, Style::Markdown);
            if let Some(changes) = changes {
                text = format!("{text}\n\n{}", tables::changes(changes, Style::Markdown));
            }
            write_whole(path, &(text + "\n"))?;
        }
        match &self.args.json {
            Some(path) if path.as_os_str() == "-" => return console.print(&json),
            Some(path) => write_whole(path, &(json + "\n"))?,
            None => {}
        }
        let style = Style::Terminal { color: console.color() };
        console.print(&tables::render(report, style))?;
        if let Some(changes) = changes {
            let text = if changes.is_empty() {
                "nothing to compare: the earlier report has no run of the same kind".to_owned()
            } else {
                tables::changes(changes, style)
            };
            console.print(&format!("\n{text}"))?;
        }
        if self.args.streams == Streams::Auto {
            console.print(&format!("\n{}", held(&report.runs)))?;
        }
        Ok(())
    }
}

/// How many streams at once this box holds, for each model on each runtime.
fn held(runs: &[Run]) -> String {
    // Several models may bear one name.
    let kind =
        |run: &Run| (run.model.clone(), run.model_sha256.clone(), run.runtime.clone(), run.precision.clone());
    let mut kinds = Vec::new();
    for run in runs {
        let streams = if run.verdict == Verdict::Pass { run.streams } else { 0 };
        match kinds.iter_mut().find(|(known, _)| *known == kind(run)) {
            Some((_, most)) => *most = streams.max(*most),
            None => kinds.push((kind(run), streams)),
        }
    }
    if let [(_, held)] = kinds.as_slice() {
        return format!("This box holds {held} stream(s) of this kind within the budget.");
    }
    let lines = kinds.iter().map(|((model, sha256, runtime, precision), held)| {
        let namesakes = kinds.iter().any(|((name, other, ..), _)| name == model && other != sha256);
        let which = sha256.as_deref().and_then(|sha256| sha256.get(..8)).filter(|_| namesakes);
        let which = which.map(|start| format!(" {start}…")).unwrap_or_default();
        format!(
            "This box holds {held} stream(s) of {model}{which} on {runtime} ({precision}) within the budget."
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn read_report(path: &Path) -> Result<Report> {
    let bytes = fs::metadata(path).map_err(Error::read(path))?.len();
    if bytes > MAX_REPORT_BYTES {
        return Err(Error::TooLarge {
            what: format!("report {}", path.display()),
            found: format!("{bytes} bytes"),
            limit: format!("{MAX_REPORT_BYTES} bytes"),
        });
    }
    let text = fs::read_to_string(path).map_err(Error::read(path))?;
    serde_json::from_str(&text)
        .map_err(|error| Error::Report { path: path.to_owned(), detail: error.to_string() })
}

/// Writes a file that is there as a whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let mut output = Output::file(path)?;
    output.write(|writer| writer.write_all(text.as_bytes()))?;
    output.finish()
}

//! `endort stream`: recordings and live sources, frame by frame.

mod batch;
mod fingerprint;
mod job;
mod ledger;
mod path_text;
mod plan;
mod progress;
mod summary;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::args::{ModelArgs, RealtimeArgs};
use super::model::{self, Choice};
use super::{Context, Outcome};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::pipeline::processor::ProcessorOptions;
use plan::{Plan, Wanted};

/// Find polyps in recordings and live sources
///
/// Takes one recording, ten thousand, or a camera. Writes an annotated video (-o) and each frame's record
/// (--results), and prints a line for each source. Outputs get their names when they are whole. In a folder of
/// outputs, a ledger (endort-stream.jsonl) keeps what is finished, for --resume.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Recordings: files, folders, globs, `-`; or one live source: rtsp://…, udp://…, /dev/videoN; or
    /// `synthetic[:WxH@FPS]`
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<String>,

    /// Write the video with its findings drawn to this file, or for several sources into this folder
    #[arg(short, long, value_name = "FILE|DIR")]
    pub output: Option<PathBuf>,

    /// Write each frame's record to this file or folder; `-` prints them as JSON Lines and nothing else
    #[arg(long, value_name = "FILE|DIR|-")]
    pub results: Option<PathBuf>,

    /// Format of the records [default: by the file's ending, else jsonl]
    #[arg(long, value_enum, requires = "results")]
    pub format: Option<Format>,

    /// Whether frames come when they are due, or as fast as they are taken; live sources have their own pace
    #[arg(long, value_enum, default_value_t = Pace::Max)]
    pub pace: Pace,

    /// What happens to a frame that the AI has no time for [default: every-frame, newest-wins for live
    /// sources]
    #[arg(long, value_enum)]
    pub policy: Option<Policy>,

    /// Skip the sources that the ledger calls finished with the same content and settings
    #[arg(long)]
    pub resume: bool,

    /// Like --resume, and try those again that failed
    #[arg(long)]
    pub retry_failed: bool,

    /// Print the summary as one JSON document and nothing else
    #[arg(long)]
    pub json: bool,

    /// The model and what executes it.
    #[command(flatten)]
    pub model: ModelArgs,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

/// Format of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A JSON document per frame, one to a line
    Jsonl,
    /// A row per finding
    Csv,
    /// One document in COCO's object-detection format
    Coco,
}

impl Format {
    const ENDINGS: [&str; 3] = ["jsonl", "csv", "json"];

    fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Coco => "json",
        }
    }

    fn of(path: &Path) -> Self {
        match path.extension().and_then(OsStr::to_str) {
            Some("csv") => Self::Csv,
            Some("json") => Self::Coco,
            _ => Self::Jsonl,
        }
    }
}

/// When frames come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pace {
    /// Each frame when it is due, as from a camera
    Source,
    /// Each frame as soon as there is room for it
    Max,
}

/// What happens to a frame that the AI has no time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// It is dropped and counted as soon as a newer one is there
    NewestWins,
    /// It waits, and the source with it
    EveryFrame,
}

impl From<Policy> for pipeline::Policy {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::NewestWins => Self::NewestWins,
            Policy::EveryFrame => Self::EveryFrame,
        }
    }
}

/// `--results -`: records go to standard output.
const STDOUT: &str = "-";

/// Processes the sources.
///
/// # Errors
///
/// What keeps any of it from being done; what is wrong with one source is reported beside the others.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let settings = context.settings(&args.realtime.flags(args.model.runtime.as_deref()))?;
    let to_stdout = args.results.as_deref() == Some(Path::new(STDOUT));
    let results = args.results.as_deref().filter(|_| !to_stdout);
    let format = args.format.or_else(|| results.map(Format::of)).unwrap_or(Format::Jsonl);
    check(args, to_stdout, format)?;
    let plan = Plan::new(Wanted { sources: &args.sources, video: args.output.as_deref(), results, format })?;
    if plan.pictures > 0 {
        context.console.note(&format!("{} pictures left out: process-frame takes those", plan.pictures));
    }
    if plan.folder.is_none() && (args.resume || args.retry_failed) {
        return Err(usage("--resume", "needs a folder of outputs (-o or --results), where the ledger is"));
    }
    // At camera pace the soonest answer counts; a recording that may run ahead is done sooner with a frame per core.
    let throughput = args.pace == Pace::Max && args.policy != Some(Policy::NewestWins);
    let choice = Choice { throughput, ..args.model.choice(&settings) };
    let options = ProcessorOptions { video: true, ..ProcessorOptions::default() };
    let loaded = model::load(&choice, &settings, options)?;
    loaded.iter().flat_map(|l| &l.notes).for_each(|note| context.console.note(note));
    plan.prepare()?;
    let work = job::Work::new(args, &settings, format, to_stdout, loaded, context);
    batch::run(args, plan, work, context)
}

/// Flags that do not go together, beyond what clap can see.
fn check(args: &Args, to_stdout: bool, format: Format) -> Result<()> {
    if to_stdout && args.json {
        return Err(usage("--json", "cannot go to standard output together with --results -"));
    }
    if to_stdout && format != Format::Jsonl {
        return Err(usage("--format", "must be jsonl where --results is standard output"));
    }
    Ok(())
}

fn usage(flag: &str, detail: &str) -> Error {
    Error::Config { origin: flag.to_owned(), detail: detail.to_owned() }
}

//! One source through the pipeline into its outputs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::Context;
use super::super::console::{Console, reader_has_gone};
use super::super::model::Loaded;
use super::fingerprint::hex;
use super::ledger::{Tally, Timing};
use super::plan::Job;
use super::progress::{self, Overall};
use super::{Args, Format, Pace};
use crate::cancel::Cancel;
use crate::config::Realtime;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::pipeline::clock::RealClock;
use crate::pipeline::{self, Analyzer, Policy, Progress, RunOptions, RunReport};
use crate::record::FrameRecord;
use crate::sink::Sink;
use crate::sink::coco::{Coco, Images};
use crate::sink::csv::Csv;
use crate::sink::jsonl::JsonLines;
use crate::sink::output::Output;
use crate::sink::video::{VideoOptions, VideoSink};
use crate::source::{self, OpenOptions, Recording, SourceEvent, SourceInfo};

/// Everything that is the same for every source.
pub struct Work<'a> {
    context: &'a Context,
    policy: Option<Policy>,
    options: RunOptions,
    format: Format,
    to_stdout: bool,
    loaded: Option<Loaded>,
    /// Digest of whatever decides what results look like.
    pub settings: String,
}

/// How a source ended that was not an error.
#[derive(Debug)]
pub struct Finished {
    /// Its figures.
    pub tally: Tally,
    /// Its outputs have their final names.
    pub kept: bool,
    /// It was interrupted.
    pub interrupted: bool,
    /// Why what is kept is not as it should be: the AI ended before the source, or the source was lost.
    pub failures: Vec<Error>,
}

impl<'a> Work<'a> {
    /// Work with a loaded model, or none.
    pub fn new(
        args: &Args,
        settings: &Realtime,
        format: Format,
        to_stdout: bool,
        loaded: Option<Loaded>,
        context: &'a Context,
    ) -> Self {
        let options = RunOptions {
            pace: match args.pace {
                Pace::Source => pipeline::Pace::Source,
                Pace::Max => pipeline::Pace::Max,
            },
            buffer_size: settings.buffer_size.value,
            max_latency: Duration::from_secs_f64(settings.max_latency_ms.value / 1e3),
            target_fps: settings.target_fps.value,
            ..RunOptions::default()
        };
        let deciding = json!({
            "endort": env!("CARGO_PKG_VERSION"),
            "model": loaded.as_ref().map(|loaded| &loaded.sha256),
            "manifest": loaded.as_ref().map(|loaded| loaded.processor.manifest()),
            "runtime": loaded.as_ref().map(|loaded| loaded.processor.runtime()),
            "precision": loaded.as_ref().map(|loaded| &loaded.precision),
            "format": format!("{format:?}"),
            "policy": format!("{:?}", args.policy),
            // How fast frames come decides which of them are dropped, where any are.
            "pace": matches!(args.policy, Some(super::Policy::NewestWins)).then(|| format!("{:?}", args.pace)),
            "max_latency_ms": settings.max_latency_ms.value,
        });
        Self {
            context,
            policy: args.policy.map(Policy::from),
            options,
            format,
            to_stdout,
            loaded,
            settings: hex(&Sha256::digest(deciding.to_string())),
        }
    }

    /// The model's name, its digest and the runtime; `None` where frames pass unanalysed.
    pub fn model(&self) -> Option<(&str, &str, &str)> {
        let loaded = self.loaded.as_ref()?;
        Some((loaded.processor.model(), &loaded.sha256, loaded.processor.runtime()))
    }

    /// Runs one source. Interrupted, it keeps what it has only if `keep_part` is set.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the source, the outputs or the model; nothing is kept then.
    pub fn process(&mut self, job: &Job, bytes: u64, keep_part: bool, overall: &Overall) -> Result<Finished> {
        let cancel = &self.context.cancel;
        let open = OpenOptions { on_event: Some(self.listener(job)), ..OpenOptions::default() };
        let source = source::open_input(&job.input, &open, cancel)?;
        let info = source.info().clone();
        let default_policy = if info.live { Policy::NewestWins } else { Policy::EveryFrame };
        let options = RunOptions { policy: self.policy.unwrap_or(default_policy), ..self.options.clone() };
        let mut outputs = Outputs {
            video: video(job, &info, &open, cancel)?,
            results: self.results(job, &info)?,
            name: info.name.clone(),
            console: &self.context.console,
            cancel,
            keep_part: keep_part || info.live,
            bar: progress::File::new(&self.context.console, &info),
            overall,
            bytes,
            seen: Seen::default(),
            kept: false,
        };
        let analyzer = self.loaded.as_mut().map(|loaded| {
            loaded.processor.reset();
            &mut loaded.processor as &mut dyn Analyzer
        });
        let (clock, progress) = (RealClock::new(), Progress::default());
        let report = pipeline::run(source, analyzer, &mut outputs, &options, &clock, cancel, &progress)?;
        for note in outputs.video.iter().flat_map(VideoSink::notes) {
            self.context.console.note(&format!("{}: {note}", info.name));
        }
        Ok(Finished {
            tally: outputs.seen.tally(&report, info.live || options.pace == pipeline::Pace::Source),
            kept: outputs.kept,
            // What is kept although a part may not be is whole: Ctrl-C came after its end.
            interrupted: !outputs.kept || (report.cancelled && outputs.keep_part),
            failures: report.ai_failure.into_iter().chain(report.source_lost).collect(),
        })
    }

    fn results(&self, job: &Job, info: &SourceInfo) -> Result<Option<Box<dyn Sink>>> {
        let Some(path) = &job.results else {
            let lines = self.to_stdout.then(|| JsonLines::new(self.context.console.output()));
            return Ok(lines.map(|lines| Box::new(lines) as Box<dyn Sink>));
        };
        let output = Output::file(path)?;
        Ok(Some(match self.format {
            Format::Jsonl => Box::new(JsonLines::new(output)),
            Format::Csv => Box::new(Csv::new(output)?),
            Format::Coco => {
                let images = if info.frames == Some(1) { Images::Stills } else { Images::Frames };
                let labels = self.loaded.as_ref().map(|loaded| loaded.processor.manifest().labels.as_slice());
                Box::new(Coco::new(output, images, labels.unwrap_or_default())?)
            }
        }))
    }

    /// Says aloud what a source tells while it runs.
    fn listener(&self, job: &Job) -> source::EventHandler {
        let (console, name) = (self.context.console.clone(), job.input.name());
        Arc::new(move |event| {
            console.note(&match event {
                SourceEvent::Lost { detail } => format!("{name}: lost the source: {detail}"),
                SourceEvent::Retrying { detail, attempt, wait } => {
                    let wait = wait.as_secs_f64();
                    format!("{name}: {detail}; trying again in {wait:.1} s (attempt {attempt})")
                }
                SourceEvent::Back { outage } => {
                    format!("{name}: back after {:.1} s", outage.as_secs_f64())
                }
                SourceEvent::HardwareUnavailable { detail } => {
                    console.detail(&format!("{name}: decoded in software: {detail}"));
                    return;
                }
                SourceEvent::Damaged { detail } => format!("{name}: damaged: {detail}"),
            });
        })
    }
}

fn video(job: &Job, info: &SourceInfo, open: &OpenOptions, cancel: &Cancel) -> Result<Option<VideoSink>> {
    let Some(path) = &job.video else { return Ok(None) };
    let origin = Recording::of(&job.input.location, info, open, cancel);
    VideoSink::create(path, info, origin, VideoOptions::default()).map(Some)
}

/// The outputs of one source, and the bars that show how far it is.
struct Outputs<'a> {
    video: Option<VideoSink>,
    results: Option<Box<dyn Sink>>,
    name: String,
    console: &'a Console,
    cancel: &'a Cancel,
    keep_part: bool,
    bar: progress::File,
    overall: &'a Overall,
    bytes: u64,
    seen: Seen,
    kept: bool,
}

/// What the records said.
#[derive(Debug, Default)]
struct Seen {
    frames: u64,
    frames_with_findings: u64,
    tracks: HashSet<u64>,
}

impl Seen {
    fn tally(&self, report: &RunReport, timed: bool) -> Tally {
        Tally {
            frames: self.frames,
            dropped: report.dropped,
            lost: report.lost,
            frames_with_findings: self.frames_with_findings,
            tracks: self.tracks.len() as u64,
            fps: report.fps(),
            timing: timed
                .then(|| Timing { violations: report.violations, latency_ms: report.latency.summary() }),
        }
    }
}

impl Sink for Outputs<'_> {
    fn wants_overlay(&self) -> bool {
        self.video.as_ref().is_some_and(Sink::wants_overlay)
    }

    fn cut(&mut self) {
        self.video.iter_mut().for_each(Sink::cut);
    }

    fn picture(&mut self, frame: &Frame) -> Result<()> {
        self.seen.frames += 1;
        let share = self.bar.advance(self.seen.frames);
        self.overall.advance(self.seen.frames, share, self.bytes);
        self.video.iter_mut().try_for_each(|video| video.picture(frame))
    }

    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        self.seen.frames_with_findings += u64::from(!record.detections.is_empty());
        self.seen.tracks.extend(record.detections.iter().filter_map(|detection| detection.track_id));
        let Some(results) = &mut self.results else { return Ok(()) };
        match results.record(record) {
            // `| head` has seen enough of the records; the video is wanted all the same.
            Err(error) if self.video.is_some() && reader_has_gone(&error) => {
                self.console.note_once("nobody reads the records any more; the video goes on");
                self.results = None;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn finish(&mut self) -> Result<()> {
        // A name in a folder of outputs promises a whole recording.
        if self.cancel.is_cancelled() && !self.keep_part {
            return Ok(());
        }
        if self.seen.frames == 0 {
            if self.cancel.is_cancelled() {
                return Ok(());
            }
            let detail = "no frame could be decoded".to_owned();
            return Err(Error::Media { source_name: self.name.clone(), detail });
        }
        self.video.iter_mut().try_for_each(Sink::finish)?;
        self.results.iter_mut().try_for_each(|results| results.finish())?;
        self.kept = true;
        Ok(())
    }
}

//! One combination of model, runtime, precision, pace and number of streams, measured.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::report::{HISTOGRAM_BINS, Run, SourceReport, Verdict};
use crate::cancel::Cancel;
use crate::cli::Console;
use crate::cli::model::{self, Choice};
use crate::config::Realtime;
use crate::device::memory;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::pipeline::clock::RealClock;
use crate::pipeline::processor::ProcessorOptions;
use crate::pipeline::report::Stage;
use crate::pipeline::{Analyzer, Budget, BudgetRow, Pace, Policy, Progress, RunOptions, RunReport, run};
use crate::record::FrameRecord;
use crate::sink::Sink;
use crate::source::looped::Looped;
use crate::source::{self, OpenOptions, Source, SourceInfo};

/// How long an endless source is measured where nobody says.
const ENDLESS_SECONDS: f64 = 20.0;
/// Parts of a run whose medians tell how far it strays from itself.
const NOISE_PARTS: usize = 10;

/// What all runs of one bench share.
pub struct Setup<'a> {
    pub source: &'a str,
    pub settings: &'a Realtime,
    pub duration: Option<Duration>,
    pub warmup_frames: u64,
    pub cancel: &'a Cancel,
    pub console: &'a Console,
}

/// What one stream measured.
struct Stream {
    report: RunReport,
    load: Duration,
    sha256: Option<String>,
    precision: String,
    model: String,
    runtime: String,
    runtime_version: Option<String>,
    info: SourceInfo,
    processing_ms: Vec<f32>,
}

/// Takes everything, as a display would: findings are drawn into each picture.
struct Display<'a> {
    bar: &'a ProgressBar,
    warmup_frames: u64,
    processing_ms: Vec<f32>,
}

impl Sink for Display<'_> {
    fn wants_overlay(&self) -> bool {
        true
    }

    fn picture(&mut self, _frame: &Frame) -> Result<()> {
        self.bar.inc(1);
        Ok(())
    }

    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        if record.frame_id >= self.warmup_frames {
            self.processing_ms.push(record.processing_time_ms as f32);
        }
        Ok(())
    }
}

/// Runs `streams` copies of the source side by side and puts what they measured together.
///
/// # Errors
/// The first failure of any of them.
pub fn measure(
    setup: &Setup,
    choice: &Choice,
    pace: Pace,
    streams: usize,
    bar: &ProgressBar,
) -> Result<(Run, SourceReport)> {
    memory::reset_peak();
    let together = Barrier::new(streams);
    let results: Vec<Result<Stream>> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| one_stream(setup, choice, pace, &together, bar));
        let threads: Vec<_> = (0..streams).map(|_| start()).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().unwrap_or_else(|_| defect());
        threads.into_iter().map(join).collect()
    });
    let streams = results.into_iter().collect::<Result<Vec<_>>>()?;
    let Some(first) = streams.first() else { return defect() };
    let source = SourceReport {
        name: first.info.name.clone(),
        width: first.info.width,
        height: first.info.height,
        fps: first.info.fps,
        frames: first.info.frames,
        codec: first.info.codec.clone(),
    };
    Ok((summarize(setup, pace, streams), source))
}

fn defect<T>() -> Result<T> {
    Err(Error::StagePanicked {
        stage: "bench".to_owned(),
        message: "a stream ended without a result".to_owned(),
    })
}

fn one_stream(
    setup: &Setup,
    choice: &Choice,
    pace: Pace,
    together: &Barrier,
    bar: &ProgressBar,
) -> Result<Stream> {
    let prepared = prepare(setup, &Choice { throughput: pace == Pace::Max, ..choice.clone() });
    // Whoever failed to prepare must not keep the others waiting.
    together.wait();
    let (source, mut loaded, load) = prepared?;
    let info = source.info().clone();
    bar.inc_length(expected_frames(setup, &info));
    let settings = setup.settings;
    let options = RunOptions {
        pace,
        policy: if pace == Pace::Source { Policy::NewestWins } else { Policy::EveryFrame },
        buffer_size: settings.buffer_size.value,
        max_latency: Duration::from_secs_f64(settings.max_latency_ms.value / 1e3),
        target_fps: settings.target_fps.value,
        warmup_frames: setup.warmup_frames,
        max_duration: seconds(setup, &info).map(Duration::from_secs_f64),
        ..RunOptions::default()
    };
    let mut display = Display { bar, warmup_frames: setup.warmup_frames, processing_ms: Vec::new() };
    let sha256 = loaded.as_ref().map(|loaded| loaded.sha256.clone());
    let precision = loaded.as_ref().map_or_else(|| model::NO_MODEL.to_owned(), |l| l.precision.clone());
    let analyzer = loaded.as_mut().map(|loaded| &mut loaded.processor as &mut dyn Analyzer);
    let (model, runtime) = match &analyzer {
        Some(analyzer) => (analyzer.model().to_owned(), analyzer.runtime().to_owned()),
        None => (model::NO_MODEL.to_owned(), model::NO_MODEL.to_owned()),
    };
    let runtime_version = analyzer.as_ref().and_then(|a| a.runtime_version()).map(str::to_owned);
    let (clock, progress) = (RealClock::new(), Progress::default());
    let mut report = run(source, analyzer, &mut display, &options, &clock, setup.cancel, &progress)?;
    if let Some(lost) = report.source_lost.take() {
        return Err(lost);
    }
    if report.frames == 0 && !report.cancelled {
        return Err(Error::NoInput {
            source_name: info.name,
            detail: format!(
                "gave {} frames, none beyond the warm-up of {} (repeat it with --duration, or lower --warmup)",
                report.warmup_frames, setup.warmup_frames
            ),
        });
    }
    Ok(Stream {
        report,
        load,
        sha256,
        precision,
        model,
        runtime,
        runtime_version,
        info,
        processing_ms: display.processing_ms,
    })
}

type Prepared = (Box<dyn Source>, Option<model::Loaded>, Duration);

fn prepare(setup: &Setup, choice: &Choice) -> Result<Prepared> {
    let open = {
        let (spec, cancel) = (setup.source.to_owned(), setup.cancel.clone());
        move || source::open(&spec, &OpenOptions::default(), &cancel)
    };
    let mut source = open()?;
    if setup.duration.is_some() && !source.info().live {
        source = Box::new(Looped::new(Box::new(open), setup.settings.target_fps.value)?);
    }
    let begin = Instant::now();
    let options = ProcessorOptions { video: true, ..ProcessorOptions::default() };
    let loaded = model::load(choice, setup.settings, options)?;
    loaded.iter().flat_map(|loaded| &loaded.notes).for_each(|note| setup.console.note_once(note));
    Ok((source, loaded, begin.elapsed()))
}

/// Seconds to measure, where they are limited.
fn seconds(setup: &Setup, info: &SourceInfo) -> Option<f64> {
    let endless = info.live || info.frames.is_none();
    setup.duration.map(|duration| duration.as_secs_f64()).or(endless.then_some(ENDLESS_SECONDS))
}

fn expected_frames(setup: &Setup, info: &SourceInfo) -> u64 {
    let fps = info.fps.unwrap_or(setup.settings.target_fps.value);
    let timed = seconds(setup, info).map(|seconds| (seconds * fps) as u64 + setup.warmup_frames);
    timed.or(info.frames).unwrap_or(0)
}

fn summarize(setup: &Setup, pace: Pace, streams: Vec<Stream>) -> Run {
    let max_latency = Duration::from_secs_f64(setup.settings.max_latency_ms.value / 1e3);
    let budget = Budget {
        max_latency_ms: setup.settings.max_latency_ms.value,
        target_fps: setup.settings.target_fps.value,
    };
    let count = streams.len();
    // The box holds the budget only if every one of its rooms does.
    let rows = streams.iter().map(|stream| budget.check(&stream.report, pace, stream.info.fps));
    let rows = rows.reduce(worst).unwrap_or_default();
    let slowest =
        |fps: fn(&RunReport) -> f64| streams.iter().map(|s| fps(&s.report)).fold(f64::INFINITY, f64::min);
    let (fps, video_fps) = (slowest(RunReport::fps), slowest(RunReport::video_fps));
    let cold_start = |s: &Stream| s.load + s.report.first_result.unwrap_or_default();
    let cold_start_ms = streams.iter().map(cold_start).max().unwrap_or_default().as_secs_f64() * 1e3;
    let noise_ms = streams.first().map(|s| parts(&s.processing_ms)).unwrap_or_default();
    let first = streams.first();
    let precision = first.map(|s| s.precision.clone()).unwrap_or_default();
    let (sha256, model, runtime) =
        first.map(|s| (s.sha256.clone(), s.model.clone(), s.runtime.clone())).unwrap_or_default();
    let runtime_version = first.and_then(|s| s.runtime_version.clone());
    let all = streams.into_iter().map(|stream| stream.report).reduce(RunReport::merged).unwrap_or_default();
    let verdict = Verdict::of(&rows);
    Run {
        precision,
        model,
        model_sha256: sha256,
        runtime,
        runtime_version,
        pace: if pace == Pace::Source { "camera" } else { "max" }.to_owned(),
        streams: count,
        cold_start_ms,
        warmup_frames: all.warmup_frames,
        frames: all.frames,
        dropped: all.dropped,
        lost: all.lost,
        fps,
        video_fps,
        latency_ms: all.latency.summary(),
        video_delay_ms: all.video_delay.summary(),
        annotation_delay_ms: all.annotation_delay.summary(),
        stages_ms: Stage::ALL
            .into_iter()
            .filter(|&stage| all.stages.get(stage).count() > 0)
            .map(|stage| (stage.name().to_owned(), all.stages.get(stage).summary()))
            .collect(),
        violations: all.violations,
        violation_rate: all.violation_rate(),
        longest_violation_run: all.longest_violation_run,
        ai_off_frames: all.ai_off_frames,
        latency_histogram: all.latency.bins(max_latency, HISTOGRAM_BINS),
        max_latency_ms: budget.max_latency_ms,
        noise_ms,
        peak_rss_mb: memory::peak_rss_mb(),
        accuracy: None,
        verdict: if all.ai_failure.is_some() { Verdict::Fail } else { verdict },
        budget: rows,
        ai_failure: all.ai_failure.map(|error| error.to_string()),
    }
}

/// Row by row, the one that is further from its limit.
fn worst(one: Vec<BudgetRow>, other: Vec<BudgetRow>) -> Vec<BudgetRow> {
    let pick = |(a, b): (BudgetRow, BudgetRow)| {
        let b_is_worse = if a.name == "fps" { b.value < a.value } else { b.value > a.value };
        if b_is_worse { b } else { a }
    };
    one.into_iter().zip(other).map(pick).collect()
}

/// Medians of [`NOISE_PARTS`] consecutive parts, in milliseconds.
fn parts(samples: &[f32]) -> Vec<f64> {
    let median = |part: &[f32]| {
        let mut part = part.to_vec();
        part.sort_unstable_by(f32::total_cmp);
        part.get(part.len() / 2).copied().map(f64::from)
    };
    samples.chunks(samples.len().div_ceil(NOISE_PARTS).max(1)).filter_map(median).collect()
}

//! The lanes, driven by scripted sources, analyzers and sinks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::{Clock, FakeClock, RealClock};
use super::options::{Pace, Policy, RunOptions};
use super::processor::{Analysis, Analyzer, FrameProcessor, ProcessorOptions};
use super::report::{Progress, RunReport};
use super::run::run;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Color, Frame, FrameId, Moment, Picture, PixelFormat, Plane, Timestamp};
use crate::model::Package;
use crate::record::FrameRecord;
use crate::runtime::Engine;
use crate::runtime::scripted::Scripted;
use crate::sink::{AiOff, Sink};
use crate::source::{Source, SourceInfo};

pub(super) fn frame(id: u64, step_ms: i64) -> Frame {
    let plane = Plane::from_vec(vec![128; 64 * 48], 64, 48).unwrap();
    Frame {
        id: FrameId(id),
        source: "test".into(),
        pts: Timestamp::from_ms(id as i64 * step_ms),
        duration: None,
        captured: Moment::default(),
        decode: Duration::from_micros(10),
        picture: Picture::new(64, 48, PixelFormat::Gray8, Color::default(), vec![plane]).unwrap(),
    }
}

struct Script {
    info: SourceInfo,
    next: u64,
    frames: u64,
    step_ms: i64,
    fail_at: Option<u64>,
    lost_at: Option<u64>,
}

impl Script {
    fn new(frames: u64, step_ms: i64) -> Self {
        let info = SourceInfo {
            name: "test".into(),
            width: 64,
            height: 48,
            fps: Some(1e3 / step_ms as f64),
            frames: Some(frames),
            duration: None,
            live: false,
            codec: "test".into(),
            ..SourceInfo::default()
        };
        Self { info, next: 0, frames, step_ms, fail_at: None, lost_at: None }
    }
}

impl Source for Script {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.fail_at == Some(self.next) {
            return Err(Error::Media { source_name: "test".into(), detail: "torn tape".into() });
        }
        if self.lost_at == Some(self.next) {
            return Err(Error::SourceLost { source_name: "test".into(), detail: "unplugged".into() });
        }
        self.next += 1;
        Ok((self.next <= self.frames).then(|| frame(self.next - 1, self.step_ms)))
    }
}

/// Does `act` on each frame, with its number.
struct Act<F>(F);

impl<F: FnMut(u64) -> Result<()> + Send> Analyzer for Act<F> {
    fn model(&self) -> &str {
        "act"
    }

    fn runtime(&self) -> &str {
        "scripted"
    }

    fn analyze(&mut self, frame: &Frame) -> Result<Analysis> {
        (self.0)(frame.id.0)?;
        Ok(Analysis::default())
    }
}

#[derive(Default)]
struct Recorder {
    pictures: Vec<u64>,
    records: Vec<FrameRecord>,
    finished: bool,
    /// How long it takes for each picture.
    slow: Duration,
    fail_at: Option<u64>,
    cancel_at: Option<(u64, Cancel)>,
    ai_off: Vec<Option<AiOff>>,
}

impl Recorder {
    fn record_ids(&self) -> Vec<u64> {
        self.records.iter().map(|record| record.frame_id).collect()
    }
}

impl Sink for Recorder {
    fn wants_overlay(&self) -> bool {
        true
    }

    fn picture(&mut self, frame: &Frame) -> Result<()> {
        if self.fail_at == Some(frame.id.0) {
            return Err(Error::Output { path: "out.mp4".into(), detail: "full".into() });
        }
        if let Some((id, cancel)) = &self.cancel_at
            && *id == frame.id.0
        {
            cancel.cancel();
        }
        std::thread::sleep(self.slow);
        self.pictures.push(frame.id.0);
        Ok(())
    }

    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        self.records.push(record.clone());
        Ok(())
    }

    fn ai_off(&mut self, off: Option<AiOff>) {
        self.ai_off.push(off);
    }

    fn finish(&mut self) -> Result<()> {
        self.finished = true;
        Ok(())
    }
}

fn recording() -> RunOptions {
    RunOptions { pace: Pace::Max, policy: Policy::EveryFrame, ..RunOptions::default() }
}

/// Live, with room for every picture: whether the machine's own load makes the presenter late is not what
/// these tests are about.
fn live() -> RunOptions {
    RunOptions { buffer_size: 100, ..RunOptions::default() }
}

fn go(
    source: Script,
    analyzer: Option<&mut dyn Analyzer>,
    sink: &mut Recorder,
    options: &RunOptions,
    clock: &dyn Clock,
) -> Result<RunReport> {
    run(Box::new(source), analyzer, sink, options, clock, &Cancel::new(), &Progress::default())
}

#[test]
fn a_recording_gets_every_frame_analysed_in_order() {
    let (mut sink, mut seen) = (Recorder::default(), Vec::new());
    let mut analyzer = Act(|id| {
        seen.push(id);
        Ok(())
    });
    let report =
        go(Script::new(200, 33), Some(&mut analyzer), &mut sink, &recording(), &RealClock::new()).unwrap();
    let all: Vec<u64> = (0..200).collect();
    assert_eq!((&sink.pictures, sink.record_ids(), seen), (&all, all.clone(), all.clone()));
    assert!(sink.finished);
    assert_eq!((report.frames, report.analysed, report.dropped, report.lost), (200, 200, 0, 0));
    assert_eq!(report.latency.count(), 200);
}

/// The built-in model on one scripted engine for each of `scripts`.
fn several(scripts: &[&str]) -> FrameProcessor {
    let package = Package::open("polyp-lite").unwrap();
    let engine = |script: &&str| Box::new(Scripted::parse(&package, script).unwrap()) as Box<dyn Engine>;
    let engines = scripts.iter().map(engine).collect();
    let options = ProcessorOptions { video: true, ..ProcessorOptions::default() };
    FrameProcessor::with_engines(package.manifest.clone(), engines, options).unwrap()
}

#[test]
fn several_engines_share_a_recording_and_keep_its_order() {
    // The last one answers at once, the first one always late.
    let mut analyzer = several(&["delay=3ms", "delay=1ms", ""]);
    let mut sink = Recorder::default();
    let report =
        go(Script::new(50, 33), Some(&mut analyzer), &mut sink, &recording(), &RealClock::new()).unwrap();
    let all: Vec<u64> = (0..50).collect();
    assert_eq!((&sink.pictures, sink.record_ids()), (&all, all.clone()));
    assert_eq!((report.frames, report.analysed), (50, 50));
    // Frame 0 met the slow engine, frame 2 the fast one.
    assert!(sink.records[0].stages_ms.inference >= 3.0 && sink.records[0].runtime == "scripted");
}

#[test]
fn one_of_several_engines_that_fails_ends_the_run_with_its_cause() {
    for (script, cause) in [("error@5", "failed at frame 5"), ("panic@5", "stage ai-2 panicked")] {
        let mut analyzer = several(&["", script, ""]);
        let mut sink = Recorder::default();
        let error = go(Script::new(50, 33), Some(&mut analyzer), &mut sink, &recording(), &RealClock::new())
            .unwrap_err();
        assert!(error.to_string().contains(cause), "{error}");
        // The sixth frame of the second of three engines is frame 16.
        assert!(!sink.finished && sink.records.len() <= 16);
    }
}

#[test]
fn live_video_never_waits_and_tells_what_it_dropped() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|_| {
        std::thread::sleep(Duration::from_millis(50));
        Ok(())
    });
    let report = go(Script::new(60, 20), Some(&mut analyzer), &mut sink, &live(), &RealClock::new()).unwrap();
    assert_eq!(sink.pictures, (0..60).collect::<Vec<u64>>());
    assert_eq!(report.lost, 0);
    assert!(report.dropped >= 20, "{}", report.dropped);
    assert_eq!(report.analysed + report.dropped, 60);
    assert!(sink.record_ids().is_sorted());
    assert_eq!(sink.records.len() as u64, report.analysed);
}

#[test]
fn a_stalled_ai_lane_marks_the_picture_and_does_not_hold_it_up() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|id| {
        if id == 10 {
            std::thread::sleep(Duration::from_millis(600));
        }
        Ok(())
    });
    let options = RunOptions { stall_after: Duration::from_millis(100), ..live() };
    let report =
        go(Script::new(60, 20), Some(&mut analyzer), &mut sink, &options, &RealClock::new()).unwrap();
    assert_eq!(sink.pictures, (0..60).collect::<Vec<u64>>());
    assert!(report.ai_off_frames > 5 && report.ai_off_frames < 40, "{}", report.ai_off_frames);
    assert_eq!(sink.ai_off, [Some(AiOff::Silent), None]);
    // The stalled frame's findings came 600 ms late: that is a violation, and it is a single one.
    assert!(report.violations >= 1);
}

#[test]
fn findings_that_always_come_too_late_mark_the_picture_until_one_is_in_time() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|id| {
        std::thread::sleep(Duration::from_millis(if id < 40 { 120 } else { 1 }));
        Ok(())
    });
    let options = RunOptions {
        max_latency: Duration::from_millis(60),
        stall_after: Duration::from_millis(300),
        ..live()
    };
    let report =
        go(Script::new(80, 20), Some(&mut analyzer), &mut sink, &options, &RealClock::new()).unwrap();
    assert_eq!(sink.pictures, (0..80).collect::<Vec<u64>>());
    assert!(report.ai_off_frames > 5 && report.ai_off_frames < 60, "{}", report.ai_off_frames);
    assert_eq!(sink.ai_off, [Some(AiOff::Late), None]);
}

#[test]
fn a_single_late_finding_of_a_slow_camera_marks_nothing() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|id| {
        std::thread::sleep(Duration::from_millis(if id == 2 { 120 } else { 1 }));
        Ok(())
    });
    let options = RunOptions {
        max_latency: Duration::from_millis(60),
        stall_after: Duration::from_millis(500),
        ..live()
    };
    go(Script::new(6, 200), Some(&mut analyzer), &mut sink, &options, &RealClock::new()).unwrap();
    assert!(sink.ai_off.is_empty(), "{:?}", sink.ai_off);
}

#[test]
fn a_dead_ai_lane_is_reported_while_the_pictures_go_on() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|id| if id >= 3 { panic!("lost the GPU") } else { Ok(()) });
    let report = go(Script::new(40, 5), Some(&mut analyzer), &mut sink, &live(), &RealClock::new()).unwrap();
    assert_eq!(sink.pictures.len(), 40);
    assert_eq!(report.ai_failure.unwrap().to_string(), "stage ai panicked: lost the GPU");
    assert_eq!(report.analysed + report.dropped + report.unanalysed, 40);
    assert!(report.unanalysed > 0 && report.violations >= report.unanalysed);
    assert!(sink.finished);
}

#[test]
fn what_a_source_gave_before_it_was_lost_is_kept() {
    let mut sink = Recorder::default();
    let source = Script { lost_at: Some(12), ..Script::new(40, 5) };
    let report = go(source, Some(&mut Act(|_| Ok(()))), &mut sink, &live(), &RealClock::new()).unwrap();
    assert_eq!((sink.pictures.len(), sink.finished), (12, true));
    assert_eq!(report.source_lost.unwrap().to_string(), "test: lost the source: unplugged");
    // One that never gave a frame has nothing to keep.
    let (mut sink, source) = (Recorder::default(), Script { lost_at: Some(0), ..Script::new(40, 5) });
    let error = go(source, Some(&mut Act(|_| Ok(()))), &mut sink, &live(), &RealClock::new()).unwrap_err();
    assert!(matches!(error, Error::SourceLost { .. }) && !sink.finished);
}

#[test]
fn a_sink_slower_than_the_camera_costs_pictures_and_not_their_findings() {
    let mut sink = Recorder { slow: Duration::from_millis(6), ..Recorder::default() };
    let options = RunOptions { buffer_size: 4, ..RunOptions::default() };
    let report =
        go(Script::new(300, 2), Some(&mut Act(|_| Ok(()))), &mut sink, &options, &RealClock::new()).unwrap();
    assert!(report.lost > 50, "{}", report.lost);
    // What is shown is analysed, but for what the AI lane gives up; what is lost is not.
    let shown = sink.pictures.len();
    assert!(shown < 250 && sink.records.len() * 2 > shown, "{} of {shown}", sink.records.len());
    assert!(sink.record_ids().iter().all(|id| sink.pictures.contains(id)));
    assert_eq!(report.analysed, sink.records.len() as u64);
    assert!(report.latency.count() + report.lost <= 300);
}

#[test]
fn what_waits_behind_a_live_source_is_latency() {
    let mut source = Script::new(60, 1);
    source.info.live = true;
    let options = RunOptions { policy: Policy::EveryFrame, buffer_size: 40, ..RunOptions::default() };
    let slow = |_| {
        std::thread::sleep(Duration::from_millis(4));
        Ok(())
    };
    let mut sink = Recorder::default();
    let report = go(source, Some(&mut Act(slow)), &mut sink, &options, &RealClock::new()).unwrap();
    assert_eq!(report.analysed, 60);
    // The buffer, and what is decoded ahead of it: the last ones waited for over forty others.
    let worst = sink.records.iter().map(|record| record.processing_time_ms).fold(0.0, f64::max);
    assert!(worst > 160.0, "{worst} ms");
}

#[test]
fn a_recording_at_full_speed_waits_for_a_slow_sink() {
    let mut sink = Recorder { slow: Duration::from_millis(3), ..Recorder::default() };
    let options = RunOptions { pace: Pace::Max, buffer_size: 2, ..live() };
    let report = go(Script::new(60, 5), Some(&mut Act(|_| Ok(()))), &mut sink, &options, &RealClock::new());
    assert_eq!((report.unwrap().lost, sink.pictures.len()), (0, 60));
}

#[test]
fn a_live_frame_without_an_answer_is_dropped_and_told_and_the_next_is_analysed() {
    let not_odd = |id| match id % 2 {
        1 => Err(Error::NotAnalysed { detail: "restarting".into() }),
        _ => Ok(()),
    };
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&told);
    let progress = Progress::telling_drops(Box::new(move |id| seen.lock().unwrap().push(id.0)));
    let mut sink = Recorder::default();
    let (source, clock) = (Box::new(Script::new(40, 5)), RealClock::new());
    let report =
        run(source, Some(&mut Act(not_odd)), &mut sink, &live(), &clock, &Cancel::new(), &progress).unwrap();
    assert_eq!((sink.pictures.len(), report.ai_failure.is_none()), (40, true));
    let told = told.lock().unwrap();
    assert_eq!((told.len() as u64, progress.dropped()), (report.dropped, report.dropped));
    assert!((0..40).filter(|id| id % 2 == 1).all(|id| told.contains(&id)));
    assert!(sink.records.iter().all(|record| record.frame_id % 2 == 0));

    let recording = go(
        Script::new(40, 5),
        Some(&mut Act(not_odd)),
        &mut Recorder::default(),
        &recording(),
        &RealClock::new(),
    );
    assert!(matches!(recording, Err(Error::NotAnalysed { .. })));
}

#[test]
fn a_recording_ends_with_the_root_cause_of_a_failure() {
    let options = recording();
    for (analyzer_fails, source_fails, sink_fails, expected) in [
        (true, false, false, "stage ai panicked: defect"),
        (false, true, false, "test: torn tape"),
        (false, false, true, "out.mp4: full"),
    ] {
        let mut source = Script::new(100, 1);
        source.fail_at = source_fails.then_some(20);
        let mut sink = Recorder { fail_at: sink_fails.then_some(20), ..Recorder::default() };
        let mut analyzer = Act(|id| if analyzer_fails && id == 20 { panic!("defect") } else { Ok(()) });
        let error = go(source, Some(&mut analyzer), &mut sink, &options, &RealClock::new()).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert!(!sink.finished, "{expected}");
    }
}

#[test]
fn cancelling_finishes_what_was_captured() {
    let cancel = Cancel::new();
    let mut sink = Recorder { cancel_at: Some((30, cancel.clone())), ..Recorder::default() };
    let mut analyzer = Act(|_| Ok(()));
    let source = Box::new(Script::new(1_000_000, 1));
    let (clock, progress) = (RealClock::new(), Progress::default());
    let report =
        run(source, Some(&mut analyzer), &mut sink, &recording(), &clock, &cancel, &progress).unwrap();
    assert!(report.cancelled && sink.finished);
    assert_eq!(sink.pictures, sink.record_ids());
    assert!(sink.pictures.len() > 30 && sink.pictures.len() < 100, "{}", sink.pictures.len());
    assert_eq!(progress.presented(), report.frames);
}

#[test]
fn pass_through_shows_every_picture_without_a_model() {
    for policy in [Policy::EveryFrame, Policy::NewestWins] {
        let mut sink = Recorder::default();
        let options = RunOptions { policy, ..RunOptions::default() };
        let report = go(Script::new(50, 4), None, &mut sink, &options, &RealClock::new()).unwrap();
        assert_eq!(sink.pictures, (0..50).collect::<Vec<u64>>());
        assert_eq!(sink.records.len(), 50);
        assert!(sink.records.iter().all(|record| record.model == "none" && record.runtime == "none"));
        assert_eq!(report.latency.count(), 50);
    }
}

#[test]
fn warm_up_is_presented_and_left_out_of_the_figures() {
    let mut sink = Recorder::default();
    let mut analyzer = Act(|_| Ok(()));
    let options = RunOptions { warmup_frames: 15, ..recording() };
    let report = go(Script::new(50, 1), Some(&mut analyzer), &mut sink, &options, &RealClock::new()).unwrap();
    assert_eq!(sink.pictures.len(), 50);
    assert_eq!((report.warmup_frames, report.frames, report.analysed), (15, 35, 35));
    assert_eq!(report.latency.count(), 35);
}

#[test]
fn limits_end_a_run() {
    let mut sink = Recorder::default();
    let options = RunOptions { max_frames: Some(7), ..recording() };
    go(Script::new(50, 1), None, &mut sink, &options, &RealClock::new()).unwrap();
    assert_eq!(sink.pictures.len(), 7);

    let mut sink = Recorder::default();
    let one_second = Some(Duration::from_secs(1));
    let options =
        RunOptions { max_duration: one_second, policy: Policy::EveryFrame, ..RunOptions::default() };
    go(Script::new(500, 40), None, &mut sink, &options, &FakeClock::jumping()).unwrap();
    assert_eq!(sink.pictures.len(), 25);
}

#[test]
fn at_source_pace_latency_counts_from_the_due_instant() {
    // The clock jumps to each due instant and stands still otherwise: an hour of video in no time, and
    // no latency at all.
    let mut sink = Recorder::default();
    let clock = FakeClock::jumping();
    let options = RunOptions { policy: Policy::EveryFrame, ..RunOptions::default() };
    let report = go(Script::new(3600, 1000), None, &mut sink, &options, &clock).unwrap();
    assert_eq!(clock.now(), Moment(Duration::from_secs(3599)));
    assert_eq!(report.frames, 3600);

    // A consumer that takes longer than the frames' distance makes each frame later than the one before.
    struct Slow<'a>(&'a FakeClock);
    impl Analyzer for Slow<'_> {
        fn model(&self) -> &str {
            "slow"
        }
        fn runtime(&self) -> &str {
            "scripted"
        }
        fn analyze(&mut self, _: &Frame) -> Result<Analysis> {
            self.0.advance(Duration::from_millis(50));
            Ok(Analysis::default())
        }
    }
    let clock = FakeClock::jumping();
    let report =
        go(Script::new(100, 40), Some(&mut Slow(&clock)), &mut Recorder::default(), &options, &clock)
            .unwrap();
    assert!(report.latency.summary().max > 900.0, "{:?}", report.latency.summary());
}

#[test]
fn nothing_runs_after_run_has_returned() {
    let running = AtomicBool::new(false);
    let mut analyzer = Act(|_| {
        running.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        running.store(false, Ordering::SeqCst);
        Ok(())
    });
    let mut sink = Recorder { fail_at: Some(5), ..Recorder::default() };
    let result = go(Script::new(1000, 1), Some(&mut analyzer), &mut sink, &recording(), &RealClock::new());
    assert!(result.is_err());
    assert!(!running.load(Ordering::SeqCst));
}

mod pushed {
    use std::sync::Arc;

    use super::super::processor::PassThrough;
    use super::super::stream::{StreamEvent, StreamOptions, StreamProcessor};
    use super::*;

    fn start(analyzer: impl Analyzer + 'static, policy: Policy) -> StreamProcessor {
        let options = StreamOptions { policy, ..StreamOptions::default() };
        StreamProcessor::start(Box::new(analyzer), options, Arc::new(RealClock::new())).unwrap()
    }

    #[test]
    fn every_pushed_frame_is_answered_or_reported_dropped_in_order() {
        let stream = start(
            Act(|_| {
                std::thread::sleep(Duration::from_millis(10));
                Ok(())
            }),
            Policy::NewestWins,
        );
        let mut answered = Vec::new();
        let mut collect = |timeout| {
            while let Some(event) = stream.get_result(timeout) {
                answered.push(match event {
                    StreamEvent::Result(result) => result.record.frame_id,
                    StreamEvent::Dropped(id) | StreamEvent::NotAnalysed(id) => id.0,
                });
            }
        };
        for id in 0..50 {
            assert!(stream.add_frame(frame(id, 1)));
            std::thread::sleep(Duration::from_millis(2));
            collect(Duration::ZERO);
        }
        collect(Duration::from_millis(200));
        answered.sort_unstable();
        assert_eq!(answered, (0..50).collect::<Vec<u64>>());
        let report = stream.stop().unwrap();
        assert!(report.analysed > 5 && report.analysed < 50);
        assert_eq!(report.analysed + report.dropped, 50);
    }

    #[test]
    fn every_frame_waits_for_its_consumer() {
        let stream = start(PassThrough, Policy::EveryFrame);
        std::thread::scope(|scope| {
            scope.spawn(|| (0..100).for_each(|id| assert!(stream.add_frame(frame(id, 1)))));
            for expected in 0..100 {
                match stream.get_result(Duration::from_secs(10)) {
                    Some(StreamEvent::Result(result)) => assert_eq!(result.record.frame_id, expected),
                    other => panic!("{other:?}"),
                }
            }
        });
        assert_eq!(stream.stop().unwrap().analysed, 100);
    }

    #[test]
    fn a_panic_is_told_by_stop_and_ends_the_stream() {
        let stream = start(Act(|_| panic!("broken")), Policy::EveryFrame);
        assert!(stream.add_frame(frame(0, 1)));
        while stream.add_frame(frame(1, 1)) {}
        assert_eq!(stream.stop().unwrap_err().to_string(), "stage stream panicked: broken");
    }

    #[test]
    fn stopping_with_unfetched_results_does_not_hang() {
        let stream = start(PassThrough, Policy::EveryFrame);
        (0..12).for_each(|id| assert!(stream.add_frame(frame(id, 1))));
        assert_eq!(stream.stop().unwrap().analysed, 12);
    }
}

//! An analyzer under watch: one that is stuck, panics or fails is left behind and replaced by a fresh one.
//!
//! A thread that is stuck inside a runtime cannot be stopped. It is abandoned, together with its model, and ends by
//! itself once the runtime returns. Meanwhile frames are answered with [`Error::NotAnalysed`], so that the lanes go on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::models::Loaded;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::pipeline::{Analysis, Analyzer};

/// Silence after which an analyzer counts as stuck.
const PATIENCE: Duration = Duration::from_millis(450);
/// For a slow box, this many times what a frame usually takes.
const USUAL: u32 = 4;
/// For the first frame, when buffers are filled and tables made.
const FIRST_PATIENCE: Duration = Duration::from_secs(5);
/// Never longer than this.
const LONGEST_PATIENCE: Duration = Duration::from_secs(10);
/// For a fresh analyzer to be ready: a GPU's kernels may have to be compiled. A device that hangs never is.
pub(super) const LONGEST_OPENING: Duration = Duration::from_secs(120);
/// Failures within [`WINDOW`] after which it is given up.
pub(super) const MAX_FAILURES: usize = 5;
/// See [`MAX_FAILURES`].
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Pause before the second restart in a row; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Loads the analyzer anew.
type Load = Arc<dyn Fn() -> Result<Loaded> + Send + Sync>;

/// What happened to an analyzer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Incident {
    /// It is stuck, panicked or failed; another takes over.
    Restarting { detail: String },
    /// It works again.
    Back,
    /// It failed too often.
    GivenUp { detail: String },
}

/// Takes incidents.
type OnIncident = Box<dyn Fn(Incident) + Send>;

/// An analyzer that replaces itself.
pub(super) struct Watched {
    load: Load,
    model: String,
    runtime: String,
    sha256: String,
    shares: bool,
    lane: Lane,
    failures: Failures,
    /// What a frame usually takes; `None` before the first.
    usual: Option<Duration>,
    on_incident: Option<OnIncident>,
    /// Added to the numbers of the present analyzer's tracks.
    tracks_before: u64,
    /// The highest number of a track so far.
    newest_track: u64,
}

enum Lane {
    Working(Worker),
    /// What is being loaded, and when it has taken too long.
    Opening(Receiver<Result<Loaded>>, Instant),
    GivenUp,
}

struct Worker {
    frames: Sender<Frame>,
    answers: Receiver<Result<Analysis>>,
}

/// Failures of the last minute.
#[derive(Debug, Default)]
pub(super) struct Failures(VecDeque<Instant>);

impl Failures {
    /// Counts one; true if that is too many.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        self.0.push_back(now);
        while self.0.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            self.0.pop_front();
        }
        self.0.len() >= MAX_FAILURES
    }

    /// Failures within the last minute.
    pub(super) fn recent(&self) -> usize {
        self.0.len()
    }
}

impl Watched {
    /// Loads the analyzer.
    ///
    /// # Errors
    /// Whatever loading it the first time gives; [`Error::Runtime`] where that does not end, as on a device that hangs.
    pub(super) fn open(load: Box<dyn Fn() -> Result<Loaded> + Send + Sync>) -> Result<Self> {
        Self::open_within(LONGEST_OPENING, Arc::from(load))
    }

    fn open_within(longest: Duration, load: Load) -> Result<Self> {
        let failed = |detail: String| Error::Runtime { runtime: "the model's runtime".to_owned(), detail };
        let opening = start(Arc::clone(&load), Duration::ZERO).map_err(|e| failed(e.to_string()))?;
        let loaded = match opening.recv_timeout(longest) {
            Ok(loaded) => loaded?,
            Err(RecvTimeoutError::Timeout) => {
                let seconds = longest.as_secs();
                return Err(failed(format!(
                    "is not ready after {seconds} s: its device may hang; try --runtime candle-cpu"
                )));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(failed("panicked while it was opened".to_owned()));
            }
        };
        Ok(Self {
            model: loaded.analyzer.model().to_owned(),
            runtime: loaded.analyzer.runtime().to_owned(),
            sha256: loaded.sha256.clone(),
            shares: loaded.shares,
            lane: Lane::Working(Worker::start(loaded.analyzer)?),
            load,
            failures: Failures::default(),
            usual: None,
            on_incident: None,
            tracks_before: 0,
            newest_track: 0,
        })
    }

    /// Tells incidents to `on_incident` from now on.
    pub(super) fn tell(&mut self, on_incident: OnIncident) {
        self.on_incident = Some(on_incident);
    }

    /// Digest of the model's network.
    pub(super) fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether another one costs next to nothing.
    pub(super) fn shares(&self) -> bool {
        self.shares
    }

    /// Whether it failed too often.
    #[cfg(test)]
    fn has_given_up(&self) -> bool {
        matches!(self.lane, Lane::GivenUp)
    }

    fn incident(&self, incident: Incident) {
        if let Some(tell) = &self.on_incident {
            tell(incident);
        }
    }

    fn patience(&self) -> Duration {
        self.usual.map_or(FIRST_PATIENCE, |usual| (usual * USUAL).clamp(PATIENCE, LONGEST_PATIENCE))
    }

    /// Leaves the present analyzer behind and has another one loaded.
    fn replace(&mut self, detail: String) -> Error {
        self.usual = None;
        if self.failures.count(Instant::now()) {
            return self.give_up(format!("failed {MAX_FAILURES} times in {} s: {detail}", WINDOW.as_secs()));
        }
        let doublings = self.failures.recent().saturating_sub(2) as u32;
        let pause = if self.failures.recent() < 2 { Duration::ZERO } else { FIRST_PAUSE * (1 << doublings) };
        self.lane = match start(Arc::clone(&self.load), pause) {
            Ok(loaded) => Lane::Opening(loaded, Instant::now() + pause + LONGEST_OPENING),
            Err(_) => Lane::GivenUp,
        };
        self.incident(Incident::Restarting { detail: detail.clone() });
        Error::NotAnalysed { detail }
    }

    fn give_up(&mut self, detail: String) -> Error {
        self.lane = Lane::GivenUp;
        self.incident(Incident::GivenUp { detail: detail.clone() });
        Error::NotAnalysed { detail }
    }

    /// Goes on where the analyzers before ended: each counts its tracks from one.
    fn number(&mut self, analysis: &mut Analysis) {
        let tracks = analysis.findings.detections.iter_mut().filter_map(|found| found.track_id.as_mut());
        for track in tracks {
            *track += self.tracks_before;
            self.newest_track = self.newest_track.max(*track);
        }
    }

    /// Lets a fresh analyzer work: `auto` may have taken another runtime than before, and the file may be another.
    fn take(&mut self, loaded: Loaded) -> Result<()> {
        (self.runtime, self.sha256) = (loaded.analyzer.runtime().to_owned(), loaded.sha256);
        self.lane = Lane::Working(Worker::start(loaded.analyzer)?);
        Ok(())
    }

    fn reopen(&mut self, loaded: Result<Loaded>) -> Result<()> {
        match loaded.and_then(|loaded| self.take(loaded)) {
            Ok(()) => {
                self.tracks_before = self.newest_track;
                self.incident(Incident::Back);
                Ok(())
            }
            Err(error) => Err(self.replace(error.to_string())),
        }
    }
}

/// Loads on a thread of its own, which may never come back.
fn start(load: Load, pause: Duration) -> std::io::Result<Receiver<Result<Loaded>>> {
    let (loaded, receiver) = bounded(1);
    Builder::new().name("ai-open".to_owned()).spawn(move || {
        std::thread::sleep(pause);
        let _ = loaded.send(load());
    })?;
    Ok(receiver)
}

impl Worker {
    fn start(mut analyzer: Box<dyn Analyzer>) -> Result<Self> {
        let (frames, to_analyse) = bounded::<Frame>(1);
        let (answer, answers) = bounded(1);
        Builder::new()
            .name("ai-work".to_owned())
            .spawn(move || {
                for frame in to_analyse {
                    if answer.send(analyzer.analyze(&frame)).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Error::Runtime { runtime: "threads".to_owned(), detail: error.to_string() })?;
        Ok(Self { frames, answers })
    }
}

impl Analyzer for Watched {
    fn model(&self) -> &str {
        &self.model
    }

    fn runtime(&self) -> &str {
        &self.runtime
    }

    /// Analyses one frame.
    ///
    /// # Errors
    /// [`Error::NotAnalysed`] where the analyzer is stuck, failed or is being replaced; never anything else.
    fn analyze(&mut self, frame: &Frame) -> Result<Analysis> {
        if let Lane::Opening(receiver, deadline) = &self.lane {
            match receiver.try_recv() {
                Ok(loaded) => self.reopen(loaded)?,
                Err(crossbeam_channel::TryRecvError::Empty) if Instant::now() > *deadline => {
                    let seconds = LONGEST_OPENING.as_secs();
                    return Err(self.give_up(format!("opening the model took more than {seconds} s")));
                }
                Err(crossbeam_channel::TryRecvError::Empty) => {
                    return Err(Error::NotAnalysed { detail: "the AI is being restarted".to_owned() });
                }
                Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    return Err(self.replace("loading the model panicked".to_owned()));
                }
            }
        }
        let patience = self.patience();
        let Lane::Working(worker) = &self.lane else {
            return Err(Error::NotAnalysed { detail: "the AI failed too often".to_owned() });
        };
        let begin = Instant::now();
        if worker.frames.send(frame.clone()).is_err() {
            return Err(self.replace("the AI panicked".to_owned()));
        }
        match worker.answers.recv_timeout(patience) {
            Ok(Ok(mut analysis)) => {
                self.number(&mut analysis);
                let took = begin.elapsed();
                // A moving average: one slow frame does not make it patient.
                self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
                Ok(analysis)
            }
            Ok(Err(error)) => Err(self.replace(error.to_string())),
            Err(RecvTimeoutError::Timeout) => {
                Err(self.replace(format!("the AI gave no answer within {} ms", patience.as_millis())))
            }
            Err(RecvTimeoutError::Disconnected) => Err(self.replace("the AI panicked".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::frame::{Color, Picture, PixelFormat, Plane};

    /// Does what the script says for each frame, across restarts.
    struct Scripted(Arc<AtomicU32>, fn(u32) -> Result<()>);

    impl Analyzer for Scripted {
        fn model(&self) -> &str {
            "scripted"
        }

        fn runtime(&self) -> &str {
            "test"
        }

        fn analyze(&mut self, _: &Frame) -> Result<Analysis> {
            self.1(self.0.fetch_add(1, Ordering::SeqCst))?;
            Ok(Analysis::default())
        }
    }

    fn watched(script: fn(u32) -> Result<()>) -> (Watched, Arc<Mutex<Vec<Incident>>>) {
        let frames = Arc::new(AtomicU32::new(0));
        let load = move || {
            let analyzer = Box::new(Scripted(Arc::clone(&frames), script));
            Ok(Loaded { analyzer, sha256: String::new(), shares: false })
        };
        let mut watched = Watched::open(Box::new(load)).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        watched.tell(Box::new(move |incident| sink.lock().unwrap().push(incident)));
        (watched, seen)
    }

    #[test]
    fn a_device_that_hangs_is_an_error_in_time() {
        let load = || {
            std::thread::sleep(Duration::from_secs(600));
            Err(Error::Cancelled)
        };
        let error = Watched::open_within(Duration::from_millis(50), Arc::new(load)).err().unwrap();
        assert!(error.to_string().contains("is not ready after 0 s"), "{error}");
        let error =
            Watched::open_within(Duration::from_secs(9), Arc::new(|| panic!("broken"))).err().unwrap();
        assert!(error.to_string().contains("panicked while it was opened"), "{error}");
    }

    /// Finds one thing, its first, in each frame but the third of each life.
    struct Counting(u32, &'static str);

    impl Analyzer for Counting {
        fn model(&self) -> &str {
            "counting"
        }

        fn runtime(&self) -> &str {
            self.1
        }

        fn analyze(&mut self, _: &Frame) -> Result<Analysis> {
            self.0 += 1;
            if self.0 == 3 {
                return Err(Error::NotAnalysed { detail: "the third".to_owned() });
            }
            let mut found = crate::sink::tests::finding("polyp", 0.9);
            found.track_id = Some(1);
            let mut analysis = Analysis::default();
            analysis.findings.detections.push(found);
            Ok(analysis)
        }
    }

    #[test]
    fn another_life_numbers_its_tracks_on_and_names_its_runtime() {
        let lives = AtomicU32::new(0);
        let load = move || {
            let runtime = if lives.fetch_add(1, Ordering::SeqCst) == 0 { "gpu" } else { "cpu" };
            Ok(Loaded { analyzer: Box::new(Counting(0, runtime)), sha256: String::new(), shares: false })
        };
        let mut watched = Watched::open(Box::new(load)).unwrap();
        assert_eq!(watched.runtime(), "gpu");
        let mut tracks = Vec::new();
        let begin = Instant::now();
        while tracks.len() < 6 {
            match watched.analyze(&frame()) {
                Ok(analysis) => tracks.push(analysis.findings.detections[0].track_id.unwrap()),
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
            assert!(begin.elapsed() < Duration::from_secs(20));
        }
        assert_eq!(tracks, [1, 1, 2, 2, 3, 3]);
        assert_eq!(watched.runtime(), "cpu");
    }

    #[test]
    fn a_model_that_is_never_ready_is_given_up() {
        let (mut watched, incidents) = watched(|_| Ok(()));
        let (_loading, never) = bounded(1);
        watched.lane = Lane::Opening(never, Instant::now() + Duration::from_millis(50));
        assert!(watched.analyze(&frame()).is_err() && !watched.has_given_up());
        std::thread::sleep(Duration::from_millis(60));
        assert!(watched.analyze(&frame()).is_err() && watched.has_given_up());
        let detail = "opening the model took more than 120 s".to_owned();
        assert_eq!(*incidents.lock().unwrap(), [Incident::GivenUp { detail }]);
    }

    fn frame() -> Frame {
        let plane = Plane::from_vec(vec![0; 64], 8, 8).unwrap();
        Frame::still("t", Picture::new(8, 8, PixelFormat::Gray8, Color::default(), vec![plane]).unwrap())
    }

    /// Analyses until one frame succeeds.
    fn until_well(watched: &mut Watched) {
        let begin = Instant::now();
        while watched.analyze(&frame()).is_err() {
            assert!(begin.elapsed() < Duration::from_secs(10));
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_stuck_analyzer_is_noticed_in_half_a_second_and_replaced() {
        let (mut watched, incidents) = watched(|n| {
            if n == 3 {
                std::thread::sleep(Duration::from_secs(3));
            }
            Ok(())
        });
        (0..3).for_each(|_| drop(watched.analyze(&frame()).unwrap()));
        let begin = Instant::now();
        assert!(matches!(watched.analyze(&frame()), Err(Error::NotAnalysed { .. })));
        let noticed = begin.elapsed();
        assert!(noticed >= Duration::from_millis(400) && noticed < Duration::from_millis(900), "{noticed:?}");
        until_well(&mut watched);
        assert!(begin.elapsed() < Duration::from_secs(2), "it did not wait for the stuck one");
        let incidents = incidents.lock().unwrap();
        assert!(matches!(incidents[0], Incident::Restarting { .. }));
        assert_eq!(incidents[1..], [Incident::Back]);
    }

    #[test]
    fn panics_and_errors_are_replaced_too() {
        let (mut watched, incidents) = watched(|n| match n {
            1 => panic!("lost the GPU"),
            3 => Err(Error::Runtime { runtime: "r".into(), detail: "no memory".into() }),
            _ => Ok(()),
        });
        watched.analyze(&frame()).unwrap();
        until_well(&mut watched);
        until_well(&mut watched);
        until_well(&mut watched);
        let told = format!("{:?}", incidents.lock().unwrap());
        assert!(told.contains("panicked") && told.contains("no memory"), "{told}");
    }

    #[test]
    fn five_failures_in_a_minute_end_it() {
        let (mut watched, incidents) =
            watched(|_| Err(Error::Runtime { runtime: "r".into(), detail: "broken".into() }));
        let begin = Instant::now();
        while !watched.has_given_up() {
            assert!(watched.analyze(&frame()).is_err());
            assert!(begin.elapsed() < Duration::from_secs(20));
            std::thread::sleep(Duration::from_millis(5));
        }
        let incidents = incidents.lock().unwrap();
        assert!(matches!(incidents.last(), Some(Incident::GivenUp { .. })));
        let restarts = incidents.iter().filter(|i| matches!(i, Incident::Restarting { .. })).count();
        assert_eq!(restarts, MAX_FAILURES - 1);
    }
}

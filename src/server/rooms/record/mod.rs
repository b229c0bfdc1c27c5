//! A room's recordings: its video, untouched where it comes coded, and what was found in it.
//!
//! Writing happens on a thread of its own behind bounded queues, so that a slow disk holds up neither lane: what does
//! not fit is lost and counted. A disk that is full or cannot be written to ends the recording, not the room.

mod name;
mod pair;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Select, Sender, bounded, never};

use crate::cancel::Cancel;
use crate::error::Result;
use crate::frame::Frame;
use crate::record::FrameRecord;
use crate::server::api::{Recording, RecordingState};
use crate::server::audit::Audit;
use crate::server::log::Log;
use crate::source::SourceInfo;
use crate::source::tap::{Coded, Stream, Tap};
use pair::Pair;

/// Frames that may wait to be coded, most of a second: some 75 MB of 1080p.
const MAX_FRAMES: usize = 24;
/// Records that may wait to be written.
const MAX_RECORDS: usize = 256;
/// How long the thread may overlook that the room has ended.
const POLL: Duration = Duration::from_millis(100);

/// Where recordings go and who answers for them.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) folder: PathBuf,
    pub(super) room: String,
    pub(super) stream_id: String,
    /// Whether its source's name is left out of records.
    pub(super) anonymous: bool,
    /// Who started the room.
    pub(super) user: String,
    pub(super) audit: Option<Arc<Audit>>,
    pub(super) log: Log,
}

/// One step of a source whose frames are to be coded.
enum Step {
    Opened(Box<SourceInfo>),
    Frame(Frame),
}

/// The way to a room's recordings.
pub(super) struct Recorder {
    setup: Setup,
    /// Packets to be kept as they are.
    packets: Receiver<Coded>,
    lost_packets: Arc<AtomicU64>,
    steps: (Sender<Step>, Receiver<Step>),
    records: (Sender<FrameRecord>, Receiver<FrameRecord>),
    /// Frames and records that found no room.
    lost: AtomicU64,
    off: AtomicBool,
    status: Mutex<Recording>,
}

impl Recorder {
    /// A recorder of the packets of `tap` where they flow, and of frames otherwise.
    pub(super) fn new(setup: Setup, tap: Option<&Tap>) -> Self {
        let (packets, lost_packets) = match tap {
            Some(tap) => {
                let subscription = tap.subscribe();
                let lost = subscription.lost();
                (subscription.packets, lost)
            }
            None => (never(), Arc::default()),
        };
        Self {
            setup,
            packets,
            lost_packets,
            steps: bounded(MAX_FRAMES),
            records: bounded(MAX_RECORDS),
            lost: AtomicU64::new(0),
            off: AtomicBool::new(false),
            status: Mutex::new(Recording {
                state: RecordingState::Waiting,
                detail: None,
                files: Vec::new(),
                frames: 0,
                records: 0,
                lost: 0,
            }),
        }
    }

    /// How the recording fares.
    pub(super) fn status(&self) -> Recording {
        let lost = self.lost.load(Ordering::Relaxed) + self.lost_packets.load(Ordering::Relaxed);
        Recording { lost, ..self.lock().clone() }
    }

    /// The source was opened (again); its time may have started anew.
    pub(super) fn opened(&self, info: &SourceInfo) {
        self.offer(&self.steps.0, Step::Opened(Box::new(info.clone())));
    }

    /// A frame of a source whose packets do not flow.
    pub(super) fn frame(&self, frame: &Frame) {
        self.offer(&self.steps.0, Step::Frame(frame.clone()));
    }

    /// A frame's record.
    pub(super) fn record(&self, record: &FrameRecord) {
        let mut record = record.clone();
        if self.setup.anonymous {
            record.source.clone_from(&self.setup.room);
        }
        self.offer(&self.records.0, record);
    }

    fn offer<T>(&self, queue: &Sender<T>, item: T) {
        if !self.off.load(Ordering::Relaxed) && queue.try_send(item).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes until `ended`, and then what is left.
    pub(super) fn run(&self, ended: &Cancel) {
        let mut writing = Writing::default();
        loop {
            let last = ended.is_cancelled();
            let outcome =
                self.drain(&mut writing).and_then(|()| if last { self.finish(&mut writing) } else { Ok(()) });
            if let Err(error) = outcome {
                self.fail(writing, &error.to_string());
                return self.ignore(ended);
            }
            if last {
                return self.set(RecordingState::Finished, None);
            }
            self.wait();
        }
    }

    /// Lets everything that comes go, until `ended`.
    fn ignore(&self, ended: &Cancel) {
        while !ended.is_cancelled() {
            self.packets.try_iter().for_each(drop);
            self.steps.1.try_iter().for_each(drop);
            self.records.1.try_iter().for_each(drop);
            self.wait();
        }
    }

    fn wait(&self) {
        let mut queues = Select::new();
        queues.recv(&self.packets);
        queues.recv(&self.steps.1);
        queues.recv(&self.records.1);
        let _ = queues.ready_timeout(POLL);
    }

    /// Writes what waits.
    fn drain(&self, writing: &mut Writing) -> Result<()> {
        for coded in self.packets.try_iter() {
            self.packet(writing, coded)?;
        }
        for step in self.steps.1.try_iter() {
            self.step(writing, step)?;
        }
        self.drain_records(writing)?;
        if let Some(pair) = &writing.pair {
            let (frames, records) = pair.counts();
            let mut status = self.lock();
            (status.frames, status.records) = (writing.frames + frames, writing.records + records);
        }
        Ok(())
    }

    /// Writes the records whose pictures have been written; others wait for theirs.
    fn drain_records(&self, writing: &mut Writing) -> Result<()> {
        let Writing { pair, early, .. } = writing;
        early.extend(self.records.1.try_iter());
        if let Some(pair) = pair {
            let ready = early.iter().take_while(|record| pair.reaches(record)).count();
            for record in early.drain(..ready) {
                pair.record(record)?;
            }
        }
        // Where pictures are not kept, or were lost, records wait in vain.
        early.drain(..early.len().saturating_sub(MAX_RECORDS));
        Ok(())
    }

    fn packet(&self, writing: &mut Writing, coded: Coded) -> Result<()> {
        let known = writing.stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream, &coded.stream));
        if !known {
            // Another connection may be coded in another way: it gets files of its own.
            self.finish(writing)?;
            writing.stream = Some(Arc::clone(&coded.stream));
        }
        let pair = match &mut writing.pair {
            Some(pair) => pair,
            None => {
                let pair = Pair::of_packets(&self.setup.folder, &self.setup.room, &coded)?;
                self.began(writing, pair)?
            }
        };
        pair.packet(coded)
    }

    fn step(&self, writing: &mut Writing, step: Step) -> Result<()> {
        let frame = match step {
            Step::Opened(info) => {
                // Packets tell by themselves that they are another connection's.
                if writing.stream.is_none() {
                    self.finish(writing)?;
                }
                writing.info = Some(info);
                return Ok(());
            }
            Step::Frame(frame) => frame,
        };
        if let Some(pair) = writing.pair.as_ref().filter(|pair| pair.keeps_packets()) {
            // One that has waited, of a connection before this one.
            if pair.has_passed(&frame) {
                return Ok(());
            }
            // Frames come only where no packets do: the source was opened again and is coded in no way that can be kept.
            self.finish(writing)?;
            writing.stream = None;
        }
        let pair = match (&mut writing.pair, &writing.info) {
            (Some(pair), _) => pair,
            (None, Some(info)) => {
                let pair = Pair::of_frames(&self.setup.folder, &self.setup.room, info, &frame)?;
                self.began(writing, pair)?
            }
            (None, None) => return Ok(()),
        };
        pair.frame(&frame)
    }

    fn began<'a>(&self, writing: &'a mut Writing, pair: Pair) -> Result<&'a mut Pair> {
        let files = pair.files();
        let pair = writing.pair.insert(pair);
        {
            let mut status = self.lock();
            status.files = files.to_vec();
            status.state = RecordingState::Recording;
        }
        self.say("recording_started", &files, None)?;
        Ok(pair)
    }

    fn finish(&self, writing: &mut Writing) -> Result<()> {
        self.drain_records(writing)?;
        let Some(pair) = writing.pair.take() else { return Ok(()) };
        let (files, counts) = (pair.files(), pair.counts());
        writing.frames += counts.0;
        writing.records += counts.1;
        pair.finish()?;
        self.say("recording_finished", &files, Some(counts))
    }

    fn fail(&self, writing: Writing, detail: &str) {
        self.off.store(true, Ordering::Relaxed);
        if let Some(pair) = writing.pair {
            pair.give_up();
        }
        self.set(RecordingState::Failed, Some(detail.to_owned()));
        let Setup { room, stream_id, user, audit, log, .. } = &self.setup;
        log.warn("recording_failed", [("room", room.clone().into()), ("detail", detail.into())]);
        let fields = [
            ("room", room.clone().into()),
            ("stream_id", stream_id.clone().into()),
            ("files", self.lock().files.clone().into()),
            ("detail", detail.into()),
        ];
        if let Some(Err(error)) = audit.as_ref().map(|audit| audit.append("recording_failed", user, fields)) {
            log.warn("audit_failed", [("detail", error.to_string().into())]);
        }
    }

    fn say(&self, event: &'static str, files: &[String], counts: Option<(u64, u64)>) -> Result<()> {
        let Setup { room, stream_id, user, audit, log, .. } = &self.setup;
        let count = |pick: fn((u64, u64)) -> u64| serde_json::Value::from(counts.map(pick));
        let fields = || {
            [
                ("room", room.clone().into()),
                ("stream_id", stream_id.clone().into()),
                ("files", files.to_vec().into()),
                ("frames", count(|(frames, _)| frames)),
                ("records", count(|(_, records)| records)),
            ]
        };
        log.info(event, fields());
        // What cannot be accounted for is not recorded.
        audit.as_ref().map_or(Ok(()), |audit| audit.append(event, user, fields()))
    }

    fn set(&self, state: RecordingState, detail: Option<String>) {
        let mut status = self.lock();
        (status.state, status.detail) = (state, detail);
    }

    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the thread has under way.
#[derive(Default)]
struct Writing {
    pair: Option<Pair>,
    /// The connection whose packets are kept.
    stream: Option<Arc<Stream>>,
    /// The source whose frames are coded.
    info: Option<Box<SourceInfo>>,
    /// Records whose pictures have not been written.
    early: VecDeque<FrameRecord>,
    /// Frames and records in files that are whole.
    frames: u64,
    records: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tests::record;
    use crate::source::{OpenOptions, open};

    #[test]
    fn a_record_that_is_read_before_its_picture_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let (room, log) = ("or-1".to_owned(), Log::silent());
        let (stream_id, user) = (String::new(), String::new());
        let folder_path = folder.path().to_owned();
        let setup = Setup { folder: folder_path, room, stream_id, anonymous: false, user, audit: None, log };
        let recorder = Recorder::new(setup, None);
        let mut source = open("synthetic:64x64@25", &OpenOptions::default(), &Cancel::new()).unwrap();
        let mut writing = Writing::default();
        let step = |source: &mut dyn crate::source::Source| {
            recorder.frame(&source.next().unwrap().unwrap());
        };
        recorder.opened(source.info());
        step(&mut *source);
        recorder.record(&record(0, Vec::new()));
        // A connection ends here: the second record is of a picture of the next one, which is still on its way.
        recorder.record(&record(1, Vec::new()));
        recorder.drain(&mut writing).unwrap();
        recorder.opened(source.info());
        recorder.drain(&mut writing).unwrap();
        step(&mut *source);
        recorder.drain(&mut writing).unwrap();
        recorder.finish(&mut writing).unwrap();
        let mut records: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .collect();
        records.sort();
        let lines: Vec<String> = records.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        for (index, lines) in lines.iter().enumerate() {
            let kept: FrameRecord = serde_json::from_str(lines).unwrap();
            assert_eq!((kept.frame_id, kept.pts_ms), (index as u64, 0.0));
        }
    }
}

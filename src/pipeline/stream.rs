//! A stream of frames that a program pushes itself: start, add frames, get results, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::account::Account;
use super::buffer::FrameBuffer;
use super::clock::Clock;
use super::options::Policy;
use super::processor::{Analysis, Analyzer};
use super::report::{RunReport, Stage};
use super::stage::guard;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment};
use crate::record::FrameRecord;

/// How a pushed stream behaves.
#[derive(Debug, Clone)]
pub struct StreamOptions {
    /// What happens to a frame that there is no time for.
    pub policy: Policy,
    /// Frames that may wait, and results that may wait to be fetched.
    pub buffer_size: usize,
    /// Latency beyond which a frame violates its budget.
    pub max_latency: Duration,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self { policy: Policy::NewestWins, buffer_size: 5, max_latency: Duration::from_millis(200) }
    }
}

/// What comes back from a pushed stream.
#[derive(Debug)]
pub enum StreamEvent {
    /// A frame was analysed.
    Result(Box<StreamResult>),
    /// A frame was skipped because a newer one was there.
    Dropped(FrameId),
    /// A frame was skipped because the analyzer had no answer ([`Error::NotAnalysed`]).
    NotAnalysed(FrameId),
}

/// An analysed frame.
#[derive(Debug)]
pub struct StreamResult {
    /// The frame as it was pushed.
    pub frame: Frame,
    /// What was found, and the score map behind it.
    pub analysis: Analysis,
    /// The same as a record.
    pub record: FrameRecord,
}

struct Inner {
    options: StreamOptions,
    clock: Arc<dyn Clock>,
    frames: FrameBuffer<Frame>,
    cancel: Cancel,
    /// Frames that gave way to newer ones.
    pushed_out: AtomicU64,
    events: Sender<StreamEvent>,
    /// The same channel's other end, to make room under `newest-wins`.
    overflow: Receiver<StreamEvent>,
}

/// An analyzer on a thread of its own, fed frame by frame.
pub struct StreamProcessor {
    inner: Arc<Inner>,
    events: Receiver<StreamEvent>,
    worker: Option<JoinHandle<Result<RunReport>>>,
}

impl StreamProcessor {
    /// Starts the stream.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(analyzer: Box<dyn Analyzer>, options: StreamOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        // Each frame that waits may end as a result and each may be reported dropped.
        let (events_tx, events_rx) = bounded(options.buffer_size.max(1) * 2);
        let inner = Arc::new(Inner {
            frames: FrameBuffer::new(options.policy, options.buffer_size),
            options,
            clock,
            cancel: Cancel::new(),
            pushed_out: AtomicU64::new(0),
            events: events_tx,
            overflow: events_rx.clone(),
        });
        let shared = Arc::clone(&inner);
        let worker = Builder::new()
            .name("stream".to_owned())
            .spawn(move || {
                let outcome = guard("stream", || work(&shared, analyzer));
                shared.frames.close();
                outcome
            })
            .map_err(|error| Error::Runtime { runtime: "threads".to_owned(), detail: error.to_string() })?;
        Ok(Self { inner, events: events_rx, worker: Some(worker) })
    }

    /// Gives a frame to the stream; its `captured` is set to now unless the caller has set it.
    ///
    /// Under [`Policy::EveryFrame`] it waits for room. `false` once the stream has ended.
    pub fn add_frame(&self, mut frame: Frame) -> bool {
        if frame.captured == Moment::default() {
            frame.captured = self.inner.clock.now();
        }
        let inner = &self.inner;
        inner.frames.push(frame, &inner.cancel, |stale| {
            inner.pushed_out.fetch_add(1, Ordering::Relaxed);
            inner.emit(StreamEvent::Dropped(stale.id));
        })
    }

    /// The next event, waiting for it as long as `timeout`. Results come in capture order, what was dropped as it happens.
    pub fn get_result(&self, timeout: Duration) -> Option<StreamEvent> {
        self.events.recv_timeout(timeout).ok()
    }

    /// Ends the stream at once and without waiting for it: what waits is given up.
    pub fn give_up(&self) {
        self.inner.cancel.cancel();
        self.inner.frames.close();
    }

    /// Ends the stream: what waits is still analysed, then the statistics are given.
    ///
    /// Results that nobody fetched are discarded.
    ///
    /// # Errors
    /// What ended the stream early, if anything did.
    pub fn stop(mut self) -> Result<RunReport> {
        self.inner.frames.close();
        let Some(worker) = self.worker.take() else { return Ok(RunReport::default()) };
        // Under `every-frame` the worker may wait for somebody to fetch results: nobody will.
        while !worker.is_finished() {
            let _ = self.events.recv_timeout(Duration::from_millis(1));
        }
        worker.join().unwrap_or_else(|_| {
            Err(Error::StagePanicked { stage: "stream".to_owned(), message: "no message".to_owned() })
        })
    }
}

impl Drop for StreamProcessor {
    fn drop(&mut self) {
        // Dropped without `stop`: let the worker end by itself instead of waiting here.
        self.give_up();
    }
}

impl Inner {
    /// Hands an event out. Under `newest-wins` the oldest unfetched one gives way; otherwise it waits.
    fn emit(&self, event: StreamEvent) {
        let mut event = event;
        while !self.cancel.is_cancelled() {
            event = match self.events.try_send(event) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(event)) => event,
            };
            if self.options.policy == Policy::NewestWins {
                let _ = self.overflow.try_recv();
            } else {
                match self.events.send_timeout(event, Duration::from_millis(50)) {
                    Ok(()) => return,
                    Err(unsent) => event = unsent.into_inner(),
                }
            }
        }
    }
}

fn work(inner: &Inner, mut analyzer: Box<dyn Analyzer>) -> Result<RunReport> {
    let mut account = Account::new(inner.options.max_latency);
    let started = inner.clock.now();
    let mut first = None;
    loop {
        let mut dropped = Vec::new();
        let next = inner.frames.pop(&inner.cancel, |stale| dropped.push(stale.id));
        account.report.dropped += dropped.len() as u64;
        dropped.into_iter().for_each(|id| inner.emit(StreamEvent::Dropped(id)));
        let Some(frame) = next else { break };
        let queue_wait = inner.clock.now().since(frame.captured);
        let analysis = match analyzer.analyze(&frame) {
            Err(Error::NotAnalysed { .. }) if inner.options.policy == Policy::NewestWins => {
                account.report.dropped += 1;
                inner.emit(StreamEvent::NotAnalysed(frame.id));
                continue;
            }
            outcome => outcome?,
        };
        let now = inner.clock.now();
        let latency = now.since(frame.captured);
        let record = analysis.record(&frame, analyzer.model(), analyzer.runtime());
        let record = account.close(record, queue_wait, Duration::ZERO, latency);
        account.analysed(&analysis, queue_wait, latency);
        let report = &mut account.report;
        report.frames += 1;
        report.elapsed = now.since(*first.get_or_insert(now));
        report.first_result.get_or_insert(now.since(started));
        report.stages.record(Stage::Decode, frame.decode);
        inner.emit(StreamEvent::Result(Box::new(StreamResult { frame, analysis, record })));
    }
    account.report.dropped += inner.pushed_out.load(Ordering::Relaxed);
    Ok(account.report)
}

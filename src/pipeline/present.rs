//! The presenter: joins both lanes by the frame's id, draws, hands to the sink, and keeps the accounts.

use std::collections::VecDeque;
use std::time::Duration;

use super::account::Account;
use super::clock::Clock;
use super::options::{Compose, RunOptions};
use super::processor::Analysis;
use super::report::{Progress, RunReport, Stage};
use crate::error::Result;
use crate::frame::{Frame, FrameId, Moment};
use crate::record::{Detection, FrameRecord};
use crate::sink::{AiOff, Sink};
use crate::vision::overlay;

/// Pictures whose presentation is remembered until their analysis arrives. More than the AI lane can
/// have under way: its buffer, the frame in work and the one on its way back.
const REMEMBERED_PICTURES: usize = 256;

/// A frame that the AI lane has finished.
#[derive(Debug)]
pub(super) struct Analysed {
    pub(super) frame: Frame,
    pub(super) analysis: Analysis,
    pub(super) queue_wait: Duration,
}

/// Who analyses, as records name it.
#[derive(Debug, Clone)]
pub(super) struct Identity {
    pub(super) model: String,
    pub(super) runtime: String,
}

/// A picture that was presented before its analysis.
struct Shown {
    id: FrameId,
    at: Moment,
    overlay: Duration,
}

pub(super) struct Presenter<'a> {
    options: &'a RunOptions,
    clock: &'a dyn Clock,
    sink: &'a mut dyn Sink,
    progress: &'a Progress,
    /// `None`: pass-through, every picture is complete by itself.
    ai: Option<Identity>,
    /// Pictures whose analysis is still under way.
    shown: VecDeque<Shown>,
    /// The newest findings and when their frame was captured.
    latest: Option<(Moment, Vec<Detection>)>,
    /// Since when frames have come without any analysis coming back.
    silent_since: Option<Moment>,
    /// Since when all findings have come too late to be shown.
    late_since: Option<Moment>,
    /// Whether that has been so for long enough to mark the picture.
    late: bool,
    ai_failed: bool,
    /// What the sink was last told of the AI lane.
    told_off: Option<AiOff>,
    started: Moment,
    last_presented: Moment,
    presented: u64,
    account: Account,
}

impl<'a> Presenter<'a> {
    pub(super) fn new(
        options: &'a RunOptions,
        clock: &'a dyn Clock,
        sink: &'a mut dyn Sink,
        progress: &'a Progress,
        ai: Option<Identity>,
    ) -> Self {
        let now = clock.now();
        Self {
            options,
            clock,
            sink,
            progress,
            ai,
            shown: VecDeque::new(),
            latest: None,
            silent_since: None,
            late_since: None,
            late: false,
            ai_failed: false,
            told_off: None,
            started: now,
            last_presented: now,
            presented: 0,
            account: Account::new(options.max_latency),
        }
    }

    /// The AI lane has ended before its time: pictures go on, marked.
    pub(super) fn ai_failed(&mut self) {
        self.ai_failed = true;
    }

    /// The picture that came down the video lane last, of those that findings may still come for.
    pub(super) fn newest(&self) -> Option<FrameId> {
        self.shown.back().map(|shown| shown.id)
    }

    /// A picture has come down the video lane.
    pub(super) fn on_frame(&mut self, frame: Frame) -> Result<()> {
        if self.ai.is_some() {
            return self.show_with_latest(frame);
        }
        let at = self.show(&frame)?;
        let record = self.record(&frame, &Analysis::default(), Duration::ZERO, Duration::ZERO, at);
        self.enter(&frame, None, at);
        self.sink.result(&frame, &record)
    }

    /// A frame's findings have come down the AI lane.
    pub(super) fn on_analysis(&mut self, result: Analysed) -> Result<()> {
        self.silent_since = None;
        match self.options.compose() {
            Compose::Joined => self.show_joined(result),
            Compose::Latest => self.publish(result),
        }
    }

    /// Frames that were due and that the video lane could not take.
    pub(super) fn on_lost(&mut self, frames: u64) {
        self.progress.count_lost(frames);
        if !self.measuring() {
            return;
        }
        self.account.report.lost += frames;
        for _ in 0..frames {
            self.account.violation(true);
        }
    }

    /// Closes the accounts: what was neither analysed nor dropped on purpose was due and never shown
    /// with its findings.
    pub(super) fn finish(mut self, dropped: u64) -> RunReport {
        self.account.report.dropped = dropped;
        if self.ai_failed {
            self.account.report.unanalysed =
                self.account.report.frames.saturating_sub(self.account.report.analysed + dropped);
            (0..self.account.report.unanalysed).for_each(|_| self.account.violation(true));
        }
        self.account.report
    }

    fn show_with_latest(&mut self, mut frame: Frame) -> Result<()> {
        let now = self.clock.now();
        let silent_since = *self.silent_since.get_or_insert(frame.captured);
        let silent = now.since(silent_since) > self.options.stall_after;
        let ai_off = match (self.ai_failed || silent, self.late) {
            (true, _) => Some(AiOff::Silent),
            (false, true) => Some(AiOff::Late),
            (false, false) => None,
        };
        if ai_off.is_some() && self.measuring() {
            self.account.report.ai_off_frames += 1;
        }
        if ai_off != self.told_off {
            self.told_off = ai_off;
            self.sink.ai_off(ai_off);
        }
        if self.sink.wants_overlay() {
            if ai_off.is_some() {
                overlay::ai_off(&mut frame.picture);
            } else if let Some((captured, detections)) = &self.latest
                && frame.captured.since(*captured) <= self.options.max_latency
            {
                overlay::draw(&mut frame.picture, detections, &self.options.overlay);
            }
        }
        let overlay = self.clock.now().since(now);
        let at = self.show(&frame)?;
        if self.shown.len() == REMEMBERED_PICTURES {
            self.shown.pop_front();
        }
        self.shown.push_back(Shown { id: frame.id, at, overlay });
        if self.measuring() {
            self.account.report.stages.record(Stage::Overlay, overlay);
            self.account.report.stages.record(Stage::Decode, frame.decode);
            self.account.report.video_delay.record(at.since(frame.captured));
        }
        self.presented(&frame, at);
        Ok(())
    }

    /// Picture and findings together: the picture has waited for its analysis.
    fn show_joined(&mut self, mut result: Analysed) -> Result<()> {
        let before = self.clock.now();
        if self.sink.wants_overlay() {
            let detections = &result.analysis.findings.detections;
            overlay::draw(&mut result.frame.picture, detections, &self.options.overlay);
        }
        let overlay = self.clock.now().since(before);
        let at = self.show(&result.frame)?;
        if self.measuring() {
            self.account.report.stages.record(Stage::Overlay, overlay);
            self.account.report.stages.record(Stage::Decode, result.frame.decode);
        }
        let record = self.record(&result.frame, &result.analysis, result.queue_wait, overlay, at);
        self.enter(&result.frame, Some(&result), at);
        self.sink.result(&result.frame, &record)
    }

    /// Findings of a picture that has been shown already.
    fn publish(&mut self, result: Analysed) -> Result<()> {
        let frame = &result.frame;
        while self.shown.front().is_some_and(|shown| shown.id < frame.id) {
            self.shown.pop_front();
        }
        let shown = self.shown.front().filter(|shown| shown.id == frame.id);
        let overlay = shown.map_or(Duration::ZERO, |shown| shown.overlay);
        let picture_at = shown.map(|shown| shown.at);
        let now = self.clock.now();
        let complete = picture_at.map_or(now, |at| at.max(now));
        let record = self.record(frame, &result.analysis, result.queue_wait, overlay, complete);
        if record.violation {
            let since = *self.late_since.get_or_insert(now);
            self.late = now.since(since) > self.options.stall_after;
        } else {
            (self.late_since, self.late) = (None, false);
        }
        self.sink.result(frame, &record)?;
        self.account.report.first_result.get_or_insert(now.since(self.started));
        if frame.id.0 >= self.options.warmup_frames {
            self.account.analysed(&result.analysis, result.queue_wait, complete.since(frame.captured));
        }
        self.latest = Some((frame.captured, result.analysis.findings.detections));
        Ok(())
    }

    fn show(&mut self, frame: &Frame) -> Result<Moment> {
        self.sink.picture(frame)?;
        Ok(self.clock.now())
    }

    /// Accounts of a picture that is presented complete.
    fn enter(&mut self, frame: &Frame, result: Option<&Analysed>, at: Moment) {
        self.account.report.first_result.get_or_insert(at.since(self.started));
        if self.measuring() {
            self.account.report.video_delay.record(at.since(frame.captured));
            match result {
                Some(result) => {
                    self.account.analysed(&result.analysis, result.queue_wait, at.since(frame.captured));
                }
                None => {
                    self.account.report.stages.record(Stage::Decode, frame.decode);
                    self.account.complete(at.since(frame.captured));
                }
            }
        }
        self.presented(frame, at);
    }

    fn presented(&mut self, frame: &Frame, at: Moment) {
        if self.measuring() {
            if self.account.report.frames > 0 {
                self.account.report.elapsed += at.since(self.last_presented);
            }
            self.account.report.frames += 1;
        } else {
            self.account.report.warmup_frames += 1;
        }
        self.presented += 1;
        self.last_presented = at;
        self.progress.count_presented(frame.pts.as_ms());
    }

    fn measuring(&self) -> bool {
        self.presented >= self.options.warmup_frames
    }

    fn record(
        &self,
        frame: &Frame,
        analysis: &Analysis,
        queue_wait: Duration,
        overlay: Duration,
        complete: Moment,
    ) -> FrameRecord {
        let (model, runtime) = match &self.ai {
            Some(identity) => (identity.model.as_str(), identity.runtime.as_str()),
            None => ("none", "none"),
        };
        let record = analysis.record(frame, model, runtime);
        self.account.close(record, queue_wait, overlay, complete.since(frame.captured))
    }
}

//! The accounts of a run: what each frame adds to its report, the same for every kind of stream.

use std::time::Duration;

use super::processor::Analysis;
use super::report::{RunReport, Stage};
use crate::record::{FrameRecord, millis};

/// A report under way, and the violations in a row that it does not show.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) report: RunReport,
    max_latency: Duration,
    violation_run: u64,
}

impl Account {
    /// Nothing measured; frames later than `max_latency` violate the budget.
    pub(super) fn new(max_latency: Duration) -> Self {
        Self { report: RunReport::default(), max_latency, violation_run: 0 }
    }

    /// A frame was presented with its findings, `latency` after it was captured.
    pub(super) fn analysed(&mut self, analysis: &Analysis, queue_wait: Duration, latency: Duration) {
        self.report.analysed += 1;
        self.report.annotation_delay.record(latency);
        let stages = &mut self.report.stages;
        stages.record(Stage::QueueWait, queue_wait);
        stages.record(Stage::Preprocess, analysis.preprocess);
        stages.record(Stage::Inference, analysis.inference);
        stages.record(Stage::Postprocess, analysis.postprocess);
        self.complete(latency);
    }

    /// A frame was presented with all that it was going to get.
    pub(super) fn complete(&mut self, latency: Duration) {
        self.report.latency.record(latency);
        self.violation(self.is_violation(latency));
    }

    /// A frame kept its budget, or did not.
    pub(super) fn violation(&mut self, violated: bool) {
        self.violation_run = if violated { self.violation_run + 1 } else { 0 };
        self.report.violations += u64::from(violated);
        self.report.longest_violation_run = self.report.longest_violation_run.max(self.violation_run);
    }

    /// Completes a frame's record by what the lanes know of it.
    pub(super) fn close(
        &self,
        mut record: FrameRecord,
        queue_wait: Duration,
        overlay: Duration,
        latency: Duration,
    ) -> FrameRecord {
        record.stages_ms.queue_wait = millis(queue_wait);
        record.stages_ms.overlay = millis(overlay);
        record.processing_time_ms = record.stages_ms.total();
        record.violation = self.is_violation(latency);
        record
    }

    fn is_violation(&self, latency: Duration) -> bool {
        latency > self.max_latency
    }
}

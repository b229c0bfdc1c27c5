//! Where results go: one trait, one file per kind of sink.

pub mod coco;
pub mod csv;
pub mod jsonl;
pub(crate) mod kept;
pub mod output;
pub mod picture;
pub mod video;

use crate::error::Result;
use crate::frame::Frame;
use crate::record::FrameRecord;

/// Why pictures are shown without findings, and marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AiOff {
    /// Nothing comes from it.
    Silent,
    /// All its findings come too late to be shown.
    Late,
}

/// Takes what the pipeline presents. Calls come from one thread, in presentation order.
pub trait Sink: Send {
    /// Whether [`picture`](Self::picture) wants findings drawn into the frame.
    fn wants_overlay(&self) -> bool {
        false
    }

    /// A frame of the video lane, findings drawn if wanted.
    fn picture(&mut self, frame: &Frame) -> Result<()> {
        let _ = frame;
        Ok(())
    }

    /// A frame's findings and timings.
    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        let _ = record;
        Ok(())
    }

    /// A record together with the frame that it is about; by default the record alone counts.
    fn result(&mut self, frame: &Frame, record: &FrameRecord) -> Result<()> {
        let _ = frame;
        self.record(record)
    }

    /// The AI lane is off, or back (`None`); told once for each change, before the picture that it holds for.
    fn ai_off(&mut self, off: Option<AiOff>) {
        let _ = off;
    }

    /// The source was not read to its end: what goes on beside its pictures ends with them. Comes before
    /// [`finish`](Self::finish).
    fn cut(&mut self) {}

    /// All went well: make the output whole and final. Not called after a failure, so that what is
    /// dropped without it leaves nothing under a final name.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Takes everything and keeps nothing.
#[derive(Debug, Default)]
pub struct NullSink;

impl Sink for NullSink {}

#[cfg(test)]
pub(crate) mod tests {
    use crate::record::{Detection, FrameRecord, StagesMs};

    /// A finding whose figures are exact in binary.
    pub(crate) fn finding(label: &str, score: f32) -> Detection {
        Detection {
            label: label.to_owned(),
            score,
            bbox: [1.0, 2.0, 3.5, 6.0],
            area_px: None,
            polygon: None,
            track_id: Some(7),
        }
    }

    /// The record of a frame of a small video.
    pub(crate) fn record(frame_id: u64, detections: Vec<Detection>) -> FrameRecord {
        FrameRecord {
            frame_id,
            source: "exam.mp4".to_owned(),
            pts_ms: frame_id as f64 * 40.0,
            width: 64,
            height: 48,
            model: "polyp-lite".to_owned(),
            runtime: "candle-cpu".to_owned(),
            detections,
            stages_ms: StagesMs {
                decode: 1.5,
                queue_wait: 0.25,
                preprocess: 1.0,
                inference: 2.0,
                postprocess: 3.0,
                overlay: 0.0,
            },
            processing_time_ms: 7.75,
            violation: false,
        }
    }
}

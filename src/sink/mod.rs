//! Where results go: one trait, one file per kind of sink.

use crate::error::Result;
use crate::frame::Frame;
use crate::record::FrameRecord;

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

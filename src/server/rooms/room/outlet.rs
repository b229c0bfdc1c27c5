//! Where a room's pipeline ends: figures, viewers, recordings, thumbnails.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Room;
use crate::error::Result;
use crate::frame::Frame;
use crate::record::FrameRecord;
use crate::server::api::{Message, State};
use crate::server::rooms::push::Inlet;
use crate::sink::{AiOff, Sink};

impl Room {
    /// Gives a frame to whoever sees and keeps frames.
    fn show(&self, frame: &Frame) {
        self.show.picture(frame);
        if let Some(recorder) = self.recorder.as_ref().filter(|_| !self.tap.flows()) {
            recorder.frame(frame);
        }
    }

    /// A frame of a moment ago as it may be shown.
    fn shown(&self, frame: &Frame) -> Option<Frame> {
        match &self.veil {
            None => Some(frame.clone()),
            Some(veil) => {
                let picture = veil.lock().unwrap_or_else(PoisonError::into_inner).cover(&frame.picture)?;
                Some(Frame { picture, ..frame.clone() })
            }
        }
    }
}

/// One run of the pipeline into its room.
pub(super) struct Outlet<'a> {
    room: &'a Arc<Room>,
    first: bool,
}

impl<'a> Outlet<'a> {
    pub(super) fn new(room: &'a Arc<Room>) -> Self {
        Self { room, first: true }
    }
}

impl Sink for Outlet<'_> {
    fn picture(&mut self, frame: &Frame) -> Result<()> {
        let room = self.room;
        room.stats().picture(room.since(frame.captured));
        room.relay.advance(frame.pts.as_ms(), (frame.picture.width(), frame.picture.height()));
        match &room.veil {
            None => room.show(frame),
            Some(veil) => {
                let covered = veil.lock().unwrap_or_else(PoisonError::into_inner).next(&frame.picture);
                match covered {
                    Some(picture) => room.show(&Frame { picture, ..frame.clone() }),
                    None => {
                        room.withheld.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        }
        // A source that is opened again says so by itself: this may still be a picture from before it was lost.
        let back = |inlet: &Arc<Inlet>| inlet.is_taken() && room.state() == State::Reconnecting;
        if std::mem::take(&mut self.first) || room.inlet.as_ref().is_some_and(back) {
            room.set(room.lively(), None);
            if room.inlet.as_ref().is_some_and(|inlet| !inlet.is_taken()) {
                room.camera_left();
            }
        }
        Ok(())
    }

    fn result(&mut self, frame: &Frame, record: &FrameRecord) -> Result<()> {
        let room = self.room;
        room.stats().result(record, room.since(frame.captured));
        room.show.result(frame, record, |frame| room.shown(frame));
        if let Some(recorder) = &room.recorder {
            recorder.record(record);
        }
        // Findings that come too late do not show that the AI is back.
        if !record.violation && room.ai_off.load(Ordering::Relaxed) {
            room.set_ai(false, None);
        }
        room.answer(record.frame_id, Message::Result(Box::new(record.clone())));
        Ok(())
    }

    fn ai_off(&mut self, off: Option<AiOff>) {
        let detail = match off {
            // Whether it is back, its findings show.
            None => return,
            Some(AiOff::Silent) => "the AI is silent".to_owned(),
            Some(AiOff::Late) => {
                let limit = self.room.spec.max_latency.as_secs_f64() * 1e3;
                format!("the AI's findings come later than {limit} ms, too late to be shown")
            }
        };
        self.room.set_ai(true, Some(detail));
    }
}

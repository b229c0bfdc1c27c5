//! Where a room's pipeline ends: figures, viewers, recordings, thumbnails.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Room;
use crate::error::Result;
use crate::frame::{Frame, FrameId};
use crate::record::FrameRecord;
use crate::server::api::{Message, State};
use crate::server::rooms::push::Inlet;
use crate::sink::{AiOff, Sink};
use crate::vision::deidentify::Deidentifier;
use crate::vision::fov::Shape;

/// Shown frames whose outlines are remembered.
const REMEMBERED: usize = 30;

/// Keeps back what is outside the endoscope's picture, and knows which frames it let through.
#[derive(Debug, Default)]
pub(super) struct Veil {
    deidentifier: Deidentifier,
    shown: VecDeque<(FrameId, Shape)>,
}

impl Veil {
    /// A frame as it may be shown; `None` where it is withheld.
    fn next(&mut self, frame: &Frame) -> Option<Frame> {
        let picture = self.deidentifier.next(&frame.picture)?;
        if self.shown.len() == REMEMBERED {
            self.shown.pop_front();
        }
        self.shown.push_back((frame.id, self.deidentifier.outline()?.clone()));
        Some(Frame { picture, ..frame.clone() })
    }

    /// A frame that was shown a moment ago, once more. What was withheld stays so, whatever has come since.
    fn again(&self, frame: &Frame) -> Option<Frame> {
        let (_, outline) = self.shown.iter().find(|(id, _)| *id == frame.id)?;
        let picture = self.deidentifier.cover_again(&frame.picture, outline)?;
        Some(Frame { picture, ..frame.clone() })
    }
}

fn lock(veil: &Mutex<Veil>) -> MutexGuard<'_, Veil> {
    veil.lock().unwrap_or_else(PoisonError::into_inner)
}

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
            Some(veil) => lock(veil).again(frame),
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
        // Frames of another attempt bear the same numbers.
        room.veil.iter().for_each(|veil| lock(veil).shown.clear());
        Self { room, first: true }
    }

    /// Whether it has got a picture.
    pub(super) fn has_begun(&self) -> bool {
        !self.first
    }
}

impl Sink for Outlet<'_> {
    fn picture(&mut self, frame: &Frame) -> Result<()> {
        let room = self.room;
        room.stats().picture(room.since(frame.captured));
        room.relay.advance(frame.pts.as_ms(), (frame.picture.width(), frame.picture.height()));
        if room.tap.is_dry() && room.relay.forget() {
            room.tell();
        }
        match &room.veil {
            None => room.show(frame),
            Some(veil) => {
                let covered = lock(veil).next(frame);
                match covered {
                    Some(frame) => room.show(&frame),
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

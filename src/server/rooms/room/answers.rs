//! What viewers are told of each frame, and how frames without a result are counted.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Room;
use crate::server::api::{Message, NEWEST_WINS, NOT_ANALYSED};
use crate::server::rooms::hub::to_text;

impl Room {
    /// Tells viewers that a frame has no result, and why.
    pub(super) fn dropped(&self, frame_id: u64) {
        let reason = if self.ai_off.load(Ordering::Relaxed) {
            self.not_analysed.fetch_add(1, Ordering::Relaxed);
            NOT_ANALYSED
        } else {
            NEWEST_WINS
        };
        self.answer(frame_id, Message::Dropped { frame_id, reason: reason.to_owned() });
    }

    /// Tells viewers what became of a frame; of pushed ones in the order in which they came.
    pub(super) fn answer(&self, frame_id: u64, message: Message) {
        let Some(answers) = &self.answers else { return self.say(&message) };
        let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
        let ready = match message {
            // The AI takes frames in order: what it passed over has no result.
            Message::Result(_) => answers.settle_result(frame_id, Some(message), || None),
            _ => answers.settle(frame_id, Some(message)),
        };
        // Said while the order is held, so that nobody overtakes.
        for (frame_id, message) in ready {
            let passed_over = || Message::Dropped { frame_id, reason: NEWEST_WINS.to_owned() };
            self.say(&message.unwrap_or_else(passed_over));
        }
    }

    fn say(&self, message: &Message) {
        if let Ok(text) = to_text(message) {
            self.hub.text(&text);
        }
    }

    /// Frames without a result, by reason.
    pub(in crate::server) fn drops(&self) -> [(&'static str, u64); 4] {
        let not_analysed = self.not_analysed.load(Ordering::Relaxed);
        [
            (NEWEST_WINS, self.progress.dropped().saturating_sub(not_analysed)),
            (NOT_ANALYSED, not_analysed),
            ("broken", self.broken.load(Ordering::Relaxed)),
            ("lost", self.progress.lost()),
        ]
    }
}

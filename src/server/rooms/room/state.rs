//! The state a room is in, and whoever is told of it.

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use super::Room;
use crate::server::api::{Message, State};
use crate::server::log::Level;
use crate::server::rooms::hub::to_text;
use crate::server::watched::Incident;

/// How the room fares, and since when.
#[derive(Debug, Clone)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) detail: Option<String>,
    pub(super) since: SystemTime,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Room {
    /// How it fares.
    pub(in crate::server) fn state(&self) -> State {
        self.status().state
    }

    /// The state of a room whose pictures come.
    pub(super) fn lively(&self) -> State {
        if self.ai_given_up.load(Ordering::Relaxed) {
            State::Failed
        } else if self.ai_off.load(Ordering::Relaxed) {
            State::Stalled
        } else {
            State::Running
        }
    }

    pub(super) fn ai_incident(&self, incident: Incident) {
        match incident {
            Incident::Restarting { detail } => {
                self.ai_restarts.fetch_add(1, Ordering::Relaxed);
                self.set_ai(true, Some(detail));
            }
            // The mark goes once findings come again.
            Incident::Back => self.log.info("ai_back", [("room", self.spec.name.clone().into())]),
            Incident::GivenUp { detail } => {
                self.ai_given_up.store(true, Ordering::Relaxed);
                self.set_ai(true, Some(detail));
            }
        }
    }

    pub(super) fn set_ai(&self, off: bool, detail: Option<String>) {
        self.ai_off.store(off, Ordering::Relaxed);
        self.show.ai_off(off);
        let state = self.state();
        if matches!(state, State::Running | State::Stalled) {
            self.set(self.lively(), detail);
        }
    }

    pub(super) fn set(&self, state: State, detail: Option<String>) {
        {
            let mut status = self.status();
            // A room that has failed for good says so to its end.
            if status.state == state && status.detail == detail {
                return;
            }
            if status.state != state {
                status.since = SystemTime::now();
            }
            status.state = state;
            status.detail.clone_from(&detail);
        }
        let level = if matches!(state, State::Running | State::Stopped | State::Starting) {
            Level::Info
        } else {
            Level::Warn
        };
        let detail = detail.map_or(serde_json::Value::Null, Into::into);
        self.log.say(
            level,
            "room_state",
            [("room", self.spec.name.clone().into()), ("state", state.as_str().into()), ("detail", detail)],
        );
        self.tell();
    }

    /// Tells viewers how the room fares.
    pub(in crate::server) fn tell(&self) {
        if let Ok(text) = to_text(&Message::Room(Box::new(self.info()))) {
            self.hub.text(&text);
        }
    }

    /// The client that sends pictures has gone; another may come.
    pub(in crate::server) fn camera_left(&self) {
        // Pictures of a room whose AI has failed for good go on, and end too.
        if matches!(self.state(), State::Running | State::Stalled | State::Failed) && !self.is_over() {
            self.set(State::Reconnecting, Some("the client that sends pictures has gone".to_owned()));
        }
    }

    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What a WebSocket client wants, from its address.

use std::sync::Arc;
use std::time::Duration;

use super::analyse::Settings;
use crate::config::parse_max_latency_ms;
use crate::server::Shared;
use crate::server::api::Overlay;
use crate::server::auth::{Identity, Role};
use crate::server::front::Refusal;
use crate::server::limits::Bound;
use crate::server::rooms::Room;
use crate::server::rooms::hub::{Mailbox, Pictures};
use crate::server::routes;

const KNOWN: [&str; 8] =
    ["room", "push", "model", "max_latency_ms", "overlay", "pictures", "picture_fps", "video"];

/// What is to be done, checked.
pub(in crate::server) struct Plan {
    pub(super) wanted: Wanted,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Plan {
    /// Whether the client will send pictures, and not only watch.
    pub(in crate::server) fn sends_pictures(&self) -> bool {
        !matches!(self.wanted, Wanted::Watch(_))
    }
}

pub(super) enum Wanted {
    Watch(Arc<Room>),
    Feed(Seat),
    Analyse(Settings),
}

/// The only camera of a room; left when dropped.
pub(super) struct Seat {
    pub(super) room: Arc<Room>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(inlet) = &self.room.inlet {
            inlet.leave();
        }
        self.room.camera_left();
    }
}

/// Reads a query.
pub(in crate::server) fn plan(query: &str, identity: &Identity, shared: &Shared) -> Result<Plan, Refusal> {
    routes::only(query, &KNOWN)?;
    let room = routes::query(query, "room")?;
    let feeds = flag(query, "push")?;
    if (room.is_none() || feeds) && identity.role < Role::Operate {
        return Err(Refusal::new(403, "sending pictures needs a token of the role operate"));
    }
    let overlay = one_of(query, "overlay", &[("none", Overlay::None), ("jpeg", Overlay::Jpeg)])?;
    let gap = match routes::query(query, "picture_fps")? {
        None => Duration::ZERO,
        Some(text) => match text.parse::<f64>() {
            // A little less than the time between two, so that frames of just this rate all pass.
            Ok(rate) if (0.1..=240.0).contains(&rate) => Duration::from_secs_f64(0.9 / rate),
            _ => return Err(Refusal::new(400, "picture_fps must be a number from 0.1 to 240")),
        },
    };
    let plain = one_of(query, "pictures", &[("none", false), ("jpeg", true)])?;
    let video = one_of(query, "video", &[("none", false), ("fmp4", true)])?;
    let Some(name) = room else {
        if feeds || plain == Some(true) || video == Some(true) {
            return Err(Refusal::new(400, "push, pictures and video go with room alone"));
        }
        let max_latency_ms = match routes::query(query, "max_latency_ms")? {
            Some(text) => parse_max_latency_ms(&text)
                .map_err(|allowed| Refusal::new(400, format!("max_latency_ms {allowed}")))?,
            None => shared.defaults.max_latency_ms,
        };
        let model = match (routes::query(query, "model")?, shared.defaults.enabled) {
            (_, false) => crate::server::models::NONE.to_owned(),
            (model, true) => model.unwrap_or_else(|| shared.models.default_name().to_owned()),
        };
        let overlay = overlay.unwrap_or_default();
        let settings = Settings { model, max_latency_ms, overlay };
        let mailbox = mailbox(Pictures::Drawn, gap, shared)?;
        return Ok(Plan { wanted: Wanted::Analyse(settings), mailbox });
    };
    for setting in ["model", "max_latency_ms"] {
        if routes::query(query, setting)?.is_some() {
            return Err(Refusal::new(400, format!("{setting} is set where the room is started")));
        }
    }
    let pictures = match (overlay == Some(Overlay::Jpeg), plain == Some(true), video == Some(true)) {
        (true, false, false) => Pictures::Drawn,
        (false, true, false) => Pictures::Plain,
        (false, false, true) => Pictures::Video,
        (false, false, false) => Pictures::None,
        _ => {
            let detail = "overlay=jpeg, pictures=jpeg and video=fmp4 exclude each other";
            return Err(Refusal::new(400, detail));
        }
    };
    let room = shared.rooms.get(&name).ok_or_else(|| Refusal::new(404, "there is no such room"))?;
    if room.is_over() {
        return Err(Refusal::new(409, "the room has stopped; start it first"));
    }
    let mailbox = mailbox(pictures, gap, shared)?;
    let wanted = if feeds { Wanted::Feed(take_seat(room)?) } else { Wanted::Watch(room) };
    Ok(Plan { wanted, mailbox })
}

/// A mailbox, while the client can still be told that there is none.
fn mailbox(pictures: Pictures, gap: Duration, shared: &Shared) -> Result<Arc<Mailbox>, Refusal> {
    Mailbox::new(pictures, gap, Arc::clone(&shared.counters)).map_err(|error| {
        shared.log.warn("no_mailbox", [("detail", error.to_string().into())]);
        let refusal = Refusal::new(503, "too many files and connections are open; try again");
        refusal.bound(Bound::Descriptors).header("Retry-After", "1")
    })
}

fn take_seat(room: Arc<Room>) -> Result<Seat, Refusal> {
    let Some(inlet) = &room.inlet else {
        return Err(Refusal::new(409, "the room has another source than push"));
    };
    if inlet.sit() {
        Ok(Seat { room })
    } else {
        Err(Refusal::new(409, "somebody else sends pictures to this room"))
    }
}

fn flag(query: &str, name: &str) -> Result<bool, Refusal> {
    Ok(one_of(query, name, &[("true", true), ("1", true), ("false", false), ("0", false)])?.unwrap_or(false))
}

fn one_of<T: Copy>(query: &str, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
    let Some(text) = routes::query(query, name)? else { return Ok(None) };
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(Some(*value)),
        None => {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Err(Refusal::new(400, format!("{name} must be one of {}", words.join(", "))))
        }
    }
}

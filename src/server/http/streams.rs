//! Starting, stopping and looking at rooms.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{Asked, Reply};
use crate::error::Error;
use crate::server::Shared;
use crate::server::api::{Findings, StartStream, StartedStream, StopStream};
use crate::server::problem::Problem;
use crate::server::rooms::{NotStarted, Room};
use crate::server::routes;

/// A JSON body as its type.
fn body<T: DeserializeOwned>(asked: &Asked) -> Result<T, Problem> {
    let kind = asked.content_type.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(415, "send JSON, with Content-Type: application/json"));
    }
    let value: serde_json::Value = serde_json::from_slice(&asked.body)
        .map_err(|error| Problem::new(400, format!("the body is not JSON: {error}")))?;
    serde_json::from_value(value).map_err(|error| Problem::new(422, error.to_string()))
}

pub(super) fn start(asked: &Asked, shared: &Arc<Shared>) -> Reply {
    let wanted: StartStream = match routes::only(&asked.query, &[]).map_err(Reply::from) {
        Err(reply) => return reply,
        Ok(()) => match body(asked) {
            Ok(wanted) => wanted,
            Err(problem) => return problem.into(),
        },
    };
    let room = match shared.rooms.start(&wanted, &asked.user) {
        Ok(room) => room,
        Err(why) => {
            return match why {
                NotStarted::Runs => {
                    Problem::new(409, format!("the room {} runs already; stop it first", wanted.room))
                }
                NotStarted::Impossible(detail) => Problem::new(409, detail),
                NotStarted::TooMany => Problem::new(503, "there are as many rooms as there may be"),
                NotStarted::Stopping => Problem::new(503, "the server stops"),
                NotStarted::Wrong(error) => problem_of(&error),
            }
            .into();
        }
    };
    if let Err(error) = shared.note_room("room_started", &asked.user, &asked.id, &room) {
        // What cannot be accounted for does not run.
        room.stop(&asked.user);
        return Problem::from(&error).into();
    }
    let started =
        StartedStream { stream_id: room.id.clone(), room: room.spec.name.clone(), status: room.state() };
    Reply::json(201, &started).header("Location", format!("/rooms/{}", room.spec.name))
}

/// Whatever is wrong with what was asked for is not the server's failure.
fn problem_of(error: &Error) -> Problem {
    match error {
        // The source or the model has a name that leads nowhere on this box.
        Error::NoInput { .. } | Error::Read { .. } => Problem::new(404, error.to_string()),
        error => match Problem::from(error) {
            problem if problem.status >= 500 => Problem::new(422, problem.detail),
            problem => problem,
        },
    }
}

pub(super) fn stop(asked: &Asked, shared: &Arc<Shared>) -> Reply {
    let wanted: StopStream = match body(asked) {
        Ok(wanted) => wanted,
        Err(problem) => return problem.into(),
    };
    let room = match (&wanted.stream_id, &wanted.room) {
        (Some(id), None) => shared.rooms.by_id(id),
        (None, Some(name)) => shared.rooms.get(name),
        _ => return Problem::new(422, "name the room by stream_id or by room, one of the two").into(),
    };
    let Some(room) = room else { return unknown() };
    room.stop(&asked.user);
    if let Err(error) = shared.note_room("room_stopped", &asked.user, &asked.id, &room) {
        shared.log.warn("audit_failed", [("detail", error.to_string().into())]);
    }
    Reply::json(200, &shared.rooms.stats(Some(&room)))
}

pub(super) fn stats(asked: &Asked, shared: &Arc<Shared>) -> Reply {
    let only = match routes::only(&asked.query, &["room"]).and_then(|()| routes::query(&asked.query, "room"))
    {
        Ok(name) => name,
        Err(refusal) => return refusal.into(),
    };
    match only {
        None => Reply::json(200, &shared.rooms.stats(None)),
        Some(name) => match shared.rooms.get(&name) {
            Some(room) => Reply::json(200, &shared.rooms.stats(Some(&room))),
            None => unknown(),
        },
    }
}

pub(super) fn findings(name: &str, shared: &Arc<Shared>) -> Reply {
    match shared.rooms.get(name) {
        Some(room) => Reply::json(200, &Findings { findings: room.seen() }),
        None => unknown(),
    }
}

pub(super) fn thumbnail(name: &str, id: &str, shared: &Arc<Shared>) -> Reply {
    let Some(room) = shared.rooms.get(name) else { return unknown() };
    let found = id.parse().ok().and_then(|id| Room::thumbnail(&room, id));
    match found {
        Some(jpeg) => Reply::new(200, "image/jpeg", jpeg.to_vec()),
        None => Problem::new(404, "there is no such finding, or it is too long ago").into(),
    }
}

fn unknown() -> Reply {
    Problem::new(404, "there is no such room").into()
}

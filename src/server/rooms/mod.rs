//! Live rooms: each a source, a model, a policy and a budget over the one pipeline core.

pub(super) mod hub;
pub(super) mod push;
mod record;
mod relay;
mod room;
mod show;
pub(super) mod stats;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::api::{Figures, StartStream, Stats, Streams};
use super::audit::Audit;
use super::limits::{Bound, Counters};
use super::log::Log;
use super::models::Models;
use super::random;
use crate::config::{parse_buffer_size, parse_max_latency_ms, parse_target_fps};
use crate::error::{Error, Result};
use crate::record::FrameRecord;
use crate::source::{self, Location};
pub(super) use room::{Room, Spec};

/// Longest name of a room.
const MAX_NAME: usize = 64;
/// Longest names of a source and of a model, in characters, as the API's document says. Both stand in the audit log.
const MAX_SOURCE: usize = 2048;
const MAX_MODEL: usize = 1024;

/// What holds for rooms that say nothing else.
#[derive(Debug, Clone, PartialEq)]
pub struct Defaults {
    /// Frames per second that the budget asks for.
    pub target_fps: f64,
    /// Latency budget in milliseconds.
    pub max_latency_ms: f64,
    /// Frames that may wait for the AI.
    pub buffer_size: usize,
    /// Decoder threads; 0 for one per core.
    pub decode_threads: usize,
    /// Whether the AI runs at all.
    pub enabled: bool,
    /// Folder for recordings; without one nothing is recorded.
    pub record: Option<PathBuf>,
    /// Whether everything outside the endoscope's picture is kept away from viewers and recordings.
    pub deidentify: bool,
}

/// Why a room was not started.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// It runs already.
    Runs,
    /// The server was started in a way that does not allow it.
    Impossible(&'static str),
    /// There are as many rooms as there may be.
    TooMany,
    /// The server is about to stop.
    Stopping,
    /// Something is wrong with what it is to be made of.
    Wrong(Error),
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self::Wrong(error)
    }
}

/// The rooms of a server, stopped ones included.
pub(super) struct Rooms {
    rooms: Mutex<BTreeMap<String, Arc<Room>>>,
    defaults: Defaults,
    models: Arc<Models>,
    limit: usize,
    counters: Arc<Counters>,
    log: Log,
    audit: Option<Arc<Audit>>,
    closed: AtomicBool,
    /// Pictures that clients had analysed outside any room.
    direct: Mutex<stats::RoomStats>,
    direct_dropped: AtomicU64,
}

impl Rooms {
    pub(super) fn new(
        defaults: Defaults,
        models: Arc<Models>,
        limit: usize,
        counters: Arc<Counters>,
        log: Log,
        audit: Option<Arc<Audit>>,
    ) -> Self {
        Self {
            rooms: Mutex::default(),
            defaults,
            models,
            limit,
            counters,
            log,
            audit,
            closed: AtomicBool::new(false),
            direct: Mutex::new(stats::RoomStats::new()),
            direct_dropped: AtomicU64::new(0),
        }
    }

    /// Starts a room on behalf of `user`.
    pub(super) fn start(&self, wanted: &StartStream, user: &str) -> Result<Arc<Room>, NotStarted> {
        let wanted = self.resumed(wanted);
        self.check_settings(&wanted)?;
        let (spec, model) = self.spec(&wanted)?;
        // A room that cannot be started is told before its model is loaded.
        self.gives_way(&self.lock(), &spec.name)?;
        // Loading takes a while; other rooms are not held up by it.
        let analyzer = self.models.for_video(&model)?;
        let mut rooms = self.lock();
        if self.closed.load(Ordering::Acquire) {
            return Err(NotStarted::Stopping);
        }
        let name = spec.name.clone();
        // Others may have been started meanwhile.
        let gives_way = self.gives_way(&rooms, &name)?;
        let room =
            Room::start(random::hex::<8>(), spec, analyzer, self.log.clone(), user, self.audit.clone())?;
        if let Some(ended) = gives_way {
            rooms.remove(&ended);
        }
        rooms.insert(name, Arc::clone(&room));
        Ok(room)
    }

    /// A request as it is meant: it takes over from the room's last run what it leaves open.
    fn resumed(&self, wanted: &StartStream) -> StartStream {
        let mut wanted = wanted.clone();
        // One that runs counts too: it may end before it is found to run.
        let Some(last) = self.get(&wanted.room) else { return wanted };
        let last = last.spec.asked.clone();
        // Whatever its source is now: what was kept back is shown only once somebody says so.
        wanted.deidentify = wanted.deidentify.or(last.deidentify);
        // Pages know sources as they are shown.
        if wanted.source == last.source || wanted.source == source::redact::redact(&last.source) {
            wanted.source = last.source;
            wanted.model = wanted.model.or(last.model);
            wanted.target_fps = wanted.target_fps.or(last.target_fps);
            wanted.max_latency_ms = wanted.max_latency_ms.or(last.max_latency_ms);
            wanted.buffer_size = wanted.buffer_size.or(last.buffer_size);
            wanted.record = wanted.record.or(last.record);
        }
        wanted
    }

    /// Whether what is asked for fits what the server was started with.
    fn check_settings(&self, wanted: &StartStream) -> Result<(), NotStarted> {
        if wanted.record == Some(true) && self.defaults.record.is_none() {
            return Err(NotStarted::Impossible("recording needs a server that was started with --record"));
        }
        if wanted.deidentify == Some(false) && self.defaults.deidentify {
            let detail = "the server was started with --deidentify, which holds for every room";
            return Err(NotStarted::Impossible(detail));
        }
        Ok(())
    }

    /// The room that has to go for a new one of this name, if one has to: of those that are over, the one that has been
    /// so for longest. An error where there is no place for it.
    fn gives_way(
        &self,
        rooms: &BTreeMap<String, Arc<Room>>,
        name: &str,
    ) -> Result<Option<String>, NotStarted> {
        match rooms.get(name) {
            Some(room) if !room.is_over() => return Err(NotStarted::Runs),
            None if rooms.len() >= self.limit => {}
            _ => return Ok(None),
        }
        let over = rooms.iter().filter(|(_, room)| room.is_over());
        match over.min_by_key(|(_, room)| room.ended()) {
            Some((name, _)) => Ok(Some(name.clone())),
            None => {
                self.counters.hit(Bound::Rooms);
                Err(NotStarted::TooMany)
            }
        }
    }

    /// What a request asks for, checked.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::NoInput`] that say what is allowed.
    pub(super) fn spec(&self, wanted: &StartStream) -> Result<(Spec, String)> {
        check_name(&wanted.room)?;
        let checked =
            |key: &str, value: Option<String>, parse: fn(&str) -> Result<f64, String>, otherwise| match value
            {
                None => Ok(otherwise),
                Some(text) => parse(&text).map_err(|allowed| wrong(key, text, allowed)),
            };
        let defaults = &self.defaults;
        let text = |value: Option<f64>| value.map(|value| value.to_string());
        let target_fps =
            checked("target_fps", text(wanted.target_fps), parse_target_fps, defaults.target_fps)?;
        let max_latency_ms = checked(
            "max_latency_ms",
            text(wanted.max_latency_ms),
            parse_max_latency_ms,
            defaults.max_latency_ms,
        )?;
        let buffer_size = match wanted.buffer_size.map(|size| size.to_string()) {
            None => defaults.buffer_size,
            Some(text) => parse_buffer_size(&text).map_err(|allowed| wrong("buffer_size", text, allowed))?,
        };
        check_source(&wanted.source)?;
        check_length("model", wanted.model.as_deref().unwrap_or_default(), MAX_MODEL)?;
        let recordings = defaults.record.clone().filter(|_| wanted.record != Some(false));
        let model = match (&wanted.model, defaults.enabled) {
            (_, false) => super::models::NONE.to_owned(),
            (Some(model), true) => model.clone(),
            (None, true) => self.models.default_name().to_owned(),
        };
        let spec = Spec {
            asked: wanted.clone(),
            name: wanted.room.clone(),
            source: wanted.source.clone(),
            target_fps,
            max_latency: Duration::from_secs_f64(max_latency_ms / 1e3),
            buffer_size,
            threads: defaults.decode_threads,
            recordings,
            deidentify: defaults.deidentify || wanted.deidentify == Some(true),
        };
        Ok((spec, model))
    }

    /// The room of this name.
    pub(super) fn get(&self, name: &str) -> Option<Arc<Room>> {
        self.lock().get(name).cloned()
    }

    /// The room with this run.
    pub(super) fn by_id(&self, id: &str) -> Option<Arc<Room>> {
        self.lock().values().find(|room| room.id == id).cloned()
    }

    /// All rooms.
    pub(super) fn all(&self) -> Vec<Arc<Room>> {
        self.lock().values().cloned().collect()
    }

    /// A picture was analysed outside any room.
    pub(super) fn count_direct(&self, record: &FrameRecord, latency: Duration) {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.picture(latency);
        direct.result(record, latency);
    }

    /// A picture outside any room gave way to a newer one.
    pub(super) fn count_direct_drop(&self) {
        self.direct_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Figures and distributions of pictures outside any room.
    pub(super) fn direct(&self) -> (Figures, stats::Buckets) {
        let direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let dropped = self.direct_dropped.load(Ordering::Relaxed);
        (direct.figures(self.defaults.target_fps, dropped, 0), direct.buckets().0)
    }

    /// All rooms at a glance.
    pub(super) fn streams(&self) -> Streams {
        Streams { rooms: self.all().iter().map(|room| room.info()).collect() }
    }

    /// Figures of one room, or of all rooms and of pictures outside them; and of each room.
    pub(super) fn stats(&self, only: Option<&Arc<Room>>) -> Stats {
        let rooms = only.map_or_else(|| self.all(), |room| vec![Arc::clone(room)]);
        let mut sum = stats::Merged::default();
        if only.is_none() {
            let (figures, _) = self.direct();
            let direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
            sum.add(&direct, &figures);
        }
        let mut each = BTreeMap::new();
        for room in &rooms {
            let info = room.info();
            room.merge_into(&mut sum, &info.figures);
            each.insert(info.room.clone(), info);
        }
        let target_fps = only.map_or(self.defaults.target_fps, |room| room.spec.target_fps);
        Stats { all: sum.figures(target_fps), rooms: each }
    }

    /// Stops every room on behalf of `user`, all at once, and starts no more.
    pub(super) fn close(&self, user: &str) {
        self.closed.store(true, Ordering::Release);
        let rooms = self.all();
        rooms.iter().for_each(|room| room.cancel(user));
        rooms.iter().for_each(|room| room.stop(user));
    }

    /// Whether the server stops.
    pub(super) fn are_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wrong(key: &str, value: String, allowed: String) -> Error {
    Error::Setting { origin: "request".to_owned(), key: key.to_owned(), value, allowed }
}

/// Names stand in addresses and file names, so they are plain.
pub(super) fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !name.is_empty() && name.len() <= MAX_NAME && !name.starts_with('.') && name.bytes().all(plain) {
        return Ok(());
    }
    let allowed = "must be 1 to 64 letters, digits, '.', '_' or '-', and not start with '.'";
    Err(wrong("room", name.chars().take(80).collect(), allowed.to_owned()))
}

/// Whether a text is no longer than it may be.
fn check_length(key: &str, text: &str, most: usize) -> Result<()> {
    if text.chars().count() <= most {
        return Ok(());
    }
    let beginning = source::redact::redact(text).chars().take(80).chain(['…']).collect();
    Err(wrong(key, beginning, format!("must be at most {most} characters")))
}

fn no_recording(spec: &str, detail: &str) -> Error {
    Error::NoInput { source_name: spec.to_owned(), detail: detail.to_owned() }
}

/// Whether a source can be one of a room; does not open it.
pub(super) fn check_source(spec: &str) -> Result<()> {
    if spec.is_empty() {
        return Err(wrong("source", String::new(), "must name where pictures come from".to_owned()));
    }
    check_length("source", spec, MAX_SOURCE)?;
    if spec == push::NAME {
        return Ok(());
    }
    match Location::parse(spec)? {
        Location::Stdin => Err(wrong(
            "source",
            spec.to_owned(),
            "standard input cannot be a room's source; send pictures to the source push".to_owned(),
        )),
        Location::Synthetic(spec) => source::synthetic::Options::from_spec(&spec).map(drop),
        // A folder is not walked: there may be a whole disk below it.
        Location::File(path) if path.is_dir() => Err(no_recording(spec, "is a folder; name one recording")),
        Location::File(_) => match source::expand(spec)?.len() {
            1 => Ok(()),
            count => Err(no_recording(spec, &format!("matches {count} recordings; name one"))),
        },
        Location::Address(_) | Location::Device(_) => Ok(()),
    }
}

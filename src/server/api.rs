//! The types that requests and responses are made of. `/openapi.json` is generated from these.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::pipeline::stats::Summary;
use crate::record::FrameRecord;

/// How a room fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The source is being opened.
    Starting,
    /// Pictures come, and findings with them.
    Running,
    /// Pictures come; the AI is silent.
    Stalled,
    /// No pictures come; the source is tried again.
    Reconnecting,
    /// It was stopped, or its recording has ended.
    Stopped,
    /// It failed too often and is not tried again.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Starting, Self::Running, Self::Stalled, Self::Reconnecting, Self::Stopped, Self::Failed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stalled => "stalled",
            Self::Reconnecting => "reconnecting",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// `POST /video/start-stream`. Of a room that is listed and over, and whose source is given as it was or as it is shown
/// (without credentials), the source and whatever is absent are as they were in its last run.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartStream {
    /// The room's name: 1 to 64 letters, digits, `.`, `_` or `-`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"))]
    pub room: String,
    /// Where its pictures come from: an address, a device, a file, `synthetic`, or `push` for pictures that a client
    /// sends by WebSocket.
    #[schemars(length(min = 1, max = 2048), extend("not" = { "const": "-" }))]
    pub source: String,
    /// The model; the server's own where absent, `none` to let the video pass.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1024))]
    pub model: Option<String>,
    /// Frames per second that the budget asks for.
    #[serde(default)]
    #[schemars(range(min = 0.1, max = 1000))]
    pub target_fps: Option<f64>,
    /// Longest time from captured to presented, in milliseconds, before a frame is a violation.
    #[serde(default)]
    #[schemars(range(min = 1, max = 60000))]
    pub max_latency_ms: Option<f64>,
    /// Frames that may wait for the AI.
    #[serde(default, deserialize_with = "whole")]
    #[schemars(range(min = 1, max = 1024))]
    pub buffer_size: Option<usize>,
    /// Whether video and findings are recorded; where absent, they are if the server has a folder for recordings.
    #[serde(default)]
    pub record: Option<bool>,
    /// Whether everything outside the endoscope's picture is kept away from viewers and recordings; where absent, it is
    /// if the server says so, or if it was in the room's last run, whatever the source was.
    #[serde(default)]
    pub deidentify: Option<bool>,
}

/// A whole number, written `5` or `5.0`: to JSON they are the same.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<usize>, D::Error> {
    let Some(number) = Option::<f64>::deserialize(deserializer)? else { return Ok(None) };
    match number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number) {
        true => Ok(Some(number as usize)),
        false => Err(D::Error::custom(format!("{number} is not a whole number that can be counted to"))),
    }
}

/// A room that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartedStream {
    /// This run of the room; another start has another.
    pub stream_id: String,
    /// The room's name.
    pub room: String,
    /// How it fares.
    pub status: State,
}

/// `POST /video/stop-stream`: one of the two names the room.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["stream_id"], "properties": { "stream_id": { "type": "string" }, "room": { "type": "null" } } },
    { "required": ["room"], "properties": { "room": { "type": "string" }, "stream_id": { "type": "null" } } },
]))]
pub struct StopStream {
    /// The number that `start-stream` gave.
    #[serde(default)]
    pub stream_id: Option<String>,
    /// The room's name.
    #[serde(default)]
    pub room: Option<String>,
}

/// Figures of a room, or of all rooms together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// Frames per second that the budget asks for.
    pub target_fps: f64,
    /// Pictures per second over the last seconds.
    pub fps: f64,
    /// Pictures presented.
    pub frames_processed: u64,
    /// Frames that the AI skipped on purpose, for a newer one.
    pub frames_dropped: u64,
    /// Frames that were due and never presented.
    pub frames_lost: u64,
    /// Captured → findings presented, since the start.
    pub latency_ms: Summary,
    /// The same over the last minute.
    pub recent_latency_ms: Summary,
    /// Captured → picture presented, since the start.
    pub video_delay_ms: Summary,
    /// Frames beyond the budget.
    pub violations: u64,
    /// Violations as a share of all results.
    pub violation_rate: f64,
    /// Time inside each stage.
    pub stages_ms: BTreeMap<String, Summary>,
}

/// `GET /video/stats`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// All rooms together, or the one that was asked for.
    #[serde(flatten)]
    pub all: Figures,
    /// Each room by name.
    pub rooms: BTreeMap<String, RoomInfo>,
}

/// A room at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RoomInfo {
    /// The room's name.
    pub room: String,
    /// This run of it.
    pub stream_id: String,
    /// How it fares.
    pub state: State,
    /// Why it is in this state, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Since when, in milliseconds of Unix time.
    pub since_ms: u64,
    /// When this run was started, in milliseconds of Unix time.
    pub started_ms: u64,
    /// Its source, without credentials.
    pub source: String,
    /// Width of its pictures; 0 before the first.
    pub width: usize,
    /// Height of its pictures; 0 before the first.
    pub height: usize,
    /// Media type of the video that `video=fmp4` gives; absent where the source is not H.264, or is de-identified.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub video: Option<String>,
    /// The model's name, or `none`.
    pub model: String,
    /// What executes it, or `none`.
    pub runtime: String,
    /// Digest of the model's network; absent without one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model_sha256: Option<String>,
    /// The latency budget.
    pub max_latency_ms: f64,
    /// Whether findings are missing, or all come too late to be shown: pages mark the picture.
    pub ai_off: bool,
    /// Whoever watches.
    pub viewers: usize,
    /// How often the source was opened again.
    pub reconnects: u64,
    /// How often the AI was started again.
    pub ai_restarts: u64,
    /// Findings since the start, counted once per track.
    pub findings: u64,
    /// Whether everything outside the endoscope's picture is kept away from viewers and recordings.
    pub deidentified: bool,
    /// Pictures that were withheld because no field of view was known to be safe.
    pub withheld: u64,
    /// How its recording fares; absent where it is not recorded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub recording: Option<Recording>,
    /// Its figures.
    pub figures: Figures,
}

/// What becomes of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordingState {
    /// Nothing has come that could be recorded.
    Waiting,
    /// Files are being written.
    Recording,
    /// The room has ended, and its files are whole.
    Finished,
    /// It could not be written; the room goes on without.
    Failed,
}

/// How a room's recording fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Recording {
    /// What becomes of it.
    pub state: RecordingState,
    /// Why, where there is something to say.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// Names of the newest video and its records, once they are whole; until then they end in `.part`.
    pub files: Vec<String>,
    /// Frames recorded since the room's start.
    pub frames: u64,
    /// Records of frames since the room's start.
    pub records: u64,
    /// Frames and records that were lost because the disk was too slow.
    pub lost: u64,
}

/// `GET /video/streams`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Streams {
    /// Every room, by name.
    pub rooms: Vec<RoomInfo>,
}

/// A finding that a room remembers, with a thumbnail beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Seen {
    /// Its number within the room's run; the thumbnail is at `findings/{id}`.
    pub id: u64,
    /// The frame it was first seen in.
    pub frame_id: u64,
    /// That frame's presentation time.
    pub pts_ms: f64,
    /// When, in milliseconds of Unix time.
    pub at_ms: u64,
    /// Class name.
    pub label: String,
    /// Confidence, 0 to 1.
    pub score: f32,
    /// Its track.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub track_id: Option<u64>,
}

/// `GET /rooms/{room}/findings`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Findings {
    /// Newest first.
    pub findings: Vec<Seen>,
}

/// `GET /healthz` and `GET /readyz`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// `ok`, or what is missing.
    pub status: String,
    /// The program's version.
    pub version: String,
    /// Seconds since the start.
    pub uptime_s: u64,
}

/// `GET /session`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WhoAmI {
    /// The name in the token file; `local` where there are no tokens.
    pub name: String,
    /// `view` or `operate`.
    pub role: String,
    /// Whether a browser's session said so, which can be ended.
    pub session: bool,
}

/// Why a frame was skipped: a newer one was there.
pub const NEWEST_WINS: &str = "newest_wins";
/// Why a frame was skipped: the AI had no answer.
pub const NOT_ANALYSED: &str = "not_analysed";

/// A text message to a WebSocket client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// A frame's record.
    Result(Box<FrameRecord>),
    /// A frame that was skipped.
    Dropped {
        /// Its number.
        frame_id: u64,
        /// Why: `newest_wins`, or `not_analysed` where the AI had no answer.
        reason: String,
    },
    /// A frame or a message that could not be used.
    Error {
        /// The frame's number, where it was one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        frame_id: Option<u64>,
        /// What is wrong with it.
        detail: String,
    },
    /// The next binary message is this frame's picture.
    Picture {
        /// Its number.
        frame_id: u64,
        /// Its presentation time.
        pts_ms: f64,
        /// Width of the frame that findings are measured in.
        width: usize,
        /// Height of that frame.
        height: usize,
    },
    /// The next binary message is the beginning of a video, and those after it are its pictures, one each: fragmented
    /// MP4. Sent again where the video begins anew.
    Video {
        /// Its media type, with its codec.
        media_type: String,
        /// Presentation time of the frame that the video shows at its time zero.
        origin_ms: f64,
        /// Width of the frame that findings are measured in.
        width: usize,
        /// Height of that frame.
        height: usize,
    },
    /// The settings that are now in force.
    Configured(Configured),
    /// How the room fares, whenever that changes.
    Room(Box<RoomInfo>),
}

/// What is in force for a client that pushes pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Configured {
    /// The model.
    pub model: String,
    /// The latency budget.
    pub max_latency_ms: f64,
    /// `none` or `jpeg`.
    pub overlay: Overlay,
}

/// A text message from a WebSocket client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Control {
    /// Changes settings from the next picture on.
    Configure {
        /// The model.
        #[serde(default)]
        model: Option<String>,
        /// The latency budget.
        #[serde(default)]
        max_latency_ms: Option<f64>,
        /// Whether pictures come back.
        #[serde(default)]
        overlay: Option<Overlay>,
    },
}

/// Whether pictures come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Overlay {
    /// Results alone.
    #[default]
    None,
    /// JPEG with the findings drawn.
    Jpeg,
}

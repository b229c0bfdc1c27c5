//! `/metrics` in Prometheus' text format (version 0.0.4).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::server::Shared;
use crate::server::api::{Recording, RecordingState, RoomInfo, State};
use crate::server::limits::Bound;
use crate::server::rooms::stats::Buckets;

/// Its media type.
pub(super) const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Builds the text.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        self.0.push_str(name);
        for (index, (key, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{key}=\"{value}\"", if index == 0 { '{' } else { ',' });
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn histogram(&mut self, name: &str, labels: &[(&str, &str)], buckets: &Buckets) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in buckets.cumulative() {
            let bound = bound.map_or_else(|| "+Inf".to_owned(), |bound| bound.to_string());
            let mut labels = labels.to_vec();
            labels.push(("le", &bound));
            self.sample(&bucket, &labels, count as f64);
        }
        let (count, sum) = buckets.total();
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count as f64);
    }
}

/// All metrics.
pub(super) fn text(shared: &Arc<Shared>) -> String {
    let mut text = Text(String::with_capacity(32 << 10));
    text.family("endort_build_info", "gauge", "The program that runs; always 1.");
    text.sample("endort_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let uptime = shared.started.elapsed().as_secs_f64();
    text.single("endort_uptime_seconds", "gauge", "Time since the server started.", uptime);
    server(&mut text, shared);
    rooms(&mut text, shared);
    let (figures, latency) = shared.rooms.direct();
    text.family("endort_direct_latency_seconds", "histogram", "Pictures analysed outside any room.");
    text.histogram("endort_direct_latency_seconds", &[], &latency);
    text.single(
        "endort_direct_dropped_total",
        "counter",
        "Pictures outside any room that have no result.",
        figures.frames_dropped as f64,
    );
    text.0
}

fn server(text: &mut Text, shared: &Shared) {
    let counters = &shared.counters;
    let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
    for (name, kind, help, value) in [
        ("endort_connections", "gauge", "Connections that are open.", load(&counters.connections)),
        ("endort_websockets", "gauge", "WebSocket sessions that are open.", load(&counters.websockets)),
        ("endort_connections_total", "counter", "Connections accepted.", load(&counters.accepted)),
        ("endort_websockets_total", "counter", "WebSocket sessions.", load(&counters.sessions)),
        (
            "endort_unauthorized_total",
            "counter",
            "Requests without a token that allows them.",
            load(&counters.unauthorized),
        ),
        ("endort_foreign_total", "counter", "Requests of a foreign Origin or Host.", load(&counters.foreign)),
        (
            "endort_malformed_total",
            "counter",
            "Requests that could not be understood.",
            load(&counters.malformed),
        ),
        ("endort_body_memory_bytes", "gauge", "Bodies that are held.", load(&shared.body_memory)),
    ] {
        text.single(name, kind, help, value);
    }
    text.family("endort_responses_total", "counter", "Responses by the class of their status.");
    for (class, label) in [(2, "2xx"), (3, "3xx"), (4, "4xx"), (5, "5xx")] {
        text.sample("endort_responses_total", &[("status", label)], counters.responses(class) as f64);
    }
    text.family("endort_limit_hits_total", "counter", "How often a bound was hit.");
    for bound in Bound::ALL {
        text.sample("endort_limit_hits_total", &[("bound", bound.name())], counters.hits(bound) as f64);
    }
}

/// Name, kind and help of a family, and its value for one room.
type Figure<T> = (&'static str, &'static str, &'static str, fn(&T) -> f64);

fn per_room<T>(text: &mut Text, figures: &[Figure<T>], rooms: &[(&str, &T)]) {
    for (name, kind, help, value) in figures {
        text.family(name, kind, help);
        for (room, of) in rooms {
            text.sample(name, &[("room", room)], value(of));
        }
    }
}

fn rooms(text: &mut Text, shared: &Shared) {
    let rooms = shared.rooms.all();
    let infos: Vec<_> = rooms.iter().map(|room| room.info()).collect();
    text.family("endort_room_state", "gauge", "1 for the state that the room is in.");
    for info in &infos {
        for state in State::ALL {
            let labels = [("room", info.room.as_str()), ("state", state.as_str())];
            text.sample("endort_room_state", &labels, f64::from(u8::from(state == info.state)));
        }
    }
    text.family("endort_room_info", "gauge", "What the room runs; always 1.");
    for info in &infos {
        let labels = [
            ("room", info.room.as_str()),
            ("model", &info.model),
            ("runtime", &info.runtime),
            ("model_sha256", info.model_sha256.as_deref().unwrap_or_default()),
        ];
        text.sample("endort_room_info", &labels, 1.0);
    }
    let figures: [Figure<RoomInfo>; 11] = [
        ("endort_room_fps", "gauge", "Pictures per second.", |info| info.figures.fps),
        ("endort_room_frames_total", "counter", "Pictures presented.", |info| {
            info.figures.frames_processed as f64
        }),
        ("endort_room_violations_total", "counter", "Frames beyond the budget.", |info| {
            info.figures.violations as f64
        }),
        ("endort_room_ai_off", "gauge", "1 while findings are missing or too late.", |info| {
            f64::from(u8::from(info.ai_off))
        }),
        ("endort_room_viewers", "gauge", "Whoever watches.", |info| info.viewers as f64),
        ("endort_room_findings_total", "counter", "Findings, once per track.", |info| info.findings as f64),
        ("endort_room_reconnects_total", "counter", "Times that the source was opened again.", |info| {
            info.reconnects as f64
        }),
        ("endort_room_ai_restarts_total", "counter", "Times that the AI was started again.", |info| {
            info.ai_restarts as f64
        }),
        ("endort_room_withheld_total", "counter", "Pictures withheld to keep what identifies.", |info| {
            info.withheld as f64
        }),
        ("endort_room_target_fps", "gauge", "Frames per second that the budget asks for.", |info| {
            info.figures.target_fps
        }),
        ("endort_room_max_latency_seconds", "gauge", "The latency budget.", |info| info.max_latency_ms / 1e3),
    ];
    let all: Vec<_> = infos.iter().map(|info| (info.room.as_str(), info)).collect();
    per_room(text, &figures, &all);
    text.family("endort_room_source_up", "gauge", "1 while pictures come.");
    for (room, info) in rooms.iter().zip(&infos) {
        // A room whose AI was given up has failed, and its pictures go on; one that is over has failed as a whole.
        let comes = match info.state {
            State::Running | State::Stalled => true,
            State::Failed => !room.is_over(),
            State::Starting | State::Reconnecting | State::Stopped => false,
        };
        let labels = [("room", info.room.as_str())];
        text.sample("endort_room_source_up", &labels, f64::from(u8::from(comes)));
    }
    let recorded: [Figure<Recording>; 4] = [
        ("endort_room_recording", "gauge", "1 while the room is recorded.", |recording| {
            f64::from(u8::from(recording.state == RecordingState::Recording))
        }),
        (
            "endort_room_recording_failed",
            "gauge",
            "1 once its recording could not be written.",
            |recording| f64::from(u8::from(recording.state == RecordingState::Failed)),
        ),
        ("endort_room_recorded_frames_total", "counter", "Frames recorded.", |recording| {
            recording.frames as f64
        }),
        (
            "endort_room_recording_lost_total",
            "counter",
            "Frames and records that were not recorded.",
            |recording| recording.lost as f64,
        ),
    ];
    let recordings: Vec<_> =
        all.iter().filter_map(|&(room, info)| Some((room, info.recording.as_ref()?))).collect();
    per_room(text, &recorded, &recordings);
    let help = "Pictures of coded video that were not passed on in time.";
    text.family("endort_room_video_lost_total", "counter", help);
    for (info, room) in infos.iter().zip(&rooms) {
        text.sample("endort_room_video_lost_total", &[("room", &info.room)], room.video_lost() as f64);
    }
    text.family("endort_room_queue_depth", "gauge", "Frames that wait for the AI.");
    for (info, room) in infos.iter().zip(&rooms) {
        text.sample("endort_room_queue_depth", &[("room", &info.room)], room.waiting() as f64);
    }
    text.family("endort_room_drops_total", "counter", "Frames without findings, by reason.");
    for (info, room) in infos.iter().zip(&rooms) {
        for (reason, count) in room.drops() {
            let labels = [("room", info.room.as_str()), ("reason", reason)];
            text.sample("endort_room_drops_total", &labels, count as f64);
        }
    }
    let buckets: Vec<_> = rooms.iter().map(|room| room.buckets()).collect();
    text.family("endort_room_latency_seconds", "histogram", "Captured to findings presented.");
    for (info, (latency, ..)) in infos.iter().zip(&buckets) {
        text.histogram("endort_room_latency_seconds", &[("room", &info.room)], latency);
    }
    text.family("endort_room_video_delay_seconds", "histogram", "Captured to picture presented.");
    for (info, (_, delay, _)) in infos.iter().zip(&buckets) {
        text.histogram("endort_room_video_delay_seconds", &[("room", &info.room)], delay);
    }
    text.family("endort_room_stage_seconds", "histogram", "Time inside each stage.");
    for (info, (.., stages)) in infos.iter().zip(&buckets) {
        for (stage, buckets) in stages {
            text.histogram("endort_room_stage_seconds", &[("room", &info.room), ("stage", stage)], buckets);
        }
    }
}

//! `endort serve`: live rooms over HTTP and WebSocket.

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::args::{ModelArgs, RealtimeArgs};
use super::console::{Console, Verbosity};
use super::model::Choice;
use super::model_cache::ModelCache;
use super::{Context, Outcome, detect_device, memory};
use crate::config::{Realtime, ServerFlags};
use crate::error::{Error, Result};
use crate::pipeline::processor::ProcessorOptions;
use crate::server::api::StartStream;
use crate::server::auth::{Origins, Tokens};
use crate::server::limits::Limits;
use crate::server::log::{Event, Level, Log};
use crate::server::models::{Loader, Use};
use crate::server::{Defaults, Device, Options, Server};

/// How often the command looks whether it was interrupted.
const POLL: Duration = Duration::from_millis(50);

/// Serve live rooms over HTTP and WebSocket
///
/// Takes each room's pictures from its source, keeps them moving, finds polyps within the budget, and shows both on a
/// page. Without --token-file only this machine can connect. Runs until it is interrupted.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,

    /// Start a room with the server; repeat it for several. SOURCE is one recording, an address, a camera, `synthetic`, or `push`
    #[arg(long, value_name = "NAME=SOURCE", value_parser = room)]
    pub room: Vec<(String, String)>,

    /// Ask for a token: FILE has a line per token, `view NAME TOKEN` or `operate NAME TOKEN`
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub token_file: Option<PathBuf>,

    /// Speak TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub tls_cert: Option<PathBuf>,

    /// The certificate's private key (PEM)
    #[arg(long, value_name = "FILE", help_heading = "Access")]
    pub tls_key: Option<PathBuf>,

    /// Also take requests from pages of this origin, such as https://ward.example; repeat it for several
    #[allow(rustdoc::bare_urls, reason = "a help text is shown as it is written")]
    #[arg(long, value_name = "ORIGIN", help_heading = "Access")]
    pub allow_origin: Vec<String>,

    /// Also answer to this host name where there are no tokens; repeat it for several
    #[arg(long, value_name = "NAME", help_heading = "Access")]
    pub allow_host: Vec<String>,

    /// How events are written to standard error [default: text]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Keep who started and stopped what, with which model and settings, in this append-only, chained file
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,

    /// Record the rooms' video and findings in this folder; video that comes coded is kept as it is
    #[arg(long, value_name = "DIR")]
    pub record: Option<PathBuf>,

    /// Keep everything outside the endoscope's picture (text panels, time stamps) away from viewers and recordings
    #[arg(long)]
    pub deidentify: bool,

    /// Check the settings, the token file, the certificate and the rooms, then exit
    #[arg(long)]
    pub check_config: bool,

    /// The model and what executes it.
    #[command(flatten)]
    pub model: ModelArgs,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

/// How events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// A line for people
    Text,
    /// A JSON document per line
    Json,
}

fn room(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, source)) if !name.is_empty() && !source.is_empty() => {
            Ok((name.to_owned(), source.to_owned()))
        }
        _ => Err("must be NAME=SOURCE, such as or-1=rtsp://10.0.0.5/live".to_owned()),
    }
}

/// Serves until it is interrupted.
///
/// # Errors
/// What keeps it from starting.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let flags = ServerFlags {
        listen: args.listen.clone(),
        token_file: args.token_file.clone(),
        tls_cert: args.tls_cert.clone(),
        tls_key: args.tls_key.clone(),
        log_format: args.log_format.map(|format| format == LogFormat::Json),
        audit_log: args.audit_log.clone(),
        record: args.record.clone(),
        deidentify: args.deidentify,
        rooms: args.room.clone(),
        allow_origins: args.allow_origin.clone(),
        allow_hosts: args.allow_host.clone(),
    };
    let settings = context.settings(&args.realtime.flags(args.model.runtime.as_deref()))?;
    let server = context.server_settings(&flags)?;
    let tls = match (server.tls_cert.value, server.tls_key.value) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            return Err(Error::Config {
                origin: "--tls-cert".to_owned(),
                detail: "needs --tls-key, and the other way round".to_owned(),
            });
        }
    };
    let tokens = match &server.token_file.value {
        Some(path) => Tokens::read(path)?,
        None => Tokens::none(),
    };
    let log = log(server.log_json.value, context.console.clone());
    let rooms = server.rooms.iter().map(|room| started(&room.name, &room.source)).collect();
    let options = Options {
        listen: server.listen.value,
        tls,
        tokens,
        origins: Origins { allowed: server.allow_origins, hosts: server.allow_hosts },
        limits: Limits::default(),
        defaults: Defaults {
            target_fps: settings.target_fps.value,
            max_latency_ms: settings.max_latency_ms.value,
            buffer_size: settings.buffer_size.value,
            decode_threads: 0,
            enabled: settings.enabled.value,
            record: server.record.value,
            deidentify: server.deidentify.value,
        },
        rooms,
        model: args.model.model.clone(),
        loader: loader(args, &settings, log.clone()),
        device: device(&settings),
        audit: server.audit_log.value,
        log,
    };
    if args.check_config {
        Server::check(&options)?;
        context.console.print("the settings are in order")?;
        return Ok(Outcome::Done);
    }
    memory::share_arenas();
    let server = Server::start(options)?;
    context.console.print(&server.url())?;
    while !context.cancel.is_cancelled() {
        std::thread::sleep(POLL);
    }
    server.stop();
    // Interrupting is how a server is meant to end.
    Ok(Outcome::Done)
}

fn started(name: &str, source: &str) -> StartStream {
    StartStream {
        room: name.to_owned(),
        source: source.to_owned(),
        model: None,
        target_fps: None,
        max_latency_ms: None,
        buffer_size: None,
        record: None,
        deidentify: None,
    }
}

/// What `GET /edge/device-info` answers: what `detect-device --json` prints.
fn device(settings: &Realtime) -> Device {
    let settings = settings.clone();
    Arc::new(move || {
        serde_json::to_value(detect_device::this_machine(&settings)?)
            .map_err(|error| Error::Output { path: "device-info".into(), detail: error.to_string() })
    })
}

fn loader(args: &Args, settings: &Realtime, log: Log) -> Loader {
    let (args, settings, cache) = (args.model.clone(), settings.clone(), ModelCache::default());
    let said = Mutex::new(HashSet::new());
    Arc::new(move |name, wanted| {
        let choice = Choice { model: name, ..args.choice(&settings) };
        let options = ProcessorOptions { video: wanted == Use::Video, ..ProcessorOptions::default() };
        let (loaded, notes) = cache.load(&choice, &settings, options)?;
        for note in notes {
            // A model that cannot be kept is loaded again and again.
            if said.lock().unwrap_or_else(PoisonError::into_inner).insert(note.clone()) {
                log.info("model", [("model", name.into()), ("note", note.into())]);
            }
        }
        Ok(loaded)
    })
}

fn log(json: bool, console: Console) -> Log {
    Log::new(Arc::new(move |event| {
        let from = match event.level {
            Level::Debug => Verbosity::Verbose,
            Level::Info => Verbosity::Normal,
            Level::Warn | Level::Error => Verbosity::Quiet,
        };
        if !json {
            console.say(from, &line(event));
        } else if console.says(from) {
            // Whole at once, so that lines do not mix. Nobody is left to tell where standard error itself is closed.
            let _ = std::io::stderr().lock().write_all(format!("{}\n", document(event)).as_bytes());
        }
    }))
}

/// An event for people.
fn line(event: &Event) -> String {
    let mut line = event.name.replace('_', " ");
    for (key, value) in &event.fields {
        match value {
            Value::Null => {}
            Value::String(text) => line.push_str(&format!(" {key}={text}")),
            value => line.push_str(&format!(" {key}={value}")),
        }
    }
    line
}

/// An event for programs.
fn document(event: &Event) -> Value {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut document = json!({
        "ts_ms": now.as_millis() as u64,
        "level": event.level.as_str(),
        "event": event.name,
    });
    if let Some(fields) = document.as_object_mut() {
        fields.extend(event.fields.clone());
    }
    document
}

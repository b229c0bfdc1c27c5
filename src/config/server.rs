//! Settings of `endort serve`: defaults, then `[server]` in endort.toml, then flags.
//!
//! ```toml
//! [server]
//! listen = "0.0.0.0:8443"
//! token_file = "/etc/endort/tokens"
//! tls_cert = "/etc/endort/tls.crt"
//! tls_key = "/etc/endort/tls.key"
//! log_format = "json"
//! audit_log = "/var/lib/endort/audit.jsonl"
//! record = "/var/lib/endort/recordings"
//! deidentify = true
//! allow_origins = ["https://ward.example"]
//! allow_hosts = ["tower3"]
//!
//! [server.rooms]
//! or-1 = "rtsp://10.0.0.5/live"
//! or-2 = "push"
//! ```

use std::path::PathBuf;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::{impossible, origin};
use super::{File, Origin, Setting};
use crate::error::Result;

/// The table's name.
pub(super) const TABLE: &str = "server";
const KEYS: [&str; 11] = [
    "listen",
    "token_file",
    "tls_cert",
    "tls_key",
    "log_format",
    "audit_log",
    "record",
    "deidentify",
    "allow_origins",
    "allow_hosts",
    "rooms",
];

/// Address that is listened on where nobody says.
const DEFAULT_LISTEN: &str = "127.0.0.1:8080";

/// What the flags say; `None` and empty where a flag is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerFlags {
    /// `--listen`
    pub listen: Option<String>,
    /// `--token-file`
    pub token_file: Option<PathBuf>,
    /// `--tls-cert`
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
    /// `--log-format json`
    pub log_format: Option<bool>,
    /// `--audit-log`
    pub audit_log: Option<PathBuf>,
    /// `--record`
    pub record: Option<PathBuf>,
    /// `--deidentify`
    pub deidentify: bool,
    /// `--room`, name and source
    pub rooms: Vec<(String, String)>,
    /// `--allow-origin`
    pub allow_origins: Vec<String>,
    /// `--allow-host`
    pub allow_hosts: Vec<String>,
}

/// A room that is started with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomSetting {
    /// Its name.
    pub name: String,
    /// Its source, with its credentials.
    pub source: String,
    /// Who asked for it.
    pub origin: Origin,
}

/// The settings of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address and port.
    pub listen: Setting<String>,
    /// Who may do what; absent where only this machine may ask.
    pub token_file: Setting<Option<PathBuf>>,
    /// Certificate chain.
    pub tls_cert: Setting<Option<PathBuf>>,
    /// Private key.
    pub tls_key: Setting<Option<PathBuf>>,
    /// Whether events are written as JSON.
    pub log_json: Setting<bool>,
    /// Where it is kept who started and stopped what.
    pub audit_log: Setting<Option<PathBuf>>,
    /// Folder for recordings; rooms are recorded where there is one.
    pub record: Setting<Option<PathBuf>>,
    /// Whether only the endoscope's picture is shown and recorded.
    pub deidentify: Setting<bool>,
    /// Rooms by name; a flag replaces the file's room of the same name.
    pub rooms: Vec<RoomSetting>,
    /// Origins besides the server's own.
    pub allow_origins: Vec<String>,
    /// Host names besides addresses and localhost.
    pub allow_hosts: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Setting::default_of(DEFAULT_LISTEN.to_owned()),
            token_file: Setting::default_of(None),
            tls_cert: Setting::default_of(None),
            tls_key: Setting::default_of(None),
            log_json: Setting::default_of(false),
            audit_log: Setting::default_of(None),
            record: Setting::default_of(None),
            deidentify: Setting::default_of(false),
            rooms: Vec::new(),
            allow_origins: Vec::new(),
            allow_hosts: Vec::new(),
        }
    }
}

impl Server {
    /// Puts the layers on top of each other.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for a key that is unknown or has an impossible value,
    /// [`Error::Config`](crate::Error::Config) for a file that is not TOML; both name the place.
    pub fn resolve(file: Option<File<'_>>, flags: &ServerFlags) -> Result<Self> {
        let mut settings = Self::default();
        if let Some(file) = file {
            let document = super::file::parse(file)?;
            let table = document.get_ref().iter().find(|(key, _)| key.get_ref() == TABLE);
            if let Some(table) = table.and_then(|(_, value)| value.get_ref().as_table()) {
                settings.apply_table(file, table)?;
            }
        }
        settings.apply_flags(flags);
        Ok(settings)
    }

    /// Name, value and origin of each setting, for people. Addresses are shown without their credentials.
    pub fn rows(&self) -> Vec<(String, String, &Origin)> {
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
        };
        let format = if self.log_json.value { "json" } else { "text" };
        let mut rows = vec![
            ("listen".to_owned(), self.listen.value.clone(), &self.listen.origin),
            ("token_file".to_owned(), path(&self.token_file.value), &self.token_file.origin),
            ("tls_cert".to_owned(), path(&self.tls_cert.value), &self.tls_cert.origin),
            ("tls_key".to_owned(), path(&self.tls_key.value), &self.tls_key.origin),
            ("audit_log".to_owned(), path(&self.audit_log.value), &self.audit_log.origin),
            ("record".to_owned(), path(&self.record.value), &self.record.origin),
            ("deidentify".to_owned(), self.deidentify.value.to_string(), &self.deidentify.origin),
            ("log_format".to_owned(), format.to_owned(), &self.log_json.origin),
        ];
        for room in &self.rooms {
            let source = crate::source::redact::redact(&room.source);
            rows.push((format!("room {}", room.name), source, &room.origin));
        }
        rows
    }

    pub(super) fn apply_table(&mut self, file: File<'_>, table: &DeTable<'_>) -> Result<()> {
        for (key, value) in table {
            let name: &str = key.get_ref();
            let place = origin(file, key.span().start);
            let wrong = |allowed: String| impossible(file, key, &format!("{TABLE}.{name}"), value, allowed);
            let text = || text_of(value).map_err(&wrong);
            match name {
                "listen" => self.listen.set(text()?, &place),
                "token_file" => self.token_file.set(Some(text()?.into()), &place),
                "tls_cert" => self.tls_cert.set(Some(text()?.into()), &place),
                "audit_log" => self.audit_log.set(Some(text()?.into()), &place),
                "record" => self.record.set(Some(text()?.into()), &place),
                "deidentify" => match value.get_ref() {
                    DeValue::Boolean(on) => self.deidentify.set(*on, &place),
                    _ => return Err(wrong("must be true or false".to_owned())),
                },
                "tls_key" => self.tls_key.set(Some(text()?.into()), &place),
                "log_format" => match text()?.as_str() {
                    "text" => self.log_json.set(false, &place),
                    "json" => self.log_json.set(true, &place),
                    _ => return Err(wrong("must be \"text\" or \"json\"".to_owned())),
                },
                "allow_origins" => self.allow_origins = texts_of(value).map_err(wrong)?,
                "allow_hosts" => self.allow_hosts = texts_of(value).map_err(wrong)?,
                "rooms" => {
                    let rooms = value.get_ref().as_table();
                    let rooms = rooms.ok_or_else(|| wrong(format!("must be a table: [{TABLE}.rooms]")))?;
                    for (name, source) in rooms {
                        let path = format!("{TABLE}.rooms.{}", name.get_ref());
                        let source = text_of(source)
                            .map_err(|allowed| impossible(file, name, &path, source, allowed))?;
                        let origin = origin(file, name.span().start);
                        self.rooms.push(RoomSetting { name: name.get_ref().to_string(), source, origin });
                    }
                }
                _ => return Err(wrong(format!("unknown, known are {}", KEYS.join(", ")))),
            }
        }
        Ok(())
    }

    fn apply_flags(&mut self, flags: &ServerFlags) {
        let path = |setting: &mut Setting<Option<PathBuf>>, value: &Option<PathBuf>, flag| {
            if let Some(value) = value {
                setting.set(Some(value.clone()), &Origin::Flag(flag));
            }
        };
        if let Some(listen) = &flags.listen {
            self.listen.set(listen.clone(), &Origin::Flag("--listen"));
        }
        path(&mut self.token_file, &flags.token_file, "--token-file");
        path(&mut self.tls_cert, &flags.tls_cert, "--tls-cert");
        path(&mut self.tls_key, &flags.tls_key, "--tls-key");
        path(&mut self.audit_log, &flags.audit_log, "--audit-log");
        path(&mut self.record, &flags.record, "--record");
        if flags.deidentify {
            self.deidentify.set(true, &Origin::Flag("--deidentify"));
        }
        if let Some(json) = flags.log_format {
            self.log_json.set(json, &Origin::Flag("--log-format"));
        }
        for (name, source) in &flags.rooms {
            self.rooms.retain(|room| room.name != *name || room.origin == Origin::Flag("--room"));
            let origin = Origin::Flag("--room");
            self.rooms.push(RoomSetting { name: name.clone(), source: source.clone(), origin });
        }
        self.allow_origins.extend(flags.allow_origins.iter().cloned());
        self.allow_hosts.extend(flags.allow_hosts.iter().cloned());
    }
}

fn text_of(value: &Spanned<DeValue<'_>>) -> Result<String, String> {
    match value.get_ref() {
        DeValue::String(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err("must be a text in quotes".to_owned()),
    }
}

fn texts_of(value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
    let wrong = || "must be a list of texts, such as [\"a\", \"b\"]".to_owned();
    let list = value.get_ref().as_array().ok_or_else(wrong)?;
    list.iter().map(|value| text_of(value).map_err(|_| wrong())).collect()
}

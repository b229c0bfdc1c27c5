//! `endort.toml`: a `[realtime]` table, read with its positions so that an error names the line.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{File, KEYS, Kind, Origin, Realtime, server, unknown};
use crate::error::{Error, Result};

const TABLE: &str = "realtime";

/// Puts the file's values over those of `settings`.
pub(super) fn apply(settings: &mut Realtime, file: File<'_>) -> Result<()> {
    let document = parse(file)?;
    for (key, value) in document.get_ref() {
        let name: &str = key.get_ref();
        if name == server::TABLE
            && let Some(table) = value.get_ref().as_table()
        {
            // Only `serve` uses it; that it is right is checked all the same.
            server::Server::default().apply_table(file, table)?;
            continue;
        }
        let table = (name == TABLE).then(|| value.get_ref().as_table()).flatten();
        let Some(table) = table else {
            let allowed = match name {
                TABLE | server::TABLE => format!("must be a table: put [{name}] on a line of its own"),
                _ => format!("unknown, known are the tables [{TABLE}] and [{}]", server::TABLE),
            };
            return Err(impossible(file, key, name, value, allowed));
        };
        for (key, value) in table {
            apply_key(settings, file, key, value)?;
        }
    }
    Ok(())
}

/// The file's tables, with their positions.
pub(super) fn parse(file: File<'_>) -> Result<Spanned<DeTable<'_>>> {
    DeTable::parse(file.text).map_err(|error| Error::Config {
        origin: origin(file, error.span().map_or(0, |span| span.start)).to_string(),
        detail: format!("not valid TOML: {}", error.message().trim().replace('\n', ", ")),
    })
}

fn apply_key(
    settings: &mut Realtime,
    file: File<'_>,
    name: &Spanned<std::borrow::Cow<'_, str>>,
    value: &Spanned<DeValue<'_>>,
) -> Result<()> {
    let path = format!("{TABLE}.{}", name.get_ref());
    let Some(key) = KEYS.iter().find(|key| key.name == name.get_ref()) else {
        return Err(impossible(file, name, &path, value, unknown(name.get_ref(), |key| key.name)));
    };
    let text = match (key.kind, value.get_ref()) {
        (Kind::Boolean, DeValue::Boolean(value)) => value.to_string(),
        (Kind::Number, DeValue::Integer(number)) if number.radix() == 10 => plain(number.as_str()),
        (Kind::Number, DeValue::Float(number)) => plain(number.as_str()),
        (Kind::Text, DeValue::String(text)) => text.to_string(),
        (kind, _) => {
            let allowed = match kind {
                Kind::Boolean => "must be true or false, without quotes",
                Kind::Number => "must be a number, without quotes",
                Kind::Text => "must be a text in quotes",
            };
            return Err(impossible(file, name, &path, value, allowed.to_owned()));
        }
    };
    (key.set)(settings, &text, &origin(file, name.span().start))
        .map_err(|allowed| impossible(file, name, &path, value, allowed))
}

/// A number as Rust reads it: TOML allows underscores between digits.
fn plain(number: &str) -> String {
    number.replace('_', "")
}

pub(super) fn impossible(
    file: File<'_>,
    at: &Spanned<std::borrow::Cow<'_, str>>,
    key: &str,
    value: &Spanned<DeValue<'_>>,
    allowed: String,
) -> Error {
    // As written in the file, cut short where somebody put a whole table.
    const SHOWN: usize = 40;
    let written = file.text.get(value.span()).unwrap_or_default();
    let mut shown: String = written.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = shown.char_indices().nth(SHOWN) {
        shown.truncate(cut);
        shown.push('…');
    }
    Error::Setting {
        origin: origin(file, at.span().start).to_string(),
        key: key.to_owned(),
        value: shown,
        allowed,
    }
}

pub(super) fn origin(file: File<'_>, offset: usize) -> Origin {
    let before = file.text.as_bytes().get(..offset).unwrap_or(file.text.as_bytes());
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    Origin::File { path: file.path.to_owned(), line }
}

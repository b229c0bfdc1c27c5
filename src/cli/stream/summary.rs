//! What became of each source: a table, and its JSON twin.

use std::path::PathBuf;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::job::Work;
use super::ledger::{Tally, Timing};

/// What became of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its outputs are whole.
    Done,
    /// They were whole before.
    Skipped,
    /// Nothing was made of it.
    Failed,
    /// Ctrl-C came before its end.
    Interrupted,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileReport {
    /// Its name.
    pub source: String,
    /// What became of it.
    pub state: State,
    /// Its figures, where it was processed.
    #[serde(flatten)]
    pub tally: Option<Tally>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The files that were made.
    #[serde(serialize_with = "super::path_text::shown")]
    pub outputs: Vec<PathBuf>,
}

/// Headings of the table; the last ones are about keeping to a budget.
const COLUMNS: [&str; 11] = [
    "source",
    "",
    "frames",
    "dropped",
    "lost",
    "with findings",
    "tracks",
    "fps",
    "avg ms",
    "p95 ms",
    "violations",
];
const LOST_COLUMN: usize = 4;
const UNTIMED_COLUMNS: usize = 8;

impl FileReport {
    fn timing(&self) -> Option<&Timing> {
        self.tally.as_ref().and_then(|tally| tally.timing.as_ref())
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let figure = |value: fn(&Tally) -> String| self.tally.as_ref().map(value).unwrap_or_default();
        let timing = |value: fn(&Timing) -> String| self.timing().map(value).unwrap_or_default();
        [
            self.source.clone(),
            self.state.word().to_owned(),
            figure(|tally| tally.frames.to_string()),
            figure(|tally| tally.dropped.to_string()),
            figure(|tally| tally.lost.to_string()),
            figure(|tally| tally.frames_with_findings.to_string()),
            figure(|tally| tally.tracks.to_string()),
            figure(|tally| format!("{:.1}", tally.fps)),
            timing(|timing| format!("{:.1}", timing.latency_ms.avg)),
            timing(|timing| format!("{:.1}", timing.latency_ms.p95)),
            timing(|timing| timing.violations.to_string()),
        ]
    }
}

/// What became of all of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    endort: &'static str,
    model: Option<String>,
    model_sha256: Option<String>,
    runtime: Option<String>,
    /// In the order of work; sources that were not reached are absent.
    pub files: Vec<FileReport>,
}

impl Report {
    /// Adds what was run.
    pub fn describe(&mut self, work: &Work<'_>) {
        self.endort = env!("CARGO_PKG_VERSION");
        if let Some((model, sha256, runtime)) = work.model() {
            self.model = Some(model.to_owned());
            self.model_sha256 = Some(sha256.to_owned());
            self.runtime = Some(runtime.to_owned());
        }
    }

    /// How many sources ended this way.
    pub fn count(&self, state: State) -> usize {
        self.files.iter().filter(|file| file.state == state).count()
    }

    /// The document that `--json` prints.
    pub fn json(&self) -> String {
        // Strings and numbers: there is nothing in it that cannot be written.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The table and the line below it, for people; `planned` sources were to be processed.
    pub fn tables(&self, planned: usize) -> Vec<String> {
        if self.files.is_empty() {
            return Vec::new();
        }
        // Sources at full speed have no latency to speak of: no columns for it then.
        let timed = self.files.iter().any(|file| file.timing().is_some());
        let columns = if timed { COLUMNS.len() } else { UNTIMED_COLUMNS };
        // Frames that are lost are the exception: a column of zeros would hide the one that is not.
        let lost = self.files.iter().any(|file| file.tally.is_some_and(|tally| tally.lost > 0));
        let shown = |column: &usize| *column < columns && (lost || *column != LOST_COLUMN);
        let pick = |cells: [String; COLUMNS.len()]| {
            cells.into_iter().enumerate().filter(|(i, _)| shown(i)).map(|(_, cell)| cell).collect::<Vec<_>>()
        };
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED).set_header(pick(COLUMNS.map(str::to_owned)));
        for column in table.column_iter_mut().skip(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        for file in &self.files {
            table.add_row(pick(file.cells()));
        }
        if planned == 1 {
            return if self.count(State::Failed) == 1 { Vec::new() } else { vec![table.to_string()] };
        }
        let counts: Vec<_> = [State::Done, State::Skipped, State::Failed, State::Interrupted]
            .into_iter()
            .filter(|&state| self.count(state) > 0)
            .map(|state| format!("{} {}", self.count(state), state.word()))
            .collect();
        let open = planned - self.files.len();
        let open = if open > 0 { format!(", {open} not begun") } else { String::new() };
        vec![table.to_string(), format!("{planned} sources: {}{open}", counts.join(", "))]
    }
}

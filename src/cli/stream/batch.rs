//! One source after the other, with a ledger of what is finished.

use std::fs;
use std::path::PathBuf;

use super::super::{Context, Outcome};
use super::fingerprint::Fingerprint;
use super::job::Work;
use super::ledger::{Entry, Ledger, Status, Tally};
use super::plan::{Job, Plan};
use super::progress::Overall;
use super::summary::{FileReport, Report, State};
use super::{Args, STDOUT};
use crate::error::{Error, Result};
use crate::source::Location;

/// Works through the plan and prints the summary.
///
/// # Errors
///
/// What keeps the rest from being done: a full disk, a runtime that broke. Failures of single sources are
/// reported and the rest goes on.
pub fn run(args: &Args, plan: Plan, work: Work<'_>, context: &Context) -> Result<Outcome> {
    let ledger = plan.folder.as_deref().map(Ledger::open).transpose()?;
    let bytes: Vec<_> = plan.jobs.iter().map(length).collect();
    let overall = Overall::new(&context.console, plan.jobs.len(), bytes.iter().sum());
    let mut batch = Batch { args, context, ledger, work, overall, report: Report::default() };
    let stopped = plan.jobs.iter().zip(bytes).try_for_each(|(job, bytes)| batch.one(job, bytes));
    batch.overall.clear();

    let interrupted = context.cancel.is_cancelled();
    let mut report = batch.report;
    report.describe(&batch.work);
    if args.json {
        context.console.print(&report.json())?;
    } else if args.results.as_deref().is_none_or(|path| path.as_os_str() != STDOUT) {
        report.tables(plan.jobs.len()).iter().try_for_each(|text| context.console.print(text))?;
    }
    match stopped {
        Err(Error::Cancelled) => Ok(Outcome::Interrupted),
        Err(error) => Err(error),
        Ok(()) if interrupted => Ok(Outcome::Interrupted),
        Ok(()) if report.count(State::Failed) > 0 => Ok(Outcome::Failed),
        Ok(()) => Ok(Outcome::Done),
    }
}

fn length(job: &Job) -> u64 {
    match &job.input.location {
        Location::File(path) => fs::metadata(path).map_or(0, |meta| meta.len()),
        _ => 0,
    }
}

struct Batch<'a> {
    args: &'a Args,
    context: &'a Context,
    ledger: Option<Ledger>,
    work: Work<'a>,
    overall: Overall,
    report: Report,
}

impl Batch<'_> {
    /// One source. An error stops the batch; a failure of the source itself does not.
    fn one(&mut self, job: &Job, bytes: u64) -> Result<()> {
        if self.context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let reported = match self.known(job) {
            Ok(Some(known)) => Ok(known),
            Ok(None) => self.process(job, bytes),
            Err(error) => Err(error),
        };
        let reported = match reported {
            Err(error) if is_about_the_source(&error) => self.failed(job, &error),
            other => other,
        }?;
        self.overall.finish_file(reported.tally.map_or(0, |tally| tally.frames), bytes);
        self.report.files.push(reported);
        Ok(())
    }

    /// What the ledger says of this source, if that is all there is to do.
    fn known(&self, job: &Job) -> Result<Option<FileReport>> {
        let resume = self.args.resume || self.args.retry_failed;
        let Some(ledger) = self.ledger.as_ref().filter(|_| resume) else { return Ok(None) };
        let outputs = job.outputs();
        let Some(entry) = ledger.find(&outputs).filter(|entry| entry.settings == self.work.settings) else {
            return Ok(None);
        };
        let (state, tally, error) = match &entry.status {
            Status::Done(tally) if ledger.outputs_are_there(entry) => (State::Skipped, Some(*tally), None),
            Status::Failed { error } if !self.args.retry_failed => (State::Failed, None, Some(error.clone())),
            Status::Done(_) | Status::Failed { .. } => return Ok(None),
        };
        if !self.same_content(entry, job)? {
            return Ok(None);
        }
        if let Some(error) = &error {
            self.context.console.note(&format!("{error} (an earlier run; --retry-failed tries again)"));
        }
        Ok(Some(FileReport { source: job.input.name(), state, tally, error, outputs }))
    }

    fn same_content(&self, entry: &Entry, job: &Job) -> Result<bool> {
        match (&job.input.location, &entry.content) {
            (Location::File(path), Some(content)) => content.holds_for(path, &self.context.cancel),
            // The renderer gives the same frames for the same words.
            (Location::Synthetic(_), None) => Ok(entry.input == job.input.name()),
            _ => Ok(false),
        }
    }

    fn process(&mut self, job: &Job, bytes: u64) -> Result<FileReport> {
        let content = self.content(job)?;
        let keep_part = self.ledger.is_none();
        let done = self.work.process(job, bytes, keep_part, &self.overall)?;
        let name = job.input.name();
        let outputs = if done.kept { job.outputs() } else { Vec::new() };
        let mut state = State::Done;
        if done.interrupted {
            state = State::Interrupted;
            let next = match done.kept {
                true => "its outputs end there",
                false if self.ledger.is_some() => "run again with --resume to have it whole",
                false => "nothing of it is kept",
            };
            let frames = done.tally.frames;
            self.context.console.note(&format!("{name}: interrupted after {frames} frames; {next}"));
        }
        let mut error = None;
        for failure in done.failures {
            state = State::Failed;
            self.context.console.error(&failure);
            if done.kept && matches!(failure, Error::SourceLost { .. }) {
                let frames = done.tally.frames;
                self.context
                    .console
                    .note(&format!("{name}: its outputs hold the {frames} frames before that"));
            }
            error.get_or_insert(failure.to_string());
        }
        if state == State::Done {
            self.enter(job, content, &outputs, Status::Done(done.tally))?;
        }
        Ok(FileReport { source: name, state, tally: Some(done.tally), error, outputs })
    }

    fn failed(&mut self, job: &Job, error: &Error) -> Result<FileReport> {
        self.context.console.error(error);
        let text = error.to_string();
        // A file that cannot be read has no content to know it by: it is tried again in any case.
        let content = self.content(job).ok().flatten();
        self.enter(job, content, &job.outputs(), Status::Failed { error: text.clone() })?;
        Ok(FileReport {
            source: job.input.name(),
            state: State::Failed,
            tally: None::<Tally>,
            error: Some(text),
            outputs: Vec::new(),
        })
    }

    fn enter(
        &mut self,
        job: &Job,
        content: Option<Fingerprint>,
        outputs: &[PathBuf],
        status: Status,
    ) -> Result<()> {
        let Some(ledger) = &mut self.ledger else { return Ok(()) };
        let outputs = outputs.iter().map(|path| ledger.made(path)).collect();
        let settings = self.work.settings.clone();
        ledger.add(Entry { input: job.input.name(), content, settings, outputs, status })
    }

    fn content(&self, job: &Job) -> Result<Option<Fingerprint>> {
        match &job.input.location {
            // A pipe can be read only once.
            Location::File(path) if self.ledger.is_some() && path.is_file() => {
                Fingerprint::take(path, &self.context.cancel).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Whether an error concerns one source alone, so that the others can go on.
fn is_about_the_source(error: &Error) -> bool {
    matches!(
        error,
        Error::Read { .. }
            | Error::NoInput { .. }
            | Error::Media { .. }
            | Error::Picture { .. }
            | Error::SourceLost { .. }
            | Error::TooLarge { .. }
            | Error::StagePanicked { .. }
    )
}

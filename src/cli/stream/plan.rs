//! From what the user named to a list of jobs, each an input with its outputs, checked before work begins.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Format, ledger};
use crate::cli::place::{self, Target, identity};
use crate::error::{Error, Result};
use crate::sink::output::{folder_of, is_special};
use crate::source::{self, Input, Location, VIDEO_EXTENSIONS, expand, is_picture};

/// An input and what is to be made of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Where frames come from.
    pub input: Input,
    /// The annotated video.
    pub video: Option<PathBuf>,
    /// The records.
    pub results: Option<PathBuf>,
}

impl Job {
    /// All files that are to be made.
    pub fn outputs(&self) -> Vec<PathBuf> {
        self.video.iter().chain(&self.results).cloned().collect()
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// In the order of work.
    pub jobs: Vec<Job>,
    /// The output folder in which the ledger is kept; `None` where outputs are single files, or none.
    pub folder: Option<PathBuf>,
    /// Pictures in folders that were left out.
    pub pictures: usize,
}

/// What the user named.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// `SOURCE…`
    pub sources: &'a [String],
    /// `-o`
    pub video: Option<&'a Path>,
    /// `--results`, unless it is standard output
    pub results: Option<&'a Path>,
    /// Decides the ending of result files in a folder.
    pub format: Format,
}

impl Plan {
    /// Finds the inputs and names the outputs. Nothing is written.
    ///
    /// # Errors
    ///
    /// [`Error::NoInput`] and [`Error::Read`] for sources that are not there; [`Error::Output`] where two
    /// inputs would be written to one output, or an output is an input.
    pub fn new(wanted: Wanted<'_>) -> Result<Self> {
        let (mut inputs, pictures) = inputs(wanted)?;
        let several = inputs.len() > 1 || wanted.sources.iter().any(|source| Path::new(source).is_dir());
        if let (true, Some(live)) = (inputs.len() > 1, inputs.iter().find(|input| is_live(input))) {
            return Err(Error::Setting {
                origin: "command line".to_owned(),
                key: "SOURCE".to_owned(),
                value: live.name(),
                allowed: "a live source runs alone: start one endort for each".to_owned(),
            });
        }
        let video = wanted.video.map(|path| Target::new(path, several, &VIDEO_EXTENSIONS)).transpose()?;
        let results = wanted.results.map(|path| Target::new(path, several, &Format::ENDINGS)).transpose()?;
        let folder = [&video, &results].into_iter().flatten().find_map(Target::folder).map(Path::to_owned);
        if folder.is_some() {
            place::keep_apart(&mut inputs);
        }
        let jobs = inputs
            .into_iter()
            .map(|input| Job {
                video: video.as_ref().map(|target| target.path(&input, "mp4")),
                results: results.as_ref().map(|target| target.path(&input, wanted.format.ending())),
                input,
            })
            .collect();
        let plan = Self { jobs, folder, pictures };
        place::check(plan.jobs.iter().map(|job| (&job.input, job.outputs())))?;
        let ledger = plan.folder.as_deref().map(|folder| place::spelled_out(&folder.join(ledger::FILE_NAME)));
        let named = |output: &PathBuf| output.file_name() == Some(OsStr::new(ledger::FILE_NAME));
        let mut outputs = plan.jobs.iter().flat_map(Job::outputs).filter(named);
        match outputs.find(|output| Some(place::spelled_out(output)) == ledger) {
            None => Ok(plan),
            Some(path) => {
                let detail = "is the name of the folder's ledger: choose another name".to_owned();
                Err(Error::Output { path, detail })
            }
        }
    }

    /// Makes the output folders and finds out whether they can be written to.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] for the first one that cannot.
    pub fn prepare(&self) -> Result<()> {
        let outputs: Vec<_> = self.jobs.iter().flat_map(Job::outputs).collect();
        // Nothing is made beside a device or a pipe.
        let files = outputs.iter().filter(|path| !is_special(path));
        let folders: HashSet<_> = files.map(|path| folder_of(path)).chain(self.folder.as_deref()).collect();
        for folder in folders {
            // A single file's folder must be there: it may be a slip of the pen.
            if self.folder.is_some() {
                fs::create_dir_all(folder).map_err(Error::write(folder))?;
            }
            tempfile::tempfile_in(folder).map_err(Error::write(folder))?;
        }
        Ok(())
    }
}

/// The inputs behind the sources, each file once, and how many pictures in folders were left out.
fn inputs(wanted: Wanted<'_>) -> Result<(Vec<Input>, usize)> {
    let mut inputs = Vec::new();
    let mut seen = HashSet::new();
    let mut pictures = 0;
    for source in wanted.sources {
        let found = expand(source)?;
        let named_itself = found.len() == 1 && !Path::new(source).is_dir();
        let count = found.len();
        let before = pictures;
        for input in found {
            if let Location::File(path) = &input.location {
                if !named_itself && (is_picture(path) || is_output(path, source, wanted)) {
                    pictures += usize::from(is_picture(path));
                    continue;
                }
                if identity(path).is_some_and(|identity| !seen.insert(identity)) {
                    continue;
                }
            }
            inputs.push(input);
        }
        if pictures - before == count {
            return Err(Error::NoInput {
                source_name: source.clone(),
                detail: format!(
                    "holds {count} pictures but no recording (endort process-frame takes pictures)"
                ),
            });
        }
    }
    if inputs.is_empty() {
        return Err(Error::NoInput {
            source_name: wanted.sources.join(" "),
            detail: "no recording is left that is not an output of this command".to_owned(),
        });
    }
    Ok((inputs, pictures))
}

/// Whether the file lies in an output folder inside the source's folder: made by an earlier run.
fn is_output(path: &Path, source: &str, wanted: Wanted<'_>) -> bool {
    // Of a glob, the folder in front of its wildcards: that of `*.mp4` is the working folder.
    let fixed = Path::new(".").join(source::fixed_part(source));
    let root = fs::canonicalize(source).or_else(|_| fs::canonicalize(fixed)).ok();
    let Ok(path) = fs::canonicalize(path) else { return false };
    [wanted.video, wanted.results].into_iter().flatten().any(|output| {
        fs::canonicalize(output).is_ok_and(|output| {
            output.is_dir() && path.starts_with(&output) && root.as_ref().is_none_or(|root| *root != output)
        })
    })
}

fn is_live(input: &Input) -> bool {
    match &input.location {
        Location::Device(_) => true,
        // What a web server has may be a recording.
        Location::Address(address) => !address.to_ascii_lowercase().starts_with("http"),
        Location::File(_) | Location::Stdin | Location::Synthetic(_) => false,
    }
}

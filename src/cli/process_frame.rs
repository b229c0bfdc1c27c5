//! `endort process-frame`: findings in pictures.

use std::path::{Path, PathBuf};
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};

use super::args::{ModelArgs, RealtimeArgs};
use super::model::{self, NO_MODEL};
use super::place::{self, Target};
use super::{Context, Outcome};
use crate::error::{Error, Result};
use crate::frame::{Frame, Picture};
use crate::pipeline::processor::{PassThrough, ProcessorOptions};
use crate::pipeline::{Analysis, Analyzer};
use crate::record::{FrameRecord, millis};
use crate::sink::picture::{write_mask, write_overlay};
use crate::source::{self, Input, Location, PICTURE_EXTENSIONS, picture};
use crate::vision::overlay::{self, OverlayOptions};

/// Find polyps in pictures
///
/// Prints what was found in each picture; --overlay draws it, --mask writes it as a black and white picture.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Pictures, folders or globs
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,

    /// Write each picture with its findings drawn, as PNG, to this file or folder
    #[arg(long, value_name = "PATH|DIR")]
    pub overlay: Option<PathBuf>,

    /// Write each picture's mask, an 8-bit PNG of 0 and 255, to this file or folder
    #[arg(long, value_name = "PATH|DIR")]
    pub mask: Option<PathBuf>,

    /// Print one JSON record per picture and nothing else
    #[arg(long)]
    pub json: bool,

    /// The model and what executes it.
    #[command(flatten)]
    pub model: ModelArgs,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

/// Analyses each picture. One that cannot be read is reported and the rest goes on.
///
/// # Errors
/// What keeps every picture from being analysed: a wrong model, setting or output.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    let settings = context.settings(&args.realtime.flags(args.model.runtime.as_deref()))?;
    let mut inputs = Vec::new();
    for image in &args.images {
        inputs.extend(source::expand_path(image)?);
    }
    let several = inputs.len() > 1 || args.images.iter().any(|image| image.is_dir());
    let target = |path: &Option<PathBuf>| {
        path.as_deref().map(|path| Target::new(path, several, &PICTURE_EXTENSIONS)).transpose()
    };
    let (overlay, mask) = (target(&args.overlay)?, target(&args.mask)?);
    if [&overlay, &mask].into_iter().flatten().any(|target| target.folder().is_some()) {
        place::keep_apart(&mut inputs);
    }
    let at = |target: &Option<Target>, input: &Input| target.as_ref().map(|t| t.path(input, "png"));
    let outputs = |input| [&overlay, &mask].into_iter().filter_map(|target| at(target, input)).collect();
    place::check(inputs.iter().map(|input| (input, outputs(input))))?;
    let choice = args.model.choice(&settings);
    let mut analyzer: Box<dyn Analyzer> = match model::load(&choice, &settings, ProcessorOptions::default())?
    {
        Some(loaded) => {
            loaded.notes.iter().for_each(|note| context.console.note(note));
            Box::new(loaded.processor)
        }
        None => Box::new(PassThrough),
    };
    if mask.is_some() && analyzer.model() == NO_MODEL {
        return Err(Error::Model { model: NO_MODEL.to_owned(), detail: "has no mask to write".to_owned() });
    }

    let mut records = Vec::new();
    let mut failed = 0;
    for input in &inputs {
        if context.cancel.is_cancelled() {
            break;
        }
        let (overlay, mask) = (at(&overlay, input), at(&mask, input));
        match process(input, analyzer.as_mut(), settings.max_latency_ms.value, overlay, mask) {
            Ok(record) if args.json => print_json(&record, context)?,
            Ok(record) => records.push(record),
            // A full disk ends it all; a broken picture only itself.
            Err(error @ (Error::Write { .. } | Error::StagePanicked { .. })) => return Err(error),
            Err(error) => {
                failed += 1;
                context.console.error(&error);
            }
        }
    }
    if !records.is_empty() {
        context.console.print(&table(&records))?;
    }
    Ok(match (context.cancel.is_cancelled(), failed) {
        (true, _) => Outcome::Interrupted,
        (false, 0) => Outcome::Done,
        (false, _) => Outcome::Failed,
    })
}

fn process(
    input: &Input,
    analyzer: &mut dyn Analyzer,
    max_latency_ms: f64,
    overlay_path: Option<PathBuf>,
    mask_path: Option<PathBuf>,
) -> Result<FrameRecord> {
    let begin = Instant::now();
    let Location::File(path) = &input.location else {
        return Err(Error::NoInput { source_name: input.name(), detail: "is not a picture file".to_owned() });
    };
    let name = input.name();
    let mut frame = Frame::still(name.as_str(), picture::decode_file(path, &name)?);
    frame.decode = begin.elapsed();
    let analysis = analyzer.analyze(&frame)?;
    let mut record = analysis.record(&frame, analyzer.model(), analyzer.runtime());
    if let Some(path) = mask_path {
        write_mask_of(&path, &analysis, &frame.picture)?;
    }
    if let Some(path) = overlay_path {
        let begin = Instant::now();
        overlay::draw(&mut frame.picture, &analysis.findings.detections, &OverlayOptions::default());
        record.stages_ms.overlay = millis(begin.elapsed());
        record.processing_time_ms = record.stages_ms.total();
        create_folder_of(&path)?;
        write_overlay(&path, &frame.picture)?;
    }
    record.violation = record.processing_time_ms > max_latency_ms;
    Ok(record)
}

fn write_mask_of(path: &Path, analysis: &Analysis, picture: &Picture) -> Result<()> {
    let (width, height) = (picture.width(), picture.height());
    let map = analysis.findings.map.as_ref().ok_or_else(|| Error::Output {
        path: path.to_owned(),
        detail: "the model gives boxes, not masks".to_owned(),
    })?;
    create_folder_of(path)?;
    write_mask(path, width, height, &map.rasterize(width, height))
}

fn create_folder_of(path: &Path) -> Result<()> {
    let folder = crate::sink::output::folder_of(path);
    std::fs::create_dir_all(folder).map_err(Error::write(folder))
}

fn print_json(record: &FrameRecord, context: &Context) -> Result<()> {
    let json = serde_json::to_string(record)
        .map_err(|error| Error::Output { path: "record".into(), detail: error.to_string() })?;
    context.console.print(&json)
}

/// A line per finding, and one for each picture without any.
fn table(records: &[FrameRecord]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["picture", "size", "finding", "score", "x", "y", "width", "height", "area px", "ms"]);
    for column in table.column_iter_mut().skip(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for record in records {
        let size = format!("{}x{}", record.width, record.height);
        let ms = format!("{:.1}", record.processing_time_ms);
        if record.detections.is_empty() {
            let cells = [&record.source, &size, "nothing found", "", "", "", "", "", "", &ms];
            table.add_row(cells);
        }
        for detection in &record.detections {
            let [x, y, width, height] = detection.bbox.map(|value| format!("{value:.0}"));
            let area = detection.area_px.map_or_else(String::new, |area| area.to_string());
            let score = format!("{:.2}", detection.score);
            table.add_row([
                &record.source,
                &size,
                &detection.label,
                &score,
                &x,
                &y,
                &width,
                &height,
                &area,
                &ms,
            ]);
        }
    }
    table.to_string()
}

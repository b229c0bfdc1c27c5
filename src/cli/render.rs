//! `endort render`: a rendered colonoscopy on disk, with its ground truth.

use std::fs;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::{Context, Outcome};
use crate::config::Flags;
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId, Moment, Timestamp};
use crate::sink::Sink;
use crate::sink::output::Output;
use crate::sink::picture::{write_mask, write_overlay};
use crate::sink::video::{VideoOptions, VideoSink};
use crate::source::SourceInfo;
use crate::source::synthetic::{Options, PolypView, Rendered, Renderer, View, parse_rate};

/// Render a colonoscopy that never was, with its ground truth
///
/// Writes NAME.mp4 and NAME.jsonl (for each frame the polyps that are seen: kind, box, outlines, visibility),
/// and with --stills also images/ and masks/ with equal stems, which is what --ground-truth takes. Everything
/// is computed: no patient was filmed. Equal arguments give equal frames.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Folder to write to; made if it is not there
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,

    /// Name of the clip and of its ground truth, without ending [default: `colonoscopy-{HEIGHT}p{FPS}`]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Size of the frames
    #[arg(long, value_name = "WxH", default_value = "1280x720", value_parser = size)]
    pub size: (usize, usize),

    /// Frames per second: a number, or a fraction such as 30000/1001
    #[arg(long, value_name = "FPS", default_value = "30", value_parser = rate)]
    pub fps: (i32, i32),

    /// Length of the clip; 0 renders stills alone
    #[arg(long, value_name = "SECONDS", default_value_t = 12.0, value_parser = seconds)]
    pub duration: f64,

    /// Where on the camera's way the clip begins
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    pub start: f64,

    /// Chooses the colon, its polyps, the camera's way and the noise
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,

    /// Also render N stills with masks, each of another colon; every fourth shows no polyp
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub stills: u16,

    /// Shape of the picture within the frame [default: octagon for the clip, all in turn for stills]
    #[arg(long, value_name = "octagon|circle|full", value_parser = view)]
    pub view: Option<View>,

    /// Leave out the polyps; all else stays as it is
    #[arg(long)]
    pub no_polyps: bool,

    /// Constant quality of the clip's H.264: 0 (lossless) to 51
    #[arg(long, value_name = "CRF", default_value_t = 26, value_parser = clap::value_parser!(u8).range(0..=51))]
    pub crf: u8,

    /// Print one JSON document that says what was written, and nothing else
    #[arg(long)]
    pub json: bool,
}

/// Longest clip, and latest start: an hour.
const MAX_SECONDS: f64 = 3600.0;
/// Frames between two that are tried for a still.
const STILL_STEP: u64 = 37;
/// Frames that are tried for a still.
const STILL_TRIES: u64 = 30;
/// Share of the frame that the polyps of a still should at least cover.
const STILL_SHARE: f64 = 0.008;
/// Pixels of a polyp that is too dim or small to be marked, yet not to be seen: no still shows one.
const DOUBTFUL: usize = 150;

fn size(text: &str) -> std::result::Result<(usize, usize), String> {
    let sides = text.split_once(['x', 'X']).and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| "must be WxH, such as 1280x720".to_owned())
}

fn rate(text: &str) -> std::result::Result<(i32, i32), String> {
    parse_rate(text).ok_or_else(|| "must be a number such as 30, or a fraction such as 30000/1001".to_owned())
}

fn view(text: &str) -> std::result::Result<View, String> {
    View::named(text).ok_or_else(|| "must be octagon, circle or full".to_owned())
}

fn seconds(text: &str) -> std::result::Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=MAX_SECONDS).contains(&value) => Ok(value),
        _ => Err(format!("must be a number of seconds from 0 to {MAX_SECONDS}")),
    }
}

/// One line of the clip's ground truth.
#[derive(Serialize)]
struct Truth<'a> {
    frame_id: u64,
    pts_ms: f64,
    width: usize,
    height: usize,
    polyps: &'a [PolypView],
}

/// What was written.
#[derive(Debug, Default, Serialize)]
struct Written {
    video: Option<PathBuf>,
    ground_truth: Option<PathBuf>,
    frames: u64,
    frames_with_polyps: u64,
    stills: Vec<PathBuf>,
    masks: Vec<PathBuf>,
}

/// Renders what the arguments say.
///
/// # Errors
///
/// An impossible size or rate, and whatever cannot be written. An interrupted run leaves no half-written file.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    // None of them concerns a rendering, but a file that is wrong is told with every command.
    context.settings(&Flags::default())?;
    let (width, height) = args.size;
    let options = Options {
        width,
        height,
        fps: args.fps,
        seed: args.seed,
        polyps: !args.no_polyps,
        view: Some(args.view.unwrap_or(View::Octagon)),
        ..Options::default()
    };
    options.check("render")?;
    fs::create_dir_all(&args.output).map_err(Error::write(&args.output))?;
    let mut written = Written::default();
    if args.duration > 0.0 {
        clip(args, &options, context, &mut written)?;
    }
    if args.stills > 0 {
        stills(args, &options, context, &mut written)?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&written).map_err(|error| Error::write("-")(error.into()))?;
        context.console.print(&text)?;
    } else {
        context.console.note(&format!(
            "{}: {} frames ({} with polyps), {} stills",
            args.output.display(),
            written.frames,
            written.frames_with_polyps,
            written.stills.len()
        ));
    }
    Ok(Outcome::Done)
}

fn clip(args: &Args, options: &Options, context: &Context, written: &mut Written) -> Result<()> {
    let frame_time = options.frame_time();
    let frames = (args.duration / frame_time).round().max(1.0) as u64;
    let first = (args.start / frame_time).round() as u64;
    let fps = f64::from((10.0 / frame_time).round() as u32) / 10.0;
    let name = args.name.clone().unwrap_or_else(|| format!("colonoscopy-{}p{fps}", options.height));
    let (video, truth) = (args.output.join(format!("{name}.mp4")), args.output.join(format!("{name}.jsonl")));
    let info = SourceInfo {
        name: name.clone(),
        width: options.width,
        height: options.height,
        fps: Some(1.0 / frame_time),
        frames: Some(frames),
        duration: None,
        live: false,
        codec: "synthetic".to_owned(),
        ..SourceInfo::default()
    };
    // The slow preset halves the size of a file that is kept and copied; rendering takes longer anyway.
    let coding = VideoOptions { preset: "slow".to_owned(), crf: args.crf, ..VideoOptions::default() };
    let mut sink = VideoSink::create(&video, &info, None, coding)?;
    let mut lines = Output::file(&truth)?;
    let renderer = Renderer::new(options.clone())?;
    let bar = bar(context, frames, "frames");
    let source = name.into();
    for id in 0..frames {
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let Rendered { picture, polyps, .. } = renderer.render(first + id)?;
        let pts = Timestamp { ticks: id as i64, base: (options.fps.1, options.fps.0) };
        let truth = Truth {
            frame_id: id,
            pts_ms: pts.as_ms(),
            width: options.width,
            height: options.height,
            polyps: &polyps,
        };
        lines.write(|writer| {
            serde_json::to_writer(&mut *writer, &truth)?;
            writer.write_all(b"\n")
        })?;
        written.frames_with_polyps += u64::from(polyps.iter().any(|polyp| polyp.noticeable));
        sink.picture(&Frame {
            id: FrameId(id),
            source: std::sync::Arc::clone(&source),
            pts,
            duration: Some(1),
            captured: Moment::default(),
            decode: std::time::Duration::ZERO,
            picture,
        })?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    sink.finish()?;
    lines.finish()?;
    written.frames = frames;
    written.video = Some(video);
    written.ground_truth = Some(truth);
    Ok(())
}

fn stills(args: &Args, options: &Options, context: &Context, written: &mut Written) -> Result<()> {
    let (images, masks) = (args.output.join("images"), args.output.join("masks"));
    for folder in [&images, &masks] {
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
    }
    let views = [View::Octagon, View::Circle, View::Octagon, View::Full];
    let bar = bar(context, u64::from(args.stills), "stills");
    for number in 1..=u64::from(args.stills) {
        if context.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let view = args.view.unwrap_or(views[number as usize / 3 % views.len()]);
        let options = Options {
            seed: args.seed.wrapping_add(number),
            polyps: options.polyps && number % 4 != 0,
            view: Some(view),
            panel: number % 3 != 0,
            ..options.clone()
        };
        let frame = find_still(&Renderer::new(options)?, number)?;
        let stem = format!("still-{number:03}");
        let (image, mask) = (images.join(format!("{stem}.jpg")), masks.join(format!("{stem}.png")));
        write_overlay(&image, &frame.picture)?;
        write_mask(&mask, frame.picture.width(), frame.picture.height(), &frame.mask())?;
        written.stills.push(image);
        written.masks.push(mask);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The first frame that leaves no doubt: its polyps are plain to see, or there are none.
fn find_still(renderer: &Renderer, number: u64) -> Result<Rendered> {
    let options = renderer.options();
    let field = (options.width * options.height) as f64;
    let (mut best, mut best_area) = (None, 0);
    for attempt in 0..STILL_TRIES {
        let frame = renderer.render((number * 11 + attempt) * STILL_STEP)?;
        if !options.polyps {
            return Ok(frame);
        }
        let area: usize = frame.polyps.iter().filter(|p| p.noticeable).map(|p| p.area_px).sum();
        let doubtful = frame.polyps.iter().any(|polyp| !polyp.noticeable && polyp.area_px > DOUBTFUL);
        if !doubtful && area as f64 >= STILL_SHARE * field {
            return Ok(frame);
        }
        if best.is_none() || (!doubtful && area > best_area) {
            (best, best_area) = (Some(frame), area);
        }
    }
    best.map_or_else(|| renderer.render(0), Ok)
}

fn bar(context: &Context, length: u64, what: &'static str) -> ProgressBar {
    let template = "rendering  {wide_bar} {pos}/{len} {msg}  {per_sec}  {eta}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    context.console.progress().add(ProgressBar::new(length).with_style(style).with_message(what))
}

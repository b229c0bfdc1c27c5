//! `endort optimize`: the model that runs best on a box, with proof that it still sees polyps.

mod args;
mod edgetpu;
mod measure;
mod report;
mod target;
mod trtexec;

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::model::{Choice, runtime_options};
use super::{Context, Outcome};
use crate::config::Precision;
use crate::error::{Error, Result};
use crate::graph::passes::int8::Method;
use crate::model::optimization::{
    Calibration, DeviceEngine, Optimization, OptimizationSettings, SourceModel,
};
use crate::model::{Format, Package};
use crate::optimize::calibrate::{MIN_FRAMES, Request};
use crate::optimize::{self, ARTIFACT, Job, Made, Observed, TFLITE};
use crate::{runtime, source};
pub use args::{Args, MethodArg};
use measure::Measured;
use report::Report;
use target::Chosen;
pub use target::TargetArg;

/// Pictures where nobody gives any: rendered, as varied as the renderer can.
const RENDERED: [&str; 6] = [
    "synthetic:640x512@30,seed=11,frames=50,view=octagon",
    "synthetic:640x512@30,seed=12,frames=50,view=circle",
    "synthetic:640x512@30,seed=13,frames=50,view=full",
    "synthetic:640x512@30,seed=14,frames=50,view=octagon",
    "synthetic:640x512@30,seed=15,frames=50,view=circle",
    "synthetic:640x512@30,seed=16,frames=50,view=full",
];

/// Inputs that are kept to compare the networks on.
const COMPARED: usize = 32;

/// The share of layers that `--keep-float auto` keeps.
const AUTO_SHARE: usize = 20;

/// Makes the package, measures it and writes it.
///
/// # Errors
/// Whatever keeps the model from being read, changed, run or written.
pub fn run(args: &Args, context: &Context) -> Result<Outcome> {
    Optimize::new(args, context)?.run()
}

struct Optimize<'a> {
    args: &'a Args,
    context: &'a Context,
    target: optimize::Target,
    precision: Precision,
    /// How both networks are executed for the figures.
    engine: runtime::Options,
    sources: Vec<String>,
    warnings: Vec<String>,
}

impl<'a> Optimize<'a> {
    fn new(args: &'a Args, context: &'a Context) -> Result<Self> {
        let settings = context.settings(&args.flags())?;
        let Chosen { target, precision, runtime } = target::choose(args, &settings, &context.console)?;
        if precision != Precision::Int8 && (!args.keep_float.is_empty() || args.sensitivity) {
            let flag = if args.sensitivity { "--sensitivity" } else { "--keep-float" };
            return Err(setting(flag, precision.as_str(), "is for --precision int8"));
        }
        let mut warnings = vec![];
        let mut sources = args.calibration.clone();
        if sources.is_empty() {
            sources = RENDERED.map(str::to_owned).to_vec();
            if precision == Precision::Int8 {
                warnings.push(
                    "calibrating on rendered pictures; name real ones with --calibration for a model that is to be used"
                        .to_owned(),
                );
            }
        }
        let choice = Choice {
            model: &args.model,
            runtime: &runtime,
            precision: None,
            device: settings.device.value,
            threads: args.threads.map_or(0, NonZeroUsize::get),
            throughput: false,
        };
        let engine = runtime_options(&choice, &settings);
        Ok(Self { args, context, target, precision, engine, sources, warnings })
    }

    fn method(&self) -> Method {
        match self.args.calibration_method {
            MethodArg::MinMax => Method::MinMax,
            MethodArg::Percentile => Method::Percentile((100.0 - self.args.percentile) / 200.0),
            MethodArg::Mse => Method::Mse,
        }
    }

    fn job(&self) -> Job<'_> {
        Job {
            target: self.target,
            precision: self.precision,
            pictures: Request {
                sources: &self.sources,
                frames: self.args.calibration_frames.get(),
                method: self.method(),
                keep: COMPARED,
                threads: self.threads(),
            },
            // What the ground truth shows is what the network must see, and where layers must not hurt.
            compare: self.args.ground_truth.as_ref().map(|t| t.join("images").display().to_string()),
            bias_correction: !self.args.no_bias_correction,
            keep_float: self.args.keep_float.iter().filter(|l| *l != "auto").cloned().collect(),
        }
    }

    fn threads(&self) -> usize {
        self.args.threads.map_or(0, NonZeroUsize::get)
    }

    fn place(&self, package: &Package) -> PathBuf {
        self.args.output.clone().unwrap_or_else(|| {
            // A name of somebody else's package decides on no folder but this one.
            let plain = |c: char| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '-' };
            let name: String = package.manifest.name.chars().map(plain).collect();
            let name = name.trim_start_matches(['.', '-']);
            PathBuf::from(format!("{name}-{}-{}", self.target.as_str(), self.precision.as_str()))
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let original = Package::open(&self.args.model)?;
        if original.artifact.format == Format::Tflite && original.graph.nodes.is_empty() {
            let detail =
                "is a TFLite file, which is a finished product; optimize takes the ONNX file it was made of";
            return Err(Error::Model { model: self.args.model.clone(), detail: detail.to_owned() });
        }
        let package = self.resized(&original)?;
        if package.manifest.optimization.is_some() {
            return Err(Error::Model {
                model: self.args.model.clone(),
                detail: "was made by endort optimize: start from the original".to_owned(),
            });
        }
        let place = self.place(&package);
        optimize::package::check_place(&place)?;
        let observed = self.observe(&package)?;
        let mut job = self.job();
        let mut layers = None;
        if self.args.keep_float.iter().any(|l| l == "auto") || self.args.sensitivity {
            let ranked = self.sensitivity(&package, &observed, &job)?;
            if self.args.keep_float.iter().any(|l| l == "auto") {
                let count = ranked.len().div_ceil(AUTO_SHARE);
                job.keep_float.extend(ranked.iter().take(count).map(|l| l.layer.clone()));
            }
            layers = Some(ranked);
        }
        let keep_float = job.keep_float.clone();
        let made = optimize::make(&package, &observed, &job)?;
        drop(job);
        if made.half_weights.1 > 0 {
            let many = made.half_weights.1;
            self.warnings
                .push(format!("{many} weight tensor(s) exceed half precision's range and stay 32-bit"));
        }
        let measured = Measured::new(&self, &original, &package, &made, &observed)?;
        if let (Some(folder), None) = (&self.args.ground_truth, measured.dice_drop()) {
            let detail = "show no polyp (a value above 127), so that no loss of Dice can be measured";
            return Err(Error::GroundTruth { path: folder.join("masks"), detail: detail.to_owned() });
        }
        let missed = measured.dice_drop().is_some_and(|drop| drop > self.args.max_dice_drop);
        if missed && self.precision == Precision::Int8 && layers.is_none() {
            layers = Some(self.sensitivity(&package, &observed, &self.job())?);
        }
        let mut report = Report::new(&self, &original, &made, &observed, &measured, layers);
        if missed {
            self.publish(&report, None)?;
            return Ok(Outcome::Missed);
        }
        self.write(&place, &package, made, &observed, &keep_float, &mut report)?;
        self.publish(&report, Some(&place))?;
        Ok(Outcome::Done)
    }

    /// The model with the input size that is asked for.
    fn resized(&self, original: &Package) -> Result<Package> {
        let input = &original.manifest.input;
        match self.args.input_size {
            Some([width, height]) if [width, height] != [input.width, input.height] => {
                Package::open_at(&self.args.model, Some([height, width]))
                    .map_err(|e| explain_size(e, self.args))
            }
            _ => Ok(original.clone()),
        }
    }

    fn observe(&mut self, package: &Package) -> Result<Observed> {
        let job = self.job();
        let frames = if self.precision == Precision::Int8 { job.pictures.frames } else { COMPARED };
        let bar = self.bar(frames as u64, "pictures");
        let observed = optimize::observe(package, &job, &self.context.cancel, &mut || bar.inc(1));
        bar.finish_and_clear();
        let observed = observed?;
        let seen = observed.calibrated.frames;
        if self.precision == Precision::Int8 && seen < MIN_FRAMES {
            self.warnings.push(format!(
                "calibrated on {seen} frames; at least {MIN_FRAMES} show what the network will meet"
            ));
        }
        Ok(observed)
    }

    fn sensitivity(
        &self,
        package: &Package,
        observed: &Observed,
        job: &Job<'_>,
    ) -> Result<Vec<optimize::sensitivity::LayerError>> {
        let bar = self.bar(0, "layers");
        let ranked = optimize::sensitivity::sensitivity(
            &observed.graph,
            &package.manifest,
            &observed.calibrated,
            &job.int8(),
            self.threads(),
            &self.context.cancel,
            &mut |at, of| {
                bar.set_length(of as u64);
                bar.set_position(at as u64);
            },
        );
        bar.finish_and_clear();
        ranked
    }

    /// Fills in what the manifest records, builds the device's engine where that is possible, and writes all.
    fn write(
        &self,
        place: &Path,
        package: &Package,
        made: Made,
        observed: &Observed,
        keep_float: &HashSet<String>,
        report: &mut Report,
    ) -> Result<()> {
        let mut files = vec![(ARTIFACT.to_owned(), made.package.artifact.bytes)];
        let tflite = made.tflite.map(|bytes| {
            files.push((TFLITE.to_owned(), bytes));
            TFLITE.to_owned()
        });
        if self.target == optimize::Target::Coral && tflite.is_some() {
            report.warnings.extend(report.tflite.as_ref().and_then(edgetpu::broken));
            let (warnings, compiled) = edgetpu::finish(&files[1].1, &self.context.cancel)?;
            report.warnings.extend(warnings);
            report.compiled(compiled.as_ref().and_then(|c| c.operators));
            files.extend(compiled.map(|c| (optimize::edge_tpu::COMPILED.to_owned(), c.bytes)));
        }
        let mut engine = None;
        if self.target == optimize::Target::Jetson {
            match trtexec::find() {
                Some(builder) => {
                    let built = self.engine(&builder, &files[0].1, &made.package.sha256)?;
                    report.engine(&builder, &built);
                    files.push((trtexec::ENGINE.to_owned(), built.bytes));
                    engine = Some(DeviceEngine {
                        file: trtexec::ENGINE.to_owned(),
                        device: builder.device,
                        driver: builder.driver,
                    });
                }
                None => report.warnings.push(
                    "trtexec is not on the PATH: the engine is built when the model is first loaded on the Jetson"
                        .to_owned(),
                ),
            }
        }
        let int8 = self.precision == Precision::Int8;
        let mut kept: Vec<String> = keep_float.iter().cloned().collect();
        kept.sort();
        let mut manifest = made.package.manifest;
        manifest.optimization = Some(Optimization {
            endort: env!("CARGO_PKG_VERSION").to_owned(),
            target: self.target.as_str().to_owned(),
            precision: self.precision.as_str().to_owned(),
            source: SourceModel::of(&self.args.model, &package.sha256),
            settings: OptimizationSettings {
                input_size: [manifest.input.width, manifest.input.height],
                scheme: int8.then(|| format!("{:?}", optimize::scheme(self.target)).to_lowercase()),
                method: int8.then(|| optimize::method_name(self.method()).to_owned()),
                percentile: (int8 && self.args.calibration_method == MethodArg::Percentile)
                    .then_some(self.args.percentile),
                bias_correction: int8 && !self.args.no_bias_correction,
                keep_float: kept,
            },
            calibration: int8.then(|| Calibration {
                // A package is for everyone; an address may hold a password.
                sources: self.sources.iter().map(|source| source::redact::redact(source)).collect(),
                frames: observed.calibrated.frames,
                sha256: observed.calibrated.sha256.clone(),
            }),
            tflite,
            engine,
            results: serde_json::to_value(&*report).unwrap_or_default(),
        });
        optimize::package::write(place, &mut manifest, &files)
    }

    fn engine(
        &self,
        builder: &optimize::engine::Builder,
        artifact: &[u8],
        sha256: &str,
    ) -> Result<optimize::engine::Built> {
        let bar = self.bar(0, "trtexec");
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        let built = builder.build(artifact, sha256, self.precision, &self.context.cancel, &mut |line| {
            bar.set_message(format!("trtexec: {}", line.trim()));
            self.context.console.detail(&format!("trtexec: {line}"));
        });
        bar.finish_and_clear();
        built
    }

    fn publish(&self, report: &Report, place: Option<&Path>) -> Result<()> {
        let console = &self.context.console;
        for warning in &report.warnings {
            console.note(&format!("warning: {warning}"));
        }
        if self.args.json {
            let mut json = serde_json::to_value(report)
                .map_err(|e| Error::Output { path: "report".into(), detail: e.to_string() })?;
            json["package"] = place.map(|p| p.display().to_string()).into();
            return console.print(&format!("{json:#}"));
        }
        console.print(&report.table(console.color()))?;
        match place {
            Some(place) => {
                let place = place.display();
                console
                    .print(&format!("\nwritten to {place}\nnext: endort bench --model {place} --runtime all"))
            }
            None => {
                let other = match self.precision {
                    Precision::Int8 => "keep the layers that hurt most with --keep-float",
                    _ => "try another --precision or --input-size",
                };
                console.print(&format!("\nnothing written: {other}, or allow more with --max-dice-drop"))
            }
        }
    }

    fn bar(&self, length: u64, what: &'static str) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg}  {wide_bar} {pos}/{len}  {eta}");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
        self.context.console.progress().add(ProgressBar::new(length).with_style(style).with_message(what))
    }
}

fn setting(key: &str, value: &str, allowed: &str) -> Error {
    Error::Setting {
        origin: "command line".to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
        allowed: allowed.to_owned(),
    }
}

/// What a model says that does not fit another input size, with the way out.
fn explain_size(error: Error, args: &Args) -> Error {
    match (error, args.input_size) {
        (Error::Model { model, detail }, Some([w, h])) => {
            let detail =
                format!("cannot take {w}x{h}: {detail} (try multiples of 32, or export it at that size)");
            Error::Model { model, detail }
        }
        (error, _) => error,
    }
}

//! The AI lane's work on one frame: field of view, preprocess, network, findings, tracking.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::model::Manifest;
use crate::record::{FrameRecord, StagesMs, millis};
use crate::runtime::{Engine, Maker};
use crate::vision::fov::FieldOfView;
use crate::vision::postprocess::Postprocessor;
use crate::vision::preprocess::Preprocessor;
use crate::vision::track::{TrackOptions, Tracker};
use crate::vision::{Crop, Findings};

/// What was found in a frame, and the time it took.
#[derive(Debug, Clone, Default)]
pub struct Analysis {
    /// The findings.
    pub findings: Findings,
    /// From decoded planes to the network's input, the search for the field of view included.
    pub preprocess: Duration,
    /// The network.
    pub inference: Duration,
    /// From the network's output to findings, tracking included.
    pub postprocess: Duration,
}

impl Analysis {
    /// The frame's record, with the time in queues and for drawing left at zero.
    pub fn record(&self, frame: &Frame, model: &str, runtime: &str) -> FrameRecord {
        let stages_ms = StagesMs {
            decode: millis(frame.decode),
            queue_wait: 0.0,
            preprocess: millis(self.preprocess),
            inference: millis(self.inference),
            postprocess: millis(self.postprocess),
            overlay: 0.0,
        };
        FrameRecord {
            frame_id: frame.id.0,
            source: frame.source.to_string(),
            pts_ms: (frame.pts.as_ms() * 1e3).round() / 1e3,
            width: frame.picture.width(),
            height: frame.picture.height(),
            model: model.to_owned(),
            runtime: runtime.to_owned(),
            detections: self.findings.detections.clone(),
            processing_time_ms: stages_ms.total(),
            stages_ms,
            violation: false,
        }
    }
}

/// Finds things in frames. The pipeline's AI lane runs one; tests script their own.
pub trait Analyzer: Send {
    /// The model's name, as records show it.
    fn model(&self) -> &str;

    /// The runtime's name, as records show it.
    fn runtime(&self) -> &str;

    /// The vendor library's version, where one executes the model.
    fn runtime_version(&self) -> Option<&str> {
        None
    }

    /// Analyses one frame.
    fn analyze(&mut self, frame: &Frame) -> Result<Analysis>;

    /// The parts of [`analyze`](Self::analyze), where several frames can be under way at once.
    fn parts(&mut self) -> Option<Parts<'_>> {
        None
    }
}

/// What an analysis consists of. Frames pass `locator` and `follower` in their order; between the two each
/// goes to any one of the `predictors`.
pub struct Parts<'a> {
    pub(super) locator: &'a mut Locator,
    pub(super) predictors: &'a mut [Predictor],
    pub(super) follower: &'a mut Follower,
}

/// How pictures are read.
#[derive(Debug, Clone, Default)]
pub struct ProcessorOptions {
    /// Frames follow each other in time: the field of view is kept stable and findings are tracked.
    pub video: bool,
    /// Show the network the whole frame instead of the field of view.
    pub whole_frame: bool,
    /// How findings are followed over time.
    pub tracker: TrackOptions,
}

/// Finds the part of each frame that the network is shown.
pub(super) struct Locator {
    options: ProcessorOptions,
    field_of_view: FieldOfView,
}

impl Locator {
    pub(super) fn locate(&mut self, frame: &Frame) -> Crop {
        let picture = &frame.picture;
        if self.options.whole_frame {
            Crop::whole(picture.width(), picture.height())
        } else if self.options.video {
            self.field_of_view.update(picture)
        } else {
            FieldOfView::still(picture)
        }
    }
}

/// From a frame and its crop to findings. Keeps nothing from one frame to the next but its buffers.
pub(super) struct Predictor {
    engine: Box<dyn Engine>,
    preprocessor: Preprocessor,
    postprocessor: Postprocessor,
}

impl Predictor {
    pub(super) fn predict(&mut self, frame: &Frame, crop: Crop) -> Result<Analysis> {
        let begin = Instant::now();
        let geometry = self.preprocessor.run(&frame.picture, crop, self.engine.input())?;
        let preprocessed = Instant::now();
        let outputs = self.engine.run()?;
        let inferred = Instant::now();
        let (width, height) = (frame.picture.width(), frame.picture.height());
        let findings = self.postprocessor.run(outputs, &geometry, width, height)?;
        Ok(Analysis {
            findings,
            preprocess: preprocessed - begin,
            inference: inferred - preprocessed,
            postprocess: inferred.elapsed(),
        })
    }
}

/// Recognises findings from one frame to the next.
pub(super) struct Follower {
    options: ProcessorOptions,
    tracker: Tracker,
    last_pts_ms: Option<f64>,
}

impl Follower {
    pub(super) fn follow(&mut self, frame: &Frame, findings: &mut Findings) {
        if !self.options.video {
            return;
        }
        let pts_ms = frame.pts.as_ms();
        let step = self.last_pts_ms.map_or(0.0, |last| (pts_ms - last).max(0.0));
        self.last_pts_ms = Some(pts_ms);
        self.tracker.update(&mut findings.detections, Duration::from_secs_f64(step / 1e3));
    }
}

/// A model on a runtime, with everything around it: a frame goes in, findings come out.
///
/// Buffers are allocated once and stay. [`analyze`](Analyzer::analyze) takes one frame at a time; a run that
/// waits for every frame keeps as many under way as there are engines.
pub struct FrameProcessor {
    manifest: Manifest,
    locator: Locator,
    predictors: Vec<Predictor>,
    follower: Follower,
}

impl FrameProcessor {
    /// A processor for `manifest`'s model, executed by `engine`.
    ///
    /// # Errors
    /// If the manifest describes outputs that cannot be read together.
    pub fn new(manifest: Manifest, engine: Box<dyn Engine>, options: ProcessorOptions) -> Result<Self> {
        Self::with_engines(manifest, vec![engine], options)
    }

    /// A processor whose `engines` all execute `manifest`'s model, each on frames of its own.
    ///
    /// # Errors
    /// If the manifest describes outputs that cannot be read together, or there is no engine.
    pub fn with_engines(
        manifest: Manifest,
        engines: Vec<Box<dyn Engine>>,
        options: ProcessorOptions,
    ) -> Result<Self> {
        if engines.is_empty() {
            let detail = "a processor needs at least one engine".to_owned();
            return Err(Error::Runtime { runtime: "none".to_owned(), detail });
        }
        let predictor = |engine| {
            Ok(Predictor {
                engine,
                preprocessor: Preprocessor::new(&manifest.input)?,
                postprocessor: Postprocessor::new(&manifest)?,
            })
        };
        Ok(Self {
            predictors: engines.into_iter().map(predictor).collect::<Result<_>>()?,
            locator: Locator { field_of_view: FieldOfView::new(), options: options.clone() },
            follower: Follower { tracker: Tracker::new(options.tracker.clone()), last_pts_ms: None, options },
            manifest,
        })
    }

    /// The model's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Makes further engines for the same network, where its runtime shares it.
    pub fn maker(&self) -> Option<Maker> {
        self.predictors.first()?.engine.maker()
    }

    /// Forgets the frames so far: the next one begins another recording.
    pub fn reset(&mut self) {
        self.locator.field_of_view = FieldOfView::new();
        self.follower.tracker = Tracker::new(self.follower.options.tracker.clone());
        self.follower.last_pts_ms = None;
    }
}

impl Analyzer for FrameProcessor {
    fn model(&self) -> &str {
        &self.manifest.name
    }

    fn runtime(&self) -> &str {
        self.predictors[0].engine.runtime()
    }

    fn runtime_version(&self) -> Option<&str> {
        self.predictors[0].engine.version()
    }

    fn analyze(&mut self, frame: &Frame) -> Result<Analysis> {
        let begin = Instant::now();
        let crop = self.locator.locate(frame);
        let located = begin.elapsed();
        let mut analysis = self.predictors[0].predict(frame, crop)?;
        analysis.preprocess += located;
        let predicted = Instant::now();
        self.follower.follow(frame, &mut analysis.findings);
        analysis.postprocess += predicted.elapsed();
        Ok(analysis)
    }

    fn parts(&mut self) -> Option<Parts<'_>> {
        let Self { locator, predictors, follower, .. } = self;
        (predictors.len() > 1).then_some(Parts { locator, predictors, follower })
    }
}

/// Finds nothing, at no cost: the model `none`.
#[derive(Debug, Clone, Copy, Default)]
pub struct PassThrough;

impl Analyzer for PassThrough {
    fn model(&self) -> &str {
        "none"
    }

    fn runtime(&self) -> &str {
        "none"
    }

    fn analyze(&mut self, _frame: &Frame) -> Result<Analysis> {
        Ok(Analysis::default())
    }
}

//! From a network's outputs to findings in source pixels.
//!
//! The manifest says how each output is read ([`OutputKind`]): a mask head goes through threshold, components
//! and outlines; box heads through decoding and non-maximum suppression. A frame score, where a model has one,
//! gates either. Values that are not finite are an error, never a finding.

mod boxes;
mod contour;
mod mask;

use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::model::Manifest;
use crate::model::manifest::{Activation, OutputKind, OutputSpec, Thresholds};
use crate::runtime::HostTensor;
use crate::vision::{Findings, Geometry};

/// Most findings reported for one frame; the best scores are kept.
pub const MAX_FINDINGS: usize = 100;

/// Most cells of one output that are read (a mask of 4096 × 4096, or the anchors of a very large detector).
pub const MAX_OUTPUT_VALUES: usize = 1 << 24;

/// Which outputs belong together, and what they are.
#[derive(Debug, Clone)]
enum Head {
    Mask(OutputSpec),
    Yolo { spec: OutputSpec, objectness: bool },
    Ssd { boxes: OutputSpec, scores: OutputSpec },
}

/// Reads one model's outputs.
#[derive(Debug)]
pub struct Postprocessor {
    model: String,
    labels: Vec<String>,
    thresholds: Thresholds,
    head: Head,
    frame_score: Option<OutputSpec>,
    scratch: mask::Scratch,
}

impl Postprocessor {
    /// A postprocessor for the model that `manifest` describes.
    ///
    /// # Errors
    /// [`Error::Model`] if the outputs are not exactly one head (a mask, YOLO boxes, or SSD boxes with their
    /// scores) and at most one frame score, if there are no labels, or if a threshold is out of range.
    pub fn new(manifest: &Manifest) -> Result<Self> {
        let wrong = |detail: String| Error::Model { model: manifest.name.clone(), detail };
        let of_kind = |kind: OutputKind| -> Result<Option<OutputSpec>> {
            let mut found = manifest.outputs.iter().filter(|spec| spec.kind == kind);
            let first = found.next().cloned();
            match found.next() {
                Some(second) => Err(wrong(format!("output {}: a second output of its kind", second.name))),
                None => Ok(first),
            }
        };
        let mask = of_kind(OutputKind::Mask)?.map(Head::Mask);
        let yolo = of_kind(OutputKind::Yolo)?.map(|spec| Head::Yolo { spec, objectness: false });
        let yolo_objectness =
            of_kind(OutputKind::YoloObjectness)?.map(|spec| Head::Yolo { spec, objectness: true });
        let ssd = match (of_kind(OutputKind::SsdBoxes)?, of_kind(OutputKind::SsdScores)?) {
            (Some(boxes), Some(scores)) => Some(Head::Ssd { boxes, scores }),
            (None, None) => None,
            _ => return Err(wrong("ssd_boxes and ssd_scores need each other".to_owned())),
        };
        let mut heads = [mask, yolo, yolo_objectness, ssd].into_iter().flatten();
        let (Some(head), None) = (heads.next(), heads.next()) else {
            return Err(wrong("outputs need exactly one mask, yolo, yolo_objectness or ssd head".to_owned()));
        };
        if manifest.labels.is_empty() {
            return Err(wrong("labels is empty".to_owned()));
        }
        let t = &manifest.thresholds;
        let shares = [
            ("mask", t.mask),
            ("frame", t.frame),
            ("score", t.score),
            ("nms_iou", t.nms_iou),
            ("min_area", t.min_area),
        ];
        if let Some((name, value)) = shares.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            return Err(wrong(format!("thresholds.{name} = {value} is not within 0..=1")));
        }
        Ok(Self {
            model: manifest.name.clone(),
            labels: manifest.labels.clone(),
            thresholds: manifest.thresholds.clone(),
            head,
            frame_score: of_kind(OutputKind::FrameScore)?,
            scratch: mask::Scratch::default(),
        })
    }

    /// Findings of one frame of `width` × `height` source pixels, fitted into the network by `geometry`.
    ///
    /// # Errors
    /// [`Error::Model`] if an output is missing, has another shape than its kind asks for, or holds a value
    /// that is not finite; [`Error::TooLarge`] above [`MAX_OUTPUT_VALUES`].
    pub fn run(
        &mut self,
        outputs: &[HostTensor],
        geometry: &Geometry,
        width: usize,
        height: usize,
    ) -> Result<Findings> {
        let open = match &self.frame_score {
            None => true,
            Some(spec) => {
                let tensor = self.tensor(outputs, &spec.name)?;
                let &[value] = tensor.data.as_slice() else {
                    return Err(self.shape_error(tensor, "[1, 1]"));
                };
                probability(spec.activation, value) >= self.thresholds.frame
            }
        };
        let mut findings = match &self.head {
            Head::Mask(spec) => {
                let tensor = self.tensor(outputs, &spec.name)?;
                let labels = self.labels.len();
                let mut data = Cow::Borrowed(&tensor.data);
                let shape = match *tensor.shape.as_slice() {
                    [1, classes, h, w] if classes == labels && h > 0 && w > 0 => (w, h),
                    [1, h, w] if labels == 1 && h > 0 && w > 0 => (w, h),
                    // Channels last, as TensorFlow has them.
                    [1, h, w, classes] if classes == labels && h > 0 && w > 0 => {
                        if classes > 1 {
                            let plane = |k: usize| tensor.data.iter().skip(k).step_by(classes).copied();
                            data = Cow::Owned((0..classes).flat_map(plane).collect());
                        }
                        (w, h)
                    }
                    _ => return Err(self.shape_error(tensor, &format!("[1, {labels}, h, w]"))),
                };
                let reading = mask::Reading {
                    labels: &self.labels,
                    thresholds: &self.thresholds,
                    activation: spec.activation,
                    geometry,
                    open,
                };
                reading.findings(shape, &data, (width, height), &mut self.scratch)
            }
            Head::Yolo { spec, objectness } => {
                let tensor = self.tensor(outputs, &spec.name)?;
                let fields = 4 + usize::from(*objectness) + self.labels.len();
                let anchors = boxes::Anchors::new(tensor, fields, *objectness).ok_or_else(|| {
                    self.shape_error(tensor, &format!("[1, {fields}, n] or [1, n, {fields}]"))
                })?;
                self.box_findings(anchors.candidates(spec.activation, &self.thresholds, geometry))
            }
            Head::Ssd { boxes, scores } => {
                let corners = self.tensor(outputs, &boxes.name)?;
                let tensor = self.tensor(outputs, &scores.name)?;
                let ssd = boxes::Ssd::new(corners, tensor, self.labels.len()).ok_or_else(|| {
                    self.shape_error(
                        tensor,
                        &format!("[1, n, {}], n as in {}", self.labels.len(), boxes.name),
                    )
                })?;
                self.box_findings(ssd.candidates(scores.activation, &self.thresholds, geometry))
            }
        };
        if !open {
            findings.detections.clear();
        }
        Ok(findings)
    }

    fn box_findings(&self, candidates: Vec<boxes::Candidate>) -> Findings {
        let kept = boxes::suppress(candidates, self.thresholds.nms_iou);
        let detections = kept.into_iter().map(|kept| kept.detection(&self.labels)).collect();
        Findings { detections, map: None }
    }

    /// The output of that name, if it is whole and finite.
    fn tensor<'a>(&self, outputs: &'a [HostTensor], name: &str) -> Result<&'a HostTensor> {
        let wrong = |detail: String| Error::Model { model: self.model.clone(), detail };
        let tensor = outputs
            .iter()
            .find(|tensor| tensor.name == name)
            .ok_or_else(|| wrong(format!("the network has no output {name}")))?;
        if tensor.data.len() > MAX_OUTPUT_VALUES {
            return Err(Error::TooLarge {
                what: format!("output {name}"),
                found: format!("{} values", tensor.data.len()),
                limit: format!("{MAX_OUTPUT_VALUES} values"),
            });
        }
        let values = tensor.shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent));
        if values != Some(tensor.data.len()) {
            return Err(self.shape_error(tensor, "as many values as its shape says"));
        }
        match all_finite(&tensor.data) {
            true => Ok(tensor),
            false => Err(wrong(format!("output {name} holds values that are not finite (NaN or infinity)"))),
        }
    }

    fn shape_error(&self, tensor: &HostTensor, expected: &str) -> Error {
        Error::Model {
            model: self.model.clone(),
            detail: format!(
                "output {} has shape {:?} ({} values), expected {expected}",
                tensor.name,
                tensor.shape,
                tensor.data.len()
            ),
        }
    }
}

/// Whether no value is NaN or infinite. Bits are tested rather than values, so that the loop vectorises.
fn all_finite(values: &[f32]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    !values.iter().fold(false, |bad, value| bad | (value.to_bits() & EXPONENT == EXPONENT))
}

/// A probability from an output's value.
fn probability(activation: Activation, value: f32) -> f32 {
    match activation {
        Activation::Logits => 1.0 / (1.0 + (-value).exp()),
        Activation::Probabilities => value.clamp(0.0, 1.0),
    }
}

#[cfg(test)]
mod tests;

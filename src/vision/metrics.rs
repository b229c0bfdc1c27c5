//! Accuracy against ground truth: Dice, IoU, sensitivity and false-positive frames.
//!
//! Definitions, as reports state them:
//! - *Dice* and *IoU* are computed per frame, at the source's resolution, from the mask of everything reported,
//!   and averaged over the frames whose ground truth shows a polyp. A frame with a polyp and no finding counts
//!   as 0. Models that give boxes alone are measured by their boxes as masks.
//! - A finding is a *hit* if it overlaps the ground truth by at least one pixel.
//! - *Sensitivity* is the share of frames with a polyp in which at least one finding is a hit.
//! - *False-positive frames* is the share of all frames in which at least one finding is not a hit.
//! - *False positives on negatives* is the share of frames without a polyp in which anything is found: what a
//!   false-alarm rate means where most of an examination shows no polyp.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::record::Detection;
use crate::vision::Findings;
use crate::vision::polygon;

/// Largest value of a mask's pixel that does not belong to it: a mask is black and white, and noise is neither.
pub const MASK_BOUND: u8 = 127;

/// Pixels that prediction and ground truth share, and those that one of them has alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overlap {
    /// In both.
    pub both: u64,
    /// In the prediction alone.
    pub predicted: u64,
    /// In the ground truth alone.
    pub truth: u64,
}

impl Overlap {
    /// Counts two masks of equal length; any value above [`MASK_BOUND`] belongs to a mask.
    pub fn count(prediction: &[u8], truth: &[u8]) -> Self {
        // Sums per chunk in 32 bits, so that the loop vectorises.
        const CHUNK: usize = 1 << 16;
        let mut overlap = Self::default();
        for (p, t) in prediction.chunks(CHUNK).zip(truth.chunks(CHUNK)) {
            let (mut both, mut predicted, mut truth) = (0u32, 0u32, 0u32);
            for (&p, &t) in p.iter().zip(t) {
                let (p, t) = (u32::from(p > MASK_BOUND), u32::from(t > MASK_BOUND));
                both += p & t;
                predicted += p & !t;
                truth += t & !p;
            }
            overlap.both += u64::from(both);
            overlap.predicted += u64::from(predicted);
            overlap.truth += u64::from(truth);
        }
        overlap
    }

    /// Dice's coefficient, 2|A∩B| / (|A| + |B|); 1 if both are empty.
    pub fn dice(self) -> f64 {
        let sum = 2 * self.both + self.predicted + self.truth;
        if sum == 0 { 1.0 } else { 2.0 * self.both as f64 / sum as f64 }
    }

    /// Intersection over union (Jaccard's index); 1 if both are empty.
    pub fn iou(self) -> f64 {
        let union = self.both + self.predicted + self.truth;
        if union == 0 { 1.0 } else { self.both as f64 / union as f64 }
    }
}

/// Sums over frames; [`Accuracy::summary`] gives the report's figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accuracy {
    frames: usize,
    positives: usize,
    dice: f64,
    iou: f64,
    hit_frames: usize,
    false_positive_frames: usize,
    false_positive_negatives: usize,
}

/// A report's accuracy figures; the module says how each is defined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AccuracySummary {
    /// Frames that were measured.
    pub images: usize,
    /// Frames whose ground truth shows a polyp; Dice, IoU and sensitivity are over these.
    pub positive_images: usize,
    /// Frames whose ground truth shows no polyp.
    #[serde(default)]
    pub negative_images: usize,
    /// Mean Dice; absent without frames that show a polyp.
    pub dice: Option<f64>,
    /// Mean IoU; absent without frames that show a polyp.
    pub iou: Option<f64>,
    /// Share of frames with a polyp in which a finding hits it; absent without such frames.
    pub sensitivity: Option<f64>,
    /// Share of all frames with a finding that hits nothing; absent without frames.
    pub false_positive_frames: Option<f64>,
    /// Share of frames without a polyp in which anything is found; absent without such frames.
    #[serde(default)]
    pub false_positive_negatives: Option<f64>,
}

impl Accuracy {
    /// Nothing measured.
    pub fn new() -> Self {
        Self::default()
    }

    /// Measures one frame of `width` × `height` pixels against its ground-truth mask (above [`MASK_BOUND`]: polyp).
    ///
    /// # Errors
    /// [`Error::Media`] if the mask has another size than the frame.
    pub fn add(&mut self, findings: &Findings, truth: &[u8], width: usize, height: usize) -> Result<()> {
        if truth.len() != width * height {
            return Err(Error::Media {
                source_name: "ground truth".to_owned(),
                detail: format!("the mask has {} pixels, the frame {width} x {height}", truth.len()),
            });
        }
        let prediction = match &findings.map {
            Some(map) => map.rasterize(width, height),
            None => boxes_as_mask(&findings.detections, width, height),
        };
        let overlap = Overlap::count(&prediction, truth);
        let hit = |detection: &Detection| touches(detection, truth, width, height);
        self.frames += 1;
        self.false_positive_frames += usize::from(findings.detections.iter().any(|d| !hit(d)));
        if overlap.both + overlap.truth > 0 {
            self.positives += 1;
            self.dice += overlap.dice();
            self.iou += overlap.iou();
            self.hit_frames += usize::from(findings.detections.iter().any(hit));
        } else {
            self.false_positive_negatives += usize::from(!findings.detections.is_empty());
        }
        Ok(())
    }

    /// The figures so far.
    pub fn summary(&self) -> AccuracySummary {
        let share = |sum: f64, count: usize| (count > 0).then(|| sum / count as f64);
        let negatives = self.frames - self.positives;
        AccuracySummary {
            images: self.frames,
            positive_images: self.positives,
            negative_images: negatives,
            dice: share(self.dice, self.positives),
            iou: share(self.iou, self.positives),
            sensitivity: share(self.hit_frames as f64, self.positives),
            false_positive_frames: share(self.false_positive_frames as f64, self.frames),
            false_positive_negatives: share(self.false_positive_negatives as f64, negatives),
        }
    }
}

/// A finding's outline: its polygon, or its box.
fn outline(detection: &Detection) -> Vec<[f32; 2]> {
    let [x, y, w, h] = detection.bbox;
    match &detection.polygon {
        Some(polygon) => polygon.clone(),
        None => vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]],
    }
}

fn touches(detection: &Detection, truth: &[u8], width: usize, height: usize) -> bool {
    let mut hit = false;
    polygon::fill(&outline(detection), width, height, |y, columns| {
        hit |= truth[y * width..][columns].iter().any(|&value| value > MASK_BOUND);
    });
    hit
}

fn boxes_as_mask(detections: &[Detection], width: usize, height: usize) -> Vec<u8> {
    let mut mask = vec![0; width * height];
    for detection in detections {
        polygon::fill(&outline(detection), width, height, |y, columns| mask[y * width..][columns].fill(255));
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxed(bbox: [f32; 4]) -> Detection {
        Detection {
            label: "polyp".to_owned(),
            score: 0.9,
            bbox,
            area_px: None,
            polygon: None,
            track_id: None,
        }
    }

    fn findings(boxes: &[[f32; 4]]) -> Findings {
        Findings { detections: boxes.iter().copied().map(boxed).collect(), map: None }
    }

    /// Ten by ten pixels with the columns of one block set.
    fn truth(columns: std::ops::Range<usize>, rows: std::ops::Range<usize>) -> Vec<u8> {
        (0..100)
            .map(|i| if columns.contains(&(i % 10)) && rows.contains(&(i / 10)) { 255 } else { 0 })
            .collect()
    }

    #[test]
    fn overlap_counts_agree_with_the_definitions() {
        let overlap = Overlap::count(&[255, 255, 255, 0, 0, 128], &[255, 0, 255, 255, 0, 127]);
        assert_eq!(overlap, Overlap { both: 2, predicted: 2, truth: 1 });
        assert!((overlap.dice() - 4.0 / 7.0).abs() < 1e-12);
        assert!((overlap.iou() - 2.0 / 5.0).abs() < 1e-12);
        assert_eq!((Overlap::default().dice(), Overlap::default().iou()), (1.0, 1.0));
        let long = vec![255; 200_000];
        assert_eq!(Overlap::count(&long, &long).both, 200_000);
    }

    #[test]
    fn figures_follow_from_hits_misses_and_false_alarms() {
        let mut accuracy = Accuracy::new();
        // Found exactly; found by half, with a false alarm beside; missed; clean; a false alarm alone.
        let block = truth(2..6, 2..6);
        let frames: [(&[[f32; 4]], &[u8]); 5] = [
            (&[[2.0, 2.0, 4.0, 4.0]], &block),
            (&[[2.0, 2.0, 2.0, 4.0], [8.0, 8.0, 2.0, 2.0]], &block),
            (&[], &block),
            (&[], &[0; 100]),
            (&[[0.0, 0.0, 3.0, 3.0]], &[0; 100]),
        ];
        for (boxes, truth) in frames {
            accuracy.add(&findings(boxes), truth, 10, 10).unwrap();
        }
        let summary = accuracy.summary();
        assert_eq!((summary.images, summary.positive_images, summary.negative_images), (5, 3, 2));
        // Second frame: 8 of 12 predicted pixels hit, of 16.
        let expected = [
            (summary.dice, (1.0 + 16.0 / 28.0) / 3.0),
            (summary.iou, (1.0 + 8.0 / 20.0) / 3.0),
            (summary.sensitivity, 2.0 / 3.0),
            (summary.false_positive_frames, 2.0 / 5.0),
            (summary.false_positive_negatives, 1.0 / 2.0),
        ];
        for (found, expected) in expected {
            assert!((found.unwrap() - expected).abs() < 1e-12, "{summary:?}");
        }
    }

    #[test]
    fn nothing_measured_gives_no_figures_and_a_wrong_size_is_an_error() {
        let mut accuracy = Accuracy::new();
        assert!(accuracy.add(&findings(&[]), &[0; 99], 10, 10).is_err());
        let summary = accuracy.summary();
        assert_eq!((summary.images, summary.dice, summary.false_positive_frames), (0, None, None));
    }
}

//! Accuracy against a folder of ground truth: `images/` and `masks/` with equal stems.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, Picture, PixelFormat};
use crate::pipeline::Analyzer;
use crate::source::{self, picture};
use crate::vision::metrics::{Accuracy, AccuracySummary, MASK_BOUND};

/// Measures `analyzer` on every picture of `folder/images`.
///
/// # Errors
/// A folder without pictures, a picture without its mask, a mask of another size, and whatever the
/// analyzer says; [`Error::Cancelled`] if `cancel` is set on the way.
pub fn measure(
    folder: &Path,
    analyzer: &mut dyn Analyzer,
    bar: &ProgressBar,
    cancel: &Cancel,
) -> Result<AccuracySummary> {
    let images = pictures(&folder.join("images"))?;
    let masks = pictures(&folder.join("masks"))?;
    bar.set_length(images.len() as u64);
    // Before the first is measured: nobody wants to hear at the end that the last has no mask.
    let mut pairs = vec![];
    for (stem, image) in &images {
        let Some(mask) = masks.get(stem) else {
            let detail = format!("holds no mask for {}", image.display());
            return Err(Error::GroundTruth { path: folder.join("masks"), detail });
        };
        pairs.push((stem, image, mask));
    }
    let mut accuracy = Accuracy::new();
    let mut brightest = 0;
    for (stem, image, mask) in pairs {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let picture = picture::decode_file(image, stem)?;
        let (width, height) = (picture.width(), picture.height());
        let truth = picture::decode_file(mask, stem)?;
        if (truth.width(), truth.height()) != (width, height) {
            let detail = format!("is {}x{}, its picture {width}x{height}", truth.width(), truth.height());
            return Err(Error::GroundTruth { path: mask.clone(), detail });
        }
        let truth = mask_values(&truth);
        brightest = truth.iter().copied().fold(brightest, u8::max);
        let analysis = analyzer.analyze(&Frame::still(stem.as_str(), picture))?;
        accuracy.add(&analysis.findings, &truth, width, height)?;
        bar.inc(1);
    }
    // One dark mask may be the noise of a JPEG; where all are, polyps are labelled by small numbers.
    if (1..=MASK_BOUND).contains(&brightest) {
        let detail = format!(
            "hold values up to {brightest}, and a polyp is marked by values above {MASK_BOUND} (white)"
        );
        return Err(Error::GroundTruth { path: folder.join("masks"), detail });
    }
    Ok(accuracy.summary())
}

/// Pictures of a folder by their stem.
fn pictures(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let spec = folder.display().to_string();
    let inputs = source::expand(&spec)?;
    let mut by_stem = BTreeMap::new();
    for input in inputs {
        let source::Location::File(path) = input.location else { continue };
        let stem = input.relative.with_extension("").display().to_string();
        if let Some(other) = by_stem.insert(stem, path.clone()) {
            let detail = format!("holds both {} and {}", other.display(), path.display());
            return Err(Error::GroundTruth { path: folder.to_owned(), detail });
        }
    }
    Ok(by_stem)
}

/// One value per pixel: a mask is grey, or of some colour on black.
fn mask_values(mask: &Picture) -> Vec<u8> {
    let samples = if mask.format() == PixelFormat::Rgb24 { 3 } else { 1 };
    let plane = mask.plane(0);
    let brightest = |pixel: &[u8]| pixel.iter().copied().fold(0, u8::max);
    (0..mask.height()).flat_map(|y| plane.row(y).chunks_exact(samples).map(brightest)).collect()
}

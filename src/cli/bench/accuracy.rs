//! Accuracy against a folder of ground truth: `images/` and `masks/` with equal stems.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Frame, Picture, PixelFormat};
use crate::pipeline::Analyzer;
use crate::source::{self, picture};
use crate::vision::metrics::{Accuracy, AccuracySummary};

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
        let analysis = analyzer.analyze(&Frame::still(stem.as_str(), picture))?;
        accuracy.add(&analysis.findings, &mask_values(&truth), width, height)?;
        bar.inc(1);
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

/// One value per pixel: a mask is grey, or grey written as RGB.
fn mask_values(mask: &Picture) -> Vec<u8> {
    let samples = if mask.format() == PixelFormat::Rgb24 { 3 } else { 1 };
    let plane = mask.plane(0);
    (0..mask.height()).flat_map(|y| plane.row(y).iter().step_by(samples).copied()).collect()
}

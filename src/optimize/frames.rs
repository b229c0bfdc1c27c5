//! Real pictures as the network sees them: decoded, cropped to the field of view, fitted and normalised.

use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::model::Manifest;
use crate::source::{self, Input, Location, OpenOptions};
use crate::vision::fov::FieldOfView;
use crate::vision::preprocess::Preprocessor;

/// Calls `take` with the network's input for up to `count` frames, spread evenly over the sources, and over the files of
/// each. Every source gives at least one.
///
/// Pictures count as one frame each; of a recording every n-th frame is taken. What a source has too few of is left to
/// those with more. `take` gets the input, `[3, height, width]`.
///
/// # Errors
/// Whatever keeps a source from being read, [`Error::NoInput`] if they hold no frame, and what `take` says.
pub fn inputs(
    manifest: &Manifest,
    sources: &[String],
    count: usize,
    cancel: &Cancel,
    take: &mut dyn FnMut(&[f32]) -> Result<()>,
) -> Result<usize> {
    let mut preprocessor = Preprocessor::new(&manifest.input)?;
    let mut input = vec![0.0; 3 * manifest.input.height * manifest.input.width];
    let mut found = sources.iter().map(|s| source::expand(s)).collect::<Result<Vec<_>>>()?;
    // Those that have the least come first: what they lack is left to the others.
    found.sort_by_key(|files| if files.iter().all(is_picture) { files.len() } else { usize::MAX });
    let count = count.max(found.len());
    let mut taken = 0;
    for (i, files) in found.iter().enumerate() {
        // What is left, shared by the sources that are left, and then by the files.
        let until = taken + (count - taken).div_ceil(found.len() - i);
        let chosen = spread(files, until - taken);
        for (i, file) in chosen.iter().enumerate() {
            let share = (until - taken).div_ceil(chosen.len() - i);
            let mut frame = |frame: &Frame| {
                let crop = FieldOfView::still(&frame.picture);
                preprocessor.run(&frame.picture, crop, &mut input)?;
                taken += 1;
                take(&input)
            };
            frames_of(file, share, cancel, &mut frame)?;
        }
    }
    if taken == 0 {
        let names: Vec<String> = sources.iter().map(|source| source::redact::redact(source)).collect();
        return Err(Error::NoInput { source_name: names.join(", "), detail: "gave no frame".to_owned() });
    }
    Ok(taken)
}

fn is_picture(input: &Input) -> bool {
    matches!(&input.location, Location::File(path) if source::is_picture(path))
}

/// At most `count` of the inputs, evenly spread.
fn spread(inputs: &[Input], count: usize) -> Vec<&Input> {
    let step = inputs.len() as f64 / count.max(1) as f64;
    if step <= 1.0 {
        return inputs.iter().collect();
    }
    (0..count).filter_map(|i| inputs.get((i as f64 * step) as usize)).collect()
}

fn frames_of(
    place: &Input,
    count: usize,
    cancel: &Cancel,
    take: &mut dyn FnMut(&Frame) -> Result<()>,
) -> Result<()> {
    let mut source = source::open_input(place, &OpenOptions::default(), cancel)?;
    let endless = source.info().live || matches!(place.location, Location::Synthetic(_));
    let total = source.info().frames.filter(|_| !endless);
    let mut taken = 0;
    let mut index = 0_u64;
    while taken < count
        && let Some(frame) = source.next()?
    {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        if is_taken(index, count as u64, total) {
            take(&frame)?;
            taken += 1;
        }
        index += 1;
    }
    Ok(())
}

/// Whether the frame `index` of `total` is one of the `count` that are spread evenly over all of them, the first always:
/// what a container says of its length can be wrong.
fn is_taken(index: u64, count: u64, total: Option<u64>) -> bool {
    match total {
        Some(total) if total > count => {
            let before = |index: u64| (index * count).div_ceil(total);
            before(index) != before(index + 1)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_spread_over_the_whole_recording() {
        for (count, total) in [(62, 122), (300, 301), (300, 599), (300, 899), (1, 7), (5, 5), (9, 4)] {
            let taken: Vec<u64> = (0..total).filter(|&i| is_taken(i, count, Some(total))).collect();
            assert_eq!(taken.len() as u64, count.min(total), "{count} of {total}");
            let gaps: Vec<u64> = taken.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let apart = gaps.iter().max().unwrap_or(&0) - gaps.iter().min().unwrap_or(&0);
            let last = taken.last().copied().unwrap_or(0);
            let reaches = last + gaps.iter().max().unwrap_or(&total) + 1 >= total;
            assert!(apart <= 1 && taken[0] == 0 && reaches, "{count} of {total}: {taken:?}");
        }
    }
}

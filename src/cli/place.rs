//! Where the output of each input goes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::source::{Input, Location};

/// The output file of each input: `target` itself for a single input and a name that is no folder, else a
/// file in the folder `target` that bears the input's relative path, its ending replaced by `extension`.
///
/// # Errors
/// [`Error::Output`] if two inputs would get the same output, or an output is one of the inputs: known
/// before any work begins.
pub fn places(inputs: &[Input], target: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let places: Vec<PathBuf> = match inputs {
        [_] if names_a_file(target) => vec![target.to_owned()],
        _ => inputs.iter().map(|input| target.join(&input.relative).with_extension(extension)).collect(),
    };
    let mut taken: HashMap<&Path, &Input> = HashMap::new();
    for (place, input) in places.iter().zip(inputs) {
        if let Some(other) = taken.insert(place, input) {
            return Err(Error::Output {
                path: place.clone(),
                detail: format!("would hold both {} and {}; run them one by one", other.name(), input.name()),
            });
        }
    }
    for input in inputs {
        if let Location::File(path) = &input.location
            && let Some(place) = places.iter().find(|place| same_file(place, path))
        {
            return Err(Error::Output {
                path: place.clone(),
                detail: "would overwrite an input; choose another folder".to_owned(),
            });
        }
    }
    Ok(places)
}

/// A path that ends in `/` or is a folder already names a folder; so does one without an ending.
fn names_a_file(target: &Path) -> bool {
    let text = target.as_os_str().to_string_lossy();
    !text.ends_with(std::path::MAIN_SEPARATOR) && !target.is_dir() && target.extension().is_some()
}

fn same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

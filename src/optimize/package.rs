//! Writing a package folder that appears whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::error::{Error, Result};
use crate::model::manifest::FileEntry;
use crate::model::{Manifest, hex_digest};
use crate::sink::output::folder_of;

/// The manifest's name in a package folder.
const MANIFEST: &str = "model.json";

/// Whether `folder` can take a package: it is not there, is empty, or holds one that endort wrote and nothing else.
///
/// # Errors
/// [`Error::Output`] for anything else, which would be lost.
pub fn check_place(folder: &Path) -> Result<()> {
    let refuse = |detail: &str| Err(Error::Output { path: folder.to_owned(), detail: detail.to_owned() });
    if folder.file_name().is_none() {
        return refuse("is no name for a folder that is made anew; give one with -o");
    }
    let Ok(meta) = fs::symlink_metadata(folder) else { return Ok(()) };
    if !meta.is_dir() {
        return refuse("is there already and is no folder; choose another place with -o");
    }
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<Result<Vec<_>, _>>()
    });
    let entries = entries.map_err(Error::read(folder))?;
    if entries.is_empty() {
        return Ok(());
    }
    let manifest = fs::read(folder.join(MANIFEST)).ok();
    let ours = manifest.and_then(|text| serde_json::from_slice::<Manifest>(&text).ok());
    let Some(ours) = ours.filter(|manifest| manifest.optimization.is_some()) else {
        return refuse("is there already and is no optimized package; choose another place with -o");
    };
    match entries.iter().find(|name| *name != MANIFEST && !ours.files.contains_key(*name)) {
        None => Ok(()),
        Some(other) => {
            refuse(&format!("also holds {other}, which would be lost; choose another place with -o"))
        }
    }
}

/// Writes `files` and the manifest, with the digest of each file filled in, as the folder `place`.
///
/// # Errors
/// [`Error::Output`] as [`check_place`] says, and [`Error::Write`].
pub fn write(place: &Path, manifest: &mut Manifest, files: &[(String, Vec<u8>)]) -> Result<()> {
    check_place(place)?;
    manifest.files = files.iter().map(entry).collect::<BTreeMap<_, _>>();
    let text = serde_json::to_vec_pretty(manifest)
        .map_err(|e| Error::Output { path: place.to_owned(), detail: e.to_string() })?;
    let parent = folder_of(place);
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let draft = tempfile::Builder::new()
        .prefix(".endort-")
        .suffix(".part")
        .tempdir_in(parent)
        .map_err(Error::write(place))?;
    for (name, bytes) in files.iter().map(|(n, b)| (n.as_str(), b.as_slice())).chain([(MANIFEST, &text[..])])
    {
        let path = draft.path().join(name);
        fs::write(&path, bytes).map_err(Error::write(&path))?;
    }
    // A folder cannot be replaced in one step: the old one moves aside, and back if the new one cannot move in.
    let mut aside = None;
    if place.exists() {
        let keep =
            tempfile::Builder::new().prefix(".endort-").tempdir_in(parent).map_err(Error::write(place))?;
        fs::rename(place, keep.path().join("old")).map_err(Error::write(place))?;
        aside = Some(keep);
    }
    let draft = draft.keep();
    if let Err(source) = fs::rename(&draft, place) {
        if let Some(keep) = &aside {
            fs::rename(keep.path().join("old"), place).map_err(Error::write(place))?;
        }
        fs::remove_dir_all(&draft).ok();
        return Err(Error::Write { path: place.to_owned(), source });
    }
    set_mode(place)
}

/// Temporary folders are their owner's alone; a package is for everyone whom the file mask lets in.
#[cfg(unix)]
fn set_mode(place: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(place, fs::Permissions::from_mode(0o755)).map_err(Error::write(place))
}

#[cfg(not(unix))]
fn set_mode(_place: &Path) -> Result<()> {
    Ok(())
}

fn entry((name, bytes): &(String, Vec<u8>)) -> (String, FileEntry) {
    (name.clone(), FileEntry { sha256: hex_digest(bytes), bytes: Some(bytes.len() as u64) })
}

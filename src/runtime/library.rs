//! Finding and opening a vendor's shared library at run time.
//!
//! Nothing here reads the environment: the folders that a user names come in as a list, and behind them the
//! system's own loader and the usual folders are asked. A library that was opened stays open until the
//! program ends, because the vendors' threads do not survive being unloaded.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use libloading::Library;

use crate::device;

/// How a vendor's library is called and where its packages put it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The name without prefix and ending: `onnxruntime` for `libonnxruntime.so.1.22`.
    pub stem: &'static str,
    /// Folders below a searched one in which packages put it, such as `onnxruntime/capi` of the wheel.
    pub below: &'static [&'static str],
    /// Folders that vendors install to, apart from the system's library folders. `*` stands for any name.
    pub usual: &'static [&'static str],
    /// What to install where it is absent.
    pub install: &'static str,
}

/// A library that is open.
#[derive(Clone, Copy)]
pub struct Opened {
    /// The library.
    pub library: &'static Library,
    /// The file, or the bare name if the system's loader found it.
    pub path: &'static Path,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.path).finish()
    }
}

/// Files longer than this are no libraries' versions: a folder with more entries is not searched to its end.
const MAX_ENTRIES: usize = 20_000;

/// Opens the first file that is there, user's folders first.
///
/// # Errors
/// What was looked for and where, what the loader said of files that are there, and what to install.
pub fn open(wanted: &Wanted, named: &[PathBuf]) -> Result<Opened, String> {
    let mut refused = vec![];
    for path in candidates(wanted, named) {
        match load(&path) {
            Ok(opened) => return Ok(opened),
            // A bare name that the system does not know is no file that is broken.
            Err(_) if path.parent().is_none_or(|p| p.as_os_str().is_empty()) => {}
            Err(e) => refused.push(format!("{} cannot be loaded ({e})", path.display())),
        }
    }
    if !refused.is_empty() {
        return Err(refused.join("; "));
    }
    let mut places: Vec<String> = named.iter().map(|p| p.display().to_string()).collect();
    places.push("the system's library folders".to_owned());
    Err(format!(
        "{} was not found in {}; {}, or name its folder with --runtime-path or REALTIME_RUNTIME_PATH",
        file_name(wanted.stem),
        places.join(", "),
        wanted.install
    ))
}

/// Files that may be the library, best first; the bare name, for the system's loader, is among them.
fn candidates(wanted: &Wanted, named: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = vec![];
    for place in named {
        if place.is_file() {
            // A file is named for one library; the others do not care.
            found.extend(is_version_of(wanted.stem, place).then(|| place.clone()));
        } else {
            found.extend(in_tree(wanted, place));
        }
    }
    found.push(PathBuf::from(file_name(wanted.stem)));
    for place in system_folders() {
        found.extend(in_tree(wanted, &place));
    }
    for pattern in wanted.usual {
        let matches = glob::glob(pattern).into_iter().flatten().filter_map(Result::ok);
        found.extend(matches.flat_map(|place| in_tree(wanted, &place)));
    }
    found
}

fn in_tree(wanted: &Wanted, place: &Path) -> Vec<PathBuf> {
    let below = wanted.below.iter().map(|b| place.join(b));
    std::iter::once(place.to_owned()).chain(below).filter_map(|folder| newest(wanted.stem, &folder)).collect()
}

/// The library in a folder: the plain name, else the highest version.
fn newest(stem: &str, folder: &Path) -> Option<PathBuf> {
    let plain = folder.join(file_name(stem));
    if plain.is_file() {
        return Some(plain);
    }
    let entries = std::fs::read_dir(folder).ok()?.take(MAX_ENTRIES).filter_map(Result::ok);
    let versions = entries.map(|e| e.path()).filter(|p| is_version_of(stem, p) && p.is_file());
    versions.max_by(|a, b| natord::compare(&a.to_string_lossy(), &b.to_string_lossy()))
}

/// Whether a file is `libSTEM.so`, `libSTEM.so.1.2` or what other systems call it.
fn is_version_of(stem: &str, path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = file_name(stem);
    let versioned = name.strip_prefix(&plain).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    // macOS puts the version before the ending.
    let apple = name.strip_prefix(&format!("lib{stem}.")).is_some_and(|rest| rest.ends_with("dylib"));
    versioned || apple
}

fn file_name(stem: &str) -> String {
    format!("{}{stem}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

fn system_folders() -> Vec<PathBuf> {
    let beside = std::env::current_exe().ok().and_then(|p| p.parent().map(Path::to_owned));
    let system = device::system_folders(std::env::consts::ARCH).into_iter().map(PathBuf::from);
    beside.into_iter().chain(system).chain([PathBuf::from("/opt/homebrew/lib")]).collect()
}

fn load(path: &Path) -> Result<Opened, String> {
    static OPEN: OnceLock<Mutex<HashMap<PathBuf, Opened>>> = OnceLock::new();
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(opened) = open.get(path) {
        return Ok(*opened);
    }
    // SAFETY: the library's initialisers run here. The file is one that the user or the system's
    // administrator installed under a vendor's name, as for any program that is linked against it.
    let library = unsafe { Library::new(path) }.map_err(|e| e.to_string())?;
    let opened =
        Opened { library: Box::leak(Box::new(library)), path: Box::leak(path.to_owned().into_boxed_path()) };
    open.insert(path.to_owned(), opened);
    Ok(opened)
}

impl Opened {
    /// The address of a function, as whatever type of function pointer the caller knows it to have.
    ///
    /// # Safety
    /// `F` must be a function pointer of the C signature that the library gives `name`.
    ///
    /// # Errors
    /// The library does not have it.
    pub unsafe fn function<F: Copy>(&self, name: &str) -> Result<F, String> {
        // SAFETY: the caller vouches for the type.
        let symbol = unsafe { self.library.get::<F>(name.as_bytes()) };
        symbol.map(|s| *s).map_err(|_| {
            format!("{} has no function {name}: it is too old or not what its name says", self.path.display())
        })
    }
}

/// A table of a library's functions: `functions! { struct Api { create: "ov_core_create" = fn(…) -> c_int } }`.
macro_rules! functions {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($field:ident: $symbol:literal = fn($($arg:ty),* $(,)?) $(-> $ret:ty)?;)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        $vis struct $name { $($vis $field: unsafe extern "C" fn($($arg),*) $(-> $ret)?,)+ }

        impl $name {
            /// Looks the functions up.
            $vis fn load(library: &$crate::runtime::library::Opened) -> Result<Self, String> {
                // SAFETY: the signatures are those of the vendor's public C headers.
                unsafe { Ok(Self { $($field: library.function($symbol)?,)+ }) }
            }
        }
    };
}
pub(crate) use functions;

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Wanted =
        Wanted { stem: "nothing-of-the-kind", below: &["capi"], usual: &[], install: "pip install it" };

    #[test]
    fn the_newest_version_is_taken_and_the_plain_name_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let capi = folder.path().join("capi");
        std::fs::create_dir(&capi).unwrap();
        let named = [folder.path().to_owned()];
        let first = || candidates(&WANTED, &named).into_iter().next().unwrap();
        for (name, best) in [
            ("libnothing-of-the-kind.so.1.9.2", "libnothing-of-the-kind.so.1.9.2"),
            ("libnothing-of-the-kind.so.1.10.0", "libnothing-of-the-kind.so.1.10.0"),
            ("libnothing-of-the-kind-more.so", "libnothing-of-the-kind.so.1.10.0"),
            ("libnothing-of-the-kind.so", "libnothing-of-the-kind.so"),
        ] {
            std::fs::write(capi.join(name), "").unwrap();
            if cfg!(target_os = "linux") {
                assert_eq!(first(), capi.join(best));
            }
        }
    }

    #[test]
    fn absence_says_where_it_was_looked_for_and_what_to_install() {
        let named = [PathBuf::from("/no/such/folder")];
        let e = open(&WANTED, &named).unwrap_err();
        for word in ["nothing-of-the-kind", "/no/such/folder", "pip install it", "--runtime-path"] {
            assert!(e.contains(word), "{e}");
        }
    }

    #[test]
    fn a_file_that_is_no_library_is_told_from_an_absent_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(file_name(WANTED.stem));
        std::fs::write(&file, "text").unwrap();
        let e = open(&WANTED, &[file]).unwrap_err();
        assert!(e.contains("cannot be loaded"), "{e}");
    }
}

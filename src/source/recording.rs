//! A recording that can be opened once more, for what its pictures do not carry: sound, and the container's word on them.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use super::open::network_options;
use super::{Location, SourceInfo};
use crate::av::dict::Dict;
use crate::av::file_url;
use crate::av::input::{Input, Medium, Target};
use crate::av::watch::Watch;
use crate::cancel::Cancel;

/// How long a web server may be silent.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where a recording is, as FFmpeg takes it.
#[derive(Debug, Clone)]
pub struct Recording {
    url: CString,
    /// Of an address.
    scheme: Option<String>,
    cancel: Cancel,
}

impl Recording {
    /// The recording at `location`, if it is one that can be read twice: a file, also as standard input, or on a web
    /// server.
    /// `cancel` ends waiting for it.
    pub fn of(location: &Location, info: &SourceInfo, cancel: &Cancel) -> Option<Self> {
        match location {
            Location::File(path) if path.is_file() => Self::file(path),
            Location::Stdin => {
                let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().ok()?);
                let is_file = stdin.metadata().is_ok_and(|meta| meta.is_file());
                is_file.then(|| Self::file(Path::new("/dev/fd/0"))).flatten()
            }
            Location::Address(address) if !info.live => {
                let scheme = address.split("://").next()?.to_ascii_lowercase();
                let url = CString::new(address.as_str()).ok()?;
                Some(Self { url, scheme: Some(scheme), cancel: cancel.clone() })
            }
            // A pipe and a camera cannot be opened a second time.
            Location::File(_) | Location::Address(_) | Location::Device(_) | Location::Synthetic(_) => None,
        }
    }

    /// The recording in a file; `None` for a name that FFmpeg cannot take.
    pub fn file(path: &Path) -> Option<Self> {
        Some(Self { url: file_url(path).ok()?, scheme: None, cancel: Cancel::new() })
    }

    /// Its stream of this kind, if it has one.
    pub(crate) fn open(&self, medium: Medium) -> Option<Input> {
        let timeout = self.scheme.as_ref().map(|_| TIMEOUT);
        let options = self.scheme.as_ref().map_or_else(Dict::new, |scheme| network_options(scheme, TIMEOUT));
        let watch = Watch::new(self.cancel.clone(), timeout);
        Input::open(Target::Url(self.url.clone()), options, medium, watch).ok().flatten()
    }
}

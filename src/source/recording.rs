//! A recording that can be opened once more, for what its pictures do not carry: sound, and the container's word on them.

use std::ffi::CString;
use std::path::Path;
use std::time::Duration;

use super::open::{self, network_options};
use super::{Location, OpenOptions, SourceInfo};
use crate::av::dict::Dict;
use crate::av::file_url;
use crate::av::input::{Input, Medium, Target};
use crate::av::watch::Watch;
use crate::cancel::Cancel;

/// Where a recording is, as FFmpeg takes it.
#[derive(Debug, Clone)]
pub struct Recording {
    url: CString,
    /// Of an address: its scheme, and how long its server may be silent.
    web: Option<(String, Duration)>,
    cancel: Cancel,
}

impl Recording {
    /// The recording at `location`, if it is one that can be read twice: a file, also as standard input, or on a web
    /// server. `options` are those that it was opened with, and `cancel` ends waiting for it.
    pub fn of(
        location: &Location,
        info: &SourceInfo,
        options: &OpenOptions,
        cancel: &Cancel,
    ) -> Option<Self> {
        match location {
            Location::File(path) if path.is_file() => Self::file(path),
            Location::Stdin => open::stdin()
                .is_ok_and(|handle| open::is_file(&handle))
                .then(|| Self::file(open::STDIN.as_ref()))?,
            Location::Address(address) if !info.live => {
                let web = Some((open::scheme(address), options.io_timeout));
                Some(Self { url: CString::new(address.as_str()).ok()?, web, cancel: cancel.clone() })
            }
            // A pipe and a camera cannot be opened a second time.
            Location::File(_) | Location::Address(_) | Location::Device(_) | Location::Synthetic(_) => None,
        }
    }

    /// The recording in a file; `None` for a name that FFmpeg cannot take.
    pub fn file(path: &Path) -> Option<Self> {
        Some(Self { url: file_url(path).ok()?, web: None, cancel: Cancel::new() })
    }

    /// Its stream of this kind, if it has one.
    pub(crate) fn open(&self, medium: Medium) -> Option<Input> {
        let (options, timeout) = match &self.web {
            Some((scheme, timeout)) => (network_options(scheme, *timeout), Some(*timeout)),
            None => (Dict::new(), None),
        };
        let watch = Watch::new(self.cancel.clone(), timeout);
        Input::open(Target::Url(self.url.clone()), options, medium, watch).ok().flatten()
    }
}

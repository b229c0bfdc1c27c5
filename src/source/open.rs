//! Opens a source by what it is.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use super::expand::{Input, expand};
use super::live::{self, LiveSource};
use super::options::OpenOptions;
use super::picture::{PictureSource, sniff};
use super::spec::Location;
use super::synthetic::{self, Synthetic};
use super::video::{Opening, VideoSource};
use super::{Source, redact};
use crate::av::dict::Dict;
use crate::av::file_url;
use crate::av::input::Target;
use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Bytes of a file that tell whether it is a picture.
const SNIFF: usize = 64;

/// How long a live stream is analysed before its frames are handed out, at most.
const ANALYSE: Duration = Duration::from_secs(1);

/// Opens the one source that `spec` names; see [`expand`] for those that name several.
///
/// Blocks until the first data arrive; [`Error::Cancelled`] soon after `cancel` is set, then and later.
pub fn open(spec: &str, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    match expand(spec)?.as_slice() {
        [input] => open_input(input, options, cancel),
        inputs => Err(Error::NoInput {
            source_name: redact::redact(spec),
            detail: format!("names {} files where one is needed", inputs.len()),
        }),
    }
}

/// Opens one of the inputs that [`expand`] found; with [`OpenOptions::retry_first_open`] a live one as often as it
/// takes.
pub fn open_input(input: &Input, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    let may_come = matches!(input.location, Location::Address(_) | Location::Device(_));
    if options.retry_first_open && may_come {
        return live::wait_for(|| open_once(input, options, cancel), options, cancel);
    }
    open_once(input, options, cancel)
}

fn open_once(input: &Input, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    let name = input.name();
    match &input.location {
        Location::File(path) => open_file(path, name, options, cancel),
        Location::Stdin => open_stdin(name, options, cancel),
        Location::Address(address) => open_address(address, name, options, cancel),
        Location::Device(path) => open_device(path, name, options, cancel),
        Location::Synthetic(spec) => {
            Ok(Box::new(Synthetic::open(synthetic::Options::from_spec(spec)?, cancel)?))
        }
    }
}

fn recording(target: Target, name: String, timeout: Option<Duration>) -> Opening {
    Opening { target, name, live: false, demuxer: Dict::new(), timeout }
}

fn open_file(path: &Path, name: String, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    let meta = fs::metadata(path).map_err(Error::read(path))?;
    let unusable = |detail: &str| Error::Media { source_name: name.clone(), detail: detail.to_owned() };
    if meta.is_dir() {
        return Err(unusable("is a folder"));
    }
    if meta.file_type().is_fifo() {
        // Without this flag, opening would wait for a writer where nothing can cancel it.
        let pipe = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)
            .map_err(Error::read(path))?;
        let opening = recording(Target::Pipe(pipe), name, Some(options.io_timeout));
        return Ok(Box::new(VideoSource::open(opening, options, cancel)?));
    }
    let mut head = Vec::with_capacity(SNIFF);
    let file = File::open(path).map_err(Error::read(path))?;
    file.take(SNIFF as u64).read_to_end(&mut head).map_err(Error::read(path))?;
    if head.is_empty() {
        return Err(unusable("the file is empty"));
    }
    if let Some(format) = sniff(&head).filter(|_| !is_motion_jpeg(path)) {
        return Ok(Box::new(PictureSource::open(path, format, &name, cancel)?));
    }
    let opening = recording(Target::Url(file_url(path)?), name, None);
    Ok(Box::new(VideoSource::open(opening, options, cancel)?))
}

/// A bare sequence of JPEG pictures starts like a single one; only its name tells them apart.
fn is_motion_jpeg(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("mjpg") || e.eq_ignore_ascii_case("mjpeg"))
}

/// Standard input's name where it is a file.
pub(super) const STDIN: &str = "/dev/fd/0";

pub(super) fn stdin() -> std::io::Result<File> {
    std::io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// Whether it is a file, as the shell opens one: that can be searched, which MP4 files often need, and read twice; a pipe
/// cannot.
pub(super) fn is_file(handle: &File) -> bool {
    handle.metadata().is_ok_and(|meta| meta.is_file())
}

/// What stands before `://`, in lower case.
pub(super) fn scheme(address: &str) -> String {
    address.split("://").next().unwrap_or_default().to_ascii_lowercase()
}

fn open_stdin(name: String, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    let handle = stdin().map_err(Error::read("-"))?;
    let target =
        if is_file(&handle) { Target::Url(file_url(Path::new(STDIN))?) } else { Target::Pipe(handle) };
    Ok(Box::new(VideoSource::open(recording(target, name, None), options, cancel)?))
}

fn open_address(
    address: &str,
    name: String,
    options: &OpenOptions,
    cancel: &Cancel,
) -> Result<Box<dyn Source>> {
    let url = CString::new(address).map_err(|_| Error::NoInput {
        source_name: name.clone(),
        detail: "the address holds a NUL byte".to_owned(),
    })?;
    let scheme = scheme(address);
    let (timeout, first_options, first_cancel) = (options.io_timeout, options.clone(), cancel.clone());
    let on_demand = matches!(scheme.as_str(), "http" | "https");
    if on_demand {
        // A recording on a web server has a length, in seconds or in bytes, and is read like a file; a camera there has
        // none.
        let mut opening = recording(Target::Url(url.clone()), name.clone(), Some(timeout));
        opening.demuxer = network_options(&scheme, timeout);
        let source = VideoSource::open(opening, options, cancel)?;
        if source.is_recording() {
            return Ok(Box::new(source));
        }
    }
    let open = Box::new(move || {
        let opening = Opening {
            target: Target::Url(url.clone()),
            name: name.clone(),
            live: true,
            demuxer: live_options(&scheme, timeout),
            timeout: Some(timeout),
        };
        VideoSource::open(opening, &first_options, &first_cancel)
    });
    Ok(Box::new(LiveSource::open(open, options, cancel)?))
}

/// Time limits, as each of FFmpeg's protocols calls them. They back up the interrupt callback, which not
/// every system call can be reached by.
pub(super) fn network_options(scheme: &str, timeout: Duration) -> Dict {
    let limit = timeout.as_micros().to_string();
    let mut dict = Dict::of([("rw_timeout", limit.as_str())]);
    // For RTP this is the age of an unused session; it has no other limit than ours.
    if !scheme.starts_with("rtp") && scheme != "rtmp" && scheme != "rtmps" {
        dict.set("timeout", &limit);
    }
    dict
}

fn live_options(scheme: &str, timeout: Duration) -> Dict {
    let mut dict = network_options(scheme, timeout);
    dict.set("fflags", "nobuffer");
    dict.set("analyzeduration", &ANALYSE.as_micros().to_string());
    match scheme {
        // Packets of large pictures get lost over UDP; cameras that refuse TCP are still taken.
        "rtsp" | "rtsps" => dict.set("rtsp_flags", "prefer_tcp"),
        // When the reader is late, drop and go on instead of failing.
        "udp" => dict.set("overrun_nonfatal", "1"),
        _ => {}
    }
    dict
}

fn open_device(path: &Path, name: String, options: &OpenOptions, cancel: &Cancel) -> Result<Box<dyn Source>> {
    if !fs::metadata(path).map_err(Error::read(path))?.file_type().is_char_device() {
        return Err(Error::Media { source_name: name, detail: "is not a capture device".to_owned() });
    }
    let device = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Media {
        source_name: name.clone(),
        detail: "its name holds a NUL byte".to_owned(),
    })?;
    let (first_options, first_cancel) = (options.clone(), cancel.clone());
    let open = Box::new(move || {
        let opening = Opening {
            target: Target::Device(c"video4linux2", device.clone()),
            name: name.clone(),
            live: true,
            demuxer: Dict::of([("fflags", "nobuffer")]),
            timeout: Some(first_options.io_timeout),
        };
        VideoSource::open(opening, &first_options, &first_cancel)
    });
    Ok(Box::new(LiveSource::open(open, options, cancel)?))
}

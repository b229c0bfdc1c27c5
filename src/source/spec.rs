//! What a source's name means: a file, an address, a device, standard input or `synthetic`.

use std::fmt;
use std::path::{Path, PathBuf};

use super::redact::redact;
use crate::error::{Error, Result};

/// Schemes that FFmpeg reads from the network.
pub const SCHEMES: [&str; 10] =
    ["rtsp", "rtsps", "udp", "rtp", "http", "https", "tcp", "srt", "rtmp", "rtmps"];

/// Where frames come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A file or named pipe.
    File(PathBuf),
    /// Standard input.
    Stdin,
    /// A network address, credentials included: show it through `Display`, which hides them.
    Address(String),
    /// A video capture device.
    Device(PathBuf),
    /// The built-in renderer, with its whole specification.
    Synthetic(String),
}

impl Location {
    /// The meaning of `spec`, without looking whether it exists.
    pub fn parse(spec: &str) -> Result<Self> {
        if spec.is_empty() {
            return Err(Error::NoInput { source_name: "source".into(), detail: "the name is empty".into() });
        }
        if spec == "-" {
            return Ok(Self::Stdin);
        }
        if spec == "synthetic" || spec.starts_with("synthetic:") {
            return Ok(Self::Synthetic(spec.to_owned()));
        }
        if let Some((scheme, rest)) = spec.split_once("://") {
            // What is behind a blank could be half a password: it is not repeated.
            if !scheme.eq_ignore_ascii_case("file") && spec.contains(char::is_whitespace) {
                let detail = "an address has no blanks (write %20 for one)".to_owned();
                return Err(Error::NoInput { source_name: format!("{scheme}://…"), detail });
            }
            return match scheme.to_ascii_lowercase().as_str() {
                "file" => Ok(Self::File(rest.into())),
                known if SCHEMES.contains(&known) => Ok(Self::Address(spec.to_owned())),
                _ => Err(Error::NoInput {
                    source_name: redact(spec),
                    detail: format!("unknown kind of address (known: {}, file)", SCHEMES.join(", ")),
                }),
            };
        }
        if let Some(number) = spec.strip_prefix("/dev/video")
            && !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
        {
            return Ok(Self::Device(spec.into()));
        }
        Ok(Self::File(spec.into()))
    }

    /// The name by which an output of this source is called: a relative path without anything secret.
    pub(super) fn output_name(&self) -> PathBuf {
        match self {
            Self::File(path) | Self::Device(path) => file_name(path),
            Self::Stdin => "stdin".into(),
            Self::Synthetic(_) => "synthetic".into(),
            Self::Address(address) => {
                let shown = redact(address);
                let place = shown.split_once("://").map_or(shown.as_str(), |(_, place)| place);
                let keep = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
                place.chars().map(keep).collect::<String>().trim_matches(['_', '.']).to_owned().into()
            }
        }
    }
}

/// The last part of `path`, or all of it where there is none (`/`, `..`).
pub(super) fn file_name(path: &Path) -> PathBuf {
    path.file_name().map_or_else(|| path.to_owned(), PathBuf::from)
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::Device(path) => path.display().fmt(f),
            Self::Stdin => f.write_str("standard input"),
            Self::Address(address) => f.write_str(&redact(address)),
            Self::Synthetic(spec) => f.write_str(spec),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs_mean_what_they_look_like() {
        assert_eq!(Location::parse("-").unwrap(), Location::Stdin);
        assert_eq!(
            Location::parse("synthetic:640x480@25").unwrap(),
            Location::Synthetic("synthetic:640x480@25".into())
        );
        assert_eq!(Location::parse("RTSP://cam/1").unwrap(), Location::Address("RTSP://cam/1".into()));
        assert_eq!(Location::parse("/dev/video0").unwrap(), Location::Device("/dev/video0".into()));
        assert_eq!(Location::parse("/dev/videotape").unwrap(), Location::File("/dev/videotape".into()));
        assert_eq!(Location::parse("file:///a/b.mp4").unwrap(), Location::File("/a/b.mp4".into()));
        assert_eq!(Location::parse("a:b.mp4").unwrap(), Location::File("a:b.mp4".into()));
        assert!(Location::parse("gopher://x").is_err());
        assert_eq!(
            Location::parse("rtsp://admin:pass word@cam/1").unwrap_err().to_string(),
            "rtsp://…: an address has no blanks (write %20 for one)"
        );
        assert!(Location::parse("").is_err());
    }

    #[test]
    fn secrets_stay_out_of_names() {
        let location = Location::parse("rtsp://u:secret@10.0.0.5:554/s?pwd=secret").unwrap();
        assert!(!location.to_string().contains("secret"));
        assert_eq!(location.output_name(), PathBuf::from("10.0.0.5_554_s_pwd"));
    }
}

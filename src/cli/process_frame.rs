//! `endort process-frame`: findings in pictures.

use std::path::PathBuf;

use super::args::{ModelArgs, RealtimeArgs};

/// Find polyps in pictures
///
/// Prints what was found in each picture; --overlay draws it, --mask writes it as a black and white picture.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Pictures, folders or globs
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<PathBuf>,

    /// Write each picture with its findings drawn, as PNG, to this file or folder
    #[arg(long, value_name = "PATH|DIR")]
    pub overlay: Option<PathBuf>,

    /// Write each picture's mask, an 8-bit PNG of 0 and 255, to this file or folder
    #[arg(long, value_name = "PATH|DIR")]
    pub mask: Option<PathBuf>,

    /// Print one JSON record per picture and nothing else
    #[arg(long)]
    pub json: bool,

    /// The model and what executes it.
    #[command(flatten)]
    pub model: ModelArgs,

    /// The realtime settings.
    #[command(flatten)]
    pub realtime: RealtimeArgs,
}

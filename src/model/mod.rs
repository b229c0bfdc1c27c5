//! A model package: a manifest (`model.json`) beside its artifact, checked before it is used.

mod builtin;
mod check;
mod digest;
mod guess;
pub mod manifest;
pub mod optimization;
mod package;
mod stale;

pub use builtin::names as builtin_names;
pub(crate) use digest::hex_digest;
pub use manifest::{Layout, Manifest};
pub use package::{Artifact, Format, Package};

//! A model package: a manifest (`model.json`) beside its artifact, checked before it is used.

pub mod manifest;

pub use manifest::Manifest;

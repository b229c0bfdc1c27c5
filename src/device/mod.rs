//! What this machine is.

pub mod host;
pub mod memory;

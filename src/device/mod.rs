//! What a machine is and what it should run.
//!
//! [`detect`] looks at a root file system, the live machine's or a captured one, and gives a [`DeviceInfo`]:
//! plain data that the command line prints and a server sends. [`recommend()`] picks the setting to begin with.
//! Nothing here prints, and the environment is handed in ([`VARIABLES`] says what of it counts).
//!
//! ```
//! let options = endort::device::Options::live(std::env::vars());
//! let info = endort::device::detect(&options)?;
//! assert!(info.recommendation.threads >= 1);
//! # Ok::<(), endort::Error>(())
//! ```

mod access;
mod apple;
mod binary;
mod board;
mod bus;
mod camera;
mod command;
mod coral;
mod cpu;
mod detect;
pub mod fingerprint;
mod graphics;
pub mod host;
pub mod info;
mod jetson;
mod library;
mod limits;
pub mod memory;
mod nvidia;
mod packages;
mod probe;
mod raspberry_pi;
pub mod recommend;
mod root;
mod route;
mod runtimes;
mod target;

pub use access::Access;
pub use detect::{Options, VARIABLES, detect, fingerprint};
pub use fingerprint::Fingerprint;
pub use info::{DeviceInfo, Machine};
pub(crate) use library::system_folders;
pub use recommend::{Build, Recommendation, Workload, recommend};
pub use target::Target;

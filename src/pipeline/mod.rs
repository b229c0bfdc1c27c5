//! The lanes that frames travel: stages on named threads, bounded buffers, policies, clock, statistics.
//!
//! [`run::run`] drives a [`Source`](crate::source::Source) through both lanes into a
//! [`Sink`](crate::sink::Sink). [`processor::FrameProcessor`] is the AI lane's work on one frame and can be
//! used alone; [`stream::StreamProcessor`] takes frames that a program pushes itself.

mod account;
pub mod budget;
pub mod buffer;
pub mod clock;
mod lane;
pub mod options;
pub mod present;
pub mod processor;
pub mod report;
pub mod run;
mod stage;
pub mod stats;
pub mod stream;
#[cfg(test)]
mod tests;

pub use budget::{Budget, BudgetRow};
pub use options::{Compose, Pace, Policy, RunOptions};
pub use processor::{Analysis, Analyzer, FrameProcessor};
pub use report::{Progress, RunReport};
pub use run::run;
pub use stream::StreamProcessor;

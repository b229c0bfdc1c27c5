//! A flag that many threads watch and one sets: Ctrl-C, a stopped room, a failed neighbour.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Cancellation that is shared by cloning.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// A flag that is not set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone who watches to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

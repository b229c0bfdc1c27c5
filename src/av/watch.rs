//! Ends a blocking FFmpeg call: on cancellation, and when nothing arrives for too long.

use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ffmpeg_next::ffi;

use crate::cancel::Cancel;

/// What FFmpeg asks every so often while it blocks.
#[derive(Debug)]
pub(crate) struct Watch {
    cancel: Cancel,
    timeout: Option<Duration>,
    started: Instant,
    /// Microseconds after `started` at which the present call is given up; `u64::MAX` for never.
    deadline: AtomicU64,
}

impl Watch {
    /// Watches `cancel`, and gives up a call that takes longer than `timeout`.
    pub(crate) fn new(cancel: Cancel, timeout: Option<Duration>) -> Arc<Self> {
        let watch = Self { cancel, timeout, started: Instant::now(), deadline: AtomicU64::new(u64::MAX) };
        Arc::new(watch)
    }

    /// A blocking call starts now.
    pub(crate) fn arm(&self) {
        self.arm_for(Duration::ZERO);
    }

    /// A blocking call starts now that may go on for `work` after the first data have come.
    pub(crate) fn arm_for(&self, work: Duration) {
        let limit = self
            .timeout
            .map(|timeout| timeout.saturating_add(work).as_micros().min(u128::from(u64::MAX)) as u64);
        let deadline = limit.map_or(u64::MAX, |limit| self.elapsed_us().saturating_add(limit));
        self.deadline.store(deadline, Ordering::Relaxed);
    }

    /// Whether the run was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// Whether the present call took too long.
    pub(crate) fn is_late(&self) -> bool {
        self.elapsed_us() > self.deadline.load(Ordering::Relaxed)
    }

    /// The limit for one call.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn elapsed_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }

    /// The callback for an `AVFormatContext`. The caller keeps `self` alive for as long as that context.
    pub(crate) fn callback(self: &Arc<Self>) -> ffi::AVIOInterruptCB {
        ffi::AVIOInterruptCB { callback: Some(interrupt), opaque: Arc::as_ptr(self).cast_mut().cast() }
    }
}

unsafe extern "C" fn interrupt(opaque: *mut c_void) -> c_int {
    // SAFETY: `opaque` is the `Watch` behind the `Arc` that `Input` keeps until its context is closed; it is
    // only read, through atomics and values that never change.
    let watch = unsafe { &*opaque.cast_const().cast::<Watch>() };
    c_int::from(watch.is_cancelled() || watch.is_late())
}

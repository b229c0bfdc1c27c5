//! The CPU engine keeps its buffers: a run asks the allocator for no memory that grows with the pictures.
//!
//! A binary of its own, because it counts by replacing the global allocator.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use endort::model::Package;
use endort::runtime::{Options, open};

/// Bookkeeping of candle's operators is below this; the smallest activation of the network is above.
const LARGE: usize = 2048;

static CALLS: AtomicUsize = AtomicUsize::new(0);
static LARGE_CALLS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which keeps the contract; counting touches
// atomics alone and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Relaxed);
        LARGE_CALLS.fetch_add(usize::from(layout.size() >= LARGE), Relaxed);
        // SAFETY: the caller's promises about `layout` are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `alloc` above, so from `System`, with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_run_keeps_its_buffers() {
    for threads in [1, 2] {
        let options = Options { runtime: "candle-cpu".to_owned(), threads, ..Default::default() };
        let mut engine = open(&Package::open("polyp-lite").unwrap(), &options).unwrap();
        let counts = || (CALLS.load(Relaxed), LARGE_CALLS.load(Relaxed));
        // Threads set themselves up in the first runs.
        (0..3).for_each(|_| assert!(!engine.run().unwrap().is_empty()));
        let before = counts();
        engine.run().unwrap();
        let once = counts();
        (0..20).for_each(|_| assert!(!engine.run().unwrap().is_empty()));
        let after = counts();
        assert!(before.0 > 0, "the allocator does not count");
        assert_eq!(after.1, before.1, "{threads} threads: a run allocates {LARGE} bytes or more at once");
        // What candle notes per operator stays the same from run to run: nothing piles up.
        let per_run = once.0 - before.0;
        assert!(
            after.0 - once.0 <= 20 * (per_run + 16),
            "{per_run} calls in one run, then {}",
            after.0 - once.0
        );
    }
}

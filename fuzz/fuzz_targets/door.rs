//! Whatever bytes a client sends, as the front door reads them before it knows who sends them: the head, the route,
//! the query, a form. Coverage-guided; needs a nightly compiler and cargo-fuzz:
//!
//! ```sh
//! cargo +nightly fuzz run door fuzz/corpus/door fuzz/seeds/door -- -max_total_time=300
//! ```
//!
//! The files are the program's own, compiled here without FFmpeg and candle, so that a run starts within a minute.

#![no_main]
#![allow(dead_code)]

#[path = "../../src/error.rs"]
mod error;
#[path = "../door/mod.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| server::knock(bytes));

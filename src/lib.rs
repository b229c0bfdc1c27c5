//! Real-time AI on endoscopy video.
//!
//! A [`frame::Frame`] comes from a [`source`], passes two lanes of the [`pipeline`] and ends in a
//! [`sink`]:
//!
//! ```text
//!             ┌──────────── video lane: never waits for the AI ────────────┐
//! source ──► decode ──► frame ──────────────────────────► overlay ──► sink / display
//!                         │                                  ▲
//!                         └► preprocess ► infer ► postprocess ► track
//!                            └────────── AI lane: bounded, may drop ──────┘
//! ```
//!
//! Dependencies point down only:
//! `cli → {server, optimize} → pipeline → {source, vision, runtime, sink} → {model, device} → graph ← format`, and
//! everything may use [`frame`], [`record`], [`error`] and [`cancel`]. A foreign library has one home: `ffmpeg_next` in
//! [`av`], candle in [`runtime`], `tiny_http`, `tungstenite` and `rustls` in [`server`].
//!
//! endort is research software. It is not a medical device and must not be used to diagnose.

pub mod av;
pub mod cancel;
pub mod cli;
pub mod config;
pub mod device;
pub mod error;
pub mod format;
pub mod frame;
pub mod graph;
pub mod model;
pub mod optimize;
pub mod pipeline;
pub mod record;
pub mod runtime;
pub mod server;
pub mod sink;
pub mod source;
pub mod vision;

pub use error::{Error, Result};

//! Tests of the `endort` program and of the library's public surface, in one binary.

// A test that cannot go on has failed: that is what panics are for here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod bench;
mod camera;
mod detect_device;
mod engine;
mod fastest;
mod field_of_view;
mod generated;
mod gpu;
mod hostile;
mod media_bad;
mod media_clips;
mod media_decode;
mod media_inputs;
mod media_live;
mod media_picture;
mod media_video;
mod model_package;
mod onnx_out;
mod optimize;
mod process_frame;
mod program;
mod random;
mod real_frames;
mod schema;
mod serve;
mod serve_access;
mod serve_bounds;
mod serve_clients;
mod serve_deidentify;
mod serve_deploy;
mod serve_door;
mod serve_openapi;
mod serve_record;
mod serve_rooms;
mod serve_video;
mod serve_websocket;
mod settings;
mod small_model;
mod stream;
mod synthetic;
mod tensorrt;
mod tflite;
mod vendor;

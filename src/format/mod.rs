//! Networks in and out of files: one file or folder per format.

pub mod onnx;
pub mod tflite;

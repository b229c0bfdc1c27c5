//! What a runtime computes a network in, which need not be the number format of its weights.

use crate::config::Precision;

/// How `runtime`, named as records show it, computes a network of that precision, as far as it is known.
///
/// Candle's engines round to an 8-bit grid and compute in floats. On a processor every runtime widens 16-bit weights, as
/// ONNX Runtime does on CUDA, where the file says so, and OpenVINO where it chooses the device. ONNX Runtime chooses
/// kernels layer by layer.
#[must_use]
pub fn computed_in(runtime: &str, precision: Precision) -> &'static str {
    let widens = runtime.ends_with("-cpu") || ["onnxruntime-cuda", "openvino-auto"].contains(&runtime);
    match precision {
        Precision::Fp16 if widens => Precision::Fp32.as_str(),
        Precision::Fp16 => precision.as_str(),
        _ if runtime.starts_with("candle") => Precision::Fp32.as_str(),
        Precision::Int8 if runtime == "onnxruntime-cpu" => "int8 or fp32, layer by layer",
        _ => precision.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_widen_and_candle_rounds_in_floats() {
        for (runtime, precision, computed) in [
            ("candle-cpu", Precision::Fp32, "fp32"),
            ("candle-cpu", Precision::Fp16, "fp32"),
            ("candle-cpu", Precision::Int8, "fp32"),
            ("candle-cuda", Precision::Fp16, "fp16"),
            ("candle-metal", Precision::Int8, "fp32"),
            ("onnxruntime-cpu", Precision::Int8, "int8 or fp32, layer by layer"),
            ("onnxruntime-tensorrt", Precision::Int8, "int8"),
            ("openvino-cpu", Precision::Fp16, "fp32"),
            ("openvino-auto", Precision::Fp16, "fp32"),
            ("openvino-gpu", Precision::Fp16, "fp16"),
            ("openvino-npu", Precision::Fp16, "fp16"),
            ("onnxruntime-cuda", Precision::Fp16, "fp32"),
            ("onnxruntime-tensorrt", Precision::Fp16, "fp16"),
            ("tflite-cpu", Precision::Int8, "int8"),
            ("edge-tpu", Precision::Int8, "int8"),
        ] {
            assert_eq!(computed_in(runtime, precision), computed, "{runtime} in {precision}");
        }
    }
}

//! What `endort optimize` records in the manifest of a package that it wrote.

use serde::{Deserialize, Serialize};

use super::builtin;
use crate::config::Precision;

/// Where an optimized package came from, how it was made and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Optimization {
    /// Version of endort that wrote it.
    pub endort: String,
    /// The kind of device it was made for.
    pub target: String,
    /// Number format of the weights and, for `int8`, the activations.
    pub precision: String,
    /// The model it was made from.
    pub source: SourceModel,
    /// How it was made.
    pub settings: OptimizationSettings,
    /// What the ranges of activations were found on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// The same network as TFLite, for runtimes that take that; the artifact is its twin for all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tflite: Option<String>,
    /// An engine that was built for one device, beside the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<DeviceEngine>,
    /// What was measured before and after, as the report has it.
    #[serde(default)]
    pub results: serde_json::Value,
}

impl Optimization {
    /// Of a package that is not written yet, what runtimes need to know: the number format that it holds.
    pub fn holding(precision: Precision) -> Self {
        Self {
            endort: String::new(),
            target: String::new(),
            precision: precision.as_str().to_owned(),
            source: SourceModel { model: String::new(), sha256: String::new() },
            settings: OptimizationSettings::default(),
            calibration: None,
            tflite: None,
            engine: None,
            results: serde_json::Value::Null,
        }
    }
}

/// The model that an optimized package was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceModel {
    /// What `--model` called it.
    pub model: String,
    /// SHA-256 of its artifact, in lower-case hex.
    pub sha256: String,
}

impl SourceModel {
    /// A built-in name as it is; a file or folder by its absolute path, so that it is found again from anywhere.
    pub fn of(model: &str, sha256: &str) -> Self {
        let place = match builtin::find(model) {
            Some(_) => None,
            None => std::path::absolute(model).ok(),
        };
        let model = place.map_or_else(|| model.to_owned(), |place| place.display().to_string());
        Self { model, sha256: sha256.to_owned() }
    }
}

/// How a package was made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct OptimizationSettings {
    /// Width and height of the network's input.
    pub input_size: [usize; 2],
    /// Rules that the integer grid keeps; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// How ranges were chosen; absent without calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Percent of the values that the method `percentile` keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
    /// Whether biases make up for the rounding of weights.
    #[serde(default)]
    pub bias_correction: bool,
    /// Layers that stayed floats.
    #[serde(default)]
    pub keep_float: Vec<String>,
}

/// The pictures that calibration saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The files, folders or addresses as they were named.
    pub sources: Vec<String>,
    /// Number of frames.
    pub frames: usize,
    /// SHA-256 of the network's inputs in order, in lower-case hex.
    pub sha256: String,
}

/// An engine that runs on one kind of device alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceEngine {
    /// File name within the package.
    pub file: String,
    /// The device.
    pub device: String,
    /// Its driver's version.
    pub driver: String,
}

//! The kinds of device that a model can be made for.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Precision;

/// What `endort optimize --target` can make a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// Any processor.
    Cpu,
    /// NVIDIA's TensorRT and CUDA.
    Jetson,
    /// Google's Edge TPU.
    Coral,
    /// TensorFlow Lite on ARM.
    RaspberryPi,
    /// Metal and CoreML.
    Apple,
    /// OpenVINO.
    Intel,
}

impl Target {
    /// The word for it, as `--target` takes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Jetson => "jetson",
            Self::Coral => "coral",
            Self::RaspberryPi => "raspberry-pi",
            Self::Apple => "apple",
            Self::Intel => "intel",
        }
    }

    /// The number format that suits it.
    pub const fn precision(self) -> Precision {
        match self {
            Self::Cpu => Precision::Fp32,
            Self::Jetson | Self::Apple | Self::Intel => Precision::Fp16,
            Self::Coral | Self::RaspberryPi => Precision::Int8,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

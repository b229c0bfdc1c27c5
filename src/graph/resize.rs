//! Resizing: which source samples each output sample is made of, per axis.
//!
//! Follows the ONNX operator specification (Resize, opset 19), which also covers `Upsample`.

/// Attributes of a resize of `[n, c, h, w]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resize {
    /// Interpolation.
    pub mode: Interpolation,
    /// How output coordinates map to input coordinates.
    pub coordinates: Coordinates,
    /// Output height and width.
    pub size: [usize; 2],
    /// Output extent over input extent as the file states it; rounding makes it differ from the ratio of sizes.
    pub scale: [f32; 2],
}

/// How values between samples are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The nearest sample.
    Nearest(Rounding),
    /// Linear along each axis.
    Linear,
}

/// Which sample is nearest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// Round; halves go down.
    PreferFloor,
    /// Round; halves go up.
    PreferCeil,
    /// Always down.
    Floor,
    /// Always up.
    Ceil,
}

/// How output coordinates map to input coordinates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coordinates {
    /// Sample centres lie at half pixels.
    HalfPixel,
    /// As `HalfPixel`, but an output of one sample maps to 0.
    PytorchHalfPixel,
    /// x / scale.
    Asymmetric,
    /// First and last samples coincide.
    AlignCorners,
}

/// The two samples that make one output sample: `(1 - fraction) * low + fraction * high`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    /// Index of the first sample.
    pub low: usize,
    /// Index of the second sample.
    pub high: usize,
    /// Share of the second sample.
    pub fraction: f32,
}

impl Resize {
    /// The taps of every output sample along one axis (0: rows, 1: columns) of an input of `extent` samples.
    pub fn taps(&self, axis: usize, extent: usize) -> Vec<Tap> {
        let (out, scale) = (self.size[axis], self.scale[axis]);
        let last = extent.saturating_sub(1);
        (0..out)
            .map(|i| {
                let x = self.coordinates.source(i, out, extent, scale);
                match self.mode {
                    Interpolation::Linear => {
                        let x = x.clamp(0.0, last as f32);
                        let low = (x.floor() as usize).min(last);
                        Tap { low, high: (low + 1).min(last), fraction: x - low as f32 }
                    }
                    Interpolation::Nearest(rounding) => {
                        let low = (rounding.round(x).max(0.0) as usize).min(last);
                        Tap { low, high: low, fraction: 0.0 }
                    }
                }
            })
            .collect()
    }
}

impl Coordinates {
    fn source(self, i: usize, out: usize, extent: usize, scale: f32) -> f32 {
        let x = i as f32;
        match self {
            Self::HalfPixel => (x + 0.5) / scale - 0.5,
            Self::PytorchHalfPixel if out > 1 => (x + 0.5) / scale - 0.5,
            Self::AlignCorners if out > 1 => x * (extent as f32 - 1.0) / (out as f32 - 1.0),
            Self::PytorchHalfPixel | Self::AlignCorners => 0.0,
            Self::Asymmetric => x / scale,
        }
    }
}

impl Rounding {
    fn round(self, x: f32) -> f32 {
        match self {
            Self::PreferFloor => (x - 0.5).ceil(),
            Self::PreferCeil => (x + 0.5).floor(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(mode: Interpolation, coordinates: Coordinates, extent: usize, out: usize) -> Vec<f32> {
        let r = Resize { mode, coordinates, size: [out, 1], scale: [out as f32 / extent as f32, 1.0] };
        r.taps(0, extent)
            .iter()
            .map(|t| t.low as f32 * (1.0 - t.fraction) + t.high as f32 * t.fraction)
            .collect()
    }

    #[test]
    fn doubling_matches_the_specification() {
        let linear = Interpolation::Linear;
        assert_eq!(weights(linear, Coordinates::HalfPixel, 2, 4), [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(weights(linear, Coordinates::Asymmetric, 2, 4), [0.0, 0.5, 1.0, 1.0]);
        assert_eq!(weights(linear, Coordinates::AlignCorners, 2, 3), [0.0, 0.5, 1.0]);
        assert_eq!(weights(linear, Coordinates::PytorchHalfPixel, 4, 1), [0.0]);
        let floor = Interpolation::Nearest(Rounding::Floor);
        assert_eq!(weights(floor, Coordinates::Asymmetric, 2, 4), [0.0, 0.0, 1.0, 1.0]);
        let prefer = Interpolation::Nearest(Rounding::PreferFloor);
        assert_eq!(weights(prefer, Coordinates::HalfPixel, 2, 4), [0.0, 0.0, 1.0, 1.0]);
    }
}

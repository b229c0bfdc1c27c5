//! Numbers on an integer grid: what [`Op::Quantize`](super::Op::Quantize) and
//! [`Op::Dequantize`](super::Op::Dequantize) mean, and how a quantized graph is written down.
//!
//! real = scale · (stored - zero point) (Jacob et al., Quantization and Training of Neural Networks for
//! Efficient Integer-Arithmetic-Only Inference, 2018). A quantized graph is an ordinary graph of float
//! operators with the grid made explicit around them, as ONNX's QDQ form has it:
//!
//! ```text
//! image ─► Quantize ─► Dequantize ─► Conv ─► Quantize ─► Dequantize ─► …  ─► Quantize ─► Dequantize ─► mask
//!              int8 weights ─► Dequantize ─┘│
//!             int32 biases ─► Dequantize ───┘
//! ```
//!
//! - Inputs and outputs of the graph stay floats. An exporter with integer inputs and outputs leaves the
//!   first `Quantize` and the last `Dequantize` out and takes their scale and zero point instead.
//! - Between `Quantize` and `Dequantize` a value holds whole numbers. It is used by `Dequantize` alone, and
//!   each `Quantize` has exactly one `Dequantize`, with equal parameters, whose result all users share.
//! - Activations have one scale and one zero point per tensor ([`Quantization::axis`] is `None`), as int8.
//! - A `Dequantize` that feeds a `Quantize` of other parameters is a requantization.
//! - Weights are integer constants behind a `Dequantize`, int8, zero point 0 (symmetric, -127..=127). `Conv`
//!   has a scale per output channel (axis 0), `ConvTranspose` with one group too (axis 1); `Gemm` and
//!   `MatMul` per output column or, where a target wants that, one.
//! - Biases are int32 constants behind a `Dequantize`, zero point 0, scale = scale of the input · scale of
//!   the weights, per channel as the weights are. Where the input is float, so is the bias.
//! - Convolutions hold no fused residual and no activation but `Relu` and `Clip`; everything else is an
//!   operator of its own with its own `Quantize` behind.
//! - Operators that only move or select values (maximum pooling, averages over windows, resizing, joining,
//!   slicing, padding, reshaping, transposing) have the same parameters on all inputs and the output.
//! - Operators whose inputs or outputs bear no `Dequantize`/`Quantize` compute in floats.
//!
//! Integer constants are [`Data::I64`](super::tensor::Data) whatever their width in a file: the
//! [`Integer`] of the `Dequantize` behind tells it. [`Graph::push`](super::Graph::push) does not fold these
//! two operators, so that a graph keeps its grid; [`passes::run_all`](super::passes::run_all) does, for
//! engines that compute in floats.

/// An integer type of stored values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Integer {
    /// -128..=127.
    Int8,
    /// 0..=255.
    Uint8,
    /// 32 bits with a sign; for biases.
    Int32,
}

impl Integer {
    /// Smallest value.
    pub fn min(self) -> i32 {
        match self {
            Self::Int8 => -128,
            Self::Uint8 => 0,
            Self::Int32 => i32::MIN,
        }
    }

    /// Largest value.
    pub fn max(self) -> i32 {
        match self {
            Self::Int8 => 127,
            Self::Uint8 => 255,
            Self::Int32 => i32::MAX,
        }
    }
}

/// Scale and zero point of a tensor, or of each slice of it along one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// Distance of neighbouring values; one, or one per slice. Positive and finite.
    pub scale: Vec<f32>,
    /// The stored value that means 0; as many as scales.
    pub zero_point: Vec<i32>,
    /// The axis whose slices have scales of their own.
    pub axis: Option<usize>,
    /// How values are stored.
    pub integer: Integer,
}

impl Quantization {
    /// One scale and zero point for the whole tensor.
    pub fn per_tensor(scale: f32, zero_point: i32, integer: Integer) -> Self {
        Self { scale: vec![scale], zero_point: vec![zero_point], axis: None, integer }
    }

    /// One scale per slice of `axis`, zero points 0.
    pub fn per_axis(scale: Vec<f32>, axis: usize, integer: Integer) -> Self {
        Self { zero_point: vec![0; scale.len()], scale, axis: Some(axis), integer }
    }

    /// The stored value of `x` in slice `slice` (0 per tensor): rounded, halves to even, and limited.
    pub fn store(&self, x: f32, slice: usize) -> i32 {
        let (low, high) = (f64::from(self.integer.min()), f64::from(self.integer.max()));
        let grid = (x / self.scale[slice]).round_ties_even();
        (f64::from(grid) + f64::from(self.zero_point[slice])).clamp(low, high) as i32
    }

    /// What a stored value means in slice `slice`.
    pub fn value(&self, stored: i32, slice: usize) -> f32 {
        (i64::from(stored) - i64::from(self.zero_point[slice])) as f32 * self.scale[slice]
    }

    /// Slices of a tensor of these extents: how many values lie together in one, and how many slices there
    /// are before they repeat.
    pub fn slices(&self, shape: &[usize]) -> (usize, usize) {
        match self.axis {
            Some(axis) => (shape[axis + 1..].iter().product(), self.scale.len()),
            None => (shape.iter().product(), 1),
        }
    }

    /// An error says why these parameters do not fit a tensor of this shape.
    pub fn check(&self, shape: &[usize]) -> Result<(), String> {
        let expected = match self.axis {
            Some(axis) => {
                *shape.get(axis).ok_or_else(|| format!("axis {axis} does not exist in {shape:?}"))?
            }
            None => 1,
        };
        if self.scale.len() != expected || self.zero_point.len() != expected {
            let (scales, zeros) = (self.scale.len(), self.zero_point.len());
            return Err(format!("has {scales} scales and {zeros} zero points, not {expected}"));
        }
        if let Some(scale) = self.scale.iter().find(|s| !(s.is_finite() && **s > 0.0)) {
            return Err(format!("has the scale {scale}"));
        }
        let range = self.integer.min()..=self.integer.max();
        match self.zero_point.iter().find(|z| !range.contains(z)) {
            Some(zero) => Err(format!("has the zero point {zero}, outside of {:?}", self.integer)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_rounded_to_even_and_limited() {
        let q = Quantization::per_tensor(0.5, 3, Integer::Int8);
        assert_eq!([0.0, 0.25, 0.75, -0.25, 1e9, -1e9].map(|x| q.store(x, 0)), [3, 3, 5, 3, 127, -128]);
        assert_eq!(q.value(q.store(7.5, 0), 0), 7.5);
    }

    #[test]
    fn parameters_must_fit_their_tensor() {
        let per_axis = Quantization::per_axis(vec![1.0, 2.0], 1, Integer::Int8);
        assert!(per_axis.check(&[4, 2]).is_ok());
        assert!(per_axis.check(&[2, 4]).is_err());
        assert!(per_axis.check(&[2]).is_err());
        assert!(Quantization::per_tensor(0.0, 0, Integer::Int8).check(&[1]).is_err());
        assert!(Quantization::per_tensor(f32::NAN, 0, Integer::Int8).check(&[1]).is_err());
        assert!(Quantization::per_tensor(1.0, 200, Integer::Int8).check(&[1]).is_err());
    }
}

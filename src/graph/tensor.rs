//! Constant tensors, and the bounds that keep a hostile file from filling the memory.

use half::f16;

/// Largest number of elements of one tensor, constant or not (512 MiB of 32-bit floats).
pub const MAX_TENSOR_ELEMENTS: usize = 1 << 27;

/// Largest number of axes of a tensor.
pub const MAX_RANK: usize = 8;

/// The values of a constant tensor. Half-precision and double files are converted when read.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Network values and weights.
    F32(Vec<f32>),
    /// Shapes, axes, indices and truth values.
    I64(Vec<i64>),
}

/// A constant tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// Number of elements of `shape`, or a description of which bound it breaks.
pub fn element_count(shape: &[usize]) -> Result<usize, String> {
    if shape.len() > MAX_RANK {
        return Err(format!("a tensor has {} axes, more than the limit of {MAX_RANK}", shape.len()));
    }
    shape
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d).filter(|&n| n <= MAX_TENSOR_ELEMENTS))
        .ok_or_else(|| format!("shape {shape:?} exceeds the limit of {MAX_TENSOR_ELEMENTS} elements"))
}

impl From<f32> for Tensor {
    /// A tensor without axes.
    fn from(value: f32) -> Self {
        Self { shape: vec![], data: Data::F32(vec![value]) }
    }
}

impl Tensor {
    /// A tensor of floats; an error unless `data` fits `shape` and both are within bounds.
    pub fn f32(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, String> {
        Self::new(shape, Data::F32(data))
    }

    /// A tensor of integers; an error unless `data` fits `shape` and both are within bounds.
    pub fn i64(shape: Vec<usize>, data: Vec<i64>) -> Result<Self, String> {
        Self::new(shape, Data::I64(data))
    }

    /// A tensor over `data`; an error unless it fits `shape` and both are within bounds.
    pub fn new(shape: Vec<usize>, data: Data) -> Result<Self, String> {
        let len = match &data {
            Data::F32(v) => v.len(),
            Data::I64(v) => v.len(),
        };
        let expected = element_count(&shape)?;
        if expected != len {
            return Err(format!("shape {shape:?} wants {expected} values, there are {len}"));
        }
        Ok(Self { shape, data })
    }

    /// Extents, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match &self.data {
            Data::F32(v) => v.len(),
            Data::I64(v) => v.len(),
        }
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values, if they are floats.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            Data::F32(v) => Some(v),
            Data::I64(_) => None,
        }
    }

    /// The values, if they are integers.
    pub fn as_i64(&self) -> Option<&[i64]> {
        match &self.data {
            Data::I64(v) => Some(v),
            Data::F32(_) => None,
        }
    }

    /// The single value as a float, whatever its type.
    pub fn scalar(&self) -> Option<f32> {
        match &self.data {
            Data::F32(v) if v.len() == 1 => Some(v[0]),
            Data::I64(v) if v.len() == 1 => Some(v[0] as f32),
            _ => None,
        }
    }

    /// The values as floats, whatever their type.
    pub fn to_f32(&self) -> std::borrow::Cow<'_, [f32]> {
        match &self.data {
            Data::F32(v) => v.into(),
            Data::I64(v) => v.iter().map(|&i| i as f32).collect(),
        }
    }

    /// The same values under another shape of the same size.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, String> {
        Self::new(shape, self.data.clone())
    }
}

/// Whether values keep their meaning in half precision: nothing becomes infinite.
pub fn fits_half(values: &[f32]) -> bool {
    values.iter().all(|v| v.abs() <= f16::MAX.to_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_checked_before_anything_is_allocated() {
        assert_eq!(element_count(&[2, 3, 4]), Ok(24));
        assert_eq!(element_count(&[]), Ok(1));
        assert!(element_count(&[usize::MAX, 2]).is_err());
        assert!(element_count(&[MAX_TENSOR_ELEMENTS, 2]).is_err());
        assert!(element_count(&[1; MAX_RANK + 1]).is_err());
    }

    #[test]
    fn data_must_fit_the_shape() {
        assert!(Tensor::f32(vec![2, 2], vec![0.0; 3]).is_err());
        assert!(Tensor::i64(vec![3], vec![1, 2, 3]).is_ok());
    }
}

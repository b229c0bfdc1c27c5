//! Onto an integer grid and back. Stored values are whole numbers carried in floats, exact up to 2^24.

use super::View;
use crate::graph::quantization::Quantization;

/// Stored values of real ones.
pub fn quantize(q: &Quantization, x: View<'_>, out: &mut [f32]) {
    let (inner, slices) = q.slices(x.shape);
    for (i, (o, x)) in out.chunks_mut(inner.max(1)).zip(x.data.chunks(inner.max(1))).enumerate() {
        o.iter_mut().zip(x).for_each(|(o, &x)| *o = q.store(x, i % slices) as f32);
    }
}

/// Real values of stored ones.
pub fn dequantize(q: &Quantization, x: View<'_>, out: &mut [f32]) {
    let (inner, slices) = q.slices(x.shape);
    for (i, (o, x)) in out.chunks_mut(inner.max(1)).zip(x.data.chunks(inner.max(1))).enumerate() {
        let (scale, zero) = (q.scale[i % slices], q.zero_point[i % slices] as f32);
        o.iter_mut().zip(x).for_each(|(o, &x)| *o = (x - zero) * scale);
    }
}

//! Weights in half precision: each is rounded to the nearest 16-bit float.
//!
//! The graph's arithmetic stays 32-bit; a writer stores the weights in half the bytes, and a runtime that
//! computes in half precision meets the same weights.

use half::f16;

use crate::graph::tensor::{Data, fits_half};
use crate::graph::{Graph, Tensor};

/// Rounds them. Returns how many tensors became halves and how many do not fit their range.
pub fn run(graph: &mut Graph) -> (usize, usize) {
    let (mut rounded, mut too_large) = (0, 0);
    for value in &mut graph.values {
        let Some(Data::F32(v)) = value.constant.as_ref().map(Tensor::data) else { continue };
        if v.len() < 2 {
            continue;
        }
        if !fits_half(v) {
            too_large += 1;
            continue;
        }
        let halves = v.iter().map(|&x| f16::from_f32(x).to_f32()).collect();
        if let Ok(tensor) = Tensor::f32(value.shape.clone(), halves) {
            value.constant = Some(tensor);
            rounded += 1;
        }
    }
    (rounded, too_large)
}

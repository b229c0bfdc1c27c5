//! Matrix products.

use super::View;
use super::movement::{Walk, strides};

/// alpha A'B' + beta C.
pub fn gemm(
    alpha: f32,
    beta: f32,
    trans_a: bool,
    trans_b: bool,
    inputs: &[View<'_>],
    shape: &[usize],
    out: &mut [f32],
) {
    let (a, b) = (inputs[0], inputs[1]);
    let [m, n] = [shape[0], shape[1]];
    let k = a.shape[usize::from(!trans_a)];
    for i in 0..m {
        for j in 0..n {
            let sum: f32 = (0..k)
                .map(|p| {
                    let left = if trans_a { a.data[p * m + i] } else { a.data[i * k + p] };
                    let right = if trans_b { b.data[j * k + p] } else { b.data[p * n + j] };
                    left * right
                })
                .sum();
            out[i * n + j] = alpha * sum;
        }
    }
    if let Some(c) = inputs.get(2) {
        let rows = if c.shape.len() == 2 { c.shape[0] } else { 1 };
        let columns = c.shape.last().copied().unwrap_or(1);
        for (at, o) in out.iter_mut().enumerate() {
            let (i, j) = (at / n, at % n);
            let row = if rows == 1 { 0 } else { i };
            let column = if columns == 1 { 0 } else { j };
            *o += beta * c.data[row * columns + column];
        }
    }
}

/// Matrix product over the last two axes, broadcasting the others.
pub fn matmul(a: View<'_>, b: View<'_>, shape: &[usize], out: &mut [f32]) {
    let rank = shape.len();
    let [m, n] = [shape[rank - 2], shape[rank - 1]];
    let k = a.shape[a.shape.len() - 1];
    let batch = &shape[..rank - 2];
    let (sa, sb) = (batch_strides(a.shape, batch), batch_strides(b.shape, batch));
    let mut walk = Walk::new(batch);
    if m * n == 0 {
        return;
    }
    for block in out.chunks_exact_mut(m * n) {
        let left = &a.data[walk.offset(&sa)..][..m * k];
        let right = &b.data[walk.offset(&sb)..][..k * n];
        block.fill(0.0);
        for i in 0..m {
            let row = &mut block[i * n..][..n];
            for p in 0..k {
                let factor = left[i * k + p];
                row.iter_mut().zip(&right[p * n..][..n]).for_each(|(o, r)| *o += factor * r);
            }
        }
        walk.step();
    }
}

/// Distance between matrices along each batch axis; zero where the tensor is broadcast.
fn batch_strides(shape: &[usize], batch: &[usize]) -> Vec<usize> {
    let own = &shape[..shape.len() - 2];
    let distance = strides(shape);
    let missing = batch.len() - own.len();
    (0..batch.len())
        .map(|i| match i.checked_sub(missing) {
            Some(j) if own[j] != 1 => distance[j],
            _ => 0,
        })
        .collect()
}

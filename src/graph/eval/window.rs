//! Pooling and resizing.

use super::View;
use crate::graph::op::{Pool, PoolKind};
use crate::graph::resize::Resize;

/// Maximum or mean over a sliding window.
pub fn pool(p: &Pool, x: View<'_>, shape: &[usize], out: &mut [f32]) {
    let [height, width] = [x.shape[2], x.shape[3]];
    let [rows, columns] = [shape[2], shape[3]];
    for (plane, o) in out.chunks_exact_mut((rows * columns).max(1)).enumerate() {
        let source = &x.data[plane * height * width..][..height * width];
        for i in 0..rows {
            for j in 0..columns {
                o[i * columns + j] = window(p, source, [height, width], i, j);
            }
        }
    }
}

fn window(p: &Pool, x: &[f32], extent: [usize; 2], i: usize, j: usize) -> f32 {
    let (mut max, mut sum, mut count, mut padded) = (f32::NEG_INFINITY, 0.0, 0usize, 0usize);
    for u in 0..p.kernel[0] {
        for v in 0..p.kernel[1] {
            let row = i * p.strides[0] + u * p.dilations[0];
            let column = j * p.strides[1] + v * p.dilations[1];
            padded += 1;
            let (Some(row), Some(column)) = (row.checked_sub(p.pads[0]), column.checked_sub(p.pads[1]))
            else {
                continue;
            };
            if row < extent[0] && column < extent[1] {
                let value = x[row * extent[1] + column];
                max = if value > max || value.is_nan() { value } else { max };
                sum += value;
                count += 1;
            }
        }
    }
    match p.kind {
        PoolKind::Max => max,
        PoolKind::Average { count_include_pad } => {
            sum / (if count_include_pad { padded } else { count.max(1) }) as f32
        }
    }
}

/// Scales the last two axes.
pub fn resize(r: &Resize, x: View<'_>, out: &mut [f32]) {
    let [height, width] = [x.shape[2], x.shape[3]];
    let (rows, columns) = (r.taps(0, height), r.taps(1, width));
    let plane_out = (rows.len() * columns.len()).max(1);
    for (o, source) in out.chunks_exact_mut(plane_out).zip(x.data.chunks_exact(height * width)) {
        for (o, row) in o.chunks_exact_mut(columns.len()).zip(&rows) {
            let low = &source[row.low * width..][..width];
            let high = &source[row.high * width..][..width];
            for (o, c) in o.iter_mut().zip(&columns) {
                let mix = |line: &[f32]| line[c.low] * (1.0 - c.fraction) + line[c.high] * c.fraction;
                *o = mix(low) * (1.0 - row.fraction) + mix(high) * row.fraction;
            }
        }
    }
}

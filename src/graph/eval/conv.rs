//! Convolution and its transpose, by their definition.

use super::View;
use crate::graph::op::{Conv, ConvTranspose, Residual};

/// y[o, i, j] = b[o] + Σ w[o, c, u, v] x[c, i·s + u·d - p, j·s + v·d - p]; then residual and activation.
pub fn conv(c: &Conv, inputs: &[View<'_>], shape: &[usize], out: &mut [f32]) {
    let (x, w) = (inputs[0], inputs[1]);
    let bias = c.bias.then(|| inputs[2].data);
    let residual = c.residual.and_then(|order| Some((order, inputs.last()?.data)));
    let [channels, height, width] = [x.shape[1], x.shape[2], x.shape[3]];
    let [out_channels, rows, columns] = [shape[1], shape[2], shape[3]];
    let [per_group, kh, kw] = [w.shape[1], w.shape[2], w.shape[3]];
    let group_out = out_channels / c.groups;
    let mut at = 0;
    for n in 0..shape[0] {
        for o in 0..out_channels {
            let first = o / group_out * per_group;
            for i in 0..rows {
                for j in 0..columns {
                    let mut sum = bias.map_or(0.0, |b| b[o]);
                    for p in 0..per_group {
                        let plane = &x.data[(n * channels + first + p) * height * width..];
                        let kernel = &w.data[(o * per_group + p) * kh * kw..];
                        for u in 0..kh {
                            let Some(row) = source(i, c.strides[0], u, c.dilations[0], c.pads[0], height)
                            else {
                                continue;
                            };
                            for v in 0..kw {
                                if let Some(column) =
                                    source(j, c.strides[1], v, c.dilations[1], c.pads[1], width)
                                {
                                    sum += kernel[u * kw + v] * plane[row * width + column];
                                }
                            }
                        }
                    }
                    if let Some((Residual::BeforeActivation, r)) = residual {
                        sum += r[at];
                    }
                    sum = c.activation.map_or(sum, |a| a.apply(sum));
                    if let Some((Residual::AfterActivation, r)) = residual {
                        sum += r[at];
                    }
                    out[at] = sum;
                    at += 1;
                }
            }
        }
    }
}

/// Input position of an output position's tap, unless it lies in the padding.
fn source(i: usize, stride: usize, tap: usize, dilation: usize, pad: usize, extent: usize) -> Option<usize> {
    (i * stride + tap * dilation).checked_sub(pad).filter(|&at| at < extent)
}

/// Each input value is spread over the kernel: y[o, i·s + u·d - p, j·s + v·d - p] += w[c, o, u, v] x[c, i, j].
pub fn conv_transpose(c: &ConvTranspose, inputs: &[View<'_>], shape: &[usize], out: &mut [f32]) {
    let (x, w) = (inputs[0], inputs[1]);
    let [channels, height, width] = [x.shape[1], x.shape[2], x.shape[3]];
    let [out_channels, rows, columns] = [shape[1], shape[2], shape[3]];
    let [per_group, kh, kw] = [w.shape[1], w.shape[2], w.shape[3]];
    let group_in = channels / c.groups;
    for (i, plane) in out.chunks_exact_mut((rows * columns).max(1)).enumerate() {
        plane.fill(if c.bias { inputs[2].data[i % out_channels] } else { 0.0 });
    }
    for n in 0..shape[0] {
        for p in 0..channels {
            let first = p / group_in * per_group;
            for q in 0..per_group {
                let plane = &mut out[(n * out_channels + first + q) * rows * columns..][..rows * columns];
                let kernel = &w.data[(p * per_group + q) * kh * kw..][..kh * kw];
                let source = &x.data[(n * channels + p) * height * width..][..height * width];
                for (at, &value) in source.iter().enumerate() {
                    let (i, j) = (at / width, at % width);
                    for (k, &weight) in kernel.iter().enumerate() {
                        let row = (i * c.strides[0] + k / kw * c.dilations[0]).checked_sub(c.pads[0]);
                        let column = (j * c.strides[1] + k % kw * c.dilations[1]).checked_sub(c.pads[1]);
                        if let (Some(row), Some(column)) = (row, column)
                            && row < rows
                            && column < columns
                        {
                            plane[row * columns + column] += weight * value;
                        }
                    }
                }
            }
        }
    }
    if let Some(a) = c.activation {
        out.iter_mut().for_each(|v| *v = a.apply(*v));
    }
}

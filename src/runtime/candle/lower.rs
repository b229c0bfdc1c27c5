//! Each graph operator in candle's own operators.
//!
//! Where candle has no operator of that kind (windows over padding, any resize but two, depthwise layers at
//! a bearable speed), the result is made of those that every device has: shifted views and products with
//! matrices that are worked out once. On NVIDIA GPUs the commonest of these are kernels of our own instead
//! (`cuda.rs`).

use candle_core::{DType, Device, Result, Tensor};

use crate::graph::op::{Binary, Conv, ConvTranspose, Pool, PoolKind, Reduce, Residual};
use crate::graph::quantization::Quantization;
use crate::graph::{Graph, Node, Op, Unary};

/// What is worked out once for a node.
pub enum Step {
    /// Nothing.
    Plain,
    /// Matrices that resize rows and columns.
    Resize { rows: Tensor, columns: Tensor },
    /// Weights of a depthwise convolution, one `[1, c, 1, 1]` per tap.
    Depthwise(Vec<Tensor>),
    /// Reciprocal of the number of values under each position of an averaging window.
    Divisor(Tensor),
    /// A power's constant exponent.
    Exponent(f64),
    /// Indices of `Gather`, or of a slice per axis (`None` for a whole axis).
    Indices(Vec<Option<Tensor>>),
    /// What a resize by a kernel of our own needs to know of rows and columns.
    #[cfg(feature = "cuda")]
    Taps(Tensor),
}

/// Prepares a node to be computed in `dtype`. An error says what candle cannot do.
pub fn prepare(
    graph: &Graph,
    node: &Node,
    device: &Device,
    dtype: DType,
) -> std::result::Result<Step, String> {
    let x = graph.shape(node.inputs[0]);
    let make = || -> Result<Step> {
        Ok(match &node.op {
            #[cfg(feature = "cuda")]
            Op::Resize(r) if super::cuda::resizes(x, r, dtype, device) => {
                Step::Taps(super::cuda::taps(x, r, device)?)
            }
            Op::Resize(r) => {
                let matrix = |axis: usize| {
                    let extent = x[axis + 2];
                    let taps = r.taps(axis, extent);
                    let mut m = vec![0f32; extent * taps.len()];
                    for (i, t) in taps.iter().enumerate() {
                        m[t.low * taps.len() + i] += 1.0 - t.fraction;
                        m[t.high * taps.len() + i] += t.fraction;
                    }
                    Tensor::from_vec(m, (extent, taps.len()), device)?.to_dtype(dtype)
                };
                Step::Resize { rows: matrix(0)?, columns: matrix(1)? }
            }
            // On NVIDIA GPUs there is a kernel for these.
            Op::Conv(c) if is_depthwise(c, graph.shape(node.inputs[1])) && !device.is_cuda() => {
                match graph.constant_f32(node.inputs[1]) {
                    Some(w) => {
                        let taps = taps_of(w, graph.shape(node.inputs[1]), device)?;
                        Step::Depthwise(taps.iter().map(|tap| tap.to_dtype(dtype)).collect::<Result<_>>()?)
                    }
                    None => Step::Plain,
                }
            }
            Op::Pool(p) if matches!(p.kind, PoolKind::Average { .. }) => {
                Step::Divisor(divisor(p, x, graph.shape(node.output), device)?.to_dtype(dtype)?)
            }
            // Candle's power of two tensors goes through the logarithm and has no negative bases.
            Op::Binary(Binary::Pow) => match graph.constant(node.inputs[1]).and_then(|t| t.scalar()) {
                Some(e) => Step::Exponent(f64::from(e)),
                None => Step::Plain,
            },
            Op::Gather { indices, .. } => {
                let indices: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
                Step::Indices(vec![Some(Tensor::new(indices, device)?)])
            }
            Op::Slice { ranges } => {
                let index = |r: &crate::graph::op::SliceRange| {
                    if r.step == 1 || r.len == 0 {
                        return Ok(None);
                    }
                    let at = (0..r.len).map(|i| r.start.wrapping_add_signed(r.step * i as isize) as u32);
                    Tensor::new(at.collect::<Vec<_>>(), device).map(Some)
                };
                Step::Indices(ranges.iter().map(index).collect::<Result<_>>()?)
            }
            _ => Step::Plain,
        })
    };
    match &node.op {
        Op::ConvTranspose(c) if c.strides[0] != c.strides[1] || c.dilations[0] != c.dilations[1] => {
            Err("strides or dilations that differ between the axes".into())
        }
        Op::Pad { mode: crate::graph::op::PadMode::Reflect, .. } => Err("padding by reflection".into()),
        _ => make().map_err(describe),
    }
}

/// An error in one line: with `RUST_BACKTRACE` set, candle appends where it arose.
pub fn describe(error: candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => describe(*inner),
        candle_core::Error::Context { inner, context } => format!("{context}: {}", describe(*inner)),
        other => other.to_string(),
    }
}

fn is_depthwise(c: &Conv, weights: &[usize]) -> bool {
    c.groups > 1 && weights[1] == 1 && weights[0] == c.groups
}

fn taps_of(w: &[f32], shape: &[usize], device: &Device) -> Result<Vec<Tensor>> {
    let (channels, taps) = (shape[0], shape[2] * shape[3]);
    (0..taps)
        .map(|t| {
            let column: Vec<f32> = (0..channels).map(|c| w[c * taps + t]).collect();
            Tensor::from_vec(column, (1, channels, 1, 1), device)
        })
        .collect()
}

/// What the mean over each window is the sum times.
fn divisor(p: &Pool, x: &[usize], out: &[usize], device: &Device) -> Result<Tensor> {
    let PoolKind::Average { count_include_pad } = p.kind else {
        return Tensor::zeros((1, 1, 1, 1), DType::F32, device);
    };
    let inside = |axis: usize, i: usize| {
        let hit = |k: &usize| {
            let at = (i * p.strides[axis] + k * p.dilations[axis]).checked_sub(p.pads[axis]);
            count_include_pad || at.is_some_and(|at| at < x[axis + 2])
        };
        (0..p.kernel[axis]).filter(hit).count().max(1) as f32
    };
    let m = (0..out[2]).flat_map(|i| (0..out[3]).map(move |j| (i, j)));
    let m: Vec<f32> = m.map(|(i, j)| (inside(0, i) * inside(1, j)).recip()).collect();
    Tensor::from_vec(m, (1, 1, out[2], out[3]), device)
}

/// Executes a node.
pub fn execute(op: &Op, step: &Step, inputs: &[Tensor]) -> Result<Tensor> {
    let x = &inputs[0];
    match op {
        Op::Conv(c) => conv(c, step, inputs),
        Op::ConvTranspose(c) => conv_transpose(c, inputs),
        Op::BatchNorm { epsilon } => {
            let shape: Vec<usize> = (0..x.rank()).map(|i| if i == 1 { x.dims()[1] } else { 1 }).collect();
            let factor = (&inputs[1] / (&inputs[4] + f64::from(*epsilon))?.sqrt()?)?;
            let offset = (&inputs[2] - (&inputs[3] * &factor)?)?;
            x.broadcast_mul(&factor.reshape(shape.as_slice())?)?.broadcast_add(&offset.reshape(shape)?)
        }
        Op::Unary(u) => unary(*u, x),
        Op::PRelu => x.relu()?.broadcast_sub(&x.neg()?.relu()?.broadcast_mul(&inputs[1])?),
        Op::Binary(b) => match step {
            Step::Exponent(2.0) => x.sqr(),
            Step::Exponent(e) => x.powf(*e),
            _ => binary(*b, x, &inputs[1]),
        },
        Op::Softmax { axis } => {
            let e = x.broadcast_sub(&x.max_keepdim(*axis)?)?.exp()?;
            e.broadcast_div(&e.sum_keepdim(*axis)?)
        }
        Op::Concat { axis } => Tensor::cat(inputs, *axis),
        Op::Slice { ranges } => {
            let Step::Indices(indices) = step else { candle_core::bail!("was not prepared") };
            let mut x = x.clone();
            for (axis, (r, index)) in ranges.iter().zip(indices).enumerate() {
                x = match index {
                    // It reads a view as if it were the whole.
                    Some(index) => x.contiguous()?.index_select(index, axis)?,
                    None => x.narrow(axis, r.start, r.len)?,
                };
            }
            Ok(x)
        }
        #[cfg(feature = "cuda")]
        Op::Resize(r) if matches!(step, Step::Taps(_)) => {
            let Step::Taps(taps) = step else { candle_core::bail!("was not prepared") };
            super::cuda::resize(x, r, taps)
        }
        Op::Resize(_) => {
            let Step::Resize { rows, columns } = step else { candle_core::bail!("was not prepared") };
            let (n, c, h, w) = x.dims4()?;
            let wide = x.contiguous()?.reshape((n * c * h, w))?.matmul(columns)?;
            let w = columns.dim(1)?;
            let tall = wide.reshape((n * c, h, w))?.transpose(1, 2)?.contiguous()?;
            let tall = tall.reshape((n * c * w, h))?.matmul(rows)?;
            let h = rows.dim(1)?;
            tall.reshape((n * c, w, h))?.transpose(1, 2)?.contiguous()?.reshape((n, c, h, w))
        }
        Op::Pool(p) => pool(p, step, x),
        Op::Reduce { kind, axes, keep_dims } => reduce(*kind, axes, *keep_dims, x),
        Op::Gemm { alpha, beta, trans_a, trans_b } => {
            let a = if *trans_a { x.t()? } else { x.clone() };
            let b = if *trans_b { inputs[1].t()? } else { inputs[1].clone() };
            let product = a.contiguous()?.matmul(&b.contiguous()?)?;
            let product = if *alpha == 1.0 { product } else { (product * f64::from(*alpha))? };
            match inputs.get(2) {
                Some(c) => product.broadcast_add(&(c * f64::from(*beta))?),
                None => Ok(product),
            }
        }
        Op::MatMul => x.contiguous()?.broadcast_matmul(&inputs[1].contiguous()?),
        Op::Reshape { shape } => x.contiguous()?.reshape(shape.as_slice()),
        Op::Transpose { perm } => x.permute(perm.as_slice())?.contiguous(),
        Op::Pad { before, after, mode } => {
            let mut x = x.clone();
            for axis in 0..before.len() {
                let (b, a) = (before[axis], after[axis]);
                x = match mode {
                    crate::graph::op::PadMode::Constant(v) => fill(&x, axis, b, a, *v)?,
                    _ => x.pad_with_same(axis, b, a)?,
                };
            }
            Ok(x)
        }
        Op::Gather { axis, indices_shape, .. } => {
            let Step::Indices(indices) = step else { candle_core::bail!("was not prepared") };
            let Some(Some(index)) = indices.first() else { candle_core::bail!("was not prepared") };
            let shape = [&x.dims()[..*axis], indices_shape, &x.dims()[axis + 1..]].concat();
            x.contiguous()?.index_select(index, *axis)?.reshape(shape)
        }
        Op::Expand { shape } => x.broadcast_as(shape.as_slice())?.contiguous(),
        Op::Identity => Ok(x.clone()),
        Op::Quantize(q) => {
            let (scale, zero) = grid(q, x)?;
            let (low, high) = (f64::from(q.integer.min()), f64::from(q.integer.max()));
            x.broadcast_div(&scale)?.round()?.broadcast_add(&zero)?.clamp(low, high)
        }
        Op::Dequantize(q) => {
            let (scale, zero) = grid(q, x)?;
            x.broadcast_sub(&zero)?.broadcast_mul(&scale)
        }
    }
}

/// Scale and zero point, shaped to broadcast to `x`.
fn grid(q: &Quantization, x: &Tensor) -> Result<(Tensor, Tensor)> {
    let mut shape = vec![1; x.rank()];
    if let Some(axis) = q.axis {
        shape[axis] = q.scale.len();
    }
    let zero: Vec<f32> = q.zero_point.iter().map(|&z| z as f32).collect();
    let scale = Tensor::from_slice(&q.scale, shape.as_slice(), x.device())?.to_dtype(x.dtype())?;
    Ok((scale, Tensor::from_vec(zero, shape, x.device())?.to_dtype(x.dtype())?))
}

/// Adds `before` and `after` entries of `value` along an axis.
fn fill(x: &Tensor, axis: usize, before: usize, after: usize, value: f32) -> Result<Tensor> {
    let block = |n: usize| {
        let mut dims = x.dims().to_vec();
        dims[axis] = n;
        Tensor::full(value, dims, x.device())?.to_dtype(x.dtype())
    };
    match (before, after) {
        (0, 0) => Ok(x.clone()),
        (b, 0) => Tensor::cat(&[&block(b)?, x], axis),
        (0, a) => Tensor::cat(&[x, &block(a)?], axis),
        (b, a) => Tensor::cat(&[&block(b)?, x, &block(a)?], axis),
    }
}

fn conv(c: &Conv, step: &Step, inputs: &[Tensor]) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if inputs[0].device().is_cuda()
        && let Some(y) = super::cuda::conv(c, inputs, || sums(c, step, inputs))?
    {
        return Ok(y);
    }
    let mut y = sums(c, step, inputs)?;
    if c.bias {
        y = y.broadcast_add(&inputs[2].reshape((1, (), 1, 1))?)?;
    }
    if c.residual == Some(Residual::BeforeActivation) {
        y = (y + &inputs[inputs.len() - 1])?;
    }
    if let Some(a) = c.activation {
        y = unary(a, &y)?;
    }
    if c.residual == Some(Residual::AfterActivation) {
        y = (y + &inputs[inputs.len() - 1])?;
    }
    Ok(y)
}

/// The bare convolution, without what is fused into it.
fn sums(c: &Conv, step: &Step, inputs: &[Tensor]) -> Result<Tensor> {
    let (x, w) = (&inputs[0], &inputs[1]);
    if let Step::Depthwise(taps) = step {
        let kernel = [w.dim(2)?, w.dim(3)?];
        let mut sum: Option<Tensor> = None;
        let padded = fill(&fill(x, 2, c.pads[0], c.pads[2], 0.0)?, 3, c.pads[1], c.pads[3], 0.0)?;
        shifted(&padded, kernel, c.strides, c.dilations, |t, view| {
            let part = view.broadcast_mul(&taps[t])?;
            sum = Some(sum.take().map_or(Ok(part.clone()), |s| s + part)?);
            Ok(())
        })?;
        return sum.map_or_else(|| candle_core::bail!("has no taps"), Ok);
    }
    if let (&[1, channels, height, width], &[out, _, 1, 1]) = (x.dims(), w.dims())
        && (c.groups, c.strides, c.pads) == (1, [1, 1], [0; 4])
    {
        // No windows to be written out first.
        let x = x.contiguous()?.reshape((channels, height * width))?;
        return w.contiguous()?.reshape((out, channels))?.matmul(&x)?.reshape((1, out, height, width));
    }
    let [top, left, bottom, right] = c.pads;
    let even = top == left && left == bottom && bottom == right;
    let (padded, padding) = if even {
        (x.contiguous()?, top)
    } else {
        (fill(&fill(x, 2, top, bottom, 0.0)?, 3, left, right, 0.0)?, 0)
    };
    square_conv(c, &padded, w, padding)
}

/// Candle has one stride and one dilation for both axes. Where they differ, the smaller stride is taken and
/// rows or columns are left out; a dilation that differs is spread into the weights as zeros.
fn square_conv(c: &Conv, x: &Tensor, w: &Tensor, padding: usize) -> Result<Tensor> {
    let (w, dilation) = match c.dilations {
        [a, b] if a == b => (w.clone(), a),
        [a, b] => (spread(&spread(w, 2, a)?, 3, b)?, 1),
    };
    let [down, right] = c.strides;
    if down == right {
        return x.conv2d(&w, padding, down, dilation, c.groups);
    }
    let y = x.conv2d(&w, padding, 1, dilation, c.groups)?;
    every(&every(&y, 2, down)?, 3, right)
}

/// Every `step`-th entry of an axis.
fn every(x: &Tensor, axis: usize, step: usize) -> Result<Tensor> {
    let n = x.dim(axis)?.div_ceil(step);
    strided(x, axis, 0, step, n)
}

/// Puts `distance - 1` zeros between the entries of an axis.
fn spread(w: &Tensor, axis: usize, distance: usize) -> Result<Tensor> {
    let n = w.dim(axis)?;
    if distance == 1 || n == 1 {
        return Ok(w.clone());
    }
    let mut dims = w.dims().to_vec();
    dims.insert(axis + 1, 1);
    let padded = fill(&w.reshape(dims.as_slice())?, axis + 1, 0, distance - 1, 0.0)?;
    let mut dims = w.dims().to_vec();
    dims[axis] = n * distance;
    padded.reshape(dims)?.narrow(axis, 0, (n - 1) * distance + 1)?.contiguous()
}

/// `n` entries of an axis, `step` apart, from `start` on, through views alone.
fn strided(x: &Tensor, axis: usize, start: usize, step: usize, n: usize) -> Result<Tensor> {
    if step == 1 {
        return x.narrow(axis, start, n);
    }
    let have = x.dim(axis)? - start;
    let x = x.narrow(axis, start, have.min(n * step))?;
    let x = fill(&x, axis, 0, (n * step).saturating_sub(have), 0.0)?.contiguous()?;
    let mut dims = x.dims().to_vec();
    dims[axis] = n;
    dims.insert(axis + 1, step);
    x.reshape(dims)?.narrow(axis + 1, 0, 1)?.squeeze(axis + 1)
}

/// Calls `f` with each tap's number and the picture as that tap sees it.
fn shifted(
    padded: &Tensor,
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
    mut f: impl FnMut(usize, &Tensor) -> Result<()>,
) -> Result<()> {
    let extent = |axis: usize| -> Result<usize> {
        let span = (kernel[axis] - 1) * dilations[axis] + 1;
        Ok((padded.dim(axis + 2)? - span) / strides[axis] + 1)
    };
    let (rows, columns) = (extent(0)?, extent(1)?);
    for u in 0..kernel[0] {
        let band = strided(padded, 2, u * dilations[0], strides[0], rows)?;
        for v in 0..kernel[1] {
            f(u * kernel[1] + v, &strided(&band, 3, v * dilations[1], strides[1], columns)?)?;
        }
    }
    Ok(())
}

fn pool(p: &Pool, step: &Step, x: &Tensor) -> Result<Tensor> {
    let max = p.kind == PoolKind::Max;
    let outside = if max { f32::NEG_INFINITY } else { 0.0 };
    let padded = fill(&fill(x, 2, p.pads[0], p.pads[2], outside)?, 3, p.pads[1], p.pads[3], outside)?;
    let mut y: Option<Tensor> = None;
    shifted(&padded, p.kernel, p.strides, p.dilations, |_, view| {
        y = Some(match y.take() {
            None => view.contiguous()?,
            Some(y) if max => y.maximum(view)?,
            Some(y) => (y + view)?,
        });
        Ok(())
    })?;
    match (y, step) {
        (Some(y), Step::Divisor(d)) => y.broadcast_mul(d),
        (Some(y), _) => Ok(y),
        (None, _) => candle_core::bail!("has an empty window"),
    }
}

fn conv_transpose(c: &ConvTranspose, inputs: &[Tensor]) -> Result<Tensor> {
    let (x, w) = (inputs[0].contiguous()?, &inputs[1]);
    let (stride, dilation) = (c.strides[0], c.dilations[0]);
    let per_group = x.dim(1)? / c.groups;
    let parts = (0..c.groups)
        .map(|g| {
            let x = x.narrow(1, g * per_group, per_group)?.contiguous()?;
            let w = w.narrow(0, g * per_group, per_group)?.contiguous()?;
            // Candle's output padding is one number; what it lacks is zeros, and what is too much is cropped.
            x.conv_transpose2d(&w, 0, 0, stride, dilation)
        })
        .collect::<Result<Vec<_>>>()?;
    let mut y = Tensor::cat(&parts, 1)?;
    for axis in 0..2 {
        let y_extent = y.dim(axis + 2)? + c.output_padding[axis];
        y = fill(&y, axis + 2, 0, c.output_padding[axis], 0.0)?;
        y = y.narrow(axis + 2, c.pads[axis], y_extent - c.pads[axis] - c.pads[axis + 2])?;
    }
    if c.bias {
        y = y.broadcast_add(&inputs[2].reshape((1, (), 1, 1))?)?;
    }
    match c.activation {
        Some(a) => unary(a, &y),
        None => y.contiguous(),
    }
}

fn reduce(kind: Reduce, axes: &[usize], keep_dims: bool, x: &Tensor) -> Result<Tensor> {
    let mut y = x.clone();
    for &axis in axes {
        y = match kind {
            Reduce::Mean => y.mean_keepdim(axis)?,
            Reduce::Sum => y.sum_keepdim(axis)?,
            Reduce::Max => y.max_keepdim(axis)?,
            Reduce::Min => y.min_keepdim(axis)?,
        };
    }
    if !keep_dims {
        for &axis in axes.iter().rev() {
            y = y.squeeze(axis)?;
        }
    }
    Ok(y)
}

fn binary(op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match op {
        Binary::Add => a.broadcast_add(b),
        Binary::Sub => a.broadcast_sub(b),
        Binary::Mul => a.broadcast_mul(b),
        Binary::Div => a.broadcast_div(b),
        Binary::Pow => a.broadcast_pow(b),
        Binary::Max => a.broadcast_maximum(b),
        Binary::Min => a.broadcast_minimum(b),
    }
}

/// A function of each value.
pub fn unary(op: Unary, x: &Tensor) -> Result<Tensor> {
    let sigmoid = |x: &Tensor| (x.neg()?.exp()? + 1.0)?.recip();
    match op {
        Unary::Relu => x.relu(),
        Unary::Clip { min, max } => x.clamp(min, max),
        Unary::Sigmoid => sigmoid(x),
        Unary::HardSigmoid { alpha, beta } => x.affine(f64::from(alpha), f64::from(beta))?.clamp(0f32, 1f32),
        Unary::HardSwish => x * x.affine(1.0 / 6.0, 0.5)?.clamp(0f32, 1f32)?,
        Unary::Silu => x.silu(),
        Unary::LeakyRelu { alpha } => x.relu()? - (x.neg()?.relu()? * f64::from(alpha))?,
        Unary::Elu { alpha } => x.elu(f64::from(alpha)),
        // max(x, 0) + ln(1 + e^-|x|), which does not overflow.
        Unary::Softplus => x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?,
        Unary::Tanh => x.tanh(),
        Unary::Erf => x.erf(),
        Unary::Exp => x.exp(),
        Unary::Log => x.log(),
        Unary::Sqrt => x.sqrt(),
        Unary::Reciprocal => x.recip(),
        Unary::Neg => x.neg(),
        Unary::Abs => x.abs(),
        Unary::Floor => x.floor(),
        Unary::Ceil => x.ceil(),
        Unary::Grid { scale, low, high } => {
            let scale = f64::from(scale);
            (x / scale)?.round()?.clamp(low, high)? * scale
        }
    }
}

//! Convolutions, pooling and resizing.

use super::{Refusal, Step};
use crate::format::onnx::attributes::{Args, unsigned};
use crate::graph::Op;
use crate::graph::op::{Conv, ConvTranspose, Pool, PoolKind};
use crate::graph::resize::{Coordinates, Interpolation, Resize, Rounding};

pub fn conv(a: &Args<'_>) -> Result<Step, String> {
    let kernel = kernel_of(a)?;
    let strides = a.pair("strides", [1, 1])?;
    let dilations = a.pair("dilations", [1, 1])?;
    let conv = Conv {
        strides,
        pads: pads(a, kernel, strides, dilations)?,
        dilations,
        groups: unsigned(a.int("group", 1))?,
        bias: a.optional(2).is_some(),
        residual: None,
        activation: None,
    };
    Ok(Step::Op(Op::Conv(conv), inputs(a)?))
}

pub fn conv_transpose(a: &Args<'_>) -> Result<Step, String> {
    let kernel = kernel_of(a)?;
    let strides = a.pair("strides", [1, 1])?;
    let dilations = a.pair("dilations", [1, 1])?;
    let output_padding = a.pair("output_padding", [0, 0])?;
    let auto = a.string("auto_pad", "NOTSET");
    let pads = match (auto, a.ints("output_shape")) {
        ("NOTSET", None) => explicit_pads(a)?,
        ("VALID", None) => [0; 4],
        // The specification: total padding is what leaves the wanted size, the odd one at the end
        // (SAME_UPPER) or at the start.
        _ => {
            let x = a.shape(0)?;
            let wanted = match a.ints("output_shape") {
                Some([.., h, w]) => [unsigned(*h)?, unsigned(*w)?],
                _ => [0, 1].map(|i| x.get(i + 2).copied().unwrap_or(0).saturating_mul(strides[i])),
            };
            let total = |i: usize| -> Option<usize> {
                let span = kernel[i].checked_sub(1)?.checked_mul(dilations[i])?.checked_add(1)?;
                let full = x.get(i + 2)?.checked_sub(1)?.checked_mul(strides[i])?.checked_add(span)?;
                full.checked_add(output_padding[i])?.checked_sub(wanted[i])
            };
            let both = [0, 1].map(total);
            let [Some(h), Some(w)] = both else { return Err("cannot reach its output shape".into()) };
            split_padding([h, w], auto == "SAME_UPPER")
        }
    };
    let conv = ConvTranspose {
        strides,
        pads,
        output_padding,
        dilations,
        groups: unsigned(a.int("group", 1))?,
        bias: a.optional(2).is_some(),
        activation: None,
    };
    Ok(Step::Op(Op::ConvTranspose(conv), inputs(a)?))
}

fn inputs(a: &Args<'_>) -> Result<Vec<crate::graph::ValueId>, String> {
    if a.len() > 3 {
        return Err(format!("has {} inputs", a.len()));
    }
    a.inputs()
}

fn kernel_of(a: &Args<'_>) -> Result<[usize; 2], String> {
    match a.shape(1)? {
        [_, _, h, w] => Ok([*h, *w]),
        other => Err(format!("weights {other:?}: only two spatial axes are supported")),
    }
}

fn explicit_pads(a: &Args<'_>) -> Result<[usize; 4], String> {
    match a.ints("pads") {
        None => Ok([0; 4]),
        Some([t, l, b, r]) => Ok([unsigned(*t)?, unsigned(*l)?, unsigned(*b)?, unsigned(*r)?]),
        Some(other) => Err(format!("pads = {other:?}: only two spatial axes are supported")),
    }
}

fn split_padding(total: [usize; 2], odd_at_end: bool) -> [usize; 4] {
    let small = total.map(|t| t / 2);
    let large = [total[0] - small[0], total[1] - small[1]];
    let (start, end) = if odd_at_end { (small, large) } else { (large, small) };
    [start[0], start[1], end[0], end[1]]
}

fn pads(
    a: &Args<'_>,
    kernel: [usize; 2],
    strides: [usize; 2],
    dilations: [usize; 2],
) -> Result<[usize; 4], String> {
    let auto = a.string("auto_pad", "NOTSET");
    match auto {
        "NOTSET" => explicit_pads(a),
        "VALID" => Ok([0; 4]),
        "SAME_UPPER" | "SAME_LOWER" => {
            let x = a.shape(0)?;
            let total = |i: usize| -> Option<usize> {
                let extent = *x.get(i + 2)?;
                let steps = extent.div_ceil(strides[i].max(1)).checked_sub(1)?.checked_mul(strides[i])?;
                let span = kernel[i].checked_sub(1)?.checked_mul(dilations[i])?.checked_add(1)?;
                Some(steps.checked_add(span)?.saturating_sub(extent))
            };
            match [total(0), total(1)] {
                [Some(h), Some(w)] => Ok(split_padding([h, w], auto == "SAME_UPPER")),
                _ => Err("has an absurd window".into()),
            }
        }
        other => Err(format!("auto_pad = {other:?} is unknown")),
    }
}

pub fn pool(a: &Args<'_>) -> Result<Step, Refusal> {
    if a.node.output.get(1).is_some_and(|o| !o.is_empty()) {
        return Err(Refusal::Unsupported("the output of indices".into()));
    }
    if !a.has("kernel_shape") {
        return Err("lacks kernel_shape".into());
    }
    let kernel = a.pair("kernel_shape", [1, 1])?;
    let strides = a.pair("strides", [1, 1])?;
    let dilations = a.pair("dilations", [1, 1])?;
    let mut pads = pads(a, kernel, strides, dilations)?;
    let count_include_pad = a.flag("count_include_pad", false);
    let kind = match a.node.op_type.as_str() {
        "MaxPool" => PoolKind::Max,
        _ => PoolKind::Average { count_include_pad },
    };
    if a.flag("ceil_mode", false) {
        let x = crate::graph::shape::rank4(a.shape(0)?)?;
        for i in 0..2 {
            let extra = ceil_padding(x[i + 2], kernel[i], strides[i], dilations[i], pads[i], pads[i + 2])
                .ok_or_else(|| Refusal::Malformed("the window does not fit".into()))?;
            if extra > 0 && count_include_pad && kind != PoolKind::Max {
                return Err(Refusal::Unsupported("ceil_mode with count_include_pad".into()));
            }
            pads[i + 2] += extra;
        }
    }
    Ok(Step::Op(Op::Pool(Pool { kind, kernel, strides, pads, dilations }), vec![a.input(0)?]))
}

/// Padding at the end that makes the last, partial window a whole one, unless it would start in padding.
fn ceil_padding(
    extent: usize,
    kernel: usize,
    stride: usize,
    dilation: usize,
    start: usize,
    end: usize,
) -> Option<usize> {
    let span = kernel.checked_sub(1)?.checked_mul(dilation)?.checked_add(1)?;
    let room = extent.checked_add(start)?.checked_add(end)?.checked_sub(span)?;
    let rest = room.checked_rem(stride)?;
    let last_start = room.div_ceil(stride).checked_mul(stride)?;
    Some(if rest == 0 || last_start >= extent + start { 0 } else { stride - rest })
}

pub fn resize(a: &Args<'_>) -> Result<Step, Refusal> {
    let x = crate::graph::shape::rank4(a.shape(0)?)?;
    let upsample = a.node.op_type == "Upsample";
    let old = upsample || a.reader.opset < 11;
    if a.ints("axes").is_some()
        || a.flag("antialias", false)
        || a.string("keep_aspect_ratio_policy", "stretch") != "stretch"
    {
        return Err(Refusal::Unsupported("axes, antialias or an aspect ratio policy".into()));
    }
    // Opset 9 had Upsample(x, scales), opset 10 Resize(x, scales), then Resize(x, roi, scales, sizes).
    let scales_slot = if old { 1 } else { 2 };
    let scales = match a.constant(scales_slot)? {
        Some(t) => t.as_f32().ok_or("has scales that are not floats")?.to_vec(),
        None => a.floats("scales").unwrap_or_default().to_vec(),
    };
    let (size, scale) = match (scales.as_slice(), if old { None } else { a.list(3, "")? }.as_deref()) {
        ([n, c, h, w], _) => {
            if *n != 1.0 || *c != 1.0 {
                return Err(Refusal::Unsupported(format!("scales {scales:?}")));
            }
            // In single precision, as ONNX Runtime does it: 320 x 0.7 is 224 then, which is also what PyTorch meant. In
            // double precision, as in ONNX's own shape inference, it would be 223.
            let size = |extent: usize, s: f32| (extent as f32 * s).floor() as usize;
            ([size(x[2], *h), size(x[3], *w)], [*h, *w])
        }
        ([], Some([n, c, h, w])) => {
            if *n != x[0] as i64 || *c != x[1] as i64 {
                return Err(Refusal::Unsupported("sizes that change the batch or the channels".into()));
            }
            let size = [unsigned(*h)?, unsigned(*w)?];
            (size, [0, 1].map(|i| size[i] as f32 / x[i + 2].max(1) as f32))
        }
        _ => return Err("has neither four scales nor four sizes".into()),
    };
    let mode = match a.string("mode", "nearest") {
        "nearest" => Interpolation::Nearest(match a.string("nearest_mode", default_rounding(old)) {
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return Err(Refusal::Unsupported(format!("nearest_mode {other:?}"))),
        }),
        "linear" | "bilinear" => Interpolation::Linear,
        other => return Err(Refusal::Unsupported(format!("mode {other:?}"))),
    };
    let default = if old { "asymmetric" } else { "half_pixel" };
    let coordinates = match a.string("coordinate_transformation_mode", default) {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "asymmetric" => Coordinates::Asymmetric,
        "align_corners" => Coordinates::AlignCorners,
        other => return Err(Refusal::Unsupported(format!("coordinate_transformation_mode {other:?}"))),
    };
    Ok(Step::Op(Op::Resize(Resize { mode, coordinates, size, scale }), vec![a.input(0)?]))
}

fn default_rounding(old: bool) -> &'static str {
    if old { "floor" } else { "round_prefer_floor" }
}

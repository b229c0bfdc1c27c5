//! Operators: what a node computes, with every attribute resolved to a number.
//!
//! Shapes are static, so whatever a file computes about shapes (ONNX `Shape`, `Gather`, `Concat` chains) is
//! worked out when it is read. Each operator has exactly one output; `Split` becomes slices, and
//! `Flatten`, `Squeeze` and `Unsqueeze` become [`Op::Reshape`].

use super::quantization::Quantization;
use super::resize::Resize;
use super::unary::Unary;

/// What a node computes.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Convolution of `[1, c, h, w]`. Inputs: x, weights `[out, c / groups, kh, kw]`, then a bias `[out]` and
    /// a residual of the output's shape where the attributes say so.
    Conv(Conv),
    /// Transposed convolution. Inputs: x, weights `[c, out / groups, kh, kw]`, then a bias if there is one.
    ConvTranspose(ConvTranspose),
    /// Inputs: x, scale, bias, mean, variance (each `[c]`).
    BatchNorm {
        /// Added to the variance.
        epsilon: f32,
    },
    /// A function of each value.
    Unary(Unary),
    /// Inputs: x and the slope below zero, which broadcasts to x.
    PRelu,
    /// A function of two values, with broadcasting.
    Binary(Binary),
    /// e^x / Σ e^x along one axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Joins any number of inputs.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Every `step`-th element of a range of each axis.
    Slice {
        /// One range per axis.
        ranges: Vec<SliceRange>,
    },
    /// Scales the two spatial axes of `[n, c, h, w]`.
    Resize(Resize),
    /// Maximum or mean over a sliding window.
    Pool(Pool),
    /// Mean, sum, maximum or minimum over axes.
    Reduce {
        /// What is computed.
        kind: Reduce,
        /// Over which axes, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with extent 1.
        keep_dims: bool,
    },
    /// alpha A'B' + beta C. Inputs: A, B (both matrices) and maybe C, which broadcasts.
    Gemm {
        /// Factor of the product.
        alpha: f32,
        /// Factor of the third input.
        beta: f32,
        /// Whether A is used transposed.
        trans_a: bool,
        /// Whether B is used transposed.
        trans_b: bool,
    },
    /// Matrix product of the last two axes, broadcasting over the others.
    MatMul,
    /// The same values under another shape.
    Reshape {
        /// The new extents.
        shape: Vec<usize>,
    },
    /// Output axis i is input axis `perm[i]`.
    Transpose {
        /// The permutation.
        perm: Vec<usize>,
    },
    /// Adds values around.
    Pad {
        /// How many before, per axis.
        before: Vec<usize>,
        /// How many after, per axis.
        after: Vec<usize>,
        /// Which values.
        mode: PadMode,
    },
    /// Picks `indices` along an axis; their shape replaces that axis.
    Gather {
        /// The axis.
        axis: usize,
        /// Which elements.
        indices: Vec<usize>,
        /// The indices' own shape.
        indices_shape: Vec<usize>,
    },
    /// Broadcasts to a shape.
    Expand {
        /// The new extents.
        shape: Vec<usize>,
    },
    /// Passes its input on.
    Identity,
    /// Real values to stored ones; see [`quantization`](super::quantization).
    Quantize(Quantization),
    /// Stored values to real ones.
    Dequantize(Quantization),
}

/// Attributes of a convolution, and what passes have fused into it.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Steps down and right.
    pub strides: [usize; 2],
    /// Zeros at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance of the kernel's taps, down and right.
    pub dilations: [usize; 2],
    /// Number of groups of channels.
    pub groups: usize,
    /// Whether there is a bias input.
    pub bias: bool,
    /// Whether a residual is the last input, and where it is added.
    pub residual: Option<Residual>,
    /// Applied to the sum.
    pub activation: Option<Unary>,
}

/// Where a fused residual is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// activation(convolution + residual).
    BeforeActivation,
    /// activation(convolution) + residual.
    AfterActivation,
}

/// Attributes of a transposed convolution.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvTranspose {
    /// Steps down and right, in the output.
    pub strides: [usize; 2],
    /// Cropped at top, left, bottom, right.
    pub pads: [usize; 4],
    /// Added at bottom and right.
    pub output_padding: [usize; 2],
    /// Distance of the kernel's taps, down and right.
    pub dilations: [usize; 2],
    /// Number of groups of channels.
    pub groups: usize,
    /// Whether there is a bias input.
    pub bias: bool,
    /// Applied to the sum.
    pub activation: Option<Unary>,
}

/// A function of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Max,
    Min,
}

impl Binary {
    /// The function's value.
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
            // Squares are by far the commonest power, and `powf` is slow.
            Self::Pow if b == 2.0 => a * a,
            Self::Pow => a.powf(b),
            Self::Max => a.max(b),
            Self::Min => a.min(b),
        }
    }
}

/// A range of one axis: `len` elements from `start` on, `step` apart (negative: backwards).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SliceRange {
    /// First element.
    pub start: usize,
    /// Distance.
    pub step: isize,
    /// How many.
    pub len: usize,
}

/// Attributes of a pooling layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// What is computed.
    pub kind: PoolKind,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub strides: [usize; 2],
    /// Padding at top, left, bottom, right; what `ceil_mode` adds is included.
    pub pads: [usize; 4],
    /// Distance of the window's taps.
    pub dilations: [usize; 2],
}

/// What a pooling layer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The maximum; padding never wins.
    Max,
    /// The mean.
    Average {
        /// Whether padding counts in the divisor.
        count_include_pad: bool,
    },
}

/// What a reduction computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Reduce {
    Mean,
    Sum,
    Max,
    Min,
}

/// What padding holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// The picture mirrored, its edge not repeated.
    Reflect,
    /// The edge repeated.
    Edge,
}

impl Op {
    /// The operator's name, as ONNX has it where it is the same.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv(_) => "Conv",
            Self::ConvTranspose(_) => "ConvTranspose",
            Self::BatchNorm { .. } => "BatchNormalization",
            Self::Unary(_) => "Unary",
            Self::PRelu => "PRelu",
            Self::Binary(Binary::Add) => "Add",
            Self::Binary(_) => "Binary",
            Self::Softmax { .. } => "Softmax",
            Self::Concat { .. } => "Concat",
            Self::Slice { .. } => "Slice",
            Self::Resize(_) => "Resize",
            Self::Pool(_) => "Pool",
            Self::Reduce { .. } => "Reduce",
            Self::Gemm { .. } => "Gemm",
            Self::MatMul => "MatMul",
            Self::Reshape { .. } => "Reshape",
            Self::Transpose { .. } => "Transpose",
            Self::Pad { .. } => "Pad",
            Self::Gather { .. } => "Gather",
            Self::Expand { .. } => "Expand",
            Self::Identity => "Identity",
            Self::Quantize(_) => "QuantizeLinear",
            Self::Dequantize(_) => "DequantizeLinear",
        }
    }
}

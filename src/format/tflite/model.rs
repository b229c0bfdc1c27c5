//! A TFLite network as plain data, between the graph and the file.

use super::schema::{Code, Fused, Kind, Padding};

/// A network of one subgraph.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    /// Where the file came from.
    pub description: String,
    /// All tensors; operators name them by position.
    pub tensors: Vec<Tensor>,
    /// Steps, each after all that it depends on.
    pub operators: Vec<Operator>,
    /// Tensors that the caller gives.
    pub inputs: Vec<usize>,
    /// Tensors that the caller gets.
    pub outputs: Vec<usize>,
}

/// A tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its extents, channels last.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub kind: Kind,
    /// Its content, if it is constant, little-endian.
    pub data: Option<Vec<u8>>,
    /// What its integers mean.
    pub quantization: Option<Quantization>,
}

/// value = scale · (q - zero), for the whole tensor or per index of one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantization {
    /// One, or as many as the axis is long.
    pub scales: Vec<f32>,
    /// As many as there are scales.
    pub zeros: Vec<i64>,
    /// The axis, where there are several.
    pub axis: usize,
}

/// A step.
#[derive(Debug, Clone, PartialEq)]
pub struct Operator {
    /// What it computes.
    pub code: Code,
    /// Name of an operator that is not TFLite's own.
    pub custom: Option<String>,
    /// Lowest version of the operator that means this.
    pub version: i32,
    /// What from; absent optional inputs are `None`.
    pub inputs: Vec<Option<usize>>,
    /// What to.
    pub outputs: Vec<usize>,
    /// Attributes.
    pub attributes: Attributes,
}

/// Attributes of an operator.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Attributes {
    /// None that matter here.
    #[default]
    None,
    /// `Conv2DOptions`
    Conv(Window),
    /// `DepthwiseConv2DOptions`
    Depthwise(Window, usize),
    /// `Pool2DOptions`, with the window's height and width.
    Pool(Window, [usize; 2]),
    /// `TransposeConvOptions`
    TransposeConv(Window),
    /// `ConcatenationOptions`: the axis.
    Concat(usize, Fused),
    /// `AddOptions`, `SubOptions`, `MulOptions` or `DivOptions`.
    Arithmetic(Fused),
    /// `FullyConnectedOptions`
    FullyConnected(Fused),
    /// `ResizeBilinearOptions` or `ResizeNearestNeighborOptions`.
    Resize {
        /// First and last samples coincide.
        align_corners: bool,
        /// Sample centres lie at half pixels.
        half_pixel: bool,
    },
    /// `ReducerOptions`: whether axes stay.
    Reduce(bool),
    /// `ReshapeOptions`
    Reshape(Vec<usize>),
    /// `SoftmaxOptions`, with a beta of 1.
    Softmax,
    /// `LeakyReluOptions`: the slope below zero.
    LeakyRelu(f32),
    /// `StridedSliceOptions`: axes whose range goes to the end, and those that are masked in any other way.
    StridedSlice {
        /// Axes whose end is ignored, a bit each.
        end_mask: i32,
        /// Whether the ellipsis, new-axis or shrink masks are used.
        other_masks: bool,
    },
    /// `MirrorPadOptions`: whether the edge is repeated.
    MirrorPad(bool),
    /// `GatherOptions`: the axis.
    Gather(usize),
    /// `BatchMatMulOptions`, transposing neither.
    BatchMatMul,
}

/// What convolutions and pools share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Padding.
    pub padding: Padding,
    /// Steps down and right.
    pub strides: [usize; 2],
    /// Distance of the taps.
    pub dilations: [usize; 2],
    /// Applied to the result.
    pub fused: Fused,
}

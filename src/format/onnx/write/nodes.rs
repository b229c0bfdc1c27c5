//! Graph operators as ONNX nodes.

use super::Writer;
use crate::format::onnx::proto;
use crate::graph::op::{Binary, Conv, Op, PadMode, Pool, PoolKind, Reduce, Residual, SliceRange};
use crate::graph::quantization::{Integer, Quantization};
use crate::graph::resize::{Coordinates, Interpolation, Resize, Rounding};
use crate::graph::{Node, Tensor, Unary};

/// `AttributeProto.AttributeType`.
mod kind {
    pub const FLOAT: i32 = 1;
    pub const INT: i32 = 2;
    pub const STRING: i32 = 3;
    pub const INTS: i32 = 7;
}

type Attributes = Vec<proto::Attribute>;

pub fn int(name: &str, i: i64) -> proto::Attribute {
    proto::Attribute { name: name.into(), i, r#type: kind::INT, ..Default::default() }
}

fn float(name: &str, f: f32) -> proto::Attribute {
    proto::Attribute { name: name.into(), f, r#type: kind::FLOAT, ..Default::default() }
}

fn string(name: &str, s: &str) -> proto::Attribute {
    proto::Attribute { name: name.into(), s: s.into(), r#type: kind::STRING, ..Default::default() }
}

fn ints(name: &str, values: &[usize]) -> proto::Attribute {
    let ints = values.iter().map(|&v| v as i64).collect();
    proto::Attribute { name: name.into(), ints, r#type: kind::INTS, ..Default::default() }
}

fn integers(values: impl IntoIterator<Item = i64>) -> Result<Tensor, String> {
    let values: Vec<i64> = values.into_iter().collect();
    Tensor::i64(vec![values.len()], values)
}

fn scalar(value: f32) -> Result<Tensor, String> {
    Tensor::f32(vec![], vec![value])
}

impl Writer<'_> {
    /// Writes a node. An error says what ONNX cannot express.
    pub fn node(&mut self, node: &Node) -> Result<(), String> {
        let graph = self.graph;
        let mut inputs: Vec<String> = node.inputs.iter().map(|&id| self.input(id)).collect();
        let output = self.input(node.output);
        let name = if node.name.is_empty() { output.clone() } else { node.name.clone() };
        let x = graph.shape(node.inputs[0]);
        let (op_type, attributes) = match &node.op {
            Op::Conv(c) => return self.conv(c, &name, inputs, output),
            Op::ConvTranspose(c) => {
                let attributes = vec![
                    ints("strides", &c.strides),
                    ints("pads", &c.pads),
                    ints("output_padding", &c.output_padding),
                    ints("dilations", &c.dilations),
                    int("group", c.groups as i64),
                ];
                let sum = self.before(c.activation, "sum", &output);
                self.plain("ConvTranspose", &name, inputs, sum.clone(), attributes);
                return self.activation(c.activation, &name, sum, output);
            }
            Op::Unary(u) => return self.unary(*u, &name, inputs.swap_remove(0), output),
            Op::BatchNorm { epsilon } => ("BatchNormalization", vec![float("epsilon", *epsilon)]),
            Op::PRelu => ("PRelu", vec![]),
            Op::Binary(b) => (binary(*b), vec![]),
            Op::Softmax { axis } => ("Softmax", vec![int("axis", *axis as i64)]),
            Op::Concat { axis } => ("Concat", vec![int("axis", *axis as i64)]),
            Op::Slice { ranges } => {
                let parts: [fn(&SliceRange) -> i64; 3] = [|r| r.start as i64, end_of, |r| r.step as i64];
                let [starts, ends, steps] = parts.map(|f| integers(ranges.iter().map(f)));
                inputs.push(self.parameter(&format!("{name}.starts"), starts)?);
                inputs.push(self.parameter(&format!("{name}.ends"), ends)?);
                let axes = integers((0..ranges.len()).map(|i| i as i64));
                inputs.push(self.parameter(&format!("{name}.axes"), axes)?);
                inputs.push(self.parameter(&format!("{name}.steps"), steps)?);
                ("Slice", vec![])
            }
            Op::Resize(r) => {
                inputs.push(String::new());
                // Scales only where all readers make the same size of them: some compute in single precision, some not.
                let exact = |i: usize| {
                    let (extent, scale) = (x[i + 2], r.scale[i]);
                    let single = (extent as f32 * scale).floor() as usize;
                    let double = (extent as f64 * f64::from(scale)).floor() as usize;
                    single == r.size[i] && double == r.size[i]
                };
                if exact(0) && exact(1) {
                    let scales = Tensor::f32(vec![4], vec![1.0, 1.0, r.scale[0], r.scale[1]]);
                    inputs.push(self.parameter(&format!("{name}.scales"), scales)?);
                } else {
                    inputs.push(String::new());
                    let sizes = [x[0], x[1], r.size[0], r.size[1]].map(|d| d as i64);
                    inputs.push(self.parameter(&format!("{name}.sizes"), integers(sizes))?);
                }
                ("Resize", resize(r))
            }
            Op::Pool(p) => pool(p)?,
            Op::Reduce { kind, axes, keep_dims } => {
                let keep = int("keepdims", i64::from(*keep_dims));
                let whole = x.len() == 4 && axes[..] == [2, 3] && *keep_dims;
                match kind {
                    Reduce::Mean if whole => ("GlobalAveragePool", vec![]),
                    Reduce::Max if whole => ("GlobalMaxPool", vec![]),
                    Reduce::Mean => ("ReduceMean", vec![ints("axes", axes), keep]),
                    Reduce::Max => ("ReduceMax", vec![ints("axes", axes), keep]),
                    Reduce::Min => ("ReduceMin", vec![ints("axes", axes), keep]),
                    Reduce::Sum => {
                        let axes = integers(axes.iter().map(|&a| a as i64));
                        inputs.push(self.parameter(&format!("{name}.axes"), axes)?);
                        ("ReduceSum", vec![keep])
                    }
                }
            }
            Op::Gemm { alpha, beta, trans_a, trans_b } => {
                let attributes = vec![
                    float("alpha", *alpha),
                    float("beta", *beta),
                    int("transA", i64::from(*trans_a)),
                    int("transB", i64::from(*trans_b)),
                ];
                ("Gemm", attributes)
            }
            Op::MatMul => ("MatMul", vec![]),
            Op::Reshape { shape } => {
                inputs.push(self.shape(&name, shape)?);
                // Without it, an extent of 0 would be the input's.
                ("Reshape", if shape.contains(&0) { vec![int("allowzero", 1)] } else { vec![] })
            }
            Op::Expand { shape } => {
                inputs.push(self.shape(&name, shape)?);
                ("Expand", vec![])
            }
            Op::Transpose { perm } => ("Transpose", vec![ints("perm", perm)]),
            Op::Pad { before, after, mode } => {
                let pads = integers(before.iter().chain(after).map(|&p| p as i64));
                inputs.push(self.parameter(&format!("{name}.pads"), pads)?);
                let mode = match mode {
                    PadMode::Constant(v) => {
                        inputs.push(self.parameter(&format!("{name}.value"), scalar(*v))?);
                        "constant"
                    }
                    PadMode::Reflect => "reflect",
                    PadMode::Edge => "edge",
                };
                ("Pad", vec![string("mode", mode)])
            }
            Op::Gather { axis, indices, indices_shape } => {
                let indices = indices.iter().map(|&i| i as i64).collect();
                let indices = Tensor::i64(indices_shape.clone(), indices);
                inputs.push(self.parameter(&format!("{name}.indices"), indices)?);
                ("Gather", vec![int("axis", *axis as i64)])
            }
            Op::Identity => ("Identity", vec![]),
            Op::Quantize(q) => ("QuantizeLinear", self.grid(q, &name, &mut inputs)?),
            Op::Dequantize(q) => ("DequantizeLinear", self.grid(q, &name, &mut inputs)?),
        };
        self.plain(op_type, &name, inputs, output, attributes);
        Ok(())
    }

    fn shape(&mut self, name: &str, shape: &[usize]) -> Result<String, String> {
        self.parameter(&format!("{name}.shape"), integers(shape.iter().map(|&d| d as i64)))
    }

    /// Where a sum goes that something else is applied to, or that is the output itself.
    fn before<T>(&mut self, then: Option<T>, what: &str, output: &str) -> String {
        match then {
            Some(_) => self.fresh(&format!("{output}.{what}")),
            None => output.to_owned(),
        }
    }

    fn conv(&mut self, c: &Conv, name: &str, mut inputs: Vec<String>, output: String) -> Result<(), String> {
        let attributes = vec![
            ints("strides", &c.strides),
            ints("pads", &c.pads),
            ints("dilations", &c.dilations),
            int("group", c.groups as i64),
        ];
        let residual = c.residual.and_then(|order| Some((order, inputs.pop()?)));
        let (before, after) = match residual {
            Some((Residual::BeforeActivation, r)) => (Some(r), None),
            Some((Residual::AfterActivation, r)) => (None, Some(r)),
            None => (None, None),
        };
        let activated = self.before(after.as_ref(), "activated", &output);
        let added = self.before(c.activation, "added", &activated);
        let sum = self.before(before.as_ref(), "sum", &added);
        self.plain("Conv", name, inputs, sum.clone(), attributes);
        if let Some(r) = before {
            self.plain("Add", &format!("{name}.residual"), vec![sum, r], added.clone(), vec![]);
        }
        self.activation(c.activation, name, added, activated.clone())?;
        if let Some(r) = after {
            self.plain("Add", &format!("{name}.residual"), vec![activated, r], output, vec![]);
        }
        Ok(())
    }

    fn activation(
        &mut self,
        activation: Option<Unary>,
        name: &str,
        from: String,
        to: String,
    ) -> Result<(), String> {
        match activation {
            Some(u) => self.unary(u, &format!("{name}.activation"), from, to),
            None => Ok(()),
        }
    }

    fn unary(&mut self, u: Unary, name: &str, x: String, output: String) -> Result<(), String> {
        let mut inputs = vec![x.clone()];
        let (op_type, attributes) = match u {
            Unary::Relu => ("Relu", vec![]),
            Unary::Clip { min, max } => {
                for (what, limit, open) in [("min", min, f32::MIN), ("max", max, f32::MAX)] {
                    inputs.push(match limit == open {
                        true => String::new(),
                        false => self.parameter(&format!("{name}.{what}"), scalar(limit))?,
                    });
                }
                while inputs.last().is_some_and(String::is_empty) {
                    inputs.pop();
                }
                ("Clip", vec![])
            }
            Unary::Sigmoid => ("Sigmoid", vec![]),
            Unary::HardSigmoid { alpha, beta } => {
                ("HardSigmoid", vec![float("alpha", alpha), float("beta", beta)])
            }
            Unary::HardSwish => ("HardSwish", vec![]),
            Unary::Silu => {
                let gate = self.fresh(&format!("{output}.gate"));
                self.plain("Sigmoid", &format!("{name}.gate"), inputs, gate.clone(), vec![]);
                inputs = vec![x, gate];
                ("Mul", vec![])
            }
            Unary::LeakyRelu { alpha } => ("LeakyRelu", vec![float("alpha", alpha)]),
            Unary::Elu { alpha } => ("Elu", vec![float("alpha", alpha)]),
            Unary::Softplus => ("Softplus", vec![]),
            Unary::Tanh => ("Tanh", vec![]),
            Unary::Erf => ("Erf", vec![]),
            Unary::Exp => ("Exp", vec![]),
            Unary::Log => ("Log", vec![]),
            Unary::Sqrt => ("Sqrt", vec![]),
            Unary::Reciprocal => ("Reciprocal", vec![]),
            Unary::Neg => ("Neg", vec![]),
            Unary::Abs => ("Abs", vec![]),
            Unary::Floor => ("Floor", vec![]),
            Unary::Ceil => ("Ceil", vec![]),
            Unary::Grid { scale, low, high } => {
                let zero_point = -128.0 - low;
                if high - low != 255.0 || !(-128.0..=127.0).contains(&zero_point) {
                    return Err(format!("rounds to a grid of {low}..={high}, which 8 bits do not hold"));
                }
                let q = Quantization::per_tensor(scale, zero_point as i32, Integer::Int8);
                let stored = self.fresh(&format!("{output}.stored"));
                let attributes = self.grid(&q, name, &mut inputs)?;
                self.plain("QuantizeLinear", name, inputs, stored.clone(), attributes);
                inputs = vec![stored];
                ("DequantizeLinear", self.grid(&q, name, &mut inputs)?)
            }
        };
        self.plain(op_type, name, inputs, output, attributes);
        Ok(())
    }

    /// Adds scale and zero point to the inputs; gives the attributes.
    fn grid(&mut self, q: &Quantization, name: &str, inputs: &mut Vec<String>) -> Result<Attributes, String> {
        let shape = if q.axis.is_some() { vec![q.scale.len()] } else { vec![] };
        inputs.push(self.parameter(&format!("{name}.scale"), Tensor::f32(shape.clone(), q.scale.clone()))?);
        let zero = self.fresh(&format!("{name}.zero_point"));
        let values = q.zero_point.iter().map(|&z| i64::from(z)).collect();
        self.constant(&zero, &Tensor::i64(shape, values)?, Some(q.integer));
        inputs.push(zero);
        Ok(q.axis.map(|axis| int("axis", axis as i64)).into_iter().collect())
    }
}

/// Where a slice ends, as ONNX counts: before the start of a tensor lies the smallest number.
fn end_of(r: &SliceRange) -> i64 {
    let end = r.start as i64 + r.step as i64 * r.len as i64;
    if r.len > 0 && end < 0 { i64::MIN } else { end }
}

fn binary(b: Binary) -> &'static str {
    match b {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Pow => "Pow",
        Binary::Max => "Max",
        Binary::Min => "Min",
    }
}

fn resize(r: &Resize) -> Attributes {
    let coordinates = match r.coordinates {
        Coordinates::HalfPixel => "half_pixel",
        Coordinates::PytorchHalfPixel => "pytorch_half_pixel",
        Coordinates::Asymmetric => "asymmetric",
        Coordinates::AlignCorners => "align_corners",
    };
    let mut attributes = vec![string("coordinate_transformation_mode", coordinates)];
    match r.mode {
        Interpolation::Linear => attributes.push(string("mode", "linear")),
        Interpolation::Nearest(rounding) => {
            attributes.push(string("mode", "nearest"));
            let rounding = match rounding {
                Rounding::PreferFloor => "round_prefer_floor",
                Rounding::PreferCeil => "round_prefer_ceil",
                Rounding::Floor => "floor",
                Rounding::Ceil => "ceil",
            };
            attributes.push(string("nearest_mode", rounding));
        }
    }
    attributes
}

fn pool(p: &Pool) -> Result<(&'static str, Attributes), String> {
    if (0..2).any(|i| p.pads[i].max(p.pads[i + 2]) >= p.kernel[i]) {
        return Err(format!("pads {:?} by more than its window {:?}", p.pads, p.kernel));
    }
    let mut attributes =
        vec![ints("kernel_shape", &p.kernel), ints("strides", &p.strides), ints("pads", &p.pads)];
    let dilated = p.dilations != [1, 1];
    Ok(match p.kind {
        PoolKind::Max => {
            attributes.push(ints("dilations", &p.dilations));
            ("MaxPool", attributes)
        }
        PoolKind::Average { .. } if dilated => return Err("averages over a dilated window".into()),
        PoolKind::Average { count_include_pad } => {
            attributes.push(int("count_include_pad", i64::from(count_include_pad)));
            ("AveragePool", attributes)
        }
    })
}

//! Whether a network meets the Edge TPU's rules, operator by operator.
//!
//! The rules are those of Coral's documentation, "TensorFlow models on the Edge TPU" (model requirements and
//! the table of supported operations, runtime 14), which the compiler goes by: what breaks one stays on the CPU,
//! with everything behind it.

use super::model::{Attributes, Model, Operator, Tensor};
use super::schema::{self, Fused, Kind};

/// An operator that the Edge TPU does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Position among the operators; `None` for an input or output of the network.
    pub operator: Option<usize>,
    /// TFLite's name of the operator, or the tensor's name.
    pub name: String,
    /// The result that it computes, by name.
    pub output: String,
    /// The rule that it breaks.
    pub rule: String,
}

/// Largest input of a softmax.
const MAX_SOFTMAX: usize = 16_000;

/// Every operator that breaks a rule; none for a network that runs on the Edge TPU as a whole.
pub fn check(model: &Model) -> Vec<Violation> {
    let mut found = vec![];
    for &id in model.inputs.iter().chain(&model.outputs) {
        let tensor = &model.tensors[id];
        if !matches!(tensor.kind, Kind::I8 | Kind::U8) {
            let rule = "inputs and outputs must be 8-bit integers".to_owned();
            found.push(Violation {
                operator: None,
                name: tensor.name.clone(),
                output: tensor.name.clone(),
                rule,
            });
        }
    }
    for (i, operator) in model.operators.iter().enumerate() {
        if let Err(rule) = judge(model, operator) {
            let name = schema::name(operator.code)
                .map_or_else(|| format!("operator {}", operator.code), str::to_owned);
            let output =
                operator.outputs.first().map(|&id| model.tensors[id].name.clone()).unwrap_or_default();
            found.push(Violation { operator: Some(i), name, output, rule });
        }
    }
    found
}

/// The rule that an operator breaks.
fn judge(model: &Model, operator: &Operator) -> Result<(), String> {
    let tensor = |id: usize| &model.tensors[id];
    let input = |at: usize| operator.inputs.get(at).copied().flatten().map(tensor);
    let output = operator.outputs.first().map(|&id| tensor(id)).ok_or("computes nothing")?;
    for t in operator.inputs.iter().flatten().chain(&operator.outputs).map(|&id| tensor(id)) {
        numbers(t)?;
        if t.data.is_none() && t.shape.len() > 3 && t.shape[..t.shape.len() - 3].iter().any(|&n| n > 1) {
            return Err(format!("{:?} has more than three axes longer than 1", t.name));
        }
    }
    let x = input(0).ok_or("has no input")?;
    match (operator.code, &operator.attributes) {
        (
            schema::ADD
            | schema::EXPAND_DIMS
            | schema::L2_NORMALIZATION
            | schema::LOGISTIC
            | schema::MAXIMUM
            | schema::MINIMUM
            | schema::MUL
            | schema::QUANTIZE
            | schema::RELU
            | schema::RELU6
            | schema::RELU_N1_TO_1
            | schema::RESHAPE
            | schema::RSQRT
            | schema::SLICE
            | schema::SPACE_TO_DEPTH
            | schema::SQUARED_DIFFERENCE
            | schema::SQUEEZE
            | schema::SUB
            | schema::TANH
            | schema::TRANSPOSE
            | schema::TRANSPOSE_CONV
            | schema::UNIDIRECTIONAL_SEQUENCE_LSTM,
            _,
        ) => Ok(()),
        (schema::AVERAGE_POOL_2D | schema::MAX_POOL_2D, Attributes::Pool(w, _)) => {
            unless(w.fused != Fused::None, "a fused activation")
        }
        (schema::CONCATENATION, Attributes::Concat(_, fused)) => {
            unless(*fused != Fused::None, "a fused activation")?;
            let constant = operator.inputs.iter().flatten().any(|&id| tensor(id).data.is_some());
            unless(constant && operator.inputs.len() > 2, "a constant among more than two inputs")
        }
        (schema::CONV_2D, Attributes::Conv(w)) | (schema::DEPTHWISE_CONV_2D, Attributes::Depthwise(w, _)) => {
            unless(w.dilations[0] != w.dilations[1], "dilations that differ down and right")?;
            let constant = input(1).is_some_and(|t| t.data.is_some());
            unless(!constant, "weights that are not constant")
        }
        (schema::FULLY_CONNECTED, _) => {
            unless(output.shape.iter().filter(|&&n| n > 1).count() > 1, "an output of more than one axis")
        }
        (schema::MEAN, _) => {
            let axes = axes(input(1))?;
            unless(axes.contains(&0) && x.shape.first().is_some_and(|&n| n > 1), "a mean over the batch")?;
            let depth = x.shape.len() - 1;
            let odd = axes.contains(&depth) && x.shape[depth] % 4 != 0;
            unless(odd, "a mean over a number of channels that is no multiple of 4")
        }
        (schema::SUM | schema::REDUCE_MAX | schema::REDUCE_MIN, _) => {
            unless(axes(input(1))?.contains(&0), "a reduction over the batch")
        }
        (schema::PAD, _) => {
            let amounts = integers(input(1).ok_or("lacks its amounts")?)?;
            unless(amounts.iter().take(2).any(|&n| n != 0), "padding of the batch")
        }
        (schema::PRELU, _) => {
            let slope = input(1).ok_or("lacks its slope")?;
            let inner = slope.shape.len().saturating_sub(1);
            unless(slope.shape[..inner].iter().any(|&n| n > 1), "slopes along more than the channels")
        }
        (schema::RESIZE_BILINEAR | schema::RESIZE_NEAREST_NEIGHBOR, _) => Ok(()),
        (schema::SOFTMAX, _) => {
            unless(x.shape.iter().filter(|&&n| n > 1).count() > 1, "a softmax of more than one axis")?;
            unless(x.shape.iter().product::<usize>() > MAX_SOFTMAX, "a softmax of more than 16000 values")
        }
        (schema::SPLIT, _) => unless(axes(input(0))?.contains(&0), "splitting the batch"),
        (schema::PACK, _) => Ok(()),
        (schema::STRIDED_SLICE, Attributes::StridedSlice { other_masks, .. }) => {
            let strides = integers(input(3).ok_or("lacks its strides")?)?;
            unless(strides.iter().any(|&s| s != 1), "strides other than 1")?;
            unless(*other_masks, "an ellipsis or new-axis mask")
        }
        (code, _) if schema::name(code).is_none() => Err("is not among the supported operations".into()),
        _ => Err("is not among the supported operations".into()),
    }
}

fn unless(broken: bool, what: &str) -> Result<(), String> {
    if broken { Err(format!("{what} is not supported")) } else { Ok(()) }
}

/// Values and weights must be integers with a grid.
fn numbers(t: &Tensor) -> Result<(), String> {
    let ok = match t.kind {
        Kind::I8 | Kind::U8 => t.quantization.is_some(),
        // Biases, and what describes shapes.
        Kind::I32 => t.data.is_some(),
        _ => false,
    };
    if ok { Ok(()) } else { Err(format!("{:?} is {:?}, not 8-bit integers with a scale", t.name, t.kind)) }
}

fn integers(t: &Tensor) -> Result<Vec<i32>, String> {
    let data = t
        .data
        .as_ref()
        .filter(|_| t.kind == Kind::I32)
        .ok_or_else(|| format!("{:?} is not constant", t.name))?;
    Ok(data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect())
}

/// Axes from the front.
fn axes(t: Option<&Tensor>) -> Result<Vec<usize>, String> {
    let values = integers(t.ok_or("lacks its axes")?)?;
    values
        .into_iter()
        .map(|a| usize::try_from(a).map_err(|_| "counts axes from the end".to_owned()))
        .collect()
}

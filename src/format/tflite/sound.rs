//! What vendors' runtimes take on trust, and crash where it fails: that every operator finds its inputs, keeps the
//! shape that it cannot change, and has a scale for integers that it computes with.

use super::grid::{integer_version, moves};
use super::model::{Model, Operator};
use super::schema::{self, Kind};

/// Checks every operator.
///
/// `variables` are tensors that keep their values between runs; they have them from the start.
pub(super) fn check(model: &Model, variables: &[bool]) -> Result<(), String> {
    let constants = model.tensors.iter().map(|tensor| tensor.data.is_some());
    let mut given: Vec<bool> =
        constants.zip(variables).map(|(constant, variable)| constant || *variable).collect();
    model.inputs.iter().for_each(|&id| given[id] = true);
    for operator in &model.operators {
        in_order(model, operator, &mut given)
            .and_then(|()| shape(model, operator))
            .and_then(|()| scales(model, operator))
            .map_err(|broken| format!("{} {broken}", schema::name(operator.code).unwrap_or("an operator")))?;
    }
    match model.outputs.iter().find(|&&id| !given[id]) {
        Some(&id) => Err(format!("nothing computes the output {:?}", model.tensors[id].name)),
        None => Ok(()),
    }
}

/// Inputs are there before they are used, and each tensor comes from one place.
fn in_order(model: &Model, operator: &Operator, given: &mut [bool]) -> Result<(), String> {
    for &id in operator.inputs.iter().flatten() {
        // Tensors without a single value need none.
        if !given[id] && !model.tensors[id].shape.contains(&0) {
            return Err(format!("uses {:?} before it is there", model.tensors[id].name));
        }
    }
    for &id in &operator.outputs {
        if std::mem::replace(&mut given[id], true) {
            return Err(format!("computes {:?}, which is there already", model.tensors[id].name));
        }
    }
    Ok(())
}

/// Functions of each value keep the shape.
fn shape(model: &Model, operator: &Operator) -> Result<(), String> {
    let input = operator.inputs.first().copied().flatten();
    let [from, to] =
        [input, operator.outputs.first().copied()].map(|id| id.map(|id| &model.tensors[id].shape));
    match (from, to) {
        (Some(from), Some(to)) if keeps_shape(operator.code) && from != to => {
            Err(format!("makes {to:?} of {from:?}"))
        }
        _ => Ok(()),
    }
}

/// Integers that are computed with have a scale.
fn scales(model: &Model, operator: &Operator) -> Result<(), String> {
    if integer_version(operator.code).is_none() || moves(operator.code) {
        return Ok(());
    }
    let used = operator.inputs.iter().flatten().chain(&operator.outputs).map(|&id| &model.tensors[id]);
    let mut without = used.filter(|t| matches!(t.kind, Kind::I8 | Kind::U8) && t.quantization.is_none());
    match without.next() {
        Some(tensor) => Err(format!("computes with {:?}, integers without a scale", tensor.name)),
        None => Ok(()),
    }
}

/// Functions of each value.
fn keeps_shape(code: schema::Code) -> bool {
    matches!(
        code,
        schema::ABS
            | schema::CEIL
            | schema::DEQUANTIZE
            | schema::ELU
            | schema::EXP
            | schema::FLOOR
            | schema::HARD_SWISH
            | schema::LEAKY_RELU
            | schema::LOG
            | schema::LOGISTIC
            | schema::NEG
            | schema::PRELU
            | schema::QUANTIZE
            | schema::RELU
            | schema::RELU6
            | schema::RELU_N1_TO_1
            | schema::RSQRT
            | schema::SOFTMAX
            | schema::SQRT
            | schema::TANH
    )
}

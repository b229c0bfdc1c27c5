//! Whether every operator finds its inputs, and leaves what it says: vendors' runtimes take that on trust, and crash
//! where it fails.

use super::model::Model;
use super::schema;

/// Checks that operators come in order, and each tensor from one place.
///
/// `variables` are tensors that keep their values between runs; they have them from the start.
pub(super) fn check(model: &Model, variables: &[bool]) -> Result<(), String> {
    let constants = model.tensors.iter().map(|tensor| tensor.data.is_some());
    let mut given: Vec<bool> =
        constants.zip(variables).map(|(constant, variable)| constant || *variable).collect();
    model.inputs.iter().for_each(|&id| given[id] = true);
    let name = |id: usize| &model.tensors[id].name;
    for operator in &model.operators {
        // Tensors without a single value need none.
        let empty = |id: usize| model.tensors[id].shape.contains(&0);
        let wanted = operator.inputs.iter().flatten().copied();
        if let Some(id) = wanted.into_iter().find(|&id| !given[id] && !empty(id)) {
            let user = schema::name(operator.code).unwrap_or("an operator");
            return Err(format!("{user} uses {:?} before it is there", name(id)));
        }
        let shape = |id: Option<usize>| id.map(|id| &model.tensors[id].shape);
        let (x, y) = (operator.inputs.first().copied().flatten(), operator.outputs.first().copied());
        if keeps_shape(operator.code) && shape(x) != shape(y) {
            let user = schema::name(operator.code).unwrap_or("an operator");
            return Err(format!("{user} makes {:?} of {:?}", shape(y), shape(x)));
        }
        for &id in &operator.outputs {
            if std::mem::replace(&mut given[id], true) {
                return Err(format!("{:?} is computed although it is there already", name(id)));
            }
        }
    }
    match model.outputs.iter().find(|&&id| !given[id]) {
        Some(&id) => Err(format!("nothing computes the output {:?}", name(id))),
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

//! What a file takes when it is decoded, counted on its bytes before any of it is.
//!
//! Two bytes can say "an empty node", and the node that they become takes two hundred: a file of some megabytes could
//! fill the memory. Where a message's parts begin can be told without decoding them
//! (<https://protobuf.dev/programming-guides/encoding/>).

use super::proto;
use crate::graph::passes::fold_constants::MAX_CONSTANT_ELEMENTS;

/// Most bytes that the parts of a file may take beside its own bytes: enough for a node with a dozen names and
/// attributes, as many times as there may be nodes.
const MAX_BYTES: usize = 256 << 20;
/// Most bytes that tensors' integers may take.
const MAX_VALUE_BYTES: usize = 4 * MAX_CONSTANT_ELEMENTS;

/// A message of `proto`: what it takes, and which of its fields can be many.
struct Layout {
    bytes: usize,
    fields: &'static [(u64, Field)],
}

/// What such a field holds.
enum Field {
    Message(&'static Layout),
    Text,
    /// Integers of variable length that take this much each.
    Integers(usize),
    /// The same, as the values of a tensor.
    Values(usize),
}

use Field::{Integers, Message, Text, Values};

static MODEL: Layout =
    Layout { bytes: size_of::<proto::Model>(), fields: &[(7, Message(&GRAPH)), (8, Message(&OPERATOR_SET))] };
static OPERATOR_SET: Layout = Layout { bytes: size_of::<proto::OperatorSet>(), fields: &[] };
static GRAPH: Layout = Layout {
    bytes: size_of::<proto::Graph>(),
    fields: &[
        (1, Message(&NODE)),
        (5, Message(&TENSOR)),
        (11, Message(&VALUE_INFO)),
        (12, Message(&VALUE_INFO)),
    ],
};
static NODE: Layout =
    Layout { bytes: size_of::<proto::Node>(), fields: &[(1, Text), (2, Text), (5, Message(&ATTRIBUTE))] };
static ATTRIBUTE: Layout =
    Layout { bytes: size_of::<proto::Attribute>(), fields: &[(5, Message(&TENSOR)), (8, Integers(8))] };
static TENSOR: Layout = Layout {
    bytes: size_of::<proto::Tensor>(),
    fields: &[(1, Integers(8)), (5, Values(4)), (7, Values(8)), (13, Message(&KEY_VALUE))],
};
static KEY_VALUE: Layout = Layout { bytes: size_of::<proto::KeyValue>(), fields: &[] };
static VALUE_INFO: Layout = Layout { bytes: size_of::<proto::ValueInfo>(), fields: &[(2, Message(&TYPE))] };
static TYPE: Layout = Layout { bytes: size_of::<proto::Type>(), fields: &[(1, Message(&TENSOR_TYPE))] };
static TENSOR_TYPE: Layout =
    Layout { bytes: size_of::<proto::TensorType>(), fields: &[(2, Message(&SHAPE))] };
static SHAPE: Layout = Layout { bytes: size_of::<proto::Shape>(), fields: &[(1, Message(&DIMENSION))] };
static DIMENSION: Layout = Layout { bytes: size_of::<proto::Dimension>(), fields: &[] };

/// Refuses a file that becomes too large. What is wrong with it otherwise, the decoder says: it comes no further than
/// this does.
pub(super) fn check(file: &[u8]) -> Result<(), String> {
    count(file, &MODEL, &mut Left { parts: MAX_BYTES, values: MAX_VALUE_BYTES })
}

/// What may still be taken.
struct Left {
    parts: usize,
    values: usize,
}

/// Takes what `message` becomes from what is `left`.
fn count(mut message: &[u8], layout: &Layout, left: &mut Left) -> Result<(), String> {
    take(&mut left.parts, layout.bytes)?;
    while let Some(key) = varint(&mut message) {
        let field = layout.fields.iter().find(|(number, _)| *number == key >> 3).map(|(_, field)| field);
        let skipped = match key & 7 {
            0 => {
                match field {
                    Some(Integers(bytes)) => take(&mut left.parts, *bytes)?,
                    Some(Values(bytes)) => take(&mut left.values, *bytes)?,
                    _ => {}
                }
                varint(&mut message).map(|_| ())
            }
            1 => skip(&mut message, 8).map(|_| ()),
            2 => match varint(&mut message).and_then(|length| skip(&mut message, length)) {
                Some(part) => {
                    match field {
                        Some(Message(layout)) => count(part, layout, left)?,
                        Some(Text) => take(&mut left.parts, size_of::<String>())?,
                        Some(Integers(bytes)) => take(&mut left.parts, integers(part) * *bytes)?,
                        Some(Values(bytes)) => take(&mut left.values, integers(part) * *bytes)?,
                        None => {}
                    }
                    Some(())
                }
                None => None,
            },
            5 => skip(&mut message, 4).map(|_| ()),
            // Groups: no version of the format has any.
            _ => return Err("is not an ONNX file: it holds what ONNX has no field for".to_owned()),
        };
        if skipped.is_none() {
            break;
        }
    }
    Ok(())
}

/// How many of variable length there are: the last byte of each has its top bit clear.
fn integers(packed: &[u8]) -> usize {
    packed.iter().filter(|&&byte| byte < 0x80).count()
}

fn take(left: &mut usize, bytes: usize) -> Result<(), String> {
    *left = left.checked_sub(bytes).ok_or_else(|| {
        let (parts, values) = (MAX_BYTES >> 20, MAX_VALUE_BYTES >> 20);
        format!("has more nodes and names than fit into {parts} MiB, or more integers than fit into {values}")
    })?;
    Ok(())
}

/// The integer of variable length at the front; `None` where there is no whole one.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let length = 1 + bytes.iter().take(10).position(|&byte| byte < 0x80)?;
    let (integer, rest) = bytes.split_at(length);
    *bytes = rest;
    // Beyond 64 bits the decoder refuses it.
    Some(integer.iter().rev().fold(0, |value, &byte| value << 7 | u64::from(byte & 0x7f)))
}

/// The next `length` bytes; `None` where there are not so many.
fn skip<'a>(bytes: &mut &'a [u8], length: u64) -> Option<&'a [u8]> {
    let (part, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
    *bytes = rest;
    Some(part)
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    /// What a model takes by this count.
    fn weight(model: &proto::Model) -> usize {
        let mut left = Left { parts: MAX_BYTES, values: MAX_VALUE_BYTES };
        count(&model.encode_to_vec(), &MODEL, &mut left).unwrap();
        MAX_BYTES - left.parts + MAX_VALUE_BYTES - left.values
    }

    #[test]
    fn every_part_is_counted_once() {
        let graph = |graph: proto::Graph| proto::Model { graph: Some(graph), ..proto::Model::default() };
        let empty = weight(&graph(proto::Graph::default()));
        assert_eq!(empty, size_of::<proto::Model>() + size_of::<proto::Graph>());

        let tensor =
            proto::Tensor { dims: vec![1, 300], int32_data: vec![-1; 300], ..proto::Tensor::default() };
        let value = proto::Attribute { t: Some(tensor), ints: vec![5; 7], ..proto::Attribute::default() };
        let node = proto::Node {
            input: vec!["a".into(), String::new()],
            output: vec!["b".into()],
            attribute: vec![value],
            ..proto::Node::default()
        };
        let taken = weight(&graph(proto::Graph { node: vec![node; 2], ..proto::Graph::default() })) - empty;
        let tensor = size_of::<proto::Tensor>() + 2 * 8 + 300 * 4;
        let node = size_of::<proto::Node>() + 3 * size_of::<String>();
        assert_eq!(taken, 2 * (node + size_of::<proto::Attribute>() + 7 * 8 + tensor));
    }

    #[test]
    fn integers_of_variable_length_are_read_to_their_end() {
        let mut bytes: &[u8] = &[0x96, 0x01, 0x05, 0xff];
        assert_eq!((varint(&mut bytes), varint(&mut bytes), varint(&mut bytes)), (Some(150), Some(5), None));
        assert_eq!(varint(&mut [0xff; 11].as_slice()), None);
    }
}

//! A network of one convolution that marks red pixels: small enough for tests, and it does find something.

use std::path::PathBuf;

use endort::format::onnx::proto::{
    Attribute, Dimension, Graph, Model, Node, OperatorSet, Shape, Tensor, TensorType, Type, ValueInfo,
};
use prost::Message;

use crate::program::Sandbox;

/// Side of the network's input and output.
const SIDE: i64 = 64;
/// `TensorProto.DataType.FLOAT`
const FLOAT: i32 = 1;

/// Writes the model into the sandbox.
pub fn write(sandbox: &Sandbox) -> PathBuf {
    let graph = Graph {
        name: "red".into(),
        node: vec![Node {
            input: vec!["image".into(), "weight".into(), "bias".into()],
            output: vec!["mask".into()],
            name: "red".into(),
            op_type: "Conv".into(),
            ..Node::default()
        }],
        initializer: vec![tensor("weight", &[1, 3, 1, 1], &[4.0, -2.0, -2.0]), tensor("bias", &[1], &[-4.0])],
        input: vec![value("image", &[1, 3, SIDE, SIDE])],
        output: vec![value("mask", &[1, 1, SIDE, SIDE])],
    };
    write_graph(sandbox, "red.onnx", graph)
}

/// The same network in two convolutions: how red a pixel is, and whether that is enough.
pub fn write_in_two_steps(sandbox: &Sandbox) -> PathBuf {
    let convolution = |input: &str, name: &str, output: &str| Node {
        input: vec![input.into(), format!("{name}_weight"), format!("{name}_bias")],
        output: vec![output.into()],
        name: name.into(),
        op_type: "Conv".into(),
        ..Node::default()
    };
    let graph = Graph {
        name: "red".into(),
        node: vec![convolution("image", "red", "redness"), convolution("redness", "enough", "mask")],
        initializer: vec![
            tensor("red_weight", &[1, 3, 1, 1], &[4.0, -2.0, -2.0]),
            tensor("red_bias", &[1], &[0.0]),
            tensor("enough_weight", &[1, 1, 1, 1], &[2.0]),
            tensor("enough_bias", &[1], &[-4.0]),
        ],
        input: vec![value("image", &[1, 3, SIDE, SIDE])],
        output: vec![value("mask", &[1, 1, SIDE, SIDE])],
    };
    write_graph(sandbox, "red.onnx", graph)
}

/// The same network as TensorFlow has it, channels last at its input and, if `at_both_ends`, at its output, with
/// `classes` equal masks.
pub fn write_channels_last(sandbox: &Sandbox, classes: i64, at_both_ends: bool) -> PathBuf {
    let transpose = |input: &str, output: &str, perm: &[i64]| Node {
        attribute: vec![ints("perm", perm)],
        ..node("Transpose", &[input], output)
    };
    let count = classes as usize;
    let (perm, extents) = match at_both_ends {
        true => ([0, 2, 3, 1], [1, SIDE, SIDE, classes]),
        false => ([0, 1, 2, 3], [1, classes, SIDE, SIDE]),
    };
    let graph = Graph {
        name: "red".into(),
        node: vec![
            transpose("image", "planes", &[0, 3, 1, 2]),
            node("Conv", &["planes", "weight", "bias"], "masks"),
            transpose("masks", "mask", &perm),
        ],
        initializer: vec![
            tensor("weight", &[classes, 3, 1, 1], &[4.0, -2.0, -2.0].repeat(count)),
            tensor("bias", &[classes], &vec![-4.0; count]),
        ],
        input: vec![value("image", &[1, SIDE, SIDE, 3])],
        output: vec![value("mask", &extents)],
    };
    write_graph(sandbox, "last.onnx", graph)
}

/// The network followed by operators without attributes; its output is of `channels`, all alike.
pub fn write_with_tail(sandbox: &Sandbox, name: &str, channels: i64, tail: &[&str]) -> PathBuf {
    let mut nodes = vec![node("Conv", &["image", "weight", "bias"], "step0")];
    for (i, op) in tail.iter().enumerate() {
        let mut next = node(op, &[&format!("step{i}")], &format!("step{}", i + 1));
        if *op == "Softmax" {
            // AttributeProto.AttributeType.INT
            next.attribute = vec![Attribute { name: "axis".into(), r#type: 2, i: 1, ..Attribute::default() }];
        }
        nodes.push(next);
    }
    let count = channels as usize;
    let graph = Graph {
        name: "red".into(),
        node: nodes,
        initializer: vec![
            tensor("weight", &[channels, 3, 1, 1], &[4.0, -2.0, -2.0].repeat(count)),
            tensor("bias", &[channels], &vec![-4.0; count]),
        ],
        input: vec![value("image", &[1, 3, SIDE, SIDE])],
        output: vec![value(&format!("step{}", tail.len()), &[1, channels, SIDE, SIDE])],
    };
    write_graph(sandbox, name, graph)
}

/// A network whose `boxes` are as long as there are pixels: seven fields each, one after the other as YOLOv8 writes
/// them, or a box per row.
pub fn write_boxes(sandbox: &Sandbox, name: &str, a_box_per_row: bool) -> PathBuf {
    const FIELDS: i64 = 7;
    let mut nodes = vec![
        node("Conv", &["image", "weight", "bias"], "planes"),
        node("Reshape", &["planes", "extents"], "fields"),
    ];
    let mut output = value("fields", &[1, FIELDS, SIDE * SIDE]);
    if a_box_per_row {
        nodes.push(Node {
            attribute: vec![ints("perm", &[0, 2, 1])],
            ..node("Transpose", &["fields"], "boxes")
        });
        output = value("boxes", &[1, SIDE * SIDE, FIELDS]);
    }
    let count = FIELDS as usize;
    let extents = Tensor {
        name: "extents".into(),
        dims: vec![3],
        // TensorProto.DataType.INT64
        data_type: 7,
        int64_data: vec![1, FIELDS, SIDE * SIDE],
        ..Tensor::default()
    };
    let graph = Graph {
        name: "boxes".into(),
        node: nodes,
        initializer: vec![
            tensor("weight", &[FIELDS, 3, 1, 1], &[4.0, -2.0, -2.0].repeat(count)),
            tensor("bias", &[FIELDS], &vec![-4.0; count]),
            extents,
        ],
        input: vec![value("image", &[1, 3, SIDE, SIDE])],
        output: vec![output],
    };
    write_graph(sandbox, name, graph)
}

fn write_graph(sandbox: &Sandbox, name: &str, graph: Graph) -> PathBuf {
    let model = Model {
        ir_version: 8,
        opset_import: vec![OperatorSet { domain: String::new(), version: 17 }],
        graph: Some(graph),
        ..Model::default()
    };
    sandbox.write(name, model.encode_to_vec())
}

/// A node that is called as its output.
fn node(op: &str, inputs: &[&str], output: &str) -> Node {
    Node {
        input: inputs.iter().map(|&input| input.into()).collect(),
        output: vec![output.into()],
        name: output.into(),
        op_type: op.into(),
        ..Node::default()
    }
}

fn ints(name: &str, ints: &[i64]) -> Attribute {
    // AttributeProto.AttributeType.INTS
    Attribute { name: name.into(), r#type: 7, ints: ints.to_vec(), ..Attribute::default() }
}

fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
    Tensor {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: FLOAT,
        float_data: values.to_vec(),
        ..Tensor::default()
    }
}

fn value(name: &str, extents: &[i64]) -> ValueInfo {
    let dim = extents.iter().map(|&n| Dimension { dim_value: Some(n), dim_param: None }).collect();
    let tensor_type = Some(TensorType { elem_type: FLOAT, shape: Some(Shape { dim }) });
    ValueInfo { name: name.into(), r#type: Some(Type { tensor_type }) }
}

//! ONNX out: any graph of ours as standard operators of opset 17.
//!
//! What passes have fused into a convolution is written as nodes of its own, since ONNX has no such
//! operator; runtimes fuse it again. A quantized graph is written as explicit `QuantizeLinear` and
//! `DequantizeLinear`, weights as 8-bit constants. Weights in half precision are widened by a `Cast`, so
//! that inputs, outputs and arithmetic are 32-bit.

mod nodes;

use std::collections::{HashMap, HashSet};

use half::f16;
use prost::Message;

use super::proto;
use super::tensor::dtype;
use crate::error::Result;
use crate::graph::names::Names;
use crate::graph::quantization::Integer;
use crate::graph::tensor::{Data, fits_half};
use crate::graph::{Graph, Op, Tensor, ValueId};

/// Operator set that is written: the first with everything that is needed, which every runtime reads.
pub const OPSET: i64 = 17;
/// Version of the format that goes with it.
const IR_VERSION: i64 = 8;

/// How a network is written.
#[derive(Debug, Clone, Copy, Default)]
pub struct WriteOptions {
    /// Store weights as 16-bit floats. What does not fit their range stays as it is.
    pub half_weights: bool,
}

/// Writes a network. It must have names for its inputs and outputs, as one that was read has.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) for an operator that ONNX cannot express with these attributes.
pub fn write(graph: &Graph, options: &WriteOptions) -> Result<Vec<u8>> {
    let mut w = Writer {
        graph,
        options: *options,
        names: HashMap::new(),
        taken: Names::default(),
        node_names: Names::default(),
        integers: integers(graph),
        nodes: vec![],
        initializers: vec![],
    };
    for &id in graph.inputs.iter().chain(&graph.outputs) {
        if !w.names.contains_key(&id) {
            let name = w.fresh(&graph.value(id).name);
            w.names.insert(id, name);
        }
    }
    for node in &graph.nodes {
        w.node(node).map_err(|e| graph.error(format!("{} (node {:?}) {e}", node.op.name(), node.name)))?;
    }
    let outputs = w.outputs();
    let inputs = graph.inputs.iter().map(|&id| w.value_info(&w.names[&id], graph.shape(id), dtype::FLOAT));
    let model = proto::Model {
        ir_version: IR_VERSION,
        producer_name: env!("CARGO_PKG_NAME").into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
        graph: Some(proto::Graph {
            name: graph.name.clone(),
            input: inputs.collect(),
            output: outputs,
            node: w.nodes,
            initializer: w.initializers,
        }),
    };
    Ok(model.encode_to_vec())
}

/// The stored type of integer constants: what the `Dequantize` behind each says.
fn integers(graph: &Graph) -> HashMap<ValueId, Integer> {
    let of = |node: &crate::graph::Node| match &node.op {
        Op::Dequantize(q) => Some((node.inputs[0], q.integer)),
        _ => None,
    };
    graph.nodes.iter().filter_map(of).collect()
}

struct Writer<'g> {
    graph: &'g Graph,
    options: WriteOptions,
    /// Names of values that are there.
    names: HashMap<ValueId, String>,
    taken: Names,
    /// Names of nodes, which must differ too.
    node_names: Names,
    integers: HashMap<ValueId, Integer>,
    nodes: Vec<proto::Node>,
    initializers: Vec<proto::Tensor>,
}

impl Writer<'_> {
    /// `name`, or one derived from it that no other value bears.
    fn fresh(&mut self, name: &str) -> String {
        self.taken.unique(if name.is_empty() { "value" } else { name })
    }

    /// The name of a node's input, which is written if it is a constant that was not written yet.
    fn input(&mut self, id: ValueId) -> String {
        if let Some(name) = self.names.get(&id) {
            return name.clone();
        }
        let graph = self.graph;
        let name = self.fresh(&graph.value(id).name);
        if let Some(t) = graph.constant(id) {
            self.constant(&name, t, self.integers.get(&id).copied());
        }
        self.names.insert(id, name.clone());
        name
    }

    fn constant(&mut self, name: &str, t: &Tensor, integer: Option<Integer>) {
        let dims = t.shape().iter().map(|&d| d as i64).collect();
        let (data_type, raw_data) = match t.data() {
            Data::F32(v) if self.options.half_weights && v.len() > 1 && fits_half(v) => {
                let half = self.fresh(&format!("{name}.half"));
                let raw_data = v.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
                let data_type = dtype::FLOAT16;
                self.initializers.push(proto::Tensor {
                    name: half.clone(),
                    dims,
                    data_type,
                    raw_data,
                    ..Default::default()
                });
                let to = vec![nodes::int("to", i64::from(dtype::FLOAT))];
                self.plain("Cast", &format!("{name}.widen"), vec![half], name.to_owned(), to);
                return;
            }
            Data::F32(v) => (dtype::FLOAT, v.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Data::I64(v) => match integer {
                Some(Integer::Int8) => (dtype::INT8, v.iter().map(|&i| i as i8 as u8).collect()),
                Some(Integer::Uint8) => (dtype::UINT8, v.iter().map(|&i| i as u8).collect()),
                Some(Integer::Int32) => {
                    (dtype::INT32, v.iter().flat_map(|&i| (i as i32).to_le_bytes()).collect())
                }
                None => (dtype::INT64, v.iter().flat_map(|i| i.to_le_bytes()).collect()),
            },
        };
        let tensor = proto::Tensor { name: name.to_owned(), dims, data_type, raw_data, ..Default::default() };
        self.initializers.push(tensor);
    }

    /// A constant that is an operator's parameter, never in half precision.
    fn parameter(&mut self, name: &str, t: Result<Tensor, String>) -> Result<String, String> {
        let name = self.fresh(name);
        let options = std::mem::take(&mut self.options);
        self.constant(&name, &t?, None);
        self.options = options;
        Ok(name)
    }

    /// What the caller gets: each under a name of its own, computed by a node.
    fn outputs(&mut self) -> Vec<proto::ValueInfo> {
        let graph = self.graph;
        let mut seen = HashSet::new();
        let mut infos = vec![];
        for &id in &graph.outputs {
            let again = !seen.insert(id);
            let mut name = self.names[&id].clone();
            if again || graph.inputs.contains(&id) || graph.constant(id).is_some() {
                if !again && let Some(t) = graph.constant(id) {
                    let source = self.fresh(&format!("{name}.constant"));
                    self.constant(&source, t, None);
                    self.plain("Identity", &name, vec![source], name.clone(), vec![]);
                } else {
                    let copy = self.fresh(&name);
                    self.plain("Identity", &copy, vec![name], copy.clone(), vec![]);
                    name = copy;
                }
            }
            let stored = graph.nodes.iter().find(|n| n.output == id).and_then(|n| match &n.op {
                Op::Quantize(q) => Some(data_type(q.integer)),
                _ => None,
            });
            let kind = match graph.constant(id).map(Tensor::data) {
                Some(Data::I64(_)) => dtype::INT64,
                _ => stored.unwrap_or(dtype::FLOAT),
            };
            infos.push(self.value_info(&name, graph.shape(id), kind));
        }
        infos
    }

    fn value_info(&self, name: &str, shape: &[usize], elem_type: i32) -> proto::ValueInfo {
        let dim = |&d: &usize| proto::Dimension { dim_value: Some(d as i64), dim_param: None };
        let shape = Some(proto::Shape { dim: shape.iter().map(dim).collect() });
        let tensor_type = Some(proto::TensorType { elem_type, shape });
        proto::ValueInfo { name: name.to_owned(), r#type: Some(proto::Type { tensor_type }) }
    }

    fn plain(
        &mut self,
        op_type: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<proto::Attribute>,
    ) {
        let name = self.node_names.unique(name);
        self.nodes.push(proto::Node {
            name,
            op_type: op_type.to_owned(),
            input,
            output: vec![output],
            attribute,
            ..Default::default()
        });
    }
}

fn data_type(integer: Integer) -> i32 {
    match integer {
        Integer::Int8 => dtype::INT8,
        Integer::Uint8 => dtype::UINT8,
        Integer::Int32 => dtype::INT32,
    }
}

//! ONNX in: opset 9 to 21, static shapes, 32-bit and half-precision floats, explicit Q/DQ. Out: [`write`](fn@write).
//!
//! The protocol buffer is read with prost and turned into a [`Graph`] node by node; shapes are inferred and
//! constants folded on the way, so that what a file computes about shapes is a number by the time it is
//! needed. A file is hostile until proven otherwise: every count is bounded before memory is taken for it.

mod attributes;
mod nodes;
mod order;
pub mod proto;
mod tensor;
mod weigh;
mod write;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use prost::Message;

use crate::error::{Error, Result};
use crate::graph::passes::fold_constants::MAX_CONSTANT_ELEMENTS;
use crate::graph::{Graph, MAX_MACS, ValueId};
pub use write::{WriteOptions, write};

/// Largest model file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1 << 30;
/// Largest number of nodes.
pub const MAX_NODES: usize = 100_000;
/// Largest number of elements of all values of a run together (16 GiB of floats, before buffers are shared).
pub const MAX_VALUE_ELEMENTS: usize = 1 << 32;

const OPSETS: std::ops::RangeInclusive<i64> = 9..=21;

/// What the file leaves open.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// The model's name, for messages.
    pub name: &'a str,
    /// Where external data may lie.
    pub folder: Option<&'a Path>,
    /// Height and width of the input, where the file has names in their place.
    pub input_size: Option<[usize; 2]>,
    /// Whether the channel is the last axis of the input, so that `input_size` fills the right ones.
    pub channels_last: bool,
    /// Whether `input_size` also replaces a height and width that the file fixes.
    pub resize: bool,
}

/// Reads a network.
///
/// # Errors
/// [`Error::Model`] for a file that is damaged, unsound or beyond the bounds; [`Error::UnsupportedOperator`]
/// for one that uses what endort does not execute.
pub fn read(bytes: &[u8], options: &Options<'_>) -> Result<Graph> {
    let fail = |detail: String| Error::Model { model: options.name.to_owned(), detail };
    weigh::check(bytes).map_err(fail)?;
    let model = proto::Model::decode(bytes).map_err(|e| fail(format!("is not an ONNX file: {e}")))?;
    let opset = model.opset_import.iter().find(|o| nodes::is_standard(&o.domain)).map(|o| o.version);
    let opset = opset.ok_or_else(|| fail("is not an ONNX file: it names no operator set".into()))?;
    if !OPSETS.contains(&opset) {
        return Err(fail(format!("uses opset {opset}; {} to {} are read", OPSETS.start(), OPSETS.end())));
    }
    let source = model.graph.ok_or_else(|| fail("holds no graph".into()))?;
    if source.node.len() > MAX_NODES {
        return Err(fail(format!("has {} nodes, more than the limit of {MAX_NODES}", source.node.len())));
    }
    let mut reader = Reader {
        graph: Graph::new(options.name),
        names: HashMap::new(),
        integers: HashMap::new(),
        opset,
        elements: 0,
        constants: 0,
    };
    for t in &source.initializer {
        let constant = tensor::read(t, options.folder).map_err(fail)?;
        let id = reader.graph.add_constant(&t.name, constant);
        reader.integers.insert(id, t.data_type);
        reader.define(&t.name, id).map_err(fail)?;
    }
    for input in &source.input {
        // Files before IR version 4 list the weights among the inputs.
        if !reader.names.contains_key(&input.name) {
            let shape = input_shape(input, options).map_err(fail)?;
            let id = reader.graph.add_input(&input.name, shape);
            reader.define(&input.name, id).map_err(fail)?;
        }
    }
    let order = order::topological(&source.node, |name| reader.names.contains_key(name)).map_err(fail)?;
    for node in order {
        reader.read_node(node, options)?;
    }
    for output in &source.output {
        let id = *reader
            .names
            .get(&output.name)
            .ok_or_else(|| fail(format!("output {:?} is computed by no node", output.name)))?;
        reader.graph.outputs.push(id);
    }
    let graph = reader.graph;
    if graph.outputs.is_empty() {
        return Err(fail("has no output".into()));
    }
    if graph.macs() > MAX_MACS {
        return Err(fail(format!("needs {} multiply-accumulates; the limit is {MAX_MACS}", graph.macs())));
    }
    Ok(graph)
}

/// The files in `folder` that hold weights of an ONNX file, by the names it has for them; none for what is no such file.
pub fn external_files(bytes: &[u8], folder: &Path) -> BTreeMap<String, PathBuf> {
    // The key that names them: most files have none, and need not be decoded.
    let key = b"location";
    if !bytes.windows(key.len()).any(|part| part == key) || weigh::check(bytes).is_err() {
        return BTreeMap::new();
    }
    let graph = proto::Model::decode(bytes).ok().and_then(|model| model.graph).unwrap_or_default();
    let attributes = graph.node.iter().flat_map(|node| &node.attribute).filter_map(|a| a.t.as_ref());
    let named: BTreeSet<_> =
        graph.initializer.iter().chain(attributes).filter_map(tensor::location).collect();
    let found =
        named.into_iter().filter_map(|name| Some((name.to_owned(), tensor::inside(name, folder).ok()?)));
    found.collect()
}

/// A graph under construction.
struct Reader {
    graph: Graph,
    names: HashMap<String, ValueId>,
    /// Element type of constants as the file has it: integers of every width are one type in the graph.
    integers: HashMap<ValueId, i32>,
    opset: i64,
    /// Elements of all values that are computed, and of all constants.
    elements: usize,
    constants: usize,
}

impl Reader {
    fn define(&mut self, name: &str, id: ValueId) -> Result<(), String> {
        let value = self.graph.value(id);
        let (sum, limit, what) = match value.constant {
            None => (&mut self.elements, MAX_VALUE_ELEMENTS, "values"),
            Some(_) => (&mut self.constants, MAX_CONSTANT_ELEMENTS, "constants"),
        };
        let integers = value.constant.as_ref().is_some_and(|t| t.as_i64().is_some());
        // An integer takes twice the memory of a float.
        let elements = value.shape.iter().product::<usize>().saturating_mul(1 + usize::from(integers));
        *sum = sum.saturating_add(elements);
        if *sum > limit {
            return Err(format!("its {what} exceed the limit of {limit} elements"));
        }
        match self.names.insert(name.to_owned(), id) {
            None => Ok(()),
            Some(_) => Err(format!("the value {name:?} is defined twice")),
        }
    }
}

/// Extents of an input: an open batch is 1, open rows and columns are what the caller says.
fn input_shape(input: &proto::ValueInfo, options: &Options<'_>) -> Result<Vec<usize>, String> {
    let name = &input.name;
    let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| format!("input {name:?} is not a tensor"))?;
    if tensor::is_float(tensor.elem_type) != Some(true) {
        return Err(format!("input {name:?} does not take floats"));
    }
    let dims = tensor.shape.as_ref().map(|s| s.dim.as_slice()).unwrap_or_default();
    let spatial = if options.channels_last { 1..3 } else { 2..4 };
    let asked = |i: usize| match options.input_size {
        Some(size) if dims.len() == 4 && spatial.contains(&i) => Some(size[i - spatial.start]),
        _ => None,
    };
    let extent = |(i, d): (usize, &proto::Dimension)| match d.dim_value.unwrap_or(0) {
        v if v > 0 => asked(i).filter(|_| options.resize).or_else(|| usize::try_from(v).ok()),
        _ if i == 0 => Some(1),
        _ => asked(i),
    };
    let shape: Option<Vec<usize>> = dims.iter().enumerate().map(extent).collect();
    let shape = shape.ok_or_else(|| {
        format!("input {name:?} leaves its size open: export it with a fixed one, or name it in model.json")
    })?;
    crate::graph::tensor::element_count(&shape)?;
    Ok(shape)
}

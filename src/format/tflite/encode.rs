//! A [`Model`] as the bytes of a `.tflite` file: a flatbuffer after TFLite's schema, version 3.

use flatbuffers::{FlatBufferBuilder, Push, PushAlignment, TableFinishedWIPOffset, VOffsetT, WIPOffset};

use super::model::{Attributes, Model, Operator, Quantization, Tensor, Window};
use super::schema::{self, Fused};

/// Version of the schema.
const SCHEMA: u32 = 3;
/// What a file starts with, after the root's offset.
pub(super) const IDENTIFIER: &str = "TFL3";
/// Name of the one signature.
const SIGNATURE: &str = "serving_default";

type Builder = FlatBufferBuilder<'static>;
type Table = WIPOffset<TableFinishedWIPOffset>;

/// A byte of a buffer whose start lies on 16 bytes, as the schema wants.
#[derive(Clone, Copy)]
struct AlignedByte(u8);

impl Push for AlignedByte {
    type Output = u8;

    // SAFETY: `dst` has room for one byte, as the trait promises.
    unsafe fn push(&self, dst: &mut [u8], _: usize) {
        dst[0] = self.0;
    }

    fn alignment() -> PushAlignment {
        PushAlignment::new(16)
    }
}

/// Position of a field in the table of fields.
fn slot(field: VOffsetT) -> VOffsetT {
    4 + 2 * field
}

/// One table: fields are written in any order, and those at their default may be left out.
struct Fields<'a> {
    builder: &'a mut Builder,
    start: WIPOffset<flatbuffers::TableUnfinishedWIPOffset>,
}

impl<'a> Fields<'a> {
    fn new(builder: &'a mut Builder) -> Self {
        let start = builder.start_table();
        Self { builder, start }
    }

    fn put<T: Push>(self, field: VOffsetT, value: T) -> Self {
        self.builder.push_slot_always(slot(field), value);
        self
    }

    fn end(self) -> Table {
        self.builder.end_table(self.start)
    }
}

/// Writes the file.
pub fn encode(model: &Model) -> Vec<u8> {
    let mut b = Builder::new();
    let codes = operator_codes(model);
    // Buffer 0 is the empty one.
    let mut buffers = vec![Fields::new(&mut b).end()];
    let mut tensors = vec![];
    for tensor in &model.tensors {
        let mut buffer = 0;
        if let Some(data) = &tensor.data {
            let bytes: Vec<AlignedByte> = data.iter().copied().map(AlignedByte).collect();
            let data = b.create_vector(&bytes);
            buffer = buffers.len() as u32;
            buffers.push(Fields::new(&mut b).put(0, data).end());
        }
        tensors.push(encode_tensor(&mut b, tensor, buffer));
    }
    let operators: Vec<Table> = model.operators.iter().map(|o| encode_operator(&mut b, o, &codes)).collect();
    let tensors = b.create_vector(&tensors);
    let inputs = b.create_vector(&indices(&model.inputs));
    let outputs = b.create_vector(&indices(&model.outputs));
    let operators = b.create_vector(&operators);
    let name = b.create_string("main");
    let subgraph = Fields::new(&mut b)
        .put(0, tensors)
        .put(1, inputs)
        .put(2, outputs)
        .put(3, operators)
        .put(4, name)
        .end();
    let subgraphs = b.create_vector(&[subgraph]);
    let codes: Vec<Table> = codes.iter().map(|c| encode_code(&mut b, c)).collect();
    let codes = b.create_vector(&codes);
    let description = b.create_string(&model.description);
    let buffers = b.create_vector(&buffers);
    let signature = encode_signature(&mut b, model);
    let signatures = b.create_vector(&[signature]);
    let root = Fields::new(&mut b)
        .put(0, SCHEMA)
        .put(1, codes)
        .put(2, subgraphs)
        .put(3, description)
        .put(4, buffers)
        .put(7, signatures)
        .end();
    b.finish(root, Some(IDENTIFIER));
    b.finished_data().to_vec()
}

fn indices(values: &[usize]) -> Vec<i32> {
    values.iter().map(|&v| v as i32).collect()
}

/// An operator, the name of a custom one, and its version.
type OperatorCode<'a> = (i32, Option<&'a str>, i32);

fn operator_codes(model: &Model) -> Vec<OperatorCode<'_>> {
    let mut codes = vec![];
    for operator in &model.operators {
        let code = (operator.code, operator.custom.as_deref(), operator.version);
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

fn encode_code(b: &mut Builder, &(code, custom, version): &OperatorCode<'_>) -> Table {
    let custom = custom.map(|c| b.create_string(c));
    // Readers from before operator 127 look at a byte of its own.
    let old = code.min(127) as i8;
    let mut fields = Fields::new(b).put(0, old).put(2, version).put(3, code);
    if let Some(custom) = custom {
        fields = fields.put(1, custom);
    }
    fields.end()
}

fn encode_tensor(b: &mut Builder, tensor: &Tensor, buffer: u32) -> Table {
    let shape = b.create_vector(&indices(&tensor.shape));
    let name = b.create_string(&tensor.name);
    let quantization = tensor.quantization.as_ref().map(|q| encode_quantization(b, q));
    let mut fields =
        Fields::new(b).put(0, shape).put(1, tensor.kind.code()).put(2, buffer).put(3, name).put(8, true);
    if let Some(quantization) = quantization {
        fields = fields.put(4, quantization);
    }
    fields.end()
}

fn encode_quantization(b: &mut Builder, q: &Quantization) -> Table {
    let scales = b.create_vector(&q.scales);
    let zeros = b.create_vector(&q.zeros);
    Fields::new(b).put(2, scales).put(3, zeros).put(6, q.axis as i32).end()
}

fn encode_signature(b: &mut Builder, model: &Model) -> Table {
    let mut maps = |ids: &[usize]| {
        let tables: Vec<Table> = ids
            .iter()
            .map(|&id| {
                let name = b.create_string(&model.tensors[id].name);
                Fields::new(b).put(0, name).put(1, id as u32).end()
            })
            .collect();
        b.create_vector(&tables)
    };
    let (inputs, outputs) = (maps(&model.inputs), maps(&model.outputs));
    let key = b.create_string(SIGNATURE);
    Fields::new(b).put(0, inputs).put(1, outputs).put(2, key).put(4, 0u32).end()
}

fn encode_operator(b: &mut Builder, operator: &Operator, codes: &[OperatorCode<'_>]) -> Table {
    let code = (operator.code, operator.custom.as_deref(), operator.version);
    let index = codes.iter().position(|c| *c == code).unwrap_or_default() as u32;
    let inputs: Vec<i32> = operator.inputs.iter().map(|i| i.map_or(-1, |i| i as i32)).collect();
    let inputs = b.create_vector(&inputs);
    let outputs = b.create_vector(&indices(&operator.outputs));
    let options = encode_options(b, operator);
    let mut fields = Fields::new(b).put(0, index).put(1, inputs).put(2, outputs);
    if let Some((kind, table)) = options {
        fields = fields.put(3, kind).put(4, table);
    }
    fields.end()
}

/// The options' table, and its number in the union `BuiltinOptions`.
fn encode_options(b: &mut Builder, operator: &Operator) -> Option<(u8, Table)> {
    let fused = |f: Fused| f as i8;
    Some(match &operator.attributes {
        Attributes::None => (plain_options(operator.code)?, Fields::new(b).end()),
        Attributes::Conv(w) => {
            let [dh, dw] = w.dilations;
            (1, window(b, w).put(3, fused(w.fused)).put(4, dw as i32).put(5, dh as i32).end())
        }
        Attributes::Depthwise(w, multiplier) => {
            let [dh, dw] = w.dilations;
            let fields = window(b, w).put(3, *multiplier as i32).put(4, fused(w.fused));
            (2, fields.put(5, dw as i32).put(6, dh as i32).end())
        }
        Attributes::Pool(w, [kh, kw]) => {
            (5, window(b, w).put(3, *kw as i32).put(4, *kh as i32).put(5, fused(w.fused)).end())
        }
        Attributes::TransposeConv(w) => (49, window(b, w).put(3, fused(w.fused)).end()),
        Attributes::Concat(axis, f) => (10, Fields::new(b).put(0, *axis as i32).put(1, fused(*f)).end()),
        Attributes::Arithmetic(f) => {
            let kind = match operator.code {
                schema::ADD => 11,
                schema::MUL => 21,
                schema::SUB => 28,
                _ => 29,
            };
            (kind, Fields::new(b).put(0, fused(*f)).end())
        }
        Attributes::FullyConnected(f) => (8, Fields::new(b).put(0, fused(*f)).end()),
        Attributes::Resize { align_corners, half_pixel } => {
            let bilinear = operator.code == schema::RESIZE_BILINEAR;
            let (kind, first) = if bilinear { (15, 2) } else { (74, 0) };
            (kind, Fields::new(b).put(first, *align_corners).put(first + 1, *half_pixel).end())
        }
        Attributes::Reduce(keep) => (27, Fields::new(b).put(0, *keep).end()),
        Attributes::Reshape(shape) => {
            let shape = b.create_vector(&indices(shape));
            (17, Fields::new(b).put(0, shape).end())
        }
        Attributes::Softmax => (9, Fields::new(b).put(0, 1.0f32).end()),
        Attributes::LeakyRelu(alpha) => (75, Fields::new(b).put(0, *alpha).end()),
        Attributes::StridedSlice { end_mask, .. } => (32, Fields::new(b).put(1, *end_mask).end()),
        Attributes::MirrorPad(symmetric) => (77, Fields::new(b).put(0, i8::from(*symmetric)).end()),
        Attributes::Gather(axis) => (23, Fields::new(b).put(0, *axis as i32).end()),
        Attributes::BatchMatMul => (101, Fields::new(b).end()),
    })
}

/// What convolutions and pools begin with.
fn window<'a>(b: &'a mut Builder, w: &Window) -> Fields<'a> {
    let [down, right] = w.strides;
    Fields::new(b).put(0, w.padding as i8).put(1, right as i32).put(2, down as i32)
}

/// The number of an empty options' table that goes with an operator.
fn plain_options(code: schema::Code) -> Option<u8> {
    Some(match code {
        schema::TRANSPOSE => 26,
        schema::PAD => 22,
        schema::PADV2 => 43,
        schema::MAXIMUM | schema::MINIMUM => 39,
        schema::DEQUANTIZE => 38,
        schema::QUANTIZE => 89,
        _ => return None,
    })
}

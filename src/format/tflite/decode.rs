//! A `.tflite` file as a [`Model`]: what is needed to bind its inputs and outputs and to judge its operators.
//!
//! A file is hostile until proven otherwise: every offset is checked against the file, every count against
//! a bound, and what is copied out of the file is a small multiple of what the file holds, although its tables may
//! share their lists.

use std::cell::Cell;

use super::encode::IDENTIFIER;
use super::model::{Attributes, Model, Operator, Quantization, Tensor, Window};
use super::schema::{self, Fused, Kind, Padding};

/// Largest number of tensors or operators.
const MAX_ITEMS: usize = 100_000;
/// Largest number of axes.
const MAX_RANK: usize = 8;
/// How many times its own length a file's lists and names may add up to. Buffers, which are not shared, count apart.
const MAX_SHARING: usize = 16;
/// Longest name.
const MAX_NAME: usize = 4096;

type Read<T> = Result<T, String>;

/// Whether these are the first bytes of a `.tflite` file.
pub fn is_tflite(bytes: &[u8]) -> bool {
    bytes.get(4..8) == Some(IDENTIFIER.as_bytes())
}

/// Reads a file of one subgraph; of several, the first.
pub fn decode(bytes: &[u8]) -> Read<Model> {
    if !is_tflite(bytes) {
        return Err("is not a TFLite file".into());
    }
    let left = Cell::new(bytes.len().saturating_mul(MAX_SHARING));
    let file = File { bytes, left: &left };
    let root = file.table(file.follow(0)?)?;
    let mut copied = 0;
    let buffers = root.tables(4)?;
    let codes = root.tables(1)?.iter().map(code).collect::<Read<Vec<_>>>()?;
    let subgraphs = root.tables(2)?;
    let main = subgraphs.first().ok_or("holds no subgraph")?;
    let mut model = Model { description: root.text(3)?, ..Model::default() };
    let mut variables = vec![];
    for tensor in main.tables(0)? {
        let read = read_tensor(&tensor, &buffers, &mut copied)?;
        model.tensors.push(read);
        variables.push(tensor.flag(5)?);
    }
    let count = model.tensors.len();
    let checked = |ids: Vec<i32>| -> Read<Vec<Option<usize>>> {
        let one = |id: i32| match usize::try_from(id) {
            Err(_) if id == -1 => Ok(None),
            Ok(id) if id < count => Ok(Some(id)),
            _ => Err(format!("names the tensor {id}, there are {count}")),
        };
        ids.into_iter().map(one).collect()
    };
    let present = |ids: Vec<i32>| -> Read<Vec<usize>> {
        checked(ids)?.into_iter().map(|id| id.ok_or_else(|| "lacks an input or output".to_owned())).collect()
    };
    model.inputs = present(main.integers(1)?)?;
    model.outputs = present(main.integers(2)?)?;
    for table in main.tables(3)? {
        let index = table.u32(0, 0)? as usize;
        let (code, custom, version) = codes
            .get(index)
            .cloned()
            .ok_or_else(|| format!("names the operator {index}, there are {}", codes.len()))?;
        // Operators may share their name in the file, and have one each here.
        file.spend(custom.as_ref().map_or(0, String::len))?;
        let attributes = attributes(code, &table)?;
        let (inputs, outputs) = (checked(table.integers(1)?)?, present(table.integers(2)?)?);
        model.operators.push(Operator { code, custom, version, inputs, outputs, attributes });
    }
    super::sound::check(&model, &variables)?;
    Ok(model)
}

/// Tensors of the first signature's outputs, in its order: runtimes that go by signatures use it.
pub fn signature_outputs(bytes: &[u8]) -> Read<Vec<(String, usize)>> {
    let left = Cell::new(bytes.len().saturating_mul(MAX_SHARING));
    let file = File { bytes, left: &left };
    let root = file.table(file.follow(0)?)?;
    let Some(signature) = root.tables(7)?.into_iter().next() else { return Ok(vec![]) };
    signature.tables(1)?.iter().map(|map| Ok((map.text(0)?, map.u32(1, 0)? as usize))).collect()
}

fn code(table: &Table<'_>) -> Read<(i32, Option<String>, i32)> {
    let (old, new) = (i32::from(table.i8(0, 0)?), table.i32(3, 0)?);
    let custom = table.text(1)?;
    Ok((old.max(new), Some(custom).filter(|c| !c.is_empty()), table.i32(2, 1)?))
}

fn read_tensor(table: &Table<'_>, buffers: &[Table<'_>], copied: &mut usize) -> Read<Tensor> {
    let shape = table.integers(0)?;
    if shape.len() > MAX_RANK {
        return Err(format!("a tensor has {} axes, more than the limit of {MAX_RANK}", shape.len()));
    }
    let shape: Vec<usize> = shape
        .iter()
        .map(|&n| usize::try_from(n).map_err(|_| format!("a tensor has the open shape {shape:?}")))
        .collect::<Read<_>>()?;
    crate::graph::tensor::element_count(&shape)?;
    let index = table.u32(2, 0)? as usize;
    let buffer =
        buffers.get(index).ok_or_else(|| format!("names the buffer {index}, there are {}", buffers.len()))?;
    let data = buffer.bytes(0)?.filter(|data| !data.is_empty());
    if let Some(data) = data {
        // Tensors that share a buffer would multiply it.
        *copied += data.len();
        if *copied > table.file.bytes.len() {
            return Err("its tensors hold more than the file".into());
        }
    }
    let quantization = match table.child(4)? {
        Some(q) => quantization(&q, &shape)?,
        None => None,
    };
    let (name, kind) = (table.text(3)?, Kind::from_code(table.i8(1, 0)?));
    Ok(Tensor { name, shape, kind, data: data.map(<[u8]>::to_vec), quantization })
}

fn quantization(table: &Table<'_>, shape: &[usize]) -> Read<Option<Quantization>> {
    let (scales, zeros) = (table.floats(2)?, table.longs(3)?);
    if scales.is_empty() {
        return Ok(None);
    }
    let axis = usize::try_from(table.i32(6, 0)?).map_err(|_| "a grid has a negative axis")?;
    if scales.len() > 1 && shape.get(axis) != Some(&scales.len()) {
        return Err(format!("has {} scales along axis {axis} of {shape:?}", scales.len()));
    }
    if scales.iter().any(|s| !s.is_finite() || *s < 0.0) {
        return Err("has a scale that is no positive number".into());
    }
    // Zero points may be left out where they are 0.
    let zeros = if zeros.len() == scales.len() { zeros } else { vec![0; scales.len()] };
    Ok(Some(Quantization { scales, zeros, axis }))
}

fn attributes(code: schema::Code, operator: &Table<'_>) -> Read<Attributes> {
    let Some(t) = operator.child(4)? else { return Ok(Attributes::None) };
    let fused = |field| -> Read<Fused> {
        Ok(match t.i8(field, 0)? {
            0 => Fused::None,
            1 => Fused::Relu,
            2 => Fused::ReluN1To1,
            3 => Fused::Relu6,
            other => return Err(format!("has the fused activation {other}")),
        })
    };
    let size = |field, default| -> Read<usize> {
        usize::try_from(t.i32(field, default)?).map_err(|_| "has a negative attribute".to_owned())
    };
    let window = |dilations: Option<u16>, activation: Option<u16>| -> Read<Window> {
        let padding = if t.i8(0, 0)? == 0 { Padding::Same } else { Padding::Valid };
        let strides = [size(2, 0)?, size(1, 0)?];
        let dilations = match dilations {
            Some(first) => [size(first + 1, 1)?, size(first, 1)?],
            None => [1, 1],
        };
        let fused = activation.map_or(Ok(Fused::None), &fused)?;
        Ok(Window { padding, strides, dilations, fused })
    };
    Ok(match code {
        schema::CONV_2D => Attributes::Conv(window(Some(4), Some(3))?),
        schema::DEPTHWISE_CONV_2D => Attributes::Depthwise(window(Some(5), Some(4))?, size(3, 0)?),
        schema::AVERAGE_POOL_2D | schema::MAX_POOL_2D => {
            Attributes::Pool(window(None, Some(5))?, [size(4, 0)?, size(3, 0)?])
        }
        schema::TRANSPOSE_CONV => Attributes::TransposeConv(window(None, Some(3))?),
        // A negative axis counts from the end; nobody here cares which.
        schema::CONCATENATION => Attributes::Concat(size(0, 0).unwrap_or(usize::MAX), fused(1)?),
        schema::ADD | schema::SUB | schema::MUL | schema::DIV => Attributes::Arithmetic(fused(0)?),
        schema::FULLY_CONNECTED => Attributes::FullyConnected(fused(0)?),
        schema::RESIZE_BILINEAR => Attributes::Resize { align_corners: t.flag(2)?, half_pixel: t.flag(3)? },
        schema::RESIZE_NEAREST_NEIGHBOR => {
            Attributes::Resize { align_corners: t.flag(0)?, half_pixel: t.flag(1)? }
        }
        schema::MEAN | schema::SUM | schema::REDUCE_MAX | schema::REDUCE_MIN => {
            Attributes::Reduce(t.flag(0)?)
        }
        // An extent of -1 is what the others leave; the tensors have their shapes anyway.
        schema::RESHAPE => {
            let extents: Result<Vec<usize>, _> = t.integers(0)?.into_iter().map(usize::try_from).collect();
            extents.map_or(Attributes::None, Attributes::Reshape)
        }
        schema::LEAKY_RELU => Attributes::LeakyRelu(f32::from_bits(t.u32(0, 0)?)),
        // A negative axis counts from the end; nobody here cares which.
        schema::GATHER => Attributes::Gather(size(0, 0).unwrap_or(usize::MAX)),
        schema::SOFTMAX => Attributes::Softmax,
        schema::STRIDED_SLICE => {
            let mut other_masks = false;
            for field in 2..=4 {
                other_masks |= t.i32(field, 0)? != 0;
            }
            Attributes::StridedSlice { end_mask: t.i32(1, 0)?, other_masks }
        }
        schema::MIRROR_PAD => Attributes::MirrorPad(t.i8(0, 0)? == 1),
        schema::BATCH_MATMUL => Attributes::BatchMatMul,
        _ => Attributes::None,
    })
}

/// The file, with checked access.
#[derive(Clone, Copy)]
struct File<'a> {
    bytes: &'a [u8],
    /// Bytes that may still be copied out of it.
    left: &'a Cell<usize>,
}

impl<'a> File<'a> {
    /// Accounts for something that is about to be copied out.
    fn spend(self, bytes: usize) -> Read<()> {
        let left = self.left.get().checked_sub(bytes).ok_or("its lists hold more than the file")?;
        self.left.set(left);
        Ok(())
    }

    fn array<const N: usize>(self, at: usize) -> Read<[u8; N]> {
        let end = at.checked_add(N).ok_or("an offset leaves the file")?;
        let bytes = self.bytes.get(at..end).ok_or("an offset leaves the file")?;
        bytes.try_into().map_err(|_| "an offset leaves the file".to_owned())
    }

    fn u32(self, at: usize) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array(at)?))
    }

    /// Where an offset at `at` leads.
    fn follow(self, at: usize) -> Read<usize> {
        at.checked_add(self.u32(at)? as usize).ok_or_else(|| "an offset leaves the file".to_owned())
    }

    fn table(self, at: usize) -> Read<Table<'a>> {
        let back = i64::from(i32::from_le_bytes(self.array(at)?));
        let fields = usize::try_from(at as i64 - back).map_err(|_| "an offset leaves the file")?;
        let length = u16::from_le_bytes(self.array(fields)?);
        Ok(Table { file: self, at, fields, length: usize::from(length) })
    }

    /// Start and number of a vector's elements of `size` bytes.
    fn vector(self, at: usize, size: usize) -> Read<(usize, usize)> {
        let count = self.u32(at)? as usize;
        let start = at + 4;
        let end = count.checked_mul(size).and_then(|n| n.checked_add(start));
        match end {
            Some(end) if end <= self.bytes.len() => Ok((start, count)),
            _ => Err("a vector leaves the file".into()),
        }
    }
}

/// A table of the file.
#[derive(Clone, Copy)]
struct Table<'a> {
    file: File<'a>,
    at: usize,
    fields: usize,
    length: usize,
}

impl<'a> Table<'a> {
    /// Where a field lies, if it is there.
    fn field(&self, number: u16) -> Read<Option<usize>> {
        let slot = 4 + 2 * usize::from(number);
        if slot + 2 > self.length {
            return Ok(None);
        }
        let offset = u16::from_le_bytes(self.file.array(self.fields + slot)?);
        Ok(Some(usize::from(offset)).filter(|&o| o != 0).map(|o| self.at + o))
    }

    fn i8(&self, number: u16, default: i8) -> Read<i8> {
        self.field(number)?.map_or(Ok(default), |at| Ok(self.file.array::<1>(at)?[0] as i8))
    }

    fn flag(&self, number: u16) -> Read<bool> {
        Ok(self.i8(number, 0)? != 0)
    }

    fn i32(&self, number: u16, default: i32) -> Read<i32> {
        self.field(number)?.map_or(Ok(default), |at| Ok(i32::from_le_bytes(self.file.array(at)?)))
    }

    fn u32(&self, number: u16, default: u32) -> Read<u32> {
        self.field(number)?.map_or(Ok(default), |at| self.file.u32(at))
    }

    fn child(&self, number: u16) -> Read<Option<Table<'a>>> {
        self.field(number)?.map(|at| self.file.table(self.file.follow(at)?)).transpose()
    }

    fn tables(&self, number: u16) -> Read<Vec<Table<'a>>> {
        let Some(at) = self.field(number)? else { return Ok(vec![]) };
        let (start, count) = self.file.vector(self.file.follow(at)?, 4)?;
        if count > MAX_ITEMS {
            return Err(format!("has a list of {count}, more than the limit of {MAX_ITEMS}"));
        }
        self.file.spend(4 * count)?;
        (0..count).map(|i| self.file.table(self.file.follow(start + 4 * i)?)).collect()
    }

    fn elements<const N: usize>(&self, number: u16) -> Read<Vec<[u8; N]>> {
        let Some(at) = self.field(number)? else { return Ok(vec![]) };
        let (start, count) = self.file.vector(self.file.follow(at)?, N)?;
        if count > MAX_ITEMS {
            return Err(format!("has a list of {count}, more than the limit of {MAX_ITEMS}"));
        }
        self.file.spend(N * count)?;
        (0..count).map(|i| self.file.array(start + N * i)).collect()
    }

    fn integers(&self, number: u16) -> Read<Vec<i32>> {
        Ok(self.elements(number)?.into_iter().map(i32::from_le_bytes).collect())
    }

    fn longs(&self, number: u16) -> Read<Vec<i64>> {
        Ok(self.elements(number)?.into_iter().map(i64::from_le_bytes).collect())
    }

    fn floats(&self, number: u16) -> Read<Vec<f32>> {
        Ok(self.elements(number)?.into_iter().map(f32::from_le_bytes).collect())
    }

    fn bytes(&self, number: u16) -> Read<Option<&'a [u8]>> {
        let Some(at) = self.field(number)? else { return Ok(None) };
        let (start, count) = self.file.vector(self.file.follow(at)?, 1)?;
        Ok(Some(&self.file.bytes[start..start + count]))
    }

    fn text(&self, number: u16) -> Read<String> {
        let bytes = self.bytes(number)?.unwrap_or_default();
        if bytes.len() > MAX_NAME {
            return Err(format!("has a name of {} bytes, more than the limit of {MAX_NAME}", bytes.len()));
        }
        self.file.spend(bytes.len())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

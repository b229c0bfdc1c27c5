//! ONNX tensors to graph tensors: every encoding of the values, and files beside the model.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use half::{bf16, f16};

use super::proto;
use crate::graph::tensor::{Data, Tensor, element_count};

/// `TensorProto.DataType`.
pub mod dtype {
    pub const FLOAT: i32 = 1;
    pub const UINT8: i32 = 2;
    pub const INT8: i32 = 3;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const BOOL: i32 = 9;
    pub const FLOAT16: i32 = 10;
    pub const DOUBLE: i32 = 11;
    pub const BFLOAT16: i32 = 16;
}

/// Whether values of this element type become floats; `None` where endort does not read the type.
pub fn is_float(data_type: i32) -> Option<bool> {
    match data_type {
        dtype::FLOAT | dtype::FLOAT16 | dtype::DOUBLE | dtype::BFLOAT16 => Some(true),
        dtype::UINT8 | dtype::INT8 | dtype::INT32 | dtype::INT64 | dtype::BOOL => Some(false),
        _ => None,
    }
}

/// Reads a tensor; `folder` is where external data may lie.
pub fn read(t: &proto::Tensor, folder: Option<&Path>) -> Result<Tensor, String> {
    let describe = |detail: String| format!("tensor {:?}: {detail}", t.name);
    let shape = t
        .dims
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| describe(format!("has the extent {d}"))))
        .collect::<Result<Vec<_>, _>>()?;
    let len = element_count(&shape).map_err(describe)?;
    let size = element_size(t.data_type)
        .ok_or_else(|| describe(format!("element type {} is not supported", t.data_type)))?;
    let data = if t.data_location == 1 {
        from_bytes(t.data_type, &external(t, len * size, folder).map_err(describe)?)
    } else if !t.raw_data.is_empty() {
        if t.raw_data.len() != len * size {
            return Err(describe(format!("has {} bytes, not {}", t.raw_data.len(), len * size)));
        }
        from_bytes(t.data_type, &t.raw_data)
    } else {
        from_fields(t)
    };
    Tensor::new(shape, data).map_err(describe)
}

fn element_size(data_type: i32) -> Option<usize> {
    Some(match data_type {
        dtype::UINT8 | dtype::INT8 | dtype::BOOL => 1,
        dtype::FLOAT16 | dtype::BFLOAT16 => 2,
        dtype::FLOAT | dtype::INT32 => 4,
        dtype::DOUBLE | dtype::INT64 => 8,
        _ => return None,
    })
}

fn from_bytes(data_type: i32, bytes: &[u8]) -> Data {
    fn map<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&b| f(b)).collect()
    }
    match data_type {
        dtype::FLOAT => Data::F32(map(bytes, f32::from_le_bytes)),
        dtype::DOUBLE => Data::F32(map(bytes, |b| f64::from_le_bytes(b) as f32)),
        dtype::FLOAT16 => Data::F32(map(bytes, |b| f16::from_le_bytes(b).to_f32())),
        dtype::BFLOAT16 => Data::F32(map(bytes, |b| bf16::from_le_bytes(b).to_f32())),
        dtype::INT64 => Data::I64(map(bytes, i64::from_le_bytes)),
        dtype::INT32 => Data::I64(map(bytes, |b| i64::from(i32::from_le_bytes(b)))),
        dtype::INT8 => Data::I64(map(bytes, |[b]: [u8; 1]| i64::from(b as i8))),
        _ => Data::I64(bytes.iter().map(|&b| i64::from(b)).collect()),
    }
}

fn from_fields(t: &proto::Tensor) -> Data {
    match t.data_type {
        dtype::FLOAT => Data::F32(t.float_data.clone()),
        dtype::DOUBLE => Data::F32(t.double_data.iter().map(|&v| v as f32).collect()),
        // Half-precision values are stored as their bits, one per 32-bit field.
        dtype::FLOAT16 => {
            Data::F32(t.int32_data.iter().map(|&v| f16::from_bits(v as u16).to_f32()).collect())
        }
        dtype::BFLOAT16 => {
            Data::F32(t.int32_data.iter().map(|&v| bf16::from_bits(v as u16).to_f32()).collect())
        }
        dtype::INT64 => Data::I64(t.int64_data.clone()),
        _ => Data::I64(t.int32_data.iter().map(|&v| i64::from(v)).collect()),
    }
}

/// The bytes of a tensor that is stored in a file of its own, which must lie in the model's folder.
fn external(t: &proto::Tensor, len: usize, folder: Option<&Path>) -> Result<Vec<u8>, String> {
    let location = location(t).ok_or("names no file for its external data")?;
    let folder = folder.ok_or_else(|| format!("external data {location:?} cannot be read here"))?;
    let number = |key: &str| {
        entry(t, key).map(|v| v.parse::<u64>().map_err(|_| format!("has the {key} {v:?}"))).transpose()
    };
    let offset = number("offset")?.unwrap_or(0);
    if number("length")?.is_some_and(|l| l != len as u64) {
        return Err(format!("external data should have {len} bytes"));
    }
    let path = inside(location, folder)?;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&path)?;
        let available = file.metadata()?.len();
        if offset.checked_add(len as u64).is_none_or(|end| end > available) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = vec![0; len];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|e| format!("external data {location:?}: {e}"))
}

fn entry<'a>(t: &'a proto::Tensor, key: &str) -> Option<&'a str> {
    t.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str())
}

/// Name of the file that holds a tensor's values, where they are in another file.
pub fn location(t: &proto::Tensor) -> Option<&str> {
    (t.data_location == 1).then(|| entry(t, "location")).flatten()
}

/// The file of that name in the model's folder.
pub fn inside(location: &str, folder: &Path) -> Result<PathBuf, String> {
    let outside = || format!("external data {location:?} lies outside the package");
    let name = Path::new(location);
    if !name.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)) {
        return Err(outside());
    }
    let path = folder.join(name);
    // A symbolic link could still lead outside.
    let real = path.canonicalize().and_then(|path| Ok(path.starts_with(folder.canonicalize()?)));
    match real {
        Ok(true) => Ok(path),
        Ok(false) => Err(outside()),
        Err(e) => Err(format!("external data {location:?}: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(data_type: i32, dims: &[i64]) -> proto::Tensor {
        proto::Tensor { data_type, dims: dims.to_vec(), ..Default::default() }
    }

    #[test]
    fn all_encodings_of_a_value_agree() {
        let raw = proto::Tensor { raw_data: 1.5f32.to_le_bytes().to_vec(), ..tensor(dtype::FLOAT, &[1]) };
        let field = proto::Tensor { float_data: vec![1.5], ..tensor(dtype::FLOAT, &[1]) };
        let half = proto::Tensor {
            int32_data: vec![i32::from(f16::from_f32(1.5).to_bits())],
            ..tensor(dtype::FLOAT16, &[1])
        };
        let raw_half = proto::Tensor {
            raw_data: f16::from_f32(1.5).to_le_bytes().to_vec(),
            ..tensor(dtype::FLOAT16, &[1])
        };
        for t in [raw, field, half, raw_half] {
            assert_eq!(read(&t, None).unwrap().as_f32(), Some([1.5].as_slice()));
        }
        let small = proto::Tensor { raw_data: vec![0xfe], ..tensor(dtype::INT8, &[1]) };
        assert_eq!(read(&small, None).unwrap().as_i64(), Some([-2].as_slice()));
    }

    #[test]
    fn absurd_tensors_are_errors() {
        assert!(read(&tensor(dtype::FLOAT, &[1 << 40]), None).is_err());
        assert!(read(&tensor(dtype::FLOAT, &[-1]), None).is_err());
        assert!(read(&tensor(dtype::FLOAT, &[4]), None).is_err());
        assert!(read(&tensor(8, &[1]), None).is_err(), "strings");
    }

    #[test]
    fn external_data_stays_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("package");
        std::fs::create_dir(&inside).unwrap();
        std::fs::write(inside.join("w.bin"), 2.0f32.to_le_bytes()).unwrap();
        std::fs::write(dir.path().join("secret.bin"), 3.0f32.to_le_bytes()).unwrap();
        let at = |location: &str| proto::Tensor {
            data_location: 1,
            external_data: vec![proto::KeyValue { key: "location".into(), value: location.into() }],
            ..tensor(dtype::FLOAT, &[1])
        };
        assert_eq!(read(&at("w.bin"), Some(&inside)).unwrap().as_f32(), Some([2.0].as_slice()));
        assert!(read(&at("../secret.bin"), Some(&inside)).unwrap_err().contains("outside"));
        assert!(read(&at("/etc/hostname"), Some(&inside)).unwrap_err().contains("outside"));
        assert!(read(&at("missing.bin"), Some(&inside)).is_err());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(dir.path().join("secret.bin"), inside.join("link.bin")).unwrap();
            assert!(read(&at("link.bin"), Some(&inside)).unwrap_err().contains("outside"));
        }
    }
}

//! Still pictures: overlays by their file's ending, masks as black and white PNG, JPEG in memory.

use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat};

use super::output::folder_of;
use crate::av::convert::rgb;
use crate::error::{Error, Result};
use crate::frame::{Picture, PixelFormat};

/// Quality of JPEG overlays, 1 to 100: marks stay sharp.
pub const JPEG_QUALITY: u8 = 92;

/// Writes `picture` as PNG, JPEG, BMP, TIFF or WebP, by the ending of `path`.
///
/// Grey stays grey. The file appears whole or not at all.
///
/// # Errors
///
/// [`Error::Output`] for another ending, [`Error::Write`] if it cannot be written.
pub fn write_overlay(path: &Path, picture: &Picture) -> Result<()> {
    let format = ImageFormat::from_path(path).ok().filter(|format| {
        use ImageFormat::{Bmp, Jpeg, Png, Tiff, WebP};
        matches!(format, Png | Jpeg | Bmp | Tiff | WebP)
    });
    let Some(format) = format else {
        let detail = "pictures are written to names that end in .png, .jpg, .bmp, .tiff or .webp".to_owned();
        return Err(Error::Output { path: path.to_owned(), detail });
    };
    let encoded = encode(picture, format, JPEG_QUALITY).map_err(|e| unwritable(path, e))?;
    write_whole(path, &encoded)
}

/// Writes a mask of `width` × `height` samples, each 0 or 255, as an 8-bit grey PNG.
///
/// # Errors
///
/// [`Error::Output`] if `samples` do not fit the size or hold other values, [`Error::Write`] if the file
/// cannot be written.
pub fn write_mask(path: &Path, width: usize, height: usize, samples: &[u8]) -> Result<()> {
    let fits = width.checked_mul(height) == Some(samples.len()) && width > 0 && height > 0;
    if !fits || samples.iter().any(|&sample| sample != 0 && sample != 255) {
        let detail = format!("a mask of {width} x {height} must hold as many samples, 0 or 255");
        return Err(Error::Output { path: path.to_owned(), detail });
    }
    let encoded = encode_samples(samples, width, height, ExtendedColorType::L8, ImageFormat::Png, 0);
    write_whole(path, &encoded.map_err(|e| unwritable(path, e.to_string()))?)
}

/// `picture` as a JPEG file in memory; `quality` from 1 to 100.
///
/// # Errors
///
/// [`Error::Output`] if it cannot be coded, as with a side beyond JPEG's 65535.
pub fn encode_jpeg(picture: &Picture, quality: u8) -> Result<Vec<u8>> {
    encode(picture, ImageFormat::Jpeg, quality)
        .map_err(|detail| Error::Output { path: "picture".into(), detail })
}

fn encode(picture: &Picture, format: ImageFormat, quality: u8) -> Result<Vec<u8>, String> {
    let (width, height) = (picture.width(), picture.height());
    let (samples, layout) = match picture.format() {
        PixelFormat::Gray8 if picture.color().range == crate::frame::Range::Full => {
            (picture.plane(0).packed(), ExtendedColorType::L8)
        }
        _ => (rgb(picture).map_err(|e| e.to_string())?, ExtendedColorType::Rgb8),
    };
    encode_samples(&samples, width, height, layout, format, quality).map_err(|e| e.to_string())
}

fn encode_samples(
    samples: &[u8],
    width: usize,
    height: usize,
    layout: ExtendedColorType,
    format: ImageFormat,
    quality: u8,
) -> image::ImageResult<Vec<u8>> {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut encoded = Vec::new();
    if format == ImageFormat::Jpeg {
        let encoder = JpegEncoder::new_with_quality(&mut encoded, quality.clamp(1, 100));
        encoder.write_image(samples, side(width), side(height), layout)?;
    } else {
        let mut out = Cursor::new(&mut encoded);
        image::write_buffer_with_format(&mut out, samples, side(width), side(height), layout, format)?;
    }
    Ok(encoded)
}

fn unwritable(path: &Path, detail: impl Into<String>) -> Error {
    Error::Output { path: PathBuf::from(path), detail: detail.into() }
}

/// Writes under a temporary name in the same folder, then renames.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".endort-").suffix(super::output::PART_SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the process's mask decides, not the privacy of temporary files.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder_of(path)).map_err(Error::write(path))?;
    let mut writer = BufWriter::new(file.as_file_mut());
    writer.write_all(bytes).and_then(|()| writer.flush()).map_err(Error::write(path))?;
    drop(writer);
    file.persist(path).map_err(|e| Error::write(path)(e.error))?;
    Ok(())
}

//! Still pictures: JPEG, PNG, WebP, BMP and TIFF, from files and from memory.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::limits::{MAX_DECODE_BYTES, MAX_PICTURE_BYTES, MAX_SIDE, check_size};
use super::{Source, SourceInfo};
use crate::av::pixel::default_matrix;
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::{Color, Frame, FrameId, Moment, Picture, PixelFormat, Plane, Range, Timestamp};

/// Formats that are recognised, by their content.
const FORMATS: [ImageFormat; 5] =
    [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff];

/// The picture format that `bytes` (the first few of a file, at least 16) start like.
pub(super) fn sniff(bytes: &[u8]) -> Option<ImageFormat> {
    image::guess_format(bytes).ok().filter(|format| FORMATS.contains(format))
}

/// Decodes a picture in memory; `name` is for messages.
///
/// The EXIF orientation is applied. Grey stays grey, anything else becomes RGB; deeper samples are reduced to
/// eight bits, and what is transparent is shown on black. Pictures of several frames give their first.
pub fn decode(bytes: &[u8], name: &str) -> Result<Picture> {
    if bytes.len() as u64 > MAX_PICTURE_BYTES {
        return Err(Error::TooLarge {
            what: format!("{name}: the file"),
            found: format!("{} bytes", bytes.len()),
            limit: format!("{MAX_PICTURE_BYTES} bytes"),
        });
    }
    let format = sniff(bytes).ok_or_else(|| Error::Picture {
        source_name: name.to_owned(),
        detail: "not a picture (JPEG, PNG, WebP, BMP or TIFF)".to_owned(),
    })?;
    let image = decode_image(bytes, format, name)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (format, samples, bytes_per_row) = match image {
        DynamicImage::ImageLuma8(image) => (PixelFormat::Gray8, image.into_raw(), width),
        DynamicImage::ImageLuma16(_) => (PixelFormat::Gray8, image.into_luma8().into_raw(), width),
        DynamicImage::ImageLumaA8(_) | DynamicImage::ImageLumaA16(_) => {
            (PixelFormat::Gray8, on_black::<2, 1>(&image.into_luma_alpha8()), width)
        }
        DynamicImage::ImageRgb8(image) => (PixelFormat::Rgb24, image.into_raw(), width * 3),
        image if image.color().has_alpha() => {
            (PixelFormat::Rgb24, on_black::<4, 3>(&image.into_rgba8()), width * 3)
        }
        image => (PixelFormat::Rgb24, image.into_rgb8().into_raw(), width * 3),
    };
    let color = Color { matrix: default_matrix(height), range: Range::Full };
    Plane::from_vec(samples, bytes_per_row, height)
        .and_then(|plane| Picture::new(width, height, format, color, vec![plane]))
        .ok_or_else(|| Error::Picture {
            source_name: name.to_owned(),
            detail: "the decoder gave another size than it announced".to_owned(),
        })
}

fn decode_image(bytes: &[u8], format: ImageFormat, name: &str) -> Result<DynamicImage> {
    let failed = |e| picture_error(name, e);
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODE_BYTES);
    // The size itself is checked below, for a message that names it.
    limits.max_image_width = None;
    limits.max_image_height = None;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    check_size(name, width as usize, height as usize)?;
    if width == 0 || height == 0 {
        return Err(Error::Picture {
            source_name: name.to_owned(),
            detail: "the picture is empty".to_owned(),
        });
    }
    let orientation = decoder.orientation().map_err(failed)?;
    limits.max_image_width = Some(MAX_SIDE as u32);
    limits.max_image_height = Some(MAX_SIDE as u32);
    limits.reserve(decoder.total_bytes()).map_err(failed)?;
    decoder.set_limits(limits).map_err(failed)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(failed)?;
    image.apply_orientation(orientation);
    Ok(image)
}

fn picture_error(name: &str, error: ImageError) -> Error {
    match error {
        ImageError::Limits(e) => Error::TooLarge {
            what: format!("{name}: the picture"),
            found: format!("too large to decode ({e})"),
            limit: format!("{MAX_DECODE_BYTES} bytes of memory"),
        },
        // The crate's own wording repeats the format; the cause says what is wrong.
        e => Error::Picture { source_name: name.to_owned(), detail: e.to_string().replace('\n', " ") },
    }
}

/// `ALL` interleaved channels, alpha last, shown on black: `KEPT` channels remain.
fn on_black<const ALL: usize, const KEPT: usize>(samples: &[u8]) -> Vec<u8> {
    let (pixels, _) = samples.as_chunks::<ALL>();
    let mut shown = Vec::with_capacity(pixels.len() * KEPT);
    for pixel in pixels {
        let alpha = u16::from(pixel[ALL - 1]);
        shown.extend(pixel[..KEPT].iter().map(|&value| ((u16::from(value) * alpha + 127) / 255) as u8));
    }
    shown
}

/// Decodes a picture file.
pub fn decode_file(path: &Path, name: &str) -> Result<Picture> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Error::read(path))?;
    // One byte more than allowed shows that there is more, without reading it all.
    file.take(MAX_PICTURE_BYTES + 1).read_to_end(&mut bytes).map_err(Error::read(path))?;
    decode(&bytes, name)
}

/// A picture file as a source of one frame.
pub(super) struct PictureSource {
    info: SourceInfo,
    frame: Option<Frame>,
    cancel: Cancel,
}

impl PictureSource {
    /// Decodes the picture at `path`.
    pub(super) fn open(path: &Path, format: ImageFormat, name: &str, cancel: &Cancel) -> Result<Self> {
        let started = Instant::now();
        let picture = decode_file(path, name)?;
        let decode = started.elapsed();
        let codec = format.extensions_str().first().copied().unwrap_or("picture").replace("jpg", "jpeg");
        let info = SourceInfo {
            name: name.to_owned(),
            width: picture.width(),
            height: picture.height(),
            fps: None,
            frames: Some(1),
            duration: None,
            live: false,
            codec,
            ..SourceInfo::default()
        };
        let frame = Frame {
            id: FrameId(0),
            source: Arc::from(name),
            pts: Timestamp::from_ms(0),
            duration: None,
            captured: Moment::default(),
            decode,
            picture,
        };
        Ok(Self { info, frame: Some(frame), cancel: cancel.clone() })
    }
}

impl Source for PictureSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        if self.cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        Ok(self.frame.take())
    }
}

//! Frames to pictures and pictures to other layouts, by swscale where the samples must change.

use std::ffi::c_int;
use std::ptr;

use ffmpeg_next::ffi::{self, AVPixelFormat};

use super::error::{AvError, check};
use super::frame::AvFrame;
use super::pixel::{color, nearest, without_j};
use crate::frame::{Color, Matrix, Picture, PixelFormat, Range};

/// One side of a conversion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Side {
    format: AVPixelFormat,
    size: (usize, usize),
    color: Color,
}

/// Converts pictures, and keeps swscale's tables for as long as their shape stays.
#[derive(Debug)]
pub(crate) struct Converter {
    context: *mut ffi::SwsContext,
    /// What `context` was made for.
    sides: Option<(Side, Side)>,
}

// SAFETY: the context is used by one thread at a time (`&mut self`).
unsafe impl Send for Converter {}

impl Converter {
    /// Without tables yet.
    pub(crate) fn new() -> Self {
        Self { context: ptr::null_mut(), sides: None }
    }

    /// A decoded frame as a picture: in place where its format allows, else converted to the nearest one.
    pub(crate) fn picture(&mut self, frame: AvFrame) -> Result<Picture, AvError> {
        let native = frame.format().ok_or(AvError::INVALID_DATA)?;
        let (format, j) = without_j(native);
        let (space, range) = frame.color_tags();
        let (width, height) = frame.size();
        if let Some(target) = frame.usable_in_place() {
            let color = color(target, j, space, range, height);
            return frame.into_picture(color).ok_or(AvError::INVALID_DATA);
        }
        let target = nearest(format).ok_or(AvError::INVALID_DATA)?;
        let to = color(target, j, space, range, height);
        // RGB has one range; how it is converted to grey or YCbCr is not asked here.
        let from = Side { format, size: (width, height), color: to };
        let to = Side { format: super::pixel::to_av(target), size: (width, height), color: to };
        let converted = self.run(&frame, from, to)?;
        converted.into_picture(to.color).ok_or(AvError::INVALID_DATA)
    }

    /// `picture` in another layout, and perhaps another size, in a frame with padded rows.
    ///
    /// Grey, RGB and YCbCr of another matrix or range become YCbCr in `color`.
    pub(crate) fn frame(
        &mut self,
        picture: &Picture,
        format: PixelFormat,
        size: (usize, usize),
        color: Color,
    ) -> Result<AvFrame, AvError> {
        let (width, height) = (picture.width(), picture.height());
        let frame = AvFrame::copy_of(picture, width, height)?;
        let from = Side {
            format: super::pixel::to_av(picture.format()),
            size: (width, height),
            color: picture.color(),
        };
        self.run(&frame, from, Side { format: super::pixel::to_av(format), size, color })
    }

    /// The picture as packed RGB rows of `3 * width` bytes.
    pub(crate) fn rgb(&mut self, picture: &Picture) -> Result<Vec<u8>, AvError> {
        let size = (picture.width(), picture.height());
        let color = Color { range: Range::Full, ..picture.color() };
        let frame = match picture.format() {
            PixelFormat::Rgb24 => None,
            _ => Some(self.frame(picture, PixelFormat::Rgb24, size, color)?),
        };
        let converted =
            frame.map(|frame| frame.into_picture(color).ok_or(AvError::INVALID_DATA)).transpose()?;
        Ok(converted.as_ref().unwrap_or(picture).plane(0).packed())
    }

    fn run(&mut self, frame: &AvFrame, from: Side, to: Side) -> Result<AvFrame, AvError> {
        self.prepare(from, to)?;
        let target = AvFrame::alloc(to.format, to.size.0, to.size.1)?;
        let rows = c_int::try_from(from.size.1).map_err(|_| AvError::INVALID_DATA)?;
        // SAFETY: both frames have the sizes and formats that the context was made for, and own their rows;
        // `target` was just allocated, with padded rows, and nobody else refers to it.
        check(unsafe {
            ffi::sws_scale(
                self.context,
                (&raw const (*frame.as_ptr()).data).cast(),
                (&raw const (*frame.as_ptr()).linesize).cast(),
                0,
                rows,
                (&raw const (*target.as_ptr()).data).cast(),
                (&raw const (*target.as_ptr()).linesize).cast(),
            )
        })?;
        Ok(target)
    }

    fn prepare(&mut self, from: Side, to: Side) -> Result<(), AvError> {
        if self.sides == Some((from, to)) {
            return Ok(());
        }
        self.release();
        // SAFETY: allocates, or returns null.
        self.context = unsafe { ffi::sws_alloc_context() };
        if self.context.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let full = |side: Side| i64::from(side.color.range == Range::Full);
        let side = |n: usize| i64::try_from(n).map_err(|_| AvError::INVALID_DATA);
        let options = [
            (c"srcw", side(from.size.0)?),
            (c"srch", side(from.size.1)?),
            (c"src_format", from.format as i64),
            // Told later, a range that differs is lost where nothing else does: samples are copied then.
            (c"src_range", full(from)),
            (c"dstw", side(to.size.0)?),
            (c"dsth", side(to.size.1)?),
            (c"dst_format", to.format as i64),
            (c"dst_range", full(to)),
            (c"sws_flags", i64::from(ffi::SWS_BILINEAR | ffi::SWS_ACCURATE_RND | ffi::SWS_FULL_CHR_H_INT)),
        ];
        for (name, value) in options {
            // SAFETY: the context is ours and has options; the name is NUL-terminated.
            check(unsafe { ffi::av_opt_set_int(self.context.cast(), name.as_ptr(), value, 0) })?;
        }
        // SAFETY: the context is ours and not initialised yet; null filters are allowed.
        check(unsafe { ffi::sws_init_context(self.context, ptr::null_mut(), ptr::null_mut()) })?;
        const ONE: c_int = 1 << 16;
        // The return value only says that a format has no such property, as with RGB.
        // SAFETY: the context is ours; the tables are static, and are copied.
        unsafe {
            ffi::sws_setColorspaceDetails(
                self.context,
                coefficients(from.color.matrix),
                full(from) as c_int,
                coefficients(to.color.matrix),
                full(to) as c_int,
                0,
                ONE,
                ONE,
            );
        }
        self.sides = Some((from, to));
        Ok(())
    }

    fn release(&mut self) {
        self.sides = None;
        // SAFETY: the context is ours or null, which is allowed.
        unsafe { ffi::sws_freeContext(self.context) };
        self.context = ptr::null_mut();
    }
}

fn coefficients(matrix: Matrix) -> *const c_int {
    let id = match matrix {
        Matrix::Bt601 => ffi::SWS_CS_ITU601,
        Matrix::Bt709 => ffi::SWS_CS_ITU709,
    };
    // SAFETY: any number is allowed; the table is static.
    unsafe { ffi::sws_getCoefficients(id as c_int) }
}

impl Drop for Converter {
    fn drop(&mut self) {
        self.release();
    }
}

/// The picture as packed 8-bit RGB rows of `3 * width` bytes, by its own matrix and range.
pub fn rgb(picture: &Picture) -> crate::Result<Vec<u8>> {
    Converter::new().rgb(picture).map_err(|e| crate::Error::Media {
        source_name: format!("{} x {} picture", picture.width(), picture.height()),
        detail: format!("cannot be converted to RGB: {e}"),
    })
}

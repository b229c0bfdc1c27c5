//! A decoded frame of FFmpeg, and its planes as bytes that can be shared without copying.

use std::ffi::c_int;
use std::sync::Arc;

use ffmpeg_next::ffi::{self, AVPixelFormat};

use super::error::{AvError, check};
use super::pixel::{passthrough, pixel_format, raw_enum};
use crate::frame::{Color, ForeignBytes, Picture, PixelFormat, Plane};

/// Alignment of rows in bytes: what swscale's and the encoders' widest vector code asks for.
const ALIGN: c_int = 64;

/// A reference-counted frame.
#[derive(Debug)]
pub(crate) struct AvFrame(*mut ffi::AVFrame);

// SAFETY: the frame owns references to buffers whose counting is atomic; shared access only reads.
unsafe impl Send for AvFrame {}
// SAFETY: as above; all methods on `&self` only read.
unsafe impl Sync for AvFrame {}

impl AvFrame {
    /// A frame without data.
    pub(crate) fn empty() -> Result<Self, AvError> {
        // SAFETY: no preconditions.
        let frame = unsafe { ffi::av_frame_alloc() };
        if frame.is_null() { Err(AvError::NO_MEMORY) } else { Ok(Self(frame)) }
    }

    /// A frame with buffers for a picture of this size, contents undefined but initialised to zero.
    pub(crate) fn alloc(format: AVPixelFormat, width: usize, height: usize) -> Result<Self, AvError> {
        let frame = Self::empty()?;
        let side = |n: usize| c_int::try_from(n).map_err(|_| AvError::INVALID_DATA);
        // SAFETY: the frame is ours and empty; the buffers found are cleared over their whole length.
        unsafe {
            (*frame.0).format = format as c_int;
            (*frame.0).width = side(width)?;
            (*frame.0).height = side(height)?;
            check(ffi::av_frame_get_buffer(frame.0, ALIGN))?;
            for buffer in (*frame.0).buf.iter().filter_map(|buffer| buffer.as_ref()) {
                std::ptr::write_bytes(buffer.data, 0, buffer.size);
            }
        }
        Ok(frame)
    }

    /// For calls that only read it.
    pub(crate) fn as_ptr(&self) -> *const ffi::AVFrame {
        self.0
    }

    /// For calls that fill it.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.0
    }

    /// Its pixel format, if this is a picture.
    pub(crate) fn format(&self) -> Option<AVPixelFormat> {
        // SAFETY: the frame is ours and valid.
        pixel_format(unsafe { (*self.0).format })
    }

    /// Width and height in pixels.
    pub(crate) fn size(&self) -> (usize, usize) {
        // SAFETY: the frame is ours and valid.
        let (width, height) = unsafe { ((*self.0).width, (*self.0).height) };
        (usize::try_from(width).unwrap_or(0), usize::try_from(height).unwrap_or(0))
    }

    /// Matrix coefficients and range as tagged.
    pub(crate) fn color_tags(&self) -> (c_int, c_int) {
        // SAFETY: the frame is ours and valid; C enums are read as integers.
        unsafe { (raw_enum(&raw const (*self.0).colorspace), raw_enum(&raw const (*self.0).color_range)) }
    }

    /// Presentation time as best FFmpeg can tell, in the stream's ticks.
    pub(crate) fn timestamp(&self) -> Option<i64> {
        self.with_safe(ffmpeg_next::Frame::timestamp)
    }

    /// Presentation time as set by a filter or by [`set_pts`](Self::set_pts).
    pub(crate) fn pts(&self) -> Option<i64> {
        self.with_safe(ffmpeg_next::Frame::pts)
    }

    /// Sets the presentation time.
    pub(crate) fn set_pts(&mut self, pts: i64) {
        // SAFETY: the frame is ours and valid.
        unsafe { (*self.0).pts = pts };
    }

    /// Samples of sound that it holds.
    pub(crate) fn samples(&self) -> i64 {
        // SAFETY: the frame is ours and valid.
        i64::from(unsafe { (*self.0).nb_samples })
    }

    /// How long it is shown, in the stream's ticks.
    pub(crate) fn duration(&self) -> Option<i64> {
        Some(self.with_safe(|frame| frame.packet().duration)).filter(|&duration| duration > 0)
    }

    /// Whether it holds two fields from different moments.
    pub(crate) fn is_interlaced(&self) -> bool {
        // SAFETY: the wrapper is kept from freeing our frame, and does not outlive this call.
        let safe = std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::frame::Video::wrap(self.0) });
        safe.is_interlaced()
    }

    /// Looks at fields that moved between FFmpeg versions through `ffmpeg_next`, which knows them all.
    fn with_safe<T>(&self, look: impl FnOnce(&ffmpeg_next::Frame) -> T) -> T {
        // SAFETY: the wrapper is kept from freeing our frame, and does not outlive this call.
        look(&std::mem::ManuallyDrop::new(unsafe { ffmpeg_next::Frame::wrap(self.0) }))
    }

    /// Where plane `index` starts, its stride, and the bytes from its first row to the end of its last.
    ///
    /// `None` if the plane is absent, runs upwards (negative stride) or does not hold the rows.
    fn plane_extent(&self, index: usize, width_bytes: usize, rows: usize) -> Option<(*mut u8, usize, usize)> {
        // SAFETY: the frame is ours and valid.
        let (start, stride) =
            unsafe { (*(*self.0).data.get(index)?, usize::try_from((*self.0).linesize[index]).ok()?) };
        let needed = stride.checked_mul(rows.checked_sub(1)?)?.checked_add(width_bytes)?;
        (stride >= width_bytes && needed <= self.plane_room(start)?).then_some((start, stride, needed))
    }

    /// The bytes of plane `index` from its first row to the end of its last, and their stride.
    fn plane_bytes(&self, index: usize, width_bytes: usize, rows: usize) -> Option<(&[u8], usize)> {
        let (start, stride, needed) = self.plane_extent(index, width_bytes, rows)?;
        // SAFETY: the bytes lie inside one of the frame's buffers, which lives as long as the frame, and
        // nobody writes to it while the frame refers to it: decoders only read from frames that they have
        // handed out, filters copy shared ones, and our own writing takes `&mut self`.
        Some((unsafe { std::slice::from_raw_parts(start, needed) }, stride))
    }

    /// Bytes from `start` to the end of the buffer that holds it.
    fn plane_room(&self, start: *const u8) -> Option<usize> {
        // SAFETY: the frame and its buffer references are valid.
        unsafe {
            (*self.0).buf.iter().filter_map(|buffer| buffer.as_ref()).find_map(|buffer| {
                let offset = (start as usize).checked_sub(buffer.data as usize)?;
                buffer.size.checked_sub(offset).filter(|&room| room > 0)
            })
        }
    }

    /// The format as which its planes can be used in place, if they can.
    pub(crate) fn usable_in_place(&self) -> Option<PixelFormat> {
        let format = self.format().and_then(passthrough)?;
        let (width, height) = self.size();
        let fits = (0..format.planes()).all(|index| {
            let (width_bytes, rows) = format.plane_size(index, width, height);
            self.plane_extent(index, width_bytes, rows).is_some()
        });
        fits.then_some(format)
    }

    /// The frame as a picture over the frame's own memory; `None` unless it is
    /// [`usable_in_place`](Self::usable_in_place).
    pub(crate) fn into_picture(self, color: Color) -> Option<Picture> {
        let format = self.usable_in_place()?;
        let (width, height) = self.size();
        let shared = Arc::new(self);
        let planes: Option<Vec<Plane>> = (0..format.planes())
            .map(|index| {
                let (width_bytes, rows) = format.plane_size(index, width, height);
                let (_, stride, _) = shared.plane_extent(index, width_bytes, rows)?;
                let view = PlaneView { frame: Arc::clone(&shared), index, width_bytes, rows };
                let bytes: ForeignBytes = Arc::new(view);
                Plane::from_foreign(bytes, stride, width_bytes, rows)
            })
            .collect();
        Picture::new(width, height, format, color, planes?)
    }

    /// Copies `picture` into a frame with padded rows, as swscale's and the encoders' vector code wants.
    ///
    /// The frame has `width` × `height` pixels, at least those of the picture; its last column and row are
    /// repeated into what lies beyond.
    pub(crate) fn copy_of(picture: &Picture, width: usize, height: usize) -> Result<Self, AvError> {
        let format = picture.format();
        let mut frame = Self::alloc(super::pixel::to_av(format), width, height)?;
        for (index, plane) in picture.planes().iter().enumerate() {
            let (width_bytes, rows) = format.plane_size(index, width, height);
            let sample = match format {
                PixelFormat::Rgb24 => 3,
                PixelFormat::Nv12 if index == 1 => 2,
                _ => 1,
            };
            for y in 0..rows {
                let source = plane.row(y.min(plane.rows().saturating_sub(1)));
                let target = frame.row_mut(index, y, width_bytes, rows).ok_or(AvError::INVALID_DATA)?;
                let (inside, beyond) =
                    target.split_at_mut_checked(source.len()).ok_or(AvError::INVALID_DATA)?;
                inside.copy_from_slice(source);
                let last = &source[source.len().saturating_sub(sample)..];
                beyond.chunks_exact_mut(sample).for_each(|pixel| pixel.copy_from_slice(last));
            }
        }
        Ok(frame)
    }

    /// Row `y` of plane `index`, for frames that [`alloc`](Self::alloc) made.
    fn row_mut(&mut self, index: usize, y: usize, width_bytes: usize, rows: usize) -> Option<&mut [u8]> {
        let (start, stride, needed) = self.plane_extent(index, width_bytes, rows)?;
        let offset = y.checked_mul(stride)?;
        // SAFETY: the frame is ours and valid.
        let writable = unsafe { ffi::av_frame_is_writable(self.0) } > 0;
        let inside = offset.checked_add(width_bytes)? <= needed;
        // SAFETY: the row lies inside the frame's buffer as just checked, and `&mut self` is the only way to
        // it: a writable frame's buffers have no other reference.
        (writable && inside)
            .then(|| unsafe { std::slice::from_raw_parts_mut(start.add(offset), width_bytes) })
    }
}

impl Drop for AvFrame {
    fn drop(&mut self) {
        // SAFETY: the frame is ours.
        unsafe { ffi::av_frame_free(&raw mut self.0) };
    }
}

/// One plane of a shared frame.
struct PlaneView {
    frame: Arc<AvFrame>,
    index: usize,
    width_bytes: usize,
    rows: usize,
}

impl AsRef<[u8]> for PlaneView {
    fn as_ref(&self) -> &[u8] {
        self.frame.plane_bytes(self.index, self.width_bytes, self.rows).map_or(&[], |(bytes, _)| bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gradient(width: usize, height: usize) -> AvFrame {
        let mut frame = AvFrame::alloc(AVPixelFormat::AV_PIX_FMT_GRAY8, width, height).unwrap();
        for y in 0..height {
            let row = frame.row_mut(0, y, width, height).unwrap();
            row.iter_mut().enumerate().for_each(|(x, v)| *v = (y * 16 + x) as u8);
        }
        frame
    }

    #[test]
    fn planes_are_shared_not_copied() {
        let frame = gradient(5, 3);
        // SAFETY: the frame is valid.
        let data = unsafe { (*frame.as_ptr()).data[0] };
        let picture = frame.into_picture(Color::default()).unwrap();
        assert_eq!(picture.plane(0).bytes().as_ptr(), data.cast_const());
        assert_eq!(picture.plane(0).row(2), [32, 33, 34, 35, 36]);
    }

    #[test]
    fn upward_rows_and_stale_sizes_are_refused() {
        let mut frame = gradient(5, 3);
        assert_eq!(frame.usable_in_place(), Some(PixelFormat::Gray8));
        // SAFETY: the frame is valid; the fields describe a picture that runs upwards.
        unsafe {
            let stride = (*frame.as_ptr()).linesize[0];
            (*frame.as_mut_ptr()).data[0] = (*frame.as_ptr()).data[0].offset(2 * stride as isize);
            (*frame.as_mut_ptr()).linesize[0] = -stride;
        }
        assert_eq!(frame.usable_in_place(), None);
        let mut frame = gradient(5, 3);
        // SAFETY: the frame is valid; its size no longer fits its buffers.
        unsafe { (*frame.as_mut_ptr()).height = 100_000 };
        assert_eq!(frame.usable_in_place(), None);
    }

    #[test]
    fn copies_repeat_the_last_column_and_row() {
        let picture = gradient(3, 3).into_picture(Color::default()).unwrap();
        let padded = AvFrame::copy_of(&picture, 4, 4).unwrap().into_picture(Color::default()).unwrap();
        assert_eq!(padded.plane(0).row(0), [0, 1, 2, 2]);
        assert_eq!(padded.plane(0).row(3), [32, 33, 34, 34]);
    }
}

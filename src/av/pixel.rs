//! FFmpeg's pixel formats and colour tags in endort's terms.

use std::ffi::c_int;

use ffmpeg_next::ffi;
use ffmpeg_next::ffi::AVPixelFormat::{self, *};

use crate::frame::{Color, Matrix, PixelFormat, Range};

/// Height from which video without colour tags is taken for BT.709: the smallest high-definition format.
const HD_HEIGHT: usize = 720;

/// Reads a C enum as the integer it is: a file can put values into it that Rust's enum does not have.
///
/// # Safety
/// `field` points to a readable field of a C enum's type, which is as large as an `int`.
pub(crate) unsafe fn raw_enum<E>(field: *const E) -> c_int {
    const { assert!(size_of::<E>() == size_of::<c_int>()) };
    // SAFETY: by the contract above.
    unsafe { field.cast::<c_int>().read() }
}

/// Writes an integer into a field of a C enum's type; FFmpeg checks the value itself.
///
/// # Safety
/// `field` points to a writable field of a C enum's type, which is as large as an `int`. Rust code does not
/// read the field as an enum afterwards.
pub(crate) unsafe fn set_raw_enum<E>(field: *mut E, value: c_int) {
    const { assert!(size_of::<E>() == size_of::<c_int>()) };
    // SAFETY: by the contract above.
    unsafe { field.cast::<c_int>().write(value) };
}

/// A frame's pixel format as the bindings' enum; `None` for what they do not know.
pub(crate) fn pixel_format(raw: c_int) -> Option<AVPixelFormat> {
    // SAFETY: the descriptor lookup takes any value that FFmpeg itself produced; a value outside its table
    // gives null. The enum comes from the headers of the same FFmpeg, so that what has a descriptor has a
    // variant, and `AVPixelFormat` is `repr(i32)`.
    unsafe {
        let format = (0..AV_PIX_FMT_NB as c_int)
            .contains(&raw)
            .then(|| std::mem::transmute::<c_int, AVPixelFormat>(raw))?;
        (!ffi::av_pix_fmt_desc_get(format).is_null()).then_some(format)
    }
}

/// The same layout under its modern name: the `J` formats only add "full range", which is told apart.
pub(crate) fn without_j(format: AVPixelFormat) -> (AVPixelFormat, bool) {
    match format {
        AV_PIX_FMT_YUVJ420P => (AV_PIX_FMT_YUV420P, true),
        AV_PIX_FMT_YUVJ422P => (AV_PIX_FMT_YUV422P, true),
        AV_PIX_FMT_YUVJ444P => (AV_PIX_FMT_YUV444P, true),
        AV_PIX_FMT_YUVJ440P => (AV_PIX_FMT_YUV440P, true),
        AV_PIX_FMT_YUVJ411P => (AV_PIX_FMT_YUV411P, true),
        other => (other, false),
    }
}

/// The format whose planes can be used as they are. An alpha plane behind them is left out.
pub(crate) fn passthrough(format: AVPixelFormat) -> Option<PixelFormat> {
    match without_j(format).0 {
        AV_PIX_FMT_GRAY8 => Some(PixelFormat::Gray8),
        AV_PIX_FMT_YUV420P | AV_PIX_FMT_YUVA420P => Some(PixelFormat::Yuv420),
        AV_PIX_FMT_YUV422P | AV_PIX_FMT_YUVA422P => Some(PixelFormat::Yuv422),
        AV_PIX_FMT_YUV444P | AV_PIX_FMT_YUVA444P => Some(PixelFormat::Yuv444),
        AV_PIX_FMT_NV12 => Some(PixelFormat::Nv12),
        AV_PIX_FMT_RGB24 => Some(PixelFormat::Rgb24),
        _ => None,
    }
}

/// The format that keeps most of `format`: grey stays grey, RGB-like becomes RGB, and YCbCr keeps its chroma
/// resolution where endort has one that is at least as fine (4:1:1 → 4:2:2, 4:1:0 → 4:2:0, 4:4:0 → 4:4:4).
pub(crate) fn nearest(format: AVPixelFormat) -> Option<PixelFormat> {
    // SAFETY: a valid enum value; the descriptor is null or a static table entry.
    let descriptor = unsafe { ffi::av_pix_fmt_desc_get(format).as_ref() }?;
    let has = |flag: u32| descriptor.flags & u64::from(flag) != 0;
    if has(ffi::AV_PIX_FMT_FLAG_HWACCEL as u32) {
        return None;
    }
    let colors = descriptor.nb_components - u8::from(has(ffi::AV_PIX_FMT_FLAG_ALPHA as u32));
    let rgb = has(ffi::AV_PIX_FMT_FLAG_RGB as u32) || has(ffi::AV_PIX_FMT_FLAG_PAL as u32);
    let xyz = matches!(format, AV_PIX_FMT_XYZ12LE | AV_PIX_FMT_XYZ12BE);
    Some(match (descriptor.log2_chroma_w, descriptor.log2_chroma_h) {
        _ if rgb || xyz => PixelFormat::Rgb24,
        _ if colors < 3 => PixelFormat::Gray8,
        (0, _) => PixelFormat::Yuv444,
        (_, 0) => PixelFormat::Yuv422,
        _ => PixelFormat::Yuv420,
    })
}

/// FFmpeg's name for a format.
pub(crate) fn to_av(format: PixelFormat) -> AVPixelFormat {
    match format {
        PixelFormat::Gray8 => AV_PIX_FMT_GRAY8,
        PixelFormat::Yuv420 => AV_PIX_FMT_YUV420P,
        PixelFormat::Yuv422 => AV_PIX_FMT_YUV422P,
        PixelFormat::Yuv444 => AV_PIX_FMT_YUV444P,
        PixelFormat::Nv12 => AV_PIX_FMT_NV12,
        PixelFormat::Rgb24 => AV_PIX_FMT_RGB24,
    }
}

/// The matrix of pictures without colour tags: BT.709 from 720 rows on, else BT.601 (what players assume).
pub(crate) fn default_matrix(height: usize) -> Matrix {
    if height >= HD_HEIGHT { Matrix::Bt709 } else { Matrix::Bt601 }
}

/// Colour of a frame from its tags.
///
/// BT.2020 and SMPTE 240M are read with BT.709's coefficients, the nearest that endort has; high dynamic
/// range is not tone-mapped. Untagged YCbCr is limited range, untagged grey full range (as in swscale).
pub(crate) fn color(format: PixelFormat, j: bool, space: c_int, range: c_int, height: usize) -> Color {
    use ffi::AVColorSpace::*;
    const BT709: [c_int; 4] = [
        AVCOL_SPC_BT709 as c_int,
        AVCOL_SPC_SMPTE240M as c_int,
        AVCOL_SPC_BT2020_NCL as c_int,
        AVCOL_SPC_BT2020_CL as c_int,
    ];
    const BT601: [c_int; 3] =
        [AVCOL_SPC_BT470BG as c_int, AVCOL_SPC_SMPTE170M as c_int, AVCOL_SPC_FCC as c_int];
    let matrix = match space {
        space if BT709.contains(&space) => Matrix::Bt709,
        space if BT601.contains(&space) => Matrix::Bt601,
        _ => default_matrix(height),
    };
    let range = match (format, range) {
        (PixelFormat::Rgb24, _) => Range::Full,
        _ if j || range == ffi::AVColorRange::AVCOL_RANGE_JPEG as c_int => Range::Full,
        (PixelFormat::Gray8, range) if range != ffi::AVColorRange::AVCOL_RANGE_MPEG as c_int => Range::Full,
        _ => Range::Limited,
    };
    Color { matrix, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_keep_what_they_can() {
        for (from, to) in [
            (AV_PIX_FMT_YUV420P10LE, PixelFormat::Yuv420),
            (AV_PIX_FMT_YUV422P12LE, PixelFormat::Yuv422),
            (AV_PIX_FMT_YUVA444P10LE, PixelFormat::Yuv444),
            (AV_PIX_FMT_YUV411P, PixelFormat::Yuv422),
            (AV_PIX_FMT_YUV410P, PixelFormat::Yuv420),
            (AV_PIX_FMT_YUV440P, PixelFormat::Yuv444),
            (AV_PIX_FMT_YUYV422, PixelFormat::Yuv422),
            (AV_PIX_FMT_NV21, PixelFormat::Yuv420),
            (AV_PIX_FMT_P010LE, PixelFormat::Yuv420),
            (AV_PIX_FMT_GBRP, PixelFormat::Rgb24),
            (AV_PIX_FMT_PAL8, PixelFormat::Rgb24),
            (AV_PIX_FMT_BGRA, PixelFormat::Rgb24),
            (AV_PIX_FMT_GRAY16LE, PixelFormat::Gray8),
            (AV_PIX_FMT_YA8, PixelFormat::Gray8),
            (AV_PIX_FMT_MONOBLACK, PixelFormat::Gray8),
        ] {
            assert_eq!(nearest(from), Some(to), "{from:?}");
            assert_eq!(passthrough(from), None, "{from:?}");
        }
        assert_eq!(nearest(AV_PIX_FMT_CUDA), None);
    }

    #[test]
    fn untagged_color_follows_height() {
        let unspecified = ffi::AVColorSpace::AVCOL_SPC_UNSPECIFIED as c_int;
        let sd = color(PixelFormat::Yuv420, false, unspecified, 0, 576);
        assert_eq!(sd, Color { matrix: Matrix::Bt601, range: Range::Limited });
        assert_eq!(color(PixelFormat::Yuv420, false, unspecified, 0, 720).matrix, Matrix::Bt709);
        assert_eq!(color(PixelFormat::Yuv420, true, unspecified, 0, 576).range, Range::Full);
        assert_eq!(color(PixelFormat::Gray8, false, unspecified, 0, 576).range, Range::Full);
    }

    #[test]
    fn numbers_that_no_format_has_are_refused() {
        assert_eq!(pixel_format(-1), None);
        assert_eq!(pixel_format(1 << 20), None);
        assert_eq!(pixel_format(AV_PIX_FMT_RGB24 as c_int), Some(AV_PIX_FMT_RGB24));
    }
}

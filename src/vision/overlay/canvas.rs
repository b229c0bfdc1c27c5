//! Filled shapes on a picture's planes, whatever their layout.

use crate::frame::{Color, Picture, PixelFormat, Range};

/// A colour in a picture's own components: Y, Cb, Cr, or R, G, B.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink([u8; 3]);

/// One plane that is drawn on.
struct Target<'a> {
    bytes: &'a mut [u8],
    stride: usize,
}

/// A picture that is drawn on. Everything outside it is cut.
pub(super) struct Canvas<'a> {
    width: usize,
    height: usize,
    format: PixelFormat,
    color: Color,
    planes: Vec<Target<'a>>,
}

impl<'a> Canvas<'a> {
    pub fn new(picture: &'a mut Picture) -> Self {
        let (width, height, format, color) =
            (picture.width(), picture.height(), picture.format(), picture.color());
        let planes = picture.planes_mut().iter_mut().map(|plane| {
            let (bytes, stride) = plane.to_mut();
            Target { bytes, stride }
        });
        Self { width, height, format, color, planes: planes.collect() }
    }

    pub fn width(&self) -> i32 {
        self.width as i32
    }

    pub fn height(&self) -> i32 {
        self.height as i32
    }

    /// A colour as this picture's samples express it.
    pub fn ink(&self, rgb: [u8; 3]) -> Ink {
        if self.format == PixelFormat::Rgb24 {
            return Ink(rgb);
        }
        let [r, g, b] = rgb.map(f32::from);
        let (kr, kb) = self.color.matrix.luma_coefficients();
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (cb, cr) = ((b - y) / (2.0 * (1.0 - kb)), (r - y) / (2.0 * (1.0 - kr)));
        let (luma_zero, luma_gain, chroma_gain) = match self.color.range {
            Range::Limited => (16.0, 219.0 / 255.0, 224.0 / 255.0),
            Range::Full => (0.0, 1.0, 1.0),
        };
        let components = [luma_zero + y * luma_gain, 128.0 + cb * chroma_gain, 128.0 + cr * chroma_gain];
        // The cast saturates.
        Ink(components.map(|component| component.round() as u8))
    }

    /// Fills columns `from..to` of row `y`.
    pub fn span(&mut self, y: i32, from: i32, to: i32, ink: Ink) {
        let (from, to) = (from.max(0) as usize, to.clamp(0, self.width as i32) as usize);
        if y < 0 || y as usize >= self.height || from >= to {
            return;
        }
        let y = y as usize;
        let Ink(values) = ink;
        let row = |plane: &mut Target<'_>, y: usize, from: usize, to: usize, value: u8| {
            plane.bytes[y * plane.stride..][from..to].fill(value);
        };
        let pattern = |plane: &mut Target<'_>, y: usize, from: usize, to: usize, values: &[u8]| {
            let n = values.len();
            let bytes = &mut plane.bytes[y * plane.stride..][from * n..to * n];
            bytes.chunks_exact_mut(n).for_each(|sample| sample.copy_from_slice(values));
        };
        let (half_from, half_to) = (from / 2, to.div_ceil(2));
        match (self.format, self.planes.as_mut_slice()) {
            (PixelFormat::Rgb24, [rgb]) => pattern(rgb, y, from, to, &values),
            (PixelFormat::Nv12, [luma, chroma]) => {
                row(luma, y, from, to, values[0]);
                pattern(chroma, y / 2, half_from, half_to, &values[1..]);
            }
            (format, planes) => {
                let (y_c, from_c, to_c) = match format {
                    PixelFormat::Yuv420 => (y / 2, half_from, half_to),
                    PixelFormat::Yuv422 => (y, half_from, half_to),
                    _ => (y, from, to),
                };
                for (index, plane) in planes.iter_mut().enumerate() {
                    match index {
                        0 => row(plane, y, from, to, values[0]),
                        _ => row(plane, y_c, from_c, to_c, values[index.min(2)]),
                    }
                }
            }
        }
    }

    pub fn rectangle(&mut self, x: i32, y: i32, width: i32, height: i32, ink: Ink) {
        for row in y.max(0)..(y + height).min(self.height as i32) {
            self.span(row, x, x + width, ink);
        }
    }

    /// Fills everything within `radius` of the segment from `a` to `b`. The shape is convex, so a row meets it
    /// in one span: from the leftmost to the rightmost of its two discs and the bar between them.
    pub fn capsule(&mut self, a: [f32; 2], b: [f32; 2], radius: f32, ink: Ink) {
        if !(a[0] + a[1] + b[0] + b[1]).is_finite() {
            return;
        }
        let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
        let length = dx.hypot(dy).max(f32::MIN_POSITIVE);
        let (nx, ny) = (-dy / length * radius, dx / length * radius);
        let bar =
            [[a[0] + nx, a[1] + ny], [b[0] + nx, b[1] + ny], [b[0] - nx, b[1] - ny], [a[0] - nx, a[1] - ny]];
        let top = (a[1].min(b[1]) - radius).floor().max(0.0) as i32;
        let bottom = (a[1].max(b[1]) + radius).ceil().min(self.height as f32) as i32;
        for y in top..bottom {
            let at = y as f32 + 0.5;
            let (mut left, mut right) = (f32::INFINITY, f32::NEG_INFINITY);
            let mut meet = |x: f32| {
                left = left.min(x);
                right = right.max(x);
            };
            for centre in [a, b] {
                let half2 = radius * radius - (at - centre[1]).powi(2);
                if half2 >= 0.0 {
                    meet(centre[0] - half2.sqrt());
                    meet(centre[0] + half2.sqrt());
                }
            }
            for (i, p) in bar.iter().enumerate() {
                let q = bar[(i + 1) % bar.len()];
                if (p[1] <= at) != (q[1] <= at) {
                    meet(p[0] + (at - p[1]) / (q[1] - p[1]) * (q[0] - p[0]));
                }
            }
            // Pixels whose centres lie inside.
            let column = |x: f32| x.clamp(0.0, self.width as f32) as i32;
            let (from, to) = (column((left - 0.5).ceil()), column((right - 0.5).floor() + 1.0));
            self.span(y, from, to, ink);
        }
    }
}

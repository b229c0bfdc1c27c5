//! What the tests of this module share.

use std::sync::Arc;

use crate::frame::{Color, Picture, PixelFormat, Plane};

pub const FORMATS: [PixelFormat; 6] = [
    PixelFormat::Gray8,
    PixelFormat::Yuv420,
    PixelFormat::Yuv422,
    PixelFormat::Yuv444,
    PixelFormat::Nv12,
    PixelFormat::Rgb24,
];

/// Marsaglia's xorshift: the same numbers on every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() >> 16) as usize % (high - low + 1)
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A picture whose bytes come from `sample(plane, byte in the row, row)`. Rows lie further apart than they are
/// long, as a decoder's do.
pub fn picture(
    (width, height): (usize, usize),
    format: PixelFormat,
    color: Color,
    mut sample: impl FnMut(usize, usize, usize) -> u8,
) -> Picture {
    const GAP: usize = 5;
    let planes = (0..format.planes()).map(|plane| {
        let (width_bytes, rows) = format.plane_size(plane, width, height);
        let stride = width_bytes + GAP;
        let mut bytes = vec![0xaa; stride * rows];
        for y in 0..rows {
            for x in 0..width_bytes {
                bytes[y * stride + x] = sample(plane, x, y);
            }
        }
        Plane::from_foreign(Arc::new(bytes), stride, width_bytes, rows).unwrap()
    });
    Picture::new(width, height, format, color, planes.collect()).unwrap()
}

/// A picture of noise.
pub fn noise(size: (usize, usize), format: PixelFormat, color: Color, random: &mut Random) -> Picture {
    picture(size, format, color, |_, _, _| random.next() as u8)
}

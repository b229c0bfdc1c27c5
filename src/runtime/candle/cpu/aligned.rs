//! Memory that starts where a cache line does: a 512-bit load across two lines costs twice as much.

use std::ops::Deref;

/// A cache line, in bytes; also the widest vector.
const LINE: usize = 64;
/// Values that are allocated on top so that an aligned start can be found.
pub const SLACK: usize = LINE / size_of::<f32>();

/// The part of a slice that starts on a cache line; the slice itself where it is too short for that.
pub fn aligned(values: &[f32]) -> &[f32] {
    let skip = values.as_ptr().align_offset(LINE);
    values.get(skip..).unwrap_or(values)
}

/// As [`aligned`], to be written.
pub fn aligned_mut(values: &mut [f32]) -> &mut [f32] {
    let skip = values.as_ptr().align_offset(LINE);
    if skip <= values.len() { &mut values[skip..] } else { values }
}

/// Values that do not change and start on a cache line.
pub struct Aligned {
    values: Vec<f32>,
    len: usize,
}

impl From<&[f32]> for Aligned {
    fn from(source: &[f32]) -> Self {
        let mut values = vec![0.0; source.len() + SLACK];
        aligned_mut(&mut values)[..source.len()].copy_from_slice(source);
        Self { values, len: source.len() }
    }
}

impl Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &aligned(&self.values)[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_cache_line_and_keeps_the_values() {
        for len in [0, 1, 15, 16, 17, 5000] {
            let source: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let copy = Aligned::from(source.as_slice());
            assert_eq!(*copy, *source);
            assert_eq!(copy.as_ptr() as usize % LINE, 0);
        }
    }
}

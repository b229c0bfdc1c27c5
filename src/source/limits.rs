//! Bounds on what a source may claim, so that bad input cannot fill the memory.

use crate::error::{Error, Result};

/// Most pixels of a picture or frame: 8192 × 8192, which is nearly twice 8K cinema.
pub const MAX_PIXELS: usize = 1 << 26;

/// Longest side of a picture or frame in pixels.
pub const MAX_SIDE: usize = 1 << 15;

/// Most memory that decoding one still picture may take, in bytes.
pub const MAX_DECODE_BYTES: u64 = 512 << 20;

/// Largest encoded still picture that is read, in bytes.
pub const MAX_PICTURE_BYTES: u64 = 256 << 20;

/// Refuses sizes beyond the bounds, before anything is allocated for them.
pub fn check_size(name: &str, width: usize, height: usize) -> Result<()> {
    let pixels = width.checked_mul(height);
    if width <= MAX_SIDE && height <= MAX_SIDE && pixels.is_some_and(|pixels| pixels <= MAX_PIXELS) {
        return Ok(());
    }
    Err(Error::TooLarge {
        what: format!("{name}: the picture"),
        found: format!("{width} x {height} pixels"),
        limit: format!("{MAX_PIXELS} pixels ({MAX_SIDE} on a side)"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_at_their_edges() {
        assert!(check_size("a", 8192, 8192).is_ok());
        assert!(check_size("a", MAX_SIDE, 2048).is_ok());
        assert!(check_size("a", 8193, 8192).is_err());
        assert!(check_size("a", MAX_SIDE + 1, 1).is_err());
        assert!(check_size("a", usize::MAX, usize::MAX).is_err());
    }
}

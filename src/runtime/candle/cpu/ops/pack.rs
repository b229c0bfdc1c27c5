//! Weights in the order in which the tile kernel reads them.

use crate::runtime::candle::cpu::aligned::Aligned;
use crate::runtime::candle::cpu::tile::MAX_PANEL;

/// A panel of output channels.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    /// First output channel.
    pub channel: usize,
    /// Channels that exist.
    pub channels: usize,
    /// Width in vectors.
    pub vectors: usize,
    /// Where its weights start.
    pub weights: usize,
    /// Where its bias starts.
    pub bias: usize,
}

/// Packed weights of one group: per panel `[k][vectors * lanes]`, zeros where channels are missing.
pub struct Packed {
    /// The panels.
    pub panels: Vec<Panel>,
    /// All panels' weights.
    pub weights: Aligned,
    /// All panels' biases.
    pub bias: Aligned,
}

/// Packs `k` rows of weights for `channels` output channels. `weight(k, channel)` gives a value.
pub fn pack(
    k: usize,
    channels: usize,
    lanes: usize,
    weight: impl Fn(usize, usize) -> f32,
    bias: impl Fn(usize) -> f32,
) -> Packed {
    let (mut panels, mut all, mut biases) = (vec![], vec![], vec![]);
    let mut channel = 0;
    for vectors in widths(channels.div_ceil(lanes)) {
        let width = vectors * lanes;
        let exist = width.min(channels - channel);
        panels.push(Panel { channel, channels: exist, vectors, weights: all.len(), bias: biases.len() });
        for row in 0..k {
            all.extend((0..width).map(|i| if i < exist { weight(row, channel + i) } else { 0.0 }));
        }
        biases.extend((0..width).map(|i| if i < exist { bias(channel + i) } else { 0.0 }));
        channel += exist;
    }
    Packed { panels, weights: all.as_slice().into(), bias: biases.as_slice().into() }
}

/// Widths of panels that add up to `vectors`: as wide as can be, but no lone vector beside a full panel.
fn widths(vectors: usize) -> Vec<usize> {
    let mut left = vectors;
    let mut out = vec![];
    while left > 0 {
        let width = if left == MAX_PANEL + 1 { 2 } else { left.min(MAX_PANEL) };
        out.push(width);
        left -= width;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panels_cover_all_channels() {
        for vectors in 1..40 {
            let w = widths(vectors);
            assert_eq!(w.iter().sum::<usize>(), vectors);
            assert!(w.iter().all(|w| (1..=MAX_PANEL).contains(w)));
            assert!(vectors == 1 || w.iter().all(|&w| w > 1), "{vectors}: {w:?}");
        }
        let p = pack(2, 5, 4, |k, c| (10 * k + c) as f32, |c| c as f32);
        assert_eq!(p.panels.len(), 1);
        assert_eq!(p.weights[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
        assert_eq!(p.weights[8..13], [10.0, 11.0, 12.0, 13.0, 14.0]);
        assert_eq!(*p.bias, [0.0, 1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0]);
    }
}

//! The outline of a field of view: from where to where it reaches in each row of cells.

use crate::frame::{Picture, PixelFormat, Range};
use crate::vision::Crop;

/// Rows to either side that an edge is compared with: what sticks out over fewer rows than this is no edge of an
/// endoscope's picture, but letters that touch it.
const NEIGHBOURS: usize = 8;

/// A field of view without the corners that its bounding box has: a disc, an octagon or a rectangle, in cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    frame: (usize, usize),
    /// Pixels along a cell's side.
    step: usize,
    /// From where to where, in pixels; empty where both are equal.
    rows: Vec<(usize, usize)>,
}

impl Shape {
    /// The shape of a region with these spans of cells, inside its trimmed bounding box.
    pub(super) fn new(
        frame: (usize, usize),
        step: usize,
        spans: &[Option<(usize, usize)>],
        bounds: Crop,
    ) -> Self {
        let (top, bottom) = (bounds.y / step, (bounds.y + bounds.height).div_ceil(step));
        let inside: Vec<(usize, usize)> = spans
            .iter()
            .enumerate()
            .map(|(row, span)| span.filter(|_| (top..bottom).contains(&row)).unwrap_or((0, 0)))
            .collect();
        let rows = (0..inside.len()).map(|row| {
            if inside[row].0 == inside[row].1 {
                return (0, 0);
            }
            let near = row.saturating_sub(NEIGHBOURS)..(row + NEIGHBOURS + 1).min(inside.len());
            let near: Vec<_> = inside[near].iter().filter(|(from, to)| from < to).collect();
            let from = median(near.iter().map(|(from, _)| *from)).max(inside[row].0);
            let to = median(near.iter().map(|(_, to)| *to)).min(inside[row].1);
            // Consolidating the cells took the outermost ones away.
            let from = (from.saturating_sub(1) * step).max(bounds.x);
            let to = ((to + 1) * step).min(bounds.x + bounds.width);
            if from < to { (from, to) } else { (0, 0) }
        });
        Self { frame, step, rows: rows.collect() }
    }

    /// The part of it in which something is seen now, given from where to where that is in each row of cells, and
    /// `margin` cells around.
    pub(super) fn where_seen(&self, seen: &[Option<(usize, usize)>], margin: usize) -> Self {
        let rows = self.rows.iter().enumerate().map(|(row, &(from, to))| {
            let near = row.saturating_sub(margin)..(row + margin + 1).min(seen.len());
            let near = || seen.get(near.clone()).unwrap_or_default().iter().flatten();
            let first = near().map(|(first, _)| *first).min().unwrap_or(usize::MAX);
            let last = near().map(|(_, last)| *last).max().unwrap_or(0);
            let from = from.max(first.saturating_sub(margin).saturating_mul(self.step));
            let to = to.min((last + margin) * self.step);
            if from < to { (from, to) } else { (0, 0) }
        });
        Self { rows: rows.collect(), ..*self }
    }

    /// Pixels inside.
    pub fn area(&self) -> usize {
        self.rows.iter().map(|(from, to)| (to - from) * self.step).sum()
    }

    /// What is inside both; nothing if they are of frames of different sizes.
    pub fn intersection(&self, other: &Self) -> Self {
        let same = self.frame == other.frame;
        let rows = self.rows.iter().zip(&other.rows).map(|(a, b)| {
            let (from, to) = (a.0.max(b.0), a.1.min(b.1));
            if same && from < to { (from, to) } else { (0, 0) }
        });
        Self { rows: rows.collect(), ..*self }
    }

    /// The cells inside in a row of cells, but for `margin` of them at either end.
    pub(super) fn columns(&self, row: usize, margin: usize) -> std::ops::Range<usize> {
        let (from, to) = self.rows.get(row).copied().unwrap_or((0, 0));
        let from = from / self.step + margin;
        from..(to / self.step).saturating_sub(margin).max(from)
    }

    /// Whether a pixel is inside.
    pub fn contains(&self, x: usize, y: usize) -> bool {
        self.rows.get(y / self.step).is_some_and(|(from, to)| (*from..*to).contains(&x))
    }

    /// Makes everything outside black. A picture of another size is black as a whole.
    pub fn black_outside(&self, picture: &mut Picture) {
        let (width, height) = (picture.width(), picture.height());
        let (format, range) = (picture.format(), picture.color().range);
        let fits = (width, height) == self.frame;
        for (index, plane) in picture.planes_mut().iter_mut().enumerate() {
            let rows = plane.rows();
            let bytes = plane.width_bytes();
            let black = match (format, index, range) {
                (PixelFormat::Rgb24 | PixelFormat::Gray8, ..) | (_, 0, Range::Full) => 0,
                (_, 0, Range::Limited) => 16,
                _ => 128,
            };
            let black = if format == PixelFormat::Gray8 && range == Range::Limited { 16 } else { black };
            // Bytes of one sample, and pixels that it stands for across and down.
            let (sample, across, down) = match (format, index) {
                (PixelFormat::Rgb24, _) => (3, 1, 1),
                (_, 0) | (PixelFormat::Yuv444, _) => (1, 1, 1),
                (PixelFormat::Nv12, _) => (2, 2, 2),
                (PixelFormat::Yuv422, _) => (1, 2, 1),
                _ => (1, 2, 2),
            };
            let (samples, stride) = plane.to_mut();
            for row in 0..rows {
                // A sample that stands for pixels of two rows of cells is inside if both are.
                let spans = [row * down, (row * down + down - 1).min(height - 1)]
                    .map(|y| self.rows.get(y / self.step).copied().filter(|_| fits).unwrap_or((0, 0)));
                let from = spans[0].0.max(spans[1].0).div_ceil(across) * sample;
                let to = (spans[0].1.min(spans[1].1) / across * sample).min(bytes);
                let line = &mut samples[row * stride..row * stride + bytes];
                if from < to {
                    line[..from].fill(black);
                    line[to..].fill(black);
                } else {
                    line.fill(black);
                }
            }
        }
    }
}

/// The middle one; 0 of none.
fn median(values: impl Iterator<Item = usize>) -> usize {
    let mut values: Vec<usize> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

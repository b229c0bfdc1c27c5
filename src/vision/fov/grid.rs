//! A picture reduced to a coarse grid of cells, and which of them show tissue.

use super::shape::Shape;
use crate::frame::{Picture, PixelFormat, Range};
use crate::vision::Crop;

/// Cells along the longer side of a frame.
const CELLS: usize = 180;

/// A frame's border counts as black up to this luma (full range): endoscopy processors fill it with 0 to 35.
const BLACKEST_BORDER: i16 = 48;

/// Luma above the border's from which a cell is lit.
const LIT_ABOVE_BORDER: i16 = 12;

/// Chroma apart from the border's from which a darker cell is lit all the same: dim mucosa is still red.
const COLORED: i16 = 10;

/// Largest luma step to the neighbouring cells inside a drawn panel.
const FLAT: i16 = 2;

/// Saturation from which a flat, not red cell is part of a drawn panel.
const SATURATED: i16 = 24;

/// A component's bounding box is trimmed where a row or column has less than this share of the fullest one's
/// cells: letters that touch the picture. A circle loses 1 % of its diameter by it at most.
const TRIM: f64 = 0.15;

/// Components smaller than this share of the frame are no endoscope's picture.
const SMALLEST: f64 = 0.08;

/// Rows and columns of cells from which on a region is tissue, and no line of letters.
const PATCH: usize = 12;
/// Cells between two regions of one row in which no letters are read.
const GAP: usize = 3;

/// One cell's colour: luma in full range, chroma around 0.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    luma: i16,
    cb: i16,
    cr: i16,
}

/// Where a column of cells is sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Samples {
    luma: [usize; 2],
    chroma: usize,
}

/// Cells of one frame; buffers are kept between frames.
#[derive(Debug, Default)]
pub(super) struct Grid {
    /// Pixels along a cell's side.
    step: usize,
    pub columns: usize,
    pub rows: usize,
    frame: (usize, usize),
    cells: Vec<Cell>,
    /// Where each column is sampled: two columns of luma and one of chroma.
    samples: Vec<Samples>,
    solid: Vec<bool>,
    counts: Vec<u8>,
    /// A row without lit cells.
    nothing: Vec<u8>,
    stack: Vec<usize>,
}

impl Grid {
    /// Samples a picture. Four luma samples and one of each chroma stand for a cell.
    pub fn sample(&mut self, picture: &Picture) {
        let (width, height) = (picture.width(), picture.height());
        self.frame = (width, height);
        self.step = width.max(height).div_ceil(CELLS).max(1);
        (self.columns, self.rows) = (width.div_ceil(self.step), height.div_ceil(self.step));
        self.cells.clear();
        self.cells.resize(self.columns * self.rows, Cell::default());
        self.nothing.resize(self.columns, 0);
        if self.columns == 0 || self.rows == 0 {
            return;
        }
        let chroma_width = match picture.format() {
            PixelFormat::Gray8 | PixelFormat::Rgb24 => 0,
            PixelFormat::Nv12 => picture.plane(1).width_bytes() / 2,
            _ => picture.plane(1).width_bytes(),
        };
        let at = |cell: usize, quarter: usize, end: usize| {
            (cell * self.step + self.step * quarter / 4).min(end - 1)
        };
        self.samples.clear();
        self.samples.extend((0..self.columns).map(|column| Samples {
            luma: [1, 3].map(|quarter| at(column, quarter, width)),
            chroma: at(column, 2, width) * chroma_width / width,
        }));
        for (row, cells) in self.cells.chunks_exact_mut(self.columns).enumerate() {
            let ys = [1, 3].map(|quarter| at(row, quarter, height));
            match picture.format() {
                PixelFormat::Rgb24 => sample_rgb(picture, ys, &self.samples, cells),
                _ => sample_yuv(picture, ys, &self.samples, cells),
            }
        }
    }

    /// Marks the cells that show the endoscope's picture rather than border or panels, in `lit`.
    /// Returns false if the frame has no dark border: then nothing can be told.
    pub fn classify(&self, lit: &mut Vec<bool>) -> bool {
        lit.clear();
        lit.resize(self.cells.len(), false);
        let Some(border) = self.border() else { return false };
        for row in 0..self.rows {
            for column in 0..self.columns {
                let index = row * self.columns + column;
                let cell = self.cells[index];
                let above = cell.luma - border.luma;
                let hue = (cell.cb - border.cb).abs().max((cell.cr - border.cr).abs());
                let bright = above >= LIT_ABOVE_BORDER || (above >= LIT_ABOVE_BORDER / 3 && hue >= COLORED);
                lit[index] = bright && !self.in_panel(row, column);
            }
        }
        true
    }

    /// The border's colour, from the darkest cells along the frame's edges; `None` if these are not dark.
    fn border(&self) -> Option<Cell> {
        let ends = |row: &[Cell]| [row[0], row[row.len() - 1]];
        let mut edge: Vec<Cell> = self.cells.chunks_exact(self.columns.max(1)).flat_map(ends).collect();
        edge.extend(self.cells.iter().take(self.columns));
        edge.extend(self.cells.iter().rev().take(self.columns));
        edge.sort_unstable_by_key(|cell| cell.luma);
        let darkest = edge.get(edge.len() / 50)?;
        if darkest.luma > BLACKEST_BORDER {
            return None;
        }
        // The median of what is as dark as that.
        let dark: Vec<Cell> = edge.iter().take_while(|cell| cell.luma <= darkest.luma + 4).copied().collect();
        let median = |channel: fn(&Cell) -> i16| {
            let mut values: Vec<i16> = dark.iter().map(channel).collect();
            values.sort_unstable();
            values[values.len() / 2]
        };
        Some(Cell { luma: darkest.luma, cb: median(|cell| cell.cb), cr: median(|cell| cell.cr) })
    }

    /// Whether a cell is part of a drawn panel: even, saturated, and of a hue that lit mucosa does not have.
    fn in_panel(&self, row: usize, column: usize) -> bool {
        let index = row * self.columns + column;
        let cell = self.cells[index];
        let hue = cell.cb.abs().max(cell.cr.abs()) >= SATURATED && cell.cr < 0;
        let even = |other: Option<&Cell>| other.is_none_or(|other| (other.luma - cell.luma).abs() <= FLAT);
        let left = (column > 0).then(|| &self.cells[index - 1]);
        let right = self.cells.get(index + 1).filter(|_| column + 1 < self.columns);
        let up = (row > 0).then(|| &self.cells[index - self.columns]);
        let down = self.cells.get(index + self.columns);
        hue && (even(left) || even(right)) && (even(up) || even(down))
    }

    /// The bounding box in pixels of the largest connected region of `lit`; `None` if it is no endoscope's
    /// picture: too small, or too far from a disc, an octagon or a rectangle.
    pub fn bounds(&mut self, lit: &[bool]) -> Option<(Crop, Shape)> {
        self.consolidate(lit);
        let Component { rows, columns, spans } = self.largest_component()?;
        let pick = |profile: &[usize]| {
            let least = (profile.iter().max().copied().unwrap_or(0) as f64 * TRIM).ceil() as usize;
            let first = profile.iter().position(|&count| count >= least.max(1))?;
            let last = profile.iter().rposition(|&count| count >= least.max(1))?;
            // Consolidating took the outermost cells away.
            Some((first.saturating_sub(1), (last + 2).min(profile.len())))
        };
        let ((top, bottom), (left, right)) = (pick(&rows)?, pick(&columns)?);
        let cells = rows.iter().sum::<usize>() as f64;
        let plausible = cells >= SMALLEST * self.cells.len() as f64
            && cells >= 0.4 * ((bottom - top) * (right - left)) as f64;
        let (width, height) = self.frame;
        let (x, y) = (left * self.step, top * self.step);
        let (right, bottom) = ((right * self.step).min(width), (bottom * self.step).min(height));
        plausible.then(|| {
            let crop = Crop { x, y, width: right - x, height: bottom - y };
            (crop, Shape::new(self.frame, self.step, &spans, crop))
        })
    }

    /// Keeps cells whose neighbourhood of 3 × 3 is lit to two thirds: letters vanish, glints and vessels close.
    fn consolidate(&mut self, lit: &[bool]) {
        self.solid.clear();
        self.solid.resize(lit.len(), false);
        // Of each cell and its neighbours left and right.
        self.counts.clear();
        for row in lit.chunks_exact(self.columns) {
            let at = |column: usize| row.get(column).map_or(0, |lit| u8::from(*lit));
            self.counts.extend(
                (0..row.len()).map(|column| at(column.wrapping_sub(1)) + at(column) + at(column + 1)),
            );
        }
        let line = |row: usize| self.counts.get(row * self.columns..(row + 1) * self.columns);
        for (row, solid) in self.solid.chunks_exact_mut(self.columns).enumerate() {
            let Some(own) = line(row) else { continue };
            let (above, below) = (row.checked_sub(1).and_then(line), line(row + 1));
            // Two thirds of the cells that the neighbourhood has inside the frame.
            let height = 1 + u8::from(above.is_some()) + u8::from(below.is_some());
            let (inner, outer) = (2 * height, (2 * 2 * height).div_ceil(3));
            let (above, below) = (above.unwrap_or(&self.nothing), below.unwrap_or(&self.nothing));
            for (((solid, own), above), below) in solid.iter_mut().zip(own).zip(above).zip(below) {
                *solid = own + above + below >= inner;
            }
            for column in [0, self.columns - 1] {
                solid[column] = own[column] + above[column] + below[column] >= outer;
            }
        }
    }

    /// From where to where tissue is seen in each row of `lit`: the largest connected region, and others that are too
    /// large for letters, unless there is room for letters between them.
    pub fn seen(&mut self, lit: &[bool]) -> Vec<Option<(usize, usize)>> {
        self.consolidate(lit);
        let mut found = Vec::new();
        self.components(|count, component| {
            let extent = |profile: &[usize]| profile.iter().filter(|&&cells| cells > 0).count();
            let is_patch = extent(&component.rows).min(extent(&component.columns)) >= PATCH;
            found.push((count, is_patch, component.spans));
        });
        found.sort_unstable_by_key(|(count, ..)| std::cmp::Reverse(*count));
        let mut seen = vec![None; self.rows];
        for (place, (_, is_patch, spans)) in found.iter().enumerate() {
            // In a dark moment nothing may be as large as a patch.
            if place == 0 || (*is_patch && is_near(&seen, spans)) {
                join(&mut seen, spans);
            }
        }
        seen
    }

    /// The largest 4-connected component of `solid`, which is used up.
    fn largest_component(&mut self) -> Option<Component> {
        let mut best: Option<(usize, Component)> = None;
        self.components(|count, component| {
            if best.as_ref().is_none_or(|(most, _)| count > *most) {
                best = Some((count, component));
            }
        });
        best.map(|(_, component)| component)
    }

    /// Calls `each` with the number of cells of every 4-connected component of `solid`, which is used up.
    fn components(&mut self, mut each: impl FnMut(usize, Component)) {
        for first in 0..self.solid.len() {
            if !self.solid[first] {
                continue;
            }
            let (mut rows, mut columns) = (vec![0; self.rows], vec![0; self.columns]);
            let mut spans: Vec<Option<(usize, usize)>> = vec![None; self.rows];
            let mut count = 0;
            self.solid[first] = false;
            self.stack.push(first);
            while let Some(index) = self.stack.pop() {
                let (row, column) = (index / self.columns, index % self.columns);
                count += 1;
                rows[row] += 1;
                columns[column] += 1;
                let (from, to) = spans[row].unwrap_or((column, column + 1));
                spans[row] = Some((from.min(column), to.max(column + 1)));
                let neighbours = [
                    (column > 0).then(|| index - 1),
                    (column + 1 < self.columns).then_some(index + 1),
                    (row > 0).then(|| index - self.columns),
                    (row + 1 < self.rows).then_some(index + self.columns),
                ];
                for next in neighbours.into_iter().flatten() {
                    if self.solid[next] {
                        self.solid[next] = false;
                        self.stack.push(next);
                    }
                }
            }
            each(count, Component { rows, columns, spans });
        }
    }
}

/// Whether nowhere in a row there is room for letters between the two.
fn is_near(spans: &[Option<(usize, usize)>], more: &[Option<(usize, usize)>]) -> bool {
    spans.iter().zip(more).all(|(a, b)| match (a, b) {
        (Some((from, to)), Some((first, last))) => *first <= to + GAP && *from <= last + GAP,
        _ => true,
    })
}

/// Lets each span reach over both.
fn join(spans: &mut [Option<(usize, usize)>], more: &[Option<(usize, usize)>]) {
    for (span, more) in spans.iter_mut().zip(more) {
        if let Some((from, to)) = more {
            let (first, last) = span.unwrap_or((*from, *to));
            *span = Some((first.min(*from), last.max(*to)));
        }
    }
}

/// A connected region: its cells per row and per column, and from where to where it reaches in each row.
struct Component {
    rows: Vec<usize>,
    columns: Vec<usize>,
    spans: Vec<Option<(usize, usize)>>,
}

fn sample_yuv(picture: &Picture, ys: [usize; 2], samples: &[Samples], cells: &mut [Cell]) {
    let lines = ys.map(|y| picture.plane(0).row(y));
    let range = picture.color().range;
    for (cell, samples) in cells.iter_mut().zip(samples) {
        let [a, b] = samples.luma;
        let sum: i16 = lines.iter().map(|line| i16::from(line[a]) + i16::from(line[b])).sum();
        cell.luma = match range {
            Range::Full => sum / 4,
            // 255 / 219 of a fourth.
            Range::Limited => ((sum - 64) * 7 / 24).max(0),
        };
    }
    // Nv12 keeps both in one plane, a byte apart.
    let (first, second, spacing) = match picture.format() {
        PixelFormat::Gray8 | PixelFormat::Rgb24 => return,
        PixelFormat::Nv12 => (picture.plane(1), picture.plane(1), 2),
        _ => (picture.plane(1), picture.plane(2), 1),
    };
    let y = ys[1] * first.rows() / picture.height();
    let (cb, cr) = (first.row(y), second.row(y));
    for (cell, samples) in cells.iter_mut().zip(samples) {
        let x = samples.chroma * spacing;
        cell.cb = i16::from(cb[x]) - 128;
        cell.cr = i16::from(cr[x + spacing - 1]) - 128;
    }
}

fn sample_rgb(picture: &Picture, ys: [usize; 2], samples: &[Samples], cells: &mut [Cell]) {
    let lines = ys.map(|y| picture.plane(0).row(y));
    for (cell, samples) in cells.iter_mut().zip(samples) {
        let mut sum = [0i32; 3];
        for line in lines {
            for x in samples.luma {
                let pixel = &line[3 * x..3 * x + 3];
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += i32::from(*value));
            }
        }
        let [r, g, b] = sum;
        // BT.601 in 1/256, of sums of four.
        cell.luma = ((77 * r + 150 * g + 29 * b) >> 10) as i16;
        cell.cb = ((-43 * r - 85 * g + 128 * b) >> 10) as i16;
        cell.cr = ((128 * r - 107 * g - 21 * b) >> 10) as i16;
    }
}

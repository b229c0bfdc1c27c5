//! Score maps at other resolutions: the working grid that findings are read from, and masks.

use crate::model::manifest::Activation;
use crate::vision::{Crop, ScoreMap};

/// Which of the pixels above the threshold are part of a finding, so that masks and findings agree.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Reported {
    /// All of them.
    #[default]
    All,
    /// None: the frame score was too low.
    None,
    /// Some: regions that were too small or too weak are not.
    Pixels {
        /// Rectangle of the network's input that `pixels` covers; nothing outside it was reported.
        area: Crop,
        /// Per pixel of `area`, row-major: whether a finding holds it.
        pixels: Vec<bool>,
    },
}

/// Where a bilinear sample lies between two cells.
#[derive(Debug, Clone, Copy)]
struct Lerp {
    low: usize,
    high: usize,
    share: f32,
}

impl Lerp {
    /// Between the centres of `cells` cells that cover `extent` units; `position` is in units.
    fn new(position: f32, extent: usize, cells: usize) -> Self {
        let cell = (position * cells as f32 / extent as f32 - 0.5).clamp(0.0, (cells - 1) as f32);
        let low = cell as usize;
        Self { low, high: (low + 1).min(cells - 1), share: cell - low as f32 }
    }

    #[inline(always)]
    fn between(self, values: &[f32]) -> f32 {
        let low = values[self.low];
        low + (values[self.high] - low) * self.share
    }
}

/// Blends the two rows of `map` around `row`.
fn blend_rows(map: &ScoreMap, row: Lerp, out: &mut [f32]) {
    let low = &map.data[row.low * map.width..][..map.width];
    let high = &map.data[row.high * map.width..][..map.width];
    for ((out, low), high) in out.iter_mut().zip(low).zip(high) {
        *out = low + (high - low) * row.share;
    }
}

/// The part of a score map that can be above the threshold, one value per pixel of the network's input.
#[derive(Debug)]
pub(super) struct Grid {
    /// Rectangle of the input that the values cover; it lies inside the content.
    pub area: Crop,
    /// Bilinear values, row-major.
    pub values: Vec<f32>,
    /// The map's threshold.
    pub threshold: f32,
    /// What the values are.
    pub activation: Activation,
}

impl Grid {
    /// `None` if no pixel can be above the threshold.
    pub fn new(map: &ScoreMap) -> Option<Self> {
        let area = reach(map)?;
        let (input_width, input_height) = map.geometry.input;
        let columns: Vec<Lerp> = (area.x..area.x + area.width)
            .map(|x| Lerp::new(x as f32 + 0.5, input_width, map.width))
            .collect();
        let mut row = vec![0.0; map.width];
        let mut values = Vec::with_capacity(area.width * area.height);
        for y in area.y..area.y + area.height {
            blend_rows(map, Lerp::new(y as f32 + 0.5, input_height, map.height), &mut row);
            values.extend(columns.iter().map(|column| column.between(&row)));
        }
        Some(Self { area, values, threshold: map.threshold, activation: map.activation })
    }
}

/// The rectangle of the content, in input pixels, that bilinear values of cells above the threshold reach.
fn reach(map: &ScoreMap) -> Option<Crop> {
    let rows: Vec<&[f32]> = map.data.chunks_exact(map.width).collect();
    let above = |row: &&[f32]| row.iter().any(|&value| value >= map.threshold);
    let top = rows.iter().position(above)?;
    let bottom = rows.iter().rposition(above)?;
    let column = |x: usize| rows[top..=bottom].iter().any(|row| row[x] >= map.threshold);
    let left = (0..map.width).find(|&x| column(x))?;
    let right = (0..map.width).rfind(|&x| column(x))?;
    let content = map.geometry.content;
    // A cell reaches as far as its neighbours' centres.
    let bounds = |low: usize, high: usize, cells: usize, extent: usize, from: usize, length: usize| {
        let low = (low.saturating_sub(1) * extent / cells).max(from);
        let high = ((high + 2) * extent).div_ceil(cells).min(from + length);
        (high > low).then_some((low, high - low))
    };
    let (x, width) = bounds(left, right, map.width, map.geometry.input.0, content.x, content.width)?;
    let (y, height) = bounds(top, bottom, map.height, map.geometry.input.1, content.y, content.height)?;
    Some(Crop { x, y, width, height })
}

impl ScoreMap {
    /// The mask at the source's size: 255 where a finding was reported, 0 elsewhere; row-major,
    /// `width * height` bytes.
    ///
    /// Values are enlarged bilinearly and thresholded at the source's resolution. What was not
    /// reported (regions too small or too weak, frames whose score was too low) is absent.
    pub fn rasterize(&self, width: usize, height: usize) -> Vec<u8> {
        let mut mask = vec![0; width * height];
        let Some(area) = reach(self).filter(|_| self.reported != Reported::None) else { return mask };
        let crop = self.geometry.crop.within(width, height);
        let (input, content) = (self.geometry.input, self.geometry.content);
        let (scale_x, scale_y) =
            (content.width as f32 / crop.width as f32, content.height as f32 / crop.height as f32);
        // Position in the input of each column's and row's centre, where it can be above the threshold.
        let place = |i: usize, scale: f32, offset: usize, from: usize, length: usize| {
            let position = (i as f32 + 0.5) * scale + offset as f32;
            (position >= from as f32 && position < (from + length) as f32).then_some(position)
        };
        let columns: Vec<(usize, f32, Lerp)> = (0..crop.width)
            .filter_map(|x| {
                let at = place(x, scale_x, content.x, area.x, area.width)?;
                Some((crop.x + x, at, Lerp::new(at, input.0, self.width)))
            })
            .collect();
        let mut row = vec![0.0; self.width];
        for y in 0..crop.height {
            let Some(at_y) = place(y, scale_y, content.y, area.y, area.height) else { continue };
            blend_rows(self, Lerp::new(at_y, input.1, self.height), &mut row);
            let out = &mut mask[(crop.y + y) * width..][..width];
            for &(x, at_x, column) in &columns {
                if column.between(&row) >= self.threshold && self.is_reported(at_x, at_y) {
                    out[x] = 255;
                }
            }
        }
        mask
    }

    /// Whether a point of the network's input that is above the threshold belongs to a finding.
    fn is_reported(&self, x: f32, y: f32) -> bool {
        match &self.reported {
            Reported::All => true,
            Reported::None => false,
            Reported::Pixels { area, pixels } => {
                // The outline of a finding runs up to a pixel beyond the pixels whose centres it holds.
                let near = |at: f32, from: usize, length: usize| {
                    let at = at as usize;
                    at.saturating_sub(from + 1).min(length)..(at + 2).saturating_sub(from).min(length)
                };
                near(y, area.y, area.height).any(|y| {
                    let row = &pixels[y * area.width..][..area.width];
                    row[near(x, area.x, area.width)].contains(&true)
                })
            }
        }
    }

    /// Two classes' maps as one: the larger value per cell, and what either reported.
    pub(super) fn joined(mut self, other: Self) -> Self {
        for (own, other) in self.data.iter_mut().zip(&other.data) {
            *own = own.max(*other);
        }
        let content = self.geometry.content;
        let mut union = vec![false; content.width * content.height];
        for reported in [&self.reported, &other.reported] {
            match reported {
                Reported::None => (),
                Reported::All => union.fill(true),
                Reported::Pixels { area, pixels } => {
                    for (y, row) in pixels.chunks_exact(area.width).enumerate() {
                        let begin = (area.y - content.y + y) * content.width + area.x - content.x;
                        let line = union[begin..begin + area.width].iter_mut();
                        line.zip(row).for_each(|(union, &pixel)| *union |= pixel);
                    }
                }
            }
        }
        self.reported = Reported::Pixels { area: content, pixels: union };
        self
    }
}

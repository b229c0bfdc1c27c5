//! The endoscope's picture inside the frame, found without being told: processors surround it with a black
//! border, mask it to an octagon or disc, and put text, thumbnails and coloured panels beside it.
//!
//! A frame is reduced to a coarse grid of cells; cells that are brighter or more coloured than the border
//! and no part of a drawn panel are *lit*; the bounding box of the largest lit region is the crop. Over time
//! each cell collects evidence, so that a dark lumen at the edge, a black frame or a flash moves nothing, and
//! the crop changes only when a clearly different one has stood for a while (another scope, another layout).
//! Cropping to it is no de-identification: corners of the rectangle are outside the picture. Its [`Shape`] leaves
//! them out; letters drawn over the picture itself stay all the same.

mod grid;
mod shape;

use crate::frame::Picture;
use crate::vision::Crop;
use grid::Grid;
pub use shape::Shape;

/// A cell's evidence: gained per frame that it is lit, lost per frame that it is not, needed to count, and the
/// most it can have, which the first frame's lit cells begin with. At 30 frames a second a cell is in after half
/// a second and out after ten: taking in too much costs a little resolution, leaving tissue out costs findings.
const GAIN: u16 = 20;
const LOSS: u16 = 1;
const NEEDED: u16 = 300;
const MOST: u16 = 600;

/// Frames with fewer lit cells than this share show nothing: scope outside, lamp off, fade.
const DARK_FRAME: f64 = 0.05;

/// A frame is a flash or a menu if its lit cells exceed the known picture's by this share of all cells, until it
/// lasts longer than this many frames.
const FLASH_EXCESS: f64 = 0.2;
const FLASH_FRAMES: u32 = 30;

/// The known picture is gone where less than this share of its cells is lit. In real frames with a border it is 0.73
/// at the least.
const GONE: f64 = 0.5;

/// What is lit in its place is letters from this many cells in two neighbouring rows on, a line of them, or where it
/// is more than this share of all cells. Less is glints in a dark moment.
const LINE: usize = 7;
const GLINTS: f64 = 0.002;

/// Cells at the picture's sides that letters beside it may reach into.
const MARGIN: usize = 2;

/// An edge must move by this share of the frame's side before a new crop is considered, and the new crop must
/// stand this many frames.
const MOVED: f64 = 0.02;
const SETTLE_FRAMES: u32 = 10;

/// Finds and follows the field of view of one stream.
#[derive(Debug, Default)]
pub struct FieldOfView {
    grid: Grid,
    lit: Vec<bool>,
    evidence: Vec<u16>,
    /// The cells whose evidence suffices, and their bounding box.
    region: Vec<bool>,
    found: Option<(Crop, Shape)>,
    frame: (usize, usize),
    crop: Option<Crop>,
    pending: Option<(Crop, u32)>,
    flash: u32,
    covered: bool,
}

impl FieldOfView {
    /// Nothing known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The field of view of a single picture; the whole picture if none stands out.
    pub fn still(picture: &Picture) -> Crop {
        Self::new().update(picture)
    }

    /// Takes the next picture of a stream and returns the field of view as it is now believed to be; the
    /// whole picture if none stands out. A picture of another size starts anew.
    pub fn update(&mut self, picture: &Picture) -> Crop {
        let frame = (picture.width(), picture.height());
        if self.frame != frame {
            *self = Self { frame, ..Self::default() };
        }
        let whole = Crop::whole(frame.0, frame.1);
        self.grid.sample(picture);
        let bordered = self.grid.classify(&mut self.lit);
        if !bordered {
            // No dark border anywhere: a frame-filling picture, or a flash.
            self.lit.fill(true);
        }
        // Where a border was known and is none, something else is shown, however large the known picture is.
        self.covered = !bordered || self.is_covered();
        if !self.collect() {
            return self.crop.unwrap_or(whole);
        }
        let unchanged = self.region.len() == self.evidence.len()
            && self
                .region
                .iter()
                .zip(&self.evidence)
                .all(|(&region, &evidence)| region == (evidence >= NEEDED));
        if !unchanged {
            self.region.clear();
            self.region.extend(self.evidence.iter().map(|&evidence| evidence >= NEEDED));
            self.found = self.grid.bounds(&self.region);
        }
        let crop = self.settle(self.found.as_ref().map_or(whole, |(crop, _)| *crop));
        self.crop = Some(crop);
        crop
    }

    /// The outline of the field of view as it was last seen; `None` where none stands out from a border, and while a
    /// flash, a menu or letters on a dark screen cover what was known.
    pub fn shape(&self) -> Option<&Shape> {
        let (crop, shape) = self.found.as_ref().filter(|_| self.flash == 0 && !self.covered)?;
        (*crop != Crop::whole(self.frame.0, self.frame.1)).then_some(shape)
    }

    /// The part of `shape` in which the last frame shows tissue. A picture that has become smaller frees room for
    /// letters, in which nothing is tissue any more, long before that is forgotten.
    pub fn seen_of(&mut self, shape: &Shape) -> Shape {
        shape.where_seen(&self.grid.seen(&self.lit), MARGIN)
    }

    /// Whether letters stand where the known picture was: most of it is dark, and what is lit is more than glints.
    /// What is lit beside it does not count: panels stay while the picture is dark.
    fn is_covered(&self) -> bool {
        let Some((_, shape)) = &self.found else { return false };
        let [mut known, mut seen, mut above, mut line] = [0_usize; 4];
        for (row, lit) in self.lit.chunks_exact(self.grid.columns.max(1)).enumerate() {
            let inside = lit.get(shape.columns(row, MARGIN)).unwrap_or_default();
            let here = inside.iter().filter(|lit| **lit).count();
            known += inside.len();
            seen += here;
            line = line.max(above + here);
            above = here;
        }
        let gone = (seen as f64) < GONE * known as f64;
        gone && (line >= LINE || seen as f64 > GLINTS * self.lit.len() as f64)
    }

    /// Adds a frame's lit cells to the evidence; false if the frame says nothing.
    fn collect(&mut self) -> bool {
        let all = self.lit.len() as f64;
        let lit = self.lit.iter().filter(|lit| **lit).count() as f64;
        if lit < DARK_FRAME * all {
            return false;
        }
        if self.evidence.len() != self.lit.len() {
            self.evidence = self.lit.iter().map(|&lit| if lit { MOST } else { 0 }).collect();
            return true;
        }
        let known = self.evidence.iter().filter(|evidence| **evidence >= NEEDED).count() as f64;
        self.flash = if lit > known + FLASH_EXCESS * all { self.flash + 1 } else { 0 };
        if (1..=FLASH_FRAMES).contains(&self.flash) {
            return false;
        }
        for (evidence, &lit) in self.evidence.iter_mut().zip(&self.lit) {
            *evidence = if lit { (*evidence + GAIN).min(MOST) } else { evidence.saturating_sub(LOSS) };
        }
        true
    }

    /// The crop in force, given the one found in this frame.
    fn settle(&mut self, found: Crop) -> Crop {
        let Some(current) = self.crop else { return found };
        if self.near(current, found) {
            self.pending = None;
            return current;
        }
        let stood = match self.pending {
            Some((pending, stood)) if self.near(pending, found) => stood + 1,
            _ => 1,
        };
        if stood >= SETTLE_FRAMES {
            self.pending = None;
            return found;
        }
        self.pending = Some((found, stood));
        current
    }

    /// Whether no edge differs by more than the tolerance.
    fn near(&self, a: Crop, b: Crop) -> bool {
        let (across, down) = (MOVED * self.frame.0 as f64, MOVED * self.frame.1 as f64);
        let close = |a: usize, b: usize, tolerance: f64| a.abs_diff(b) as f64 <= tolerance;
        close(a.x, b.x, across)
            && close(a.x + a.width, b.x + b.width, across)
            && close(a.y, b.y, down)
            && close(a.y + a.height, b.y + b.height, down)
    }
}

#[cfg(test)]
mod tests;

//! From decoded planes to the network's input in one pass: crop, fit, resize, colour, normalise.
//!
//! Each plane is resized on its own, and colour is converted at the network's resolution: no RGB picture of
//! the source's size exists at any time. Chroma samples are taken to cover the luma samples they belong to
//! (centred siting, as JPEG has it); the half-sample offset of MPEG siting is far below one network pixel.

use crate::error::{Error, Result};
use crate::frame::{Color, Matrix, Picture, PixelFormat, Plane, Range};
use crate::model::manifest::{ColorOrder, Fit, InputSpec};
use crate::vision::resample::{self, Axis};
use crate::vision::{Crop, Geometry};

/// Largest width or height of a network's input.
pub const MAX_INPUT_SIDE: usize = 4096;

impl Geometry {
    /// Fits `crop` into an input of `input` (width, height) pixels, centred where letterboxed. Sides of zero
    /// count as one.
    pub fn fit(crop: Crop, input: (usize, usize), fit: Fit) -> Self {
        let crop = Crop { width: crop.width.max(1), height: crop.height.max(1), ..crop };
        let (width, height) = (input.0.max(1), input.1.max(1));
        let content = match fit {
            Fit::Stretch => Crop { x: 0, y: 0, width, height },
            Fit::Letterbox => {
                let scale = (width as f64 / crop.width as f64).min(height as f64 / crop.height as f64);
                let fitted =
                    |side: usize, limit: usize| ((side as f64 * scale).round() as usize).clamp(1, limit);
                let (w, h) = (fitted(crop.width, width), fitted(crop.height, height));
                Crop { x: (width - w) / 2, y: (height - h) / 2, width: w, height: h }
            }
        };
        Self { crop, input: (width, height), content }
    }
}

/// What the resampling tables depend on.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Key {
    size: (usize, usize),
    format: PixelFormat,
    color: Color,
    crop: Crop,
}

/// How one plane is read: its weights and where its components lie in the three component lines.
#[derive(Debug)]
struct PlanePlan {
    plane: usize,
    rows: Axis,
    columns: Axis,
    /// Bytes from one sample to the next: 1, 2 (NV12's chroma) or 3 (RGB).
    step: usize,
    /// The component line that the plane's first byte belongs to.
    component: usize,
}

#[derive(Debug)]
struct Plan {
    key: Key,
    geometry: Geometry,
    planes: Vec<PlanePlan>,
    /// Rows give R, G, B in 0..1 from (first, second, third component in 0..=255, 1).
    to_rgb: [[f32; 4]; 3],
}

/// Prepares pictures for one network. Keeps its tables and line buffers between calls.
#[derive(Debug)]
pub struct Preprocessor {
    size: (usize, usize),
    fit: Fit,
    /// Per colour (R, G, B): which channel of the input it is, factor and offset from 0..1.
    channels: [(usize, f32, f32); 3],
    pad: [f32; 3],
    plan: Option<Plan>,
    sum: Vec<f32>,
    lines: [Vec<f32>; 3],
}

impl Preprocessor {
    /// A preprocessor for a network's input.
    ///
    /// # Errors
    /// [`Error::Model`] if the size is zero or above [`MAX_INPUT_SIDE`], or a standard deviation is zero or
    /// not finite.
    pub fn new(spec: &InputSpec) -> Result<Self> {
        let wrong = |detail: String| Error::Model { model: format!("input {}", spec.name), detail };
        let sides = 1..=MAX_INPUT_SIDE;
        if !sides.contains(&spec.width) || !sides.contains(&spec.height) {
            return Err(wrong(format!(
                "{} x {} is not within 1..={MAX_INPUT_SIDE}",
                spec.width, spec.height
            )));
        }
        let usable = |std: &f32| std.is_normal() && *std > 0.0;
        if !spec.std.iter().all(usable) || !spec.mean.iter().all(|mean| mean.is_finite()) {
            return Err(wrong(format!("mean {:?} and std {:?} cannot normalise", spec.mean, spec.std)));
        }
        let mut channels = [(0, 1.0, 0.0); 3];
        let mut pad = [0.0; 3];
        for (color, channel) in channels.iter_mut().enumerate() {
            let index = match spec.color {
                ColorOrder::Rgb => color,
                ColorOrder::Bgr => 2 - color,
            };
            // Mean, deviation and padding are listed in the order of the input's channels.
            *channel = (index, 1.0 / spec.std[index], -spec.mean[index] / spec.std[index]);
            pad[index] = (f32::from(spec.pad[index]) / 255.0 - spec.mean[index]) / spec.std[index];
        }
        Ok(Self {
            size: (spec.width, spec.height),
            fit: spec.fit,
            channels,
            pad,
            plan: None,
            sum: Vec::new(),
            lines: Default::default(),
        })
    }

    /// Fills `out` (3 × height × width, channel by channel) from the part `crop` of `picture`.
    ///
    /// A crop that reaches beyond the picture is cut to it; an empty one stands for the whole picture.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if `out` has another length than the input; [`Error::Media`] for an empty picture.
    pub fn run(&mut self, picture: &Picture, crop: Crop, out: &mut [f32]) -> Result<Geometry> {
        let (width, height) = self.size;
        if out.len() != 3 * width * height {
            return Err(Error::TooLarge {
                what: "the network's input buffer".to_owned(),
                found: format!("{} values", out.len()),
                limit: format!("3 x {height} x {width}"),
            });
        }
        if picture.width() == 0 || picture.height() == 0 {
            return Err(Error::Media { source_name: "picture".to_owned(), detail: "it is empty".to_owned() });
        }
        let key = Key {
            size: (picture.width(), picture.height()),
            format: picture.format(),
            color: picture.color(),
            crop: crop.within(picture.width(), picture.height()),
        };
        let plan = match self.plan.take() {
            Some(plan) if plan.key == key => plan,
            _ => self.plan(key),
        };
        let geometry = plan.geometry;
        fill_padding(out, &geometry, self.pad);
        let mut pass =
            Pass { plan: &plan, channels: self.channels, sum: &mut self.sum, lines: &mut self.lines };
        pass.run(picture, out);
        self.plan = Some(plan);
        Ok(geometry)
    }

    fn plan(&mut self, key: Key) -> Plan {
        let geometry = Geometry::fit(key.crop, self.size, self.fit);
        let content = geometry.content;
        let luma = (key.size.0, key.size.1);
        let planes: Vec<PlanePlan> = (0..key.format.planes())
            .map(|plane| {
                let (step, component) = match (key.format, plane) {
                    (PixelFormat::Rgb24, _) => (3, 0),
                    (PixelFormat::Nv12, 1) => (2, 1),
                    _ => (1, plane),
                };
                let (row_bytes, rows) = key.format.plane_size(plane, luma.0, luma.1);
                let samples = row_bytes / step;
                // Chroma planes that are rounded up cover a fraction of a pixel more than the picture.
                let (fx, fy) =
                    (if samples < luma.0 { 0.5 } else { 1.0 }, if rows < luma.1 { 0.5 } else { 1.0 });
                let axis = |samples, from: usize, extent: usize, factor: f64, cells| {
                    Axis::new(samples, from as f64 * factor, extent as f64 * factor, cells)
                };
                PlanePlan {
                    plane,
                    rows: axis(rows, key.crop.y, key.crop.height, fy, content.height),
                    columns: axis(samples, key.crop.x, key.crop.width, fx, content.width),
                    step,
                    component,
                }
            })
            .collect();
        let widest = planes.iter().map(|plan| span(plan).1).max().unwrap_or(0);
        self.sum.resize(widest + resample::LANES * 2, 0.0);
        for line in &mut self.lines {
            line.resize(content.width, 0.0);
        }
        Plan { key, geometry, planes, to_rgb: to_rgb(key.format, key.color) }
    }
}

impl Crop {
    /// A whole picture.
    pub fn whole(width: usize, height: usize) -> Self {
        Self { x: 0, y: 0, width, height }
    }

    /// The part of the crop that lies inside a picture; the whole picture if there is none.
    pub fn within(self, width: usize, height: usize) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        let (w, h) = (self.width.min(width - x), self.height.min(height - y));
        if w == 0 || h == 0 { Self::whole(width, height) } else { Self { x, y, width: w, height: h } }
    }
}

/// First byte of a row that a plane's columns read, and how many bytes from there.
fn span(plan: &PlanePlan) -> (usize, usize) {
    let (first, end) = plan.columns.reach();
    (first * plan.step, (end - first) * plan.step)
}

/// Writes the padding colour everywhere outside the content.
fn fill_padding(out: &mut [f32], geometry: &Geometry, pad: [f32; 3]) {
    let (width, height) = geometry.input;
    let content = geometry.content;
    for (plane, pad) in out.chunks_exact_mut(width * height).zip(pad) {
        plane[..content.y * width].fill(pad);
        plane[(content.y + content.height) * width..].fill(pad);
        if content.width < width {
            for row in plane.chunks_exact_mut(width).skip(content.y).take(content.height) {
                row[..content.x].fill(pad);
                row[content.x + content.width..].fill(pad);
            }
        }
    }
}

/// One run over a picture; borrows everything, allocates nothing.
struct Pass<'a> {
    plan: &'a Plan,
    channels: [(usize, f32, f32); 3],
    sum: &'a mut [f32],
    lines: &'a mut [Vec<f32>; 3],
}

impl Pass<'_> {
    fn run(&mut self, picture: &Picture, out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor was just found to have AVX2, the only thing that the callee asks for.
            return unsafe { self.run_avx2(picture, out) };
        }
        self.rows(picture, out);
    }

    /// The same loops, compiled for wider registers (rustc's baseline for x86-64 is SSE2).
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2")]
    fn run_avx2(&mut self, picture: &Picture, out: &mut [f32]) {
        self.rows(picture, out);
    }

    #[inline(always)]
    fn rows(&mut self, picture: &Picture, out: &mut [f32]) {
        for y in 0..self.plan.geometry.content.height {
            for plane in &self.plan.planes {
                self.plane_row(plane, picture.plane(plane.plane), y);
            }
            self.color_row(y, out);
        }
    }

    /// One output row of one plane: weigh the source rows together, then their columns.
    #[inline(always)]
    fn plane_row(&mut self, plan: &PlanePlan, plane: &Plane, y: usize) {
        let (start, bytes) = span(plan);
        let sum = &mut self.sum[..bytes];
        let (first, weights) = plan.rows.cell(y);
        for (i, &weight) in weights.iter().enumerate() {
            let row = &plane.row(first + i)[start..start + bytes];
            match i {
                0 => resample::begin_rows(sum, row, weight),
                _ => resample::add_row(sum, row, weight),
            }
        }
        let origin = plan.columns.reach().0;
        let [first, second, third] = self.lines.each_mut().map(Vec::as_mut_slice);
        let sum = &*self.sum;
        match (plan.step, plan.component) {
            (3, _) => resample::columns_of_three(&plan.columns, sum, origin, [first, second, third]),
            (2, _) => resample::columns_of_two(&plan.columns, sum, origin, [second, third]),
            (_, 0) => resample::columns(&plan.columns, sum, origin, first),
            (_, 1) => resample::columns(&plan.columns, sum, origin, second),
            (_, _) => resample::columns(&plan.columns, sum, origin, third),
        }
    }

    /// Colour and normalisation of one row, written to its place in the three channels.
    #[inline(always)]
    fn color_row(&self, y: usize, out: &mut [f32]) {
        let Geometry { input: (width, height), content, .. } = self.plan.geometry;
        let [first, second, third] = &*self.lines;
        let begin = (content.y + y) * width + content.x;
        for (to_rgb, (channel, factor, offset)) in self.plan.to_rgb.iter().zip(self.channels) {
            let out = &mut out[channel * width * height + begin..][..content.width];
            let [a, b, c, d] = *to_rgb;
            for (((out, first), second), third) in out.iter_mut().zip(first).zip(second).zip(third) {
                let value = (a * first + b * second + c * third + d).clamp(0.0, 1.0);
                *out = value * factor + offset;
            }
        }
    }
}

/// The affine map from a format's components (0..=255) to R, G, B in 0..1.
///
/// ITU-R BT.601-7 and BT.709-6: luma coefficients; limited range spans 219 steps of luma, 224 of chroma.
fn to_rgb(format: PixelFormat, color: Color) -> [[f32; 4]; 3] {
    if format == PixelFormat::Rgb24 {
        let k = 1.0 / 255.0;
        return [[k, 0.0, 0.0, 0.0], [0.0, k, 0.0, 0.0], [0.0, 0.0, k, 0.0]];
    }
    let (luma_gain, luma_zero, chroma_gain) = match color.range {
        Range::Limited => (1.0 / 219.0, 16.0, 1.0 / 224.0),
        Range::Full => (1.0 / 255.0, 0.0, 1.0 / 255.0),
    };
    if format == PixelFormat::Gray8 {
        return [[luma_gain, 0.0, 0.0, -luma_zero * luma_gain]; 3];
    }
    let (kr, kb) = color.matrix.luma_coefficients();
    let kg = 1.0 - kr - kb;
    let row = |cb: f32, cr: f32| {
        let (cb, cr) = (cb * chroma_gain, cr * chroma_gain);
        [luma_gain, cb, cr, -luma_zero * luma_gain - 128.0 * (cb + cr)]
    };
    [
        row(0.0, 2.0 * (1.0 - kr)),
        row(-2.0 * (1.0 - kb) * kb / kg, -2.0 * (1.0 - kr) * kr / kg),
        row(2.0 * (1.0 - kb), 0.0),
    ]
}

impl Matrix {
    /// The weights of red and blue in luma (Kr, Kb); green has the rest.
    pub(crate) fn luma_coefficients(self) -> (f32, f32) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
        }
    }
}

#[cfg(test)]
mod tests;

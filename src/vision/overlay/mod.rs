//! Draws findings on a picture's own planes, and the "AI OFF" mark.
//!
//! Marks are opaque: a bright outline with a dark rim on both sides, which reads by luminance alone, and labels
//! on a dark plate. No sample outside the marks changes. Where chroma is subsampled, a chroma sample changes
//! if any pixel of the block that it covers is marked, so colour (never luma) may reach one pixel beyond.
//! Planes that are shared are copied before they are drawn on; a picture without findings is left alone.

mod canvas;
mod font;

use crate::frame::Picture;
use crate::record::Detection;
use canvas::{Canvas, Ink};

/// Most findings drawn on one picture.
pub const MAX_DRAWN: usize = 100;

/// What an outline follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outline {
    /// The finding's polygon, or its box where there is none.
    #[default]
    Polygon,
    /// The finding's box.
    Box,
}

/// How findings are drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct OverlayOptions {
    /// What the outline follows.
    pub outline: Outline,
    /// Whether label, score and track id are written beside the finding.
    pub labels: bool,
    /// Colour of the outline, R, G, B. The default is a bright cyan: no tissue has its hue, and beside the
    /// dark rim it stands out in luminance for every kind of colour vision.
    pub color: [u8; 3],
    /// Factor on thickness and letters, which grow with the picture.
    pub scale: f32,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { outline: Outline::default(), labels: true, color: [0, 230, 255], scale: 1.0 }
    }
}

/// Amber, for "AI OFF".
const WARNING: [u8; 3] = [255, 176, 0];
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];

/// Draws the outline and label of each finding.
pub fn draw(picture: &mut Picture, detections: &[Detection], options: &OverlayOptions) {
    if detections.is_empty() {
        return;
    }
    let pen = Pen::new(picture, options.scale);
    let mut canvas = Canvas::new(picture);
    let (color, black) = (canvas.ink(options.color), canvas.ink(BLACK));
    let drawn = &detections[..detections.len().min(MAX_DRAWN)];
    for (ink, radius) in [(black, pen.radius + pen.rim), (color, pen.radius)] {
        for detection in drawn {
            let outline = outline(detection, options.outline);
            for (i, a) in outline.iter().enumerate() {
                canvas.capsule(*a, outline[(i + 1) % outline.len()], radius, ink);
            }
        }
    }
    if options.labels {
        for detection in drawn {
            label(&mut canvas, &pen, detection);
        }
    }
}

/// Writes a plate "AI OFF" in the top right corner: the picture goes on, but nobody is looking for findings.
pub fn ai_off(picture: &mut Picture) {
    let pen = Pen::new(picture, 1.5);
    let mut canvas = Canvas::new(picture);
    let (plate, letters) = (canvas.ink(WARNING), canvas.ink(BLACK));
    let text = "AI OFF";
    let (width, height) = pen.plate(text);
    let margin = 2 * pen.dot;
    let (x, y) = (canvas.width() - width - margin, margin);
    canvas.rectangle(x - pen.dot, y - pen.dot, width + 2 * pen.dot, height + 2 * pen.dot, letters);
    canvas.rectangle(x, y, width, height, plate);
    pen.write(&mut canvas, text, x + 2 * pen.dot, y + 2 * pen.dot, letters);
}

fn outline(detection: &Detection, outline: Outline) -> Vec<[f32; 2]> {
    let [x, y, w, h] = detection.bbox;
    match (&detection.polygon, outline) {
        (Some(polygon), Outline::Polygon) if !polygon.is_empty() => polygon.clone(),
        _ => vec![[x, y], [x + w, y], [x + w, y + h], [x, y + h]],
    }
}

/// The label's plate: above the box, or below it where there is no room, and always inside the picture.
fn label(canvas: &mut Canvas<'_>, pen: &Pen, detection: &Detection) {
    let mut text = format!("{} {:.2}", detection.label, detection.score);
    if let Some(id) = detection.track_id {
        text.push_str(&format!(" #{id}"));
    }
    let (width, height) = pen.plate(&text);
    let gap = (pen.radius + pen.rim).ceil() as i32;
    let [x, y, _, h] = detection.bbox;
    let inside = |at: f32, end: i32| at.clamp(0.0, end as f32) as i32;
    let (left, box_top, box_bottom) =
        (inside(x, canvas.width()), inside(y, canvas.height()), inside(y + h, canvas.height()));
    let (above, below) = (box_top - gap - height, box_bottom + gap);
    let top = if above >= 0 || below + height > canvas.height() { above } else { below };
    let left = left.min(canvas.width() - width).max(0);
    let top = top.min(canvas.height() - height).max(0);
    let (plate, letters) = (canvas.ink(BLACK), canvas.ink(WHITE));
    canvas.rectangle(left, top, width, height, plate);
    pen.write(canvas, &text, left + 2 * pen.dot, top + 2 * pen.dot, letters);
}

/// Sizes that follow from the picture's.
struct Pen {
    /// Half the outline's thickness.
    radius: f32,
    /// Width of the dark rim on either side.
    rim: f32,
    /// Size of one dot of a letter.
    dot: i32,
}

impl Pen {
    fn new(picture: &Picture, scale: f32) -> Self {
        let scale = if scale.is_finite() { scale.clamp(0.1, 10.0) } else { 1.0 };
        let unit = picture.width().min(picture.height()) as f32 / 360.0 * scale;
        Self {
            radius: (unit * 0.6).max(0.5),
            rim: (unit * 0.6).max(1.0),
            dot: (unit * 0.8).round().max(1.0) as i32,
        }
    }

    /// Width and height of a text's plate.
    fn plate(&self, text: &str) -> (i32, i32) {
        let letters = text.chars().take(font::MAX_LETTERS).count() as i32;
        let (width, height) = (font::ADVANCE * letters - 1, font::HEIGHT);
        ((width + 4) * self.dot, (height + 4) * self.dot)
    }

    fn write(&self, canvas: &mut Canvas<'_>, text: &str, x: i32, y: i32, ink: Ink) {
        for (index, letter) in text.chars().take(font::MAX_LETTERS).enumerate() {
            let left = x + index as i32 * font::ADVANCE * self.dot;
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let (dx, dy) = (column * self.dot, row as i32 * self.dot);
                    canvas.rectangle(left + dx, y + dy, self.dot, self.dot, ink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;

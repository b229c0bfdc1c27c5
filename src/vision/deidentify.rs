//! Keeps everything outside the endoscope's picture away from viewers and recordings: text panels, time stamps, menus.
//!
//! A picture is withheld as a whole until the same field of view has stood for a while, and whenever something else
//! covers it. What was outside stays black until a larger field of view has stood as long. A picture that fills its
//! frame has no border to tell it by: it is withheld too. Inside what is known, what shows no tissue in a frame is black
//! in it. What a processor writes over the endoscope's picture itself stays, and so does a menu that looks like one, and a
//! grey or white panel that touches it and is higher than a line of text.

use super::fov::{FieldOfView, Shape};
use crate::frame::Picture;

/// Frames that a field of view must have stood before it is shown: a second.
const STEADY_FRAMES: u32 = 30;
/// How much a field of view may differ, as a share of its area, and still be the same.
const SAME: f64 = 0.02;
/// A field of view that grew by more than this share is another one.
const GROWN: f64 = 0.1;

/// Follows the field of view of one stream and blackens what is outside.
#[derive(Debug, Default)]
pub struct Deidentifier {
    field: FieldOfView,
    /// What may be shown.
    allowed: Option<Shape>,
    /// What may be shown once it has stood, and for how many frames it has.
    candidate: Option<(Shape, u32)>,
    /// What was shown of the last picture.
    shown: Option<Shape>,
}

impl Deidentifier {
    /// Nothing known yet: everything is withheld.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next picture of the stream; gives it with everything outside the field of view black, or `None`
    /// where it must not be shown.
    pub fn next(&mut self, picture: &Picture) -> Option<Picture> {
        self.field.update(picture);
        self.shown = self.follow().map(|shape| self.field.seen_of(&shape));
        Some(covered(picture, self.shown.as_ref()?))
    }

    /// What is shown of the last picture; `None` where that is nothing.
    pub fn outline(&self) -> Option<&Shape> {
        self.shown.as_ref()
    }

    /// A picture that was taken a moment ago, as far as it was shown then (in `outline`) and the last one may be now.
    pub fn cover_again(&self, picture: &Picture, outline: &Shape) -> Option<Picture> {
        Some(covered(picture, &self.shown.as_ref()?.intersection(outline)))
    }

    fn follow(&mut self) -> Option<Shape> {
        let Some(shape) = self.field.shape() else {
            self.candidate = None;
            return None;
        };
        if let Some(allowed) = &self.allowed
            && allowed.intersection(shape) == *shape
        {
            self.candidate = None;
            self.allowed = Some(shape.clone());
            return self.allowed.clone();
        }
        let stood = match self.candidate.take() {
            Some((candidate, frames)) if same(&candidate, shape) => {
                (candidate.intersection(shape), frames + 1)
            }
            _ => (shape.clone(), 1),
        };
        if stood.1 >= STEADY_FRAMES {
            self.allowed = Some(stood.0);
            return self.allowed.clone();
        }
        self.candidate = Some(stood);
        let allowed = self.allowed.as_ref()?;
        let both = allowed.intersection(shape);
        let grown = shape.area() as f64 > allowed.area() as f64 * (1.0 + GROWN);
        (!grown && same(&both, allowed)).then_some(both)
    }
}

fn covered(picture: &Picture, outline: &Shape) -> Picture {
    let mut covered = picture.clone();
    outline.black_outside(&mut covered);
    covered
}

/// Whether two shapes differ by no more than edges do from frame to frame.
fn same(a: &Shape, b: &Shape) -> bool {
    let both = a.intersection(b).area() as f64;
    both >= (1.0 - SAME) * a.area().max(b.area()) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Color, PixelFormat, Plane};

    const WIDTH: usize = 360;
    const HEIGHT: usize = 240;

    /// A disc of tissue in black, with `marks` painted over everything; samples in full range would be 0.
    fn picture(format: PixelFormat, marks: impl Fn(usize, usize) -> bool) -> Picture {
        disc(format, 100.0, marks)
    }

    fn disc(format: PixelFormat, radius: f64, marks: impl Fn(usize, usize) -> bool) -> Picture {
        let inside = |x: usize, y: usize| (x as f64 - 220.0).hypot(y as f64 - 120.0) < radius;
        let planes = (0..format.planes()).map(|index| {
            let (bytes, rows) = format.plane_size(index, WIDTH, HEIGHT);
            let across = if format == PixelFormat::Rgb24 { 3 } else { 1 };
            let (dx, dy) = (WIDTH / (bytes / across).max(1), HEIGHT / rows);
            let sample = |at: usize| {
                let (x, y, channel) = (at % bytes / across * dx, at / bytes * dy, at % across);
                let shade = 90 + ((x * 7 + y * 13) % 23) as u8;
                match (format, index) {
                    (PixelFormat::Rgb24, _) if marks(x, y) => 255,
                    (PixelFormat::Rgb24, _) if inside(x, y) => [shade + 90, shade, shade - 20][channel],
                    (PixelFormat::Rgb24, _) => 0,
                    (_, 0) if marks(x, y) => 235,
                    (_, 0) if inside(x, y) => shade,
                    (_, 0) => 16,
                    _ if inside(x, y) => [0, 110, 160][index],
                    _ => 128,
                }
            };
            Plane::from_vec((0..bytes * rows).map(sample).collect(), bytes, rows).unwrap()
        });
        let planes = planes.collect();
        Picture::new(WIDTH, HEIGHT, format, Color::default(), planes).unwrap()
    }

    /// Letters in the corners of the disc's bounding box, and a panel of them beside it.
    fn letters(x: usize, y: usize) -> bool {
        let stroke = x % 6 < 2 && y % 12 < 9;
        stroke && ((12..100).contains(&x) && (20..200).contains(&y) || (x > 290 && !(45..195).contains(&y)))
    }

    #[test]
    fn nothing_is_shown_before_the_field_of_view_has_stood_and_nothing_outside_it_ever() {
        for format in [PixelFormat::Yuv420, PixelFormat::Rgb24] {
            let frame = picture(format, letters);
            let mut stream = Deidentifier::new();
            let shown: Vec<_> = (0..40).map(|_| stream.next(&frame)).collect();
            assert!(shown[..STEADY_FRAMES as usize - 1].iter().all(Option::is_none));
            let covered = shown[39].as_ref().unwrap();
            let (before, after) = (frame.plane(0), covered.plane(0));
            let across = if format == PixelFormat::Rgb24 { 3 } else { 1 };
            let mut kept = 0;
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    let (was, is) = (before.row(y)[x * across], after.row(y)[x * across]);
                    let distance = (x as f64 - 220.0).hypot(y as f64 - 120.0);
                    if distance > 108.0 {
                        assert!(is <= 16, "{format:?} {x},{y}: {is}");
                    }
                    kept += usize::from(distance < 96.0 && was == is);
                }
            }
            assert!(kept as f64 > 0.97 * std::f64::consts::PI * 96.0 * 96.0, "{format:?}: {kept}");
        }
    }

    #[test]
    fn letters_where_a_larger_picture_was_are_black_from_the_first_frame_on() {
        let large = picture(PixelFormat::Yuv420, |_, _| false);
        // Lines of letters in the ring that is free now.
        let small = disc(PixelFormat::Yuv420, 75.0, |x, y| {
            let distance = (x as f64 - 220.0).hypot(y as f64 - 120.0);
            let stroke = x % 6 < 2 || y % 9 < 2;
            stroke && (82.0..98.0).contains(&distance) && !(90..150).contains(&y)
        });
        let mut stream = Deidentifier::new();
        (0..60).for_each(|_| drop(stream.next(&large)));
        for number in 0..700 {
            let Some(shown) = stream.next(&small) else { continue };
            for y in 0..HEIGHT {
                for x in 0..WIDTH {
                    let distance = (x as f64 - 220.0).hypot(y as f64 - 120.0);
                    let luma = shown.plane(0).row(y)[x];
                    assert!(distance < 82.0 || luma <= 16, "frame {number}: {luma} at {x},{y}");
                }
            }
        }
        assert!(stream.next(&small).is_some(), "the smaller picture is shown");
    }

    #[test]
    fn a_menu_and_a_picture_without_border_are_withheld() {
        let (scope, menu) =
            (picture(PixelFormat::Yuv420, |_, _| false), picture(PixelFormat::Yuv420, |_, _| true));
        let mut stream = Deidentifier::new();
        (0..40).for_each(|_| drop(stream.next(&scope)));
        assert!(stream.next(&scope).is_some());
        assert!((0..400).all(|_| stream.next(&menu).is_none()));
        assert!(stream.outline().is_none());
        let back = (0..900).position(|_| stream.next(&scope).is_some());
        assert!(back.is_some(), "it is shown again once it has stood");
    }

    #[test]
    fn a_dark_moment_withholds_nothing() {
        let scope = picture(PixelFormat::Yuv420, |_, _| false);
        let mut dark = scope.clone();
        for plane in dark.planes_mut().iter_mut().take(1) {
            plane.to_mut().0.fill(16);
        }
        dark.planes_mut().iter_mut().skip(1).for_each(|plane| plane.to_mut().0.fill(128));
        let mut stream = Deidentifier::new();
        (0..40).for_each(|_| drop(stream.next(&scope)));
        assert!((0..60).all(|_| stream.next(&dark).is_some()));
        assert!(stream.next(&scope).is_some());
    }
}

//! The look of an endoscopy system: the outline of the picture, the black around it, the text beside it.

use super::noise::Rng;
use super::options::{Options, View};
use super::raster::Spans;

/// Where in the frame the endoscope's picture lies.
#[derive(Debug)]
pub(super) struct FieldOfView {
    /// Rows of the picture.
    pub spans: Spans,
    /// Its middle, in pixels.
    pub centre: [f32; 2],
    /// Distance from the middle to the farthest point, in pixels.
    pub reach: f32,
    /// Left edge of its bounding box, in pixels: room for text.
    pub left: usize,
}

impl FieldOfView {
    pub(super) fn new(options: &Options) -> Self {
        let (width, height) = (options.width as f32, options.height as f32);
        let mut rng = Rng::new(options.seed, "look");
        let drawn = [View::Octagon, View::Octagon, View::Circle, View::Full][rng.below(4)];
        let view = options.view.unwrap_or(drawn);
        let half_h = 0.5 * height * if view == View::Circle { 0.985 } else { 0.965 };
        let half_w = match view {
            View::Octagon => 1.13 * half_h,
            View::Circle => 1.17 * half_h,
            View::Full => 0.5 * width * 0.985,
        }
        .min(0.5 * width * 0.985);
        // Beside a panel the picture stands to the right of the middle.
        let free = width - 2.0 * half_w;
        let shift = if options.panel && free > 0.2 * width { 0.28 * free } else { 0.0 };
        let centre = [0.5 * width + shift, 0.5 * height];
        let half_width_at = |dy: f32| -> f32 {
            let dy = dy.abs();
            if dy > half_h {
                return 0.0;
            }
            match view {
                View::Octagon => {
                    let cut = 0.42 * half_h;
                    half_w - (dy - (half_h - cut)).max(0.0)
                }
                View::Circle => (half_w * half_w - dy * dy).max(0.0).sqrt(),
                View::Full => {
                    let corner = 0.2 * half_h;
                    let over = (dy - (half_h - corner)).max(0.0);
                    half_w - corner + (corner * corner - over * over).max(0.0).sqrt()
                }
            }
        };
        let spans: Spans = (0..options.height)
            .map(|y| {
                let half = half_width_at(y as f32 + 0.5 - centre[1]);
                let start = (centre[0] - half).round().clamp(0.0, width) as usize;
                let end = (centre[0] + half).round().clamp(0.0, width) as usize;
                (start, end.max(start))
            })
            .collect();
        let reach = match view {
            View::Octagon => half_w.hypot(half_h - 0.42 * half_h).max((half_w - 0.42 * half_h).hypot(half_h)),
            View::Circle => half_w,
            View::Full => half_w.hypot(half_h) - 0.08 * half_h,
        };
        let left = spans.iter().filter(|(a, b)| a < b).map(|(a, _)| *a).min().unwrap_or(0);
        Self { spans, centre, reach, left }
    }

    /// Number of pixels.
    pub(super) fn area(&self) -> usize {
        self.spans.iter().map(|(start, end)| end - start).sum()
    }
}

/// Writes the panel's lines into a luma plane, if there is room left of the picture.
pub(super) fn draw_panel(luma: &mut [u8], width: usize, field: &FieldOfView, lines: &[String]) {
    const COLUMNS: usize = 12;
    let height = luma.len() / width.max(1);
    let dot = (height / 360).max(1);
    let margin = 8 * dot;
    if field.left < 2 * margin + COLUMNS * 6 * dot {
        return;
    }
    for (row, line) in lines.iter().enumerate() {
        for (column, letter) in line.chars().take(COLUMNS).enumerate() {
            let (x0, y0) = (margin + column * 6 * dot, margin + row * 11 * dot);
            for (dy, bits) in glyph(letter).into_iter().enumerate() {
                for dx in (0..5).filter(|dx| bits & (16 >> dx) != 0) {
                    for y in y0 + dy * dot..(y0 + (dy + 1) * dot).min(height) {
                        let x = x0 + dx * dot;
                        luma[y * width + x..y * width + x + dot].fill(210);
                    }
                }
            }
        }
    }
}

/// Seven rows of five dots for the letters that panels use; others are blank.
fn glyph(letter: char) -> [u8; 7] {
    match letter {
        '0' => [14, 17, 19, 21, 25, 17, 14],
        '1' => [4, 12, 4, 4, 4, 4, 14],
        '2' => [14, 17, 1, 2, 4, 8, 31],
        '3' => [31, 2, 4, 2, 1, 17, 14],
        '4' => [2, 6, 10, 18, 31, 2, 2],
        '5' => [31, 16, 30, 1, 1, 17, 14],
        '6' => [6, 8, 16, 30, 17, 17, 14],
        '7' => [31, 1, 2, 4, 8, 8, 8],
        '8' => [14, 17, 17, 14, 17, 17, 14],
        '9' => [14, 17, 17, 15, 1, 2, 12],
        'A' => [14, 17, 17, 31, 17, 17, 17],
        'D' => [28, 18, 17, 17, 17, 18, 28],
        'E' => [31, 16, 16, 30, 16, 16, 31],
        'I' => [14, 4, 4, 4, 4, 4, 14],
        'N' => [17, 17, 25, 21, 19, 17, 17],
        'O' => [14, 17, 17, 17, 17, 17, 14],
        'P' => [30, 17, 17, 30, 16, 16, 16],
        'R' => [30, 17, 17, 30, 20, 18, 17],
        'S' => [15, 16, 16, 14, 1, 1, 30],
        'T' => [31, 4, 4, 4, 4, 4, 4],
        ':' => [0, 12, 12, 0, 12, 12, 0],
        '.' => [0, 0, 0, 0, 0, 12, 12],
        _ => [0; 7],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outline_lies_in_the_frame() {
        for view in [View::Octagon, View::Circle, View::Full] {
            for (width, height) in [(1280, 720), (1920, 1080), (640, 512), (64, 64), (100, 400)] {
                let options = Options { width, height, view: Some(view), ..Options::default() };
                let field = FieldOfView::new(&options);
                assert_eq!(field.spans.len(), height);
                assert!(field.spans.iter().all(|(a, b)| a <= b && *b <= width));
                assert!(
                    field.area() * 5 > width.min(height) * width.min(height) * 3,
                    "{view:?} {width}x{height}"
                );
            }
        }
    }

    #[test]
    fn the_panel_stays_out_of_the_picture() {
        let options = Options::default();
        let field = FieldOfView::new(&options);
        let mut luma = vec![16; options.width * options.height];
        draw_panel(&mut luma, options.width, &field, &["RENDERED".into(), "00:00:12.345".into()]);
        assert!(luma.contains(&210));
        for (y, (start, end)) in field.spans.iter().enumerate() {
            assert!(luma[y * options.width..][*start..*end].iter().all(|v| *v == 16));
        }
    }
}

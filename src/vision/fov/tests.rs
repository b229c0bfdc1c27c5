use super::*;
use crate::frame::{Color, PixelFormat};
use crate::vision::testing::{FORMATS, Random, noise, picture};

const SIZE: (usize, usize) = (1280, 720);

/// What a processor's output shows.
#[derive(Clone, Copy)]
struct Screen {
    /// The endoscope's picture, an octagon that fills this rectangle.
    view: Crop,
    /// Columns right of this are as dark as the border: a lumen at the edge.
    dark_from: usize,
    /// Luma of the border.
    border: u8,
    /// Whether text, a panel and a thumbnail stand beside the picture.
    panels: bool,
    /// Shifts the texture.
    phase: usize,
}

const SCREEN: Screen = Screen {
    view: Crop { x: 400, y: 20, width: 800, height: 680 },
    dark_from: usize::MAX,
    border: 17,
    panels: true,
    phase: 0,
};

/// Y, Cb, Cr of a pixel.
fn pixel(screen: &Screen, x: usize, y: usize) -> [u8; 3] {
    let view = screen.view;
    if screen.panels {
        // A green panel that touches the picture's cut corner, with a drawing in it.
        if x < 420 && y >= 480 {
            return if (x + y) % 97 < 3 { [60, 110, 110] } else { [140, 130, 70] };
        }
        // A thumbnail, and lines of text up to the picture's edge.
        if (100..200).contains(&x) && (40..140).contains(&y) {
            return [120, 115, 150];
        }
        if x < 402 && (200..330).contains(&y) && y % 30 < 14 && x % 12 < 5 && y % 3 < 2 {
            return [235, 128, 128];
        }
    }
    let border = [screen.border, 128, 128];
    let inside = |at: usize, from: usize, length: usize| (from..from + length).contains(&at);
    if !inside(x, view.x, view.width) || !inside(y, view.y, view.height) || x >= screen.dark_from {
        return border;
    }
    let (dx, dy) = (x - view.x, y - view.y);
    let (to_side, to_end) = (dx.min(view.width - 1 - dx), dy.min(view.height - 1 - dy));
    if to_side + to_end < view.height / 4 {
        return border;
    }
    let texture = (x / 5 + y / 3 + screen.phase * 7) % 60 + (x * y / 800) % 40;
    [90 + texture as u8, 112, 155]
}

fn draw(screen: &Screen, size: (usize, usize), format: PixelFormat) -> Picture {
    picture(size, format, Color::default(), |plane, byte, y| {
        let (row_bytes, rows) = format.plane_size(plane, size.0, size.1);
        let (step, component) = match (format, plane) {
            (PixelFormat::Rgb24, _) => (3, byte % 3),
            (PixelFormat::Nv12, 1) => (2, 1 + byte % 2),
            (_, plane) => (1, plane),
        };
        let [luma, cb, cr] = pixel(screen, byte / step * size.0 / (row_bytes / step), y * size.1 / rows);
        if format != PixelFormat::Rgb24 {
            return [luma, cb, cr][component];
        }
        let (y, cb, cr) = ((f32::from(luma) - 16.0) * 1.164, f32::from(cb) - 128.0, f32::from(cr) - 128.0);
        [y + 1.596 * cr, y - 0.392 * cb - 0.813 * cr, y + 2.017 * cb][component] as u8
    })
}

fn frame(screen: &Screen) -> Picture {
    draw(screen, SIZE, PixelFormat::Yuv420)
}

/// The screen with white marks on it.
fn marked(screen: &Screen, marks: impl Fn(usize, usize) -> bool) -> Picture {
    let mut picture = frame(screen);
    let (samples, stride) = picture.planes_mut()[0].to_mut();
    for (y, line) in samples.chunks_mut(stride).enumerate() {
        for (x, sample) in line.iter_mut().enumerate().take(SIZE.0) {
            if marks(x, y) {
                *sample = 235;
            }
        }
    }
    picture
}

/// Whether `crop` holds all of `view` and at most two cells more on either side.
fn fits(crop: Crop, view: Crop) -> bool {
    let edge = |outer: usize, inner: usize| (outer..=outer + 16).contains(&inner);
    edge(crop.x, view.x)
        && edge(crop.y, view.y)
        && edge(view.x + view.width, crop.x + crop.width)
        && edge(view.y + view.height, crop.y + crop.height)
}

#[test]
fn the_picture_is_found_beside_panel_thumbnail_and_text_in_every_format() {
    for format in FORMATS {
        // Without colour a panel is as good as a picture.
        let screen = Screen { panels: format != PixelFormat::Gray8, ..SCREEN };
        let crop = FieldOfView::still(&draw(&screen, SIZE, format));
        assert!(fits(crop, SCREEN.view), "{format:?}: {crop:?}");
    }
}

#[test]
fn a_picture_without_border_and_an_empty_one_are_taken_whole() {
    let mut random = Random::new(21);
    for format in FORMATS {
        let bright =
            picture((640, 480), format, Color::default(), |_, x, y| 100 + ((x * 7 + y * 3) % 90) as u8);
        assert_eq!(FieldOfView::still(&bright), Crop::whole(640, 480), "{format:?}");
        let black = picture((640, 480), format, Color::default(), |_, _, _| 16);
        assert_eq!(FieldOfView::still(&black), Crop::whole(640, 480), "{format:?}");
        for size in [(1, 1), (2, 3), (5, 400), (400, 5)] {
            let crop = FieldOfView::still(&noise(size, format, Color::default(), &mut random));
            assert!(crop.x + crop.width <= size.0 && crop.y + crop.height <= size.1);
            assert!(crop.width > 0 && crop.height > 0);
        }
    }
    let nothing = Picture::new(
        0,
        0,
        PixelFormat::Rgb24,
        Color::default(),
        vec![crate::frame::Plane::from_vec(vec![], 0, 0).unwrap()],
    );
    assert_eq!(FieldOfView::still(&nothing.unwrap()), Crop::whole(0, 0));
}

#[test]
fn dark_frames_flashes_and_a_dark_lumen_move_nothing() {
    let mut view = FieldOfView::new();
    let known = view.update(&frame(&SCREEN));
    let black =
        picture(SIZE, PixelFormat::Yuv420, Color::default(), |plane, _, _| if plane == 0 { 16 } else { 128 });
    let flash = picture(
        SIZE,
        PixelFormat::Yuv420,
        Color::default(),
        |plane, _, _| if plane == 0 { 235 } else { 128 },
    );
    let lumen = [0, 1, 2].map(|phase| frame(&Screen { dark_from: 900, phase, ..SCREEN }));
    for round in 0..240 {
        assert_eq!(view.update(&lumen[round % 3]), known, "dark lumen, round {round}");
        let disturbance = if round % 2 == 0 { &black } else { &flash };
        assert_eq!(view.update(disturbance), known, "round {round}");
    }
    for round in 0..20 {
        assert_eq!(view.update(&flash), known, "long flash, {round}");
    }
}

#[test]
fn a_lumen_that_was_dark_at_first_is_taken_in_once_it_is_lit() {
    let mut view = FieldOfView::new();
    let first = view.update(&frame(&Screen { dark_from: 900, ..SCREEN }));
    assert!(first.x + first.width < 920);
    let lit = [0, 1, 2].map(|phase| frame(&Screen { phase, ..SCREEN }));
    let crops: Vec<Crop> = (0..40).map(|round| view.update(&lit[round % 3])).collect();
    assert!(fits(*crops.last().unwrap(), SCREEN.view), "{:?}", crops.last());
    assert_eq!(crops.windows(2).filter(|pair| pair[0] != pair[1]).count(), 1, "one step, not many");
}

#[test]
fn another_scope_is_followed_and_another_size_at_once() {
    let mut view = FieldOfView::new();
    view.update(&frame(&SCREEN));
    let other = Screen { view: Crop { x: 100, y: 100, width: 640, height: 560 }, panels: false, ..SCREEN };
    let picture = frame(&other);
    let crops: Vec<Crop> = (0..330).map(|_| view.update(&picture)).collect();
    assert!(fits(*crops.last().unwrap(), other.view), "{:?}", crops.last());
    assert!(crops[60].x <= other.view.x, "the new picture is in soon, before the old place is given up");

    let small = Screen { view: Crop { x: 40, y: 8, width: 240, height: 200 }, panels: false, ..SCREEN };
    let crop = view.update(&draw(&small, (320, 216), PixelFormat::Nv12));
    assert!(fits(crop, small.view), "{crop:?}");
}

#[test]
fn letters_where_the_picture_was_cover_it_and_glints_in_the_dark_do_not() {
    let stroke = |x: usize| x % 16 < 4;
    for panels in [false, true] {
        let scope = Screen { panels, ..SCREEN };
        let dark = Screen { dark_from: 0, ..scope };
        let glints = marked(&dark, |x, y| {
            let near =
                |(left, top): (usize, usize)| (left..left + 8).contains(&x) && (top..top + 8).contains(&y);
            [(704, 304), (904, 200), (648, 504)].into_iter().any(near)
        });
        let name = marked(&dark, |x, y| stroke(x) && (520..760).contains(&x) && (340..368).contains(&y));
        let page = marked(&dark, |x, y| {
            stroke(x) && (440..1160).contains(&x) && (100..620).contains(&y) && y % 40 < 20
        });
        let (scope, dark) = (frame(&scope), frame(&dark));
        let mut view = FieldOfView::new();
        let mut shape = |picture: &Picture| {
            view.update(picture);
            view.shape().cloned()
        };
        let known = shape(&scope).unwrap();
        for round in 0..40 {
            assert_eq!(shape(&dark).as_ref(), Some(&known), "dark, round {round}, panels {panels}");
            assert_eq!(shape(&glints).as_ref(), Some(&known), "glints, round {round}, panels {panels}");
        }
        assert!((0..200).all(|_| shape(&name).is_none()), "a name, panels {panels}");
        assert_eq!(shape(&scope).as_ref(), Some(&known), "the picture is back, panels {panels}");
        assert!((0..400).all(|_| shape(&page).is_none()), "a page, panels {panels}");
    }
}

#[test]
fn a_screen_without_border_covers_a_picture_that_nearly_fills_its_frame() {
    let scope = Screen { view: Crop { x: 24, y: 24, width: 1232, height: 672 }, panels: false, ..SCREEN };
    let menu = picture(
        SIZE,
        PixelFormat::Yuv420,
        Color::default(),
        |plane, _, _| if plane == 0 { 120 } else { 128 },
    );
    let mut view = FieldOfView::new();
    view.update(&frame(&scope));
    assert!(view.shape().is_some());
    let covered = |_| {
        view.update(&menu);
        view.shape().is_none()
    };
    assert!((0..60).all(covered));
}

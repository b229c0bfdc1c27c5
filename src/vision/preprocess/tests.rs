//! Against a plain reference in double precision: every output pixel by its definition, no tables.

use super::*;
use crate::model::manifest::Layout;
use crate::vision::testing::{FORMATS, Random, noise, picture};

fn spec(width: usize, height: usize, fit: Fit) -> InputSpec {
    InputSpec {
        name: "image".to_owned(),
        width,
        height,
        layout: Layout::Nchw,
        color: ColorOrder::Rgb,
        mean: [0.485, 0.456, 0.406],
        std: [0.229, 0.224, 0.225],
        fit,
        pad: [10, 20, 30],
    }
}

/// One component of a picture as a plane of doubles, and its size.
fn component(picture: &Picture, index: usize) -> (Vec<Vec<f64>>, usize, usize) {
    let (plane, offset, step) = match (picture.format(), index) {
        (PixelFormat::Rgb24, i) => (0, i, 3),
        (PixelFormat::Nv12, i @ 1..) => (1, i - 1, 2),
        (_, i) => (i, 0, 1),
    };
    let plane = picture.plane(plane);
    let rows: Vec<Vec<f64>> = (0..plane.rows())
        .map(|y| plane.row(y).iter().skip(offset).step_by(step).map(|&v| f64::from(v)).collect())
        .collect();
    let (width, height) = (rows[0].len(), rows.len());
    (rows, width, height)
}

/// Weight of sample `i` in the cell that covers `start..start + scale`: covered share, or bilinear.
fn weight(i: usize, start: f64, scale: f64, first: f64, last: f64) -> f64 {
    let i = i as f64;
    if scale >= 1.0 {
        ((start + scale).min(i + 1.0) - start.max(i)).max(0.0) / scale
    } else {
        let position = (start + scale / 2.0 - 0.5).clamp(first, last);
        (1.0 - (position - i).abs()).max(0.0)
    }
}

fn resampled(
    picture: &Picture,
    index: usize,
    crop: Crop,
    cell: (usize, usize),
    cells: (usize, usize),
) -> f64 {
    let (rows, width, height) = component(picture, index);
    let (sx, sy) =
        (if width < picture.width() { 0.5 } else { 1.0 }, if height < picture.height() { 0.5 } else { 1.0 });
    let axis = |from: usize, extent: usize, s: f64, samples: usize, cell: usize, cells: usize| -> Vec<f64> {
        let (from, extent) = (from as f64 * s, extent as f64 * s);
        let scale = extent / cells as f64;
        let (first, last) = (from.floor(), ((from + extent).ceil() - 1.0).min(samples as f64 - 1.0));
        let weight = |i| weight(i, from + cell as f64 * scale, scale, first, last);
        (0..samples).map(weight).collect()
    };
    let across = axis(crop.x, crop.width, sx, width, cell.0, cells.0);
    let down = axis(crop.y, crop.height, sy, height, cell.1, cells.1);
    let (mut sum, mut total) = (0.0, 0.0);
    for (row, wy) in rows.iter().zip(&down) {
        for (value, wx) in row.iter().zip(&across) {
            sum += value * wx * wy;
            total += wx * wy;
        }
    }
    sum / total
}

/// R, G, B in 0..1, by the standards' published constants.
fn rgb(components: [f64; 3], format: PixelFormat, color: Color) -> [f64; 3] {
    let [y, cb, cr] = components;
    if format == PixelFormat::Rgb24 {
        return components.map(|c| c / 255.0);
    }
    let (y, cb, cr) = match color.range {
        Range::Limited => ((y - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0),
        Range::Full => (y / 255.0, (cb - 128.0) / 255.0, (cr - 128.0) / 255.0),
    };
    if format == PixelFormat::Gray8 {
        return [y; 3];
    }
    match color.matrix {
        Matrix::Bt601 => [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb],
        Matrix::Bt709 => [y + 1.5748 * cr, y - 0.187_324 * cb - 0.468_124 * cr, y + 1.8556 * cb],
    }
}

/// The largest difference from the reference over the content, and whether the rest is padding.
fn check(picture: &Picture, crop: Crop, spec: &InputSpec) -> Geometry {
    let mut out = vec![f32::NAN; 3 * spec.width * spec.height];
    let geometry = Preprocessor::new(spec).unwrap().run(picture, crop, &mut out).unwrap();
    let content = geometry.content;
    let components = if picture.format() == PixelFormat::Gray8 { 1 } else { 3 };
    for y in 0..spec.height {
        for x in 0..spec.width {
            let inside = (content.x..content.x + content.width).contains(&x)
                && (content.y..content.y + content.height).contains(&y);
            let expected: [f64; 3] = if inside {
                let (cell, cells) = ((x - content.x, y - content.y), (content.width, content.height));
                let mut values = [0.0; 3];
                for (index, value) in values.iter_mut().enumerate().take(components) {
                    *value = resampled(picture, index, geometry.crop, cell, cells);
                }
                rgb(values, picture.format(), picture.color()).map(|v| v.clamp(0.0, 1.0))
            } else {
                spec.pad.map(|pad| f64::from(pad) / 255.0)
            };
            for channel in 0..3 {
                let color = match spec.color {
                    ColorOrder::Rgb => channel,
                    ColorOrder::Bgr if inside => 2 - channel,
                    ColorOrder::Bgr => channel,
                };
                let normalised =
                    (expected[color] - f64::from(spec.mean[channel])) / f64::from(spec.std[channel]);
                let found = out[channel * spec.width * spec.height + y * spec.width + x];
                // Half a step of 8 bits is 0.0087 here; the tables' single precision stays far below.
                assert!(
                    (f64::from(found) - normalised).abs() < 2e-4,
                    "{:?} {:?} crop {crop:?} ({x}, {y}) channel {channel}: {found} against {normalised}",
                    picture.format(),
                    picture.color(),
                );
            }
        }
    }
    geometry
}

#[test]
fn every_format_matrix_and_range_agrees_with_the_reference() {
    let mut random = Random::new(1);
    for format in FORMATS {
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for range in [Range::Limited, Range::Full] {
                let picture = noise((46, 38), format, Color { matrix, range }, &mut random);
                check(&picture, Crop { x: 6, y: 4, width: 36, height: 30 }, &spec(14, 12, Fit::Letterbox));
            }
        }
    }
}

#[test]
fn odd_sizes_crops_and_both_directions_agree_with_the_reference() {
    let mut random = Random::new(2);
    for round in 0..60 {
        let size = (random.between(1, 41), random.between(1, 33));
        let format = FORMATS[round % FORMATS.len()];
        let picture = noise(size, format, Color::default(), &mut random);
        let crop = Crop {
            x: random.between(0, size.0 - 1),
            y: random.between(0, size.1 - 1),
            width: random.between(1, 50),
            height: random.between(1, 50),
        };
        let fit = if round % 2 == 0 { Fit::Letterbox } else { Fit::Stretch };
        check(&picture, crop, &spec(random.between(1, 24), random.between(1, 24), fit));
    }
}

#[test]
fn channels_follow_the_order_that_the_network_wants() {
    let picture = noise((20, 10), PixelFormat::Yuv420, Color::default(), &mut Random::new(3));
    let bgr = InputSpec { color: ColorOrder::Bgr, ..spec(8, 8, Fit::Letterbox) };
    check(&picture, Crop::whole(20, 10), &bgr);
}

#[test]
fn letterboxing_keeps_the_aspect_ratio_and_centres() {
    let wide = Geometry::fit(Crop::whole(1920, 1080), (352, 288), Fit::Letterbox);
    assert_eq!(wide.content, Crop { x: 0, y: 45, width: 352, height: 198 });
    let tall = Geometry::fit(Crop { x: 7, y: 9, width: 100, height: 400 }, (352, 288), Fit::Letterbox);
    assert_eq!(tall.content, Crop { x: 140, y: 0, width: 72, height: 288 });
    let sliver = Geometry::fit(Crop::whole(10_000, 1), (64, 64), Fit::Letterbox);
    assert_eq!(sliver.content, Crop { x: 0, y: 31, width: 64, height: 1 });
    let stretched = Geometry::fit(Crop::whole(1920, 1080), (352, 288), Fit::Stretch);
    assert_eq!(stretched.content, Crop::whole(352, 288));
}

#[test]
fn source_points_survive_the_way_there_and_back() {
    let mut random = Random::new(4);
    for _ in 0..2000 {
        let crop = Crop {
            x: random.between(0, 4000),
            y: random.between(0, 4000),
            width: random.between(1, 4000),
            height: random.between(1, 4000),
        };
        let fit = if random.next() & 1 == 0 { Fit::Letterbox } else { Fit::Stretch };
        let geometry = Geometry::fit(crop, (random.between(1, 1024), random.between(1, 1024)), fit);
        let content = geometry.content;
        assert!(content.width >= 1 && content.x + content.width <= geometry.input.0);
        assert!(content.height >= 1 && content.y + content.height <= geometry.input.1);
        // The content's corners are the crop's, and what lies between is linear.
        let corner = |x: usize, y: usize| geometry.to_source(x as f32, y as f32);
        let near = |(x, y): (f32, f32), ex: f32, ey: f32| (x - ex).abs() < 0.01 && (y - ey).abs() < 0.01;
        assert!(near(corner(content.x, content.y), crop.x as f32, crop.y as f32), "{geometry:?}");
        let (right, bottom) = (content.x + content.width, content.y + content.height);
        let far = ((crop.x + crop.width) as f32, (crop.y + crop.height) as f32);
        assert!(near(corner(right, bottom), far.0, far.1), "{geometry:?}");
        let (u, v) = (random.unit(), random.unit());
        let point = (crop.x as f32 + u * crop.width as f32, crop.y as f32 + v * crop.height as f32);
        let input =
            (content.x as f32 + u * content.width as f32, content.y as f32 + v * content.height as f32);
        assert!(near(geometry.to_source(input.0, input.1), point.0, point.1), "{geometry:?}");
    }
}

#[test]
fn one_preprocessor_follows_pictures_of_changing_size_format_and_crop() {
    let mut preprocessor = Preprocessor::new(&spec(16, 16, Fit::Letterbox)).unwrap();
    let flat = |size, format, luma| {
        picture(size, format, Color::default(), |plane, _, _| if plane == 0 { luma } else { 128 })
    };
    let mut out = vec![0.0; 3 * 16 * 16];
    for (size, format, luma) in [
        ((64, 64), PixelFormat::Yuv420, 100),
        ((9, 9), PixelFormat::Yuv444, 120),
        ((200, 200), PixelFormat::Nv12, 140),
        ((33, 33), PixelFormat::Gray8, 160),
        ((64, 64), PixelFormat::Yuv420, 180),
    ] {
        preprocessor.run(&flat(size, format, luma), Crop::whole(size.0, size.1), &mut out).unwrap();
        let expected = ((f32::from(luma) - 16.0) / 219.0 - 0.485) / 0.229;
        assert!(out[..256].iter().all(|value| (value - expected).abs() < 1e-4), "{format:?}");
    }
}

#[test]
fn impossible_input_is_an_error() {
    let picture = noise((8, 8), PixelFormat::Gray8, Color::default(), &mut Random::new(5));
    let mut preprocessor = Preprocessor::new(&spec(4, 4, Fit::Letterbox)).unwrap();
    assert!(preprocessor.run(&picture, Crop::whole(8, 8), &mut [0.0; 47]).is_err());
    let empty = Picture::new(
        0,
        0,
        PixelFormat::Gray8,
        Color::default(),
        vec![Plane::from_vec(vec![], 0, 0).unwrap()],
    );
    assert!(preprocessor.run(&empty.unwrap(), Crop::whole(0, 0), &mut [0.0; 48]).is_err());
    assert!(Preprocessor::new(&spec(0, 4, Fit::Letterbox)).is_err());
    assert!(Preprocessor::new(&spec(4, MAX_INPUT_SIDE + 1, Fit::Letterbox)).is_err());
    assert!(Preprocessor::new(&InputSpec { std: [1.0, 0.0, 1.0], ..spec(4, 4, Fit::Letterbox) }).is_err());
    assert!(Preprocessor::new(&InputSpec { mean: [f32::NAN; 3], ..spec(4, 4, Fit::Letterbox) }).is_err());
}

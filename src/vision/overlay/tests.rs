use super::*;
use crate::frame::{Color, Matrix, PixelFormat, Plane, Range};
use crate::vision::testing::{FORMATS, Random, noise, picture};

const SIZE: (usize, usize) = (321, 243);

fn finding() -> Detection {
    Detection {
        label: "polyp".to_owned(),
        score: 0.93,
        bbox: [90.0, 100.0, 120.0, 80.0],
        area_px: None,
        polygon: Some(vec![[150.5, 100.0], [210.0, 140.25], [151.0, 180.0], [90.0, 139.0]]),
        track_id: Some(12),
    }
}

fn flat(format: PixelFormat, value: u8) -> Picture {
    picture(SIZE, format, Color::default(), |_, _, _| value)
}

/// Which samples of each plane `mark` sets, found by marking a black and a white picture: what both then agree
/// on was set.
fn marked(format: PixelFormat, mark: impl Fn(&mut Picture)) -> Vec<Vec<bool>> {
    let (mut dark, mut bright) = (flat(format, 0), flat(format, 255));
    mark(&mut dark);
    mark(&mut bright);
    let planes = dark.planes().iter().zip(bright.planes());
    planes
        .map(|(dark, bright)| {
            let rows = (0..dark.rows()).flat_map(|y| dark.row(y).iter().zip(bright.row(y)));
            rows.map(|(dark, bright)| dark == bright).collect()
        })
        .collect()
}

fn samples(plane: &Plane) -> Vec<u8> {
    (0..plane.rows()).flat_map(|y| plane.row(y)).copied().collect()
}

fn distance(p: [f32; 2], outline: &[[f32; 2]]) -> f32 {
    let ends = (0..outline.len()).map(|i| (outline[i], outline[(i + 1) % outline.len()]));
    let to_segment = |(a, b): ([f32; 2], [f32; 2])| {
        let (d, r) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
        let t = ((r[0] * d[0] + r[1] * d[1]) / (d[0] * d[0] + d[1] * d[1])).clamp(0.0, 1.0);
        (r[0] - t * d[0]).hypot(r[1] - t * d[1])
    };
    ends.map(to_segment).fold(f32::INFINITY, f32::min)
}

#[test]
fn luma_changes_on_the_outline_and_the_label_alone() {
    let options = OverlayOptions::default();
    let marks = &marked(PixelFormat::Yuv420, |picture| draw(picture, &[finding()], &options))[0];
    let pen = Pen::new(&flat(PixelFormat::Gray8, 0), 1.0);
    let reach = pen.radius + pen.rim;
    let (plate_width, plate_height) = pen.plate("polyp 0.93 #12");
    let gap = reach.ceil() as i32;
    let outline = finding().polygon.unwrap();
    let mut label = 0;
    for (i, &mark) in marks.iter().enumerate() {
        let (x, y) = (i % SIZE.0, i / SIZE.0);
        let from_outline = distance([x as f32 + 0.5, y as f32 + 0.5], &outline);
        let on_plate = (90..90 + plate_width).contains(&(x as i32))
            && (100 - gap - plate_height..100 - gap).contains(&(y as i32));
        label += usize::from(on_plate && mark);
        if mark {
            assert!(on_plate || from_outline <= reach + 1e-3, "({x}, {y}) is {from_outline} px off");
        } else {
            assert!(!on_plate && from_outline >= reach - 1e-3, "({x}, {y}) is missing");
        }
    }
    assert_eq!(label, (plate_width * plate_height) as usize);
}

#[test]
fn everything_outside_the_marks_stays_and_chroma_keeps_to_their_blocks() {
    for format in FORMATS {
        for (name, mark) in [
            (
                "draw",
                &(|p: &mut Picture| draw(p, &[finding()], &OverlayOptions::default()))
                    as &dyn Fn(&mut Picture),
            ),
            ("ai_off", &ai_off),
        ] {
            let marks = marked(format, mark);
            let before = noise(SIZE, format, Color::default(), &mut Random::new(11));
            let mut after = before.clone();
            mark(&mut after);
            for (index, marks) in marks.iter().enumerate() {
                let (before, after) = (samples(before.plane(index)), samples(after.plane(index)));
                let stray = (0..before.len()).filter(|&i| !marks[i] && before[i] != after[i]).count();
                assert_eq!(stray, 0, "{name} {format:?} plane {index}");
            }
            // A chroma sample is marked exactly if a pixel of its block is.
            let (across, down) = match format {
                PixelFormat::Yuv420 | PixelFormat::Nv12 => (2, 2),
                PixelFormat::Yuv422 => (2, 1),
                PixelFormat::Yuv444 => (1, 1),
                PixelFormat::Gray8 | PixelFormat::Rgb24 => continue,
            };
            let columns = SIZE.0.div_ceil(across);
            let interleaved = if format == PixelFormat::Nv12 { 2 } else { 1 };
            for (i, &mark) in marks[1].iter().enumerate() {
                let (x, y) = (i / interleaved % columns * across, i / interleaved / columns * down);
                let block = (y..(y + down).min(SIZE.1))
                    .flat_map(|y| (x..(x + across).min(SIZE.0)).map(move |x| (x, y)));
                let any = block.into_iter().any(|(x, y)| marks[0][y * SIZE.0 + x]);
                assert_eq!(mark, any, "{name} {format:?} chroma {i}");
            }
        }
    }
}

#[test]
fn the_outline_has_its_colour_in_every_format_and_a_dark_rim() {
    let square = Detection { polygon: None, bbox: [100.0, 60.0, 100.0, 100.0], ..finding() };
    let options = OverlayOptions { color: [0, 230, 255], scale: 4.0, ..OverlayOptions::default() };
    for format in FORMATS {
        for matrix in [Matrix::Bt601, Matrix::Bt709] {
            for range in [Range::Full, Range::Limited] {
                let mut picture = picture(SIZE, format, Color { matrix, range }, |_, _, _| 128);
                draw(&mut picture, std::slice::from_ref(&square), &options);
                let (kr, kb) = if matrix == Matrix::Bt601 { (0.299, 0.114) } else { (0.2126, 0.0722) };
                let luma = (1.0 - kr - kb) * 230.0 + kb * 255.0;
                let expected = match range {
                    Range::Full => luma,
                    Range::Limited => 16.0 + luma * 219.0 / 255.0,
                };
                let black = if range == Range::Full || format == PixelFormat::Rgb24 { 0 } else { 16 };
                let rim = 100 - (Pen::new(&picture, 4.0).radius + 1.0).ceil() as usize;
                if format == PixelFormat::Rgb24 {
                    let row = picture.plane(0).row(110);
                    assert_eq!(row[300..303], [0, 230, 255]);
                    assert_eq!(row[3 * rim..3 * rim + 3], [0, 0, 0]);
                    continue;
                }
                let row = picture.plane(0).row(110);
                assert!((f64::from(row[100]) - expected).abs() <= 0.5, "{format:?} {matrix:?} {range:?}");
                assert_eq!(row[rim], black);
                if format == PixelFormat::Yuv444 {
                    let scale = if range == Range::Full { 1.0 } else { 224.0 / 255.0 };
                    let cb = 128.0 + scale * (255.0 - luma) / (2.0 - 2.0 * kb);
                    assert!((f64::from(picture.plane(1).row(110)[100]) - cb).abs() <= 0.5);
                }
            }
        }
    }
}

#[test]
fn shared_planes_are_copied_and_an_empty_list_touches_nothing() {
    let original = noise(SIZE, PixelFormat::Yuv420, Color::default(), &mut Random::new(12));
    let before: Vec<_> = original.planes().iter().map(samples).collect();
    let mut copy = original.clone();
    draw(&mut copy, &[], &OverlayOptions::default());
    assert_eq!(copy.plane(0).bytes().as_ptr(), original.plane(0).bytes().as_ptr(), "nothing was copied");
    draw(&mut copy, &[finding()], &OverlayOptions::default());
    assert_eq!(original.planes().iter().map(samples).collect::<Vec<_>>(), before);
    assert_ne!(samples(copy.plane(0)), before[0]);
}

#[test]
fn labels_stay_inside_the_picture() {
    for bbox in [[0.0, 0.0, 30.0, 20.0], [300.0, 0.0, 21.0, 243.0], [280.0, 230.0, 41.0, 13.0]] {
        let corner = Detection { bbox, polygon: None, ..finding() };
        let with = marked(PixelFormat::Gray8, |p| {
            draw(p, std::slice::from_ref(&corner), &OverlayOptions::default())
        });
        let pen = Pen::new(&flat(PixelFormat::Gray8, 0), 1.0);
        let (width, height) = pen.plate("polyp 0.93 #12");
        let whole_plate = (0..SIZE.1 as i32 - height + 1).any(|y| {
            (0..SIZE.0 as i32 - width + 1).any(|x| {
                (y..y + height).all(|y| (x..x + width).all(|x| with[0][y as usize * SIZE.0 + x as usize]))
            })
        });
        assert!(whole_plate, "{bbox:?}");
    }
}

#[test]
fn impossible_findings_and_tiny_pictures_do_no_harm() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -1e9, 0.0];
    for size in [(1, 1), (3, 2), (64, 5)] {
        for format in FORMATS {
            let mut picture = noise(size, format, Color::default(), &mut Random::new(13));
            for value in odd {
                let bad = Detection {
                    label: "ünbekannt".repeat(50),
                    bbox: [value; 4],
                    polygon: Some(vec![[value, 1.0], [2.0, value], [0.0, 0.0]]),
                    ..finding()
                };
                draw(&mut picture, &[bad], &OverlayOptions { scale: value, ..OverlayOptions::default() });
            }
            ai_off(&mut picture);
        }
    }
}

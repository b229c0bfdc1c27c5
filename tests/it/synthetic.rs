//! The rendered colonoscopy: the same bytes whenever and however it is rendered, and masks that are true.

use endort::Error;
use endort::cancel::Cancel;
use endort::frame::Picture;
use endort::source::Source;
use endort::source::synthetic::{Options, Rendered, Renderer, Synthetic, View};

const SIZE: (usize, usize) = (320, 240);

fn renderer(seed: u64, polyps: bool) -> Renderer {
    let options = Options {
        width: SIZE.0,
        height: SIZE.1,
        seed,
        polyps,
        view: Some(View::Octagon),
        panel: false,
        ..Options::default()
    };
    Renderer::new(options).unwrap()
}

fn bytes(picture: &Picture) -> Vec<u8> {
    picture.planes().iter().flat_map(|plane| plane.bytes().to_vec()).collect()
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn equal_options_give_equal_bytes_whatever_the_order_and_the_threads() {
    let run = |threads, frames: [u64; 3]| {
        with_threads(threads, || {
            let renderer = renderer(4, true);
            let mut out = frames.map(|n| (n, renderer.render(n).unwrap()));
            out.sort_by_key(|(n, _)| *n);
            out.map(|(_, Rendered { picture, labels, .. })| (bytes(&picture), labels))
        })
    };
    let one = run(1, [0, 47, 300]);
    assert!(one == run(3, [300, 0, 47]));
    assert!(one[0] != one[1]);
    assert!(one[0].0 != bytes(&renderer(5, true).picture(0).unwrap()));
}

#[test]
fn any_number_of_frames_can_be_asked_for() {
    for frames in [u64::MAX.to_string(), (1_u64 << 60).to_string()] {
        let source = Synthetic::from_spec(&format!("synthetic:64x64@1,frames={frames}")).unwrap();
        assert_eq!(source.info().frames, Some(frames.parse().unwrap()));
    }
}

/// Marks everything within `reach` pixels of a labelled pixel.
fn dilated(labels: &[u8], reach: i64) -> Vec<bool> {
    let (width, height) = (SIZE.0 as i64, SIZE.1 as i64);
    let spread = |from: &[bool], dx: i64, dy: i64| -> Vec<bool> {
        (0..width * height)
            .map(|i| {
                let (x, y) = (i % width, i / width);
                (-reach..=reach).any(|k| {
                    let (x, y) = (x + k * dx, y + k * dy);
                    (0..width).contains(&x) && (0..height).contains(&y) && from[(y * width + x) as usize]
                })
            })
            .collect()
    };
    let seed: Vec<bool> = labels.iter().map(|label| *label != 0).collect();
    spread(&spread(&seed, 1, 0), 0, 1)
}

#[test]
fn taking_the_polyps_away_changes_pixels_inside_and_near_the_masks_alone() {
    let (with, without) = (renderer(2, true), renderer(2, false));
    let mut covered = 0;
    for number in [0, 90, 420] {
        let (one, other) = (with.render(number).unwrap(), without.render(number).unwrap());
        assert!(other.polyps.is_empty() && other.labels.iter().all(|label| *label == 0));
        // The wall around a foot is shaded as well, up to some tenths of the polyp's own width.
        let widest = one.polyps.iter().map(|p| p.bbox[2].max(p.bbox[3])).max().unwrap_or(0);
        let near = dilated(&one.labels, 4 + widest as i64 / 2);
        let (a, b) = (one.picture.plane(0), other.picture.plane(0));
        let (mut inside, mut changed) = (0, 0);
        for (i, (x, y)) in a.bytes().iter().zip(b.bytes()).enumerate() {
            let differs = x.abs_diff(*y) > 0;
            assert!(!differs || near[i], "frame {number}: pixel {} {}", i % SIZE.0, i / SIZE.0);
            if one.labels[i] != 0 {
                inside += 1;
                changed += usize::from(differs);
            }
        }
        assert!(changed * 10 >= inside * 7, "frame {number}: {changed} of {inside} pixels of polyps differ");
        covered += inside;
    }
    assert!(covered > 500, "{covered}");
}

#[test]
fn what_is_said_of_a_polyp_fits_its_labels() {
    let frame = renderer(2, true).render(90).unwrap();
    assert!(frame.polyps.iter().any(|polyp| polyp.noticeable));
    for polyp in &frame.polyps {
        let pixels: Vec<(usize, usize)> = (0..SIZE.0 * SIZE.1)
            .filter(|&i| frame.labels[i] == polyp.id)
            .map(|i| (i % SIZE.0, i / SIZE.0))
            .collect();
        assert_eq!(pixels.len(), polyp.area_px);
        assert!(polyp.visibility > 0.0 && polyp.visibility <= 1.0);
        let [x, y, w, h] = polyp.bbox;
        assert!(pixels.iter().all(|(px, py)| (x..x + w).contains(px) && (y..y + h).contains(py)));
        for [px, py] in polyp.polygons.iter().flatten() {
            assert!((x as f32..=(x + w) as f32).contains(px) && (y as f32..=(y + h) as f32).contains(py));
        }
    }
    let shown = frame.polyps.iter().filter(|p| p.noticeable).map(|p| p.area_px).sum::<usize>();
    assert_eq!(frame.mask().iter().filter(|value| **value == 255).count(), shown);
}

#[test]
fn the_source_numbers_and_times_its_frames_and_ends() {
    let mut source = Synthetic::from_spec("synthetic:96x64@30000/1001,frames=2,seed=3").unwrap();
    assert_eq!((source.info().width, source.info().height, source.info().frames), (96, 64, Some(2)));
    let mut stamps = Vec::new();
    while let Some(frame) = source.next().unwrap() {
        stamps.push((frame.id.0, frame.pts.as_ms()));
    }
    assert_eq!(stamps.len(), 2);
    assert!((stamps[1].1 - 1001.0 / 30.0).abs() < 1e-9, "{stamps:?}");

    let cancel = Cancel::new();
    let options = Options::from_spec("synthetic:96x64@30,loop=off").unwrap();
    let mut source = Synthetic::open(options, &cancel).unwrap();
    assert!(source.next().unwrap().is_some());
    cancel.cancel();
    assert!(matches!(source.next(), Err(Error::Cancelled)));
}

#[test]
fn an_endless_source_goes_to_and_fro_over_its_first_two_seconds() {
    let mut source = Synthetic::from_spec("synthetic:96x64@5").unwrap();
    let played: Vec<_> = (0..40).map(|_| bytes(&source.next().unwrap().unwrap().picture)).collect();
    // Ten frames: 0 to 9, back to 1, and again.
    assert!(
        played[10] == played[8]
            && played[17] == played[1]
            && played[18] == played[0]
            && played[27] == played[9]
    );
    assert!(played[9] != played[8]);
    let mut fresh = Synthetic::from_spec("synthetic:96x64@5,frames=10").unwrap();
    let rendered: Vec<_> = std::iter::from_fn(|| fresh.next().unwrap()).collect();
    assert!(rendered.len() == 10 && bytes(&rendered[9].picture) == played[9]);
}

#[test]
fn odd_and_small_sizes_are_rendered() {
    for (width, height, view) in [(65, 67, View::Octagon), (101, 64, View::Circle), (64, 333, View::Full)] {
        let options = Options { width, height, view: Some(view), ..Options::default() };
        let picture = Renderer::new(options).unwrap().picture(1).unwrap();
        assert_eq!((picture.width(), picture.height()), (width, height));
        assert!(picture.plane(0).bytes().iter().any(|luma| *luma > 60));
    }
}

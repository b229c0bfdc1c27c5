//! Time per frame of each step around the network: `cargo bench --bench vision`.
//!
//! One thread, a rendered octagon with moving texture, a network input of 352 × 288 and a mask of 88 × 72 cells
//! with three findings. Prints median and P99 (nearest rank) in milliseconds.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use endort::frame::{Color, Picture, PixelFormat, Plane};
use endort::model::Manifest;
use endort::runtime::HostTensor;
use endort::vision::fov::FieldOfView;
use endort::vision::overlay::{self, OverlayOptions};
use endort::vision::postprocess::Postprocessor;
use endort::vision::preprocess::Preprocessor;
use endort::vision::track::{TrackOptions, Tracker};

const WARM_UP: usize = 20;
const ROUNDS: usize = 300;

fn main() {
    println!("{:<34} {:>10} {:>10}", "step", "median ms", "p99 ms");
    for (width, height) in [(1280, 720), (1920, 1080)] {
        println!("{width} x {height}");
        frame_size(width, height);
    }
}

fn frame_size(width: usize, height: usize) {
    let manifest = manifest();
    let pictures: Vec<Picture> =
        (0..4).map(|phase| scene(width, height, PixelFormat::Yuv420, phase)).collect();
    let mut view = FieldOfView::new();
    let crop = view.update(&pictures[0]);
    measure("field of view", |round| {
        black_box(view.update(&pictures[round % 4]));
    });

    let mut input = vec![0.0; 3 * manifest.input.width * manifest.input.height];
    for format in [
        PixelFormat::Yuv420,
        PixelFormat::Nv12,
        PixelFormat::Yuv422,
        PixelFormat::Yuv444,
        PixelFormat::Rgb24,
        PixelFormat::Gray8,
    ] {
        let pictures: Vec<Picture> = (0..4).map(|phase| scene(width, height, format, phase)).collect();
        let mut preprocessor = Preprocessor::new(&manifest.input).unwrap();
        measure(&format!("preprocess {format:?}"), |round| {
            black_box(preprocessor.run(&pictures[round % 4], crop, &mut input).unwrap());
        });
    }

    let mut preprocessor = Preprocessor::new(&manifest.input).unwrap();
    let geometry = preprocessor.run(&pictures[0], crop, &mut input).unwrap();
    let outputs = [logits(88, 72)];
    let mut postprocessor = Postprocessor::new(&manifest).unwrap();
    let findings = postprocessor.run(&outputs, &geometry, width, height).unwrap();
    measure(&format!("postprocess, {} findings", findings.detections.len()), |_| {
        black_box(postprocessor.run(&outputs, &geometry, width, height).unwrap());
    });
    let map = findings.map.unwrap();
    measure("mask at the source's size", |_| {
        black_box(map.rasterize(width, height));
    });

    let mut tracker = Tracker::new(TrackOptions::default());
    let mut detections = findings.detections;
    measure("track", |_| tracker.update(&mut detections, Duration::from_millis(33)));

    let options = OverlayOptions::default();
    let mut owned = scene(width, height, PixelFormat::Yuv420, 0);
    measure("overlay, planes owned", |_| overlay::draw(&mut owned, &detections, &options));
    measure("overlay, planes shared (copied)", |round| {
        let mut picture = pictures[round % 4].clone();
        overlay::draw(&mut picture, &detections, &options);
        black_box(picture);
    });
}

/// Runs a step and prints its median and P99.
fn measure(step: &str, mut run: impl FnMut(usize)) {
    (0..WARM_UP).for_each(&mut run);
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let begin = Instant::now();
            run(round);
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let rank = |share: f64| times[(share * ROUNDS as f64).ceil() as usize - 1];
    println!("{step:<34} {:>10.3} {:>10.3}", rank(0.5), rank(0.99));
}

/// An octagon of moving texture on black.
fn scene(width: usize, height: usize, format: PixelFormat, phase: usize) -> Picture {
    let planes = (0..format.planes()).map(|index| {
        let (bytes, rows) = format.plane_size(index, width, height);
        let samples = |i: usize| {
            let (x, y) = (i % bytes * width / bytes, i / bytes * height / rows);
            let (dx, dy) = (x.abs_diff(width / 2), y.abs_diff(height / 2));
            let inside = dx < height * 3 / 5 && dx + dy < height * 9 / 10;
            match (inside, index) {
                (true, 0) => 90 + ((x / 7 + y / 5 + 11 * phase) % 97) as u8,
                (true, _) => 118 + ((x / 9 + phase) % 31) as u8,
                (false, 0) => 16,
                (false, _) => 128,
            }
        };
        Plane::from_vec((0..bytes * rows).map(samples).collect(), bytes, rows).unwrap()
    });
    Picture::new(width, height, format, Color::default(), planes.collect()).unwrap()
}

/// Three soft discs.
fn logits(width: usize, height: usize) -> HostTensor {
    let discs = [(25.0, 20.0, 9.0), (60.0, 40.0, 12.0), (30.0, 55.0, 6.0)];
    let value = |i: usize| {
        let (x, y) = ((i % width) as f32, (i / width) as f32);
        discs.iter().map(|&(cx, cy, r): &(f32, f32, f32)| r - (x - cx).hypot(y - cy)).fold(-8.0, f32::max)
    };
    HostTensor {
        name: "mask".to_owned(),
        shape: vec![1, 1, height, width],
        data: (0..width * height).map(value).collect(),
    }
}

fn manifest() -> Manifest {
    serde_json::from_value(serde_json::json!({
        "schema": 1, "name": "bench", "task": "segmentation", "artifact": "none.onnx",
        "input": {"name": "image", "width": 352, "height": 288,
                  "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "outputs": [{"name": "mask", "kind": "mask"}],
        "labels": ["polyp"],
    }))
    .unwrap()
}

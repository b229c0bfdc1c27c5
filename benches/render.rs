//! Time per frame of the rendered colonoscopy, on one thread and on all: `cargo bench --bench render`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops where it cannot go on"
)]

use std::hint::black_box;
use std::time::Instant;

use endort::source::synthetic::{Options, Renderer};

const ROUNDS: u64 = 40;
/// Frames between two that are timed: the camera moves on, and the scene changes.
const STRIDE: u64 = 23;

fn main() {
    println!("{:<12} {:>8} {:>12} {:>12} {:>8}", "size", "threads", "set-up ms", "median ms", "fps");
    for (width, height) in [(640, 360), (1280, 720), (1920, 1080)] {
        for threads in [1, std::thread::available_parallelism().map_or(1, usize::from)] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| measure(width, height, threads));
        }
    }
}

fn measure(width: usize, height: usize, threads: usize) {
    let started = Instant::now();
    let renderer = Renderer::new(Options { width, height, ..Options::default() }).unwrap();
    let set_up = started.elapsed().as_secs_f64() * 1e3;
    let mut times: Vec<f64> = (0..ROUNDS)
        .map(|round| {
            let started = Instant::now();
            black_box(renderer.picture(round * STRIDE).unwrap());
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    let size = format!("{width}x{height}");
    println!("{size:<12} {threads:>8} {set_up:>12.0} {median:>12.1} {:>8.1}", 1e3 / median);
}

//! Frames that a program pushes itself: start, add frames, get results, stop.
//!
//! ```text
//! cargo run --release --example stream_processor -- samples/colonoscopy-720p30.mp4
//! ```
//!
//! Frames are pushed at the recording's own pace, so that the newest wins where the model is too slow.

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::sync::Arc;
use std::time::Duration;

use endort::Result;
use endort::cancel::Cancel;
use endort::frame::Moment;
use endort::model::Package;
use endort::pipeline::FrameProcessor;
use endort::pipeline::clock::{Clock, RealClock};
use endort::pipeline::processor::{Analyzer, PassThrough, ProcessorOptions};
use endort::pipeline::stream::{StreamEvent, StreamOptions, StreamProcessor};
use endort::runtime;
use endort::source::{self, OpenOptions};

/// The model's processor, or one that lets frames pass for the model `none`.
fn analyzer(model: &str) -> Result<Box<dyn Analyzer>> {
    if model == "none" {
        return Ok(Box::new(PassThrough));
    }
    let package = Package::open(model)?;
    let engine = runtime::open(&package, &runtime::Options::default())?;
    let options = ProcessorOptions { video: true, ..ProcessorOptions::default() };
    Ok(Box::new(FrameProcessor::new(package.manifest, engine, options)?))
}

fn show(event: StreamEvent) {
    match event {
        StreamEvent::Result(result) => {
            let record = &result.record;
            println!(
                "frame {:>4}: {} finding(s), {:.1} ms",
                record.frame_id,
                record.detections.len(),
                record.processing_time_ms
            );
        }
        StreamEvent::Dropped(id) => println!("frame {id:>4}: dropped, a newer one was there"),
        StreamEvent::NotAnalysed(id) => println!("frame {id:>4}: not analysed"),
    }
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let spec = arguments.next().unwrap_or_else(|| "synthetic:1280x720@30,frames=90".to_owned());
    let model = arguments.next().unwrap_or_else(|| "polyp-lite".to_owned());

    let (clock, cancel) = (Arc::new(RealClock::new()), Cancel::new());
    let mut source = source::open(&spec, &OpenOptions::default(), &cancel)?;
    let stream = StreamProcessor::start(analyzer(&model)?, StreamOptions::default(), clock.clone())?;
    let start = clock.now();
    while let Some(frame) = source.next()? {
        let due = Moment(start.0 + Duration::from_secs_f64(frame.pts.as_ms().max(0.0) / 1e3));
        clock.sleep_until(due, &cancel);
        if !stream.add_frame(frame) {
            break;
        }
        while let Some(event) = stream.get_result(Duration::ZERO) {
            show(event);
        }
    }
    while let Some(event) = stream.get_result(Duration::from_millis(500)) {
        show(event);
    }
    let report = stream.stop()?;
    let latency = report.latency.summary();
    println!(
        "{} analysed, {} dropped, latency average {:.1} ms, P99 {:.1} ms, {} violation(s)",
        report.analysed, report.dropped, latency.avg, latency.p99, report.violations
    );
    Ok(())
}

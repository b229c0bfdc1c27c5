//! One picture in, its findings out.
//!
//! ```text
//! cargo run --release --example frame_processor -- samples/ground-truth/images/*.jpg
//! ```

#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::path::Path;

use endort::Result;
use endort::frame::Frame;
use endort::model::Package;
use endort::pipeline::processor::ProcessorOptions;
use endort::pipeline::{Analyzer, FrameProcessor};
use endort::runtime;
use endort::source::picture;

fn main() -> Result<()> {
    let package = Package::open("polyp-lite")?;
    let engine = runtime::open(&package, &runtime::Options::default())?;
    let mut processor = FrameProcessor::new(package.manifest, engine, ProcessorOptions::default())?;
    for path in std::env::args().skip(1) {
        let frame = Frame::still(path.as_str(), picture::decode_file(Path::new(&path), &path)?);
        let analysis = processor.analyze(&frame)?;
        println!("{path}: {:.1} ms", analysis.inference.as_secs_f64() * 1e3);
        for finding in &analysis.findings.detections {
            println!("  {} {:.2} at {:?}", finding.label, finding.score, finding.bbox);
        }
    }
    Ok(())
}

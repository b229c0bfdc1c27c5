//! `POST /video/process-frame`: one picture, its record, or the picture with its findings drawn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::multipart;
use super::{Asked, Reply};
use crate::error::{Error, Result};
use crate::frame::{Frame, FrameId};
use crate::pipeline::processor::PassThrough;
use crate::pipeline::{Analysis, Analyzer};
use crate::record::FrameRecord;
use crate::server::Shared;
use crate::server::models::NONE;
use crate::server::problem::Problem;
use crate::server::routes;
use crate::sink::picture::{JPEG_QUALITY, encode_jpeg};
use crate::source::picture;
use crate::vision::overlay::{self, OverlayOptions};

/// The source's name in records.
const SOURCE: &str = "upload";
/// Longest header that common clients take; outlines are left out of longer records.
const MAX_HEADER: usize = 32 << 10;

pub(super) fn process(asked: &Asked, shared: &Arc<Shared>) -> Reply {
    match try_process(asked, shared) {
        Ok(reply) => reply,
        Err(problem) => problem.into(),
    }
}

fn try_process(asked: &Asked, shared: &Arc<Shared>) -> Result<Reply, Problem> {
    let refuse = |refusal: crate::server::front::Refusal| *refusal.problem;
    routes::only(&asked.query, &["model", "frame_id"]).map_err(refuse)?;
    let model = routes::query(&asked.query, "model").map_err(refuse)?;
    let model = model.unwrap_or_else(|| shared.models.default_name().to_owned());
    let frame_id = match routes::query(&asked.query, "frame_id").map_err(refuse)? {
        Some(text) => text.parse().map_err(|_| Problem::new(400, "frame_id must be a whole number"))?,
        None => 0,
    };
    let encoded = match multipart::boundary(&asked.content_type) {
        Some(boundary) => multipart::field(&asked.body, boundary, "file")
            .ok_or_else(|| Problem::new(400, "the form has no field \"file\""))?,
        None => &asked.body,
    };
    if encoded.is_empty() {
        return Err(Problem::new(400, "send a picture as the body, or as the field \"file\" of a form"));
    }
    let begin = Instant::now();
    let picture = picture::decode(encoded, "the picture").map_err(|error| Problem::from(&error))?;
    let mut frame = Frame::still(SOURCE, picture);
    frame.id = FrameId(frame_id);
    frame.decode = begin.elapsed();
    let (analysis, mut record) = analyse(&model, &frame, shared).map_err(|error| problem_of(&error))?;
    let drawn = accepts_jpeg(&asked.accept)
        .then(|| {
            let begin = Instant::now();
            overlay::draw(&mut frame.picture, &analysis.findings.detections, &OverlayOptions::default());
            record.stages_ms.overlay = begin.elapsed().as_micros() as f64 / 1e3;
            encode_jpeg(&frame.picture, JPEG_QUALITY)
        })
        .transpose()
        .map_err(|error| Problem::from(&error))?;
    let sum: f64 = record.stages_ms.iter().map(|(_, ms)| ms).sum();
    record.processing_time_ms = (sum * 1e3).round() / 1e3;
    record.violation = sum > shared.defaults.max_latency_ms;
    shared.rooms.count_direct(&record, Duration::from_secs_f64(sum / 1e3));
    Ok(match drawn {
        None => Reply::json(200, &record),
        Some(jpeg) => Reply::new(200, "image/jpeg", jpeg).header("Endort-Record", header(record)),
    })
}

fn analyse(name: &str, frame: &Frame, shared: &Shared) -> Result<(Analysis, FrameRecord)> {
    if name == NONE || !shared.defaults.enabled {
        let analysis = PassThrough.analyze(frame)?;
        let record = analysis.record(frame, NONE, NONE);
        return Ok((analysis, record));
    }
    let Some(mut model) = shared.models.for_picture(name)? else { return Err(Error::Cancelled) };
    let analysis = model.analyze(frame)?;
    let record = analysis.record(frame, model.model(), model.runtime());
    shared.models.give_back(name, model);
    Ok((analysis, record))
}

fn problem_of(error: &Error) -> Problem {
    match error {
        Error::NotAnalysed { .. } => Problem::new(503, error.to_string()),
        // A model that is not there or cannot be used is the request's mistake, not the server's.
        Error::Read { .. } => Problem::new(404, error.to_string()),
        Error::UnsupportedOperator { .. } | Error::Checksum { .. } => Problem::new(422, error.to_string()),
        error => Problem::from(error),
    }
}

fn accepts_jpeg(accept: &str) -> bool {
    accept.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "image/jpeg")
}

/// A record as a header's value: one line of ASCII.
fn header(mut record: FrameRecord) -> String {
    let mut text = ascii(&record);
    if text.len() > MAX_HEADER {
        record.detections.iter_mut().for_each(|detection| detection.polygon = None);
        text = ascii(&record);
    }
    text
}

fn ascii(record: &FrameRecord) -> String {
    let json = serde_json::to_string(record).unwrap_or_default();
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            text.push(c);
        } else {
            let mut units = [0; 2];
            c.encode_utf16(&mut units).iter().for_each(|unit| text.push_str(&format!("\\u{unit:04x}")));
        }
    }
    text
}

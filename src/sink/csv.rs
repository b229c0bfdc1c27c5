//! CSV (RFC 4180): a row per finding, and one with empty finding columns for a frame without any.
//!
//! Outlines have no place in a table; JSON Lines and COCO carry them.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use super::Sink;
use super::output::Output;
use crate::error::Result;
use crate::record::{Detection, FrameRecord};

/// The columns. `x`, `y`, `box_width`, `box_height` and `area_px` are in source pixels, times in
/// milliseconds.
pub const COLUMNS: [&str; 23] = [
    "source",
    "frame_id",
    "pts_ms",
    "width",
    "height",
    "model",
    "runtime",
    "label",
    "score",
    "x",
    "y",
    "box_width",
    "box_height",
    "area_px",
    "track_id",
    "decode_ms",
    "queue_wait_ms",
    "preprocess_ms",
    "inference_ms",
    "postprocess_ms",
    "overlay_ms",
    "processing_time_ms",
    "violation",
];

/// Writes records as rows of a table.
#[derive(Debug)]
pub struct Csv {
    output: Output,
}

impl Csv {
    /// A sink that writes to `output`; the header is written at once.
    ///
    /// # Errors
    ///
    /// [`Error::Write`](crate::Error::Write) if it cannot be written.
    pub fn new(mut output: Output) -> Result<Self> {
        output.write(|writer| row(writer, COLUMNS.map(Cow::Borrowed)))?;
        output.flush()?;
        Ok(Self { output })
    }
}

impl Sink for Csv {
    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        self.output.write(|writer| {
            for detection in &record.detections {
                row(writer, fields(record, Some(detection)))?;
            }
            if record.detections.is_empty() {
                row(writer, fields(record, None))?;
            }
            Ok(())
        })?;
        self.output.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.output.finish()
    }
}

fn fields<'a>(record: &'a FrameRecord, detection: Option<&'a Detection>) -> [Cow<'a, str>; COLUMNS.len()] {
    let finding = |value: &dyn Fn(&Detection) -> String| Cow::from(detection.map(value).unwrap_or_default());
    let stages = &record.stages_ms;
    [
        Cow::from(record.source.as_str()),
        text(record.frame_id),
        text(record.pts_ms),
        text(record.width),
        text(record.height),
        Cow::from(record.model.as_str()),
        Cow::from(record.runtime.as_str()),
        Cow::from(detection.map_or("", |detection| detection.label.as_str())),
        finding(&|detection| detection.score.to_string()),
        finding(&|detection| detection.bbox[0].to_string()),
        finding(&|detection| detection.bbox[1].to_string()),
        finding(&|detection| detection.bbox[2].to_string()),
        finding(&|detection| detection.bbox[3].to_string()),
        finding(&|detection| detection.area_px.map(|area| area.to_string()).unwrap_or_default()),
        finding(&|detection| detection.track_id.map(|id| id.to_string()).unwrap_or_default()),
        text(stages.decode),
        text(stages.queue_wait),
        text(stages.preprocess),
        text(stages.inference),
        text(stages.postprocess),
        text(stages.overlay),
        text(record.processing_time_ms),
        text(record.violation),
    ]
}

fn text<'a>(value: impl Display) -> Cow<'a, str> {
    value.to_string().into()
}

fn row<const N: usize>(writer: &mut dyn Write, fields: [Cow<'_, str>; N]) -> io::Result<()> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            writer.write_all(b",")?;
        }
        if field.contains(['"', ',', '\n', '\r']) {
            write!(writer, "\"{}\"", field.replace('"', "\"\""))?;
        } else {
            writer.write_all(field.as_bytes())?;
        }
    }
    writer.write_all(b"\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::tests::{finding, record};

    #[test]
    fn a_row_per_finding_and_one_for_a_frame_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exam.csv");
        let mut sink = Csv::new(Output::file(&path).unwrap()).unwrap();
        sink.record(&record(0, vec![])).unwrap();
        sink.record(&record(1, vec![finding("polyp", 0.5), finding("a \"b\", c", 0.25)])).unwrap();
        sink.finish().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let rows: Vec<_> = text.split_terminator("\r\n").collect();
        let times = "1.5,0.25,1,2,3,0,7.75,false";
        assert_eq!(rows[0], COLUMNS.join(","));
        assert_eq!(rows[1], format!("exam.mp4,0,0,64,48,polyp-lite,candle-cpu,,,,,,,,,{times}"));
        assert_eq!(
            rows[2],
            format!("exam.mp4,1,40,64,48,polyp-lite,candle-cpu,polyp,0.5,1,2,3.5,6,,7,{times}")
        );
        assert_eq!(
            rows[3],
            format!("exam.mp4,1,40,64,48,polyp-lite,candle-cpu,\"a \"\"b\"\", c\",0.25,1,2,3.5,6,,7,{times}")
        );
        assert_eq!(rows.len(), 4);
    }
}

//! JSON Lines: one record per line, handed on frame by frame. <https://jsonlines.org>

use super::Sink;
use super::output::Output;
use crate::error::Result;
use crate::record::FrameRecord;

/// Writes each record as a line of JSON.
#[derive(Debug)]
pub struct JsonLines {
    output: Output,
}

impl JsonLines {
    /// A sink that writes to `output`.
    pub fn new(output: Output) -> Self {
        Self { output }
    }

    /// Leaves a file that will not be whole under its temporary name.
    pub fn keep_part(&mut self) {
        self.output.keep_part();
    }
}

impl Sink for JsonLines {
    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        self.output.write(|writer| {
            serde_json::to_writer(&mut *writer, record)?;
            writer.write_all(b"\n")
        })?;
        self.output.flush()
    }

    fn finish(&mut self) -> Result<()> {
        self.output.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::output::part_path;
    use crate::sink::tests::{finding, record};

    #[test]
    fn each_record_is_a_line_that_can_be_read_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exam.jsonl");
        let mut sink = JsonLines::new(Output::file(&path).unwrap());
        let records = [record(0, vec![]), record(1, vec![finding("polyp", 0.5)])];
        for (count, record) in (1..).zip(&records) {
            sink.record(record).unwrap();
            let text = std::fs::read_to_string(part_path(&path)).unwrap();
            assert_eq!(text.lines().count(), count);
            assert_eq!(serde_json::from_str::<FrameRecord>(text.lines().last().unwrap()).unwrap(), *record);
        }
        sink.finish().unwrap();
        assert!(path.exists());
    }
}

//! COCO's object-detection format: images, annotations and categories in one JSON document.
//!
//! <https://cocodataset.org/#format-data>. Images are written as they come; annotations wait in a scratch
//! file beside the output, so that a recording of any length needs no more memory than one frame.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};

use serde::Serialize;

use super::Sink;
use super::output::Output;
use crate::error::{Error, Result};
use crate::record::{Detection, FrameRecord};

/// What the images of the document are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// Stills: `file_name` is the picture's own name.
    Stills,
    /// Frames of a video: `file_name` is the video's name with `#` and the frame's number.
    Frames,
}

/// Writes records as one COCO document.
#[derive(Debug)]
pub struct Coco {
    output: Output,
    annotations: BufWriter<File>,
    images: Images,
    /// Class names; a category's id is its place, from 1.
    categories: Vec<String>,
    image_id: u64,
    annotation_id: u64,
}

#[derive(Serialize)]
struct Image<'a> {
    id: u64,
    file_name: &'a str,
    width: usize,
    height: usize,
    frame_id: u64,
    pts_ms: f64,
}

#[derive(Serialize)]
struct Annotation {
    id: u64,
    image_id: u64,
    category_id: usize,
    bbox: [f32; 4],
    area: f64,
    /// Polygons, each a row of x and y; none for models that give boxes alone.
    segmentation: Vec<Vec<f32>>,
    iscrowd: u8,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    track_id: Option<u64>,
}

#[derive(Serialize)]
struct Category<'a> {
    id: usize,
    name: &'a str,
}

impl Coco {
    /// A sink that writes to `output`, with a category for each of the model's `labels`.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if nothing can be written there.
    pub fn new(mut output: Output, images: Images, labels: &[String]) -> Result<Self> {
        let scratch = output.scratch()?;
        output.write(|writer| {
            write!(
                writer,
                "{{\"info\": {{\"description\": \"endort {}\"}},\n\"images\": [",
                env!("CARGO_PKG_VERSION")
            )
        })?;
        Ok(Self {
            output,
            annotations: BufWriter::new(scratch),
            images,
            categories: labels.to_vec(),
            image_id: 0,
            annotation_id: 0,
        })
    }

    fn category_id(&mut self, label: &str) -> usize {
        let index = self.categories.iter().position(|known| known == label).unwrap_or_else(|| {
            self.categories.push(label.to_owned());
            self.categories.len() - 1
        });
        index + 1
    }

    fn annotate(&mut self, detection: &Detection) -> io::Result<()> {
        let category_id = self.category_id(&detection.label);
        let [_, _, width, height] = detection.bbox;
        let box_area = f64::from(width) * f64::from(height);
        // Readers of the format refuse a polygon of fewer than three points.
        let polygon = detection.polygon.as_ref().filter(|points| points.len() >= 3);
        let annotation = Annotation {
            id: self.annotation_id + 1,
            image_id: self.image_id,
            category_id,
            bbox: detection.bbox,
            area: detection.area_px.map_or(box_area, |area| area as f64),
            segmentation: polygon.map(|points| points.as_flattened().to_vec()).into_iter().collect(),
            iscrowd: 0,
            score: detection.score,
            track_id: detection.track_id,
        };
        element(&mut self.annotations, self.annotation_id == 0, &annotation)?;
        self.annotation_id += 1;
        Ok(())
    }
}

impl Sink for Coco {
    fn record(&mut self, record: &FrameRecord) -> Result<()> {
        let frame_name;
        let image = Image {
            id: self.image_id + 1,
            file_name: match self.images {
                Images::Stills => &record.source,
                Images::Frames => {
                    frame_name = format!("{}#{}", record.source, record.frame_id);
                    &frame_name
                }
            },
            width: record.width,
            height: record.height,
            frame_id: record.frame_id,
            pts_ms: record.pts_ms,
        };
        let first = self.image_id == 0;
        self.output.write(|writer| element(writer, first, &image))?;
        self.image_id += 1;
        for detection in &record.detections {
            self.annotate(detection).map_err(Error::write(self.output.name()))?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        let scratch = &mut self.annotations;
        let categories: Vec<_> = self
            .categories
            .iter()
            .enumerate()
            .map(|(index, name)| Category { id: index + 1, name })
            .collect();
        self.output.write(|writer| {
            writer.write_all(b"\n],\n\"annotations\": [")?;
            scratch.flush()?;
            scratch.get_mut().rewind()?;
            io::copy(scratch.get_mut(), writer)?;
            writer.write_all(b"\n],\n\"categories\": ")?;
            serde_json::to_writer(&mut *writer, &categories)?;
            writer.write_all(b"}\n")
        })?;
        self.output.finish()
    }
}

/// An element of an array, on a line of its own.
fn element(mut writer: impl Write, first: bool, value: &impl Serialize) -> io::Result<()> {
    writer.write_all(if first { b"\n" } else { b",\n" })?;
    serde_json::to_writer(writer, value)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::sink::tests::{finding, record};

    fn document(images: Images, labels: &[&str], records: &[FrameRecord]) -> Value {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("exam.json");
        let labels: Vec<_> = labels.iter().map(|label| (*label).to_owned()).collect();
        let mut sink = Coco::new(Output::file(&path).unwrap(), images, &labels).unwrap();
        records.iter().for_each(|record| sink.record(record).unwrap());
        sink.finish().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no scratch file is left");
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
    }

    #[test]
    fn frames_and_findings_become_images_and_annotations() {
        let polygon = vec![[1.0, 2.0], [4.0, 2.0], [4.0, 8.0]];
        let outlined = Detection { polygon: Some(polygon), area_px: Some(9), ..finding("polyp", 0.5) };
        let records =
            [record(0, vec![]), record(3, vec![outlined, finding("tool, long", 0.25)]), record(4, vec![])];
        let found = document(Images::Frames, &["polyp"], &records);
        assert_eq!(found["images"].as_array().unwrap().len(), 3);
        assert_eq!(
            found["images"][1],
            json!({"id": 2, "file_name": "exam.mp4#3", "width": 64, "height": 48, "frame_id": 3, "pts_ms": 120.0})
        );
        assert_eq!(
            found["annotations"],
            json!([
                {"id": 1, "image_id": 2, "category_id": 1, "bbox": [1.0, 2.0, 3.5, 6.0], "area": 9.0,
                 "segmentation": [[1.0, 2.0, 4.0, 2.0, 4.0, 8.0]], "iscrowd": 0, "score": 0.5, "track_id": 7},
                {"id": 2, "image_id": 2, "category_id": 2, "bbox": [1.0, 2.0, 3.5, 6.0], "area": 21.0,
                 "segmentation": [], "iscrowd": 0, "score": 0.25, "track_id": 7},
            ])
        );
        assert_eq!(found["categories"], json!([{"id": 1, "name": "polyp"}, {"id": 2, "name": "tool, long"}]));
    }

    #[test]
    fn a_recording_without_frames_is_still_a_document() {
        let found = document(Images::Stills, &["polyp"], &[]);
        assert_eq!(found["images"], json!([]));
        assert_eq!(found["annotations"], json!([]));
        assert_eq!(found["categories"], json!([{"id": 1, "name": "polyp"}]));
        let still = document(Images::Stills, &[], &[record(0, vec![])]);
        assert_eq!(still["images"][0]["file_name"], "exam.mp4");
    }
}

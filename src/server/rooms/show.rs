//! What viewers see: pictures encoded beside the video lane, and thumbnails of findings.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::hub::{Announced, Hub, Pictures, to_text};
use crate::cancel::Cancel;
use crate::error::Result;
use crate::frame::{Frame, Picture, PixelFormat, Plane};
use crate::record::{Detection, FrameRecord};
use crate::server::api::{Message, Seen};
use crate::sink::picture::encode_jpeg;
use crate::vision::overlay::{self, OverlayOptions};

/// Quality of the pictures that viewers get, 1 to 100.
const QUALITY: u8 = 80;
/// How long the encoder may overlook that the room has ended.
const POLL: Duration = Duration::from_millis(100);
/// Findings that are remembered.
const MAX_SEEN: usize = 24;
/// Thumbnails that may wait to be made.
const MAX_JOBS: usize = 4;
/// Tracks that are remembered.
const MAX_TRACKS: usize = 256;
/// Longest side of a thumbnail in pixels.
const THUMBNAIL: usize = 192;
/// Room around a finding, as a share of its size.
const MARGIN: f32 = 0.35;

/// A finding whose thumbnail is to be made.
struct Job {
    frame: Frame,
    finding: Detection,
}

/// The latest findings and what they belong to.
#[derive(Clone, Default)]
struct Latest {
    captured: Duration,
    detections: Vec<Detection>,
}

#[derive(Default)]
struct State {
    newest: Option<Frame>,
    jobs: VecDeque<Job>,
    latest: Latest,
    ai_off: bool,
    seen: VecDeque<(Seen, Arc<[u8]>)>,
    next_seen: u64,
    /// Tracks that are known, and whether they have a thumbnail.
    known_tracks: VecDeque<(u64, bool)>,
    tracks: u64,
}

impl State {
    /// Counts a finding whose track is new; whether its thumbnail is to be made.
    fn wants_thumbnail(&mut self, track: Option<u64>) -> bool {
        let Some(track) = track else {
            self.tracks += 1;
            return true;
        };
        if let Some((_, has)) = self.known_tracks.iter().find(|(known, _)| *known == track) {
            return !has;
        }
        if self.known_tracks.len() == MAX_TRACKS {
            self.known_tracks.pop_front();
        }
        self.known_tracks.push_back((track, false));
        self.tracks += 1;
        true
    }

    fn has_thumbnail(&mut self, track: Option<u64>) {
        let known = self.known_tracks.iter_mut().find(|(known, _)| Some(*known) == track);
        known.into_iter().for_each(|(_, has)| *has = true);
    }
}

/// The picture side of a room.
pub(super) struct Show {
    state: Mutex<State>,
    changed: Condvar,
    max_age: Duration,
}

impl Show {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), max_age }
    }

    /// A picture was presented. Costs the video lane no more than two reference counts and a lock.
    pub(super) fn picture(&self, frame: &Frame) {
        self.lock().newest = Some(frame.clone());
        self.changed.notify_one();
    }

    /// Findings were presented; those of tracks that are new become thumbnails of the frame as `shown` gives it.
    pub(super) fn result(
        &self,
        frame: &Frame,
        record: &FrameRecord,
        shown: impl Fn(&Frame) -> Option<Frame>,
    ) {
        let mut state = self.lock();
        state.latest = Latest { captured: frame.captured.0, detections: record.detections.clone() };
        for finding in &record.detections {
            if !state.wants_thumbnail(finding.track_id) || state.jobs.len() == MAX_JOBS {
                continue;
            }
            if let Some(frame) = shown(frame) {
                state.jobs.push_back(Job { frame, finding: finding.clone() });
                state.has_thumbnail(finding.track_id);
            }
        }
        drop(state);
        self.changed.notify_one();
    }

    /// The AI fell silent, or came back.
    pub(super) fn ai_off(&self, off: bool) {
        self.lock().ai_off = off;
    }

    /// Findings since the start, counted once per track.
    pub(super) fn findings(&self) -> u64 {
        self.lock().tracks
    }

    /// The findings that are remembered, newest first.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.lock().seen.iter().rev().map(|(seen, _)| seen.clone()).collect()
    }

    /// A finding's thumbnail.
    pub(super) fn thumbnail(&self, id: u64) -> Option<Arc<[u8]>> {
        self.lock().seen.iter().find(|(seen, _)| seen.id == id).map(|(_, jpeg)| Arc::clone(jpeg))
    }

    /// Encodes whatever somebody wants to see, until `cancel`.
    pub(super) fn run(&self, hub: &Hub, cancel: &Cancel) -> Result<()> {
        while !cancel.is_cancelled() {
            let (newest, job, latest, ai_off) = {
                let mut state = self.lock();
                if state.newest.is_none() && state.jobs.is_empty() {
                    state = self.changed.wait_timeout(state, POLL).unwrap_or_else(PoisonError::into_inner).0;
                }
                (state.newest.take(), state.jobs.pop_front(), state.latest.clone(), state.ai_off)
            };
            if let Some(frame) = newest {
                self.encode(&frame, &latest, ai_off, hub)?;
            }
            if let Some(job) = job {
                self.remember(&job);
            }
        }
        Ok(())
    }

    fn encode(&self, frame: &Frame, latest: &Latest, ai_off: bool, hub: &Hub) -> Result<()> {
        if hub.wants(Pictures::Plain)
            && let Ok(jpeg) = encode_jpeg(&frame.picture, QUALITY)
        {
            let text = announce(frame)?;
            hub.picture(Pictures::Plain, &Arc::new(Announced { text, bytes: jpeg }));
        }
        if hub.wants(Pictures::Drawn) {
            let mut picture = frame.picture.clone();
            if ai_off {
                overlay::ai_off(&mut picture);
            } else if frame.captured.0.saturating_sub(latest.captured) <= self.max_age {
                overlay::draw(&mut picture, &latest.detections, &OverlayOptions::default());
            }
            if let Ok(jpeg) = encode_jpeg(&picture, QUALITY) {
                let text = announce(frame)?;
                hub.picture(Pictures::Drawn, &Arc::new(Announced { text, bytes: jpeg }));
            }
        }
        Ok(())
    }

    fn remember(&self, job: &Job) {
        let Some(cut) = thumbnail(&job.frame.picture, job.finding.bbox) else { return };
        let Ok(jpeg) = encode_jpeg(&cut, QUALITY) else { return };
        let at_ms = unix_ms(SystemTime::now());
        let mut state = self.lock();
        let id = state.next_seen;
        state.next_seen += 1;
        if state.seen.len() == MAX_SEEN {
            state.seen.pop_front();
        }
        let seen = Seen {
            id,
            frame_id: job.frame.id.0,
            pts_ms: (job.frame.pts.as_ms() * 1e3).round() / 1e3,
            at_ms,
            label: job.finding.label.clone(),
            score: job.finding.score,
            track_id: job.finding.track_id,
        };
        state.seen.push_back((seen, jpeg.into()));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn announce(frame: &Frame) -> Result<String> {
    let message = Message::Picture {
        frame_id: frame.id.0,
        pts_ms: (frame.pts.as_ms() * 1e3).round() / 1e3,
        width: frame.picture.width(),
        height: frame.picture.height(),
    };
    to_text(&message).map(|text| text.to_string())
}

/// Milliseconds of Unix time.
pub(super) fn unix_ms(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The part of a picture around a box, scaled down to [`THUMBNAIL`] by taking the nearest samples.
fn thumbnail(picture: &Picture, bbox: [f32; 4]) -> Option<Picture> {
    let [x, y, width, height] = bbox;
    let (full_width, full_height) = (picture.width() as f32, picture.height() as f32);
    let left = (x - width * MARGIN).clamp(0.0, full_width - 1.0);
    let top = (y - height * MARGIN).clamp(0.0, full_height - 1.0);
    let right = (x + width * (1.0 + MARGIN)).clamp(left + 1.0, full_width);
    let bottom = (y + height * (1.0 + MARGIN)).clamp(top + 1.0, full_height);
    let scale = ((right - left).max(bottom - top) / THUMBNAIL as f32).max(1.0);
    let columns = (((right - left) / scale) as usize).max(1);
    let rows = (((bottom - top) / scale) as usize).max(1);
    let planes = (0..picture.format().planes())
        .map(|index| {
            let plane = picture.plane(index);
            let samples = if picture.format() == PixelFormat::Rgb24 { 3 } else { 1 };
            let pair = picture.format() == PixelFormat::Nv12 && index == 1;
            let bytes = if pair { 2 } else { samples };
            let (wide, high) = picture.format().plane_size(index, columns, rows);
            let per_x = (plane.width_bytes() / bytes) as f32 / full_width;
            let per_y = plane.rows() as f32 / full_height;
            let across = wide / bytes;
            let mut cut = Vec::with_capacity(wide * high);
            for row in 0..high {
                let at = (top + (row as f32 + 0.5) * (bottom - top) / high as f32) * per_y;
                let from = plane.row((at as usize).min(plane.rows() - 1));
                for column in 0..across {
                    let at = (left + (column as f32 + 0.5) * (right - left) / across as f32) * per_x;
                    let at = (at as usize).min(plane.width_bytes() / bytes - 1) * bytes;
                    cut.extend_from_slice(&from[at..at + bytes]);
                }
            }
            Plane::from_vec(cut, wide, high)
        })
        .collect::<Option<Vec<_>>>()?;
    Picture::new(columns, rows, picture.format(), picture.color(), planes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Color;

    fn gradient(format: PixelFormat, width: usize, height: usize) -> Picture {
        let planes = (0..format.planes())
            .map(|index| {
                let (wide, high) = format.plane_size(index, width, height);
                let samples = (0..wide * high).map(|at| (at % wide * 255 / wide) as u8).collect();
                Plane::from_vec(samples, wide, high).unwrap()
            })
            .collect();
        Picture::new(width, height, format, Color::default(), planes).unwrap()
    }

    #[test]
    fn a_thumbnail_shows_the_finding_and_what_is_around_it() {
        for format in [PixelFormat::Gray8, PixelFormat::Yuv420, PixelFormat::Nv12, PixelFormat::Rgb24] {
            let picture = gradient(format, 641, 479);
            let cut = thumbnail(&picture, [200.0, 100.0, 200.0, 100.0]).unwrap();
            assert_eq!((cut.width(), cut.height()), (192, 96), "{format:?}");
            let bytes = if format == PixelFormat::Rgb24 { 3 } else { 1 };
            let first = cut.plane(0).row(0)[0];
            // The cut begins 70 pixels left of the finding, at 130 of 641.
            let expected = 130 * bytes * 255 / (641 * bytes);
            assert!((i32::from(first) - expected).abs() <= 2, "{format:?}: {first} {expected}");
        }
    }

    #[test]
    fn findings_at_the_edge_and_beyond_are_cut_without_harm() {
        let picture = gradient(PixelFormat::Yuv422, 64, 48);
        for bbox in [
            [-50.0, -50.0, 20.0, 20.0],
            [60.0, 44.0, 100.0, 100.0],
            [0.0, 0.0, 64.0, 48.0],
            [63.9, 47.9, 0.0, 0.0],
            [1e9, 1e9, 1e9, 1e9],
        ] {
            let cut = thumbnail(&picture, bbox).unwrap();
            assert!(cut.width() >= 1 && cut.height() >= 1 && cut.width() <= 192);
        }
    }
}

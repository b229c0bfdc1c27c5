//! Track ids: the same polyp keeps its number over frames.
//!
//! Association in two stages after ByteTrack (Zhang et al., ECCV 2022): confident findings are matched first,
//! then weak ones with the tracks that are left. Within a stage pairs are taken greedily, best first. Since an
//! endoscope moves in jerks, a pair may match by overlap (IoU) or, failing that, by the distance between its
//! centres. Tracks move at constant velocity, estimated by an alpha-beta filter (Kalata 1984).

use std::collections::VecDeque;
use std::time::Duration;

use crate::record::Detection;

/// Most tracks that are remembered; the one unseen for longest is forgotten first.
pub const MAX_TRACKS: usize = 256;

/// Share of the innovation that corrects a track's velocity (beta of the alpha-beta filter).
const VELOCITY_GAIN: f32 = 0.3;
/// Least time that an innovation counts for: stamps of arrival come a millisecond apart behind one that was late, and
/// noise of a few pixels would become a great speed.
const SHORTEST_STEP: Duration = Duration::from_millis(10);

/// How tracks are made, kept and smoothed.
#[derive(Debug, Clone, PartialEq)]
pub struct TrackOptions {
    /// Score from which a finding takes part in the first stage and may begin a track.
    pub high_score: f32,
    /// Overlap (IoU) from which a finding may continue a track.
    pub min_iou: f32,
    /// Distance between centres up to which a finding without overlap may continue a track, as a share of the
    /// mean of the two boxes' diagonals.
    pub max_distance: f32,
    /// How long a track outlives its last finding.
    pub max_age: Duration,
    /// Weight of the past in a track's score and box, 0 (off) to below 1: exponential smoothing per frame.
    pub smoothing: f32,
    /// A finding is passed on only if its track was found in `confirm.0` of the last `confirm.1` updates, this
    /// one included; `(1, 1)` passes everything.
    pub confirm: (usize, usize),
}

impl Default for TrackOptions {
    fn default() -> Self {
        Self {
            high_score: 0.5,
            min_iou: 0.2,
            max_distance: 0.5,
            max_age: Duration::from_secs(1),
            smoothing: 0.0,
            confirm: (1, 1),
        }
    }
}

#[derive(Debug)]
struct Track {
    id: u64,
    label: String,
    /// x, y, width, height.
    bbox: [f32; 4],
    /// Pixels per second of the centre.
    velocity: [f32; 2],
    score: f32,
    unseen: Duration,
    /// Newest last: whether each of the last updates found it.
    seen: VecDeque<bool>,
}

/// Follows the findings of one stream.
#[derive(Debug)]
pub struct Tracker {
    options: TrackOptions,
    tracks: Vec<Track>,
    next_id: u64,
}

impl Tracker {
    /// A tracker that has seen nothing. Impossible options are brought to the nearest possible value.
    pub fn new(options: TrackOptions) -> Self {
        let window = options.confirm.1.clamp(1, 1000);
        let options = TrackOptions {
            smoothing: options.smoothing.clamp(0.0, 0.99),
            confirm: (options.confirm.0.clamp(1, window), window),
            ..options
        };
        Self { options, tracks: Vec::new(), next_id: 1 }
    }

    /// Takes one frame's findings, `dt` after the frame before it: gives each a track id, smooths scores and
    /// boxes (outlines move along), and leaves out what is not confirmed, as far as the options ask for it.
    /// Best scores stay first. Masks are not smoothed: they show what the network saw in this frame.
    pub fn update(&mut self, detections: &mut Vec<Detection>, dt: Duration) {
        for track in &mut self.tracks {
            track.unseen += dt;
            track.bbox[0] += track.velocity[0] * dt.as_secs_f32();
            track.bbox[1] += track.velocity[1] * dt.as_secs_f32();
            track.seen.push_back(false);
        }
        self.tracks.retain(|track| track.unseen <= self.options.max_age);

        let mut owner: Vec<Option<usize>> = vec![None; detections.len()];
        let mut taken = vec![false; self.tracks.len()];
        for confident in [true, false] {
            let stage = |d: &Detection| (d.score >= self.options.high_score) == confident;
            let mut pairs = Vec::new();
            for (d, detection) in detections.iter().enumerate().filter(|(_, d)| stage(d)) {
                for (t, track) in self.tracks.iter().enumerate().filter(|(t, _)| !taken[*t]) {
                    if let Some(affinity) = self.affinity(track, detection) {
                        pairs.push((affinity, d, t));
                    }
                }
            }
            pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
            for (_, d, t) in pairs {
                if owner[d].is_none() && !taken[t] {
                    owner[d] = Some(t);
                    taken[t] = true;
                }
            }
        }
        for (detection, owner) in detections.iter_mut().zip(owner) {
            match owner {
                Some(t) => self.tracks[t].follow(detection, dt, self.options.smoothing),
                None if detection.score >= self.options.high_score => self.begin(detection),
                None => detection.track_id = None,
            }
        }
        if self.options.smoothing > 0.0 {
            detections.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        self.forget();
        self.confirm(detections);
    }

    /// How well a finding continues a track: IoU above 0, or minus the relative distance; `None` if not at all.
    fn affinity(&self, track: &Track, detection: &Detection) -> Option<f32> {
        if track.label != detection.label {
            return None;
        }
        let overlap = iou(track.bbox, detection.bbox);
        if overlap >= self.options.min_iou {
            return Some(overlap);
        }
        let diagonal = |b: [f32; 4]| b[2].hypot(b[3]);
        let reach = (diagonal(track.bbox) + diagonal(detection.bbox)) / 2.0;
        let (a, b) = (centre(track.bbox), centre(detection.bbox));
        let distance = (a[0] - b[0]).hypot(a[1] - b[1]) / reach;
        // NaN (two empty boxes) compares false.
        (distance <= self.options.max_distance).then_some(-distance)
    }

    fn begin(&mut self, detection: &mut Detection) {
        let id = self.next_id;
        self.next_id += 1;
        detection.track_id = Some(id);
        self.tracks.push(Track {
            id,
            label: detection.label.clone(),
            bbox: detection.bbox,
            velocity: [0.0; 2],
            score: detection.score,
            unseen: Duration::ZERO,
            seen: VecDeque::from([true]),
        });
    }

    fn forget(&mut self) {
        if self.tracks.len() > MAX_TRACKS {
            self.tracks.sort_by_key(|track| track.unseen);
            self.tracks.truncate(MAX_TRACKS);
        }
        for track in &mut self.tracks {
            while track.seen.len() > self.options.confirm.1 {
                track.seen.pop_front();
            }
        }
    }

    fn confirm(&self, detections: &mut Vec<Detection>) {
        let (needed, _) = self.options.confirm;
        if needed > 1 {
            let times = |id| {
                let track = self.tracks.iter().find(|track| Some(track.id) == id);
                track.map_or(0, |track| track.seen.iter().filter(|seen| **seen).count())
            };
            detections.retain(|detection| times(detection.track_id) >= needed);
        }
    }
}

impl Track {
    /// Takes over a finding as this track's newest, and gives it the track's id and smoothed values.
    fn follow(&mut self, detection: &mut Detection, dt: Duration, smoothing: f32) {
        let elapsed = self.unseen.max(dt);
        if !elapsed.is_zero() {
            let elapsed = elapsed.max(SHORTEST_STEP).as_secs_f32();
            let (predicted, found) = (centre(self.bbox), centre(detection.bbox));
            for axis in 0..2 {
                self.velocity[axis] += VELOCITY_GAIN * (found[axis] - predicted[axis]) / elapsed;
            }
        }
        let blend = |past: f32, now: f32| now + (past - now) * smoothing;
        self.score = blend(self.score, detection.score);
        for (past, now) in self.bbox.iter_mut().zip(detection.bbox) {
            *past = blend(*past, now);
        }
        self.unseen = Duration::ZERO;
        if let Some(last) = self.seen.back_mut() {
            *last = true;
        }
        if smoothing > 0.0 {
            if let Some(polygon) = &mut detection.polygon {
                move_along(polygon, detection.bbox, self.bbox);
            }
            detection.bbox = self.bbox;
            detection.score = self.score;
        }
        detection.track_id = Some(self.id);
    }
}

/// Moves and scales an outline as its box went from `from` to `to`.
fn move_along(polygon: &mut [[f32; 2]], from: [f32; 4], to: [f32; 4]) {
    for point in polygon {
        for axis in 0..2 {
            let share = if from[axis + 2] > 0.0 { (point[axis] - from[axis]) / from[axis + 2] } else { 0.5 };
            point[axis] = to[axis] + share * to[axis + 2];
        }
    }
}

fn centre(b: [f32; 4]) -> [f32; 2] {
    [b[0] + b[2] / 2.0, b[1] + b[3] / 2.0]
}

/// Intersection over union of two `[x, y, width, height]` boxes; 0 for empty ones.
fn iou(a: [f32; 4], b: [f32; 4]) -> f32 {
    let side = |i: usize| ((a[i] + a[i + 2]).min(b[i] + b[i + 2]) - a[i].max(b[i])).max(0.0);
    let inter = side(0) * side(1);
    let union = a[2] * a[3] + b[2] * b[3] - inter;
    if union > 0.0 { inter / union } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DT: Duration = Duration::from_millis(33);

    fn found(x: f32, y: f32, score: f32) -> Detection {
        Detection {
            label: "polyp".to_owned(),
            score,
            bbox: [x, y, 40.0, 30.0],
            area_px: None,
            polygon: Some(vec![[x, y], [x + 40.0, y], [x + 40.0, y + 30.0]]),
            track_id: None,
        }
    }

    fn ids(tracker: &mut Tracker, mut detections: Vec<Detection>, dt: Duration) -> Vec<Option<u64>> {
        tracker.update(&mut detections, dt);
        detections.iter().map(|detection| detection.track_id).collect()
    }

    #[test]
    fn crossing_objects_keep_their_ids() {
        let mut tracker = Tracker::new(TrackOptions::default());
        for step in 0..60 {
            let t = step as f32;
            let pair = vec![found(4.0 * t, 100.0, 0.9), found(240.0 - 4.0 * t, 112.0, 0.9)];
            assert_eq!(ids(&mut tracker, pair, DT), [Some(1), Some(2)], "step {step}");
        }
    }

    #[test]
    fn time_stamps_that_come_close_together_send_no_track_away() {
        let mut tracker = Tracker::new(TrackOptions::default());
        // As pictures arrive over a network: one is late, and the next close behind it.
        for (step, ms) in [33, 33, 33, 65, 1, 33, 33, 65, 1, 33].into_iter().enumerate() {
            let noise = if step % 2 == 0 { 3.0 } else { 0.0 };
            let seen = vec![found(100.0 + 5.0 * step as f32 + noise, 100.0 + noise, 0.9)];
            assert_eq!(ids(&mut tracker, seen, Duration::from_millis(ms)), [Some(1)], "step {step}");
        }
    }

    #[test]
    fn a_weak_finding_continues_a_track_but_begins_none() {
        let mut tracker = Tracker::new(TrackOptions::default());
        assert_eq!(ids(&mut tracker, vec![found(0.0, 0.0, 0.3)], DT), [None]);
        assert_eq!(ids(&mut tracker, vec![found(0.0, 0.0, 0.9)], DT), [Some(1)]);
        assert_eq!(
            ids(&mut tracker, vec![found(2.0, 0.0, 0.3), found(300.0, 0.0, 0.3)], DT),
            [Some(1), None]
        );
    }

    #[test]
    fn a_gap_is_bridged_until_the_track_is_too_old() {
        let mut tracker = Tracker::new(TrackOptions::default());
        assert_eq!(ids(&mut tracker, vec![found(10.0, 10.0, 0.9)], DT), [Some(1)]);
        assert_eq!(ids(&mut tracker, vec![], Duration::from_millis(900)), []);
        assert_eq!(ids(&mut tracker, vec![found(10.0, 10.0, 0.9)], DT), [Some(1)]);
        assert_eq!(ids(&mut tracker, vec![], Duration::from_millis(1100)), []);
        assert_eq!(ids(&mut tracker, vec![found(10.0, 10.0, 0.9)], DT), [Some(2)]);
    }

    #[test]
    fn confirmation_needs_m_of_n() {
        let mut tracker = Tracker::new(TrackOptions { confirm: (3, 5), ..TrackOptions::default() });
        let there = || vec![found(10.0, 10.0, 0.9)];
        let reported: Vec<usize> = [there(), vec![], there(), there(), vec![], vec![], there()]
            .into_iter()
            .map(|frame| ids(&mut tracker, frame, DT).len())
            .collect();
        assert_eq!(reported, [0, 0, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn smoothing_halves_a_jump_and_moves_the_outline_with_the_box() {
        let mut tracker = Tracker::new(TrackOptions { smoothing: 0.5, ..TrackOptions::default() });
        tracker.update(&mut vec![found(0.0, 0.0, 0.6)], DT);
        let mut second = vec![found(10.0, 0.0, 1.0)];
        tracker.update(&mut second, DT);
        assert_eq!(second[0].bbox, [5.0, 0.0, 40.0, 30.0]);
        assert!((second[0].score - 0.8).abs() < 1e-6);
        assert_eq!(second[0].polygon.as_deref(), Some([[5.0, 0.0], [45.0, 0.0], [45.0, 30.0]].as_slice()));
    }

    #[test]
    fn the_number_of_tracks_is_bounded() {
        let mut tracker = Tracker::new(TrackOptions::default());
        for batch in 0..4 {
            let many = (0..100).map(|i| found(100.0 * i as f32, 100.0 * batch as f32, 0.9)).collect();
            ids(&mut tracker, many, Duration::ZERO);
        }
        assert_eq!(tracker.tracks.len(), MAX_TRACKS);
    }
}

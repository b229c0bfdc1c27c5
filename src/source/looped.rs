//! A source played again and again, as one stream with rising numbers and time stamps.

use super::{Source, SourceInfo};
use crate::error::Result;
use crate::frame::{Frame, FrameId, ticks_per_frame};

/// Opens the same source anew.
pub type Reopen = Box<dyn FnMut() -> Result<Box<dyn Source>> + Send>;

/// Starts its source over each time it ends, for ever.
pub struct Looped {
    reopen: Reopen,
    current: Box<dyn Source>,
    info: SourceInfo,
    next_id: u64,
    /// Added to the ticks of the current round.
    offset: i64,
    /// Ticks at which the current round's last frame ends.
    end: i64,
    /// The gap between the last two frames, for a last frame without a duration.
    step: i64,
    delivered: bool,
    /// How many of a picture that says nothing of time are shown in a second; `None` where the source knows its time.
    still_fps: Option<f64>,
}

impl Looped {
    /// A loop over what `reopen` opens. A still is shown `fps` times a second.
    ///
    /// # Errors
    /// Whatever opening it the first time gives.
    pub fn new(mut reopen: Reopen, fps: f64) -> Result<Self> {
        let current = reopen()?;
        let still = current.info().frames == Some(1) && current.info().fps.is_none();
        let info = SourceInfo { frames: None, duration: None, ..current.info().clone() };
        let still_fps = still.then_some(fps).filter(|fps| *fps > 0.0);
        Ok(Self {
            reopen,
            current,
            info,
            next_id: 0,
            offset: 0,
            end: 0,
            step: 1,
            delivered: false,
            still_fps,
        })
    }
}

impl Source for Looped {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        let mut frame = match self.current.next()? {
            Some(frame) => frame,
            // A round without a single frame would go on without end.
            None if !self.delivered => return Ok(None),
            None => {
                self.current = (self.reopen)()?;
                self.delivered = false;
                self.offset = self.end;
                match self.current.next()? {
                    Some(frame) => {
                        self.offset -= frame.pts.ticks;
                        frame
                    }
                    None => return Ok(None),
                }
            }
        };
        self.delivered = true;
        if let Some(fps) = self.still_fps {
            frame.duration.get_or_insert(ticks_per_frame(frame.pts.base, fps));
        }
        frame.id = FrameId(self.next_id);
        self.next_id += 1;
        frame.pts.ticks += self.offset;
        if frame.pts.ticks >= self.end && self.next_id > 1 && frame.duration.is_none() {
            self.step = (frame.pts.ticks - (self.end - self.step)).max(1);
        }
        self.end = frame.pts.ticks + frame.duration.unwrap_or(self.step).max(1);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Color, Moment, Picture, PixelFormat, Plane, Timestamp};

    struct Ticks(SourceInfo, std::iter::Copied<std::slice::Iter<'static, (i64, Option<i64>)>>);

    impl Source for Ticks {
        fn info(&self) -> &SourceInfo {
            &self.0
        }

        fn next(&mut self) -> Result<Option<Frame>> {
            let picture = || {
                let plane = Plane::from_vec(vec![0], 1, 1).unwrap();
                Picture::new(1, 1, PixelFormat::Gray8, Color::default(), vec![plane]).unwrap()
            };
            Ok(self.1.next().map(|(ticks, duration)| Frame {
                id: FrameId(99),
                source: "ticks".into(),
                pts: Timestamp { ticks, base: (1, 90_000) },
                duration,
                captured: Moment::default(),
                decode: std::time::Duration::ZERO,
                picture: picture(),
            }))
        }
    }

    fn looped(ticks: &'static [(i64, Option<i64>)]) -> Looped {
        let info = SourceInfo {
            name: "ticks".into(),
            width: 1,
            height: 1,
            fps: None,
            frames: Some(ticks.len() as u64),
            duration: None,
            live: false,
            codec: "test".into(),
            ..SourceInfo::default()
        };
        Looped::new(Box::new(move || Ok(Box::new(Ticks(info.clone(), ticks.iter().copied())))), 30.0).unwrap()
    }

    fn first(mut source: Looped, count: usize) -> Vec<(u64, i64)> {
        std::iter::from_fn(|| source.next().unwrap()).take(count).map(|f| (f.id.0, f.pts.ticks)).collect()
    }

    #[test]
    fn time_goes_on_evenly_over_the_seam() {
        let stated = looped(&[(500, Some(100)), (600, Some(100)), (700, Some(100))]);
        assert_eq!(first(stated, 5), [(0, 500), (1, 600), (2, 700), (3, 800), (4, 900)]);
        let unstated = looped(&[(0, None), (100, None), (200, None)]);
        assert_eq!(first(unstated, 5), [(0, 0), (1, 100), (2, 200), (3, 300), (4, 400)]);
    }

    #[test]
    fn a_still_is_shown_at_the_rate_that_is_wanted() {
        assert_eq!(first(looped(&[(0, None)]), 3), [(0, 0), (1, 3000), (2, 6000)]);
    }

    #[test]
    fn an_empty_source_ends_instead_of_looping() {
        assert_eq!(first(looped(&[]), 3), []);
    }
}

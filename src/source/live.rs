//! A camera or network stream that is opened again when it is lost.

use std::time::{Duration, Instant};

use super::options::{OpenOptions, SourceEvent};
use super::video::VideoSource;
use super::{Source, SourceInfo};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::frame::Frame;

/// Pause before the first attempt to open a lost source again; it doubles with each further attempt.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// Longest pause between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often a pause looks at the cancellation.
const POLL: Duration = Duration::from_millis(20);

/// Opens the source anew.
pub(super) type Open = Box<dyn FnMut() -> Result<VideoSource> + Send>;

/// A live source with its way back.
pub(super) struct LiveSource {
    open: Open,
    source: Option<VideoSource>,
    info: SourceInfo,
    options: OpenOptions,
    cancel: Cancel,
    next_id: u64,
    /// Added to the ticks of the present connection, so that time goes on where the last one ended.
    offset: i64,
    /// The last frame's presentation time in milliseconds, and when it was handed out.
    last: Option<(f64, Instant)>,
}

impl LiveSource {
    /// Opens the source.
    pub(super) fn open(mut open: Open, options: &OpenOptions, cancel: &Cancel) -> Result<Self> {
        let first = open()?;
        Ok(Self {
            info: first.info().clone(),
            open,
            source: Some(first),
            options: options.clone(),
            cancel: cancel.clone(),
            next_id: 0,
            offset: 0,
            last: None,
        })
    }

    /// Continues numbers and time over connections.
    fn continue_from_last(&mut self, frame: &mut Frame, reconnected: bool) {
        let (num, den) = frame.pts.base;
        let ms_per_tick = 1e3 * f64::from(num) / f64::from(den);
        if let Some((last_ms, at)) = self.last.filter(|_| reconnected) {
            let now_ms = last_ms + at.elapsed().as_secs_f64() * 1e3;
            self.offset = (now_ms / ms_per_tick).ceil() as i64 - frame.pts.ticks;
        }
        if let Some(tap) = self.options.tap.as_ref().filter(|_| reconnected || self.next_id == 0) {
            tap.place(self.offset);
        }
        frame.pts.ticks = frame.pts.ticks.saturating_add(self.offset);
        frame.id.0 = self.next_id;
        self.next_id += 1;
        self.last = Some((frame.pts.as_ms(), Instant::now()));
    }
}

impl Source for LiveSource {
    fn info(&self) -> &SourceInfo {
        &self.info
    }

    fn next(&mut self) -> Result<Option<Frame>> {
        let mut lost: Option<Instant> = None;
        let mut failures = 0;
        loop {
            let result = match &mut self.source {
                Some(source) => source.next(),
                None => (self.open)().and_then(|source| self.source.insert(source).next()),
            };
            let error = match result {
                Ok(Some(mut frame)) => {
                    self.continue_from_last(&mut frame, lost.is_some());
                    if let Some(lost) = lost {
                        self.options.tell(&SourceEvent::Back { outage: lost.elapsed() });
                    }
                    return Ok(Some(frame));
                }
                Ok(None) => Error::SourceLost {
                    source_name: self.info.name.clone(),
                    detail: "the sender ended the stream".to_owned(),
                },
                Err(Error::Cancelled) => return Err(Error::Cancelled),
                Err(e) => e,
            };
            self.source = None;
            if lost.is_none() {
                lost = Some(Instant::now());
                self.options.tell(&SourceEvent::Lost { detail: detail(&error) });
            }
            failures += 1;
            pause(failures, &self.options, &self.cancel, error)?;
        }
    }
}

/// Lets `open` open a source that may not be there yet, as often as the options allow.
pub(super) fn wait_for<T>(
    mut open: impl FnMut() -> Result<T>,
    options: &OpenOptions,
    cancel: &Cancel,
) -> Result<T> {
    let mut failures = 0;
    loop {
        let error = match open() {
            // A name that means nothing will mean nothing later.
            Err(error) if !matches!(error, Error::Cancelled | Error::NoInput { .. }) => error,
            outcome => return outcome,
        };
        if failures == 0 {
            options.tell(&SourceEvent::Lost { detail: detail(&error) });
        }
        failures += 1;
        pause(failures, options, cancel, error)?;
    }
}

/// Waits before attempt number `attempt`, or gives up with the error that led here.
fn pause(attempt: u32, options: &OpenOptions, cancel: &Cancel, error: Error) -> Result<()> {
    if attempt > options.max_retries {
        return Err(match error {
            Error::Media { source_name, detail } => Error::SourceLost { source_name, detail },
            e => e,
        });
    }
    let wait = backoff(attempt);
    options.tell(&SourceEvent::Retrying { detail: detail(&error), attempt, wait });
    let until = Instant::now() + wait;
    while Instant::now() < until {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        std::thread::sleep(POLL.min(until.saturating_duration_since(Instant::now())));
    }
    Ok(())
}

fn backoff(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(16);
    FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT)
}

fn detail(error: &Error) -> String {
    match error {
        Error::SourceLost { detail, .. } | Error::Media { detail, .. } => detail.clone(),
        e => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let waits: Vec<u64> = (1..=7).map(|attempt| backoff(attempt).as_millis() as u64).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
        assert_eq!(backoff(u32::MAX), LONGEST_WAIT);
    }
}

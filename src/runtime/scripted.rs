//! A runtime that does what it is told: for tests, and for `bench` to show what a stall does.
//!
//! Its name carries the script: `scripted:delay=20ms,stall=10s@300,panic@500,error@7,nan@9`. Frames are
//! counted from 0; a delay holds for every frame, everything else for the one after the `@`.

use std::time::Duration;

use super::{Engine, HostTensor};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::model::Package;

/// What the runtime's name starts with.
pub const PREFIX: &str = "scripted";

/// Longest delay or stall that a script may ask for.
const MAX_DELAY: Duration = Duration::from_secs(3600);
/// How often a sleep looks whether it was cancelled.
const SLICE: Duration = Duration::from_millis(20);

/// Sleeps, or lets a test count the time instead.
pub type Sleep = Box<dyn FnMut(Duration) + Send>;

/// What happens at one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Event {
    Stall(Duration),
    Panic,
    Error,
    Nan,
}

/// The scripted runtime. Its outputs have the model's names and shapes, and hold "nothing found".
pub struct Scripted {
    delay: Duration,
    events: Vec<(u64, Event)>,
    frame: u64,
    sleep: Sleep,
    shape: [usize; 4],
    input: Vec<f32>,
    outputs: Vec<HostTensor>,
}

/// Output values that every activation reads as "no".
const NOTHING: f32 = -20.0;

impl Scripted {
    /// Parses a script for a model. An error says what of it is not understood.
    pub fn parse(package: &Package, script: &str) -> Result<Self, String> {
        let graph = &package.graph;
        let mut engine = Self {
            delay: Duration::ZERO,
            events: vec![],
            frame: 0,
            sleep: Box::new(std::thread::sleep),
            shape: crate::runtime::input_shape(graph).map_err(|e| e.to_string())?,
            input: vec![],
            outputs: graph
                .outputs
                .iter()
                .map(|&id| graph.value(id))
                .map(|v| HostTensor {
                    name: v.name.clone(),
                    shape: v.shape.clone(),
                    data: vec![NOTHING; v.shape.iter().product()],
                })
                .collect(),
        };
        engine.input = vec![0.0; engine.shape.iter().product()];
        for part in script.split(',').map(str::trim).filter(|p| !p.is_empty()) {
            engine.add(part).map_err(|e| {
                format!("{part:?}: {e}; write delay=20ms, stall=10s@300, panic@5, error@5 or nan@5")
            })?;
        }
        Ok(engine)
    }

    fn add(&mut self, part: &str) -> Result<(), String> {
        let (what, frame) = match part.split_once('@') {
            Some((what, frame)) => (what, Some(frame.parse().map_err(|_| "is not a frame's number")?)),
            None => (part, None),
        };
        let event = match (what.split_once('='), frame) {
            (Some(("delay", v)), None) => {
                self.delay = duration(v)?;
                return Ok(());
            }
            (Some(("stall", v)), Some(_)) => Event::Stall(duration(v)?),
            (None, Some(_)) if what == "panic" => Event::Panic,
            (None, Some(_)) if what == "error" => Event::Error,
            (None, Some(_)) if what == "nan" => Event::Nan,
            _ => return Err("is not understood".into()),
        };
        self.events.push((frame.unwrap_or(0), event));
        Ok(())
    }

    /// Replaces sleeping, so that a test need not wait.
    #[must_use]
    pub fn with_sleep(mut self, sleep: Sleep) -> Self {
        self.sleep = sleep;
        self
    }

    /// Makes delays and stalls end soon after `cancel` is set.
    #[must_use]
    pub fn with_cancel(self, cancel: Cancel) -> Self {
        self.with_sleep(Box::new(move |mut left| {
            while !left.is_zero() && !cancel.is_cancelled() {
                let step = left.min(SLICE);
                std::thread::sleep(step);
                left -= step;
            }
        }))
    }
}

/// `20ms`, `1.5s` or `200us`.
fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("s", 1.0)];
    let (number, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .ok_or("a duration needs a unit: s, ms or us")?;
    let seconds = number.parse::<f64>().map_err(|_| "is not a duration")? * factor;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|d| *d <= MAX_DELAY)
        .ok_or_else(|| format!("is not within 0..={}s", MAX_DELAY.as_secs()))
}

impl Engine for Scripted {
    fn runtime(&self) -> &str {
        PREFIX
    }

    fn input_shape(&self) -> [usize; 4] {
        self.shape
    }

    fn input(&mut self) -> &mut [f32] {
        &mut self.input
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        let frame = self.frame;
        self.frame += 1;
        if !self.delay.is_zero() {
            (self.sleep)(self.delay);
        }
        let mut value = NOTHING;
        for &(_, event) in self.events.iter().filter(|(at, _)| *at == frame) {
            match event {
                Event::Stall(d) => (self.sleep)(d),
                Event::Nan => value = f32::NAN,
                Event::Error => {
                    let detail = format!("failed at frame {frame}, as the script says");
                    return Err(Error::Runtime { runtime: PREFIX.into(), detail });
                }
                #[allow(clippy::panic, reason = "it is what was asked for")]
                Event::Panic => panic!("panicked at frame {frame}, as the script says"),
            }
        }
        self.outputs.iter_mut().for_each(|o| o.data.fill(value));
        Ok(&self.outputs)
    }
}

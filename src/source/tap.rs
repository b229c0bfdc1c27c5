//! A tap on a video's packets: coded pictures as their container held them, beside the decoded frames, for whoever
//! keeps or passes on video without coding it again.
//!
//! Packets carry the time stamps of the frames that are decoded from them, across connections too: those of a
//! connection are handed out once its first frame has been placed in time. Each consumer has a bounded queue and
//! never holds up the source: one that is too slow loses packets up to the next key frame, counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::av::copied::Timing;
use crate::av::input::Input;
use crate::av::packet::Packet;
use crate::av::parameters::Parameters;
use crate::frame::Timestamp;

/// Packets that may wait for one consumer, or for their first frame.
const MAX_PACKETS: usize = 512;
/// Bytes that may wait for one consumer, or for their first frame.
const MAX_BYTES: u64 = 32 << 20;

/// The container in which packets are kept; what it does not take has no tap.
pub(crate) const KEPT_IN: &std::ffi::CStr = c"matroska";

/// What is known about the packets of one connection.
#[derive(Debug)]
pub(crate) struct Stream {
    /// What is needed to decode them.
    pub(crate) parameters: Parameters,
    /// Seconds per tick of their times.
    pub(crate) base: (i32, i32),
    /// Average frames per second, where known.
    pub(crate) rate: Option<(i32, i32)>,
}

impl Stream {
    /// The selected stream of `input`; `None` where its packets cannot be kept as they are.
    /// Its times are in ticks of `base`.
    pub(crate) fn of(input: &Input, base: (i32, i32), rate: Option<(i32, i32)>) -> Option<Self> {
        let parameters = Parameters::of(input).ok().filter(|parameters| parameters.fit_into(KEPT_IN))?;
        Some(Self { parameters, base, rate })
    }

    /// Ticks from one frame to the next, at least one.
    fn interval(&self) -> i64 {
        let fps = self.rate.map_or(30.0, |(num, den)| f64::from(num) / f64::from(den));
        let ticks = f64::from(self.base.1) / f64::from(self.base.0) / fps;
        (ticks.round() as i64).max(1)
    }

    /// How they become a container's that starts at `zero` ticks.
    pub(crate) fn timing(&self, zero: i64) -> Timing {
        Timing { base: self.base, interval: self.interval(), zero }
    }

    /// A time in ticks as milliseconds.
    pub(crate) fn ms(&self, ticks: i64) -> f64 {
        Timestamp { ticks, base: self.base }.as_ms()
    }
}

/// A packet on its way to one consumer. The first of a connection is a key frame, and has another `stream`.
#[derive(Debug)]
pub(crate) struct Coded {
    pub(crate) stream: Arc<Stream>,
    pub(crate) packet: Packet,
    /// Presentation time in ticks of its stream.
    pub(crate) pts: i64,
    /// Decoding time; rises from packet to packet.
    pub(crate) dts: i64,
    _held: Held,
}

/// Bytes that wait, taken off when dropped.
#[derive(Debug)]
struct Held(Arc<AtomicU64>, u64);

impl Held {
    fn new(waiting: &Arc<AtomicU64>, bytes: u64) -> Self {
        waiting.fetch_add(bytes, Ordering::Relaxed);
        Self(Arc::clone(waiting), bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::Relaxed);
    }
}

/// One consumer's end of a tap; it leaves by dropping it.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) packets: Receiver<Coded>,
    lost: Arc<AtomicU64>,
}

impl Subscription {
    /// Packets that were lost because this consumer was too slow; goes on counting.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }
}

/// The tap; clones are the same tap.
#[derive(Debug, Clone, Default)]
pub struct Tap(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    consumers: Vec<Consumer>,
    /// The connection whose packets are handed out.
    stream: Option<Arc<Stream>>,
    /// The connection that waits for its first frame.
    pending: Option<Pending>,
    /// Added to the ticks of the present connection.
    offset: i64,
    times: Times,
}

#[derive(Debug)]
struct Pending {
    stream: Stream,
    /// Packets so far, with their times.
    packets: Vec<(Packet, i64, i64)>,
    bytes: u64,
}

/// Completes the times of a connection's packets.
#[derive(Debug, Default)]
struct Times {
    last: Option<i64>,
}

impl Times {
    /// Presentation and decoding time; the second rises, and is never after the first.
    fn of(&mut self, packet: &Packet, stream: &Stream) -> Option<(i64, i64)> {
        let interval = stream.interval();
        let guessed = || match (self.last, packet.pts()) {
            (Some(last), _) => Some(last.saturating_add(packet.duration().unwrap_or(interval))),
            (None, Some(pts)) => Some(pts.saturating_sub(stream.parameters.delay() * interval)),
            (None, None) => None,
        };
        let dts = packet.dts().or_else(guessed)?;
        let dts = self.last.map_or(dts, |last| dts.max(last.saturating_add(1)));
        // Without frames that are decoded ahead both are the same.
        let pts = packet.pts().or_else(|| (stream.parameters.delay() == 0).then_some(dts))?;
        self.last = Some(dts);
        Some((pts.max(dts), dts))
    }
}

impl Tap {
    /// A tap that nothing flows from yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A consumer of all packets from now on, beginning with a key frame.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.subscribe_up_to(MAX_PACKETS)
    }

    fn subscribe_up_to(&self, limit: usize) -> Subscription {
        let (sender, packets) = bounded(limit);
        let lost = Arc::new(AtomicU64::new(0));
        self.lock().consumers.push(Consumer {
            sender,
            waiting: Arc::default(),
            lost: Arc::clone(&lost),
            stream: Weak::new(),
            begun: false,
            skipping: true,
        });
        Subscription { packets, lost }
    }

    /// Whether packets come from the present connection.
    pub(crate) fn flows(&self) -> bool {
        self.lock().stream.is_some()
    }

    /// Whether no packets come, nor will of the present connection.
    pub(crate) fn is_dry(&self) -> bool {
        let state = self.lock();
        state.stream.is_none() && state.pending.is_none()
    }

    /// A connection was opened; `None` if its packets cannot be used.
    pub(crate) fn begin(&self, stream: Option<Stream>) {
        let mut state = self.lock();
        state.stream = None;
        state.times = Times::default();
        state.pending = stream.map(|stream| Pending { stream, packets: Vec::new(), bytes: 0 });
    }

    /// Takes a packet of the present connection before it is decoded.
    pub(crate) fn push(&self, packet: &Packet) {
        let mut state = self.lock();
        let State { consumers, stream, pending, offset, times } = &mut *state;
        if let Some(Pending { stream, packets, bytes }) = pending {
            let full = packets.len() >= MAX_PACKETS || *bytes >= MAX_BYTES;
            // What cannot be decoded is not kept.
            if full || (packets.is_empty() && !packet.is_key()) {
                return;
            }
            if let (Some((pts, dts)), Ok(shared)) = (times.of(packet, stream), packet.share()) {
                *bytes += packet.len() as u64;
                packets.push((shared, pts, dts));
            }
        } else if let Some(stream) = stream
            && let Some((pts, dts)) = times.of(packet, stream)
        {
            let (pts, dts) = (pts.saturating_add(*offset), dts.saturating_add(*offset));
            consumers.retain_mut(|consumer| consumer.offer(stream, packet, pts, dts));
        }
    }

    /// The first frame of the present connection has come: `offset` is added to its ticks.
    pub(crate) fn place(&self, offset: i64) {
        let mut state = self.lock();
        let Some(Pending { stream, packets, .. }) = state.pending.take() else { return };
        let stream = Arc::new(stream);
        (state.offset, state.stream) = (offset, Some(Arc::clone(&stream)));
        for (packet, pts, dts) in &packets {
            let (pts, dts) = (pts.saturating_add(offset), dts.saturating_add(offset));
            state.consumers.retain_mut(|consumer| consumer.offer(&stream, packet, pts, dts));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Consumer {
    sender: Sender<Coded>,
    /// Bytes that wait for it.
    waiting: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
    /// The connection of the packets that it gets.
    stream: Weak<Stream>,
    /// Whether it has been offered a key frame of that connection.
    begun: bool,
    /// Until the next key frame.
    skipping: bool,
}

impl Consumer {
    /// Offers a packet; false if the consumer has left.
    fn offer(&mut self, stream: &Arc<Stream>, packet: &Packet, pts: i64, dts: i64) -> bool {
        if !std::ptr::eq(self.stream.as_ptr(), Arc::as_ptr(stream)) {
            // Before the first key frame nothing is lost that could be used.
            (self.stream, self.skipping) = (Arc::downgrade(stream), true);
            self.begun = false;
        }
        if self.skipping && !packet.is_key() {
            if self.begun {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            return true;
        }
        self.begun = true;
        let bytes = packet.len() as u64;
        let room = self.waiting.load(Ordering::Relaxed).saturating_add(bytes) <= MAX_BYTES;
        let outcome = match packet.share() {
            Ok(packet) if room => {
                let held = Held::new(&self.waiting, bytes);
                self.sender.try_send(Coded { stream: Arc::clone(stream), packet, pts, dts, _held: held })
            }
            _ => {
                self.lose();
                return true;
            }
        };
        match outcome {
            Ok(()) => self.skipping = false,
            Err(TrySendError::Full(_)) => self.lose(),
            Err(TrySendError::Disconnected(_)) => return false,
        }
        true
    }

    fn lose(&mut self) {
        self.skipping = true;
        self.lost.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;
    use crate::source::{OpenOptions, Source, open};

    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/samples/colonoscopy-720p30.mp4");

    fn tapped(tap: &Tap) -> Box<dyn Source> {
        let options = OpenOptions { tap: Some(tap.clone()), ..OpenOptions::default() };
        open(SAMPLE, &options, &Cancel::new()).unwrap()
    }

    #[test]
    fn packets_have_the_times_of_their_frames_and_begin_with_a_key_frame() {
        let tap = Tap::new();
        let subscription = tap.subscribe();
        let mut source = tapped(&tap);
        assert!(!tap.flows(), "before the first frame");
        let frames: Vec<i64> =
            std::iter::from_fn(|| source.next().unwrap()).map(|frame| frame.pts.ticks).collect();
        let packets: Vec<Coded> = subscription.packets.try_iter().collect();
        assert!(tap.flows() && packets[0].packet.is_key());
        assert!(packets.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        assert!(packets.iter().all(|packet| packet.dts <= packet.pts));
        let mut times: Vec<i64> = packets.iter().map(|packet| packet.pts).collect();
        times.sort_unstable();
        assert_eq!(times, frames);
        assert_eq!(subscription.lost().load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_slow_consumer_loses_up_to_the_next_key_frame_and_holds_nobody_up() {
        let tap = Tap::new();
        let (slow, quick) = (tap.subscribe_up_to(7), tap.subscribe());
        let mut source = tapped(&tap);
        let mut got = Vec::new();
        let mut next = 0;
        while let Some(frame) = source.next().unwrap() {
            // Takes nothing for a while, then everything.
            if frame.id.0 % 100 > 80 {
                got.extend(slow.packets.try_iter());
            }
            next = frame.id.0 + 1;
        }
        got.extend(slow.packets.try_iter());
        let all: Vec<Coded> = quick.packets.try_iter().collect();
        assert_eq!(all.len() as u64, next);
        assert_eq!(got.len() as u64 + slow.lost().load(Ordering::Relaxed), next);
        let place = |coded: &Coded| all.iter().position(|other| other.pts == coded.pts).unwrap();
        let breaks: Vec<_> = got.windows(2).filter(|pair| place(&pair[0]) + 1 != place(&pair[1])).collect();
        assert!(!breaks.is_empty());
        assert!(breaks.iter().all(|pair| pair[1].packet.is_key()), "a gap ends with a key frame");
        let waiting = Arc::clone(&all[0]._held.0);
        assert!(waiting.load(Ordering::Relaxed) > 0);
        drop(all);
        assert_eq!(waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn consumers_that_left_are_forgotten() {
        let tap = Tap::new();
        drop(tap.subscribe());
        let mut source = tapped(&tap);
        for _ in 0..20 {
            source.next().unwrap().unwrap();
        }
        assert!(tap.lock().consumers.is_empty());
    }
}

//! A room's H.264 on its way to viewers, as it came: neither decoded nor coded again.
//!
//! A picture leaves when the video lane has presented the same frame, so that a recording that is decoded ahead of
//! its time is not seen before it is analysed, and a live one is as late as the lane: by its decoding.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::hub::{Announced, Hub, Mailbox, Pictures, Piece, to_text};
use crate::av::fragments::{Fragments, media_type};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::server::api::Message;
use crate::source::tap::{Coded, Stream, Tap};

/// How long the thread may overlook that the room has ended.
const POLL: Duration = Duration::from_millis(100);
/// How long a picture waits for its frame, which may have been lost.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pictures since the last key frame, and their bytes, that are kept for viewers who come.
const MAX_KEPT: usize = 900;
const MAX_KEPT_BYTES: usize = 16 << 20;

/// The way of packets to viewers.
pub(super) struct Relay {
    packets: Receiver<Coded>,
    lost: Arc<AtomicU64>,
    shown: Mutex<Option<Shown>>,
    advanced: Condvar,
    video: Mutex<Option<Video>>,
}

/// The frame that was presented last.
#[derive(Clone, Copy)]
struct Shown {
    pts_ms: f64,
    size: (usize, usize),
}

/// What a viewer who comes now needs.
struct Video {
    media_type: String,
    head: Piece,
    /// The pictures since the last key frame; empty where they are too many.
    kept: Vec<Piece>,
    bytes: usize,
}

/// The writer for one connection.
struct Writer {
    stream: Arc<Stream>,
    /// Absent where the connection is not H.264.
    fragments: Option<Fragments>,
}

impl Relay {
    pub(super) fn new(tap: &Tap) -> Self {
        let subscription = tap.subscribe();
        let (lost, packets) = (subscription.lost(), subscription.packets);
        Self { packets, lost, shown: Mutex::default(), advanced: Condvar::new(), video: Mutex::new(None) }
    }

    /// The media type of what viewers get, where there is something.
    pub(super) fn media_type(&self) -> Option<String> {
        self.video().as_ref().map(|video| video.media_type.clone())
    }

    /// The source gives no packets any more; whether there was video until then.
    pub(super) fn forget(&self) -> bool {
        self.video().take().is_some()
    }

    /// Packets that were lost because viewers' video was not written in time.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The video lane has presented a frame.
    pub(super) fn advance(&self, pts_ms: f64, size: (usize, usize)) {
        *self.shown() = Some(Shown { pts_ms, size });
        self.advanced.notify_one();
    }

    /// Adds a viewer, who begins with the last key frame.
    pub(super) fn join(&self, hub: &Hub, mailbox: &Arc<Mailbox>) {
        // Nothing is sent to anybody meanwhile.
        let video = self.video();
        if let Some(video) = video.as_ref().filter(|_| mailbox.wants == Pictures::Video) {
            mailbox.piece(&video.head);
            video.kept.iter().for_each(|piece| mailbox.piece(piece));
        }
        hub.join(mailbox);
    }

    /// Passes packets on until `ended`.
    pub(super) fn run(&self, hub: &Hub, ended: &Cancel, changed: impl Fn()) -> Result<()> {
        let mut writer: Option<Writer> = None;
        while !ended.is_cancelled() {
            let Ok(coded) = self.packets.recv_timeout(POLL) else { continue };
            let Some(size) = self.wait_for(coded.stream.ms(coded.dts), ended) else { break };
            let known = writer.as_ref().is_some_and(|writer| Arc::ptr_eq(&writer.stream, &coded.stream));
            if !known {
                let before = self.media_type();
                let (fragments, begun) = begin(&coded, size)?;
                // Whoever joins meanwhile gets all of the old stream or all of the new one.
                let mut video = self.video();
                if let Some(begun) = &begun {
                    hub.piece(&begun.head);
                }
                *video = begun;
                drop(video);
                writer = Some(Writer { stream: Arc::clone(&coded.stream), fragments });
                if self.media_type() != before {
                    changed();
                }
            }
            if let Some(fragments) = writer.as_mut().and_then(|writer| writer.fragments.as_mut()) {
                self.pass(fragments, coded, hub)?;
            }
        }
        Ok(())
    }

    fn pass(&self, fragments: &mut Fragments, coded: Coded, hub: &Hub) -> Result<()> {
        let key = coded.packet.is_key();
        let bytes: Arc<[u8]> = fragments.write(coded.packet, coded.pts, coded.dts).map_err(failed)?.into();
        let length = bytes.len();
        let piece = if key { Piece::Key(bytes) } else { Piece::Fragment(bytes) };
        let mut video = self.video();
        if let Some(video) = video.as_mut() {
            if key {
                (video.kept, video.bytes) = (Vec::new(), 0);
            }
            video.bytes += length;
            if video.kept.len() < MAX_KEPT && video.bytes <= MAX_KEPT_BYTES && (key || !video.kept.is_empty())
            {
                video.kept.push(piece.clone());
            } else {
                video.kept = Vec::new();
            }
        }
        hub.piece(&piece);
        Ok(())
    }

    /// Waits until the frame of this decoding time has been presented; gives the size of frames, or nothing where the
    /// room ended before its first frame.
    fn wait_for(&self, dts_ms: f64, ended: &Cancel) -> Option<(usize, usize)> {
        let until = Instant::now() + PATIENCE;
        // Times are exact to a tick, and records to a microsecond.
        let late = |shown: Shown| shown.pts_ms < dts_ms - 0.001 && Instant::now() < until;
        let mut shown = self.shown();
        while shown.is_none_or(late) && !ended.is_cancelled() {
            shown = self.advanced.wait_timeout(shown, POLL).unwrap_or_else(PoisonError::into_inner).0;
        }
        shown.map(|shown| shown.size)
    }

    fn shown(&self) -> MutexGuard<'_, Option<Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn video(&self) -> MutexGuard<'_, Option<Video>> {
        self.video.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer for a connection, and its beginning; neither where browsers could not play it.
fn begin(first: &Coded, (width, height): (usize, usize)) -> Result<(Option<Fragments>, Option<Video>)> {
    let stream = &first.stream;
    let Some(media_type) = media_type(&stream.parameters) else { return Ok((None, None)) };
    let (fragments, bytes) =
        Fragments::start(&stream.parameters, stream.timing(first.dts)).map_err(failed)?;
    let origin_ms = stream.ms(first.dts);
    let message = Message::Video { media_type: media_type.clone(), origin_ms, width, height };
    let head = Piece::Head(Arc::new(Announced { text: to_text(&message)?.to_string(), bytes }));
    Ok((Some(fragments), Some(Video { media_type, head, kept: Vec::new(), bytes: 0 })))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Output { path: "video".into(), detail: error.to_string() }
}

//! Whoever watches a room: messages are queued per viewer, bounded, and the newest picture wins.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::server::limits::{Bound, Counters};

/// Text messages that wait for one viewer.
pub(in crate::server) const MAX_TEXTS: usize = 256;
/// Pieces of video that wait for one viewer, and their bytes: those since the last key frame for one who comes.
const MAX_PIECES: usize = 1000;
const MAX_PIECE_BYTES: usize = 24 << 20;
/// Pieces that may still wait when a key frame comes: a viewer who is further behind goes on with that.
const LATE_PIECES: usize = 60;

/// A picture, or the beginning of a video, with the text that announces it.
#[derive(Debug)]
pub(in crate::server) struct Announced {
    pub(in crate::server) text: String,
    pub(in crate::server) bytes: Vec<u8>,
}

/// A piece of video.
#[derive(Debug, Clone)]
pub(in crate::server) enum Piece {
    /// What comes before all fragments; another one where the video begins anew.
    Head(Arc<Announced>),
    /// A picture with which decoding can begin.
    Key(Arc<[u8]>),
    /// Any other picture.
    Fragment(Arc<[u8]>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Self::Head(head) => head.bytes.len(),
            Self::Key(bytes) | Self::Fragment(bytes) => bytes.len(),
        }
    }
}

/// Which pictures a viewer wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Pictures {
    None,
    /// As they came; pages draw the findings themselves.
    Plain,
    /// With the findings drawn.
    Drawn,
    /// As coded video, where the room has it.
    Video,
}

/// What waits for one viewer.
#[derive(Debug, Default)]
struct Queue {
    texts: VecDeque<Arc<str>>,
    picture: Option<Arc<Announced>>,
    video: VecDeque<Piece>,
    video_bytes: usize,
    /// Pieces are left out until the next key frame.
    skipping: bool,
    closed: bool,
    /// When the next picture may come.
    due: Option<Instant>,
}

/// One viewer's mailbox, with a descriptor that becomes readable when there is something in it.
#[derive(Debug)]
pub(in crate::server) struct Mailbox {
    pub(in crate::server) wants: Pictures,
    /// Least time between two pictures.
    gap: Duration,
    queue: Mutex<Queue>,
    /// The client takes nothing at present: no picture is coded for it.
    held_up: AtomicBool,
    bell: UnixStream,
    ear: UnixStream,
    counters: Arc<Counters>,
}

/// The next thing to send.
#[derive(Debug)]
pub(in crate::server) enum Mail {
    Text(Arc<str>),
    Picture(Arc<Announced>),
    Fragment(Arc<[u8]>),
    /// There will be no more.
    Closed,
}

impl Mailbox {
    pub(in crate::server) fn new(
        wants: Pictures,
        gap: Duration,
        counters: Arc<Counters>,
    ) -> Result<Arc<Self>> {
        let pair = UnixStream::pair().and_then(|(bell, ear)| {
            bell.set_nonblocking(true)?;
            ear.set_nonblocking(true)?;
            Ok((bell, ear))
        });
        let (bell, ear) = pair.map_err(|error| crate::server::unusable("a socket pair", &error))?;
        let held_up = AtomicBool::new(false);
        Ok(Arc::new(Self { wants, gap, queue: Mutex::default(), held_up, bell, ear, counters }))
    }

    /// Queues a text; the oldest gives way where too many wait.
    pub(in crate::server) fn text(&self, text: Arc<str>) {
        let mut queue = self.lock();
        if queue.texts.len() == MAX_TEXTS {
            queue.texts.pop_front();
            self.counters.hit(Bound::ViewerQueue);
        }
        queue.texts.push_back(text);
        drop(queue);
        self.ring();
    }

    /// Puts the newest picture in place of one that was not sent yet.
    pub(in crate::server) fn picture(&self, picture: Arc<Announced>) {
        let mut queue = self.lock();
        let now = Instant::now();
        if queue.due.is_some_and(|due| now < due) {
            return;
        }
        queue.due = Some(now + self.gap);
        queue.picture = Some(picture);
        drop(queue);
        self.ring();
    }

    /// Queues a piece of video. A viewer that is too slow loses what waits, and goes on with the next key frame.
    pub(in crate::server) fn piece(&self, piece: &Piece) {
        let mut queue = self.lock();
        match piece {
            Piece::Fragment(_) if queue.skipping => return,
            Piece::Head(_) => {
                queue.video.clear();
                queue.video_bytes = 0;
            }
            Piece::Key(_) | Piece::Fragment(_) => {}
        }
        queue.skipping = false;
        let late = matches!(piece, Piece::Key(_)) && queue.video.len() > LATE_PIECES;
        let full = queue.video.len() >= MAX_PIECES || queue.video_bytes + piece.len() > MAX_PIECE_BYTES;
        if late || full {
            queue.video.retain(|piece| matches!(piece, Piece::Head(_)));
            queue.video_bytes = queue.video.iter().map(Piece::len).sum();
            self.counters.hit(Bound::ViewerQueue);
            if let Piece::Fragment(_) = piece {
                queue.skipping = true;
                return;
            }
        }
        queue.video_bytes += piece.len();
        queue.video.push_back(piece.clone());
        drop(queue);
        self.ring();
    }

    /// Texts that wait.
    pub(in crate::server) fn texts(&self) -> usize {
        self.lock().texts.len()
    }

    /// Notes whether the client takes nothing. What waits then would be old by the time it does.
    pub(in crate::server) fn hold_up(&self, held_up: bool) {
        if self.held_up.swap(held_up, Ordering::Relaxed) != held_up && held_up {
            self.lock().picture = None;
        }
    }

    /// Whether a picture of this kind would be taken now.
    fn is_due(&self, kind: Pictures) -> bool {
        self.sees(kind) && self.lock().due.is_none_or(|due| Instant::now() >= due)
    }

    fn sees(&self, kind: Pictures) -> bool {
        self.wants == kind && !self.held_up.load(Ordering::Relaxed)
    }

    /// Lets the viewer go once it has got what waits.
    pub(in crate::server) fn close(&self) {
        self.lock().closed = true;
        self.ring();
    }

    /// The next thing to send: texts first, since a result is small and belongs to a picture that is there.
    pub(in crate::server) fn take(&self) -> Option<Mail> {
        let mut queue = self.lock();
        if let Some(text) = queue.texts.pop_front() {
            return Some(Mail::Text(text));
        }
        if let Some(picture) = queue.picture.take() {
            return Some(Mail::Picture(picture));
        }
        if let Some(piece) = queue.video.pop_front() {
            queue.video_bytes -= piece.len();
            return Some(match piece {
                Piece::Head(head) => Mail::Picture(head),
                Piece::Key(bytes) | Piece::Fragment(bytes) => Mail::Fragment(bytes),
            });
        }
        queue.closed.then_some(Mail::Closed)
    }

    /// Forgets that the bell rang.
    pub(in crate::server) fn hush(&self) {
        let mut scratch = [0; 64];
        while matches!((&self.ear).read(&mut scratch), Ok(count) if count == scratch.len()) {}
    }

    /// Readable when there is something to take.
    pub(in crate::server) fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    fn ring(&self) {
        // A full pipe rings already.
        let _ = (&self.bell).write(&[1]);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The viewers of one room.
#[derive(Debug, Default)]
pub(in crate::server) struct Hub {
    viewers: Mutex<Viewers>,
}

#[derive(Debug, Default)]
struct Viewers {
    mailboxes: Vec<Weak<Mailbox>>,
    /// There will be nothing more for anybody.
    closed: bool,
}

impl Hub {
    /// Adds a viewer, for as long as its mailbox lives. Whoever comes after the end is let go like those before.
    pub(in crate::server) fn join(&self, mailbox: &Arc<Mailbox>) {
        let mut viewers = self.lock();
        viewers.mailboxes.push(Arc::downgrade(mailbox));
        if viewers.closed {
            mailbox.close();
        }
    }

    /// Viewers that are there.
    pub(in crate::server) fn len(&self) -> usize {
        self.lock().mailboxes.iter().filter(|viewer| viewer.strong_count() > 0).count()
    }

    /// Whether anybody wants a picture of this kind now.
    pub(in crate::server) fn wants(&self, kind: Pictures) -> bool {
        self.lock().mailboxes.iter().filter_map(Weak::upgrade).any(|viewer| viewer.is_due(kind))
    }

    /// Tells everybody.
    pub(in crate::server) fn text(&self, text: &Arc<str>) {
        self.each(|viewer| viewer.text(Arc::clone(text)));
    }

    /// Shows a picture to those who want this kind.
    pub(in crate::server) fn picture(&self, kind: Pictures, picture: &Arc<Announced>) {
        self.each(|viewer| {
            if viewer.sees(kind) {
                viewer.picture(Arc::clone(picture));
            }
        });
    }

    /// Sends a piece of video to those who want it.
    pub(in crate::server) fn piece(&self, piece: &Piece) {
        self.each(|viewer| {
            if viewer.wants == Pictures::Video {
                viewer.piece(piece);
            }
        });
    }

    /// Lets everybody go, and whoever is still to come.
    pub(in crate::server) fn close(&self) {
        self.lock().closed = true;
        self.each(Mailbox::close);
    }

    fn each(&self, act: impl Fn(&Mailbox)) {
        self.lock().mailboxes.retain(|viewer| match viewer.upgrade() {
            Some(viewer) => {
                act(&viewer);
                true
            }
            None => false,
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Viewers> {
        self.viewers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A message as the text that is sent.
///
/// # Errors
/// [`Error::Output`] for figures that JSON cannot hold.
pub(in crate::server) fn to_text(message: &crate::server::api::Message) -> Result<Arc<str>> {
    serde_json::to_string(message)
        .map(Arc::from)
        .map_err(|error| Error::Output { path: "message".into(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(wants: Pictures) -> (Arc<Mailbox>, Arc<Counters>) {
        let counters = Arc::new(Counters::default());
        (Mailbox::new(wants, Duration::ZERO, Arc::clone(&counters)).unwrap(), counters)
    }

    #[test]
    fn a_slow_viewer_keeps_the_newest_picture_and_a_bounded_queue() {
        let (slow, counters) = mailbox(Pictures::Plain);
        let hub = Hub::default();
        hub.join(&slow);
        for n in 0..MAX_TEXTS + 10 {
            hub.text(&Arc::from(n.to_string()));
            let bytes = vec![n as u8];
            hub.picture(Pictures::Plain, &Arc::new(Announced { text: String::new(), bytes }));
        }
        assert_eq!(counters.hits(Bound::ViewerQueue), 10);
        let Some(Mail::Text(first)) = slow.take() else { panic!("no text") };
        assert_eq!(&*first, "10");
        while let Some(mail) = slow.take() {
            if let Mail::Picture(picture) = mail {
                assert_eq!(picture.bytes, [(MAX_TEXTS + 9) as u8]);
            }
        }
    }

    #[test]
    fn no_picture_is_coded_for_a_viewer_that_takes_none() {
        let (stuck, _) = mailbox(Pictures::Plain);
        let hub = Hub::default();
        hub.join(&stuck);
        let show = |n: u8| {
            hub.picture(Pictures::Plain, &Arc::new(Announced { text: String::new(), bytes: vec![n] }));
        };
        show(1);
        stuck.hold_up(true);
        assert!(!hub.wants(Pictures::Plain));
        // Coded for others, and old by the time this one reads on.
        show(2);
        stuck.hold_up(false);
        assert!(stuck.take().is_none() && hub.wants(Pictures::Plain));
        show(3);
        assert!(matches!(stuck.take(), Some(Mail::Picture(picture)) if picture.bytes == [3]));
    }

    #[test]
    fn a_slow_viewer_of_video_goes_on_with_a_key_frame_and_never_without_the_head() {
        let (slow, counters) = mailbox(Pictures::Video);
        let hub = Hub::default();
        hub.join(&slow);
        hub.piece(&Piece::Head(Arc::new(Announced { text: "head".to_owned(), bytes: vec![0] })));
        let piece = |n: usize| {
            let bytes: Arc<[u8]> = Arc::from((n as u32).to_be_bytes());
            if n.is_multiple_of(30) { Piece::Key(bytes) } else { Piece::Fragment(bytes) }
        };
        let take = || {
            let mut numbers = Vec::new();
            while let Some(Mail::Fragment(bytes)) = slow.take() {
                numbers.push(u32::from_be_bytes(bytes[..].try_into().unwrap()) as usize);
            }
            numbers
        };
        (0..200).for_each(|n| hub.piece(&piece(n)));
        assert_eq!(counters.hits(Bound::ViewerQueue), 3);
        assert!(matches!(slow.take(), Some(Mail::Picture(head)) if head.text == "head"));
        assert_eq!(take(), (180..200).collect::<Vec<_>>());
        // Without key frames there is nothing to go on with once it is full.
        (1..MAX_PIECES + 40).filter(|n| n % 30 != 0).for_each(|n| hub.piece(&piece(n)));
        (1..MAX_PIECES).filter(|n| n % 30 != 0).for_each(|n| hub.piece(&piece(n)));
        assert!(take().is_empty());
        (0..20).for_each(|n| hub.piece(&piece(n)));
        assert_eq!(take(), (0..20).collect::<Vec<_>>());
    }

    #[test]
    fn whoever_comes_after_the_end_is_let_go_like_those_before() {
        let hub = Hub::default();
        let (early, late) = (mailbox(Pictures::None).0, mailbox(Pictures::None).0);
        hub.join(&early);
        hub.text(&Arc::from("the last word"));
        hub.close();
        hub.join(&late);
        assert!(matches!(early.take(), Some(Mail::Text(_))));
        assert!([early, late].iter().all(|mailbox| matches!(mailbox.take(), Some(Mail::Closed))));
    }

    #[test]
    fn viewers_that_left_are_forgotten() {
        let hub = Hub::default();
        let (one, _) = mailbox(Pictures::Drawn);
        hub.join(&one);
        assert!(hub.wants(Pictures::Drawn) && !hub.wants(Pictures::Plain));
        assert_eq!(hub.len(), 1);
        drop(one);
        hub.text(&Arc::from("x"));
        assert!(!hub.wants(Pictures::Drawn));
        assert_eq!(hub.len(), 0);
    }
}

//! WebSocket sessions over tungstenite: watching a room, being a room's camera, or having pictures analysed.
//!
//! A session lives on its connection's thread. It never blocks in a read or a write: it waits by `poll` for its
//! socket and for its mailbox, reads whatever has arrived (so that a picture which is too late is dropped here and
//! not left to age in the kernel's buffers), and writes one message at a time.

mod analyse;
mod plan;

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error as WsError, Message as Packet, WebSocket};

use super::api::{Control, Message};
use super::front::Stream;
use super::limits::{Bound, Limits};
use super::rooms::Room;
use super::rooms::hub::{Announced, MAX_TEXTS, Mail, Mailbox, to_text};
use super::{BodyMemory, Shared};
use analyse::Analysis;
use plan::Wanted;
pub(super) use plan::{Plan, plan};

/// Silence after which a client is asked whether it is still there.
const PING_AFTER: Duration = Duration::from_secs(15);
/// Time for the closing handshake.
const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Messages that are read in one go before anything is written.
const BATCH: usize = 64;
/// Most characters of what a client is told about a message.
const MAX_DETAIL: usize = 500;
/// Answers that may wait for a client whose pictures are analysed. All of them can become ready at once, and must fit
/// into its mailbox: no more of its pictures are read before.
const MAX_UNSAID: usize = MAX_TEXTS / 2;
/// Of a client that sends no pictures, messages of this many times the bound on texts are still answered, unread; a
/// larger one ends the session.
const UNREAD: u64 = 4;
/// Bytes that the protocol reads and writes at once.
const BUFFER: usize = 64 << 10;

/// Why a session ends.
struct Ending(CloseCode, &'static str);

const STOPPING: Ending = Ending(CloseCode::Away, "the server stops");

/// A session.
struct Session<'a> {
    socket: WebSocket<Stream>,
    shared: &'a Arc<Shared>,
    mailbox: Arc<Mailbox>,
    part: Part,
    /// The picture whose announcement was sent, and which follows now.
    following: Option<Arc<Announced>>,
    /// Since when the client takes nothing.
    blocked: Option<Instant>,
    heard: Instant,
    pinged: Instant,
}

/// What a client does here.
enum Part {
    Watches(Arc<Room>),
    /// Is the room's camera.
    Feeds(Arc<Room>),
    Analyses(Box<Analysis>),
}

/// Runs a session on a connection that was upgraded, until either side ends it.
pub(super) fn run(stream: Stream, received: Vec<u8>, plan: Plan, id: &str, shared: &Arc<Shared>) {
    let config = config(&shared.limits, plan.sends_pictures());
    let socket = WebSocket::from_partially_read(stream, received, Role::Server, Some(config));
    let mailbox = plan.mailbox;
    let part = match &plan.wanted {
        Wanted::Watch(room) => {
            room.join(&mailbox);
            Part::Watches(Arc::clone(room))
        }
        Wanted::Feed(seat) => {
            seat.room.join(&mailbox);
            Part::Feeds(Arc::clone(&seat.room))
        }
        Wanted::Analyse(settings) => Part::Analyses(Box::new(Analysis::new(
            settings.clone(),
            Arc::clone(&mailbox),
            Arc::clone(shared),
        ))),
    };
    let now = Instant::now();
    let session =
        Session { socket, shared, mailbox, part, following: None, blocked: None, heard: now, pinged: now };
    let ending = session.run();
    shared.log.say(
        super::log::Level::Debug,
        "websocket_end",
        [("request_id", id.into()), ("code", u16::from(ending.0).into()), ("detail", ending.1.into())],
    );
}

fn config(limits: &Limits, takes_pictures: bool) -> WebSocketConfig {
    // The protocol holds a message until it is whole, and until then no other bound counts it.
    let texts = usize::try_from(limits.control_bytes.saturating_mul(UNREAD)).unwrap_or(usize::MAX);
    let most = if takes_pictures { limits.message_bytes } else { texts.min(limits.message_bytes) };
    WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER)
        // One message is written at a time; the largest picture must fit.
        .max_write_buffer_size(2 * limits.message_bytes + BUFFER)
        .max_message_size(Some(most))
        .max_frame_size(Some(most))
        .accept_unmasked_frames(false)
}

impl Session<'_> {
    fn run(mut self) -> Ending {
        match &self.part {
            Part::Watches(room) | Part::Feeds(room) => {
                if let Ok(text) = to_text(&Message::Room(Box::new(room.info()))) {
                    self.mailbox.text(text);
                }
            }
            Part::Analyses(analysis) => analysis.tell_settings(),
        }
        loop {
            let step = self.read().and_then(|()| self.work()).and_then(|()| self.write());
            if let Err(ending) = step {
                // What was answered before goes out before the goodbye, to whoever takes it.
                if ending.0 != CloseCode::Abnormal {
                    let _ = self.write();
                }
                self.close(&ending);
                return ending;
            }
            if self.shared.stop.is_cancelled() {
                self.close(&STOPPING);
                return STOPPING;
            }
            self.wait();
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, !self.is_behind());
        interest.set(PollFlags::OUT, self.blocked.is_some());
        // A picture that waits to be decoded is work already.
        let limit = match &self.part {
            Part::Analyses(analysis) if analysis.has_work() => Duration::ZERO,
            _ => Duration::from_millis(250),
        };
        let limit = Timespec { tv_sec: 0, tv_nsec: limit.subsec_nanos().into() };
        let mut fds = [
            PollFd::new(self.socket.get_ref(), interest),
            PollFd::from_borrowed_fd(self.mailbox.ear(), PollFlags::IN),
        ];
        let _ = poll(&mut fds, Some(&limit));
        self.mailbox.hush();
    }

    /// Whether a client has to wait until what it sent is answered.
    fn is_behind(&self) -> bool {
        match &self.part {
            Part::Analyses(analysis) => analysis.unsaid() + self.mailbox.texts() >= MAX_UNSAID,
            Part::Watches(_) | Part::Feeds(_) => false,
        }
    }

    fn read(&mut self) -> Result<(), Ending> {
        for _ in 0..BATCH {
            if self.is_behind() {
                return Ok(());
            }
            let packet = match self.socket.read() {
                Ok(packet) => packet,
                Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return self.check_silence();
                }
                Err(error) => return Err(self.ending_of(error)),
            };
            self.heard = Instant::now();
            match packet {
                Packet::Binary(bytes) => self.picture(bytes)?,
                Packet::Text(text) => self.control(&text)?,
                // The answer is queued by the protocol; reading on completes the handshake.
                Packet::Ping(_) | Packet::Pong(_) | Packet::Close(_) | Packet::Frame(_) => {}
            }
        }
        Ok(())
    }

    fn check_silence(&mut self) -> Result<(), Ending> {
        let silence = self.heard.elapsed();
        if silence > self.shared.limits.websocket_idle_time {
            self.shared.counters.hit(Bound::IdleTime);
            return Err(Ending(CloseCode::Policy, "no sign of life"));
        }
        if silence > PING_AFTER && self.pinged.elapsed() > PING_AFTER && self.blocked.is_none() {
            self.pinged = Instant::now();
            return self.send(Packet::Ping(Bytes::new()));
        }
        Ok(())
    }

    fn ending_of(&self, error: WsError) -> Ending {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => {
                Ending(CloseCode::Normal, "the client left")
            }
            WsError::Capacity(_) => {
                self.shared.counters.hit(Bound::MessageBytes);
                let detail = match self.part {
                    Part::Watches(_) => {
                        "the message is too large; add push=true to send pictures to this room"
                    }
                    Part::Feeds(_) | Part::Analyses(_) => "the message is too large",
                };
                Ending(CloseCode::Size, detail)
            }
            WsError::Utf8(_) => Ending(CloseCode::Invalid, "the text is not UTF-8"),
            WsError::Protocol(_) => Ending(CloseCode::Protocol, "the protocol was broken"),
            _ => Ending(CloseCode::Abnormal, "the connection broke"),
        }
    }

    fn picture(&mut self, bytes: Bytes) -> Result<(), Ending> {
        match &mut self.part {
            Part::Watches(_) => {
                Err(Ending(CloseCode::Unsupported, "add push=true to send pictures to this room"))
            }
            Part::Feeds(room) => {
                if let Some(inlet) = &room.inlet {
                    let memory = BodyMemory::for_picture(self.shared, bytes.len());
                    inlet.put(bytes.into(), memory);
                }
                Ok(())
            }
            Part::Analyses(analysis) => {
                analysis.put(bytes.into());
                Ok(())
            }
        }
    }

    fn control(&mut self, text: &str) -> Result<(), Ending> {
        let limit = self.shared.limits.control_bytes;
        if text.len() as u64 > limit {
            self.shared.counters.hit(Bound::MessageBytes);
            self.tell_error(format!("the message is not understood: it has more than {limit} bytes"));
            return Ok(());
        }
        let control = match serde_json::from_str::<Control>(text) {
            Ok(control) => control,
            Err(error) => {
                self.tell_error(format!("the message is not understood: {error}"));
                return Ok(());
            }
        };
        match (&mut self.part, control) {
            (Part::Analyses(analysis), Control::Configure { model, max_latency_ms, overlay }) => {
                if let Err(detail) = analysis.configure(model, max_latency_ms, overlay) {
                    self.tell_error(detail);
                }
            }
            (Part::Watches(_) | Part::Feeds(_), _) => {
                self.tell_error("a room's settings are those it was started with".to_owned());
            }
        }
        Ok(())
    }

    fn tell_error(&self, detail: String) {
        // It may repeat what the client sent, and many may wait for a client that reads nothing.
        let detail = detail.chars().take(MAX_DETAIL).collect();
        if let Ok(text) = to_text(&Message::Error { frame_id: None, detail }) {
            self.mailbox.text(text);
        }
    }

    fn work(&mut self) -> Result<(), Ending> {
        match &mut self.part {
            Part::Analyses(analysis) => {
                analysis.work().map_err(|()| Ending(CloseCode::Error, "the analysis ended; the log says why"))
            }
            // The room closes the mailbox at its end, after its last word.
            Part::Watches(_) | Part::Feeds(_) => Ok(()),
        }
    }

    /// Writes mail as long as the client takes it.
    fn write(&mut self) -> Result<(), Ending> {
        self.flush()?;
        while self.blocked.is_none() {
            if let Some(picture) = self.following.take() {
                self.send(Packet::Binary(Bytes::copy_from_slice(&picture.bytes)))?;
                continue;
            }
            match self.mailbox.take() {
                Some(Mail::Text(text)) => self.send(Packet::text(&*text))?,
                Some(Mail::Picture(picture)) => {
                    self.send(Packet::text(picture.text.as_str()))?;
                    self.following = Some(picture);
                }
                Some(Mail::Fragment(bytes)) => self.send(Packet::Binary(Bytes::copy_from_slice(&bytes)))?,
                Some(Mail::Closed) if self.shared.rooms.are_closed() => return Err(STOPPING),
                Some(Mail::Closed) => return Err(Ending(CloseCode::Normal, "the room has ended")),
                None => break,
            }
        }
        Ok(())
    }

    fn send(&mut self, packet: Packet) -> Result<(), Ending> {
        match self.socket.write(packet) {
            Ok(()) => {}
            // It is in the protocol's buffer all the same.
            Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(self.ending_of(error)),
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Ending> {
        match self.socket.flush() {
            Ok(()) => self.blocked = None,
            Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                let since = *self.blocked.get_or_insert_with(Instant::now);
                if since.elapsed() > self.shared.limits.write_time {
                    self.shared.counters.hit(Bound::WriteTime);
                    return Err(Ending(CloseCode::Abnormal, "the client takes nothing"));
                }
            }
            Err(error) => return Err(self.ending_of(error)),
        }
        self.tell_mailbox();
        Ok(())
    }

    /// A room codes no pictures for whoever takes none; what a client's own pictures become is kept for it.
    fn tell_mailbox(&self) {
        if !matches!(self.part, Part::Analyses(_)) {
            self.mailbox.hold_up(self.blocked.is_some());
        }
    }

    /// Ends the session in order, within limits.
    fn close(&mut self, ending: &Ending) {
        if ending.0 == CloseCode::Abnormal {
            return;
        }
        let frame = CloseFrame { code: ending.0, reason: ending.1.into() };
        let _ = self.socket.close(Some(frame));
        // With a client that broke the protocol there is no handshake (RFC 6455, section 7.1.7): it is told why, and
        // what it still sends is thrown away, so that it can read that.
        let broken = matches!(ending.0, CloseCode::Protocol | CloseCode::Invalid | CloseCode::Size);
        let until = Instant::now() + CLOSE_TIME;
        // Whoever sent too much is let finish first.
        let mut quiet = ending.0 != CloseCode::Size;
        // Whether we have said everything, and whether the client has.
        let (mut ended, mut gone) = (false, false);
        while Instant::now() < until {
            let flushed = match self.socket.flush() {
                Ok(()) => true,
                Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => false,
                Err(_) if ended => true,
                Err(_) => return,
            };
            if flushed && broken && quiet && !ended {
                ended = true;
                if self.socket.get_mut().end_writing().is_err() {
                    return;
                }
            }
            let more = match gone {
                true => Err(()),
                false if broken => self.throw_away(),
                false => self.read_on(),
            };
            match more {
                Ok(true) => continue,
                Ok(false) => {}
                Err(()) if flushed => return,
                Err(()) => gone = true,
            }
            let mut interest = if gone { PollFlags::empty() } else { PollFlags::IN };
            interest.set(PollFlags::OUT, !flushed);
            let limit = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let stream = self.socket.get_ref().as_fd();
            quiet |= poll(&mut [PollFd::from_borrowed_fd(stream, interest)], Some(&limit)) == Ok(0);
        }
    }

    /// Reads a message on the way to the end of the handshake. `Err` where it has come.
    fn read_on(&mut self) -> Result<bool, ()> {
        match self.socket.read() {
            Ok(_) => Ok(true),
            Err(WsError::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(()),
        }
    }

    /// Reads whatever comes. `Err` where the client has gone.
    fn throw_away(&mut self) -> Result<bool, ()> {
        let mut scratch = [0; 16 << 10];
        match self.socket.get_mut().read(&mut scratch) {
            Ok(0) => Err(()),
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(_) => Err(()),
        }
    }
}

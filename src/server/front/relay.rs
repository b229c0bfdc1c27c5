//! The way from the front door to `tiny_http`: vetted requests over a private Unix socket.
//!
//! `tiny_http` sees only what is written here: a method, a path that was checked, a body that is already whole, and
//! a handful of headers. Connections are opened when the server starts and kept, so that it need not accept any
//! when descriptors are short.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::server::watched::LONGEST_OPENING;

/// Largest response that is passed on.
const MAX_RESPONSE_BYTES: usize = 128 << 20;
/// Largest head of a response.
const MAX_HEAD_BYTES: usize = 64 << 10;
/// Time for an answer. The longest work is to open a model, and then an analysis; both have limits of their own.
const ANSWER_TIME: Duration = LONGEST_OPENING.saturating_add(Duration::from_secs(30));
/// Headers that are passed on to the client.
const PASSED: [&str; 8] = [
    "content-type",
    "cache-control",
    "location",
    "retry-after",
    "endort-record",
    "etag",
    "allow",
    "content-language",
];

/// A request as `tiny_http` gets it.
#[derive(Debug)]
pub(super) struct Vetted<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: &'a [u8],
}

/// Its answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Connections to the HTTP server, and turns to use one.
#[derive(Debug)]
pub(super) struct Relay {
    path: PathBuf,
    idle: Mutex<Vec<UnixStream>>,
    opening: Mutex<()>,
    turns: [Turns; 2],
}

/// Kinds of turns.
#[derive(Debug, Clone, Copy)]
pub(super) enum Turn {
    Light = 0,
    Heavy = 1,
}

#[derive(Debug)]
struct Turns {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A turn, given back when dropped.
pub(super) struct Taken<'a>(&'a Turns);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

impl Relay {
    /// Connections to the server at `path`, for so many requests at once of each kind.
    pub(super) fn new(path: PathBuf, light: usize, heavy: usize) -> io::Result<Self> {
        let turns = [light, heavy].map(|free| Turns { free: Mutex::new(free), freed: Condvar::new() });
        let relay = Self { path, idle: Mutex::default(), opening: Mutex::default(), turns };
        let kept = (0..light + heavy).map(|_| relay.open()).collect::<io::Result<_>>()?;
        *relay.idle.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        Ok(relay)
    }

    /// Opens a connection and makes sure that somebody serves it.
    ///
    /// `tiny_http` counts its idle threads too late: of several connections that come at once, some would wait until
    /// another ends, which kept ones never do. So they come one after the other, each with a first request.
    fn open(&self) -> io::Result<UnixStream> {
        let _alone = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = UnixStream::connect(&self.path)?;
        let target = "/healthz".to_owned();
        exchange(&mut stream, &Vetted { method: "GET", target, headers: Vec::new(), body: &[] })?;
        Ok(stream)
    }

    /// Waits for a turn; `None` if there is none in time.
    pub(super) fn turn(&self, kind: Turn, time: Duration) -> Option<Taken<'_>> {
        let turns = &self.turns[kind as usize];
        let until = Instant::now() + time;
        let mut free = turns.free.lock().unwrap_or_else(PoisonError::into_inner);
        while *free == 0 {
            let left = until.checked_duration_since(Instant::now())?;
            free = turns.freed.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *free -= 1;
        Some(Taken(turns))
    }

    /// Passes a request on and waits for the answer.
    pub(super) fn pass(&self, request: &Vetted) -> io::Result<Answer> {
        let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let was_kept = kept.is_some();
        let mut stream = match kept {
            Some(stream) => stream,
            None => self.open()?,
        };
        let answer = match exchange(&mut stream, request) {
            // A kept connection may have been closed meanwhile; nothing was answered then.
            Err(error) if was_kept && error.kind() != ErrorKind::TimedOut => {
                stream = self.open()?;
                exchange(&mut stream, request)?
            }
            answer => answer?,
        };
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
        Ok(answer)
    }
}

fn exchange(stream: &mut UnixStream, request: &Vetted) -> io::Result<Answer> {
    stream.set_write_timeout(Some(ANSWER_TIME))?;
    let mut head = format!("{} {} HTTP/1.1\r\nHost: endort\r\n", request.method, request.target);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n", request.body.len()));
    stream.write_all(head.as_bytes())?;
    stream.write_all(request.body)?;
    read_answer(stream)
}

fn read_answer(stream: &mut UnixStream) -> io::Result<Answer> {
    let until = Instant::now() + ANSWER_TIME;
    let mut bytes = Vec::with_capacity(8 << 10);
    let mut scratch = [0; 16 << 10];
    let end = loop {
        let from = bytes.len();
        read_some(stream, &mut scratch, until, &mut bytes)?;
        if let Some(end) = super::head::end(&bytes, from) {
            break end;
        }
        if bytes.len() > MAX_HEAD_BYTES {
            return Err(broken("its head is too large"));
        }
    };
    let mut body = bytes.split_off(end);
    let (status, headers, length) = parse(&bytes)?;
    if length > MAX_RESPONSE_BYTES {
        return Err(broken("its body is too large"));
    }
    while body.len() < length {
        read_some(stream, &mut scratch, until, &mut body)?;
    }
    if body.len() > length {
        return Err(broken("it says more than it announced"));
    }
    Ok(Answer { status, headers, body })
}

fn read_some(
    stream: &mut UnixStream,
    scratch: &mut [u8],
    until: Instant,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    let left = until.checked_duration_since(Instant::now()).ok_or(ErrorKind::TimedOut)?;
    stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
    match stream.read(scratch) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => {
            into.extend_from_slice(&scratch[..count]);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        Err(error) => Err(error),
    }
}

type Parsed = (u16, Vec<(String, String)>, usize);

fn parse(bytes: &[u8]) -> io::Result<Parsed> {
    let mut storage = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut storage);
    response.parse(bytes).map_err(|_| broken("its head is malformed"))?;
    let status = response.code.ok_or_else(|| broken("its head is incomplete"))?;
    let (mut headers, mut length) = (Vec::new(), (status == 204).then_some(0));
    for header in response.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        let Ok(value) = std::str::from_utf8(header.value) else { continue };
        if name == "content-length" {
            length = value.parse().ok();
        } else if PASSED.contains(&name.as_str()) {
            headers.push((header.name.to_owned(), value.to_owned()));
        }
    }
    Ok((status, headers, length.ok_or_else(|| broken("it announces no length"))?))
}

fn broken(detail: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, detail)
}

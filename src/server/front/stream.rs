//! A client's socket with deadlines, plain or under TLS.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustls::{ServerConnection, StreamOwned};

/// Shortest time limit that is given to the system: zero would mean none.
const SHORTEST: Duration = Duration::from_millis(1);
/// Most bytes and time spent on what a refused client still sends, so that it can read its answer.
const LINGER_BYTES: usize = 256 << 10;
const LINGER_TIME: Duration = Duration::from_millis(500);

/// A TCP socket whose reads and writes end at a deadline, however the bytes trickle.
#[derive(Debug)]
pub(in crate::server) struct Socket {
    tcp: TcpStream,
    read_until: Option<Instant>,
    write_until: Option<Instant>,
}

/// What is left until `deadline`; an error once it has passed.
fn left(deadline: Option<Instant>) -> io::Result<Option<Duration>> {
    let Some(deadline) = deadline else { return Ok(None) };
    match deadline.checked_duration_since(Instant::now()) {
        Some(left) => Ok(Some(left.max(SHORTEST))),
        None => Err(ErrorKind::TimedOut.into()),
    }
}

/// A blocking socket reports a passed time limit as "would block".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::WouldBlock { ErrorKind::TimedOut.into() } else { error }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match left(self.read_until)? {
            None => self.tcp.read(buffer),
            limit => {
                self.tcp.set_read_timeout(limit)?;
                self.tcp.read(buffer).map_err(timed_out)
            }
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match left(self.write_until)? {
            None => self.tcp.write(bytes),
            limit => {
                self.tcp.set_write_timeout(limit)?;
                self.tcp.write(bytes).map_err(timed_out)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to a client.
#[derive(Debug)]
pub(in crate::server) enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ServerConnection, Socket>>),
}

impl Stream {
    /// Takes a socket that was accepted; nothing is read yet.
    pub(super) fn new(tcp: TcpStream, tls: Option<ServerConnection>) -> Self {
        let socket = Socket { tcp, read_until: None, write_until: None };
        match tls {
            Some(connection) => Self::Tls(Box::new(StreamOwned::new(connection, socket))),
            None => Self::Plain(socket),
        }
    }

    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &mut stream.sock,
        }
    }

    /// Everything that is read from now on must be there by then.
    pub(super) fn read_within(&mut self, time: Duration) {
        self.socket_mut().read_until = Some(Instant::now() + time);
    }

    /// Everything that is written from now on must be taken by then.
    pub(super) fn write_within(&mut self, time: Duration) {
        self.socket_mut().write_until = Some(Instant::now() + time);
    }

    /// Completes the TLS handshake, within the time for reading and writing.
    pub(super) fn handshake(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            let stream = &mut **stream;
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock)?;
            }
        }
        Ok(())
    }

    /// No more deadlines: reads and writes return at once, for somebody who waits by `poll`.
    pub(in crate::server) fn into_nonblocking(mut self) -> io::Result<Self> {
        let socket = self.socket_mut();
        (socket.read_until, socket.write_until) = (None, None);
        socket.tcp.set_read_timeout(None)?;
        socket.tcp.set_write_timeout(None)?;
        socket.tcp.set_nonblocking(true)?;
        Ok(self)
    }

    /// Says that nothing more is written; what the client still sends can be read.
    pub(in crate::server) fn end_writing(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        self.socket().tcp.shutdown(Shutdown::Write)
    }

    /// Ends the connection so that the client gets what was written even if it is still sending.
    pub(super) fn close(mut self) {
        if self.end_writing().is_err() {
            return;
        }
        let socket = self.socket_mut();
        socket.read_until = Some(Instant::now() + LINGER_TIME);
        let (mut scratch, mut taken) = ([0; 4096], 0);
        while taken < LINGER_BYTES {
            match socket.read(&mut scratch) {
                Ok(0) | Err(_) => break,
                Ok(bytes) => taken += bytes,
            }
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().tcp.as_fd()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

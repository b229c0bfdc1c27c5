//! The front door: the listening socket, and everything that a client must pass before it is answered.
//!
//! `tiny_http` must not face a network (it allocates whatever length a client announces, has no time limits, and
//! stops for good when `accept` fails once), so it does not. Here each connection gets a thread, its requests are
//! parsed strictly ([`head`]), bounded in size and time ([`stream`]), checked for Origin, Host and token, and only
//! then passed on over a private socket ([`relay`]). WebSocket connections are handed to
//! [`websocket`](super::websocket) as they are.

mod connection;
mod cors;
pub(super) mod head;
mod refusal;
mod relay;
mod stream;
pub(super) mod tls;
mod upgrade;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustls::{ServerConfig, ServerConnection};

use super::Shared;
use super::limits::{Bound, Held};
use crate::error::{Error, Result};
use connection::Connection;
pub(super) use refusal::Refusal;
use relay::Relay;
pub(super) use stream::Stream;

/// Stack of a connection's thread. Pictures are decoded elsewhere.
const STACK_BYTES: usize = 512 << 10;
/// How often the accept loop looks whether the server stops.
const POLL: Duration = Duration::from_millis(100);
/// Pauses after `accept` failed for want of descriptors or memory.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(10), Duration::from_secs(1)];
/// The whole answer to one connection too many.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n";

/// The front door of a server.
pub(super) struct Front {
    listener: TcpListener,
    shared: Arc<Shared>,
    relay: Arc<Relay>,
    tls: Option<Arc<ServerConfig>>,
}

impl Front {
    /// A door at `listener` to the HTTP server at `backend`.
    ///
    /// # Errors
    /// Without time limits and bounds there is no door.
    pub(super) fn new(
        listener: TcpListener,
        shared: Arc<Shared>,
        backend: PathBuf,
        tls: Option<Arc<ServerConfig>>,
    ) -> Result<Self> {
        if !connection::sound(&shared.limits) {
            let detail = "every time limit and bound must be more than nothing".to_owned();
            return Err(Error::Config { origin: "server".to_owned(), detail });
        }
        let (light, heavy) = (shared.limits.requests, shared.limits.analyses);
        let relay = Relay::new(backend.clone(), light, heavy).map_err(Error::read(backend))?;
        listener.set_nonblocking(true).map_err(|error| super::unusable("the listening socket", &error))?;
        Ok(Self { listener, shared, relay: Arc::new(relay), tls })
    }

    /// Lets clients in until the server stops. What `accept` may say never ends it.
    pub(super) fn run(&self) {
        let [shortest, longest] = BACK_OFF;
        let mut pause = shortest;
        while !self.shared.stop.is_cancelled() {
            let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
            let limit = Timespec { tv_sec: 0, tv_nsec: POLL.subsec_nanos().into() };
            let _ = poll(&mut waiting, Some(&limit));
            match self.listener.accept() {
                Ok((socket, peer)) => {
                    pause = shortest;
                    self.admit(socket, peer);
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                // The client had gone again before it was let in.
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    self.shared.counters.hit(Bound::Descriptors);
                    self.shared.log.warn("accept_failed", [("detail", error.to_string().into())]);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(longest);
                }
            }
        }
    }

    fn admit(&self, socket: TcpStream, peer: SocketAddr) {
        let shared = &self.shared;
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        // Results are small and late ones are worthless.
        if socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(false)).is_err() {
            return;
        }
        let Some(open) = Open::count(shared) else {
            shared.counters.hit(Bound::Connections);
            return turn_away(socket, self.tls.is_some());
        };
        let tls = match self.tls.clone().map(ServerConnection::new).transpose() {
            Ok(tls) => tls,
            Err(error) => {
                return shared.log.warn("tls_failed", [("detail", error.to_string().into())]);
            }
        };
        let connection = Connection {
            shared: Arc::clone(shared),
            relay: Arc::clone(&self.relay),
            peer,
            scheme: if tls.is_some() { "https" } else { "http" },
            stream: Stream::new(socket, tls),
            received: Vec::new(),
        };
        let spawned = Builder::new().name("connection".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            let _open = open;
            connection.run();
        });
        if let Err(error) = spawned {
            shared.counters.hit(Bound::Connections);
            shared.log.warn("no_thread", [("detail", error.to_string().into())]);
        }
    }
}

/// An open connection; counted until dropped.
struct Open(Arc<Shared>);

impl Open {
    fn count(shared: &Arc<Shared>) -> Option<Self> {
        // The guard's own end is of no use here: it would borrow what the thread has to own.
        Held::take(&shared.counters.connections, shared.limits.connections).map(std::mem::forget)?;
        Some(Self(Arc::clone(shared)))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counters.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells one client too many, if that costs nothing.
fn turn_away(mut socket: TcpStream, tls: bool) {
    if !tls && socket.set_nonblocking(true).is_ok() {
        let _ = socket.write(FULL);
    }
}

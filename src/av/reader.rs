//! Standard input and named pipes, read so that a writer who falls silent can be given up.
//!
//! FFmpeg's own pipe protocol blocks in `read(2)`, where no interrupt callback reaches it.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_next::ffi;

use super::error::AvError;
use super::watch::Watch;

/// Size of FFmpeg's buffer for such a reader, in bytes.
const BUFFER: usize = 64 * 1024;

/// How often a silent pipe is left to look at the watch.
const POLL: Duration = Duration::from_millis(50);

/// An `AVIOContext` over a pipe.
#[derive(Debug)]
pub(crate) struct Reader {
    context: *mut ffi::AVIOContext,
    /// What the callback reads from; boxed because FFmpeg keeps its address.
    _state: Box<State>,
}

#[derive(Debug)]
struct State {
    pipe: File,
    watch: Arc<Watch>,
}

impl Reader {
    /// Reads `pipe`, given up when `watch` says so.
    pub(crate) fn new(pipe: File, watch: Arc<Watch>) -> Result<Self, AvError> {
        let mut state = Box::new(State { pipe, watch });
        // SAFETY: no preconditions; the result is checked.
        let buffer = unsafe { ffi::av_malloc(BUFFER) };
        if buffer.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let opaque: *mut c_void = ptr::from_mut(&mut *state).cast();
        // SAFETY: the buffer was allocated by FFmpeg with this length, and the state outlives the context.
        let context = unsafe {
            ffi::avio_alloc_context(buffer.cast(), BUFFER as c_int, 0, opaque, Some(read), None, None)
        };
        if context.is_null() {
            // SAFETY: the buffer is still ours.
            unsafe { ffi::av_free(buffer) };
            return Err(AvError::NO_MEMORY);
        }
        Ok(Self { context, _state: state })
    }

    /// For `AVFormatContext.pb`.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut ffi::AVIOContext {
        self.context
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: context and buffer are ours (FFmpeg may have replaced the buffer, so it is read from the
        // context), and the format context that used them is closed before.
        unsafe {
            ffi::av_freep((&raw mut (*self.context).buffer).cast());
            ffi::avio_context_free(&raw mut self.context);
        }
    }
}

unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: `opaque` is the boxed state of the `Reader` that owns the calling context, which one thread
    // uses at a time; FFmpeg passes a buffer of `size` writable bytes.
    let (state, buffer) = unsafe {
        let size = usize::try_from(size).unwrap_or(0);
        ptr::write_bytes(buffer, 0, size);
        (&mut *opaque.cast::<State>(), std::slice::from_raw_parts_mut(buffer, size))
    };
    loop {
        if state.watch.is_cancelled() || state.watch.is_late() {
            return AvError::EXIT.code();
        }
        match readable(state.pipe.as_raw_fd()) {
            Ok(true) => {}
            Ok(false) => continue,
            Err(errno) => return -errno,
        }
        match state.pipe.read(buffer) {
            Ok(0) => return AvError::EOF.code(),
            Ok(n) => return c_int::try_from(n).unwrap_or(c_int::MAX),
            Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(e) => return -e.raw_os_error().unwrap_or(libc::EIO),
        }
    }
}

/// Waits up to [`POLL`] for data or the end of it.
fn readable(fd: RawFd) -> Result<bool, i32> {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    // SAFETY: one valid entry is passed, and its count says so.
    let ready = unsafe { libc::poll(&raw mut poll, 1, POLL.as_millis() as c_int) };
    match ready {
        0.. => Ok(ready > 0),
        _ => match std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) {
            libc::EINTR => Ok(false),
            errno => Err(errno),
        },
    }
}

//! FFmpeg's log: silent by default, handed to a hook where the application sets one.
//!
//! FFmpeg writes to standard error by itself, and floods it when a stream is joined in the middle of a group
//! of pictures. Its callback is replaced for the whole process the first time endort uses FFmpeg.

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::RwLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use ffmpeg_next::ffi;

use crate::source::redact::redact;

/// How serious a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something failed.
    Error,
    /// Something is odd.
    Warning,
    /// For the curious.
    Info,
}

/// Takes one line of FFmpeg's log, without credentials.
pub type Hook = Box<dyn Fn(Level, &str) + Send + Sync>;

/// Longest line that is kept, in bytes.
const MAX_LINE: usize = 512;

static HOOK: RwLock<Option<Hook>> = RwLock::new(None);

/// `av_log_format_line2`, kept without its type: see [`install_for`].
static FORMAT_LINE: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

thread_local! {
    /// The first error that FFmpeg logged on this thread since [`forget`]: the root cause, where FFmpeg's
    /// return value is only "invalid data".
    static CAUSE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Sends FFmpeg's log to `hook`, or nowhere. Lines arrive on any thread.
pub fn set_hook(hook: Option<Hook>) {
    *HOOK.write().unwrap_or_else(std::sync::PoisonError::into_inner) = hook;
}

/// Forgets the cause kept for this thread.
pub(crate) fn forget() {
    CAUSE.with_borrow_mut(|cause| *cause = None);
}

/// The first error logged on this thread since [`forget`].
pub(crate) fn cause() -> Option<String> {
    CAUSE.with_borrow_mut(Option::take)
}

/// Replaces FFmpeg's callback.
pub(super) fn install() {
    install_for(ffi::av_log_set_callback, ffi::av_log_format_line2);
}

type Callback<V> = unsafe extern "C" fn(*mut c_void, c_int, *const c_char, V);
type FormatLine<V> =
    unsafe extern "C" fn(*mut c_void, c_int, *const c_char, V, *mut c_char, c_int, *mut c_int) -> c_int;

/// `V` is C's `va_list` as a function's argument, which is another type on every platform: inferred here
/// from the bindings, so that it need not be named.
fn install_for<V>(set_callback: unsafe extern "C" fn(Option<Callback<V>>), format_line: FormatLine<V>) {
    FORMAT_LINE.store(format_line as *mut c_void, Ordering::Release);
    // SAFETY: `on_line` has the type that FFmpeg calls, and lives as long as the process.
    unsafe { set_callback(Some(on_line::<V>)) };
}

unsafe extern "C" fn on_line<V>(context: *mut c_void, level: c_int, format: *const c_char, arguments: V) {
    let level = match level {
        i32::MIN..=ffi::AV_LOG_ERROR => Level::Error,
        ffi::AV_LOG_WARNING => Level::Warning,
        ffi::AV_LOG_INFO => Level::Info,
        _ => return,
    };
    let hook = HOOK.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    if hook.is_none() && level != Level::Error {
        return;
    }
    let pointer = FORMAT_LINE.load(Ordering::Acquire);
    if pointer.is_null() {
        return;
    }
    let mut line: [c_char; MAX_LINE] = [0; MAX_LINE];
    let mut print_prefix: c_int = 0;
    // SAFETY: the pointer was stored by `install_for` with this very `V` (it is called once, with the
    // bindings' only instance); FFmpeg passes a valid context, format and argument list to its callback, and
    // terminates the line within the stated length.
    let text = unsafe {
        let format_line = std::mem::transmute::<*mut c_void, FormatLine<V>>(pointer);
        format_line(
            context,
            ffi::AV_LOG_ERROR,
            format,
            arguments,
            line.as_mut_ptr(),
            line.len() as c_int,
            &raw mut print_prefix,
        );
        CStr::from_ptr(line.as_ptr())
    };
    let text = redact(text.to_string_lossy().trim_end());
    if text.is_empty() {
        return;
    }
    if level == Level::Error {
        // A thread that is shutting down has no such cell any more; its lines are not missed.
        let _ = CAUSE.try_with(|cause| {
            if let Ok(mut cause) = cause.try_borrow_mut()
                && cause.is_none()
            {
                *cause = Some(text.clone());
            }
        });
    }
    if let Some(hook) = hook.as_ref() {
        hook(level, &text);
    }
}

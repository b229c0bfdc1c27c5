//! Keeping a library's own messages off the terminal.

/// Does `work` while what the process writes to its standard error is put aside, and gives that as one line.
/// Other threads' messages of that moment are put aside with it.
#[cfg(unix)]
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> (T, String) {
    use std::io::{Read, Seek, SeekFrom};
    use std::os::fd::AsRawFd;
    use std::sync::{Mutex, PoisonError};

    /// One at a time: a second would take the first one's file for the process's standard error, and put that back.
    static ONE: Mutex<()> = Mutex::new(());

    /// Puts the standard error back, also where the work panics.
    struct Kept(libc::c_int);
    impl Drop for Kept {
        fn drop(&mut self) {
            // SAFETY: both descriptors are open; the copy is closed once it is back in place.
            unsafe {
                libc::dup2(self.0, STDERR);
                libc::close(self.0);
            }
        }
    }

    const STDERR: libc::c_int = 2;
    // The library writes a few lines; more are not worth showing.
    const SHOWN: u64 = 4096;
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let Ok(mut aside) = tempfile::tempfile() else { return (work(), String::new()) };
    // SAFETY: plain descriptors; a failure gives -1 and is looked at.
    let kept = unsafe { libc::fcntl(STDERR, libc::F_DUPFD_CLOEXEC, STDERR + 1) };
    if kept < 0 {
        return (work(), String::new());
    }
    let kept = Kept(kept);
    // SAFETY: both descriptors are open.
    unsafe { libc::dup2(aside.as_raw_fd(), STDERR) };
    let result = work();
    drop(kept);
    let mut text = vec![];
    let read = aside.seek(SeekFrom::Start(0)).and_then(|_| aside.take(SHOWN).read_to_end(&mut text));
    let text = String::from_utf8_lossy(&text);
    // Its lines say INFO, WARNING or ERROR first.
    let errors = text.lines().filter(|l| l.contains("ERROR") || l.contains("rror:"));
    (result, read.map(|_| errors.collect::<Vec<_>>().join("; ")).unwrap_or_default())
}

/// Does `work`; nothing is put aside on this system.
#[cfg(not(unix))]
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> (T, String) {
    (work(), String::new())
}

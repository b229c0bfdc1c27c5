//! Keeping a library's own messages off the terminal.

/// Does `work` while what the process writes to its standard error is put aside, and gives that as one line.
/// Other threads' messages of that moment are put aside with it.
#[cfg(unix)]
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> (T, String) {
    use std::io::{Read, Seek, SeekFrom};
    use std::os::fd::AsRawFd;

    const STDERR: libc::c_int = 2;
    // The library writes a few lines; more are not worth showing.
    const SHOWN: u64 = 4096;
    let Ok(mut aside) = tempfile::tempfile() else { return (work(), String::new()) };
    // SAFETY: plain descriptors; a failure gives -1 and is looked at.
    let kept = unsafe { libc::dup(STDERR) };
    if kept < 0 {
        return (work(), String::new());
    }
    // SAFETY: both descriptors are open.
    unsafe { libc::dup2(aside.as_raw_fd(), STDERR) };
    let result = work();
    // SAFETY: as above; the copy is closed once it is back in place.
    unsafe {
        libc::dup2(kept, STDERR);
        libc::close(kept);
    }
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

//! Asking a program of the live machine, within a time and a length.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A driver in trouble can keep its program waiting for ever.
const LIMIT: Duration = Duration::from_secs(5);
/// Output that is read.
const MAX_BYTES: u64 = 1 << 20;

/// What `program` prints, if it ends well and in time.
pub(super) fn ask(program: &str, args: &[&str]) -> Option<String> {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let stdout = child.stdout.take()?;
    let (sender, receiver) = mpsc::channel();
    // The thread ends with the pipe; a child that keeps it open is killed below.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stdout.take(MAX_BYTES).read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    let started = Instant::now();
    let bytes = receiver.recv_timeout(LIMIT).ok();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                let text = String::from_utf8_lossy(&bytes?).into_owned();
                return status.success().then_some(text);
            }
            Ok(None) if started.elapsed() < LIMIT => thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return None;
            }
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_whole_and_failures_are_none() {
        assert_eq!(ask("/bin/sh", &["-c", "echo 1; echo 2"]).as_deref(), Some("1\n2\n"));
        assert_eq!(ask("/bin/sh", &["-c", "echo 1; exit 3"]), None);
        assert_eq!(ask("/no/such/program", &[]), None);
    }

    #[test]
    fn a_program_that_hangs_is_ended() {
        let started = Instant::now();
        assert_eq!(ask("/bin/sh", &["-c", "exec sleep 600"]), None);
        assert!(started.elapsed() < LIMIT * 3);
    }
}

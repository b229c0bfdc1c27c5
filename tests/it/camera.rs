//! A camera: FFmpeg sends H.264 in MPEG-TS by UDP, in real time.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Sends until it is dropped.
pub struct Camera(Child);

impl Camera {
    /// Sends to a port of this machine.
    pub fn new(port: u16) -> Self {
        Self::sending(&["-f", "mpegts", &address(port)])
    }

    /// Sends as well, and keeps in a file what it sent.
    pub fn keeping(port: u16, sent: &Path) -> Self {
        let tee = format!("[f=mpegts]{}|[f=mpegts]{}", sent.display(), address(port));
        Self::sending(&["-map", "0:v", "-flags", "+global_header", "-f", "tee", &tee])
    }

    fn sending(output: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-y", "-loglevel", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"])
            .args(["-pix_fmt", "yuv420p"])
            .args(output)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }
}

fn address(port: u16) -> String {
    format!("udp://127.0.0.1:{port}?pkt_size=1316")
}

impl Drop for Camera {
    fn drop(&mut self) {
        // So that it completes the file of what it sent.
        // SAFETY: a signal to our own child, which has not been waited for.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGTERM) };
        self.0.wait().unwrap();
    }
}

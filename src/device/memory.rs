//! How much memory this process has used at most.

use std::fs;

/// Largest resident set since the process started, or since [`reset_peak`], in mebibytes.
///
/// Linux tells it in `/proc/self/status` (`VmHWM`); elsewhere it is unknown.
pub fn peak_rss_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib / 1024.0)
}

/// Starts a new peak, where the system can (Linux: `clear_refs`, see proc(5)).
pub fn reset_peak() {
    // A system without it keeps the process's peak, which is still true, only less telling.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_peak_grows_with_what_is_touched() {
        let before = super::peak_rss_mb().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(super::peak_rss_mb().unwrap() >= before.max(64.0), "{}", block.len());
    }
}

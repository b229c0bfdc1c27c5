//! Numbers that cannot be guessed.

use std::fmt::Write;

/// `N` random bytes in lower-case hex.
pub(super) fn hex<const N: usize>() -> String {
    let mut bytes = [0; N];
    if getrandom::fill(&mut bytes).is_err() {
        // A system without randomness cannot have secrets; abort rather than hand out guessable ones.
        std::process::abort();
    }
    bytes.iter().fold(String::with_capacity(2 * N), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

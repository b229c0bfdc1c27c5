//! What pages of other origins may do, where they were allowed (the CORS protocol of the Fetch standard,
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>).

use super::head::Head;
use crate::server::auth::Origins;

/// What a page of another origin that may ask can read of an answer's head, where that is not granted anyway.
const EXPOSED: &str = "Endort-Record, Location, Retry-After, X-Request-Id";

/// What such a page may ask for, and for how many seconds a browser may remember it. It sends its token itself:
/// cookies are not allowed, so that nobody asks in a signed-in user's name.
pub(super) const PREFLIGHT: [(&str, &str); 3] = [
    ("Access-Control-Allow-Methods", "GET, POST, DELETE"),
    ("Access-Control-Allow-Headers", "Authorization, Content-Type"),
    ("Access-Control-Max-Age", "600"),
];

/// Whether a browser asks, on behalf of a page of another origin that may ask, what that may ask for.
pub(super) fn is_preflight(head: &Head, origins: &Origins) -> bool {
    head.method == "OPTIONS"
        && head.content_length == 0
        && head.header("access-control-request-method").is_some()
        && head.header("origin").is_some_and(|origin| origins.lists(origin))
}

/// The header lines of an answer to `asked`; none where no other origin may ask.
pub(super) fn lines(asked: Option<&Head>, origins: &Origins) -> String {
    if origins.allowed.is_empty() {
        return String::new();
    }
    // A cache must not give one page what was said to another.
    let mut lines = "Vary: Origin\r\n".to_owned();
    let origin = asked.and_then(|asked| asked.header("origin"));
    if let Some(origin) = origin.filter(|origin| origins.lists(origin)) {
        lines.push_str(&format!("Access-Control-Allow-Origin: {origin}\r\n"));
        lines.push_str(&format!("Access-Control-Expose-Headers: {EXPOSED}\r\n"));
    }
    lines
}

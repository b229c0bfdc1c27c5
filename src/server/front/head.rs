//! A request's head: strictly parsed, so that nobody behind can read it differently.
//!
//! RFC 9112 lets a server be lenient in many places (bare LF, several equal lengths, folded lines). Each leniency
//! is a way to smuggle a second request past somebody, so none is granted here, but for one empty line before the
//! request (section 2.2), which old clients send after a body. `Transfer-Encoding` is refused: bodies have a
//! `Content-Length`.

use super::refusal::Refusal;
use crate::server::limits::{Bound, Limits};

/// Most headers of a request.
const MAX_HEADERS: usize = 64;

/// A parsed head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Head {
    pub(in crate::server) method: String,
    /// The target's path, as sent.
    pub(in crate::server) path: String,
    /// The target's query without `?`, as sent.
    pub(in crate::server) query: String,
    /// Names in lower case; values visible ASCII, trimmed.
    headers: Vec<(String, String)>,
    pub(in crate::server) content_length: u64,
    /// Whether the connection stays open after the response.
    pub(in crate::server) keep_alive: bool,
}

impl Head {
    /// The value of a header that occurs once; of several, the first.
    pub(in crate::server) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Whether a comma-separated header holds `token`, whatever its case.
    pub(in crate::server) fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|found| found.eq_ignore_ascii_case(token))
    }

    /// The members of a comma-separated header.
    pub(in crate::server) fn tokens(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers
            .iter()
            .filter(move |(key, _)| key == name)
            .flat_map(|(_, value)| value.split(','))
            .map(str::trim)
            .filter(|token| !token.is_empty())
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub(in crate::server) fn expects_continue(&self) -> bool {
        self.has_token("expect", "100-continue")
    }

    /// A cookie's value.
    pub(in crate::server) fn cookie(&self, name: &str) -> Option<&str> {
        self.header("cookie")?
            .split(';')
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// Length of a complete head at the start of `bytes`, its blank line included; looks from `from` on.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    bytes.get(from..)?.windows(4).position(|window| window == b"\r\n\r\n").map(|at| from + at + 4)
}

/// Parses a complete head.
pub(in crate::server) fn parse(bytes: &[u8], limits: &Limits) -> Result<Head, Refusal> {
    check_lines(bytes)?;
    let mut storage = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut storage);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refusal::new(431, "more than 64 headers").bound(Bound::HeadBytes));
        }
        Err(httparse::Error::Version) if has_three_words(bytes) => {
            return Err(Refusal::new(505, "speak HTTP/1.1").closing());
        }
        Ok(_) | Err(_) => return Err(malformed("the request line or a header is not valid HTTP/1.1")),
    }
    let (Some(method), Some(target), Some(version)) = (request.method, request.path, request.version) else {
        return Err(malformed("the request line is incomplete"));
    };
    if target.len() > limits.target_bytes {
        return Err(Refusal::new(414, "the address is too long").bound(Bound::TargetBytes));
    }
    if !target.starts_with('/') || !target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        return Err(malformed("the target must be a path"));
    }
    let mut headers = Vec::with_capacity(request.headers.len());
    for header in request.headers.iter() {
        let value = std::str::from_utf8(header.value)
            .ok()
            .filter(|value| value.bytes().all(|byte| (0x20..0x7f).contains(&byte) || byte == b'\t'))
            .ok_or_else(|| malformed("a header holds something else than visible ASCII"))?;
        headers.push((header.name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut head = Head {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers,
        content_length: 0,
        keep_alive: false,
    };
    head.content_length = framing(&head)?;
    for name in ["host", "origin", "authorization", "content-type", "cookie"] {
        if head.headers.iter().filter(|(key, _)| key == name).count() > 1 {
            return Err(malformed(format!("the header {name} is given more than once")));
        }
    }
    if version == 1 && head.header("host").is_none() {
        return Err(malformed("the header Host is missing"));
    }
    if head.header("expect").is_some() && !head.expects_continue() {
        return Err(Refusal::new(417, "only 100-continue can be expected"));
    }
    head.keep_alive = version == 1 && !head.has_token("connection", "close");
    Ok(head)
}

/// Whether the first line is a method, a target and a version, rather than a target with a space in it.
fn has_three_words(bytes: &[u8]) -> bool {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
    line.iter().filter(|&&byte| byte == b' ').count() == 2
}

/// Lines end in CRLF and nothing else, and none continues the one before.
fn check_lines(bytes: &[u8]) -> Result<(), Refusal> {
    for (at, &byte) in bytes.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        let after = bytes.get(at + 1);
        let sound = match byte {
            b'\n' => before == Some(&b'\r') && !matches!(after, Some(b' ' | b'\t')),
            b'\r' => after == Some(&b'\n'),
            0 => false,
            _ => true,
        };
        if !sound {
            return Err(malformed("lines must end in CR LF and must not be folded"));
        }
    }
    Ok(())
}

/// The body's length. Anything that two readers could understand differently is refused.
fn framing(head: &Head) -> Result<u64, Refusal> {
    let mut lengths = head.headers.iter().filter(|(key, _)| key == "content-length");
    let length = lengths.next().map(|(_, value)| value.as_str());
    if lengths.next().is_some() {
        return Err(malformed("Content-Length is given more than once"));
    }
    if head.header("transfer-encoding").is_some() {
        return Err(match length {
            Some(_) => malformed("Transfer-Encoding and Content-Length exclude each other"),
            None => Refusal::new(411, "send a Content-Length instead of a Transfer-Encoding").closing(),
        });
    }
    let Some(length) = length else { return Ok(0) };
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed("Content-Length is not a number"));
    }
    // More digits than a u64 holds is a number all the same, and too large.
    Ok(length.parse().unwrap_or(u64::MAX))
}

fn malformed(detail: impl Into<String>) -> Refusal {
    Refusal::new(400, detail).closing()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Head, u16> {
        parse(text.as_bytes(), &Limits::default()).map_err(|refusal| refusal.problem.status)
    }

    #[test]
    fn a_plain_request_is_taken_apart() {
        let head =
            read("POST /a/b?x=1&y HTTP/1.1\r\nHost: tower\r\nContent-Length: 12\r\nCookie: a=1; b=2\r\n\r\n")
                .unwrap();
        assert_eq!(
            (head.method.as_str(), head.path.as_str(), head.query.as_str()),
            ("POST", "/a/b", "x=1&y")
        );
        assert_eq!((head.content_length, head.keep_alive), (12, true));
        assert_eq!((head.cookie("b"), head.cookie("c")), (Some("2"), None));
        assert!(!read("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n").unwrap().keep_alive);
        assert!(!read("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
        assert_eq!(read("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap().method, "GET");
    }

    #[test]
    fn whatever_could_be_read_in_two_ways_is_refused() {
        let host = "Host: a\r\n";
        for (request, status) in [
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n"), 411),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding : chunked\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding:\r\n chunked\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}tRANSFER-eNCODING: identity\r\n\r\n"), 411),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 5\r\nContent-Length: 5\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 5, 5\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: +5\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: 0x5\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length: -1\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}Content-Length:\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\n{host}\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\nY: b\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\rY: b\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: a\0b\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}X: caf\u{e9}\r\n\r\n"), 400),
            (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
            (format!("GET  / HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET /a b HTTP/1.1\r\n{host}\r\n"), 400),
            (format!("GET http://b/ HTTP/1.1\r\n{host}\r\n"), 400),
            ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(), 505),
            (format!("GET / HTTP/1.1\r\n{host}Expect: tea\r\n\r\n"), 417),
            (format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(65)), 431),
            (format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(5000)), 414),
        ] {
            assert_eq!(read(&request).err(), Some(status), "{request:?}");
        }
    }

    #[test]
    fn a_length_beyond_all_bounds_is_a_length() {
        let head = |digits: &str| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {digits}\r\n\r\n");
        assert_eq!(read(&head("9223372036854775808")).unwrap().content_length, 1 << 63);
        assert_eq!(read(&head(&"9".repeat(40))).unwrap().content_length, u64::MAX);
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_were_cut() {
        let text = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        let length = text.len() - 4;
        for cut in 0..text.len() {
            assert_eq!(end(&text[..cut], 0), (cut >= length).then_some(length), "{cut}");
            // What was searched before held no end.
            assert_eq!(end(text, cut.min(length - 1)), Some(length));
        }
    }

    /// Twenty thousand mutations of one request, the same in each run. `fuzz/` has a coverage-guided target.
    #[test]
    fn mutated_requests_are_refused_or_sound() {
        let text = b"POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nX: y\r\n\r\n";
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = move |bound: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % bound as u64) as usize
        };
        for _ in 0..20_000 {
            let mut bytes = text.to_vec();
            for _ in 0..=next(6) {
                let at = next(bytes.len());
                match next(3) {
                    0 => bytes[at] = next(256) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, next(256) as u8),
                }
            }
            if let Ok(head) = parse(&bytes, &Limits::default()) {
                assert!(head.path.starts_with('/') && !head.path.contains(['\r', '\n', ' ']));
                assert!(head.headers.iter().all(|(_, value)| !value.contains(['\r', '\n', '\0'])));
            }
        }
    }
}

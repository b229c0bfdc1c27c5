//! Addresses without their secrets, for names, records, logs and errors.

/// Parameters whose values say which picture is meant; those of all others are hidden.
const PLAIN: [&str; 14] = [
    "channel",
    "chn",
    "subtype",
    "stream",
    "streamtype",
    "profile",
    "camera",
    "cam",
    "id",
    "unicast",
    "proto",
    "pkt_size",
    "fifo_size",
    "transport",
];

/// `text` with user names and passwords removed from the addresses in it, and with the values of their
/// parameters hidden unless they are known to be harmless.
pub fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        // A quote may be part of a password; white space cannot be part of an address.
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (address, tail) = after.split_at(end);
        redact_address(address, &mut out);
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// An address behind its `scheme://`.
fn redact_address(address: &str, out: &mut String) {
    // The last '@' ends the credentials, since people forget to escape '@', '/', '?' and '#' in passwords. An '@' that
    // starts the authority is multicast notation (`udp://@239.0.0.1`).
    let query = address.find(['?', '#']).unwrap_or(address.len());
    let end = match address.rfind('@') {
        Some(at) if at > query => {
            // Behind a path, and of a parameter, it is part of a value; neither, and it ends a password.
            match (address[..query].contains('/'), address[query..at].contains('=')) {
                (true, true) => address[..query].rfind('@'),
                (false, false) => Some(at),
                _ => return out.push_str("(hidden)"),
            }
        }
        end => end,
    };
    let host = match end {
        Some(0) | None => address,
        Some(at) => &address[at + 1..],
    };
    let path = host.find(['/', '?', '#']).unwrap_or(host.len());
    let (authority, path) = host.split_at(path);
    out.push_str(authority);
    for piece in path.split_inclusive(['/', '?', '&', ';', '#']) {
        match piece.split_once('=') {
            Some((key, value)) if !PLAIN.contains(&key.to_ascii_lowercase().as_str()) => {
                out.push_str(key);
                out.push_str("=***");
                out.push_str(value.strip_suffix(['/', '?', '&', ';', '#']).map_or("", |v| &value[v.len()..]));
            }
            _ => out.push_str(piece),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn secrets_go_and_places_stay() {
        for (address, shown) in [
            ("rtsp://cam.local/live", "rtsp://cam.local/live"),
            (
                "rtsp://admin:hunter2@10.0.0.5:554/h264?channel=1&subtype=0",
                "rtsp://10.0.0.5:554/h264?channel=1&subtype=0",
            ),
            ("rtsp://admin:p@ss/word@10.0.0.5/s", "rtsp://10.0.0.5/s"),
            ("rtsp://admin:Hik#2024@10.0.0.5/live", "rtsp://10.0.0.5/live"),
            ("rtsp://admin:S3cr?t@10.0.0.5/live?channel=1", "rtsp://10.0.0.5/live?channel=1"),
            (
                "tcp://10.0.0.5:1/live?user=admin&password=Hik@2024&channel=1",
                "tcp://10.0.0.5:1/live?user=***&password=***&channel=1",
            ),
            ("http://admin:pw@10.0.0.5/live?password=Hik@2024", "http://10.0.0.5/live?password=***"),
            ("rtsp://admin:p/w?x@10.0.0.5/live", "rtsp://(hidden)"),
            ("rtsp://admin:p?a=b@10.0.0.5/live", "rtsp://(hidden)"),
            ("http://cam/video?token=abc&id=3", "http://cam/video?token=***&id=3"),
            (
                "rtsp://cam/user=admin&password=x&channel=1&stream=0.sdp?",
                "rtsp://cam/user=***&password=***&channel=1&stream=0.sdp?",
            ),
            ("udp://@239.0.0.1:5000", "udp://@239.0.0.1:5000"),
            ("Connection to tcp://u:p@host:1 failed", "Connection to tcp://host:1 failed"),
            ("a file: no address", "a file: no address"),
        ] {
            assert_eq!(redact(address), shown);
        }
    }
}

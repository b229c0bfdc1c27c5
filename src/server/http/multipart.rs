//! `multipart/form-data` (RFC 7578), as far as one file needs it.

/// Longest boundary (RFC 2046).
const MAX_BOUNDARY: usize = 70;

/// The boundary in a `Content-Type`; `None` if the body is no form.
pub(super) fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("boundary").then(|| value.trim_matches('"'))
    })?;
    (!value.is_empty() && value.len() <= MAX_BOUNDARY).then_some(value)
}

/// The content of the field `name`.
pub(super) fn field<'a>(body: &'a [u8], boundary: &str, name: &str) -> Option<&'a [u8]> {
    let delimiter = format!("--{boundary}");
    let mut rest = body.get(find(body, delimiter.as_bytes())? + delimiter.len()..)?;
    let next = format!("\r\n{delimiter}");
    while !rest.starts_with(b"--") {
        rest = rest.get(find(rest, b"\r\n")? + 2..)?;
        let (head, content_at) = match rest.strip_prefix(b"\r\n") {
            Some(_) => (&rest[..0], 2),
            None => {
                let end = find(rest, b"\r\n\r\n")?;
                (&rest[..end], end + 4)
            }
        };
        let content = rest.get(content_at..)?;
        let end = find(content, next.as_bytes())?;
        if is_named(head, name) {
            return content.get(..end);
        }
        rest = content.get(end + next.len()..)?;
    }
    None
}

fn is_named(head: &[u8], name: &str) -> bool {
    let Ok(head) = std::str::from_utf8(head) else { return false };
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .filter(|(key, _)| key.trim().eq_ignore_ascii_case("content-disposition"))
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|parameter| parameter.trim().split_once('='))
        .any(|(key, value)| key.eq_ignore_ascii_case("name") && value.trim_matches('"') == name)
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    // The first byte is searched for fast; the rest is compared where it occurs.
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|&byte| byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"preamble\r\n--xx\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n\
        --xx\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a;b.png\"\r\nContent-Type: image/png\r\n\r\n\
        \x89PNG\r\n--x\r\n\r\n--xx--\r\n";

    #[test]
    fn a_field_is_found_with_its_bytes_untouched() {
        assert_eq!(field(FORM, "xx", "file").unwrap(), b"\x89PNG\r\n--x\r\n");
        assert_eq!(field(FORM, "xx", "note").unwrap(), b"hello");
        assert_eq!(field(FORM, "xx", "other"), None);
        assert_eq!(field(FORM, "yy", "file"), None);
    }

    #[test]
    fn boundaries_are_read_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=xx"), Some("xx"));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; boundary=\"a b\""), Some("a b"));
        assert_eq!(boundary("image/jpeg"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }

    #[test]
    fn a_form_that_was_cut_anywhere_is_no_form_and_no_panic() {
        for cut in 0..FORM.len() {
            let _ = field(&FORM[..cut], "xx", "other");
            assert!(field(&FORM[..cut], "xx", "file").is_none_or(|file| file.starts_with(b"\x89PNG")));
        }
    }
}

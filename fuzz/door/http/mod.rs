//! A form with a file.

#[path = "../../../src/server/http/multipart.rs"]
mod multipart;

/// Takes a form apart as the API does.
pub(in crate::server) fn look_into(content_type: &str, body: &[u8]) {
    if let Some(boundary) = multipart::boundary(content_type)
        && let Some(field) = multipart::field(body, boundary, "file")
    {
        assert!(field.len() < body.len());
    }
}

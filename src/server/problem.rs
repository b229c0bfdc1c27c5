//! Errors as RFC 9457 problem documents.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The media type of problem documents.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What went wrong with a request (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status code of the response.
    pub status: u16,
    /// What is wrong and what to do about it.
    pub detail: String,
    /// The request's number, as it is in the log and in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub instance: Option<String>,
}

impl Problem {
    /// A problem with a status and what to do about it.
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: reason(status).to_owned(),
            status,
            detail: detail.into(),
            instance: None,
        }
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl From<&Error> for Problem {
    /// Errors of the library as a client may see them: what it sent is its own fault, the rest is ours.
    fn from(error: &Error) -> Self {
        let status = match error {
            Error::Media { .. } | Error::Picture { .. } => 415,
            Error::TooLarge { .. } => 413,
            Error::NoModel { .. } => 404,
            Error::NoInput { .. } | Error::Setting { .. } | Error::Model { .. } | Error::Config { .. } => 422,
            Error::Cancelled => 503,
            _ => 500,
        };
        Self::new(status, error.to_string())
    }
}

/// The words of a status code.
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "Unknown",
    }
}

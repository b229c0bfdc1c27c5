//! The head and what is refused of it.

#[path = "../../../src/server/front/head.rs"]
pub(in crate::server) mod head;
#[path = "../../../src/server/front/refusal.rs"]
mod refusal;

pub(in crate::server) use refusal::Refusal;

/// Where a head ends; the front door's own affair otherwise.
pub(in crate::server) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    head::end(bytes, from)
}

//! Why a request is not passed on.

use crate::server::limits::Bound;
use crate::server::problem::Problem;

/// A refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::server) struct Refusal {
    /// What the client is told.
    pub(in crate::server) problem: Box<Problem>,
    /// The bound that was hit, if it was one.
    pub(in crate::server) bound: Option<Bound>,
    /// Whether what follows on the connection can no longer be understood.
    pub(in crate::server) closes: bool,
    /// Headers beyond those of every response.
    pub(in crate::server) headers: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(in crate::server) fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            problem: Box::new(Problem::new(status, detail)),
            bound: None,
            closes: false,
            headers: Vec::new(),
        }
    }

    pub(in crate::server) fn bound(mut self, bound: Bound) -> Self {
        self.bound = Some(bound);
        self.closes = true;
        self
    }

    pub(in crate::server) fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    pub(in crate::server) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

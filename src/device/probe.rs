//! What the probes of single devices share.

use std::collections::BTreeMap;

use super::access::{self, Access, Denied};
use super::board::Board;
use super::library::Libraries;
use super::root::Root;

/// A machine that is being looked at.
pub(super) struct Probe<'a> {
    pub root: &'a Root,
    pub board: &'a Board,
    pub access: &'a Access,
    pub libraries: &'a Libraries<'a>,
    /// Versions of Debian packages by name.
    pub packages: &'a BTreeMap<String, String>,
    /// Whether this is the machine that endort runs on, whose programs can be asked.
    pub live: bool,
}

/// Why something cannot be used, and what to do about it.
pub(super) struct Hurdle {
    pub why: String,
    pub remedy: String,
}

impl Hurdle {
    pub fn new(why: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { why: why.into(), remedy: remedy.into() }
    }
}

impl Probe<'_> {
    pub fn in_container(&self) -> bool {
        self.board.container.is_some()
    }

    /// What keeps `node` from being opened. `absent` is what to do where it is not there, `rule` what gives it
    /// a group where only root may open it.
    pub fn node_hurdle(&self, node: &str, absent: &str, rule: &str) -> Option<Hurdle> {
        match access::check(self.root, node, self.access).err()? {
            Denied::Absent if self.in_container() => Some(Hurdle::new(
                format!("{node} is not in this container"),
                format!("start the container with --device {node}"),
            )),
            Denied::Absent => Some(Hurdle::new(format!("{node} is not there"), absent)),
            Denied::Group(group) => Some(Hurdle::new(
                format!("{node} may be opened by the group {group} alone, and you are no member"),
                access::join_group(&group),
            )),
            Denied::RootOnly => Some(Hurdle::new(format!("{node} may be opened by root alone"), rule)),
        }
    }
}

//! Answers in the order in which pictures came, whoever knows them first.

use std::collections::BTreeMap;

/// Answers that wait for those of earlier frames.
///
/// Every frame gets exactly one answer. A result settles all frames before it: the analyzer takes frames in order,
/// so whatever it passed over was dropped.
#[derive(Debug)]
pub(super) struct Ordered<T> {
    next: u64,
    held: BTreeMap<u64, T>,
}

impl<T> Ordered<T> {
    pub(super) fn new() -> Self {
        Self { next: 0, held: BTreeMap::new() }
    }

    /// Settles frame `id`; gives what can be sent now. A frame that is settled already stays as it is.
    pub(super) fn settle(&mut self, id: u64, answer: T) -> Vec<(u64, T)> {
        if id >= self.next {
            self.held.entry(id).or_insert(answer);
        }
        self.ready()
    }

    /// Settles frame `id` with its result, and all open ones before it as dropped.
    pub(super) fn settle_result(&mut self, id: u64, answer: T, dropped: impl Fn() -> T) -> Vec<(u64, T)> {
        let mut ready = self.settle_before(id, dropped);
        ready.extend(self.settle(id, answer));
        ready
    }

    /// Settles all open frames before `id`.
    pub(super) fn settle_before(&mut self, id: u64, answer: impl Fn() -> T) -> Vec<(u64, T)> {
        for earlier in self.next..id {
            self.held.entry(earlier).or_insert_with(&answer);
        }
        self.ready()
    }

    /// Answers that wait for those of earlier frames.
    pub(super) fn waiting(&self) -> usize {
        self.held.len()
    }

    fn ready(&mut self) -> Vec<(u64, T)> {
        let mut ready = Vec::new();
        while let Some(answer) = self.held.remove(&self.next) {
            ready.push((self.next, answer));
            self.next += 1;
        }
        ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_in_order_and_each_once() {
        let mut ordered = Ordered::new();
        assert_eq!(ordered.settle(1, 'd'), []);
        assert_eq!(ordered.settle(3, 'e'), []);
        assert_eq!(ordered.waiting(), 2);
        assert_eq!(ordered.settle_result(2, 'r', || 'd'), [(0, 'd'), (1, 'd'), (2, 'r'), (3, 'e')]);
        assert_eq!(ordered.settle(0, 'd'), [], "late news of a settled frame");
        assert_eq!(ordered.settle(4, 'r'), [(4, 'r')]);
        assert!(ordered.held.is_empty());
    }
}

//! The bounded buffer before the AI lane.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::options::Policy;
use crate::cancel::Cancel;

/// How long a waiting thread may overlook a cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(50);

/// A queue of at most `capacity` items under a [`Policy`].
///
/// `EveryFrame`: [`push`](Self::push) waits for room, [`pop`](Self::pop) takes the oldest.
/// `NewestWins`: `push` never waits, `pop` takes the newest; what it passes over is dropped.
/// Every dropped item is handed to the `dropped` callback given to each call, so that it can be counted.
#[derive(Debug)]
pub struct FrameBuffer<T> {
    policy: Policy,
    capacity: usize,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> FrameBuffer<T> {
    /// An empty buffer; a `capacity` of 0 is taken as 1.
    pub fn new(policy: Policy, capacity: usize) -> Self {
        let state = State { items: VecDeque::with_capacity(capacity.max(1)), closed: false };
        Self { policy, capacity: capacity.max(1), state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds an item. `false` if the buffer is closed or the wait was cancelled: the item is gone.
    pub fn push(&self, item: T, cancel: &Cancel, mut dropped: impl FnMut(T)) -> bool {
        let mut state = self.lock();
        while state.items.len() >= self.capacity && !state.closed {
            match self.policy {
                Policy::NewestWins => state.items.pop_front().map(&mut dropped),
                Policy::EveryFrame if cancel.is_cancelled() => return false,
                Policy::EveryFrame => {
                    state = self.wait(state);
                    None
                }
            };
        }
        if state.closed {
            return false;
        }
        state.items.push_back(item);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Takes an item, waiting for one; `None` once the buffer is closed and empty, or cancelled.
    pub fn pop(&self, cancel: &Cancel, mut dropped: impl FnMut(T)) -> Option<T> {
        let mut state = self.lock();
        while state.items.is_empty() {
            if state.closed || cancel.is_cancelled() {
                return None;
            }
            state = self.wait(state);
        }
        if self.policy == Policy::NewestWins {
            let stale = state.items.len() - 1;
            state.items.drain(..stale).for_each(&mut dropped);
        }
        let item = state.items.pop_front();
        drop(state);
        self.changed.notify_all();
        item
    }

    /// Lets nothing more in; what is inside can still be taken.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Number of items waiting.
    pub fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        match self.changed.wait_timeout(state, CANCEL_POLL) {
            Ok((state, _)) => state,
            Err(poisoned) => poisoned.into_inner().0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(buffer: &FrameBuffer<u32>, item: u32) -> Vec<u32> {
        let mut dropped = Vec::new();
        assert!(buffer.push(item, &Cancel::new(), |item| dropped.push(item)));
        dropped
    }

    #[test]
    fn newest_wins_keeps_its_bound_and_gives_the_newest() {
        let buffer = FrameBuffer::new(Policy::NewestWins, 3);
        let on_push: Vec<u32> = (0..5).flat_map(|i| push(&buffer, i)).collect();
        assert_eq!(on_push, [0, 1]);
        let mut on_pop = Vec::new();
        assert_eq!(buffer.pop(&Cancel::new(), |item| on_pop.push(item)), Some(4));
        assert_eq!(on_pop, [2, 3]);
        assert!(buffer.is_empty());
    }

    #[test]
    fn every_frame_waits_for_room_and_keeps_order() {
        let buffer = FrameBuffer::new(Policy::EveryFrame, 2);
        let cancel = Cancel::new();
        let got = std::thread::scope(|scope| {
            scope.spawn(|| {
                for i in 0..100 {
                    assert!(buffer.push(i, &cancel, |_| unreachable!("nothing is dropped")));
                    assert!(buffer.len() <= 2);
                }
                buffer.close();
            });
            let mut got = Vec::new();
            while let Some(item) = buffer.pop(&cancel, |_| unreachable!("nothing is dropped")) {
                got.push(item);
            }
            got
        });
        assert_eq!(got, (0..100).collect::<Vec<u32>>());
    }

    #[test]
    fn a_waiting_push_and_a_waiting_pop_can_be_cancelled() {
        let cancel = Cancel::new();
        let full = FrameBuffer::new(Policy::EveryFrame, 1);
        assert!(full.push(1, &cancel, drop));
        let empty = FrameBuffer::<u32>::new(Policy::EveryFrame, 1);
        std::thread::scope(|scope| {
            let push = scope.spawn(|| full.push(2, &cancel, drop));
            let pop = scope.spawn(|| empty.pop(&cancel, drop));
            cancel.cancel();
            assert!(!push.join().unwrap());
            assert_eq!(pop.join().unwrap(), None);
        });
    }

    #[test]
    fn a_closed_buffer_gives_what_it_holds_and_takes_nothing() {
        let buffer = FrameBuffer::new(Policy::EveryFrame, 2);
        push(&buffer, 7);
        buffer.close();
        assert!(!buffer.push(8, &Cancel::new(), drop));
        assert_eq!(buffer.pop(&Cancel::new(), drop), Some(7));
        assert_eq!(buffer.pop(&Cancel::new(), drop), None);
    }
}

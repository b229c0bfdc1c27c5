//! Monotonic time, injected: the real clock, and one that tests set by hand.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::frame::Moment;

/// How long a sleeper may overlook a cancellation.
const CANCEL_POLL: Duration = Duration::from_millis(20);

/// A monotonic clock.
pub trait Clock: Send + Sync {
    /// Time since the clock started.
    fn now(&self) -> Moment;

    /// Sleeps until `due`; returns early, with `false`, once `cancel` is set.
    fn sleep_until(&self, due: Moment, cancel: &Cancel) -> bool;
}

/// The machine's monotonic clock.
#[derive(Debug)]
pub struct RealClock {
    start: Instant,
}

impl RealClock {
    /// A clock that starts now.
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for RealClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for RealClock {
    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    fn sleep_until(&self, due: Moment, cancel: &Cancel) -> bool {
        loop {
            if cancel.is_cancelled() {
                return false;
            }
            let left = due.since(self.now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(CANCEL_POLL));
        }
    }
}

/// A clock that stands still until it is told to move, or jumps to whatever somebody sleeps for.
#[derive(Debug, Default)]
pub struct FakeClock {
    now: Mutex<Duration>,
    moved: Condvar,
    jump: bool,
}

impl FakeClock {
    /// A clock that stands at zero and moves by [`advance`](Self::advance) alone: sleepers wait for it.
    pub fn new() -> Self {
        Self::default()
    }

    /// A clock on which a sleeper jumps straight to the end of its sleep: hours pass in no time.
    pub fn jumping() -> Self {
        Self { jump: true, ..Self::default() }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        *self.lock() += by;
        self.moved.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Duration> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        Moment(*self.lock())
    }

    fn sleep_until(&self, due: Moment, cancel: &Cancel) -> bool {
        let mut now = self.lock();
        if self.jump {
            *now = (*now).max(due.0);
            self.moved.notify_all();
            return !cancel.is_cancelled();
        }
        while *now < due.0 {
            if cancel.is_cancelled() {
                return false;
            }
            now = match self.moved.wait_timeout(now, CANCEL_POLL) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        !cancel.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_on_the_fake_clock_wakes_when_time_has_come() {
        let clock = FakeClock::new();
        let cancel = Cancel::new();
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| clock.sleep_until(Moment(Duration::from_secs(3600)), &cancel));
            clock.advance(Duration::from_secs(1800));
            assert!(!sleeper.is_finished());
            clock.advance(Duration::from_secs(1800));
            assert!(sleeper.join().unwrap());
        });
    }

    #[test]
    fn cancelling_ends_a_sleep() {
        let cancel = Cancel::new();
        cancel.cancel();
        let due = Moment(Duration::from_secs(3600));
        assert!(!FakeClock::new().sleep_until(due, &cancel));
        assert!(!RealClock::new().sleep_until(due, &cancel));
    }
}

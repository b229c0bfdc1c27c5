//! A stage on its own named thread: its panic is an error, and the first failure is the one that counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::cancel::Cancel;
use crate::error::{Error, Result};

/// Where stages leave their failures. The first one is the root cause; later ones are its echo.
#[derive(Debug, Default)]
pub(super) struct Failures(Mutex<Option<Error>>);

impl Failures {
    /// Keeps `error` unless an earlier one is there; a mere cancellation never counts as the cause.
    pub(super) fn report(&self, error: Error) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if first.is_none() && !matches!(error, Error::Cancelled) {
            *first = Some(error);
        }
    }

    /// The root cause, if anything failed.
    pub(super) fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Runs `work`, turning a panic into [`Error::StagePanicked`].
pub(super) fn guard<T>(stage: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // What the closure borrows is not used again after a panic: the stage ends and its channels close.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        Err(Error::StagePanicked { stage: stage.to_owned(), message })
    })
}

/// Spawns `work` on a thread named `name`. If it fails, `failures` learns of it and `stop` is set.
pub(super) fn spawn<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    name: impl Into<String>,
    failures: &'env Failures,
    stop: &'env Cancel,
    work: impl FnOnce() -> Result<()> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, ()>> {
    let name = name.into();
    Builder::new()
        .name(name.clone())
        .spawn_scoped(scope, move || {
            if let Err(error) = guard(&name, work) {
                failures.report(error);
                stop.cancel();
            }
        })
        .map_err(|error| Error::Runtime { runtime: "threads".to_owned(), detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_is_the_cause_and_cancellation_is_none() {
        let (failures, stop) = (Failures::default(), Cancel::new());
        std::thread::scope(|scope| {
            let broken = spawn(scope, "broken", &failures, &stop, || panic!("the root {}", "cause")).unwrap();
            broken.join().unwrap();
            let echo = spawn(scope, "echo", &failures, &stop, || Err(Error::Cancelled)).unwrap();
            echo.join().unwrap();
        });
        assert!(stop.is_cancelled());
        assert_eq!(failures.take().unwrap().to_string(), "stage broken panicked: the root cause");
        assert!(failures.take().is_none());
    }
}

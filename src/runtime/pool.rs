//! Engines of one network, lent to whoever analyses and given back afterwards: their buffers are large.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Engine, HostTensor, Maker};
use crate::error::Result;

/// Most engines that are kept while nobody uses them.
const MOST_IDLE: usize = 2;

/// Makes engines, and keeps some that were given back.
pub struct Engines {
    maker: Maker,
    idle: Mutex<Vec<Box<dyn Engine>>>,
}

impl Engines {
    /// A pool without an engine yet.
    pub fn new(maker: Maker) -> Arc<Self> {
        Arc::new(Self { maker, idle: Mutex::default() })
    }

    /// An engine that nobody else uses; dropping it gives it back.
    ///
    /// # Errors
    /// If another one cannot be made.
    pub fn lend(self: &Arc<Self>) -> Result<Box<dyn Engine>> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let engine = idle.map_or_else(|| (self.maker)(), Ok)?;
        Ok(Box::new(Lent { engine, engines: Arc::clone(self), sound: true }))
    }

    fn take_back(&self, engine: Box<dyn Engine>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push(engine);
        }
    }
}

/// An engine on loan.
struct Lent {
    engine: Box<dyn Engine>,
    engines: Arc<Engines>,
    /// Whether every run so far ended as it should: another one is not kept.
    sound: bool,
}

impl Drop for Lent {
    fn drop(&mut self) {
        if self.sound {
            self.engines.take_back(std::mem::replace(&mut self.engine, Box::new(Gone)));
        }
    }
}

impl Engine for Lent {
    fn runtime(&self) -> &str {
        self.engine.runtime()
    }

    fn version(&self) -> Option<&str> {
        self.engine.version()
    }

    fn maker(&self) -> Option<Maker> {
        Some(Arc::clone(&self.engines.maker))
    }

    fn input_shape(&self) -> [usize; 4] {
        self.engine.input_shape()
    }

    fn input(&mut self) -> &mut [f32] {
        self.engine.input()
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        // Unless it comes back from this, it stays so.
        self.sound = false;
        let outputs = self.engine.run()?;
        self.sound = true;
        Ok(outputs)
    }
}

/// Stands where an engine was that has been given back.
struct Gone;

impl Engine for Gone {
    fn runtime(&self) -> &str {
        ""
    }

    fn input_shape(&self) -> [usize; 4] {
        [0; 4]
    }

    fn input(&mut self) -> &mut [f32] {
        &mut []
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        Ok(&[])
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    /// Fails or panics as its number says; remembers nothing.
    struct Numbered(usize);

    impl Engine for Numbered {
        fn runtime(&self) -> &str {
            "test"
        }

        fn input_shape(&self) -> [usize; 4] {
            [1, 1, 1, self.0]
        }

        fn input(&mut self) -> &mut [f32] {
            &mut []
        }

        fn run(&mut self) -> Result<&[HostTensor]> {
            match self.0 {
                2 => Err(Error::Runtime { runtime: "test".to_owned(), detail: "broken".to_owned() }),
                3 => panic!("lost"),
                _ => Ok(&[]),
            }
        }
    }

    fn engines() -> Arc<Engines> {
        let made = AtomicUsize::new(0);
        Engines::new(Arc::new(move || Ok(Box::new(Numbered(made.fetch_add(1, Ordering::SeqCst))))))
    }

    #[test]
    fn an_engine_that_was_given_back_is_lent_again_and_only_to_one() {
        let engines = engines();
        let number = |engine: &dyn Engine| engine.input_shape()[3];
        let mut first = engines.lend().unwrap();
        let second = engines.lend().unwrap();
        assert_eq!((number(&*first), number(&*second)), (0, 1));
        first.run().unwrap();
        drop(first);
        assert_eq!(number(&*engines.lend().unwrap()), 0);
    }

    #[test]
    fn an_engine_that_failed_or_panicked_is_not_lent_again() {
        let engines = engines();
        let mut lent: Vec<_> = (0..4).map(|_| engines.lend().unwrap()).collect();
        assert!(lent[2].run().is_err());
        let mut panics = lent.remove(3);
        let _ = std::thread::spawn(move || panics.run().is_ok()).join();
        drop(lent);
        let idle = engines.idle.lock().unwrap();
        let mut numbers: Vec<_> = idle.iter().map(|engine| engine.input_shape()[3]).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [0, 1]);
    }
}

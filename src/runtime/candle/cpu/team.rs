//! The threads of an engine.
//!
//! A network is some hundred short steps, each as long as a thread takes to fall asleep and wake again. So the
//! caller works along, helpers look for the next step without pause while a run is under way, and sleep only when
//! nothing came for [`PATIENCE`]. Each thread begins with a share of its own, the same part of every step, so that
//! what it wrote in one step lies in its core's cache for the next; who is done takes from the far end of another's
//! share. A helper that is not there in time is not waited for: only pieces that somebody has begun are. A box whose
//! cores are taken by others thus loses the help, and no more.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::hint::spin_loop;
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, Builder, JoinHandle};
use std::time::{Duration, Instant};

/// How long a helper looks for work before it sleeps.
const PATIENCE: Duration = Duration::from_micros(100);
/// Looks after which a thread lets others have its core for a turn, if they want it.
const LOOKS: u32 = 64;
/// Bits of a share for its first piece, and as many for its end.
const PIECE_BITS: u32 = 12;
/// Most pieces of one job.
const MAX_PIECES: usize = (1 << PIECE_BITS) - 1;

/// Several threads that do pieces of one job; one of them is the caller's.
pub struct Team {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
    /// One job at a time: a team can be handed on to another thread, and not be used by two.
    _alone: PhantomData<Cell<()>>,
}

/// What the threads of a team have in common.
struct Shared {
    /// One per thread, the caller's first.
    shares: Vec<Line>,
    job: UnsafeCell<Option<Job>>,
    /// Pieces that are not done.
    left: AtomicUsize,
    /// What the first piece that panicked said.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    sleepers: AtomicUsize,
    gate: Mutex<()>,
    wake: Condvar,
    ended: AtomicBool,
}

// SAFETY: `job` is all that is not `Sync` by itself. The caller writes it while no piece is left, so while no helper
// holds one, and publishes it by the shares; a helper reads it only once it holds a piece (see `Shared::take`).
unsafe impl Sync for Shared {}
// SAFETY: as above; the pointer in `job` is to something that is `Sync`.
unsafe impl Send for Shared {}

/// Does the piece of that number.
#[derive(Clone, Copy)]
struct Job(*const (dyn Fn(usize) + Sync));

/// A share in a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// Pieces that nobody took yet, of one thread's share: the job's number (40 bits, so that a thread which slept over
/// a whole round cannot mistake one job for another), their end, and the first of them.
#[derive(Clone, Copy)]
struct Share(u64);

impl Share {
    fn new(number: u64, first: usize, end: usize) -> Self {
        Self(number << (2 * PIECE_BITS) | (end as u64) << PIECE_BITS | first as u64)
    }

    fn number(self) -> u64 {
        self.0 >> (2 * PIECE_BITS)
    }

    fn pieces(self) -> Range<usize> {
        let mask = MAX_PIECES as u64;
        (self.0 & mask) as usize..(self.0 >> PIECE_BITS & mask) as usize
    }
}

impl Team {
    /// A team of so many threads, the caller's among them; 0 means one per core.
    ///
    /// # Errors
    /// The system's refusal to start a thread.
    pub fn new(threads: usize) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let mut team = Self::of(threads);
        for i in 1..threads {
            let shared = Arc::clone(&team.shared);
            team.helpers.push(Builder::new().name(format!("nn-{i}")).spawn(move || shared.help(i))?);
        }
        Ok(team)
    }

    /// The caller by itself.
    pub fn alone() -> Self {
        Self::of(1)
    }

    fn of(threads: usize) -> Self {
        let shared = Arc::new(Shared {
            shares: (0..threads).map(|_| Line::default()).collect(),
            job: UnsafeCell::new(None),
            left: AtomicUsize::new(0),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            gate: Mutex::new(()),
            wake: Condvar::new(),
            ended: AtomicBool::new(false),
        });
        Self { shared, helpers: Vec::new(), _alone: PhantomData }
    }

    /// How many items make a piece, so that each thread gets several and none has fewer than `least`.
    pub fn piece(&self, items: usize, least: usize) -> usize {
        /// Enough that a disturbed thread does not hold up the others.
        const PIECES_PER_THREAD: usize = 8;
        let pieces = (self.helpers.len() + 1) * PIECES_PER_THREAD;
        items.div_ceil(pieces.min(MAX_PIECES)).max(least).max(1)
    }

    /// Cuts `out` into pieces of `each` values (the last may be shorter) and has `work` fill every one; it is
    /// given the piece's number.
    pub fn fill(&self, out: &mut [f32], each: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
        struct Start(*mut f32);
        // SAFETY: every piece is taken by one thread only (below).
        unsafe impl Sync for Start {}
        impl Start {
            fn at(&self, offset: usize) -> *mut f32 {
                self.0.wrapping_add(offset)
            }
        }
        let (len, start) = (out.len(), Start(out.as_mut_ptr()));
        self.run(len.div_ceil(each), &|piece| {
            let from = piece * each;
            // SAFETY: pieces lie inside `out`, which is borrowed for as long as `run` lasts, and do not overlap;
            // `run` gives each number to one thread, once.
            let out = unsafe { std::slice::from_raw_parts_mut(start.at(from), each.min(len - from)) };
            work(piece, out);
        });
    }

    /// Has every piece done, and returns when they are. A panic in one of them goes on here.
    fn run(&self, pieces: usize, work: &(dyn Fn(usize) + Sync)) {
        if self.helpers.is_empty() || !(2..=MAX_PIECES).contains(&pieces) {
            return (0..pieces).for_each(work);
        }
        let shared = &*self.shared;
        // SAFETY: only the lifetime is left out. Nobody calls `work` without holding a piece of this job, and this
        // function does not return, nor unwind, before all pieces are done.
        let work: *const (dyn Fn(usize) + Sync + 'static) = unsafe { std::mem::transmute(work) };
        // SAFETY: no piece of the job before is left, so nobody reads this; `Team` is not `Sync` and a job cannot
        // reach it, so nobody else writes it.
        unsafe { *shared.job.get() = Some(Job(work)) };
        shared.left.store(pieces, Ordering::Relaxed);
        let number = Share(shared.shares[0].0.load(Ordering::Relaxed)).number() + 1;
        let threads = shared.shares.len();
        for (i, share) in shared.shares.iter().enumerate() {
            let share_of = Share::new(number, i * pieces / threads, (i + 1) * pieces / threads);
            // In one order with the counting of sleepers, so that one of both sees the other.
            share.0.store(share_of.0, Ordering::SeqCst);
        }
        if shared.sleepers.load(Ordering::SeqCst) > 0 {
            shared.wake_all();
        }
        while shared.piece(0) {}
        let mut looks = Looks::new();
        while shared.left.load(Ordering::Acquire) > 0 {
            looks.again();
        }
        if let Some(panic) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(panic);
        }
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shared.wake_all();
        for helper in self.helpers.drain(..) {
            // Panics are caught where they happen.
            let _ = helper.join();
        }
    }
}

impl Shared {
    /// Does one piece if there is one: the first of thread `own`'s share, or the last of another's.
    fn piece(&self, own: usize) -> bool {
        let threads = self.shares.len();
        let taken = (0..threads).find_map(|i| self.take((own + i) % threads, i == 0));
        let Some(piece) = taken else { return false };
        // SAFETY: this thread holds a piece of the job that the share named, so the job stays until it is done, and
        // it was written before the share.
        let Some(Job(work)) = (unsafe { *self.job.get() }) else { return false };
        // SAFETY: as above: the caller waits for this piece.
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| unsafe { (*work)(piece) })) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
        self.left.fetch_sub(1, Ordering::Release);
        true
    }

    /// Takes a piece of a share, from its front or its back.
    fn take(&self, share: usize, front: bool) -> Option<usize> {
        let share = &self.shares[share].0;
        let mut now = share.load(Ordering::Acquire);
        loop {
            let Range { start, end } = Share(now).pieces();
            if start >= end {
                return None;
            }
            let (piece, rest) = match front {
                true => (start, start + 1..end),
                false => (end - 1, start..end - 1),
            };
            let rest = Share::new(Share(now).number(), rest.start, rest.end);
            match share.compare_exchange_weak(now, rest.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(piece),
                Err(changed) => now = changed,
            }
        }
    }

    /// What a helper does until the team is dismissed.
    fn help(&self, own: usize) {
        let mut looks = Looks::new();
        while !self.ended.load(Ordering::Relaxed) {
            if self.piece(own) {
                looks = Looks::new();
            } else if !looks.again() {
                self.sleep();
                looks = Looks::new();
            }
        }
    }

    /// Sleeps until there is a piece to be had, or the team is dismissed.
    fn sleep(&self) {
        let mut gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let nothing = || self.shares.iter().all(|s| Share(s.0.load(Ordering::SeqCst)).pieces().is_empty());
        while nothing() && !self.ended.load(Ordering::SeqCst) {
            gate = self.wake.wait(gate).unwrap_or_else(PoisonError::into_inner);
        }
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
    }

    fn wake_all(&self) {
        // Whoever has looked and is about to sleep holds the gate.
        drop(self.gate.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_all();
    }
}

/// Looks for something that will be there soon.
struct Looks {
    count: u32,
    since: Option<Instant>,
}

impl Looks {
    fn new() -> Self {
        Self { count: 0, since: None }
    }

    /// Waits a moment; false when [`PATIENCE`] is over.
    fn again(&mut self) -> bool {
        spin_loop();
        self.count += 1;
        if !self.count.is_multiple_of(LOOKS) {
            return true;
        }
        thread::yield_now();
        self.since.get_or_insert_with(Instant::now).elapsed() < PATIENCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes each value's own place, plus `offset`.
    fn places(team: &Team, len: usize, each: usize, offset: usize) -> Vec<f32> {
        let mut out = vec![-1.0; len];
        team.fill(&mut out, each, |piece, out| {
            for (i, value) in out.iter_mut().enumerate() {
                *value = (piece * each + i + offset) as f32;
            }
        });
        out
    }

    #[test]
    fn every_value_is_filled_once_by_any_number_of_threads() {
        for threads in [1, 2, 3, 8] {
            let team = Team::new(threads).unwrap();
            for round in 0..2000 {
                let (len, each) = (1 + round * 7 % 501, 1 + round % 13);
                let expected: Vec<f32> = (0..len).map(|i| (i + round) as f32).collect();
                assert_eq!(places(&team, len, each, round), expected, "{threads} threads, round {round}");
            }
        }
    }

    #[test]
    fn helpers_that_sleep_come_back() {
        let team = Team::new(2).unwrap();
        let helped = AtomicBool::new(false);
        let caller = thread::current().id();
        // Pieces long enough that a helper is there before the caller has done them all, some time.
        for _ in 0..200 {
            thread::sleep(2 * PATIENCE);
            team.fill(&mut [0.0; 8], 1, |_, _| {
                helped.fetch_or(thread::current().id() != caller, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(1));
            });
            if helped.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("no helper ever came");
    }

    #[test]
    fn a_panic_in_a_piece_is_the_callers_and_the_team_works_on() {
        let team = Team::new(3).unwrap();
        for round in 0..50 {
            let panic = catch_unwind(AssertUnwindSafe(|| {
                team.fill(&mut [0.0; 40], 1, |piece, _| assert_ne!(piece, round % 40, "this one"));
            }));
            let text = *panic.unwrap_err().downcast::<String>().unwrap();
            assert!(text.contains("this one"), "{text}");
            assert_eq!(places(&team, 100, 9, 0).last(), Some(&99.0));
        }
    }

    #[test]
    fn more_pieces_than_a_share_holds_are_done_by_the_caller() {
        let team = Team::new(2).unwrap();
        assert_eq!(places(&team, MAX_PIECES + 5, 1, 0).last(), Some(&((MAX_PIECES + 4) as f32)));
        assert_eq!(team.piece(1_000_000, 1), 62_500);
        assert_eq!(team.piece(10, 64), 64);
        assert!(places(&team, 0, 1, 0).is_empty());
    }
}

//! The AI lane: frames out of the buffer, through the analyzer, results in capture order.
//!
//! An analyzer with several engines has as many frames under way when the source waits for it:
//!
//! ```text
//! buffer ──► ai: locate ──┬─► ai-1: predict ─┬─► track: follow ──► results
//!                         └─► ai-2: predict ─┘
//! ```
//!
//! Frames are dealt out in turn and collected in turn, which keeps their order without a search; they cost
//! nearly the same, so nobody waits long for a neighbour.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::options::Policy;
use super::present::Analysed;
use super::processor::{Analysis, Analyzer, Parts};
use super::run::{Shared, drop_frame, tell_waiting};
use super::stage::{guard, spawn};
use crate::error::{Error, Result};
use crate::frame::Frame;
use crate::vision::Crop;

/// Frames that wait before, and results that wait behind, each engine.
const WAITING_PER_ENGINE: usize = 1;

/// Runs the lane to the end of its buffer. Live, its failure is its own affair; for recordings it is the run's.
pub(super) fn ai_lane(
    analyzer: &mut dyn Analyzer,
    results: &Sender<Analysed>,
    shared: &Shared,
) -> Result<()> {
    let outcome = guard("ai", || analyze(analyzer, results, shared));
    match outcome {
        Err(error) if shared.options.policy == Policy::NewestWins => {
            shared.ai_failure.report(error);
            shared.ai_failed.store(true, Ordering::Release);
            Ok(())
        }
        outcome => outcome,
    }
}

fn analyze(analyzer: &mut dyn Analyzer, results: &Sender<Analysed>, shared: &Shared) -> Result<()> {
    // Live, a frame's latency counts, and one engine with all threads answers soonest.
    if shared.options.policy == Policy::EveryFrame
        && let Some(parts) = analyzer.parts()
    {
        return analyze_several(parts, results, shared);
    }
    while let Some((frame, queue_wait)) = next(shared) {
        let analysis = match analyzer.analyze(&frame) {
            // Live, the next frame may fare better; a recording must have every frame's findings.
            Err(Error::NotAnalysed { .. }) if shared.options.policy == Policy::NewestWins => {
                drop_frame(&frame, shared);
                continue;
            }
            outcome => outcome?,
        };
        if results.send(Analysed { frame, analysis, queue_wait }).is_err() {
            break;
        }
    }
    Ok(())
}

/// The next frame to analyse, and how long it has waited.
fn next(shared: &Shared) -> Option<(Frame, Duration)> {
    let (entered, frame) = shared.buffer.pop(&shared.stop, |(_, stale)| drop_frame(&stale, shared))?;
    tell_waiting(shared);
    Some((frame, shared.clock.now().since(entered)))
}

/// A frame on its way to an engine.
struct Located {
    frame: Frame,
    queue_wait: Duration,
    crop: Crop,
    took: Duration,
}

fn analyze_several(parts: Parts<'_>, results: &Sender<Analysed>, shared: &Shared) -> Result<()> {
    let Parts { locator, predictors, follower } = parts;
    std::thread::scope(|scope| {
        let (mut located, mut predicted) = (Vec::new(), Vec::new());
        for (index, predictor) in predictors.iter_mut().enumerate() {
            let (located_tx, located_rx) = bounded::<Located>(WAITING_PER_ENGINE);
            let (predicted_tx, predicted_rx) = bounded::<Analysed>(WAITING_PER_ENGINE);
            located.push(located_tx);
            predicted.push(predicted_rx);
            spawn(scope, format!("ai-{}", index + 1), &shared.failures, &shared.stop, move || {
                for Located { frame, queue_wait, crop, took } in located_rx {
                    let mut analysis = predictor.predict(&frame, crop)?;
                    analysis.preprocess += took;
                    if predicted_tx.send(Analysed { frame, analysis, queue_wait }).is_err() {
                        break;
                    }
                }
                Ok(())
            })?;
        }
        spawn(scope, "track", &shared.failures, &shared.stop, move || {
            collect(&predicted, results, |frame, analysis| {
                let begin = Instant::now();
                follower.follow(frame, &mut analysis.findings);
                analysis.postprocess += begin.elapsed();
            });
            Ok(())
        })?;
        let mut turn = located.iter().cycle();
        while let (Some((frame, queue_wait)), Some(engine)) = (next(shared), turn.next()) {
            let begin = Instant::now();
            let crop = locator.locate(&frame);
            if engine.send(Located { frame, queue_wait, crop, took: begin.elapsed() }).is_err() {
                break;
            }
        }
        Ok(())
    })
}

/// Takes results from the engines in turn until the one whose turn it is has ended: none follows it.
fn collect(
    predicted: &[Receiver<Analysed>],
    results: &Sender<Analysed>,
    mut follow: impl FnMut(&Frame, &mut Analysis),
) {
    for engine in predicted.iter().cycle() {
        let Ok(mut result) = engine.recv() else { break };
        follow(&result.frame, &mut result.analysis);
        if results.send(result).is_err() {
            break;
        }
    }
}

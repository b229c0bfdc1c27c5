//! Passes: each makes a graph simpler and leaves what it computes the same. One file each.

pub mod dead_code;
pub mod fold_batch_norm;
pub mod fold_constants;
pub mod fuse_activation;
pub mod fuse_grid;
pub mod fuse_residual;
pub mod half_weights;
pub mod int8;
pub mod remove_identity;

use super::Graph;
use crate::config::OptimizationLevel;

/// All passes: see [`run`].
pub fn run_all(graph: &mut Graph) {
    run(graph, OptimizationLevel::High);
}

/// The passes of a level, in the order in which each finds what the earlier ones left: for engines that compute
/// in floats. A [quantized](super::quantization) graph comes out as one of floats that are rounded to the grid.
pub fn run(graph: &mut Graph, level: OptimizationLevel) {
    if level == OptimizationLevel::Off {
        return;
    }
    fuse_grid::run(graph);
    rewrite(graph, level);
    if level >= OptimizationLevel::High {
        fuse_residual::run(graph);
    }
}

/// The passes whose results every exporter can write: all but those that fuse what no format has.
pub fn simplify(graph: &mut Graph) {
    rewrite(graph, OptimizationLevel::High);
}

fn rewrite(graph: &mut Graph, level: OptimizationLevel) {
    fold_constants::run(graph);
    remove_identity::run(graph);
    if level >= OptimizationLevel::Medium {
        fold_batch_norm::run(graph);
    }
    if level >= OptimizationLevel::High {
        fuse_activation::run(graph);
    }
    fold_constants::run(graph);
    dead_code::run(graph);
}

//! Passes: each makes a graph simpler and leaves what it computes the same. One file each.

pub mod dead_code;
pub mod fold_batch_norm;
pub mod fold_constants;
pub mod fuse_activation;
pub mod fuse_residual;
pub mod remove_identity;

use super::Graph;

/// All passes, in the order in which each finds what the earlier ones left.
pub fn run_all(graph: &mut Graph) {
    remove_identity::run(graph);
    fold_batch_norm::run(graph);
    fuse_activation::run(graph);
    fuse_residual::run(graph);
    fold_constants::run(graph);
    dead_code::run(graph);
}

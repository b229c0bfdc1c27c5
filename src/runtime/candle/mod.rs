//! Candle: the runtime that is always there.
//!
//! On the CPU the graph runs through kernels of our own ([`cpu`](mod@cpu)), because candle's depthwise
//! convolution is a hundred times slower than it need be and each of its operators allocates. On a GPU it is
//! lowered to candle's own operators ([`lowered`]), but for what takes an NVIDIA GPU too many launches: that has
//! kernels of our own as well (`cuda`).

pub mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod lower;
pub mod lowered;

use candle_core::{DType, Device};

use super::Engine;
use crate::config::OptimizationLevel;
use crate::error::{Error, Result};
use crate::graph::{Graph, passes};
use lowered::Lowered;

/// Compiles `graph` for the CPU; 0 threads means one per core.
pub fn cpu(graph: &Graph, level: OptimizationLevel, threads: usize) -> Result<Box<dyn Engine>> {
    Ok(Box::new(cpu::CpuEngine::new(&optimised(graph, level), threads)?))
}

/// Compiles `graph` for an NVIDIA GPU, to be computed in `dtype`.
pub fn cuda(graph: &Graph, level: OptimizationLevel, dtype: DType, index: usize) -> Result<Box<dyn Engine>> {
    on_gpu(graph, level, dtype, ("candle-cuda", "cuda", cfg!(feature = "cuda")), || Device::new_cuda(index))
}

/// Compiles `graph` for Apple's GPU, to be computed in `dtype`.
pub fn metal(graph: &Graph, level: OptimizationLevel, dtype: DType) -> Result<Box<dyn Engine>> {
    on_gpu(graph, level, dtype, ("candle-metal", "metal", cfg!(feature = "metal")), || Device::new_metal(0))
}

fn on_gpu(
    graph: &Graph,
    level: OptimizationLevel,
    dtype: DType,
    (runtime, feature, built): (&'static str, &str, bool),
    device: impl FnOnce() -> candle_core::Result<Device>,
) -> Result<Box<dyn Engine>> {
    let fail = |detail: String| Error::Runtime { runtime: runtime.to_owned(), detail };
    if !built {
        return Err(fail(format!(
            "is not in this build: build with cargo build --release --features {feature}"
        )));
    }
    let device = device().map_err(|e| fail(format!("no usable device: {}", lower::describe(e))))?;
    Ok(Box::new(Lowered::new(&optimised(graph, level), device, dtype, runtime)?))
}

fn optimised(graph: &Graph, level: OptimizationLevel) -> Graph {
    let mut graph = graph.clone();
    passes::run(&mut graph, level);
    graph
}

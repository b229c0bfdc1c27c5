//! Our own kernels on the CPU, executed by candle as operators that write in place.
//!
//! The graph is compiled once (`plan`): pictures lie channels-last, so that a pointwise convolution is a
//! matrix product over pixels and everything else runs vectors over channels; weights are packed for the
//! tile kernel; buffers are shared by values that are never alive together (`buffers`). A run allocates
//! no buffers.

mod aligned;
mod buffers;
mod epilogue;
mod ops;
mod plan;
mod simd;
mod tile;

use candle_core::{DType, Device, Storage, Tensor};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::error::{Error, Result};
use crate::graph::{Graph, Op, passes};
use crate::runtime::{Engine, HostTensor};
use ops::Step;
use ops::reshape::Transposed;
use plan::{Plan, Work};
pub use simd::Isa;

pub(crate) const NAME: &str = "candle-cpu";

/// Largest number of threads.
const MAX_THREADS: usize = 256;

/// A network on the CPU.
pub struct CpuEngine {
    pool: ThreadPool,
    state: State,
}

/// All that a run touches.
struct State {
    shape: [usize; 4],
    input: Vec<f32>,
    plan: Plan,
    buffers: Vec<Tensor>,
    outputs: Vec<HostTensor>,
}

/// Fills a buffer with the engine's input, or with a constant.
struct Load<'a> {
    input: &'a [f32],
    order: &'a Transposed,
}

impl Step for Load<'_> {
    fn name(&self) -> &'static str {
        "input"
    }

    fn run(&self, out: &mut [f32], _: [&[f32]; 2]) {
        self.order.copy(self.input, out);
    }
}

impl CpuEngine {
    /// Compiles a graph that has been through the passes; 0 threads means one per core.
    pub fn new(graph: &Graph, threads: usize) -> Result<Self> {
        Self::with_isa(graph, threads, Isa::best())
    }

    /// As [`new`](Self::new), for a given instruction set.
    pub fn with_isa(graph: &Graph, threads: usize, isa: Isa) -> Result<Self> {
        let fail = |detail: String| Error::Runtime { runtime: NAME.into(), detail };
        if threads > MAX_THREADS {
            return Err(fail(format!("{threads} threads; at most {MAX_THREADS} are allowed")));
        }
        let shape = crate::runtime::input_shape(graph)?;
        // Kernels pack their weights, so those on an integer grid must be floats by now.
        let mut unpacked = None;
        if graph.nodes.iter().any(|n| matches!(n.op, Op::Dequantize(_))) {
            passes::fuse_grid::unpack(unpacked.insert(graph.clone()));
        }
        let graph = unpacked.as_ref().unwrap_or(graph);
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("nn-{i}"))
            .build()
            .map_err(|e| fail(e.to_string()))?;
        let plan = plan::plan(graph, isa)?;
        let buffers = plan
            .buffers
            .iter()
            .map(|b| {
                let buffer = Tensor::zeros(b.len + aligned::SLACK, DType::F32, &Device::Cpu)?;
                if let Some(data) = &b.constant {
                    let order = Transposed { rows: 1, columns: data.len() };
                    ops::execute(&Load { input: data, order: &order }, &buffer, &[])?;
                }
                Ok(buffer)
            })
            .collect::<candle_core::Result<_>>()
            .map_err(|e| fail(e.to_string()))?;
        let outputs = graph
            .outputs
            .iter()
            .map(|&id| graph.value(id))
            .map(|v| HostTensor {
                name: v.name.clone(),
                shape: v.shape.clone(),
                data: vec![0.0; v.shape.iter().product()],
            })
            .collect();
        let input = vec![0.0; shape.iter().product()];
        Ok(Self { pool, state: State { shape, input, plan, buffers, outputs } })
    }
}

impl State {
    fn execute(&mut self) -> candle_core::Result<()> {
        for task in &self.plan.tasks {
            let out = &self.buffers[task.output];
            match &task.work {
                Work::Load(order) => ops::execute(&Load { input: &self.input, order }, out, &[])?,
                Work::Step(step) => match task.inputs[..] {
                    [] => ops::execute(step.as_ref(), out, &[])?,
                    [a] => ops::execute(step.as_ref(), out, &[&self.buffers[a]])?,
                    [a, b, ..] => {
                        ops::execute(step.as_ref(), out, &[&self.buffers[a], &self.buffers[b]])?;
                    }
                },
            }
        }
        for (host, source) in self.outputs.iter_mut().zip(&self.plan.outputs) {
            let (storage, _) = self.buffers[source.buffer].storage_and_layout();
            match &*storage {
                Storage::Cpu(storage) => source.order.copy(ops::values(storage)?, &mut host.data),
                _ => candle_core::bail!("a buffer is not in ordinary memory"),
            }
        }
        Ok(())
    }
}

impl Engine for CpuEngine {
    fn runtime(&self) -> &str {
        NAME
    }

    fn input_shape(&self) -> [usize; 4] {
        self.state.shape
    }

    fn input(&mut self) -> &mut [f32] {
        &mut self.state.input
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        let state = &mut self.state;
        self.pool
            .install(|| state.execute())
            .map_err(|e| Error::Runtime { runtime: NAME.into(), detail: e.to_string() })?;
        Ok(&self.state.outputs)
    }
}

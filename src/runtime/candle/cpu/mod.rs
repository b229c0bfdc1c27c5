//! Our own kernels on the CPU, executed by candle as operators that write in place.
//!
//! The graph is compiled once (`plan`): pictures lie channels-last, so that a pointwise convolution is a
//! matrix product over pixels and everything else runs vectors over channels; weights are packed for the
//! tile kernel; buffers are shared by values that are never alive together (`buffers`). A run allocates
//! no buffers. Engines for one network share all that a run does not write to.

mod aligned;
mod buffers;
mod epilogue;
mod ops;
mod plan;
mod simd;
mod team;
mod tile;

use std::sync::Arc;

use candle_core::{DType, Device, Storage, Tensor};

use crate::error::{Error, Result};
use crate::graph::{Graph, Op, passes};
use crate::runtime::{Engine, HostTensor, Maker};
use ops::Step;
use ops::reshape::Transposed;
use plan::{Plan, Work};
pub use simd::Isa;
use team::Team;

pub(crate) const NAME: &str = "candle-cpu";

/// Largest number of threads.
const MAX_THREADS: usize = 256;

/// A compiled network: everything that engines can share.
struct Network {
    threads: usize,
    shape: [usize; 4],
    plan: Plan,
    /// Per buffer the constant that it holds for ever, if it is one.
    constants: Vec<Option<Tensor>>,
    /// Names and extents of the outputs.
    outputs: Vec<(String, Vec<usize>)>,
}

/// A network on the CPU.
pub struct CpuEngine {
    team: Team,
    network: Arc<Network>,
    state: State,
}

/// All that a run writes to.
struct State {
    input: Vec<f32>,
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

    fn run(&self, team: &Team, out: &mut [f32], _: [&[f32]; 2]) {
        self.order.copy(team, self.input, out);
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
        let mut plan = plan::plan(graph, isa)?;
        let constants = plan
            .buffers
            .iter_mut()
            .map(|buffer| buffer.constant.take().map(|data| constant(&data)).transpose())
            .collect::<candle_core::Result<_>>()
            .map_err(|e| fail(e.to_string()))?;
        let outputs = graph.outputs.iter().map(|&id| graph.value(id));
        let outputs = outputs.map(|value| (value.name.clone(), value.shape.clone())).collect();
        Self::over(Arc::new(Network { threads, shape, plan, constants, outputs }))
    }

    /// An engine for a network that is compiled.
    fn over(network: Arc<Network>) -> Result<Self> {
        let fail = |detail: String| Error::Runtime { runtime: NAME.into(), detail };
        let team = Team::new(network.threads).map_err(|e| fail(format!("cannot start a thread: {e}")))?;
        let all = network.plan.buffers.iter().zip(&network.constants);
        let buffers = all
            .map(|(buffer, constant)| match constant {
                // Nothing writes to it.
                Some(constant) => Ok(constant.clone()),
                None => Tensor::zeros(buffer.len + aligned::SLACK, DType::F32, &Device::Cpu),
            })
            .collect::<candle_core::Result<_>>()
            .map_err(|e| fail(e.to_string()))?;
        let outputs = network
            .outputs
            .iter()
            .map(|(name, shape)| HostTensor {
                name: name.clone(),
                shape: shape.clone(),
                data: vec![0.0; shape.iter().product()],
            })
            .collect();
        let input = vec![0.0; network.shape.iter().product()];
        Ok(Self { team, network, state: State { input, buffers, outputs } })
    }
}

/// A buffer that holds `data` for ever.
fn constant(data: &[f32]) -> candle_core::Result<Tensor> {
    let buffer = Tensor::zeros(data.len() + aligned::SLACK, DType::F32, &Device::Cpu)?;
    let order = Transposed { rows: 1, columns: data.len() };
    ops::execute(&Load { input: data, order: &order }, &Team::alone(), &buffer, &[])?;
    Ok(buffer)
}

impl State {
    fn execute(&mut self, plan: &Plan, team: &Team) -> candle_core::Result<()> {
        for task in &plan.tasks {
            let out = &self.buffers[task.output];
            match &task.work {
                Work::Load(order) => ops::execute(&Load { input: &self.input, order }, team, out, &[])?,
                Work::Step(step) => match task.inputs[..] {
                    [] => ops::execute(step.as_ref(), team, out, &[])?,
                    [a] => ops::execute(step.as_ref(), team, out, &[&self.buffers[a]])?,
                    [a, b, ..] => {
                        ops::execute(step.as_ref(), team, out, &[&self.buffers[a], &self.buffers[b]])?;
                    }
                },
            }
        }
        for (host, source) in self.outputs.iter_mut().zip(&plan.outputs) {
            let (storage, _) = self.buffers[source.buffer].storage_and_layout();
            match &*storage {
                Storage::Cpu(storage) => source.order.copy(team, ops::values(storage)?, &mut host.data),
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

    fn maker(&self) -> Option<Maker> {
        let network = Arc::clone(&self.network);
        Some(Arc::new(move || Ok(Box::new(Self::over(Arc::clone(&network))?))))
    }

    fn input_shape(&self) -> [usize; 4] {
        self.network.shape
    }

    fn input(&mut self) -> &mut [f32] {
        &mut self.state.input
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        self.state
            .execute(&self.network.plan, &self.team)
            .map_err(|e| Error::Runtime { runtime: NAME.into(), detail: e.to_string() })?;
        Ok(&self.state.outputs)
    }
}

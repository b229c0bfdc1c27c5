//! A graph executed by candle's own operators, on whatever device candle has.

use candle_core::{DType, Device, Tensor};

use super::lower;
use crate::error::{Error, Result};
use crate::graph::{Graph, Node, ValueId};
use crate::runtime::{Engine, HostTensor};

/// A network whose steps are candle tensors' own methods. Allocates per run, as candle does.
pub struct Lowered {
    runtime: &'static str,
    device: Device,
    /// What it computes in; inputs and outputs are 32-bit floats.
    dtype: DType,
    shape: [usize; 4],
    input: Vec<f32>,
    input_id: ValueId,
    steps: Vec<(Node, lower::Step)>,
    constants: Vec<Option<Tensor>>,
    output_ids: Vec<ValueId>,
    /// After which step each value is last needed; candle frees its memory then.
    last_use: Vec<usize>,
    outputs: Vec<HostTensor>,
}

impl Lowered {
    /// Moves the weights to `device`, as numbers of `dtype`, and works out the steps.
    pub fn new(graph: &Graph, device: Device, dtype: DType, runtime: &'static str) -> Result<Self> {
        let shape = crate::runtime::input_shape(graph)?;
        let fail =
            |e: candle_core::Error| Error::Runtime { runtime: runtime.into(), detail: lower::describe(e) };
        #[cfg(feature = "cuda")]
        super::cuda::prepare(&device).map_err(fail)?;
        let constants = graph
            .values()
            .iter()
            .map(|v| match v.constant.as_ref().map(|t| t.to_f32()) {
                Some(data) => {
                    Tensor::from_slice(&data, v.shape.as_slice(), &device)?.to_dtype(dtype).map(Some)
                }
                None => Ok(None),
            })
            .collect::<candle_core::Result<Vec<_>>>()
            .map_err(fail)?;
        let mut steps = vec![];
        let mut last_use = vec![0; graph.values().len()];
        for (i, node) in graph.nodes.iter().enumerate() {
            let step =
                lower::prepare(graph, node, &device, dtype).map_err(|detail| Error::UnsupportedOperator {
                    model: graph.name.clone(),
                    operator: node.op.name().into(),
                    node: node.name.clone(),
                    detail: format!("{detail} (by {runtime})"),
                })?;
            steps.push((node.clone(), step));
            node.inputs.iter().for_each(|id| last_use[id.index()] = i);
        }
        graph.outputs.iter().for_each(|id| last_use[id.index()] = usize::MAX);
        let outputs = graph
            .outputs
            .iter()
            .map(|&id| graph.value(id))
            .map(|v| HostTensor { name: v.name.clone(), shape: v.shape.clone(), data: vec![] })
            .collect();
        // Whoever runs this may be another thread, which on NVIDIA GPUs has a queue of its own.
        device.synchronize().map_err(fail)?;
        Ok(Self {
            runtime,
            device,
            dtype,
            shape,
            input: vec![0.0; shape.iter().product()],
            input_id: graph.inputs[0],
            steps,
            constants,
            output_ids: graph.outputs.clone(),
            last_use,
            outputs,
        })
    }

    fn execute(&mut self) -> candle_core::Result<()> {
        // Clones of tensors share their memory.
        let mut values = self.constants.clone();
        let input = Tensor::from_slice(&self.input, &self.shape, &self.device)?.to_dtype(self.dtype)?;
        values[self.input_id.index()] = Some(input);
        for (i, (node, step)) in self.steps.iter().enumerate() {
            let inputs: Vec<Tensor> =
                node.inputs.iter().filter_map(|id| values[id.index()].clone()).collect();
            values[node.output.index()] = Some(lower::execute(&node.op, step, &inputs)?);
            for id in &node.inputs {
                if self.last_use[id.index()] == i {
                    values[id.index()] = None;
                }
            }
        }
        for (host, id) in self.outputs.iter_mut().zip(&self.output_ids) {
            if let Some(t) = &values[id.index()] {
                host.data = t.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
            }
        }
        Ok(())
    }
}

impl Engine for Lowered {
    fn runtime(&self) -> &str {
        self.runtime
    }

    fn input_shape(&self) -> [usize; 4] {
        self.shape
    }

    fn input(&mut self) -> &mut [f32] {
        &mut self.input
    }

    fn run(&mut self) -> Result<&[HostTensor]> {
        self.execute()
            .map_err(|e| Error::Runtime { runtime: self.runtime.into(), detail: lower::describe(e) })?;
        Ok(&self.outputs)
    }
}

impl Drop for Lowered {
    /// A run that failed may have left work behind that still reads the weights, and on NVIDIA GPUs they are freed
    /// for the dropping thread's queue, which knows nothing of another's.
    fn drop(&mut self) {
        let _ = self.device.synchronize();
    }
}

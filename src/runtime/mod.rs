//! Who executes a network: one trait, one file or folder per runtime.

pub mod candle;
pub mod fastest;
mod library;
pub mod onnxruntime;
mod open;
pub mod openvino;
pub mod pool;
mod port;
mod precision;
pub mod scripted;
pub mod tflite;

pub use open::{Options, Placement, each, names, open, open_for_throughput};
pub use precision::computed_in;

use std::sync::Arc;

use crate::error::Result;
use crate::graph::Graph;

/// A named tensor in ordinary memory, 32-bit floats, row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HostTensor {
    /// The value's name in the model.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Values; as many as the product of `shape`.
    pub data: Vec<f32>,
}

/// A compiled network that is ready to run, with buffers that stay.
///
/// Fill [`input`](Self::input), call [`run`](Self::run). An engine is used by one thread at a time.
pub trait Engine: Send {
    /// The runtime's name as records show it, such as `candle-cpu`.
    fn runtime(&self) -> &str;

    /// The vendor library's version, where one executes.
    fn version(&self) -> Option<&str> {
        None
    }

    /// Makes further engines for the same network; `None` where a runtime compiles anew for each.
    fn maker(&self) -> Option<Maker> {
        None
    }

    /// Extents of the one input, `[1, channels, height, width]`.
    fn input_shape(&self) -> [usize; 4];

    /// The input buffer, NCHW, to be filled before each run.
    fn input(&mut self) -> &mut [f32];

    /// Executes the network once. The outputs stay valid until the next call.
    fn run(&mut self) -> Result<&[HostTensor]>;
}

/// Makes engines for one compiled network: they share its weights, and each has buffers of its own.
pub type Maker = Arc<dyn Fn() -> Result<Box<dyn Engine>> + Send + Sync>;

/// Extents of a graph's one input.
fn input_shape(graph: &Graph) -> Result<[usize; 4]> {
    match graph.inputs[..] {
        [id] => graph.shape(id).try_into().ok(),
        _ => None,
    }
    .ok_or_else(|| graph.error("wants one input of four axes"))
}

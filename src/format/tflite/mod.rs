//! TFLite out (and, as far as it is needed to execute and judge a file, in).

mod decode;
pub mod edge_tpu;
mod encode;
mod grid;
mod interface;
mod layout;
pub mod model;
mod movement;
pub mod schema;
mod sound;
mod windows;
mod write;

pub use decode::{decode, is_tflite, signature_outputs};
pub use encode::encode;
pub use interface::{channels_first, interface, squashed};
pub use model::Model;
pub use write::{Options, Weights, lower};

use crate::error::Result;
use crate::graph::Graph;

/// Writes a network as a `.tflite` file. Values of four axes lie channels last in it, its inputs and outputs
/// included.
///
/// # Errors
/// [`Error::UnsupportedOperator`](crate::Error::UnsupportedOperator) for what TFLite has no operator for.
pub fn write(graph: &Graph, options: Options) -> Result<Vec<u8>> {
    Ok(encode(&lower(graph, options)?))
}

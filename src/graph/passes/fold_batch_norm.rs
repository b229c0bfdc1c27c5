//! Batch normalisation is a scale and an offset per channel: both go into the convolution before it.
//!
//! Multiplications and additions of one constant per channel after a convolution are folded alike.

use crate::graph::op::{Binary, Conv, Op};
use crate::graph::{Graph, Tensor};

/// Folds them. Returns how many nodes went.
pub fn run(graph: &mut Graph) -> usize {
    let mut folded = 0;
    // Forwards, so that Conv → Mul → Add folds in one sweep.
    for i in 0..graph.nodes.len() {
        let Some((producer, affine)) = candidate(graph, i) else { continue };
        if apply(graph, producer, &affine).is_some() {
            let (from, to) = (graph.nodes[i].output, graph.nodes[producer].output);
            graph.replace_uses(from, to);
            // The convolution's value takes over the name, so that an output keeps it.
            let name = graph.value(from).name.clone();
            graph.value_mut(to).name = name;
            // It is dead, and no use of the convolution any more.
            graph.nodes[i].inputs.clear();
            folded += 1;
        }
    }
    super::dead_code::run(graph);
    folded
}

/// y = scale x + offset, per channel.
struct Affine {
    scale: Vec<f32>,
    offset: Vec<f32>,
}

/// The convolution whose only use is node `i`, and what node `i` does to it.
fn candidate(graph: &Graph, i: usize) -> Option<(usize, Affine)> {
    let node = &graph.nodes[i];
    let conv_of = |slot: usize| {
        let id = *node.inputs.get(slot)?;
        let producer = graph.nodes[..i].iter().position(|n| n.output == id)?;
        let plain = match &graph.nodes[producer].op {
            Op::Conv(c) => c.activation.is_none() && c.residual.is_none(),
            Op::ConvTranspose(c) => c.activation.is_none(),
            _ => false,
        };
        // A constant that broadcasts one channel to several is no affine map of it.
        let keeps_shape = graph.shape(id) == graph.shape(node.output);
        (plain && keeps_shape && used_once(graph, id)).then_some(producer)
    };
    let channels = *graph.shape(node.output).get(1)?;
    match &node.op {
        Op::BatchNorm { epsilon } => {
            let constant = |slot: usize| graph.constant_f32(*node.inputs.get(slot)?);
            let (gamma, beta, mean, variance) = (constant(1)?, constant(2)?, constant(3)?, constant(4)?);
            let scale: Vec<f32> = gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
            let offset = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
            Some((conv_of(0)?, Affine { scale, offset }))
        }
        Op::Binary(binary @ (Binary::Add | Binary::Mul)) => {
            let constant_slot = (0..2).find(|&s| graph.constant_f32(node.inputs[s]).is_some())?;
            let constant = per_channel(graph.constant(node.inputs[constant_slot])?, channels)?;
            let affine = match binary {
                Binary::Mul => Affine { scale: constant, offset: vec![0.0; channels] },
                _ => Affine { scale: vec![1.0; channels], offset: constant },
            };
            Some((conv_of(1 - constant_slot)?, affine))
        }
        _ => None,
    }
}

fn used_once(graph: &Graph, id: crate::graph::ValueId) -> bool {
    let uses = graph.nodes.iter().flat_map(|n| &n.inputs).chain(&graph.outputs);
    uses.filter(|&&u| u == id).take(2).count() == 1
}

/// A constant as one value per channel of `[n, c, h, w]`, if it broadcasts that way.
fn per_channel(t: &Tensor, channels: usize) -> Option<Vec<f32>> {
    let values = t.as_f32()?;
    if values.len() == 1 && t.shape().len() <= 4 {
        return Some(vec![values[0]; channels]);
    }
    match t.shape() {
        [c, 1, 1] | [1, c, 1, 1] if *c == channels => Some(values.to_vec()),
        _ => None,
    }
}

fn apply(graph: &mut Graph, producer: usize, affine: &Affine) -> Option<()> {
    let node = &graph.nodes[producer];
    let weights = graph.constant(node.inputs[1])?;
    let shape = weights.shape().to_vec();
    let mut data = weights.as_f32()?.to_vec();
    let (bias, groups, transposed) = match &node.op {
        Op::Conv(Conv { bias, .. }) => (*bias, 1, false),
        Op::ConvTranspose(c) => (c.bias, c.groups, true),
        _ => return None,
    };
    let channels = affine.scale.len();
    let mut offset = match bias {
        true => graph.constant_f32(node.inputs[2])?.to_vec(),
        false => vec![0.0; channels],
    };
    offset.iter_mut().enumerate().for_each(|(c, b)| *b = *b * affine.scale[c] + affine.offset[c]);
    let taps: usize = shape[2..].iter().product();
    for (i, kernel) in data.chunks_exact_mut(taps.max(1)).enumerate() {
        // Weights of a convolution are [out, in / groups], of a transposed one [in, out / groups].
        let channel = match transposed {
            false => i / shape[1],
            true => i / shape[1] / (shape[0] / groups) * shape[1] + i % shape[1],
        };
        kernel.iter_mut().for_each(|w| *w *= affine.scale[channel]);
    }
    let name = graph.value(node.inputs[1]).name.clone();
    let weights = graph.add_constant(name.clone(), Tensor::f32(shape, data).ok()?);
    let bias = graph.add_constant(format!("{name}.bias"), Tensor::f32(vec![channels], offset).ok()?);
    let node = &mut graph.nodes[producer];
    node.inputs.truncate(1);
    node.inputs.extend([weights, bias]);
    match &mut node.op {
        Op::Conv(c) => c.bias = true,
        Op::ConvTranspose(c) => c.bias = true,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_and_an_offset_after_it_both_go_into_the_convolution() {
        let mut g = Graph::new("test");
        let x = g.add_input("x", vec![1, 1, 2, 2]);
        let weight = g.add_constant("w", Tensor::f32(vec![1, 1, 1, 1], vec![3.0]).unwrap());
        let conv = Conv {
            strides: [1, 1],
            pads: [0; 4],
            dilations: [1, 1],
            groups: 1,
            bias: false,
            residual: None,
            activation: None,
        };
        let y = g.push("conv", "y", Op::Conv(conv), vec![x, weight]).unwrap();
        let two = g.add_constant("two", Tensor::f32(vec![1], vec![2.0]).unwrap());
        let z = g.push("mul", "z", Op::Binary(Binary::Mul), vec![y, two]).unwrap();
        let z = g.push("add", "sum", Op::Binary(Binary::Add), vec![z, two]).unwrap();
        g.outputs.push(z);
        assert_eq!(run(&mut g), 2);
        let [node] = &g.nodes[..] else { panic!("{:?}", g.nodes) };
        let constant = |slot: usize| g.constant_f32(node.inputs[slot]).unwrap();
        assert_eq!((constant(1), constant(2)), (&[6.0][..], &[2.0][..]));
        assert_eq!(g.value(g.outputs[0]).name, "sum");
    }
}

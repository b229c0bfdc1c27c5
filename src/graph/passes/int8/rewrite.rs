//! The quantized graph, built anew beside the float one.

use std::collections::HashMap;

use super::plan::{self, Plan, grid, is_passive};
use super::weights::{bias_grid, layer};
use super::{Observations, Options, Scheme};
use crate::graph::op::Op;
use crate::graph::quantization::Quantization;
use crate::graph::{Graph, Node, Tensor, ValueId};

/// Makes the grid of a [prepared](fn@super::prepare) network explicit.
///
/// # Errors
/// If an activation was not observed.
pub fn quantize(graph: &Graph, observations: &Observations, options: &Options) -> Result<Graph, String> {
    let plan = plan::plan(graph, observations, options)?;
    let mut r = Rewriter {
        source: graph,
        observations,
        options,
        plan,
        graph: Graph::new(&graph.name),
        reals: HashMap::new(),
        grids: HashMap::new(),
    };
    for &id in &graph.inputs {
        let new = r.graph.add_input(&graph.value(id).name, graph.shape(id).to_vec());
        r.reals.insert(id, new);
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        if r.plan.quantized[i] { r.quantized(node) } else { r.float(node) }
            .map_err(|e| format!("{} (node {:?}): {e}", node.op.name(), node.name))?;
    }
    for &id in &graph.outputs {
        let output = r.real(id);
        r.graph.outputs.push(output);
    }
    Ok(r.graph)
}

struct Rewriter<'a> {
    source: &'a Graph,
    observations: &'a Observations,
    options: &'a Options,
    plan: Plan,
    graph: Graph,
    /// Values that are computed, as floats; behind their grid where they have one.
    reals: HashMap<ValueId, ValueId>,
    /// Values behind a grid, by it.
    grids: HashMap<ValueId, Vec<(Quantization, ValueId)>>,
}

impl Rewriter<'_> {
    /// A value as float operators use it.
    fn real(&mut self, id: ValueId) -> ValueId {
        if let Some(&new) = self.reals.get(&id) {
            return new;
        }
        let value = self.source.value(id);
        // Values without a producer are constants; an empty one stands for a file that promises what it lacks.
        let constant = value.constant.clone().or_else(|| Tensor::f32(vec![0], vec![]).ok());
        let new = match constant {
            Some(t) => self.graph.add_constant(&value.name, t),
            None => id,
        };
        self.reals.insert(id, new);
        new
    }

    /// A value behind the grid `wanted`.
    fn on_grid(&mut self, id: ValueId, wanted: &Quantization) -> Result<ValueId, String> {
        let known = self.grids.get(&id).and_then(|v| v.iter().find(|(q, _)| q == wanted));
        if let Some(&(_, there)) = known {
            return Ok(there);
        }
        let from = self.real(id);
        let name = self.source.value(id).name.clone();
        let count = self.grids.get(&id).map_or(0, Vec::len);
        let suffix = if count == 0 { String::new() } else { format!(".{count}") };
        let there = self.marked(from, &name, &format!("{name}.grid{suffix}"), wanted)?;
        self.grids.entry(id).or_default().push((wanted.clone(), there));
        Ok(there)
    }

    /// `Quantize` and `Dequantize` behind a value; `to` names the result.
    fn marked(&mut self, from: ValueId, name: &str, to: &str, q: &Quantization) -> Result<ValueId, String> {
        let stored = format!("{to}.stored");
        let quantize = Op::Quantize(q.clone());
        let stored = self.graph.push(&format!("{name}.quantize"), &stored, quantize, vec![from])?;
        self.graph.push(&format!("{name}.dequantize"), to, Op::Dequantize(q.clone()), vec![stored])
    }

    /// A constant on a grid.
    fn constant(&mut self, name: &str, stored: Tensor, q: Quantization) -> Result<ValueId, String> {
        let id = self.graph.add_constant(format!("{name}.stored"), stored);
        self.graph.push(&format!("{name}.dequantize"), name, Op::Dequantize(q), vec![id])
    }

    fn stored(&self, id: ValueId, q: &Quantization) -> Result<Tensor, String> {
        let data = self.source.constant(id).map(|t| t.to_f32()).unwrap_or_default();
        let stored = data.iter().map(|&x| i64::from(q.store(x, 0))).collect();
        Tensor::i64(self.source.shape(id).to_vec(), stored)
    }

    fn float(&mut self, node: &Node) -> Result<(), String> {
        let inputs = node.inputs.iter().map(|&id| self.real(id)).collect();
        let name = self.source.value(node.output).name.clone();
        let output = self.graph.push(&node.name, &name, node.op.clone(), inputs)?;
        self.reals.insert(node.output, output);
        Ok(())
    }

    fn quantized(&mut self, node: &Node) -> Result<(), String> {
        let output_grid = self.plan.grids[&node.output].clone();
        let mut op = node.op.clone();
        let mut inputs = vec![];
        let x = node.inputs[0];
        let input_scale = self.plan.grids.get(&x).map_or(1.0, |q| q.scale[0]);
        let is_layer = matches!(op, Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm { .. } | Op::MatMul);
        let seen = self.observations.get(&x);
        let layer = match is_layer && self.source.constant(x).is_none() {
            true => layer(self.source, node, input_scale, seen, self.options),
            false => None,
        };
        let here = node.inputs.iter().take(if layer.is_some() { 1 } else { node.inputs.len() });
        for &id in here {
            let wanted = match (is_passive(&op), self.plan.grids.get(&id)) {
                (true, _) => output_grid.clone(),
                (false, Some(q)) => q.clone(),
                (false, None) => {
                    let data = self.source.constant(id).map(|t| t.to_f32()).unwrap_or_default();
                    let ends = data.iter().fold((0f32, 0f32), |(l, h), &v| (l.min(v), h.max(v)));
                    grid(ends, self.options.scheme)
                }
            };
            inputs.push(match self.source.constant(id) {
                Some(_) => {
                    let name = format!("{}.{}", node.name, inputs.len());
                    let stored = self.stored(id, &wanted)?;
                    self.constant(&name, stored, wanted)?
                }
                None => self.on_grid(id, &wanted)?,
            });
        }
        if let Some(layer) = layer {
            inputs.push(self.constant(
                &format!("{}.weights", node.name),
                layer.weights,
                layer.weight_grid.clone(),
            )?);
            // Every layer gets a bias: integer kernels want one, and rounding may have to be made up for.
            match &mut op {
                Op::Conv(c) => c.bias = true,
                Op::ConvTranspose(c) => c.bias = true,
                _ => {}
            }
            if !matches!(op, Op::MatMul) {
                let name = format!("{}.bias", node.name);
                inputs.push(self.bias(&name, layer.bias, bias_grid(input_scale, &layer.weight_grid))?);
            }
        }
        let name = self.source.value(node.output).name.clone();
        let is_output = self.source.outputs.contains(&node.output);
        let (real, there) = if is_output {
            (format!("{name}.real"), name.clone())
        } else {
            (name.clone(), format!("{name}.grid"))
        };
        let output = self.graph.push(&node.name, &real, op, inputs)?;
        let marked = self.marked(output, &name, &there, &output_grid)?;
        self.reals.insert(node.output, marked);
        self.grids.insert(node.output, vec![(output_grid, marked)]);
        Ok(())
    }

    fn bias(&mut self, name: &str, bias: Vec<f32>, q: Quantization) -> Result<ValueId, String> {
        let shape = vec![bias.len()];
        if self.options.scheme == Scheme::Symmetric {
            return Ok(self.graph.add_constant(name, Tensor::f32(shape, bias)?));
        }
        let slice = |i: usize| if q.axis.is_some() { i } else { 0 };
        let stored = bias.iter().enumerate().map(|(i, &b)| i64::from(q.store(b, slice(i)))).collect();
        self.constant(name, Tensor::i64(shape, stored)?, q)
    }
}

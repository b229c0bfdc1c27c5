//! From graph to steps: which kernel, in which order of axes, in which buffer.

use std::collections::HashMap;
use std::sync::Arc;

use super::buffers::{Life, assign};
use super::ops::Step;
use super::ops::conv::DenseConv;
use super::ops::depthwise::DepthwiseConv;
use super::ops::pointwise::{self, Affine, Map, Zip};
use super::ops::reference::{Operand, Reference};
use super::ops::reshape::{Channels, Transposed};
use super::ops::window::{GlobalMean, PoolStep, Scale};
use super::simd::Isa;
use super::team::Team;
use crate::error::{Error, Result};
use crate::graph::op::{Binary, Conv, Reduce};
use crate::graph::{Graph, Node, Op, ValueId};

/// Largest stride of a transposed convolution, which is computed in as many phases as its strides' product: FCN-32s, which
/// enlarges the most in one step, has 32 (Long et al., *Fully Convolutional Networks for Semantic Segmentation*, 2015).
const MAX_STRIDE: usize = 64;

/// Largest number of values in all buffers together (4 GiB).
const MAX_BUFFER_VALUES: usize = 1 << 30;

/// A compiled network.
pub struct Plan {
    /// What to do, in order.
    pub tasks: Vec<Task>,
    /// What to allocate.
    pub buffers: Vec<Buffer>,
    /// Where the graph's outputs are.
    pub outputs: Vec<Source>,
}

/// One step with its buffers.
pub struct Task {
    /// What to do.
    pub work: Work,
    /// Buffer that is written.
    pub output: usize,
    /// Buffers that are read.
    pub inputs: Vec<usize>,
}

/// What a task does.
pub enum Work {
    /// Reads the engine's input.
    Load(Transposed),
    /// Computes.
    Step(Box<dyn Step>),
}

/// A buffer.
pub struct Buffer {
    /// Number of values.
    pub len: usize,
    /// What it holds for ever, for a constant.
    pub constant: Option<Vec<f32>>,
}

/// Where an output is, and how its values lie.
pub struct Source {
    /// The buffer.
    pub buffer: usize,
    /// How to bring them into row-major order.
    pub order: Transposed,
}

/// How the values of a tensor lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Order {
    /// Row-major, as in the file.
    Plain,
    /// Batch, row, column, channel.
    ChannelsLast,
}

/// A value in one order; several may share one through reshapes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Slot(usize);

struct Planner<'g> {
    graph: &'g Graph,
    isa: Isa,
    /// Constants of steps without a kernel of their own.
    constants: HashMap<ValueId, Arc<[f32]>>,
    slots: Vec<Buffer>,
    tasks: Vec<(Work, Slot, Vec<Slot>)>,
    places: HashMap<(ValueId, Order), Slot>,
}

/// Compiles a graph that has been through the passes.
pub fn plan(graph: &Graph, isa: Isa) -> Result<Plan> {
    let mut p = Planner {
        graph,
        isa,
        constants: HashMap::new(),
        slots: vec![],
        tasks: vec![],
        places: HashMap::new(),
    };
    for node in &graph.nodes {
        p.node(node).map_err(|detail| Error::UnsupportedOperator {
            model: graph.name.clone(),
            operator: node.op.name().into(),
            node: node.name.clone(),
            detail,
        })?;
    }
    let outputs: Vec<(Slot, Transposed)> = graph
        .outputs
        .iter()
        .map(|&id| {
            let order = p.order_of(id);
            (p.place(id, order), p.to_plain(id, order))
        })
        .collect();
    p.finish(outputs)
}

/// Whether a tensor is one picture, so that its channels can come last.
fn is_picture(shape: &[usize]) -> bool {
    shape.len() == 4 && shape[0] == 1
}

/// A shape as channels and pixels.
fn channels_and_pixels(shape: &[usize]) -> (usize, usize) {
    (shape[1], shape[2] * shape[3])
}

impl Planner<'_> {
    fn slot(&mut self, len: usize) -> Slot {
        self.slots.push(Buffer { len, constant: None });
        Slot(self.slots.len() - 1)
    }

    /// The order in which a value is there already.
    fn order_of(&self, id: ValueId) -> Order {
        match self.places.contains_key(&(id, Order::ChannelsLast)) {
            true => Order::ChannelsLast,
            false => Order::Plain,
        }
    }

    /// How to bring a value from `order` to row-major.
    fn to_plain(&self, id: ValueId, order: Order) -> Transposed {
        let shape = self.graph.shape(id);
        match order {
            Order::Plain => Transposed { rows: 1, columns: shape.iter().product() },
            Order::ChannelsLast => {
                let (channels, pixels) = channels_and_pixels(shape);
                Transposed { rows: pixels, columns: channels }
            }
        }
    }

    /// A value in the wanted order, reordered if it must be.
    fn place(&mut self, id: ValueId, order: Order) -> Slot {
        if let Some(&slot) = self.places.get(&(id, order)) {
            return slot;
        }
        let shape = self.graph.shape(id);
        let len = shape.iter().product();
        let into = match order {
            Order::Plain => Transposed { rows: 1, columns: len },
            Order::ChannelsLast => {
                let (channels, pixels) = channels_and_pixels(shape);
                Transposed { rows: channels, columns: pixels }
            }
        };
        let slot = if let Some(constant) = self.graph.constant(id) {
            let mut values = vec![0.0; len];
            into.copy(&Team::alone(), &constant.to_f32(), &mut values);
            let slot = self.slot(len);
            self.slots[slot.0].constant = Some(values);
            slot
        } else if self.graph.inputs.contains(&id) {
            let slot = self.slot(len);
            self.tasks.push((Work::Load(into), slot, vec![]));
            slot
        } else {
            let other = match order {
                Order::Plain => Order::ChannelsLast,
                Order::ChannelsLast => Order::Plain,
            };
            // Every node's output has been placed in one order before it is used.
            let from = self.places.get(&(id, other)).copied().unwrap_or(Slot(0));
            let (channels, pixels) = channels_and_pixels(shape);
            if channels == 1 || pixels == 1 {
                from
            } else {
                let step = if order == Order::Plain { self.to_plain(id, other) } else { into };
                let slot = self.slot(len);
                self.tasks.push((Work::Step(Box::new(step)), slot, vec![from]));
                slot
            }
        };
        self.places.insert((id, order), slot);
        slot
    }

    /// Adds a step for a node whose inputs are in `order`, and so is its output.
    fn add(&mut self, node: &Node, order: Order, inputs: &[ValueId], step: impl Step + 'static) {
        let inputs = inputs.iter().map(|&id| self.place(id, order)).collect();
        let slot = self.slot(self.graph.shape(node.output).iter().product());
        self.tasks.push((Work::Step(Box::new(step)), slot, inputs));
        self.places.insert((node.output, order), slot);
    }

    fn node(&mut self, node: &Node) -> Result<(), String> {
        let (graph, isa) = (self.graph, self.isa);
        let x = node.inputs[0];
        let (xs, ys) = (graph.shape(x), graph.shape(node.output));
        let picture = is_picture(xs) && is_picture(ys);
        let len = ys.iter().product();
        let weights = node.inputs.get(1).and_then(|&id| graph.constant_f32(id));
        let last = Order::ChannelsLast;
        match (&node.op, weights) {
            (Op::Conv(c), Some(w)) if picture => {
                let bias = self.bias(node, c.bias)?;
                let shapes = [xs, graph.shape(node.inputs[1]), ys];
                let mut inputs = vec![x];
                inputs.extend(c.residual.and_then(|_| node.inputs.last()));
                if is_depthwise(c, shapes) {
                    self.add(node, last, &inputs, DepthwiseConv::new(isa, c, shapes, w, bias));
                } else {
                    self.add(node, last, &inputs, DenseConv::new(isa, c, shapes, w, bias));
                }
            }
            (Op::ConvTranspose(c), _) if c.strides.iter().any(|&stride| stride > MAX_STRIDE) => {
                return Err(format!("strides {:?}; at most {MAX_STRIDE} are supported", c.strides));
            }
            (Op::ConvTranspose(c), Some(w)) if picture => {
                let bias = self.bias(node, c.bias)?;
                let shapes = [xs, graph.shape(node.inputs[1]), ys];
                self.add(node, last, &[x], DenseConv::transposed(isa, c, shapes, w, bias));
            }
            (Op::BatchNorm { epsilon }, _) if picture => {
                let part = |i: usize| graph.constant_f32(node.inputs[i]).ok_or("has parameters at run time");
                let (gamma, beta, mean, variance) = (part(1)?, part(2)?, part(3)?, part(4)?);
                let factor: Vec<f32> =
                    gamma.iter().zip(variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
                let offset = beta.iter().zip(mean.iter().zip(&factor)).map(|(b, (m, f))| b - m * f).collect();
                self.add(node, last, &[x], Affine { len, factor, offset });
            }
            (Op::Unary(u), _) => self.add(node, self.order_of(x), &[x], Map::new(isa, *u, len)),
            (Op::Binary(b), _) => self.binary(node, *b)?,
            (Op::Concat { axis }, _) => self.concat(node, *axis),
            (Op::Slice { ranges }, _)
                if picture
                    && ranges[1].step == 1
                    && ranges
                        .iter()
                        .zip(xs)
                        .enumerate()
                        .all(|(i, (r, &d))| i == 1 || r.len == d && r.step == 1) =>
            {
                let (count, pixels) = channels_and_pixels(ys);
                let step = Channels { pixels, count, input: [xs[1], ranges[1].start], output: [count, 0] };
                self.add(node, last, &[x], step);
            }
            (Op::Resize(r), _) if picture => self.add(node, last, &[x], Scale::new(isa, r, xs)),
            (Op::Pool(p), _) if picture => self.add(node, last, &[x], PoolStep::new(p, xs, ys)),
            (Op::Reduce { kind: Reduce::Mean, axes, .. }, _) if is_picture(xs) && axes[..] == [2, 3] => {
                let (channels, pixels) = channels_and_pixels(xs);
                let input = self.place(x, last);
                let slot = self.slot(channels);
                self.tasks.push((Work::Step(Box::new(GlobalMean { pixels, channels })), slot, vec![input]));
                // One pixel, or none: both orders are the same.
                self.places.insert((node.output, Order::Plain), slot);
                if is_picture(ys) {
                    self.places.insert((node.output, last), slot);
                }
            }
            (Op::Identity, _) => {
                let order = self.order_of(x);
                let slot = self.place(x, order);
                self.places.insert((node.output, order), slot);
            }
            (Op::Reshape { .. }, _) => {
                let slot = self.place(x, Order::Plain);
                self.places.insert((node.output, Order::Plain), slot);
            }
            _ => self.reference(node)?,
        }
        Ok(())
    }

    fn bias(&self, node: &Node, has: bool) -> Result<Option<&[f32]>, String> {
        match has {
            true => self.graph.constant_f32(node.inputs[2]).map(Some).ok_or("has a bias at run time".into()),
            false => Ok(None),
        }
    }

    /// Two values, one value per channel, or a constant.
    fn binary(&mut self, node: &Node, op: Binary) -> Result<(), String> {
        let graph = self.graph;
        let shape = graph.shape(node.output);
        let len = shape.iter().product();
        for swapped in [false, true] {
            let (a, b) = match swapped {
                false => (node.inputs[0], node.inputs[1]),
                true => (node.inputs[1], node.inputs[0]),
            };
            if graph.shape(a) != shape || graph.constant(a).is_some() {
                continue;
            }
            let other = graph.shape(b);
            let per_channel = is_picture(shape) && shape[1] > 1 && one_per_channel(other, shape[1]);
            let order = self.order_of(a);
            let zip = |operand| Zip::new(op, len, operand, swapped);
            match graph.constant_f32(b) {
                Some(c) if c.len() == 1 => {
                    self.add(node, order, &[a], zip(pointwise::Operand::Constant(c.to_vec())));
                }
                Some(c) if per_channel => {
                    let operand = pointwise::Operand::Constant(c.to_vec());
                    self.add(node, Order::ChannelsLast, &[a], zip(operand));
                }
                _ if other == shape => self.add(node, order, &[a, b], zip(pointwise::Operand::Same)),
                None if per_channel && is_picture(other) => {
                    let operand = pointwise::Operand::PerChannel(shape[1]);
                    self.add(node, Order::ChannelsLast, &[a, b], zip(operand));
                }
                _ => continue,
            }
            return Ok(());
        }
        self.reference(node)
    }

    /// Each operand is a step of its own that fills its part.
    fn concat(&mut self, node: &Node, axis: usize) {
        let graph = self.graph;
        let shape = graph.shape(node.output);
        let pictures = axis == 1 && node.inputs.iter().all(|&id| is_picture(graph.shape(id)));
        let order = if pictures { Order::ChannelsLast } else { Order::Plain };
        let rest = |s: &[usize]| match order {
            Order::ChannelsLast => s[1],
            Order::Plain => s[axis..].iter().product(),
        };
        let total: usize = rest(shape);
        let slot = self.slot(shape.iter().product());
        let mut start = 0;
        for &id in &node.inputs {
            let count = rest(graph.shape(id));
            let pixels = graph.shape(id).iter().product::<usize>().checked_div(count).unwrap_or(0);
            let step = Channels { pixels, count, input: [count, 0], output: [total, start] };
            let input = self.place(id, order);
            self.tasks.push((Work::Step(Box::new(step)), slot, vec![input]));
            start += count;
        }
        self.places.insert((node.output, order), slot);
    }

    /// An operator without a kernel of its own.
    fn reference(&mut self, node: &Node) -> Result<(), String> {
        let graph = self.graph;
        let mut inputs = vec![];
        let mut operands = vec![];
        for &id in &node.inputs {
            let operand = match graph.constant(id) {
                // Many nodes may share one.
                Some(c) => Operand::Constant(Arc::clone(
                    self.constants.entry(id).or_insert_with(|| c.to_f32().into_owned().into()),
                )),
                None => {
                    inputs.push(id);
                    Operand::Input(inputs.len() - 1)
                }
            };
            operands.push((operand, graph.shape(id).to_vec()));
        }
        if inputs.len() > 2 {
            return Err(format!("{} inputs at run time; at most two are supported", inputs.len()));
        }
        let shape = graph.shape(node.output).to_vec();
        self.add(node, Order::Plain, &inputs, Reference { op: node.op.clone(), operands, shape });
        Ok(())
    }

    /// Shares buffers and renames slots to them.
    fn finish(self, outputs: Vec<(Slot, Transposed)>) -> Result<Plan> {
        let mut lives: Vec<Life> =
            self.slots.iter().map(|s| Life { len: s.len, from: usize::MAX, to: 0 }).collect();
        for (i, (_, output, inputs)) in self.tasks.iter().enumerate() {
            for slot in inputs.iter().chain([output]) {
                let life = &mut lives[slot.0];
                life.from = life.from.min(i);
                life.to = life.to.max(i);
            }
        }
        for (slot, _) in &outputs {
            lives[slot.0].to = usize::MAX;
        }
        // Constants keep their own buffers, behind the shared ones.
        let shared: Vec<usize> =
            (0..self.slots.len()).filter(|&i| self.slots[i].constant.is_none()).collect();
        let (assigned, sizes) = assign(&shared.iter().map(|&i| lives[i]).collect::<Vec<_>>());
        let mut buffer_of = vec![0; self.slots.len()];
        shared.iter().zip(assigned).for_each(|(&slot, buffer)| buffer_of[slot] = buffer);
        let mut buffers: Vec<Buffer> = sizes.into_iter().map(|len| Buffer { len, constant: None }).collect();
        for (i, slot) in self.slots.into_iter().enumerate() {
            if slot.constant.is_some() {
                buffer_of[i] = buffers.len();
                buffers.push(slot);
            }
        }
        let total = buffers.iter().map(|b| b.len).fold(0, usize::saturating_add);
        if total > MAX_BUFFER_VALUES {
            let detail = format!("needs {total} values in buffers; the limit is {MAX_BUFFER_VALUES}");
            return Err(self.graph.error(detail));
        }
        let tasks = self
            .tasks
            .into_iter()
            .map(|(work, output, inputs)| Task {
                work,
                output: buffer_of[output.0],
                inputs: inputs.iter().map(|s| buffer_of[s.0]).collect(),
            })
            .collect();
        let outputs =
            outputs.into_iter().map(|(slot, order)| Source { buffer: buffer_of[slot.0], order }).collect();
        Ok(Plan { tasks, buffers, outputs })
    }
}

fn is_depthwise(c: &Conv, [x, w, _]: [&[usize]; 3]) -> bool {
    c.groups == x[1] && w[1] == 1 && w[0] == c.groups
}

/// Whether a shape broadcasts as one value per channel of a picture.
fn one_per_channel(shape: &[usize], channels: usize) -> bool {
    matches!(shape, [1, c, 1, 1] | [c, 1, 1] if *c == channels)
}

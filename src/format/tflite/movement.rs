//! Slices, resizes, reductions, products and the like for the [writer](super::write).

use super::layout;
use super::model::Attributes;
use super::schema::{self, Fused};
use super::write::Lowering;
use crate::graph::Node;
use crate::graph::op::{PadMode, Reduce, SliceRange};
use crate::graph::resize::{Interpolation, Resize, Tap};

type Done<T = usize> = Result<T, String>;

/// Largest difference between two shares of a sample that are taken for the same.
const SAME_SHARE: f32 = 1e-4;

impl Lowering<'_> {
    pub(super) fn slice(&mut self, node: &Node, ranges: &[SliceRange]) -> Done {
        if ranges.len() > 5 {
            return Err(format!("slices of {} axes", ranges.len()));
        }
        let x = self.stored(node.inputs[0]);
        let ranges = layout::each(ranges);
        let output = self.tensor("", layout::shape(self.graph.shape(node.output)));
        let vector =
            |of: &dyn Fn(&SliceRange) -> i64| ranges.iter().map(|r| of(r) as i32).collect::<Vec<_>>();
        let begin = vector(&|r| r.start as i64);
        let last = |r: &SliceRange| r.start as i64 + r.step as i64 * r.len as i64;
        let end = vector(&last);
        let strides = vector(&|r| r.step as i64);
        // Backwards to the first element: there is no end before 0.
        let masks = ranges.iter().enumerate().filter(|(_, r)| last(r) < 0).map(|(i, _)| 1 << i).sum();
        let len = vec![ranges.len()];
        let begin = self.integers("", len.clone(), &begin);
        let end = self.integers("", len.clone(), &end);
        let strides = self.integers("", len, &strides);
        let options = Attributes::StridedSlice { end_mask: masks, other_masks: false };
        self.emit(schema::STRIDED_SLICE, 1, &[x, begin, end, strides], output, options);
        Ok(output)
    }

    pub(super) fn resize(&mut self, node: &Node, resize: &Resize) -> Done {
        let x = self.stored(node.inputs[0]);
        let shape = self.shape(x);
        let linear = resize.mode == Interpolation::Linear;
        let code = if linear { schema::RESIZE_BILINEAR } else { schema::RESIZE_NEAREST_NEIGHBOR };
        // Whichever of TFLite's three rules takes the same samples.
        let rule = [(false, true), (true, false), (false, false)].into_iter().find(|&(align, half)| {
            (0..2).all(|axis| {
                let extent = shape[axis + 1];
                let theirs = if linear {
                    bilinear(extent, resize.size[axis], align, half)
                } else {
                    nearest(extent, resize.size[axis], align, half)
                };
                agree(&resize.taps(axis, extent), &theirs)
            })
        });
        let (align_corners, half_pixel) =
            rule.ok_or("TFLite's rules of resizing take other samples than this one")?;
        let size = self.integers("", vec![2], &resize.size.map(|n| n as i32));
        let output = self.tensor("", layout::shape(self.graph.shape(node.output)));
        let version = if half_pixel { 3 } else { 1 };
        self.emit(code, version, &[x, size], output, Attributes::Resize { align_corners, half_pixel });
        Ok(output)
    }

    pub(super) fn reduce(&mut self, node: &Node, kind: Reduce, axes: &[usize], keep_dims: bool) -> usize {
        let graph = self.graph.shape(node.inputs[0]).to_vec();
        let x = self.stored(node.inputs[0]);
        let mut stored: Vec<i32> = axes.iter().map(|&a| layout::axis(a, graph.len()) as i32).collect();
        stored.sort_unstable();
        let code = match kind {
            Reduce::Mean => schema::MEAN,
            Reduce::Sum => schema::SUM,
            Reduce::Max => schema::REDUCE_MAX,
            Reduce::Min => schema::REDUCE_MIN,
        };
        let mut kept = graph.clone();
        axes.iter().for_each(|&a| kept[a] = 1);
        let indices = self.integers("", vec![stored.len()], &stored);
        let result = self.graph.shape(node.output).to_vec();
        // Rows and columns gone, what is left is in the same order in both layouts, and has the same extents.
        let dropped = layout::shape(&graph).into_iter().enumerate();
        let dropped = dropped.filter(|(axis, _)| !stored.contains(&(*axis as i32))).map(|(_, extent)| extent);
        let plain = !keep_dims
            && result.len() < 4
            && layout::keeps_order(&layout::shape(&kept), &layout_back(&kept))
            && dropped.eq(result.iter().copied());
        let shape = if plain { result.clone() } else { layout::shape(&kept) };
        let y = self.tensor("", shape);
        self.emit(code, 1, &[x, indices], y, Attributes::Reduce(!plain));
        if keep_dims || plain {
            return y;
        }
        let y = self.unstore(y);
        let y = self.reshape(y, result);
        self.unplain(y)
    }

    /// From the stored order to the graph's.
    fn unstore(&mut self, tensor: usize) -> usize {
        if self.shape(tensor).len() == 4 { self.transpose(tensor, &layout::to_graph()) } else { tensor }
    }

    pub(super) fn gemm(
        &mut self,
        node: &Node,
        [alpha, beta]: [f32; 2],
        [trans_a, trans_b]: [bool; 2],
    ) -> Done {
        let graph = self.graph;
        let weights = graph.value(node.inputs[1]);
        let data = self.constant(node.inputs[1]).ok_or("its second matrix is not constant")?;
        let &[_, n] = graph.shape(node.output) else { return Err("its result is no matrix".into()) };
        let mut x = self.stored(node.inputs[0]);
        if trans_a {
            x = self.transpose(x, &[1, 0]);
        }
        // FULLY_CONNECTED wants [out, in].
        let mut matrix =
            if trans_b { data.clone() } else { layout::transpose(&data, &weights.shape, &[1, 0]) };
        if alpha != 1.0 && self.integer.is_some() {
            return Err("scaled weights leave their grid".into());
        }
        matrix.iter_mut().for_each(|v| *v *= alpha);
        let k = matrix.len() / n.max(1);
        let matrix = self.weights(node.inputs[1], vec![n, k], &matrix);
        let mut inputs = vec![x, matrix];
        let mut late = None;
        if let Some(&id) = node.inputs.get(2) {
            let c = self.constant(id).ok_or("its third input is not constant")?;
            let c: Vec<f32> = c.iter().map(|v| v * beta).collect();
            match c.len() {
                1 => inputs.push(self.floats("", vec![n], &vec![c[0]; n])),
                len if len == n && graph.shape(id).last() == Some(&n) => {
                    inputs.push(self.floats(&graph.value(id).name.clone(), vec![n], &c));
                }
                _ => late = Some(self.floats("", graph.shape(id).to_vec(), &c)),
            }
        }
        let mut y = self.tensor("", graph.shape(node.output).to_vec());
        self.emit(schema::FULLY_CONNECTED, 1, &inputs, y, Attributes::FullyConnected(Fused::None));
        if let Some(c) = late {
            y = self.map(schema::ADD, 1, &[y, c], Attributes::Arithmetic(Fused::None));
        }
        Ok(y)
    }

    pub(super) fn mat_mul(&mut self, node: &Node) -> Done {
        let (a, b) = (self.plain(node.inputs[0]), self.plain(node.inputs[1]));
        let output = self.tensor("", self.graph.shape(node.output).to_vec());
        self.emit(schema::BATCH_MATMUL, 1, &[a, b], output, Attributes::BatchMatMul);
        Ok(self.unplain(output))
    }

    pub(super) fn pad(&mut self, node: &Node, before: &[usize], after: &[usize], mode: PadMode) -> Done {
        let x = self.stored(node.inputs[0]);
        let amounts: Vec<i32> = layout::each(&before.iter().zip(after).collect::<Vec<_>>())
            .into_iter()
            .flat_map(|(&b, &a)| [b as i32, a as i32])
            .collect();
        let single = before.iter().chain(after).all(|&n| n <= 1);
        let amounts = self.integers("", vec![before.len(), 2], &amounts);
        let output = self.tensor("", layout::shape(self.graph.shape(node.output)));
        match mode {
            PadMode::Constant(0.0) => self.emit(schema::PAD, 1, &[x, amounts], output, Attributes::None),
            PadMode::Constant(value) => {
                let value = self.floats("", vec![], &[value]);
                self.emit(schema::PADV2, 1, &[x, amounts, value], output, Attributes::None);
            }
            PadMode::Reflect => {
                self.emit(schema::MIRROR_PAD, 1, &[x, amounts], output, Attributes::MirrorPad(false));
            }
            // One element mirrored with its edge is the edge repeated.
            PadMode::Edge if single => {
                self.emit(schema::MIRROR_PAD, 1, &[x, amounts], output, Attributes::MirrorPad(true));
            }
            PadMode::Edge => return Err("repeating an edge more than once".into()),
        }
        Ok(output)
    }

    pub(super) fn gather(
        &mut self,
        node: &Node,
        axis: usize,
        indices: &[usize],
        indices_shape: &[usize],
    ) -> usize {
        let x = self.plain(node.inputs[0]);
        let indices: Vec<i32> = indices.iter().map(|&i| i as i32).collect();
        let indices = self.integers("", indices_shape.to_vec(), &indices);
        let output = self.tensor("", self.graph.shape(node.output).to_vec());
        self.emit(schema::GATHER, 1, &[x, indices], output, Attributes::Gather(axis));
        self.unplain(output)
    }
}

fn layout_back(kept: &[usize]) -> Vec<usize> {
    if kept.len() == 4 { layout::to_graph() } else { (0..kept.len()).collect() }
}

/// The samples that `RESIZE_BILINEAR` takes along an axis, as its reference kernel finds them.
fn bilinear(extent: usize, out: usize, align: bool, half: bool) -> Vec<Tap> {
    let scale = step(extent, out, align);
    (0..out)
        .map(|i| {
            let x = if half { (i as f32 + 0.5) * scale - 0.5 } else { i as f32 * scale };
            let low = x.floor().max(0.0) as usize;
            let high = (x.ceil().max(0.0) as usize).min(extent - 1);
            Tap { low: low.min(extent - 1), high, fraction: (x - low as f32).max(0.0) }
        })
        .collect()
}

/// The samples that `RESIZE_NEAREST_NEIGHBOR` takes along an axis.
fn nearest(extent: usize, out: usize, align: bool, half: bool) -> Vec<Tap> {
    let scale = step(extent, out, align);
    (0..out)
        .map(|i| {
            let x = (i as f32 + if half { 0.5 } else { 0.0 }) * scale;
            let at = if align { x.round() } else { x.floor() };
            let low = (at.max(0.0) as usize).min(extent - 1);
            Tap { low, high: low, fraction: 0.0 }
        })
        .collect()
}

fn step(extent: usize, out: usize, align: bool) -> f32 {
    if align && out > 1 { (extent - 1) as f32 / (out - 1) as f32 } else { extent as f32 / out as f32 }
}

/// Whether two rules mix the same samples in the same shares.
fn agree(ours: &[Tap], theirs: &[Tap]) -> bool {
    let position = |t: &Tap| t.low as f32 + (t.high - t.low) as f32 * t.fraction;
    ours.iter().zip(theirs).all(|(a, b)| (position(a) - position(b)).abs() < SAME_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::resize::{Coordinates, Rounding};

    #[test]
    fn tflite_s_rules_are_found_again() {
        let taps = |mode, coordinates, extent: usize, out: usize| {
            let scale = out as f32 / extent as f32;
            Resize { mode, coordinates, size: [out, out], scale: [scale; 2] }.taps(0, extent)
        };
        let linear = Interpolation::Linear;
        for (extent, out) in [(9, 18), (11, 44), (7, 10)] {
            assert!(agree(
                &taps(linear, Coordinates::HalfPixel, extent, out),
                &bilinear(extent, out, false, true)
            ));
            assert!(agree(
                &taps(linear, Coordinates::AlignCorners, extent, out),
                &bilinear(extent, out, true, false)
            ));
            assert!(agree(
                &taps(linear, Coordinates::Asymmetric, extent, out),
                &bilinear(extent, out, false, false)
            ));
            assert!(!agree(
                &taps(linear, Coordinates::HalfPixel, extent, out),
                &bilinear(extent, out, false, false)
            ));
        }
        let floor = Interpolation::Nearest(Rounding::Floor);
        assert!(agree(&taps(floor, Coordinates::Asymmetric, 4, 8), &nearest(4, 8, false, false)));
    }
}

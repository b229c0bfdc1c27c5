//! Dense and grouped convolution, and its transpose, in channels-last order.
//!
//! A transposed convolution with stride s is s² plain ones, one per phase of the output (Dumoulin and Visin,
//! A guide to convolution arithmetic, 2016): all go through the same tile kernel.

use std::cell::RefCell;

use super::Step;
use super::pack::{Packed, pack};
use crate::graph::op::{Conv, ConvTranspose};
use crate::runtime::candle::cpu::epilogue::Epilogue;
use crate::runtime::candle::cpu::simd::{Isa, Job, Simd};
use crate::runtime::candle::cpu::team::Team;
use crate::runtime::candle::cpu::tile::{Run, Segment};

thread_local! {
    /// Inputs of border pixels with the padding spelled out. Grows at the first run and stays.
    static BORDER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Least number of pixels of a work item, so that packed weights are reused.
const MIN_PIXELS: usize = 32;

/// Input values of a block of pixels that all panels go over before the next block: an L1 cache's worth.
const BLOCK_VALUES: usize = 8192;

/// A tap of the kernel, relative to the pixel's own input position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Tap {
    dy: isize,
    dx: isize,
}

/// Consecutive taps whose values lie side by side.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: Tap,
    taps: usize,
}

/// The pixels of one phase, their taps and weights.
struct Phase {
    /// First row and column in the output.
    start: [usize; 2],
    /// Rows and columns of this phase.
    size: [usize; 2],
    spans: Vec<Span>,
    /// One per span, relative to the first group's channels.
    segments: Vec<Segment>,
    /// One per group.
    groups: Vec<Packed>,
    /// Columns all of whose taps lie inside the input.
    inside: std::ops::Range<usize>,
}

/// A convolution that is ready to run.
pub struct DenseConv {
    isa: Isa,
    /// Rows, columns, channels.
    input: [usize; 3],
    output: [usize; 3],
    groups: usize,
    /// Input rows and columns between neighbours of a phase.
    stride: [usize; 2],
    /// Output rows and columns between neighbours of a phase.
    step: [usize; 2],
    phases: Vec<Phase>,
    epilogue: Epilogue,
}

/// Which weight: group, output channel within it, input channel within it, tap.
type Weight<'a> = &'a dyn Fn(usize, usize, usize, usize) -> f32;

impl DenseConv {
    /// Packs a convolution's weights (`[out, in / groups, kh, kw]`). Shapes are `[n, c, h, w]` and fit.
    pub fn new(isa: Isa, c: &Conv, shapes: [&[usize]; 3], weights: &[f32], bias: Option<&[f32]>) -> Self {
        let [x, w, y] = shapes;
        let [kh, kw, per_group] = [w[2], w[3], w[1]];
        // A pointwise layer sees one long row of pixels.
        let flat = kh == 1 && kw == 1 && c.strides == [1, 1] && c.pads == [0; 4];
        let fold = |s: &[usize]| if flat { [1, s[2] * s[3], s[1]] } else { [s[2], s[3], s[1]] };
        let taps: Vec<Tap> = (0..kh)
            .flat_map(|u| (0..kw).map(move |v| (u, v)))
            .map(|(u, v)| Tap {
                dy: (u * c.dilations[0]) as isize - c.pads[0] as isize,
                dx: (v * c.dilations[1]) as isize - c.pads[1] as isize,
            })
            .collect();
        let group_out = y[1] / c.groups;
        let weight = |g: usize, o: usize, i: usize, t: usize| {
            weights[((g * group_out + o) * per_group + i) * kh * kw + t]
        };
        let mut conv = Self {
            isa,
            input: fold(x),
            output: fold(y),
            groups: c.groups,
            stride: c.strides,
            step: [1, 1],
            phases: vec![],
            epilogue: Epilogue::new(c.activation, c.residual),
        };
        let size = [conv.output[0], conv.output[1]];
        conv.add_phase([0, 0], size, taps, &weight, bias);
        conv
    }

    /// Packs a transposed convolution's weights (`[in, out / groups, kh, kw]`).
    pub fn transposed(
        isa: Isa,
        c: &ConvTranspose,
        shapes: [&[usize]; 3],
        weights: &[f32],
        bias: Option<&[f32]>,
    ) -> Self {
        let [x, w, y] = shapes;
        let [kh, kw, per_group] = [w[2], w[3], w[1]];
        let group_in = x[1] / c.groups;
        let mut conv = Self {
            isa,
            input: [x[2], x[3], x[1]],
            output: [y[2], y[3], y[1]],
            groups: c.groups,
            stride: [1, 1],
            step: c.strides,
            phases: vec![],
            epilogue: Epilogue::new(c.activation, None),
        };
        for row in 0..c.strides[0].min(y[2]) {
            for column in 0..c.strides[1].min(y[3]) {
                // Output i takes input (i + pad - u·dilation) / stride through tap u, where that is whole.
                let reach = |axis: usize, start: usize, tap: usize| {
                    let at = (start + c.pads[axis]) as isize - (tap * c.dilations[axis]) as isize;
                    let stride = c.strides[axis] as isize;
                    (at.rem_euclid(stride) == 0).then(|| at.div_euclid(stride))
                };
                let mut taps: Vec<(Tap, usize)> = (0..kh)
                    .flat_map(|u| (0..kw).map(move |v| (u, v)))
                    .filter_map(|(u, v)| {
                        let tap = Tap { dy: reach(0, row, u)?, dx: reach(1, column, v)? };
                        Some((tap, u * kw + v))
                    })
                    .collect();
                taps.sort_unstable();
                let weight = |g: usize, o: usize, i: usize, t: usize| {
                    weights[((g * group_in + i) * per_group + o) * kh * kw + taps[t].1]
                };
                let size = [(y[2] - row).div_ceil(c.strides[0]), (y[3] - column).div_ceil(c.strides[1])];
                let plain = taps.iter().map(|t| t.0).collect();
                conv.add_phase([row, column], size, plain, &weight, bias);
            }
        }
        conv
    }

    fn add_phase(
        &mut self,
        start: [usize; 2],
        size: [usize; 2],
        taps: Vec<Tap>,
        weight: Weight<'_>,
        bias: Option<&[f32]>,
    ) {
        let [_, width, channels] = self.input;
        let (group_in, group_out) = (channels / self.groups, self.output[2] / self.groups);
        let mut spans: Vec<Span> = vec![];
        for tap in &taps {
            match spans.last_mut() {
                Some(s)
                    if self.groups == 1 && s.first.dy == tap.dy && s.first.dx + s.taps as isize == tap.dx =>
                {
                    s.taps += 1;
                }
                _ => spans.push(Span { first: *tap, taps: 1 }),
            }
        }
        let mut k = 0;
        let mut segments = vec![];
        for s in &spans {
            let len = s.taps * group_in;
            let input = (s.first.dy * width as isize + s.first.dx) * channels as isize;
            segments.push(Segment { input, k, len });
            k += len;
        }
        let groups = (0..self.groups)
            .map(|g| {
                pack(
                    k,
                    group_out,
                    self.isa.lanes(),
                    |k, o| weight(g, o, k % group_in, k / group_in),
                    |o| bias.map_or(0.0, |b| b[g * group_out + o]),
                )
            })
            .collect();
        let fits = |i: usize| {
            let at = (i * self.stride[1]) as isize;
            taps.iter().all(|t| (0..width as isize).contains(&(at + t.dx)))
        };
        let first = (0..size[1]).find(|&i| fits(i)).unwrap_or(size[1]);
        let count = (first..size[1]).take_while(|&i| fits(i)).count();
        self.phases.push(Phase { start, size, spans, segments, groups, inside: first..first + count });
    }

    /// Whether work is divided by pixels of the only row.
    fn by_pixel(&self) -> bool {
        self.output[0] == 1 && self.step == [1, 1]
    }

    /// Length of the output, in values.
    fn len(&self) -> usize {
        self.output.iter().product()
    }
}

impl Step for DenseConv {
    fn name(&self) -> &'static str {
        "convolution"
    }

    fn run(&self, team: &Team, out: &mut [f32], [x, residual]: [&[f32]; 2]) {
        let [rows, columns, channels] = self.output;
        if self.len() == 0 {
            return;
        }
        let out = &mut out[..self.len()];
        let work = |first_row: usize, first_column: usize, out: &mut [f32]| {
            self.isa.run(Band { conv: self, x, residual, out, first_row, first_column });
        };
        if self.by_pixel() {
            let pixels = team.piece(columns, MIN_PIXELS);
            team.fill(out, pixels * channels, |i, out| work(0, i * pixels, out));
        } else {
            // Whole periods of the phases, so that each band starts with the first.
            let band = team.piece(rows, 1).next_multiple_of(self.step[0]);
            team.fill(out, band * columns * channels, |i, out| work(i * band, 0, out));
        }
    }
}

/// Some rows of the output, or some pixels of its only row.
struct Band<'a> {
    conv: &'a DenseConv,
    x: &'a [f32],
    residual: &'a [f32],
    out: &'a mut [f32],
    first_row: usize,
    first_column: usize,
}

impl Job for Band<'_> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let conv = self.conv;
        let [_, columns, channels] = conv.output;
        let (rows, band_columns) = match conv.by_pixel() {
            true => (1, self.first_column..self.first_column + self.out.len() / channels),
            false => (self.out.len() / (columns * channels), 0..columns),
        };
        for local in 0..rows {
            let row = self.first_row + local;
            let offset = local * columns * channels;
            for phase in &conv.phases {
                if row % conv.step[0] != phase.start[0] {
                    continue;
                }
                let line = Line {
                    conv,
                    phase,
                    x: self.x,
                    // Output and residual as seen from column 0 of the row.
                    out: self
                        .out
                        .as_mut_ptr()
                        .wrapping_add(offset)
                        .wrapping_sub(band_columns.start * channels),
                    residual: self.residual.as_ptr().wrapping_add(row * columns * channels),
                    row: (row - phase.start[0]) / conv.step[0],
                };
                let range = band_columns.start..band_columns.end.min(phase.size[1]);
                // SAFETY: `isa.run` vouches for S; the row and the columns lie in the band.
                unsafe { line.compute::<S>(range) }
            }
        }
    }
}

/// One row of one phase.
struct Line<'a> {
    conv: &'a DenseConv,
    phase: &'a Phase,
    x: &'a [f32],
    out: *mut f32,
    residual: *const f32,
    row: usize,
}

impl Line<'_> {
    /// # Safety
    /// The processor has `S`; `columns` are columns of the phase whose outputs the caller owns.
    #[inline(always)]
    unsafe fn compute<S: Simd>(&self, columns: std::ops::Range<usize>) {
        let (conv, phase) = (self.conv, self.phase);
        let height = conv.input[0] as isize;
        let at = (self.row * conv.stride[0]) as isize;
        // Taps are sorted by row, so those inside the picture are consecutive.
        let inside = |s: &Span| (0..height).contains(&(at + s.first.dy));
        let first = phase.spans.iter().position(inside).unwrap_or(0);
        let count = phase.spans[first..].iter().take_while(|s| inside(s)).count();
        let spans = first..first + count;
        let middle = phase.inside.start.clamp(columns.start, columns.end)
            ..phase.inside.end.clamp(columns.start, columns.end);
        let [_, width, channels] = conv.input;
        let group_in = channels / conv.groups;
        // Taken out and put back, not borrowed in a closure: that would be compiled without S's features.
        let mut copy = BORDER.take();
        for part in [middle.clone(), columns.start..middle.start, middle.end..columns.end] {
            if part.is_empty() {
                continue;
            }
            let direct = part == middle;
            for g in 0..conv.groups {
                let copied = (!direct).then(|| self.spell_out(&mut copy, g, &part, &spans));
                let first = (self.row * conv.stride[0] * width + part.start * conv.stride[1]) * channels;
                let (input, step, segments) = match &copied {
                    Some(s) => (copy.as_ptr(), s.len, std::slice::from_ref(s)),
                    None => (
                        self.x.as_ptr().wrapping_add(first + g * group_in),
                        conv.stride[1] * channels,
                        &phase.segments[spans.clone()],
                    ),
                };
                // SAFETY: `middle` holds columns whose taps all lie in the input; of the others, the copy
                // holds all inputs.
                unsafe { self.panels::<S>(g, input, step, segments, part.clone()) }
            }
        }
        BORDER.set(copy);
    }

    /// Copies the inputs of pixels some of whose taps lie in the padding, with the zeros spelled out.
    fn spell_out(
        &self,
        copy: &mut Vec<f32>,
        group: usize,
        columns: &std::ops::Range<usize>,
        spans: &std::ops::Range<usize>,
    ) -> Segment {
        let (conv, phase) = (self.conv, self.phase);
        let [_, width, channels] = conv.input;
        let group_in = channels / conv.groups;
        let used = &phase.spans[spans.clone()];
        let len: usize = used.iter().map(|s| s.taps * group_in).sum();
        if copy.len() < columns.len() * len {
            copy.resize(columns.len() * len, 0.0);
        }
        let mut to = 0;
        for i in columns.clone() {
            for (s, tap) in used.iter().flat_map(|s| (0..s.taps).map(move |t| (s, t as isize))) {
                let y = (self.row * conv.stride[0]) as isize + s.first.dy;
                let x = (i * conv.stride[1]) as isize + s.first.dx + tap;
                let target = &mut copy[to..to + group_in];
                to += group_in;
                if (0..width as isize).contains(&x) {
                    let from = (y as usize * width + x as usize) * channels + group * group_in;
                    target.copy_from_slice(&self.x[from..from + group_in]);
                } else {
                    target.fill(0.0);
                }
            }
        }
        Segment { input: 0, k: phase.segments.get(spans.start).map_or(0, |s| s.k), len }
    }

    #[inline(always)]
    unsafe fn panels<S: Simd>(
        &self,
        group: usize,
        input: *const f32,
        input_step: usize,
        segments: &[Segment],
        columns: std::ops::Range<usize>,
    ) {
        let (conv, phase) = (self.conv, self.phase);
        let channels = conv.output[2];
        let packed = &phase.groups[group];
        // Panels alternate over blocks of pixels, so that inputs and outputs are still in the cache.
        let values: usize = segments.iter().map(|s| s.len).sum();
        let block = (BLOCK_VALUES / values.max(1)).max(1).next_multiple_of(S::ROWS);
        let mut done = 0;
        while done < columns.len() {
            let pixels = block.min(columns.len() - done);
            let first = (columns.start + done) * conv.step[1] + phase.start[1];
            for panel in &packed.panels {
                let offset = first * channels + group * (channels / conv.groups) + panel.channel;
                let run = Run {
                    input: input.wrapping_add(done * input_step),
                    input_step,
                    segments,
                    weights: packed.weights[panel.weights..].as_ptr(),
                    bias: packed.bias[panel.bias..].as_ptr(),
                    output: self.out.wrapping_add(offset),
                    output_step: conv.step[1] * channels,
                    residual: self.residual.wrapping_add(offset),
                    pixels,
                    vectors: panel.vectors,
                    channels: panel.channels,
                    epilogue: &conv.epilogue,
                };
                // SAFETY: the caller vouches for input and columns; panels lie inside the packed weights.
                unsafe { run.compute::<S>() }
            }
            done += pixels;
        }
    }
}

//! What is done to decoded frames before they become pictures: deinterlacing and turning upright.
//!
//! Both are FFmpeg's filters. The graph is built when the first frame needs it, and again when frames change
//! their size or format. One frame goes in for each that comes out, with its time stamp.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::time::Duration;

use ffmpeg_next::ffi;

use super::error::AvError;
use super::frame::AvFrame;
use super::graph::Graph;

/// Frames that a graph may hold back before the oldest time stamps are given up.
const MAX_HELD: usize = 16;

/// What travels with a frame, because filters lose or rescale it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// Presentation time in the stream's ticks.
    pub(crate) pts: i64,
    /// Duration in the same ticks.
    pub(crate) duration: Option<i64>,
    /// Time that decoding took.
    pub(crate) decode: Duration,
}

/// How a stream's pictures are to be turned, from its display matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Turn {
    /// Not at all.
    #[default]
    None,
    /// A quarter turn to the right.
    Clockwise,
    /// A quarter turn to the left.
    CounterClockwise,
    /// A quarter turn to the right, then mirrored top to bottom.
    ClockwiseFlip,
    /// A quarter turn to the left, then mirrored top to bottom.
    CounterClockwiseFlip,
    /// Mirrored left to right and/or top to bottom; both together are half a turn.
    Mirror {
        /// Left and right change places.
        horizontal: bool,
        /// Top and bottom change places.
        vertical: bool,
    },
}

impl Turn {
    /// The turn that makes pictures with this display matrix upright, to the nearest quarter turn; the same
    /// decision as FFmpeg's own programs take (`fftools`, autorotate).
    pub(crate) fn from_matrix(matrix: &[i32; 9]) -> Self {
        // SAFETY: the function reads nine integers.
        let angle = -unsafe { ffi::av_display_rotation_get(matrix.as_ptr()) };
        if !angle.is_finite() {
            return Self::None;
        }
        match (angle / 90.0).round().rem_euclid(4.0) as u8 {
            1 if matrix[3] > 0 => Self::CounterClockwiseFlip,
            1 => Self::Clockwise,
            3 if matrix[3] < 0 => Self::ClockwiseFlip,
            3 => Self::CounterClockwise,
            2 => Self::mirror(matrix[0] < 0, matrix[4] < 0),
            _ => Self::mirror(false, matrix[4] < 0),
        }
    }

    fn mirror(horizontal: bool, vertical: bool) -> Self {
        if horizontal || vertical { Self::Mirror { horizontal, vertical } } else { Self::None }
    }

    /// Whether width and height change places.
    pub(crate) fn swaps_sides(self) -> bool {
        !matches!(self, Self::None | Self::Mirror { .. })
    }

    fn filters(self) -> Vec<(&'static CStr, &'static CStr)> {
        match self {
            Self::None => vec![],
            Self::Clockwise => vec![(c"transpose", c"dir=clock")],
            Self::CounterClockwise => vec![(c"transpose", c"dir=cclock")],
            Self::ClockwiseFlip => vec![(c"transpose", c"dir=clock_flip")],
            Self::CounterClockwiseFlip => vec![(c"transpose", c"dir=cclock_flip")],
            Self::Mirror { horizontal, vertical } => [(c"hflip", horizontal), (c"vflip", vertical)]
                .into_iter()
                .filter_map(|(name, wanted)| wanted.then_some((name, c"")))
                .collect(),
        }
    }
}

/// Deinterlaces and turns frames; passes them untouched while neither is needed.
pub(crate) struct Chain {
    turn: Turn,
    base: (i32, i32),
    /// Set by the first interlaced frame, for good: progressive frames pass the filter unchanged.
    deinterlace: bool,
    graph: Option<Shaped>,
    stamps: VecDeque<Stamp>,
    ready: VecDeque<(AvFrame, Stamp)>,
}

impl Chain {
    /// For a stream with this time base.
    pub(crate) fn new(turn: Turn, base: (i32, i32)) -> Self {
        Self { turn, base, deinterlace: false, graph: None, stamps: VecDeque::new(), ready: VecDeque::new() }
    }

    /// Takes the next frame that is done.
    pub(crate) fn pop(&mut self) -> Option<(AvFrame, Stamp)> {
        self.ready.pop_front()
    }

    /// Gives it a decoded frame.
    pub(crate) fn push(&mut self, mut frame: AvFrame, stamp: Stamp) -> Result<(), AvError> {
        if frame.is_interlaced() && !self.deinterlace {
            self.finish()?;
            self.deinterlace = true;
        }
        if !self.deinterlace && self.turn == Turn::None {
            self.ready.push_back((frame, stamp));
            return Ok(());
        }
        let shape = (frame.size(), frame.format());
        if self.graph.as_ref().is_some_and(|graph| graph.shape != shape) {
            self.finish()?;
        }
        let graph = match self.graph.take() {
            Some(graph) => graph,
            None => Shaped::new(&frame, self.base, self.deinterlace, self.turn)?,
        };
        frame.set_pts(stamp.pts);
        self.stamps.push_back(stamp);
        if self.stamps.len() > MAX_HELD {
            self.stamps.pop_front();
        }
        let graph = self.graph.insert(graph);
        graph.graph.send(Some(&mut frame))?;
        self.drain()
    }

    /// Lets out what the graph still holds.
    pub(crate) fn finish(&mut self) -> Result<(), AvError> {
        if let Some(graph) = &mut self.graph {
            graph.graph.send(None)?;
            self.drain()?;
        }
        self.graph = None;
        self.stamps.clear();
        Ok(())
    }

    fn drain(&mut self) -> Result<(), AvError> {
        let Some(graph) = &mut self.graph else { return Ok(()) };
        while let Some((frame, pts)) = graph.graph.receive(self.base)? {
            // One frame comes out for each that went in, in order; the time stamp finds its entry again
            // should a filter ever swallow one.
            let passed = self.stamps.iter().position(|stamp| stamp.pts == pts).unwrap_or(0);
            self.stamps.drain(..passed);
            if let Some(stamp) = self.stamps.pop_front() {
                self.ready.push_back((frame, stamp));
            }
        }
        Ok(())
    }
}

type Shape = ((usize, usize), Option<ffi::AVPixelFormat>);

/// The configured filters and the shape of frames that they were made for.
struct Shaped {
    graph: Graph,
    shape: Shape,
}

impl Shaped {
    fn new(frame: &AvFrame, base: (i32, i32), deinterlace: bool, turn: Turn) -> Result<Self, AvError> {
        let (width, height) = frame.size();
        let format = frame.format().ok_or(AvError::INVALID_DATA)? as i32;
        let (num, den) = base;
        let input =
            format!("video_size={width}x{height}:pix_fmt={format}:time_base={num}/{den}:pixel_aspect=1/1");
        let build = |deinterlacer: &'static CStr| {
            let mut filters = turn.filters();
            if deinterlace {
                // "send_frame" keeps one frame per frame, "interlaced" leaves progressive ones alone.
                filters.insert(0, (deinterlacer, c"mode=send_frame:parity=auto:deint=interlaced"));
            }
            Graph::new((c"buffer", &input), &filters, c"buffersink")
        };
        // bwdif is the better of FFmpeg's two deinterlacers; builds without it have yadif, which takes the
        // same options.
        let graph = build(c"bwdif").or_else(|e| if deinterlace { build(c"yadif") } else { Err(e) })?;
        Ok(Self { graph, shape: (frame.size(), frame.format()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A display matrix for a rotation by `degrees` to the left, as containers store it.
    fn matrix(degrees: f64, horizontal_flip: bool, vertical_flip: bool) -> [i32; 9] {
        let mut matrix = [0; 9];
        // SAFETY: both functions write nine integers.
        unsafe {
            ffi::av_display_rotation_set(matrix.as_mut_ptr(), -degrees);
            ffi::av_display_matrix_flip(matrix.as_mut_ptr(), horizontal_flip.into(), vertical_flip.into());
        }
        matrix
    }

    #[test]
    fn quarter_turns() {
        assert_eq!(Turn::from_matrix(&matrix(0.0, false, false)), Turn::None);
        assert_eq!(Turn::from_matrix(&matrix(90.0, false, false)), Turn::CounterClockwise);
        assert_eq!(Turn::from_matrix(&matrix(-90.0, false, false)), Turn::Clockwise);
        assert_eq!(
            Turn::from_matrix(&matrix(180.0, false, false)),
            Turn::Mirror { horizontal: true, vertical: true }
        );
        assert_eq!(
            Turn::from_matrix(&matrix(0.0, false, true)),
            Turn::Mirror { horizontal: false, vertical: true }
        );
        assert_eq!(Turn::from_matrix(&[0; 9]), Turn::None);
    }
}

//! What is done to decoded frames before they become pictures: deinterlacing and turning upright.
//!
//! Both are FFmpeg's filters. The graph is built when the first frame needs it, and again when frames change
//! their size or format. One frame goes in for each that comes out, with its time stamp.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::ptr;
use std::time::Duration;

use ffmpeg_next::ffi;

use super::error::{AvError, check};
use super::frame::AvFrame;

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
    graph: Option<Graph>,
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
            None => Graph::new(&frame, self.base, self.deinterlace, self.turn)?,
        };
        frame.set_pts(stamp.pts);
        self.stamps.push_back(stamp);
        if self.stamps.len() > MAX_HELD {
            self.stamps.pop_front();
        }
        let graph = self.graph.insert(graph);
        graph.send(Some(&mut frame))?;
        self.drain()
    }

    /// Lets out what the graph still holds.
    pub(crate) fn finish(&mut self) -> Result<(), AvError> {
        if let Some(graph) = &mut self.graph {
            graph.send(None)?;
            self.drain()?;
        }
        self.graph = None;
        self.stamps.clear();
        Ok(())
    }

    fn drain(&mut self) -> Result<(), AvError> {
        let Some(graph) = &mut self.graph else { return Ok(()) };
        while let Some((frame, pts)) = graph.receive()? {
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

/// A configured filter graph with one end for frames in and one for frames out.
struct Graph {
    graph: *mut ffi::AVFilterGraph,
    source: *mut ffi::AVFilterContext,
    sink: *mut ffi::AVFilterContext,
    base: (i32, i32),
    shape: Shape,
}

// SAFETY: the graph is used by one thread at a time (`&mut self`).
unsafe impl Send for Graph {}

impl Graph {
    fn new(frame: &AvFrame, base: (i32, i32), deinterlace: bool, turn: Turn) -> Result<Self, AvError> {
        let (width, height) = frame.size();
        let format = frame.format().ok_or(AvError::INVALID_DATA)?;
        // SAFETY: no preconditions.
        let graph = unsafe { ffi::avfilter_graph_alloc() };
        if graph.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let shape = (frame.size(), frame.format());
        let mut graph = Self { graph, source: ptr::null_mut(), sink: ptr::null_mut(), base, shape };
        let input = CString::new(format!(
            "video_size={width}x{height}:pix_fmt={}:time_base={}/{}:pixel_aspect=1/1",
            format as i32, base.0, base.1
        ))
        .map_err(|_| AvError::INVALID_DATA)?;
        graph.source = graph.add(c"buffer", c"in", &input)?;
        let mut last = graph.source;
        // bwdif is the better of FFmpeg's two deinterlacers; builds without it have yadif, which takes the
        // same options. "send_frame" keeps one frame per frame, "interlaced" leaves progressive ones alone.
        if deinterlace {
            let options = c"mode=send_frame:parity=auto:deint=interlaced";
            let filter = graph
                .add(c"bwdif", c"deinterlace", options)
                .or_else(|_| graph.add(c"yadif", c"deinterlace", options))?;
            last = graph.link(last, filter)?;
        }
        for (name, options) in turn.filters() {
            let filter = graph.add(name, name, options)?;
            last = graph.link(last, filter)?;
        }
        graph.sink = graph.add(c"buffersink", c"out", c"")?;
        graph.link(last, graph.sink)?;
        // SAFETY: the graph is ours and complete.
        check(unsafe { ffi::avfilter_graph_config(graph.graph, ptr::null_mut()) })?;
        Ok(graph)
    }

    fn add(
        &mut self,
        filter: &CStr,
        name: &CStr,
        options: &CStr,
    ) -> Result<*mut ffi::AVFilterContext, AvError> {
        let mut context = ptr::null_mut();
        // SAFETY: the names are NUL-terminated, and the graph is ours; it owns the new filter.
        unsafe {
            let filter = ffi::avfilter_get_by_name(filter.as_ptr());
            if filter.is_null() {
                return Err(AvError::FILTER_NOT_FOUND);
            }
            check(ffi::avfilter_graph_create_filter(
                &raw mut context,
                filter,
                name.as_ptr(),
                options.as_ptr(),
                ptr::null_mut(),
                self.graph,
            ))?;
        }
        Ok(context)
    }

    /// Joins `from` to `to`, and returns `to`.
    fn link(
        &mut self,
        from: *mut ffi::AVFilterContext,
        to: *mut ffi::AVFilterContext,
    ) -> Result<*mut ffi::AVFilterContext, AvError> {
        // SAFETY: both filters belong to our graph, and have one pad each on the sides that are joined.
        check(unsafe { ffi::avfilter_link(from, 0, to, 0) }).map(|_| to)
    }

    fn send(&mut self, frame: Option<&mut AvFrame>) -> Result<(), AvError> {
        let frame = frame.map_or(ptr::null_mut(), AvFrame::as_mut_ptr);
        // SAFETY: the source belongs to our configured graph; it takes over the frame's references, and null
        // marks the end.
        check(unsafe { ffi::av_buffersrc_add_frame_flags(self.source, frame, 0) }).map(drop)
    }

    /// The next frame with its time stamp in the stream's ticks.
    fn receive(&mut self) -> Result<Option<(AvFrame, i64)>, AvError> {
        let mut frame = AvFrame::empty()?;
        // SAFETY: the sink belongs to our configured graph, and the frame is empty.
        match check(unsafe { ffi::av_buffersink_get_frame(self.sink, frame.as_mut_ptr()) }) {
            Ok(_) => {}
            Err(AvError::AGAIN | AvError::EOF) => return Ok(None),
            Err(e) => return Err(e),
        }
        let (num, den) = self.base;
        // SAFETY: the sink is configured; the rescaling is arithmetic.
        let pts = unsafe {
            let base = ffi::av_buffersink_get_time_base(self.sink);
            ffi::av_rescale_q(frame.pts().unwrap_or(0), base, ffi::AVRational { num, den })
        };
        Ok(Some((frame, pts)))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the graph is ours and owns its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut self.graph) };
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

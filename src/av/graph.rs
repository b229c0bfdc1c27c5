//! A chain of FFmpeg's filters with one end for frames in and one for frames out.

use std::ffi::{CStr, CString};
use std::ptr;

use ffmpeg_next::ffi;

use super::error::{AvError, check};
use super::frame::AvFrame;

/// A configured chain of filters, for pictures or for sound.
pub(crate) struct Graph {
    graph: *mut ffi::AVFilterGraph,
    source: *mut ffi::AVFilterContext,
    sink: *mut ffi::AVFilterContext,
}

// SAFETY: the graph is used by one thread at a time (`&mut self`).
unsafe impl Send for Graph {}

impl Graph {
    /// The chain `source → filters → sink`, each given by its name and options; formats between them are
    /// converted by FFmpeg where they do not agree.
    pub(crate) fn new(
        source: (&CStr, &str),
        filters: &[(&CStr, &CStr)],
        sink: &CStr,
    ) -> Result<Self, AvError> {
        // SAFETY: no preconditions.
        let graph = unsafe { ffi::avfilter_graph_alloc() };
        if graph.is_null() {
            return Err(AvError::NO_MEMORY);
        }
        let mut graph = Self { graph, source: ptr::null_mut(), sink: ptr::null_mut() };
        let options = CString::new(source.1).map_err(|_| AvError::INVALID_DATA)?;
        graph.source = graph.add(source.0, c"in", &options)?;
        let mut last = graph.source;
        for (name, options) in filters {
            let filter = graph.add(name, name, options)?;
            last = graph.link(last, filter)?;
        }
        graph.sink = graph.add(sink, c"out", c"")?;
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

    /// Makes sound come out in frames of this many samples (the last may be shorter).
    pub(crate) fn set_frame_size(&mut self, samples: u32) {
        // SAFETY: the sink belongs to our configured graph.
        unsafe { ffi::av_buffersink_set_frame_size(self.sink, samples) };
    }

    /// Puts a frame in, taking over its data; `None` marks the end.
    pub(crate) fn send(&mut self, frame: Option<&mut AvFrame>) -> Result<(), AvError> {
        let frame = frame.map_or(ptr::null_mut(), AvFrame::as_mut_ptr);
        // SAFETY: the source belongs to our configured graph; it takes over the frame's references, and null
        // marks the end.
        check(unsafe { ffi::av_buffersrc_add_frame_flags(self.source, frame, 0) }).map(drop)
    }

    /// The next frame that is ready, with its time stamp in ticks of `base`.
    pub(crate) fn receive(&mut self, base: (i32, i32)) -> Result<Option<(AvFrame, i64)>, AvError> {
        let mut frame = AvFrame::empty()?;
        // SAFETY: the sink belongs to our configured graph, and the frame is empty.
        match check(unsafe { ffi::av_buffersink_get_frame(self.sink, frame.as_mut_ptr()) }) {
            Ok(_) => {}
            Err(AvError::AGAIN | AvError::EOF) => return Ok(None),
            Err(e) => return Err(e),
        }
        // SAFETY: the sink is configured.
        let from = unsafe { ffi::av_buffersink_get_time_base(self.sink) };
        let pts = super::rescale(frame.pts().unwrap_or(0), (from.num, from.den), base);
        Ok(Some((frame, pts)))
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: the graph is ours and owns its filters.
        unsafe { ffi::avfilter_graph_free(&raw mut self.graph) };
    }
}

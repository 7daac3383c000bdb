//! Filter graphs with one input and several outputs.

use std::ptr;

use av::ffi;
use ffmpeg_next as av;

use super::decoder::c_string;
use super::{AGAIN, AvError, Picture};

/// What comes into a graph.
pub(crate) struct GraphInput<'a> {
    /// A picture like all that follow.
    pub(crate) like: &'a Picture,
    /// Ticks a second of the pictures' times.
    pub(crate) timescale: u32,
}

/// A configured graph.
pub(crate) struct Graph {
    graph: av::filter::Graph,
    source: *mut ffi::AVFilterContext,
    sinks: Vec<*mut ffi::AVFilterContext>,
}

// SAFETY: the pointers are to filters of `graph`, which moves with them; nothing in it is tied to a thread.
unsafe impl Send for Graph {}

impl Graph {
    /// Builds a graph. `spec` is in libavfilter's language; its input is `[in]`, its outputs are `[out0]`, `[out1]`, ….
    pub(crate) fn build(input: &GraphInput<'_>, spec: &str, outputs: usize) -> Result<Self, AvError> {
        super::init();
        let what = "building a filter graph";
        let mut graph = av::filter::Graph::new();
        // SAFETY: the graph is new and ours; filters that are made in it live as long as it does.
        unsafe {
            let raw = graph.as_mut_ptr();
            // One thread: pictures are small, and the encoders beside it want the others.
            (*raw).nb_threads = 1;
            let source = alloc(raw, "buffer", "in")?;
            describe(source, input)?;
            let mut sinks = Vec::with_capacity(outputs);
            for index in 0..outputs {
                let name = format!("out{index}");
                let sink = alloc(raw, "buffersink", &name)?;
                AvError::check(what, ffi::avfilter_init_str(sink, ptr::null()))?;
                sinks.push(sink);
            }
            let mut parser = graph.output("in", 0).map_err(|error| AvError::of(what, error))?;
            for index in 0..outputs {
                parser = parser.input(&format!("out{index}"), 0).map_err(|error| AvError::of(what, error))?;
            }
            parser.parse(spec).map_err(|error| AvError::of(&format!("{what} {spec:?}"), error))?;
            graph.validate().map_err(|error| AvError::of(&format!("{what} {spec:?}"), error))?;
            Ok(Self { graph, source, sinks })
        }
    }

    /// Gives it a picture.
    pub(crate) fn push(&mut self, picture: &Picture) -> Result<(), AvError> {
        let flags = ffi::AV_BUFFERSRC_FLAG_KEEP_REF as i32;
        // SAFETY: the source belongs to the live graph. KEEP_REF makes libav take a reference of its own; the frame
        // is not written to, whatever the signature says.
        let code =
            unsafe { ffi::av_buffersrc_add_frame_flags(self.source, picture.as_ptr().cast_mut(), flags) };
        AvError::check("filtering", code).map(drop)
    }

    /// Says that nothing follows: what is held back comes out.
    pub(crate) fn finish(&mut self) {
        // SAFETY: a null frame means the end.
        let _ = unsafe { ffi::av_buffersrc_add_frame_flags(self.source, ptr::null_mut(), 0) };
    }

    /// The next picture of one output, if one is ready, with its time in `timescale`.
    pub(crate) fn pull(&mut self, output: usize, timescale: u32) -> Result<Option<Picture>, AvError> {
        let Some(sink) = self.sinks.get(output) else { return Ok(None) };
        let mut picture = Picture::empty();
        // SAFETY: the sink belongs to the live graph; the frame is empty.
        let code = unsafe { ffi::av_buffersink_get_frame(*sink, picture.as_mut_ptr()) };
        if code == AGAIN || code == ffi::AVERROR_EOF {
            return Ok(None);
        }
        AvError::check("filtering", code)?;
        if let Some(pts) = picture.pts() {
            // SAFETY: reads a number of a configured sink, and computes with it.
            let pts = unsafe {
                let base = ffi::av_buffersink_get_time_base(*sink);
                let to = ffi::AVRational { num: 1, den: i32::try_from(timescale).unwrap_or(i32::MAX) };
                ffi::av_rescale_q(pts, base, to)
            };
            picture.set_pts(pts);
        }
        Ok(Some(picture))
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.graph.dump())
    }
}

/// libavfilter was built with this filter.
pub(crate) fn has_filter(name: &str) -> bool {
    av::filter::find(name).is_some()
}

/// # Safety
/// `graph` must be a valid graph.
unsafe fn alloc(
    graph: *mut ffi::AVFilterGraph,
    filter: &str,
    name: &str,
) -> Result<*mut ffi::AVFilterContext, AvError> {
    let what = format!("making the filter {filter}");
    let (Some(filter), Some(name)) = (c_string(filter), c_string(name)) else {
        return Err(AvError::new(what, "its name holds a zero byte"));
    };
    // SAFETY: the caller's promise; strings live through the calls.
    unsafe {
        let found = ffi::avfilter_get_by_name(filter.as_ptr());
        if found.is_null() {
            return Err(AvError::new(what, "libavfilter was built without it"));
        }
        let context = ffi::avfilter_graph_alloc_filter(graph, found, name.as_ptr());
        if context.is_null() { Err(AvError::new(what, "out of memory")) } else { Ok(context) }
    }
}

/// Tells a graph's source what its pictures look like. By parameters, not by text: only so can it know a device.
///
/// # Safety
/// `source` must be a buffer filter that was allocated and not yet initialised.
unsafe fn describe(source: *mut ffi::AVFilterContext, input: &GraphInput<'_>) -> Result<(), AvError> {
    let what = "describing a filter graph's input";
    // SAFETY: the caller's promise. The parameters are freed here; libav copies what it needs and takes a reference
    // of its own to the device's frames.
    unsafe {
        let frame = &*input.like.as_ptr();
        let mut parameters = ffi::av_buffersrc_parameters_alloc();
        if parameters.is_null() {
            return Err(AvError::new(what, "out of memory"));
        }
        (*parameters).format = frame.format;
        (*parameters).width = frame.width;
        (*parameters).height = frame.height;
        (*parameters).sample_aspect_ratio = frame.sample_aspect_ratio;
        (*parameters).time_base =
            ffi::AVRational { num: 1, den: i32::try_from(input.timescale).unwrap_or(i32::MAX) };
        (*parameters).hw_frames_ctx = frame.hw_frames_ctx;
        let code = ffi::av_buffersrc_parameters_set(source, parameters);
        ffi::av_freep((&raw mut parameters).cast());
        AvError::check(what, code)?;
        AvError::check(what, ffi::avfilter_init_str(source, ptr::null())).map(drop)
    }
}

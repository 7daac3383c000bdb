//! libav where its safe wrapper does not reach. The only `unsafe` of the program.
//!
//! What leaves this module is safe: every type owns what it points to, and every call checks what libav returns. Types
//! of `ffmpeg_next` carry the data; raw calls stand where the wrapper copies, ignores errors, or has no word for a
//! field (options that no encoder took, rate buffers, device contexts, `get_format`).
#![allow(unsafe_code)]

mod audio;
mod cpu;
mod decoder;
mod device;
mod encoder;
mod graph;
mod input;
mod output;
mod packet;
mod picture;
mod probe;

use std::sync::Once;

use ffmpeg_next as av;

pub(crate) use audio::{open_sound_decoder, sound_stream};
pub(crate) use cpu::{process_micros, thread_micros};
pub(crate) use decoder::{Decoder, DecoderSetup, context_of_record};
pub(crate) use device::{Device, Pool, choose_device};
pub(crate) use encoder::{Encoder, EncoderSetup, encoder_knows};
pub(crate) use graph::{Graph, GraphInput, has_filter};
pub(crate) use input::{Facts, Input, Packet};
pub(crate) use output::{Output, OutputFrame, OutputTrack};
pub(crate) use packet::Coded;
pub(crate) use picture::{Picture, Scan, Shape};
pub(crate) use probe::{distance_from_ramp, ramp};

/// What libav refused, and its reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {why}")]
pub(crate) struct AvError {
    /// What was asked of it.
    pub(crate) what: String,
    /// libav's words.
    pub(crate) why: String,
}

impl AvError {
    /// An error in our own words.
    pub(crate) fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), why: why.into() }
    }

    fn of(what: &str, error: av::Error) -> Self {
        Self::new(what, error.to_string())
    }

    /// Turns a return code into a result: negative is an error.
    fn check(what: &str, code: i32) -> Result<i32, Self> {
        if code < 0 { Err(Self::of(what, av::Error::from(code))) } else { Ok(code) }
    }
}

/// Makes libav ready: its error texts, and silence below errors. May be called often.
pub(crate) fn init() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // The wrapper's init() cannot fail; it fills its table of error texts, once.
        let _ = av::init();
        // SAFETY: sets a global integer that libav reads atomically enough for its own use.
        unsafe { av::ffi::av_log_set_level(av::ffi::AV_LOG_FATAL) };
    });
}

/// "Not now": the codec wants input, or output has to be taken first.
const AGAIN: i32 = av::ffi::AVERROR(av::util::error::EAGAIN);

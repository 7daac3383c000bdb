//! What host and worker say to each other: sans-IO.
//!
//! A message is a big-endian length of what follows (at most [`BODY_MAX`]), one byte that says its kind, and its body.
//! Media frames have a fixed binary header before their payload, everything else is JSON. Neither side trusts the
//! other: nothing that arrives sizes an allocation or reaches a panic.

mod frame;
mod message;
mod track;

pub use frame::{BODY_MAX, CONTROL_MAX, Encoded, Message, ProtocolError, Reader, encode};
pub use message::{
    AudioJob, Fallback, Frame, FromWorker, HELD, Job, Loudness, Mode, Order, Plant, PlantedFault, Preset,
    Report, Rung, RungReport, SoundReport, Stage, ToWorker, VERSION, VideoCodec, VideoJob,
};

#[cfg(test)]
mod tests;

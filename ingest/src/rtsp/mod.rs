//! RTSP in both roles: cameras that are pulled, and publishers that push.
//!
//! Both end in an [`Assembly`]: packets of a session's tracks in, configurations and frames on one axis out. Everything
//! but the shells in [`pull`] and [`push`] is pure.

mod assembly;
mod clock;
mod depacket;
mod latm;
mod order;
pub mod pull;
pub mod push;
mod reorder;
pub mod sdp;
pub mod wire;

pub use assembly::{Assembly, NothingUsable, Taken};
pub use reorder::Packet;

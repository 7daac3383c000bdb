//! An RTMP publisher for tests. It writes its own bytes and shares no code with the server, so that it can write
//! them as badly as any encoder does.
//!
//! [`clip`] reads a small MP4 file, [`script`] turns it into timed FLV tags and bends them, [`chunk`] and [`amf`]
//! write the wire, [`session`] speaks to the server, [`hostile`] does harm.

pub mod amf;
pub mod chunk;
pub mod clip;
pub mod hostile;
mod replies;
pub mod script;
pub mod session;

pub use chunk::Style;
pub use script::Script;
pub use session::{Publisher, Target};

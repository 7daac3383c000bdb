//! Sends streams on to other servers, as they came: RTMP, RTMPS and SRT, each target by a worker process of its own.
//!
//! ```text
//! Feed ─▶ tap ─▶ packager's side (at once, untouched)
//!          └──▶ a bounded queue per target ─▶ its task: state, retries ─▶ worker process: libavformat ─▶ target
//! ```
//!
//! A target that is slow, away, or hostile costs itself alone: its queue drops to the next key frame and counts. Keys
//! reach the worker over its standard input; nothing shown or logged holds one.

mod carry;
mod retry;
mod stage;
mod target;
mod task;
pub mod worker;

pub use stage::Stage;
pub use target::{PushConfig, Target, TargetError};

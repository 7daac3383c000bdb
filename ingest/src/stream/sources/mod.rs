//! Streams with several sources: one is on air, the others stand by, and the best one that is live takes over.
//!
//! ```text
//! rules: what the operator says ─▶ choice: who is on air (pure)
//!                                      │
//! lease ─▶ group ─▶ standby: the last seconds of each that is not on air
//!               └─▶ Flow: what the one on air sends
//! ```
//!
//! A change begins at a sync sample of the newcomer that lies as near as can be to where the one before ended, so the
//! stream goes on after one break, on the same timeline (TL-24, TL-25).

mod choice;
mod group;
mod rules;
mod standby;

pub(super) use group::{Group, Seat, Second, StandsIn, lock};
pub use rules::{Rules, SourcesError};

#[cfg(test)]
mod tests;

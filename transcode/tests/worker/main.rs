//! The worker, served in this process over pipes: real H.264 in, real encoders, and an independent decoder's word on
//! what comes out.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod aligned;
mod corrupt;
mod faults;
mod formats;
mod measure;
mod orders;
mod regular;
mod support;

//! The stage with real workers in processes of their own: what a viewer of the source and of the rungs gets while a
//! worker is killed, stopped and aborted, while another stream's is fed with damaged pictures, and what a worker
//! cannot do.
#![allow(unreachable_pub, clippy::unwrap_used, clippy::panic, clippy::disallowed_methods)]

mod cage;
mod damaged;
mod faults;
mod live;
mod pull;

#[allow(dead_code)]
#[path = "../worker/support/clip.rs"]
mod clip;

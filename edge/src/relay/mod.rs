//! The relay: how nodes feed each other over QUIC, so that one origin serves any number of viewers at many edges.
//!
//! A node that packages streams gives their updates to a [`Hub`] beside its [`Store`](crate::Store); an [`Origin`] feeds
//! edges from it. An edge's [`Upstream`] takes the streams and lines that its viewers ask for ([`Wants`]), gives them to
//! the edge's store, and to the edge's own hub, so that it may feed further edges. The rules are in
//! `docs/decisions/0007-relay.md`.
//!
//! Everything that decides is pure: [`wire`] (bytes), [`window`] (what is held to feed others with), [`feed`] (what to
//! send next), [`receive`] (what is here, and may be seen), [`failover`] (whom to take a stream from, and when to dial),
//! [`fence`] (whose history of it counts), [`trail`] (who feeds whom, and no circles).
//! `origin`, `post`, `link` and `upstream` are the shells that own sockets and clocks.

pub(crate) mod backfill;
pub mod config;
pub mod congestion;
mod control;
mod desk;
mod door;
pub mod failover;
pub mod feed;
pub mod fence;
mod fetch;
mod gathered;
pub mod hub;
mod intake;
mod lead;
mod link;
mod origin;
mod post;
pub mod receive;
mod refused;
mod taken;
mod tally;
mod tend;
pub mod tls;
pub mod trail;
mod transport;
mod upstream;
mod wants;
pub mod window;
pub mod wire;

pub use config::{Config, ConfigError, Congestion, Credentials, Plan};
pub use gathered::Gathered;
pub use hub::{Hub, Tee};
pub use origin::{Options as OriginOptions, Origin};
pub use refused::{Refused, RefusedError};
pub use tls::{ClientAuth, Identity, Role, ServerAuth, Token};
pub use trail::Trail;
pub use upstream::{Options as UpstreamOptions, Upstream};
pub use wants::{Coming, Due, Wants};

#[expect(clippy::disallowed_methods, reason = "links are timed where they are watched")]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

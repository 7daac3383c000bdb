//! Who may watch what: tokens, signed URLs, and the list of who was cut off (playback-auth, AUTH-9 to AUTH-20).
//!
//! A ticket travels in the path (`/t/TICKET/live/show/index.m3u8`), so that every relative URI of a playlist inherits it
//! and playlists are the same bytes for everybody; it is taken off before anything is looked up, and so is no part of what
//! is kept. All that decides is pure; `Access` holds the keys and the list, and is the one place with a task, which
//! fetches them.

mod access;
mod carry;
mod claims;
mod config;
mod denied;
mod fresh;
mod jws;
mod key;
pub mod mint;
mod network;
mod revoked;
mod seen;
mod signed;
mod source;
mod ticket;

pub use access::{Access, AccessError, Leave, Pass};
pub use carry::{COOKIE_NAME, Place, Shown, in_query, shown, without_ticket};
pub use claims::{LONGEST, SKEW};
pub(crate) use config::names;
pub use config::{Config, ConfigError, Plan, Shared, SharedKey};
pub use denied::Denied;
pub use key::{Algorithm, JwksError, keys_in};
pub use network::{Network, NetworkError};
pub use revoked::{RevokedError, named_in};
pub use source::{ReadError, Source, SourceError, Url};
pub use ticket::{Form, Jwt, MAX_TICKET, Signed, Ticket};

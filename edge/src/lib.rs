//! `Object` in, HTTP responses out: versions, waiting, caching and sockets. The edge knows nothing about media.
//!
//! [`Store`] takes what a packager (or, later, the relay) publishes. [`Server`] answers players from it over HTTP/1.1
//! and HTTP/2, with the same bytes for everybody: a playlist version is compressed once and shared by all who wait
//! for it, and media are slices of the memory that the packager filled.
#![forbid(unsafe_code)]

mod body;
mod config;
mod conn;
mod encoding;
mod entry;
mod error;
mod ledger;
mod pace;
mod pages;
mod playlist;
pub mod range;
mod refuse;
mod respond;
mod roster;
pub mod route;
mod server;
mod site;
mod store;
mod stream;
mod tally;
mod viewers;
mod wait;
mod wire;

pub use config::{Config, ConfigError, Http, Https, Limits, Listen, ListenError, Plan};
pub use entry::{Blob, Entry, Text};
pub use error::Error;
pub use pages::{NoPages, Page, Pages};
pub use playlist::{Verdict, decide};
pub use server::{Addresses, Server};
pub use store::{Arrival, Holding, Store};
pub use stream::{Answer, Stream};
pub use viewers::Viewers;
pub use wait::Waiter;

//! `Object` in, HTTP responses out: versions, waiting, caching and sockets. The edge knows nothing about media.
//!
//! [`Store`] takes what a packager (or the relay) publishes. [`Server`] answers players from it over HTTP/1.1,
//! HTTP/2 and HTTP/3, with the same bytes for everybody: a playlist version is compressed once and shared by all who wait
//! for it, and media are slices of the memory that the packager filled.
#![forbid(unsafe_code)]

mod allowance;
mod audience;
mod body;
pub mod cluster;
mod config;
mod conn;
mod crowd;
mod encoding;
mod entrance;
mod entry;
mod error;
mod flood;
mod http3;
mod ledger;
mod list;
mod pace;
mod pages;
mod playlist;
pub mod range;
mod refuse;
pub mod relay;
mod report;
mod respond;
mod roster;
pub mod route;
mod server;
mod site;
pub mod steering;
mod store;
mod stream;
mod summon;
mod tally;
pub mod token;
mod viewers;
mod wait;
mod wire;

pub use audience::Demand;
pub use config::{Config, ConfigError, Http, Http3, Https, Limits, Listen, ListenError, Plan};
pub use entry::{Blob, Entry, Text};
pub use error::Error;
pub use pages::{Answered, Answering, NoPages, Page, Pages, Service};
pub use playlist::{Verdict, decide};
pub use server::{Addresses, Server};
pub use store::{Arrival, Holding, Store};
pub use stream::{Answer, Stream};
pub use viewers::Viewers;
pub use wait::Waiter;

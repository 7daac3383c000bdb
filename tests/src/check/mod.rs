//! `aqueduct-check`: does a live LL-HLS stream keep the rules that players rely on?
//!
//! The [`Linter`] is pure: it is told what was asked, what came back and when, and says which rules were broken. It
//! knows nothing of sockets, so planted faults can be shown to it. [`live`] follows a real stream and feeds it.

pub mod attributes;
pub mod chunk;
pub mod init;
mod linter;
pub mod listing;
pub mod live;
pub mod multivariant;
mod parse;
pub mod playlist;
mod renditions;
pub mod report;
mod reports;
pub mod rule;
pub mod succession;
pub mod timeline;

pub use linter::{Asked, Linter, Seen};
pub use report::{Finding, Report};
pub use rule::{Rule, Severity};

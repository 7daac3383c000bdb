//! Playlists as text, from a snapshot of what is listed.

pub mod media;
pub mod multivariant;
pub mod snapshot;

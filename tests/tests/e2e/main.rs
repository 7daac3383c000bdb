//! The whole pipeline, one file per promise; the table is in `tests/README.md`. One program, so that its tests share one
//! machine by plan: each takes its room first (`world::room`).

mod analytics;
mod bframes_gop_fps;
mod browser;
mod cluster;
mod codecs;
mod conformance;
mod crate_graph;
mod dashboard;
mod demand;
mod deploy;
mod drain;
mod footage;
mod hdr;
mod hostile;
mod http3;
mod live_faults;
mod namespaces;
#[expect(unreachable_pub, reason = "a module that two tests share")]
mod planted;
mod planted_faults;
mod pull;
mod push_on;
mod reconnect;
mod relay;
mod relay_access;
mod restart;
mod rtsp;
mod scaling;
mod secrets;
mod security;
mod sources;
mod steering;
mod timestamps;
mod token;
mod tracks;
mod transcode_alignment;
mod transcode_fallback;
mod transcode_footage;
mod transcode_mutated;
mod transcode_overload;
mod transcode_page;
mod transcode_sources;
mod transcode_tracks;
mod transcode_worker_lost;

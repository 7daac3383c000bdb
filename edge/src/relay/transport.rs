//! How QUIC is set up at both ends: sized for live media, so that nothing waits that need not (EDGE-19, EDGE-20).

use std::sync::Arc;
use std::time::Duration;

use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::{IdleTimeout, TransportConfig, VarInt};

use super::config::Congestion;
use super::congestion::Floored;

/// Objects under way at once on one link.
const STREAMS: u32 = 1_024;
/// One object comes without a stall.
const STREAM_WINDOW: u32 = 4 * 1_024 * 1_024;
/// Objects that one edge may fetch at once, beside what it is sent; the control stream is one more.
pub(super) const FETCHES: u32 = 32;
/// All objects of a link: 1 Gbit/s at 100 ms.
const WINDOW: u32 = 16 * 1_024 * 1_024;
/// What is sent and not acknowledged: the memory that one edge costs its origin.
const SEND_WINDOW: u64 = 2 * 1_024 * 1_024;
/// A link from which nothing comes for so long is forgotten. It counts as dead long before.
const IDLE_MILLIS: u32 = 10_000;
/// What a round trip takes, as long as nothing is known: lost handshake packets are repeated soon.
const FIRST_RTT: Duration = Duration::from_millis(100);

/// The side that feeds: the other one opens the control stream, and one for each object that it fetches.
pub(super) fn feeding(congestion: Congestion, floor: u64) -> TransportConfig {
    let mut transport = both();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(1 + FETCHES));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.send_window(SEND_WINDOW);
    match (congestion, floor) {
        (Congestion::Bbr, _) => transport.congestion_controller_factory(Arc::new(BbrConfig::default())),
        (Congestion::Cubic, 0) => transport.congestion_controller_factory(Arc::new(CubicConfig::default())),
        (Congestion::Cubic, floor) => transport.congestion_controller_factory(Arc::new(Floored { floor })),
    };
    transport
}

/// The side that is fed.
pub(super) fn fed() -> TransportConfig {
    let mut transport = both();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0));
    transport.max_concurrent_uni_streams(VarInt::from_u32(STREAMS));
    transport.stream_receive_window(VarInt::from_u32(STREAM_WINDOW));
    transport.receive_window(VarInt::from_u32(WINDOW));
    transport
}

fn both() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MILLIS))));
    transport.initial_rtt(FIRST_RTT);
    // Within a priority the oldest goes first.
    transport.send_fairness(false);
    transport.datagram_receive_buffer_size(None);
    transport
}

//! Acknowledgements and pings: what keeps a peer sending and tells how far away it is.

use std::time::Instant;

use bytes::BytesMut;

use crate::rtmp::wire;

/// Bytes after which we acknowledge when the peer does not say (RTMP-20).
const DEFAULT_WINDOW: u32 = 2_500_000;
/// Smallest window that is honoured, so that no peer makes us write more than it sends.
const LEAST_WINDOW: u32 = 4_096;

/// Bytes received and what the peer knows of it (RTMP-20).
#[derive(Debug)]
pub(super) struct Acks {
    pub(super) total: u32,
    unacknowledged: u32,
    window: u32,
}

impl Default for Acks {
    fn default() -> Self {
        Self { total: 0, unacknowledged: 0, window: DEFAULT_WINDOW }
    }
}

impl Acks {
    /// The total, not what came since the last one, and modulo 2^32.
    pub(super) fn received(&mut self, bytes: usize, output: &mut BytesMut) {
        let bytes = bytes as u32;
        self.total = self.total.wrapping_add(bytes);
        self.unacknowledged = self.unacknowledged.saturating_add(bytes);
        if self.unacknowledged >= self.window {
            self.unacknowledged = 0;
            wire::put_ack(output, self.total);
        }
    }

    pub(super) fn window(&mut self, body: &[u8]) {
        if let Some(size) = body.first_chunk() {
            self.window = u32::from_be_bytes(*size).max(LEAST_WINDOW);
        }
    }
}

/// Round-trip measurement (RTMP-22). No answer is no fault: OBS reads nothing while it sends.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) next: Instant,
    pub(super) sent: Option<(u32, Instant)>,
}

//! What is heard of sources that this server fetches, and of SRT.

/// What happened to a source that this server fetches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PullChange {
    /// A worker opens it.
    Opening,
    /// It has ended or failed.
    Lost {
        /// Why, in words without secrets.
        reason: String,
        /// When it is tried again, in milliseconds; `None` where it is not.
        retry_millis: Option<u64>,
    },
}

/// One second of an SRT publisher's connection, as deltas and current readings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SrtTick {
    /// Round trip to the publisher, in microseconds.
    pub rtt_micros: Option<u64>,
    /// Data packets that came, repeats included.
    pub packets: u64,
    /// Packets that were missing when a later one came; most of them come again.
    pub lost: u64,
    /// Packets that came again.
    pub retransmitted: u64,
    /// Packets that did not come in time.
    pub dropped: u64,
    /// Packets that came while nothing could take them apart.
    pub unfit: u64,
}

//! What the relay between nodes tells once a second.

/// Upper bounds of [`RelayTick::lag_buckets`], in microseconds.
pub const RELAY_BUCKETS_MICROS: [u64; 12] =
    [1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 150_000, 200_000, 500_000, 1_000_000, 2_000_000];

/// One second of a node's relay, as deltas and current readings. A node that is fed and feeds others tells two.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RelayTick {
    /// Objects that edges acknowledged, and lists that were sent to them.
    pub sent_objects: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Objects that came whole.
    pub received_objects: u64,
    /// Their bytes.
    pub received_bytes: u64,
    /// Objects that were given up on their way to an edge.
    pub failed: u64,
    /// Objects that were here already.
    pub doubled: u64,
    /// Objects that left the window before they could come.
    pub gone: u64,
    /// Objects that nobody wanted any more, or that were beyond a bound.
    pub strays: u64,
    /// Streams that were taken from another node than before.
    pub moves: u64,
    /// Objects that edges fetched one by one.
    pub lent_objects: u64,
    /// What was fetched from above, from a node that is fed.
    pub backfill: Option<BackfillTick>,
    /// Nodes that were not let in, or not listened to any more, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Links that were lost or did not come about, by reason.
    pub lost: Vec<(&'static str, u64)>,
    /// From a live part's publication where it is made to its being whole here: counts per bucket of
    /// [`RELAY_BUCKETS_MICROS`], then beyond. Clocks of the two machines are compared.
    pub lag_buckets: Vec<u64>,
    /// Sum of the above, in microseconds.
    pub lag_sum_micros: u64,
    /// Edges that are fed at this moment, from a node that feeds.
    pub edges: Option<u64>,
    /// Links up at this moment, from a node that is fed.
    pub upstreams: Option<u64>,
}

/// One second of what a node fetched because it was not pushed to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BackfillTick {
    /// Requests for what was not here.
    pub asked: u64,
    /// Objects that were fetched; the rest of the requests waited for these or found them.
    pub fetched: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that no node had.
    pub absent: u64,
    /// Objects that no node could be asked for.
    pub failed: u64,
    /// Objects that were not asked for, since too many that nobody has were.
    pub limited: u64,
    /// Bytes kept at this moment.
    pub kept_bytes: u64,
}

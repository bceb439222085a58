//! Times and bounds of a replica.

/// Times and bounds of a replica. All times are milliseconds of the pod's own clock, unless it says otherwise.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    /// The highest level that this build can apply.
    pub level: u32,
    /// Where peers find this pod, 256 bytes at most.
    pub address: Vec<u8>,
    /// After this without a batch of its own, the pod says that it lives.
    pub alive_ms: u64,
    /// After this the same bytes are published again.
    pub resend_ms: u64,
    /// After this what is missing is asked for again.
    pub fetch_retry_ms: u64,
    /// How long a batch counts after it was sent, by the lease clock.
    pub batch_life_ms: u64,
    /// Nobody holding a state, a log that was born is opened after this.
    pub open_after_ms: u64,
    /// How much longer each further pod waits before it reseeds.
    pub reseed_rank_ms: u64,
    /// How long the log may go on without this pod until it says goodbye to its streams.
    pub behind_ms: u64,
    /// How long neither the log nor all peers may be reached until the pod is not ready.
    pub unready_ms: u64,
    /// The same until it says goodbye to its streams.
    pub max_staleness_ms: u64,
    /// Entries between two snapshots at most.
    pub snapshot_entries: u64,
    /// Time between two snapshots at most, by the lease clock.
    pub snapshot_ms: u64,
    /// Time between two comparisons of digests, by the lease clock.
    pub compare_ms: u64,
    /// How long all pods must understand a higher level until it is activated by itself, by the lease clock; `None` when
    /// an operator has to say so.
    pub activate_after_ms: Option<u64>,
    /// What waits to be sent at most, in items.
    pub queue_items: usize,
    /// The same in bytes.
    pub queue_bytes: usize,
    /// Items of a batch at most.
    pub batch_items: usize,
    /// Bytes of a batch at most, but for one item that is larger.
    pub batch_bytes: usize,
    /// Messages that are kept while an earlier one is missing.
    pub ahead_entries: usize,
    /// The same in bytes.
    pub ahead_bytes: usize,
    /// Bytes of a snapshot that are encoded at once.
    pub part_bytes: usize,
}

/// What the design says.
impl Default for ReplicaSettings {
    fn default() -> Self {
        Self {
            level: 1,
            address: Vec::new(),
            alive_ms: 1_000,
            resend_ms: 500,
            fetch_retry_ms: 100,
            batch_life_ms: 15_000,
            open_after_ms: 10_000,
            reseed_rank_ms: 2_000,
            behind_ms: 6_000,
            unready_ms: 15_000,
            max_staleness_ms: 30_000,
            snapshot_entries: 100_000,
            snapshot_ms: 60_000,
            compare_ms: 60_000,
            activate_after_ms: Some(24 * 3_600_000),
            queue_items: 16_384,
            queue_bytes: 16 << 20,
            batch_items: 256,
            batch_bytes: 256 << 10,
            ahead_entries: 1_024,
            ahead_bytes: 16 << 20,
            part_bytes: 64 << 10,
        }
    }
}

//! How livestreams and groups behave.

/// How often something may be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// So often per second, in the long run.
    pub per_second: u64,
    /// So often at once.
    pub burst: u64,
}

/// How often one member may write to the CHAT of a livestream.
pub const AUTHOR_CHAT_RATE: Rate = Rate { per_second: 5, burst: 10 };

/// How often all members together may, where the messages go through a replicated log.
pub const CHAT_RATE: Rate = Rate { per_second: 200, burst: 400 };

/// How a livestream behaves. Shape and fan-out are fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LivestreamConfig {
    /// A tree above this many viewers; 1..1 000.
    pub star_to_tree_threshold: u32,
    /// How many nodes one node feeds in the tree; 2..64.
    pub tree_fanout: u32,
    /// What one subscriber is sent at most, in bytes per second.
    pub subscriber_bytes_per_second: u64,
    /// How often a keyframe is wanted, in milliseconds.
    pub keyframe_interval_ms: u32,
    /// Capacity.
    pub max_viewers: u32,
    /// How far a subscriber may fall behind, in milliseconds.
    pub max_lag_ms: u32,
    /// How long the broadcaster may be away, in milliseconds; 0 = for ever.
    pub broadcaster_timeout_ms: u64,
}

/// The defaults of `elara-diffusion`, and ours where it has none.
impl Default for LivestreamConfig {
    fn default() -> Self {
        Self {
            star_to_tree_threshold: 50,
            tree_fanout: 5,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_viewers: 1_000_000,
            max_lag_ms: 2_000,
            broadcaster_timeout_ms: 5 * 60 * 1_000,
        }
    }
}

/// How a group behaves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GroupConfig {
    /// Capacity; 1..256.
    pub max_participants: u32,
    /// What one subscriber is sent at most, in bytes per second.
    pub subscriber_bytes_per_second: u64,
    /// How often a keyframe is wanted, in milliseconds.
    pub keyframe_interval_ms: u32,
    /// How far a subscriber may fall behind, in milliseconds.
    pub max_lag_ms: u32,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            max_participants: 16,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_lag_ms: 2_000,
        }
    }
}

/// A configuration that may be replaced, and the one that the swarm was made with:
/// that one is what a repeated Create names.
#[derive(Clone, Debug, Hash)]
pub(super) struct Configured<C> {
    pub(super) current: C,
    /// Set once it differs from the current one.
    pub(super) first: Option<Box<C>>,
}

impl<C: Eq> Configured<C> {
    pub(super) const fn new(config: C) -> Self {
        Self { current: config, first: None }
    }

    pub(super) const fn current(&self) -> &C {
        &self.current
    }

    pub(super) fn first(&self) -> &C {
        self.first.as_deref().unwrap_or(&self.current)
    }

    /// True when that is another configuration.
    pub(super) fn replace(&mut self, config: C) -> bool {
        if config == self.current {
            return false;
        }
        let before = std::mem::replace(&mut self.current, config);
        self.first.get_or_insert_with(|| Box::new(before));
        true
    }
}

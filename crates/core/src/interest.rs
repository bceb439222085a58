//! What a node wants of each channel, and for how long.

use super::channel::{Channel, PerChannel};
use super::id::NodeId;

/// How much of a channel a node wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Interest {
    /// Nothing.
    #[default]
    None,
    /// Keyframes.
    Low,
    /// All but the top temporal layer.
    Medium,
    /// Everything.
    High,
    /// Everything, at once.
    Critical,
}

impl Interest {
    /// Every level, lowest first.
    pub const ALL: [Self; 5] = [Self::None, Self::Low, Self::Medium, Self::High, Self::Critical];
}

/// One level to set, in a Join or SetInterest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterestChange {
    /// The channel that it is about.
    pub channel: Channel,
    /// In groups: the source that it is about; `None` = every source.
    pub source: Option<NodeId>,
    /// The wanted level.
    pub level: Interest,
    /// How long it lasts in milliseconds; `None` = until changed.
    pub ttl_ms: Option<u32>,
}

/// A level that differs from the standing one: for one source, for a time, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InterestOverride {
    /// `None` = every source.
    pub source: Option<NodeId>,
    /// The channel that it is about.
    pub channel: Channel,
    /// The level while it lasts.
    pub level: Interest,
    /// When it falls away, in milliseconds since the Unix epoch; `None` = never.
    pub expires_at: Option<u64>,
}

/// A node's interests: a standing level per channel, and overrides.
///
/// The narrowest override wins: (source, channel), then (every source,
/// channel), then the standing level. An override that says what the standing
/// level says, and does not expire, is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interests {
    standing: PerChannel<Interest>,
    // Boxed because nearly no member has one, and there may be a million members.
    #[expect(clippy::box_collection, reason = "8 bytes instead of 24 in every member")]
    overrides: Option<Box<Vec<InterestOverride>>>,
}

/// The most overrides that one member may hold: every channel of every source of
/// the largest group.
pub const MAX_OVERRIDES: u32 = 5 * 256;

impl Interests {
    /// Defaults of a viewer that plays the stream.
    pub const fn active_viewer() -> Self {
        let (high, medium) = (Interest::High, Interest::Medium);
        Self::standing_at(PerChannel::new([high, high, high, medium, medium]))
    }

    /// Defaults of a viewer that only keeps an eye on the stream.
    pub const fn lurker() -> Self {
        let none = Interest::None;
        Self::standing_at(PerChannel::new([Interest::Low, none, none, none, none]))
    }

    /// Defaults of a member of a group.
    pub const fn participant() -> Self {
        Self::standing_at(PerChannel::new([Interest::High; 5]))
    }

    const fn standing_at(standing: PerChannel<Interest>) -> Self {
        Self { standing, overrides: None }
    }

    /// The level for `channel` of `source` (`None`: of sources in general).
    ///
    /// O(overrides of this member).
    pub fn level(&self, source: Option<NodeId>, channel: Channel) -> Interest {
        let find =
            |wanted: Option<NodeId>| self.overrides().iter().find(|o| o.channel == channel && o.source == wanted);
        source.and_then(|_| find(source)).or_else(|| find(None)).map_or_else(|| self.standing[channel], |o| o.level)
    }

    /// The levels of all channels for sources in general.
    pub fn levels(&self) -> PerChannel<Interest> {
        PerChannel::from_fn(|channel| self.level(None, channel))
    }

    /// The overrides in force, in the order in which they were set.
    pub fn overrides(&self) -> &[InterestOverride] {
        self.overrides.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Sets one level. Returns true when anything changed, and changes nothing
    /// when a new override would pass [`MAX_OVERRIDES`] (see [`Self::has_room_for`]).
    pub fn set(&mut self, change: InterestChange, now: u64) -> bool {
        self.set_all(&[change], now)
    }

    /// Sets several levels, one after the other. Returns true when anything is
    /// another in the end.
    pub fn set_all(&mut self, changes: &[InterestChange], now: u64) -> bool {
        let before = self.clone();
        for change in changes {
            self.put(*change, now);
        }
        *self != before
    }

    fn put(&mut self, change: InterestChange, now: u64) {
        let InterestChange { channel, source, level, ttl_ms } = change;
        self.retain(|o| o.channel != channel || o.source != source);
        let expires_at = ttl_ms.map(|ttl| now + u64::from(ttl));
        match (source, expires_at) {
            (None, None) => self.standing[channel] = level,
            (Some(_), None) if self.standing[channel] == level && !self.has_general_override(channel) => {}
            _ if self.overrides().len() >= MAX_OVERRIDES as usize => {}
            _ => {
                let new = InterestOverride { source, channel, level, expires_at };
                self.overrides.get_or_insert_default().push(new);
            }
        }
    }

    /// The levels that nothing overrides for ever.
    pub const fn standing(&self) -> PerChannel<Interest> {
        self.standing
    }

    /// True when `changes` cannot pass [`MAX_OVERRIDES`].
    pub fn has_room_for(&self, changes: &[InterestChange]) -> bool {
        let known =
            |c: &InterestChange| self.overrides().iter().any(|o| o.source == c.source && o.channel == c.channel);
        let new = changes.iter().filter(|c| (c.source.is_some() || c.ttl_ms.is_some()) && !known(c));
        self.overrides().len() + new.count() <= MAX_OVERRIDES as usize
    }

    /// When the next override falls away.
    pub fn next_expiry(&self) -> Option<u64> {
        self.overrides().iter().filter_map(|o| o.expires_at).min()
    }

    /// Drops what has expired at `now`. Returns true when anything did.
    pub fn expire(&mut self, now: u64) -> bool {
        self.retain(|o| o.expires_at.is_none_or(|at| at > now))
    }

    /// Drops what is said about a source that left. Returns true when anything was.
    pub fn forget(&mut self, source: NodeId) -> bool {
        self.retain(|o| o.source != Some(source))
    }

    /// True when an override is about every source of `channel`.
    fn has_general_override(&self, channel: Channel) -> bool {
        self.overrides().iter().any(|o| o.channel == channel && o.source.is_none())
    }

    fn retain(&mut self, keep: impl FnMut(&InterestOverride) -> bool) -> bool {
        let Some(overrides) = &mut self.overrides else { return false };
        let before = overrides.len();
        overrides.retain(keep);
        let changed = overrides.len() != before;
        if overrides.is_empty() {
            self.overrides = None;
        }
        changed
    }
}

#[cfg(test)]
mod tests;

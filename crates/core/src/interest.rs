//! What a node wants of each channel, and for how long.

#![expect(clippy::disallowed_types, reason = "overrides are shared and immutable: plain data still")]

use std::collections::BTreeMap;
use std::sync::Arc;

use super::channel::{Channel, PerChannel};
use super::hash::WordHasher;
use super::id::NodeId;
use super::steps::count;

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

/// One way in which a node's interests differ from what they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InterestUpdate {
    /// The standing level of a channel is another.
    Standing(Channel, Interest),
    /// An override is new, or another.
    Override(InterestOverride),
    /// An override fell away.
    Gone(Option<NodeId>, Channel),
}

impl InterestUpdate {
    /// The source that it is about; `None` = every source.
    pub const fn source(&self) -> Option<NodeId> {
        match self {
            Self::Standing(..) => None,
            Self::Override(one) => one.source,
            Self::Gone(source, _) => *source,
        }
    }
}

/// What an override is about. The order puts those about every source first.
type Key = (Option<NodeId>, Channel);

const fn key(one: &InterestOverride) -> Key {
    (one.source, one.channel)
}

/// A node's interests: a standing level per channel, and overrides.
///
/// The narrowest override wins: (source, channel), then (every source,
/// channel), then the standing level. An override that says what the standing
/// level says, and does not expire, is not kept. A clone shares the overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Interests {
    standing: PerChannel<Interest>,
    // One pointer, because nearly no member has one, and there may be a million members. Shared, and never changed in
    // place: views and events are copies, and 1 280 overrides are 40 KB.
    overrides: Option<Arc<Overrides>>,
}

/// Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Overrides {
    /// In the order of their keys.
    list: Vec<InterestOverride>,
    /// When the first of them falls away. The roster asks at each change of a member.
    next_expiry: Option<u64>,
    /// Of the list: the roster asks for it too.
    digest: u64,
}

impl Overrides {
    fn new(list: Vec<InterestOverride>) -> Option<Arc<Self>> {
        count(list.len());
        let next_expiry = list.iter().filter_map(|one| one.expires_at).min();
        let mut digest = WordHasher::new(list.len() as u64);
        for InterestOverride { source, channel, level, expires_at } in &list {
            digest.word(source.map_or(0, NodeId::get));
            digest.word(*channel as u64 * 8 + *level as u64);
            digest.word(expires_at.map_or(u64::MAX, |at| at));
        }
        let digest = digest.finish();
        (!list.is_empty()).then(|| Arc::new(Self { list, next_expiry, digest }))
    }
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

    /// A standing level per channel, and overrides in the order of their sources and channels, each once.
    pub(super) fn of(standing: PerChannel<Interest>, overrides: Vec<InterestOverride>) -> Self {
        Self { standing, overrides: Overrides::new(overrides) }
    }

    /// The level for `channel` of `source` (`None`: of sources in general).
    ///
    /// O(log(overrides of this member)).
    pub fn level(&self, source: Option<NodeId>, channel: Channel) -> Interest {
        source
            .and_then(|_| self.find((source, channel)))
            .or_else(|| self.find((None, channel)))
            .map_or_else(|| self.standing[channel], |one| one.level)
    }

    /// The levels of all channels for sources in general.
    pub fn levels(&self) -> PerChannel<Interest> {
        PerChannel::from_fn(|channel| self.level(None, channel))
    }

    /// The overrides in force, by source and channel; those about every source first.
    pub fn overrides(&self) -> &[InterestOverride] {
        let list = self.list();
        count(list.len());
        list
    }

    /// The same, of which nobody looks at all.
    fn list(&self) -> &[InterestOverride] {
        self.overrides.as_deref().map_or(&[], |overrides| &overrides.list)
    }

    fn find(&self, wanted: Key) -> Option<&InterestOverride> {
        count(1);
        let list = self.list();
        list.binary_search_by_key(&wanted, key).ok().map(|at| &list[at])
    }

    /// Sets several levels, one after the other, and tells what is another in the end: nothing
    /// when nothing is. A new override that would pass [`MAX_OVERRIDES`] changes nothing (see
    /// [`Self::has_room_for`]).
    ///
    /// O(overrides of this member + changes * log(changes)).
    pub fn set(&mut self, changes: &[InterestChange], now: u64) -> Vec<InterestUpdate> {
        let (mut standing, mut count) = (self.standing, self.list().len());
        let mut has_general = PerChannel::from_fn(|channel| self.find((None, channel)).is_some());
        let mut edits = BTreeMap::<Key, Option<InterestOverride>>::new();
        for InterestChange { channel, source, level, ttl_ms } in changes.iter().copied() {
            let key = (source, channel);
            let exists = edits.get(&key).map_or_else(|| self.find(key).is_some(), Option::is_some);
            let expires_at = ttl_ms.map(|ttl| now + u64::from(ttl));
            let new = match (source, expires_at) {
                (None, None) => {
                    standing[channel] = level;
                    None
                }
                (Some(_), None) if standing[channel] == level && !has_general[channel] => None,
                _ if !exists && count >= MAX_OVERRIDES as usize => continue,
                _ => Some(InterestOverride { source, channel, level, expires_at }),
            };
            if source.is_none() {
                has_general[channel] = new.is_some();
            }
            count = count + usize::from(new.is_some()) - usize::from(exists);
            edits.insert(key, new);
        }
        edits.retain(|key, new| self.find(*key) != new.as_ref());
        let mut updates: Vec<_> = (standing.iter().zip(self.standing.iter()))
            .filter(|((_, new), (_, old))| new != old)
            .map(|((channel, level), _)| InterestUpdate::Standing(channel, *level))
            .collect();
        let told = |(key, new): (&Key, &Option<InterestOverride>)| match new {
            Some(new) => InterestUpdate::Override(*new),
            None => InterestUpdate::Gone(key.0, key.1),
        };
        updates.extend(edits.iter().map(told));
        self.standing = standing;
        self.edit(edits);
        updates
    }

    /// Takes over what another node was told of its interests.
    pub fn update(&mut self, update: InterestUpdate) {
        match update {
            InterestUpdate::Standing(channel, level) => self.standing[channel] = level,
            InterestUpdate::Override(new) => self.edit(BTreeMap::from([(key(&new), Some(new))])),
            InterestUpdate::Gone(source, channel) => self.edit(BTreeMap::from([((source, channel), None)])),
        }
    }

    /// Replaces overrides, and drops those that have no successor. One pass: edits one by one would
    /// move the rest of the list with each.
    fn edit(&mut self, edits: BTreeMap<Key, Option<InterestOverride>>) {
        if edits.is_empty() {
            return;
        }
        let mut list = Vec::with_capacity(self.list().len() + edits.len());
        let mut rest = self.list();
        for (edited, new) in edits {
            let (before, after) = rest.split_at(rest.partition_point(|one| key(one) < edited));
            list.extend_from_slice(before);
            list.extend(new);
            rest = if after.first().is_some_and(|one| key(one) == edited) { &after[1..] } else { after };
        }
        list.extend_from_slice(rest);
        list.shrink_to_fit();
        self.overrides = Overrides::new(list);
    }

    /// A digest of all of it. O(1).
    pub(super) fn digest(&self) -> u64 {
        let mut digest = WordHasher::new(self.overrides.as_deref().map_or(0, |overrides| overrides.digest));
        digest.word(self.standing.iter().fold(0, |levels, (_, level)| levels * 8 + *level as u64));
        digest.finish()
    }

    /// The levels that nothing overrides for ever.
    pub const fn standing(&self) -> PerChannel<Interest> {
        self.standing
    }

    /// True when `changes` cannot pass [`MAX_OVERRIDES`]. O(changes * log(overrides)).
    pub fn has_room_for(&self, changes: &[InterestChange]) -> bool {
        let is_new = |change: &&InterestChange| {
            (change.source.is_some() || change.ttl_ms.is_some()) && self.find((change.source, change.channel)).is_none()
        };
        self.list().len() + changes.iter().filter(is_new).count() <= MAX_OVERRIDES as usize
    }

    /// What the overrides take, in bytes. O(1).
    pub fn heap_bytes(&self) -> usize {
        self.overrides.as_deref().map_or(0, |overrides| size_of_val(overrides) + size_of_val(&*overrides.list))
    }

    /// When the next override falls away. O(1).
    pub fn next_expiry(&self) -> Option<u64> {
        self.overrides.as_deref().and_then(|overrides| overrides.next_expiry)
    }

    /// Drops what has expired at `now`, and tells it. O(overrides of this member).
    pub fn expire(&mut self, now: u64) -> Vec<InterestUpdate> {
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.overrides().iter().partition(|one| one.expires_at.is_none_or(|at| at > now));
        if !gone.is_empty() {
            self.overrides = Overrides::new(kept);
        }
        gone.into_iter().map(|one| InterestUpdate::Gone(one.source, one.channel)).collect()
    }

    /// Drops what is said about sources that left, which are sorted. Returns true when anything was.
    /// O(sources * log(overrides of this member)) when nothing was, else O(overrides * log(sources)) besides.
    pub fn forget(&mut self, sources: &[NodeId]) -> bool {
        count(sources.len());
        let list = self.list();
        let is_known = |source: &NodeId| {
            let first = list.partition_point(|one| one.source < Some(*source));
            list.get(first).is_some_and(|one| one.source == Some(*source))
        };
        if !sources.iter().any(is_known) {
            return false;
        }
        let stays = |one: &&InterestOverride| one.source.is_none_or(|source| sources.binary_search(&source).is_err());
        self.overrides = Overrides::new(list.iter().filter(stays).copied().collect());
        true
    }
}

#[cfg(test)]
mod tests;

//! What may be done, and with which swarms.

use std::ops::RangeInclusive;

use starling_core::channel::ChannelSet;
use starling_core::id::SwarmKind;

/// Something that a caller may be allowed to do with a swarm. To publish is allowed by channel, see
/// [`Permission::channels`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Right {
    /// Create it.
    Create,
    /// Take part in it: join and leave, read, watch, subscribe, and set what concerns the own node.
    Join,
    /// Mute, unmute and remove others, as far as the rules of the swarm let the acting node.
    Moderate,
    /// Start, pause, resume, end, update and transfer it, and name moderators, as far as the rules of the swarm
    /// let the acting node.
    Administer,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 4] = [Self::Create, Self::Join, Self::Moderate, Self::Administer];

    /// Its name, as tokens write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Join => "join",
            Self::Moderate => "moderate",
            Self::Administer => "administer",
        }
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// True when `right` is in the set.
    pub const fn contains(self, right: Right) -> bool {
        self.0 & (1 << right as u8) != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | 1 << right as u8))
    }
}

/// What may be done with some swarms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permission {
    /// With these livestreams.
    pub livestreams: IdRanges,
    /// With these groups.
    pub groups: IdRanges,
    /// This may be done.
    pub rights: Rights,
    /// On these channels may be published.
    pub channels: ChannelSet,
}

impl Permission {
    /// The swarms of a kind that it is about.
    pub const fn swarms(&self, kind: SwarmKind) -> &IdRanges {
        match kind {
            SwarmKind::Livestream => &self.livestreams,
            SwarmKind::Group => &self.groups,
        }
    }
}

/// Ids: single ones, ranges, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdRanges(Vec<RangeInclusive<u64>>);

impl IdRanges {
    /// Every id.
    pub fn all() -> Self {
        Self(vec![0..=u64::MAX])
    }

    /// True when `id` is one of them. O(ranges).
    pub fn contains(&self, id: u64) -> bool {
        self.0.iter().any(|range| range.contains(&id))
    }

    /// The ranges, in the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = &RangeInclusive<u64>> {
        self.0.iter()
    }

    /// True when every id is one of them.
    pub fn is_all(&self) -> bool {
        self.0.contains(&(0..=u64::MAX))
    }
}

impl FromIterator<RangeInclusive<u64>> for IdRanges {
    fn from_iter<I: IntoIterator<Item = RangeInclusive<u64>>>(ranges: I) -> Self {
        Self(ranges.into_iter().collect())
    }
}

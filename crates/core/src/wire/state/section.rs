//! The sections of a state, in their order, and how many entries each one has.

use crate::swarm::{Rules, Swarm};
use crate::wire::{Fault, Reader, Wire, WireError};

/// A part of a state. Each but the first one is a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// What there is once.
    Head,
    /// Nodes in ascending order, and when the ban of each ends.
    Bans,
    /// Nodes in ascending order.
    Moderators,
    /// Nodes in ascending order.
    Muted,
    /// Members at the end of the swarm, by node in ascending order.
    LastMembers,
    /// Free slots of the roster, in the order of their list.
    Free,
    /// Members in the order of their slots.
    Members,
    /// Slots of the viewers, in the order of the relay tree.
    Tree,
    /// Authors of the CHAT, by when each was heard last.
    Authors,
    /// Nothing follows.
    End,
}

impl Section {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Head => Self::Bans,
            Self::Bans => Self::Moderators,
            Self::Moderators => Self::Muted,
            Self::Muted => Self::LastMembers,
            Self::LastMembers => Self::Free,
            Self::Free => Self::Members,
            Self::Members => Self::Tree,
            Self::Tree => Self::Authors,
            Self::Authors | Self::End => Self::End,
        }
    }
}

/// How many entries the sections have. That of the tree is not told: it has the viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lengths {
    pub(super) bans: u64,
    pub(super) moderators: u64,
    pub(super) muted: u64,
    pub(super) last_members: u64,
    pub(super) free: u64,
    pub(super) members: u64,
    pub(super) authors: u64,
}

impl Lengths {
    pub(super) fn of(swarm: &Swarm) -> Self {
        let (base, rules) = swarm.parts();
        let (moderators, muted, authors) = match rules {
            Rules::Livestream(livestream) => {
                let authors = livestream.chat.as_ref().map_or(0, |chat| chat.authors.len());
                (livestream.moderators.len(), livestream.muted.len(), authors)
            }
            Rules::Group(_) => (0, 0, 0),
        };
        Self {
            bans: base.bans.len() as u64,
            moderators: moderators as u64,
            muted: muted as u64,
            last_members: base.last_members.all().len() as u64,
            free: base.roster.free_len() as u64,
            members: base.roster.len() as u64,
            authors: authors as u64,
        }
    }

    /// Slots of the roster, the free ones too.
    pub(super) const fn slots(&self) -> u64 {
        self.free + self.members
    }
}

impl Wire for Lengths {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { bans, moderators, muted, last_members, free, members, authors } = self;
        [bans, moderators, muted, last_members, free, members, authors].into_iter().for_each(|length| length.put(out));
    }

    /// Each of them is below 2^32, and so is the number of slots.
    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut length = |what| reader.field::<u32>(what).map(u64::from);
        let lengths = Self {
            bans: length("Lengths.bans")?,
            moderators: length("Lengths.moderators")?,
            muted: length("Lengths.muted")?,
            last_members: length("Lengths.last_members")?,
            free: length("Lengths.free")?,
            members: length("Lengths.members")?,
            authors: length("Lengths.authors")?,
        };
        let max = u64::from(u32::MAX);
        if lengths.slots() > max { Err(reader.fault(reader.offset, Fault::OutOfRange { max })) } else { Ok(lengths) }
    }
}

//! What a command did: the visible changes, and what else must know of it.

use super::id::{NodeId, SessionId};
use super::interest::{Channel, ChannelSet, Interests};
use super::livestream::State;
use super::member::{Media, MemberView};
use super::roster::{Key, Roster};
use super::topology::{Placement, Topology};
use super::{Swarm, group, livestream};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum LeaveReason {
    /// The node left.
    Left,
    /// The node joined again.
    Replaced,
    /// Somebody with authority removed it.
    Removed,
    /// It had no stream and no heartbeat for its lease.
    Timeout,
    /// The swarm ended.
    Ended,
}

impl LeaveReason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Left, Self::Replaced, Self::Removed, Self::Timeout, Self::Ended];
}

/// Why a swarm ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// Somebody with authority ended it.
    Requested,
    /// The broadcaster was away for too long.
    BroadcasterTimeout,
    /// The group was empty for too long.
    Empty,
}

/// A visible change. All changes of one command share one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session began. The broadcaster's is [`Event::BroadcasterJoined`].
    Joined {
        /// Its slot in the roster.
        key: Key,
        /// The member.
        member: Box<MemberView>,
    },
    /// A session ended.
    Left {
        /// Its slot in the roster.
        key: Key,
        /// Who.
        node: NodeId,
        /// Which join of it.
        session: SessionId,
        /// Why.
        reason: LeaveReason,
    },
    /// The livestream's state changed.
    StateChanged {
        /// The new state.
        state: State,
        /// Set when it ended. Then every session ended with reason ENDED; no
        /// event tells of each.
        reason: Option<EndReason>,
    },
    /// The group ended, and every session in it.
    GroupEnded {
        /// Why.
        reason: EndReason,
    },
    /// The livestream's metadata or configuration changed.
    LivestreamUpdated {
        /// The metadata now.
        metadata: Box<[u8]>,
        /// The configuration now.
        config: Box<livestream::Config>,
    },
    /// The group's metadata or configuration changed.
    GroupUpdated {
        /// The metadata now.
        metadata: Box<[u8]>,
        /// The configuration now.
        config: Box<group::Config>,
    },
    /// The broadcaster has a session.
    BroadcasterJoined {
        /// Who.
        node: NodeId,
        /// Which join of it.
        session: SessionId,
    },
    /// The broadcaster has no session any more.
    BroadcasterLost {
        /// Who.
        node: NodeId,
        /// Which join of it.
        session: SessionId,
        /// Why.
        reason: LeaveReason,
    },
    /// Authority went to another node. Sessions go on.
    Transferred {
        /// The old broadcaster.
        from: NodeId,
        /// The new one, no viewer any more.
        to: NodeId,
        /// Slot of the new one.
        to_key: Key,
        /// The old one as a viewer, and its slot, when it has a session.
        viewer: Option<(Key, Box<MemberView>)>,
    },
    /// A node became or ceased to be a moderator.
    ModeratorChanged {
        /// Who.
        node: NodeId,
        /// What it is now.
        moderator: bool,
    },
    /// A node was muted or unmuted.
    MuteChanged {
        /// Who.
        node: NodeId,
        /// What it is now.
        muted: bool,
    },
    /// The shape changed; this stands for all placements.
    TopologySwitched {
        /// The new shape.
        topology: Topology,
    },
    /// A node may publish under a new term, the revision of this event.
    AuthorityGranted {
        /// Who.
        node: NodeId,
        /// On what.
        channels: ChannelSet,
    },
    /// A member wants something else.
    InterestChanged {
        /// Its slot in the roster.
        key: Key,
        /// Who.
        node: NodeId,
        /// All its interests.
        interests: Interests,
    },
    /// A member stands elsewhere.
    PlacementChanged {
        /// Its slot in the roster.
        key: Key,
        /// Who.
        node: NodeId,
        /// Where.
        placement: Placement,
    },
    /// A member says something else of itself.
    MemberUpdated {
        /// Its slot in the roster.
        key: Key,
        /// The member now.
        member: Box<MemberView>,
    },
    /// A group has another owner.
    OwnerChanged {
        /// The new one; `None` when nobody is in.
        owner: Option<NodeId>,
    },
    /// A participant switched its microphone or camera.
    MediaChanged {
        /// Its slot in the roster.
        key: Key,
        /// Who.
        node: NodeId,
        /// What it sends now.
        media: Media,
    },
    /// A participant shares its screen.
    ShareStarted {
        /// Who.
        node: NodeId,
    },
    /// Nobody shares a screen any more.
    ShareStopped {
        /// Who did.
        node: NodeId,
    },
}

/// The right to publish on one (source, channel), as the feed must enforce it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The source.
    pub source: NodeId,
    /// The channel.
    pub channel: Channel,
    /// The term in force; 0 = nobody may publish.
    pub term: u64,
    /// The session that holds it; `None` = nobody may publish.
    pub session: Option<SessionId>,
    /// Whether updates are taken now.
    pub gate: Gate,
}

/// Whether a channel takes updates, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It does.
    Open,
    /// The livestream has not begun, or is over.
    NotActive,
    /// The livestream is on hold.
    Paused,
    /// The participant has switched it off, or does not hold the screen share.
    Off,
}

impl Grant {
    /// True when updates are taken now.
    pub fn is_open(&self) -> bool {
        self.gate == Gate::Open
    }
}

/// Nodes whose target list may have changed: a superset, never less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Every list.
    pub all: bool,
    /// The broadcaster's list.
    pub root: bool,
    /// These members' lists.
    pub nodes: Vec<NodeId>,
}

/// What a command did.
#[derive(Debug, Default)]
pub struct Applied {
    /// The revision of the change; for a repeat, of the original; without a
    /// change, the swarm's current one.
    pub revision: u64,
    /// The visible changes; empty when there was none.
    pub events: Vec<Event>,
    /// Whose target lists may have changed.
    pub touched: Touched,
    /// Grants that changed. Whoever enforces them must do so before the command
    /// is answered.
    pub grants: Vec<Grant>,
    /// Sessions that ended, and why. Those that ended because the swarm did
    /// ([`Self::over`]) are the members in [`Self::retired`], listed here or not.
    pub ended: Vec<(SessionId, LeaveReason)>,
    /// The acting node's session, after Join and Claim.
    pub session: Option<SessionId>,
    /// True when a new swarm was made.
    pub created: bool,
    /// True when the swarm ended.
    pub over: bool,
    /// True when the swarm is to be forgotten.
    pub removed: bool,
    /// The swarm that was to be forgotten, or that the new one replaced.
    pub gone: Option<Box<Swarm>>,
    /// What a large swarm left behind, to be dropped outside any lock.
    pub retired: Option<Box<Roster>>,
}

/// What an event is about; watchers choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EventKind {
    /// Joins, leaves, members' metadata.
    Membership,
    /// State and metadata of the swarm.
    Lifecycle,
    /// The broadcaster came, went or handed over.
    Broadcaster,
    /// Moderators and mutes.
    Moderation,
    /// Star or tree.
    Topology,
    /// Rights to publish.
    Authority,
    /// What members want.
    Interest,
    /// Where members stand.
    Placement,
    /// Microphones and cameras.
    Media,
    /// Screen shares.
    Share,
    /// Who owns a group.
    Ownership,
}

impl Event {
    /// What it is about.
    pub const fn kind(&self) -> EventKind {
        match self {
            Self::Joined { .. } | Self::Left { .. } | Self::MemberUpdated { .. } => EventKind::Membership,
            Self::StateChanged { .. }
            | Self::GroupEnded { .. }
            | Self::LivestreamUpdated { .. }
            | Self::GroupUpdated { .. } => EventKind::Lifecycle,
            Self::BroadcasterJoined { .. } | Self::BroadcasterLost { .. } | Self::Transferred { .. } => {
                EventKind::Broadcaster
            }
            Self::ModeratorChanged { .. } | Self::MuteChanged { .. } => EventKind::Moderation,
            Self::TopologySwitched { .. } => EventKind::Topology,
            Self::AuthorityGranted { .. } => EventKind::Authority,
            Self::InterestChanged { .. } => EventKind::Interest,
            Self::PlacementChanged { .. } => EventKind::Placement,
            Self::OwnerChanged { .. } => EventKind::Ownership,
            Self::MediaChanged { .. } => EventKind::Media,
            Self::ShareStarted { .. } | Self::ShareStopped { .. } => EventKind::Share,
        }
    }

    /// The slot of the one member that it is about, if there is one.
    pub const fn member(&self) -> Option<Key> {
        match self {
            Self::Joined { key, .. }
            | Self::Left { key, .. }
            | Self::MemberUpdated { key, .. }
            | Self::InterestChanged { key, .. }
            | Self::PlacementChanged { key, .. }
            | Self::MediaChanged { key, .. } => Some(*key),
            Self::StateChanged { .. }
            | Self::GroupEnded { .. }
            | Self::LivestreamUpdated { .. }
            | Self::GroupUpdated { .. }
            | Self::BroadcasterJoined { .. }
            | Self::BroadcasterLost { .. }
            | Self::Transferred { .. }
            | Self::ModeratorChanged { .. }
            | Self::MuteChanged { .. }
            | Self::TopologySwitched { .. }
            | Self::AuthorityGranted { .. }
            | Self::OwnerChanged { .. }
            | Self::ShareStarted { .. }
            | Self::ShareStopped { .. } => None,
        }
    }
}

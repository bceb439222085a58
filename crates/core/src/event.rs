//! What a command did: the visible changes, and what else must know of it.

mod size;

use super::channel::{Channel, ChannelSet};
use super::chat::{AcceptedMessage, Authors, ChatOutcome};
use super::config::{GroupConfig, LivestreamConfig};
use super::id::{MemberKey, NodeId, PodId, SessionId};
use super::interest::{InterestUpdate, Interests};
use super::key::BroadcasterKey;
use super::member::MemberView;
use super::role::Media;
use super::roster::Roster;
use super::state::State;
pub use super::state::{EndReason, LeaveReason};
use super::topology::{Placement, Topology};

/// A visible change. All changes of one command share one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Of swarms of both kinds.
    Shared(SharedEvent),
    /// Of livestreams alone.
    Livestream(LivestreamEvent),
    /// Of groups alone.
    Group(GroupEvent),
}

/// A visible change of a swarm of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedEvent {
    /// A session began. The broadcaster's is [`LivestreamEvent::BroadcasterJoined`].
    Joined {
        /// Its slot in the roster.
        key: MemberKey,
        /// The member.
        member: Box<MemberView>,
    },
    /// A session ended.
    Left {
        /// Its slot in the roster.
        key: MemberKey,
        /// Who.
        node: NodeId,
        /// Which join of it.
        session: SessionId,
        /// Why.
        reason: LeaveReason,
    },
    /// A member wants something else.
    InterestChanged {
        /// Its slot in the roster.
        key: MemberKey,
        /// Who.
        node: NodeId,
        /// What is another; the rest is as before.
        updates: Vec<InterestUpdate>,
    },
    /// A member says something else of itself.
    MemberUpdated {
        /// Its slot in the roster.
        key: MemberKey,
        /// The member now.
        member: Box<MemberView>,
    },
    /// A node must stay out for a time, or may come back before it was to.
    BanChanged {
        /// Who.
        node: NodeId,
        /// Until when it must, in milliseconds since the Unix epoch; `None` = it may come back.
        until: Option<u64>,
    },
    /// A node may publish under a new term, the revision of this event.
    AuthorityGranted {
        /// Who.
        node: NodeId,
        /// On what.
        channels: ChannelSet,
    },
}

/// A visible change of a livestream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LivestreamEvent {
    /// The state changed.
    StateChanged {
        /// The new state.
        state: State,
        /// Set when it ended. Then every session ended with reason ENDED; no
        /// event tells of each.
        reason: Option<EndReason>,
    },
    /// The metadata or configuration changed.
    Updated {
        /// The metadata now.
        metadata: Box<[u8]>,
        /// The configuration now.
        config: Box<LivestreamConfig>,
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
        to_key: MemberKey,
        /// The old one as a viewer, and its slot, when it has a session.
        viewer: Option<(MemberKey, Box<MemberView>)>,
        /// By which the new one signs its updates, where broadcasters do.
        key: Option<Box<BroadcasterKey>>,
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
    /// A member stands elsewhere.
    PlacementChanged {
        /// Its slot in the roster.
        key: MemberKey,
        /// Who.
        node: NodeId,
        /// Where.
        placement: Placement,
    },
}

/// A visible change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupEvent {
    /// It ended, and every session in it.
    Ended {
        /// Why.
        reason: EndReason,
    },
    /// The metadata or configuration changed.
    Updated {
        /// The metadata now.
        metadata: Box<[u8]>,
        /// The configuration now.
        config: Box<GroupConfig>,
    },
    /// It has another owner.
    OwnerChanged {
        /// The new one; `None` when nobody is in.
        owner: Option<NodeId>,
    },
    /// A participant switched its microphone or camera.
    MediaChanged {
        /// Its slot in the roster.
        key: MemberKey,
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

from_parts!(Event: Shared(SharedEvent), Livestream(LivestreamEvent), Group(GroupEvent));

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
    /// The pod where it publishes; [`NO_HOME`](super::id::NO_HOME) without a term, and when that pod is gone.
    pub home: PodId,
    /// Whether updates are taken now.
    pub gate: Gate,
    /// The key that signs the source's updates; `None` = they are not signed.
    pub key: Option<BroadcasterKey>,
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
    /// Sessions that ended, and why, without those that ended because the swarm did
    /// ([`Self::over`]): these are the members in [`Self::retired`].
    pub ended: Vec<(SessionId, LeaveReason)>,
    /// Members that left and did not join again, and why; as above.
    pub left: Vec<(NodeId, LeaveReason)>,
    /// Members whose interests changed or are new, with all that they are now, in order. None that left.
    pub interests: Vec<(NodeId, Interests)>,
    /// Nodes that are no source of updates any more.
    pub former_sources: Vec<NodeId>,
    /// True when the metadata or the configuration changed.
    pub updated: bool,
    /// True when a swarm that is not new has another [`Summary`](super::summary::Summary),
    /// apart from its revision.
    pub summary_changed: bool,
    /// The acting node's session, after Join and Claim.
    pub session: Option<SessionId>,
    /// True when a new swarm was made.
    pub created: bool,
    /// True when the swarm ended.
    pub over: bool,
    /// True when the swarm is to be forgotten.
    pub removed: bool,
    /// What a large swarm left behind, to be dropped outside any lock.
    pub retired: Option<Box<Roster>>,
    /// What became of a message to the CHAT of a livestream.
    pub chat: Option<ChatOutcome>,
    /// The same message, when it was taken. Who reads must find it in this step, at its position.
    pub message: Option<Box<AcceptedMessage>>,
    /// Authors of a CHAT that is over, to be dropped outside any lock.
    pub retired_authors: Option<Box<Authors>>,
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
    /// Moderators, mutes and bans.
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
        self.subject().0
    }

    /// The slot of the one member that it is about, if there is one.
    pub const fn member(&self) -> Option<MemberKey> {
        self.subject().1
    }

    const fn subject(&self) -> (EventKind, Option<MemberKey>) {
        match self {
            Self::Shared(event) => event.subject(),
            Self::Livestream(event) => event.subject(),
            Self::Group(event) => event.subject(),
        }
    }
}

impl SharedEvent {
    const fn subject(&self) -> (EventKind, Option<MemberKey>) {
        match self {
            Self::Joined { key, .. } | Self::Left { key, .. } | Self::MemberUpdated { key, .. } => {
                (EventKind::Membership, Some(*key))
            }
            Self::InterestChanged { key, .. } => (EventKind::Interest, Some(*key)),
            Self::BanChanged { .. } => (EventKind::Moderation, None),
            Self::AuthorityGranted { .. } => (EventKind::Authority, None),
        }
    }
}

impl LivestreamEvent {
    const fn subject(&self) -> (EventKind, Option<MemberKey>) {
        match self {
            Self::StateChanged { .. } | Self::Updated { .. } => (EventKind::Lifecycle, None),
            Self::BroadcasterJoined { .. } | Self::BroadcasterLost { .. } | Self::Transferred { .. } => {
                (EventKind::Broadcaster, None)
            }
            Self::ModeratorChanged { .. } | Self::MuteChanged { .. } => (EventKind::Moderation, None),
            Self::TopologySwitched { .. } => (EventKind::Topology, None),
            Self::PlacementChanged { key, .. } => (EventKind::Placement, Some(*key)),
        }
    }
}

impl GroupEvent {
    const fn subject(&self) -> (EventKind, Option<MemberKey>) {
        match self {
            Self::Ended { .. } | Self::Updated { .. } => (EventKind::Lifecycle, None),
            Self::OwnerChanged { .. } => (EventKind::Ownership, None),
            Self::MediaChanged { key, .. } => (EventKind::Media, Some(*key)),
            Self::ShareStarted { .. } | Self::ShareStopped { .. } => (EventKind::Share, None),
        }
    }
}

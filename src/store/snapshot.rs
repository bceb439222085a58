//! Plain data about swarms: taken while a shard is locked, and used after.
//!
//! Everything here is owned by whoever asked, so that the lock is held for the copies alone, and a
//! log that answers later, on another task, can answer the same. A [`Projection`] says what of a swarm is
//! copied: what is not asked for costs nothing.

use starling_core::channel::PerChannel;
use starling_core::chat::ChatOutcome;
use starling_core::event::{EndReason, LeaveReason};
use starling_core::group::{self, Group};
use starling_core::id::{Epoch, NodeId, SessionId, SwarmId};
use starling_core::interest::Interest;
use starling_core::key::BroadcasterKey;
use starling_core::livestream::{self, Livestream};
use starling_core::member::{MemberView, View};
use starling_core::stats::Unique;
use starling_core::topology::{Forwarder, TargetList, Topology};
use starling_core::{Applied, Rules, Swarm};

/// What is to be shown of a swarm as a command left it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// The swarm.
    pub swarm: bool,
    /// This member, if it is listed.
    pub member: Option<NodeId>,
    /// What that member must know after it joined: the length of its lease, and its targets. O(targets): at
    /// most the threshold of the star (1 000), the fan-out of the tree (64), or a group (256).
    pub joined: bool,
    /// Up to so many of those who are listed, as [`View::Basic`] shows them: 384 bytes of each at most.
    pub members: usize,
}

impl Projection {
    /// No more than what every outcome has.
    pub const NOTHING: Self = Self { swarm: false, member: None, joined: false, members: 0 };
    /// The swarm.
    pub const SWARM: Self = Self { swarm: true, ..Self::NOTHING };

    /// What either of two shows.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            swarm: self.swarm || other.swarm,
            member: self.member.or(other.member),
            joined: self.joined || other.joined,
            members: self.members.max(other.members),
        }
    }

    /// A member.
    pub const fn member(node: NodeId) -> Self {
        Self { member: Some(node), ..Self::NOTHING }
    }
}

/// What a command did, and what was to be shown of the swarm, at one revision.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Which swarm.
    pub id: SwarmId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The revision of the change; see [`Applied::revision`].
    pub revision: u64,
    /// True when a new swarm was made.
    pub created: bool,
    /// The acting node's session, after Join and Claim.
    pub session: Option<SessionId>,
    /// The swarm; see [`Projection::swarm`].
    pub swarm: Option<SwarmSnapshot>,
    /// The member, if it is listed; see [`Projection::member`].
    pub member: Option<MemberView>,
    /// The lease of the member, in milliseconds; see [`Projection::joined`].
    pub ttl_ms: Option<u32>,
    /// Whom the member forwards to; see [`Projection::joined`].
    pub targets: Option<TargetList>,
    /// The first of those who are listed; see [`Projection::members`].
    pub members: Vec<MemberView>,
    /// What became of a message to the CHAT: [`Accepted::of_chat`](crate::feed::Accepted::of_chat) says it as the feed of
    /// a single process does.
    pub chat: Option<ChatOutcome>,
}

impl Outcome {
    /// O(what is shown).
    pub(super) fn new(id: SwarmId, swarm: &Swarm, applied: &Applied, projection: Projection) -> Self {
        let joined = projection.member.filter(|_| projection.joined);
        Self {
            id,
            epoch: swarm.epoch(),
            revision: applied.revision,
            created: applied.created,
            session: applied.session,
            swarm: projection.swarm.then(|| SwarmSnapshot::new(id, swarm)),
            member: projection.member.and_then(|node| swarm.listed(node, View::Full)),
            ttl_ms: joined.and_then(|node| swarm.roster().find(node)).map(|member| member.lease.ttl_ms),
            targets: joined.and_then(|node| swarm.targets(Forwarder::Node(node))),
            members: match projection.members {
                0 => Vec::new(),
                limit => swarm.page(0, limit, usize::MAX, View::Basic).0,
            },
            chat: applied.chat,
        }
    }
}

/// A swarm at one revision.
#[derive(Clone, Debug)]
pub struct SwarmSnapshot {
    /// Which one.
    pub id: SwarmId,
    /// Its incarnation.
    pub epoch: Epoch,
    /// The revision.
    pub revision: u64,
    /// Opaque; at most 1 KiB.
    pub metadata: Box<[u8]>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_at: u64,
    /// When and why it ended, if it has.
    pub ended: Option<(u64, EndReason)>,
    /// How many nodes must stay out.
    pub banned: usize,
    /// What only one kind of swarm has.
    pub detail: SwarmDetail,
}

/// What only one kind of swarm has.
#[derive(Clone, Debug)]
pub enum SwarmDetail {
    /// Of a livestream.
    Livestream(LivestreamDetail),
    /// Of a group.
    Group(GroupDetail),
}

/// What only a livestream has.
#[derive(Clone, Debug)]
pub struct LivestreamDetail {
    /// Where it is in its life.
    pub state: livestream::State,
    /// Who has authority.
    pub broadcaster: NodeId,
    /// By which the broadcaster signs its updates, if it does.
    pub key: Option<BroadcasterKey>,
    /// Whether the broadcaster has a session.
    pub broadcaster_present: bool,
    /// How it behaves.
    pub config: livestream::Config,
    /// How many nodes watch, lurkers included.
    pub viewers: usize,
    /// The shape: star or tree.
    pub topology: Topology,
    /// Nodes that may moderate, without the broadcaster; at most 1 000.
    pub moderators: Box<[NodeId]>,
    /// How many nodes are kept from CHAT.
    pub muted: usize,
    /// When it first went on air, in milliseconds since the Unix epoch.
    pub started_at: Option<u64>,
}

/// What only a group has.
#[derive(Clone, Debug)]
pub struct GroupDetail {
    /// Who alone may end it and remove others.
    pub owner: Option<NodeId>,
    /// How it behaves.
    pub config: group::Config,
    /// How many take part, without those who only listen.
    pub participants: u32,
    /// How many only listen.
    pub listeners: u32,
    /// Who shares its screen.
    pub sharing: Option<NodeId>,
}

impl SwarmSnapshot {
    /// The most bytes that it takes on the wire.
    pub fn wire_bytes(&self) -> usize {
        // Numbers, times and the configuration; then each moderator.
        const REST: usize = 160;
        const MODERATOR: usize = 10;
        const KEY: usize = 3 + 32;
        let more = match &self.detail {
            SwarmDetail::Livestream(livestream) => {
                livestream.moderators.len() * MODERATOR + if livestream.key.is_some() { KEY } else { 0 }
            }
            SwarmDetail::Group(_) => 0,
        };
        REST + self.metadata.len() + more
    }

    /// O(moderators).
    pub(crate) fn new(id: SwarmId, swarm: &Swarm) -> Self {
        let summary = swarm.summary();
        Self {
            id,
            epoch: summary.epoch,
            revision: summary.revision,
            metadata: summary.metadata,
            created_at: summary.created_at,
            ended: summary.ended,
            banned: swarm.bans().len(),
            detail: match swarm.rules() {
                Rules::Livestream(livestream) => {
                    let present = swarm.broadcaster_session().is_some();
                    SwarmDetail::Livestream(LivestreamDetail::new(livestream, present))
                }
                Rules::Group(group) => SwarmDetail::Group(GroupDetail::new(group)),
            },
        }
    }
}

impl LivestreamDetail {
    fn new(livestream: &Livestream, broadcaster_present: bool) -> Self {
        Self {
            state: livestream.state(),
            broadcaster: livestream.broadcaster(),
            key: livestream.key(),
            broadcaster_present,
            config: livestream.config().clone(),
            viewers: livestream.viewer_count(),
            topology: livestream.topology(),
            moderators: livestream.moderators().iter().copied().collect(),
            muted: livestream.muted().len(),
            started_at: livestream.started_at(),
        }
    }
}

impl GroupDetail {
    fn new(group: &Group) -> Self {
        Self {
            owner: group.owner(),
            config: group.config().clone(),
            participants: group.participant_count(),
            listeners: group.listener_count(),
            sharing: group.sharing(),
        }
    }
}

/// What a swarm has counted, at one revision.
#[derive(Clone, Debug)]
pub struct StatsSnapshot {
    /// Its incarnation.
    pub epoch: Epoch,
    /// The revision.
    pub revision: u64,
    /// Sessions begun.
    pub joins: u64,
    /// Sessions ended, by reason, in the order of [`LeaveReason::ALL`].
    pub leaves: [u64; LeaveReason::ALL.len()],
    /// Members now.
    pub members: usize,
    /// The most members at one time.
    pub peak: u64,
    /// Nodes that were ever in.
    pub unique: UniqueCount,
    /// Members by channel and interest.
    pub interests: PerChannel<[u64; Interest::ALL.len()]>,
    /// Time in ACTIVE, in milliseconds.
    pub active_ms: u64,
    /// Livestreams: hops to the farthest viewer that peers serve.
    pub depth: u32,
    /// How often a node got another parent.
    pub reparentings: u64,
    /// How often a node said that a peer does not answer.
    pub peer_reports: u64,
}

/// How many nodes were ever in a swarm.
#[derive(Clone, Debug)]
pub enum UniqueCount {
    /// So many.
    Exact(u64),
    /// As many as the registers say: 4 KiB, evaluated outside of any lock.
    Estimate(Unique),
}

impl UniqueCount {
    /// The number. O(registers) for an estimate.
    pub fn get(&self) -> u64 {
        match self {
            Self::Exact(count) => *count,
            Self::Estimate(registers) => registers.count(),
        }
    }

    /// True when the number is not exact.
    pub const fn is_estimate(&self) -> bool {
        matches!(self, Self::Estimate(_))
    }
}

impl StatsSnapshot {
    /// At `now`, in milliseconds since the Unix epoch; of a swarm that has ended, at its end.
    pub(crate) fn new(swarm: &Swarm, now: u64) -> Self {
        let stats = swarm.stats();
        let depth = match swarm.rules() {
            Rules::Livestream(livestream) => livestream.depth(),
            Rules::Group(_) => 0,
        };
        // The time of the swarm may be ahead of this process's clock.
        let now = swarm.ended().map_or_else(|| now.max(swarm.now()), |(at, _)| at);
        Self {
            epoch: swarm.epoch(),
            revision: swarm.revision(),
            joins: stats.joins,
            leaves: stats.leaves,
            members: swarm.roster().len(),
            peak: stats.peak,
            unique: match &stats.unique {
                Unique::Exact(nodes) => UniqueCount::Exact(nodes.len() as u64),
                estimate @ Unique::Estimate(_) => UniqueCount::Estimate(estimate.clone()),
            },
            interests: stats.interests,
            active_ms: stats.active_time(now),
            depth,
            reparentings: stats.reparentings,
            peer_reports: stats.peer_reports,
        }
    }
}

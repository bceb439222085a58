//! Everything that can happen to a swarm, as plain data.
//!
//! A command carries all that it needs: resolved configuration, drawn ids, and
//! (beside it) the time. The same commands in the same order make the same swarm
//! on every pod.

use super::channel::ChannelSet;
use super::config::{GroupConfig, LivestreamConfig};
use super::id::{Epoch, NodeId, PodId, SessionId};
use super::interest::InterestChange;
use super::key::BroadcasterKey;
pub use super::request::By;
use super::request::RequestId;
use super::role::ViewerMode;

/// Make a livestream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateLivestream {
    /// The incarnation to be.
    pub epoch: Epoch,
    /// Who has authority.
    pub broadcaster: NodeId,
    /// Complete and valid.
    pub config: LivestreamConfig,
    /// Opaque; at most 1 KiB.
    pub metadata: Box<[u8]>,
    /// How long an ended livestream is kept, in milliseconds.
    pub retention_ms: u64,
}

/// Make a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateGroup {
    /// The incarnation to be.
    pub epoch: Epoch,
    /// Who owns it; `None` = the first participant.
    pub owner: Option<NodeId>,
    /// Complete and valid.
    pub config: GroupConfig,
    /// Opaque; at most 1 KiB.
    pub metadata: Box<[u8]>,
    /// How long an ended group is kept, in milliseconds.
    pub retention_ms: u64,
    /// How long an empty group lives, in milliseconds.
    pub empty_ms: u64,
}

/// Begin a session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Join {
    /// Who joins.
    pub node: NodeId,
    /// The session to be.
    pub session: SessionId,
    /// The client's name for the request.
    pub request: Option<RequestId>,
    /// How long a detached session lives, in milliseconds.
    pub ttl_ms: u32,
    /// Livestreams: how it watches; `None` = as before, else actively.
    pub mode: Option<ViewerMode>,
    /// Livestreams: whether it forwards; `None` = as before, else yes when it
    /// watches actively. A lurker never does.
    pub can_relay: Option<bool>,
    /// `None` = as before, else empty.
    pub endpoint: Option<Box<[u8]>>,
    /// `None` = as before, else empty.
    pub metadata: Option<Box<[u8]>>,
    /// On top of the defaults, or of what the node wanted before.
    pub interests: Vec<InterestChange>,
    /// Groups: whether it only listens; `None` = as before, else it does not.
    pub listens: Option<bool>,
}

impl Join {
    /// A Join in which the node says nothing of itself.
    pub const fn bare(node: NodeId, session: SessionId, ttl_ms: u32) -> Self {
        Self {
            node,
            session,
            request: None,
            ttl_ms,
            mode: None,
            can_relay: None,
            endpoint: None,
            metadata: None,
            interests: Vec::new(),
            listens: None,
        }
    }
}

/// What changes of a member; `None` = it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberUpdate {
    /// Opaque; at most 256 bytes.
    pub metadata: Option<Box<[u8]>>,
    /// Where peers reach it; at most 256 bytes.
    pub endpoint: Option<Box<[u8]>>,
    /// Livestreams: whether it forwards. A lurker never does.
    pub can_relay: Option<bool>,
}

/// What changes of a swarm; `None` = it stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SwarmUpdate {
    /// Opaque; at most 1 KiB.
    pub metadata: Option<Box<[u8]>>,
    /// What one subscriber is sent at most, in bytes per second.
    pub subscriber_bytes_per_second: Option<u64>,
    /// How often a keyframe is wanted, in milliseconds.
    pub keyframe_interval_ms: Option<u32>,
    /// How far a subscriber may fall behind, in milliseconds.
    pub max_lag_ms: Option<u32>,
    /// The most viewers or participants. Whoever is in stays.
    pub capacity: Option<u32>,
    /// Livestreams: how long the broadcaster may be away, in milliseconds; 0 = for ever.
    pub broadcaster_timeout_ms: Option<u64>,
}

/// Everything that can happen to a swarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Make a livestream, or find the one that lives under this id.
    CreateLivestream(CreateLivestream),
    /// Make a livestream whose broadcaster signs its updates with this key, or find it.
    CreateSignedLivestream(CreateLivestream, BroadcasterKey),
    /// Make a group, or find the one that lives under this id.
    CreateGroup(CreateGroup),
    /// What both kinds know.
    Shared(SharedCommand),
    /// What livestreams alone know.
    Livestream(LivestreamCommand),
    /// What groups alone know.
    Group(GroupCommand),
}

/// What can happen to swarms of both kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SharedCommand {
    /// Begin a session.
    Join(Join),
    /// End the acting node's session.
    Leave(By),
    /// Renew the lease of a detached session.
    Touch(NodeId, SessionId),
    /// The session has its first stream on this pod.
    Attach(NodeId, SessionId, PodId),
    /// The session has lost its last stream on this pod.
    Detach(NodeId, SessionId, PodId),
    /// This pod is gone, and all its streams.
    PodGone(PodId),
    /// Carry out what is due.
    Expire,
    /// Forget an ended swarm before its time, to make room.
    Forget,
    /// Change what the acting node wants.
    SetInterest(By, Vec<InterestChange>),
    /// Change what the acting node says of itself.
    UpdateMember(By, MemberUpdate),
    /// Change the swarm's metadata or configuration.
    UpdateSwarm(By, SwarmUpdate),
    /// End the swarm.
    End(By),
    /// End another node's session.
    Remove(By, NodeId),
    /// End another node's session, if it has one, and keep the node out for a time.
    Ban {
        /// Who.
        by: By,
        /// Whom.
        node: NodeId,
        /// For how long from now on, in milliseconds.
        ttl_ms: u32,
    },
    /// Let a node back in.
    Unban(By, NodeId),
    /// A peer does not answer.
    ReportPeer(By, NodeId),
    /// Take the right to publish on these channels.
    Claim {
        /// Who.
        by: By,
        /// On what; not empty.
        channels: ChannelSet,
        /// The broadcaster's session to be, if it has none.
        session: SessionId,
        /// The lease of that session, in milliseconds.
        ttl_ms: u32,
        /// Where it is asked: the home of the term. Of a command in a log whatever stands here gives way to the pod
        /// that it came from, see [`Command::on_pod`].
        pod: PodId,
    },
    /// Take the right to publish on these channels where nobody holds it.
    Acquire {
        /// Who.
        by: By,
        /// On what; not empty.
        channels: ChannelSet,
        /// The broadcaster's session to be, if it has none.
        session: SessionId,
        /// The lease of that session, in milliseconds.
        ttl_ms: u32,
        /// Where it is asked: the home of the term. Of a command in a log whatever stands here gives way to the pod
        /// that it came from, see [`Command::on_pod`].
        pod: PodId,
    },
}

/// What can happen to livestreams alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LivestreamCommand {
    /// Begin.
    Start(By),
    /// Hold.
    Pause(By),
    /// Go on.
    Resume(By),
    /// Let a node moderate.
    AddModerator(By, NodeId),
    /// No longer let a node moderate.
    RemoveModerator(By, NodeId),
    /// Keep a node from CHAT.
    Mute(By, NodeId),
    /// Let a node back to CHAT.
    Unmute(By, NodeId),
    /// Hand authority to an active viewer, of a livestream without a key.
    Transfer(By, NodeId),
    /// Hand authority to an active viewer, who signs its updates with this key.
    TransferSigned(By, NodeId, BroadcasterKey),
    /// Write to the CHAT: where pods are several, and have one order of it. Whether it was taken says
    /// [`Applied::chat`](super::event::Applied::chat); refused as a command is only who may not write at all.
    Chat {
        /// Who; the request is not looked at.
        by: By,
        /// The author's number of it; 0 = count for the author.
        publisher_sequence: u64,
        /// Opaque.
        content: Box<[u8]>,
    },
}

/// What can happen to groups alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupCommand {
    /// Switch microphone and camera; `None` = as it is.
    SetMedia {
        /// Who.
        by: By,
        /// The microphone.
        audio: Option<bool>,
        /// The camera.
        video: Option<bool>,
    },
    /// Take the screen share.
    StartShare(By),
    /// Release the screen share.
    StopShare(By),
}

/// What can happen to all pods, beside what happens to swarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerCommand {
    /// Refuse tokens of a node.
    RevokeTokens(RevokeTokens),
}

/// Refuse tokens of a node. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevokeTokens {
    /// Whose.
    pub node: NodeId,
    /// Those issued before this time.
    pub issued_before: u64,
    /// When none of them can be valid any more.
    pub forget_at: u64,
}

from_parts!(ServerCommand: RevokeTokens(RevokeTokens));
from_parts!(Command: Shared(SharedCommand), Livestream(LivestreamCommand), Group(GroupCommand));

impl Command {
    /// The node that acts; `None` when nobody does, as when a time has come.
    pub fn actor(&self) -> Option<NodeId> {
        match self {
            Self::CreateLivestream(create) | Self::CreateSignedLivestream(create, _) => Some(create.broadcaster),
            Self::CreateGroup(create) => create.owner,
            Self::Shared(SharedCommand::Join(join)) => Some(join.node),
            Self::Shared(
                SharedCommand::Touch(node, _) | SharedCommand::Attach(node, ..) | SharedCommand::Detach(node, ..),
            ) => Some(*node),
            Self::Shared(_) | Self::Livestream(_) | Self::Group(_) => self.by().map(|by| by.node),
        }
    }

    /// The same command, as asked on this pod.
    #[must_use]
    pub fn on_pod(mut self, asked_on: PodId) -> Self {
        if let Self::Shared(SharedCommand::Claim { pod, .. } | SharedCommand::Acquire { pod, .. }) = &mut self {
            *pod = asked_on;
        }
        self
    }

    /// Who acts, of the commands that name the actor's session and the request.
    pub const fn by(&self) -> Option<&By> {
        match self {
            Self::CreateLivestream(_) | Self::CreateSignedLivestream(..) | Self::CreateGroup(_) => None,
            Self::Shared(command) => command.by(),
            Self::Livestream(command) => Some(command.by()),
            Self::Group(command) => Some(command.by()),
        }
    }
}

impl SharedCommand {
    const fn by(&self) -> Option<&By> {
        match self {
            Self::Leave(by)
            | Self::SetInterest(by, _)
            | Self::UpdateMember(by, _)
            | Self::UpdateSwarm(by, _)
            | Self::End(by)
            | Self::Remove(by, _)
            | Self::Ban { by, .. }
            | Self::Unban(by, _)
            | Self::ReportPeer(by, _)
            | Self::Claim { by, .. }
            | Self::Acquire { by, .. } => Some(by),
            Self::Join(_)
            | Self::Touch(..)
            | Self::Attach(..)
            | Self::Detach(..)
            | Self::PodGone(_)
            | Self::Expire
            | Self::Forget => None,
        }
    }
}

impl LivestreamCommand {
    const fn by(&self) -> &By {
        match self {
            Self::Start(by)
            | Self::Pause(by)
            | Self::Resume(by)
            | Self::AddModerator(by, _)
            | Self::RemoveModerator(by, _)
            | Self::Mute(by, _)
            | Self::Unmute(by, _)
            | Self::Transfer(by, _)
            | Self::TransferSigned(by, ..)
            | Self::Chat { by, .. } => by,
        }
    }
}

impl GroupCommand {
    const fn by(&self) -> &By {
        match self {
            Self::SetMedia { by, .. } | Self::StartShare(by) | Self::StopShare(by) => by,
        }
    }
}

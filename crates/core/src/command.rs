//! Everything that can happen to a swarm, as plain data.
//!
//! A command carries all that it needs: resolved configuration, drawn ids, and
//! (beside it) the time. The same commands in the same order make the same swarm
//! on every pod.

use super::group;
use super::id::{Epoch, NodeId, PodId, SessionId};
use super::interest::{ChannelSet, InterestChange};
use super::livestream;
use super::member::ViewerMode;
use super::request::RequestId;

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct By {
    /// The acting node.
    pub node: NodeId,
    /// Its session, when it says so; must be its current one then.
    pub session: Option<SessionId>,
    /// The client's name for the request, if it may repeat it.
    pub request: Option<RequestId>,
}

/// Make a livestream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CreateLivestream {
    /// The incarnation to be.
    pub epoch: Epoch,
    /// Who has authority.
    pub broadcaster: NodeId,
    /// Complete and valid.
    pub config: livestream::Config,
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
    pub config: group::Config,
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
    /// Make a group, or find the one that lives under this id.
    CreateGroup(CreateGroup),
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
    },
    /// Livestreams: begin.
    Start(By),
    /// Livestreams: hold.
    Pause(By),
    /// Livestreams: go on.
    Resume(By),
    /// Livestreams: let a node moderate.
    AddModerator(By, NodeId),
    /// Livestreams: no longer let a node moderate.
    RemoveModerator(By, NodeId),
    /// Livestreams: keep a node from CHAT.
    Mute(By, NodeId),
    /// Livestreams: let a node back to CHAT.
    Unmute(By, NodeId),
    /// Livestreams: hand authority to an active viewer.
    Transfer(By, NodeId),
    /// Groups: switch microphone and camera; `None` = as it is.
    SetMedia {
        /// Who.
        by: By,
        /// The microphone.
        audio: Option<bool>,
        /// The camera.
        video: Option<bool>,
    },
    /// Groups: take the screen share.
    StartShare(By),
    /// Groups: release the screen share.
    StopShare(By),
}

impl Command {
    /// The node that acts; `None` when nobody does, as when a time has come.
    pub const fn actor(&self) -> Option<NodeId> {
        match self {
            Self::CreateLivestream(create) => Some(create.broadcaster),
            Self::CreateGroup(create) => create.owner,
            Self::Join(join) => Some(join.node),
            Self::Touch(node, _) | Self::Attach(node, ..) | Self::Detach(node, ..) => Some(*node),
            Self::PodGone(_) | Self::Expire => None,
            Self::Leave(by)
            | Self::SetInterest(by, _)
            | Self::UpdateMember(by, _)
            | Self::UpdateSwarm(by, _)
            | Self::End(by)
            | Self::Remove(by, _)
            | Self::ReportPeer(by, _)
            | Self::Claim { by, .. }
            | Self::Acquire { by, .. }
            | Self::Start(by)
            | Self::Pause(by)
            | Self::Resume(by)
            | Self::AddModerator(by, _)
            | Self::RemoveModerator(by, _)
            | Self::Mute(by, _)
            | Self::Unmute(by, _)
            | Self::Transfer(by, _)
            | Self::SetMedia { by, .. }
            | Self::StartShare(by)
            | Self::StopShare(by) => Some(by.node),
        }
    }
}

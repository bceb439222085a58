//! Why a command was refused. A refused command changes nothing.

use super::id::{NodeId, SessionId};
use super::state::State;

/// Why a command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No swarm lives under this id, or one of the other kind than the command is for:
    /// ids of one kind name nothing of the other.
    #[error("there is no such swarm")]
    NoSuchSwarm,
    /// The id lives with another configuration.
    #[error("the id is taken by a swarm with another configuration")]
    Exists,
    /// The request's name was used for another request.
    #[error("the request_id was used for another request")]
    RequestReused,
    /// The swarm is over.
    #[error("the swarm has ended")]
    Ended,
    /// The acting node is not a member.
    #[error("node {0} is not a member")]
    NotAMember(NodeId),
    /// The given session is not the acting node's current one.
    #[error("session {given} of node {node} is not current")]
    SessionReplaced {
        /// The acting node.
        node: NodeId,
        /// The session that it named.
        given: SessionId,
    },
    /// The acting node is not a member, and may not be one for a time.
    #[error("node {node} is banned")]
    Banned {
        /// The acting node.
        node: NodeId,
        /// When it may come back, in milliseconds since the Unix epoch.
        until: u64,
    },
    /// The node that the action is about is not a member.
    #[error("node {0} is not a member")]
    NoSuchMember(NodeId),
    /// The acting node is not the broadcaster.
    #[error("node {node} is not the broadcaster")]
    NotBroadcaster {
        /// The acting node.
        node: NodeId,
    },
    /// The acting node is neither a moderator nor the broadcaster.
    #[error("node {node} is not a moderator")]
    NotModerator {
        /// The acting node.
        node: NodeId,
    },
    /// The acting node does not own the group.
    #[error("node {node} does not own the group")]
    NotOwner {
        /// The acting node.
        node: NodeId,
    },
    /// The state does not allow it.
    #[error("not possible while the livestream is {0}")]
    WrongState(State),
    /// The broadcaster cannot be a viewer.
    #[error("the broadcaster cannot join as a viewer")]
    BroadcasterCannotView,
    /// A listener sends nothing.
    #[error("node {0} only listens")]
    OnlyListens(NodeId),
    /// A lurker forwards nothing.
    #[error("a lurker cannot relay")]
    LurkerCannotRelay,
    /// The action is about viewers, and its object is the broadcaster.
    #[error("the broadcaster cannot be the object of this action")]
    TargetIsBroadcaster,
    /// The owner of a group would ban itself.
    #[error("the owner cannot be the object of this action")]
    TargetIsOwner,
    /// Only an active viewer can take a broadcast over.
    #[error("node {0} is not an active viewer")]
    NotActiveViewer(NodeId),
    /// The broadcasters of this livestream sign their updates: the next one's key must be named.
    #[error("the livestream is signed: the key of the next broadcaster must be given")]
    KeyRequired,
    /// The broadcasters of this livestream do not sign their updates.
    #[error("the livestream was created without a key: it takes none")]
    KeyNotExpected,
    /// Somebody else shares the screen.
    #[error("node {holder} holds the screen share")]
    ScreenShareHeld {
        /// Who shares it.
        holder: NodeId,
    },
    /// The channel takes nothing from this node now.
    #[error("the channel is disabled")]
    ChannelDisabled,
    /// The swarm is full.
    #[error("the swarm is full ({max} members)")]
    Full {
        /// Its capacity.
        max: u32,
    },
    /// A list of the swarm is full.
    #[error("at most {max} {what}")]
    Quota {
        /// What there is too much of.
        what: &'static str,
        /// How much of it is allowed.
        max: u32,
    },
}

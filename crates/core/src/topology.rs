//! Who forwards to whom.

pub mod relay_tree;

use super::channel::{Channel, PerChannel};
use super::id::{NodeId, SessionId};
use super::interest::Interest;

pub use relay_tree::RelayTree;

/// The shape of a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topology {
    /// The broadcaster forwards to every viewer.
    Star,
    /// Relays forward to relays.
    Tree,
    /// Everybody forwards to everybody.
    Mesh,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Placement {
    /// Whom it receives from; `None` when it is served by Starling alone.
    pub parent: Option<NodeId>,
    /// Whom to turn to when the parent does not answer.
    pub backup: Option<NodeId>,
    /// Hops from the broadcaster, from 1; 0 when edge-served.
    pub depth: u32,
    /// Whether it forwards.
    pub can_relay: bool,
}

impl Placement {
    /// True when no peer serves it: it subscribes to Starling.
    pub const fn edge_served(&self) -> bool {
        self.parent.is_none()
    }
}

/// Who forwards to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Forwarder {
    /// Whoever is the broadcaster of a livestream, with a session or without.
    Broadcaster,
    /// A member.
    Node(NodeId),
}

impl From<Option<NodeId>> for Forwarder {
    /// As requests name it: no node is the broadcaster.
    fn from(node: Option<NodeId>) -> Self {
        node.map_or(Self::Broadcaster, Self::Node)
    }
}

/// A node that another one must forward to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// The node.
    pub node: NodeId,
    /// Its session.
    pub session: SessionId,
    /// Where peers reach it, in its own words.
    pub endpoint: Box<[u8]>,
    /// Whether it forwards.
    pub can_relay: bool,
    /// The interest per channel.
    pub interests: PerChannel<Interest>,
}

impl Target {
    /// The interests of a target, given whether others hang on it: a node that
    /// feeds children needs the media even when it does not watch itself.
    pub fn interests(own: PerChannel<Interest>, has_children: bool) -> PerChannel<Interest> {
        let mut interests = own;
        if has_children {
            for channel in [Channel::Visual, Channel::Audio, Channel::Screen] {
                let level = &mut interests[channel];
                *level = (*level).max(Interest::High);
            }
        }
        interests
    }
}

/// A node that another one receives from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The node.
    pub node: NodeId,
    /// Its session; `None` for a broadcaster that has none.
    pub session: Option<SessionId>,
    /// Where peers reach it, in its own words.
    pub endpoint: Box<[u8]>,
}

/// Everything that a node needs to know to forward and to receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetList {
    /// The shape of the swarm.
    pub topology: Topology,
    /// The node's own place; `None` for the broadcaster and in groups.
    pub placement: Option<Placement>,
    /// Whom it receives from: the parent of its placement.
    pub parent: Option<Peer>,
    /// Whom it turns to when that fails: the backup of its placement.
    pub backup: Option<Peer>,
    /// Whom it forwards to.
    pub targets: Vec<Target>,
}

//! Who must be silent, and who must stay out.

use std::ops::Bound;

use super::{Service, ServiceError};
use starling_core::id::{Epoch, NodeId, SwarmId};
use starling_core::{Rejection, Rules};

/// A page of the nodes that are kept from the CHAT of a livestream.
#[derive(Debug)]
pub struct MutedPage {
    /// In their order.
    pub nodes: Vec<NodeId>,
    /// The node that the next page begins with, if there is one.
    pub next: Option<NodeId>,
    /// The incarnation of the livestream.
    pub epoch: Epoch,
    /// The revision that they are seen at.
    pub revision: u64,
}

/// A page of the nodes that must stay out of a swarm.
#[derive(Debug)]
pub struct BanPage {
    /// In their order, and until when, in milliseconds since the Unix epoch.
    pub bans: Vec<(NodeId, u64)>,
    /// The node that the next page begins with, if there is one.
    pub next: Option<NodeId>,
    /// The incarnation of the swarm.
    pub epoch: Epoch,
    /// The revision that they are seen at.
    pub revision: u64,
}

impl Service {
    /// Up to `limit` nodes that are kept from the CHAT of a livestream, from `from` on; `None` = from
    /// the first one. O(limit).
    ///
    /// # Errors
    ///
    /// When there is no such livestream, or it has ended.
    pub fn list_muted(&self, id: SwarmId, from: Option<NodeId>, limit: usize) -> Result<MutedPage, ServiceError> {
        self.read(id, |swarm| {
            let Rules::Livestream(livestream) = swarm.rules() else { return Err(Rejection::NoSuchSwarm.into()) };
            if swarm.is_over() {
                return Err(Rejection::Ended.into());
            }
            let start = from.map_or(Bound::Unbounded, Bound::Included);
            let mut rest = livestream.muted().range((start, Bound::Unbounded)).copied();
            let nodes = rest.by_ref().take(limit).collect();
            Ok(MutedPage { nodes, next: rest.next(), epoch: swarm.epoch(), revision: swarm.revision() })
        })?
    }

    /// Up to `limit` nodes that must stay out of a swarm, from `from` on; `None` = from the first one. O(limit).
    ///
    /// # Errors
    ///
    /// When there is no such swarm, or it has ended.
    pub fn list_bans(&self, id: SwarmId, from: Option<NodeId>, limit: usize) -> Result<BanPage, ServiceError> {
        let now = self.log.now(id);
        self.read(id, |swarm| {
            if swarm.is_over() {
                return Err(Rejection::Ended.into());
            }
            let mut rest = swarm.bans().iter_from(from).filter(|(_, end)| *end > now);
            let bans = rest.by_ref().take(limit).collect();
            let next = rest.next().map(|(node, _)| node);
            Ok(BanPage { bans, next, epoch: swarm.epoch(), revision: swarm.revision() })
        })?
    }

    /// Why a node that is in no session of a swarm may not act in it.
    pub fn absence(&self, id: SwarmId, node: NodeId) -> ServiceError {
        let now = self.log.now(id);
        self.read(id, |swarm| swarm.absence(node, now)).map_or_else(|missing| missing, Into::into)
    }
}

//! A stream and the member that it belongs to.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Refusal, Service};
use crate::cluster::Door;
use crate::store::entry::Tie;
use crate::swarm::event::LeaveReason;
use crate::swarm::id::{NodeId, SessionId, SwarmId};

/// Binds a stream to a member while it lives.
///
/// A stream that named its session keeps it alive, and ends with it. One that
/// named the node alone follows it from session to session, until it is gone.
#[derive(Debug)]
pub struct Presence {
    door: Door,
    id: SwarmId,
    node: NodeId,
    session: Option<SessionId>,
    tie: Arc<Tie>,
}

impl Service {
    /// Ties a stream to a session, which lives at least as long.
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Presence, Refusal> {
        let tie = self.door.attach(id, node, session).await?;
        Ok(Presence { door: self.door.clone(), id, node, session: Some(session), tie })
    }

    /// Lets a stream follow a node; `None` when that is no member.
    pub fn follow(&self, id: SwarmId, node: NodeId) -> Option<Presence> {
        let tie = self.door.store().watchers(id, |entry| entry.follow(node)).flatten()?;
        Some(Presence { door: self.door.clone(), id, node, session: None, tie })
    }
}

impl Presence {
    /// The session that it keeps alive.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Why the stream must end, if it must.
    pub fn ended(&self) -> Option<LeaveReason> {
        self.tie.ended()
    }

    /// The bell that rings when it must.
    pub fn bell(&self) -> Arc<Notify> {
        self.tie.bell()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        match self.session {
            Some(session) => self.door.detach(self.id, self.node, session),
            None => {
                self.door.store().watchers(self.id, |entry| entry.unfollow(self.node, &self.tie));
            }
        }
    }
}

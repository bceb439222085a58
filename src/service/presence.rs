//! A stream that keeps a session alive.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Refusal, Service};
use crate::cluster::Door;
use crate::store::entry::Tie;
use crate::swarm::event::LeaveReason;
use crate::swarm::id::{NodeId, SessionId, SwarmId};

/// Keeps a session attached while it lives; dropping it is one stream less.
#[derive(Debug)]
pub struct Presence {
    door: Door,
    id: SwarmId,
    node: NodeId,
    session: SessionId,
    tie: Arc<Tie>,
}

impl Service {
    /// Ties a stream to a session, which lives at least as long.
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Presence, Refusal> {
        let tie = self.door.attach(id, node, session).await?;
        Ok(Presence { door: self.door.clone(), id, node, session, tie })
    }
}

impl Presence {
    /// The session.
    pub const fn session(&self) -> SessionId {
        self.session
    }

    /// Why the session ended, if it has.
    pub fn ended(&self) -> Option<LeaveReason> {
        self.tie.ended()
    }

    /// The bell that rings when the session ends.
    pub fn bell(&self) -> Arc<Notify> {
        self.tie.bell()
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.door.detach(self.id, self.node, self.session);
    }
}

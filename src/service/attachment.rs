//! A stream and the member that it belongs to.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Service, ServiceError};
use crate::cluster::CommandLog;
use crate::store::entry::SessionEnd;
use starling_core::event::LeaveReason;
use starling_core::id::{NodeId, SessionId, SwarmId};

/// Binds a stream to a member while it lives.
///
/// A stream that named its session keeps it alive, and ends with it. One that
/// named the node alone follows it from session to session, until it is gone.
#[derive(Debug)]
pub struct Attachment {
    log: CommandLog,
    id: SwarmId,
    node: NodeId,
    session: Option<SessionId>,
    end: Arc<SessionEnd>,
}

impl Service {
    /// Binds a stream to a session, which lives at least as long.
    ///
    /// # Errors
    ///
    /// When the session is not a current one, or the swarm has ended or does not exist.
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Attachment, ServiceError> {
        let end = self.log.attach(id, node, session).await?;
        Ok(Attachment { log: self.log.clone(), id, node, session: Some(session), end })
    }

    /// Lets a stream follow a node; `None` when that is no member.
    pub fn follow(&self, id: SwarmId, node: NodeId) -> Option<Attachment> {
        let end = self.log.store().watchers(id, |entry| entry.follow(node)).flatten()?;
        Some(Attachment { log: self.log.clone(), id, node, session: None, end })
    }
}

impl Attachment {
    /// The session that it keeps alive.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Why the stream must end, if it must.
    pub fn ended(&self) -> Option<LeaveReason> {
        self.end.ended()
    }

    /// Notified when it must end.
    pub fn changed(&self) -> Arc<Notify> {
        self.end.changed()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        match self.session {
            Some(session) => self.log.detach(self.id, self.node, session),
            None => {
                self.log.store().watchers(self.id, |entry| entry.unfollow(self.node, &self.end));
            }
        }
    }
}

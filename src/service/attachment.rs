//! A stream and the member that it belongs to.

use std::sync::Arc;

use tokio::sync::Notify;

use super::{Service, ServiceError};
use crate::cluster::{CommandLog, PartitionGoodbyes, SessionStream};
use crate::store::entry::SessionEnd;
use starling_core::event::LeaveReason;
use starling_core::id::{NodeId, SessionId, SwarmId};

/// Binds a stream to a member while it lives.
///
/// A stream that named its session keeps it alive, and ends with it. One that
/// named the node alone follows it from session to session, until it is gone.
#[derive(Debug)]
pub struct Attachment(Bound);

#[derive(Debug)]
enum Bound {
    Session(SessionStream),
    Node(FollowedNode),
}

#[derive(Debug)]
struct FollowedNode {
    log: CommandLog,
    id: SwarmId,
    node: NodeId,
    end: Arc<SessionEnd>,
}

impl Service {
    /// Binds a stream to a session, which lives at least as long.
    ///
    /// # Errors
    ///
    /// When the session is not a current one, or the swarm has ended or does not exist.
    pub async fn attach(&self, id: SwarmId, node: NodeId, session: SessionId) -> Result<Attachment, ServiceError> {
        Ok(Attachment(Bound::Session(self.log.attach(id, node, session).await?)))
    }

    /// Lets a stream follow a node; `None` when that is no member.
    pub fn follow(&self, id: SwarmId, node: NodeId) -> Option<Attachment> {
        let end = self.log.store().watchers(id, |entry| entry.follow(node)).flatten()?;
        Some(Attachment(Bound::Node(FollowedNode { log: self.log.clone(), id, node, end })))
    }

    /// When streams about a swarm, or about all of them, have to end, because this server does not follow the log any
    /// more; `None` = never, in one process.
    pub fn goodbyes(&self, of: Option<SwarmId>) -> Option<PartitionGoodbyes> {
        self.log.cluster().map(|log| log.goodbyes(of))
    }
}

impl Attachment {
    /// The session that it keeps alive.
    pub const fn session(&self) -> Option<SessionId> {
        match &self.0 {
            Bound::Session(stream) => Some(stream.session()),
            Bound::Node(_) => None,
        }
    }

    const fn end(&self) -> &Arc<SessionEnd> {
        match &self.0 {
            Bound::Session(stream) => stream.end(),
            Bound::Node(followed) => &followed.end,
        }
    }

    /// Why the stream must end, if it must.
    pub fn ended(&self) -> Option<LeaveReason> {
        self.end().ended()
    }

    /// Notified when it must end.
    pub fn changed(&self) -> Arc<Notify> {
        self.end().changed()
    }
}

impl Drop for FollowedNode {
    fn drop(&mut self) {
        self.log.store().watchers(self.id, |entry| entry.unfollow(self.node, &self.end));
    }
}

//! Answers that are not given too early: see [`crate::service::settled`].

use tonic::Status;

use super::Edge;
use super::status::{refused, unpublished};
use crate::feed::{Accepted, Draft};
use crate::service::attachment::Attachment;
use crate::service::publish::PublishHandle;
use crate::service::{Service, ServiceError};
use starling_core::channel::ChannelSet;
use starling_core::command::By;
use starling_core::id::{Epoch, NodeId, SessionId, SwarmId};

impl Edge {
    /// Looks at a swarm.
    pub(super) async fn look<T>(
        &self,
        id: SwarmId,
        look: impl Fn(&Service) -> Result<T, ServiceError> + Send,
    ) -> Result<T, Status> {
        self.service.settled(id, look).await.map_err(refused(id.kind))
    }

    /// Waits until a refusal that may be early is none, and true when it was asked for again; false when it is final.
    async fn catches_up(&self, id: SwarmId, is_early: bool) -> Result<bool, Status> {
        if is_early {
            self.service.catch_up(id).await.map_err(|fault| refused(id.kind)(fault.into()))?;
        }
        Ok(is_early)
    }

    /// Renews the lease of a session.
    pub(super) async fn renew_lease_of(
        &self,
        id: SwarmId,
        node: NodeId,
        session: Option<SessionId>,
    ) -> Result<(u32, Epoch, u64), Status> {
        match self.service.renew_lease(id, node, session).await {
            Err(refusal) if self.catches_up(id, self.service.is_early(&refusal)).await? => {
                self.service.renew_lease(id, node, session).await.map_err(refused(id.kind))
            }
            answer => answer.map_err(refused(id.kind)),
        }
    }

    /// Publishes one update.
    pub(super) async fn publish_one(
        &self,
        id: SwarmId,
        by: &By,
        term: Option<u64>,
        draft: &Draft,
    ) -> Result<Accepted, Status> {
        match self.service.publish_one(id, by, term, draft).await {
            Err(refusal) if self.catches_up(id, self.service.is_early(&refusal)).await? => {
                self.service.publish_one(id, by, term, draft).await.map_err(unpublished(id.kind))
            }
            answer => answer.map_err(unpublished(id.kind)),
        }
    }

    /// Opens a publish stream.
    pub(super) async fn publish(
        &self,
        id: SwarmId,
        by: By,
        channels: ChannelSet,
        layers: u32,
    ) -> Result<(PublishHandle, Attachment), Status> {
        match self.service.publish(id, by.clone(), channels, layers).await {
            Err(refusal) if self.catches_up(id, self.service.is_early(&refusal)).await? => {
                self.service.publish(id, by, channels, layers).await.map_err(refused(id.kind))
            }
            answer => answer.map_err(refused(id.kind)),
        }
    }

    /// Lets a stream follow a node; `None` when that is no member.
    pub(super) async fn follow(&self, id: SwarmId, node: NodeId) -> Result<Option<Attachment>, Status> {
        let follow = |service: &Service| service.follow(id, node).ok_or_else(|| service.absence(id, node));
        match self.service.settled(id, follow).await {
            Ok(attachment) => Ok(Some(attachment)),
            Err(fault @ ServiceError::Log(_)) => Err(refused(id.kind)(fault)),
            Err(_) => Ok(None),
        }
    }
}

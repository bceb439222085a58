//! Answers that are not given too early: see [`crate::service::settled`].

use tonic::Status;

use super::Edge;
use super::fields::{Parsed, invalid};
use super::status::{refused, unpublished};
use crate::feed::{Accepted, Draft};
use crate::pb::swarm::v1 as pb;
use crate::service::attachment::Attachment;
use crate::service::publish::PublishHandle;
use crate::service::settled::SeenRevision;
use crate::service::watch::{CensusWatch, EventSelection, EventWatch, SetPosition};
use crate::service::{Service, ServiceError};
use starling_core::channel::ChannelSet;
use starling_core::command::By;
use starling_core::id::{Epoch, MAX_DRAWN_ID, NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::member::View;

/// What an answer must not be behind of.
pub(super) fn seen(at_least: Option<pb::SeenRevision>) -> Parsed<Option<SeenRevision>> {
    let pb::SeenRevision { epoch, revision } = at_least.unwrap_or_default();
    match (Epoch::new(epoch), revision) {
        (None, 0) => Ok(None),
        (None, _) => invalid("at_least.epoch", "must be given with revision"),
        (Some(_), _) if epoch > MAX_DRAWN_ID => invalid("at_least.epoch", format!("must be at most {MAX_DRAWN_ID}")),
        (Some(_), 0) => invalid("at_least.revision", "must be given with epoch"),
        (Some(epoch), _) => Ok(Some(SeenRevision { epoch, revision })),
    }
}

impl Edge {
    /// Looks at a swarm.
    pub(super) async fn look<T>(
        &self,
        id: SwarmId,
        look: impl Fn(&Service) -> Result<T, ServiceError> + Send,
    ) -> Result<T, Status> {
        self.service.settled(id, look).await.map_err(refused(id.kind))
    }

    /// The same, once what the client has seen is here.
    pub(super) async fn look_since<T>(
        &self,
        id: SwarmId,
        seen: Option<SeenRevision>,
        look: impl Fn(&Service) -> Result<T, ServiceError> + Send,
    ) -> Result<T, Status> {
        if let Some(seen) = seen {
            self.service.reach(id, seen).await.map_err(|fault| refused(id.kind)(fault.into()))?;
        }
        self.look(id, look).await
    }

    /// Watches the events of a swarm, once the position is here from which the client goes on.
    pub(super) async fn watch_events(
        &self,
        id: SwarmId,
        selection: EventSelection,
        resume: Option<(u64, u64)>,
        view: View,
    ) -> Result<EventWatch, Status> {
        let position = resume.and_then(|(epoch, revision)| Some(SeenRevision { epoch: Epoch::new(epoch)?, revision }));
        if let Some(position) = position {
            self.service.reach_position(id, position).await.map_err(|fault| refused(id.kind)(fault.into()))?;
        }
        self.look(id, |service| service.watch_events(id, selection, resume, self.settings.list_page, view)).await
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

    /// The incarnation of the set of swarms, and how many shards it has.
    pub(super) async fn set(&self, kind: SwarmKind) -> Result<(Epoch, usize), Status> {
        self.service.set().await.map_err(|fault| refused(kind)(fault.into()))
    }

    /// Watches the set of swarms, once what the client has seen of it is here.
    pub(super) async fn watch_census(
        &self,
        kind: SwarmKind,
        epoch: Epoch,
        resume: Option<&SetPosition>,
    ) -> Result<CensusWatch, Status> {
        if let Some(seen) = resume.filter(|seen| seen.epoch == epoch.get()) {
            self.service.reach_set(kind, seen).await.map_err(|fault| refused(kind)(fault.into()))?;
        }
        Ok(self.service.watch_census(kind, epoch, resume))
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

//! LivestreamService.

use tonic::{Request, Response, Status, Streaming};

use super::convert::livestream_requests::NewLivestream;
use super::convert::{self, Action, livestream as wire};
use super::fields::{self, Invalid};
use super::page_token::{self, List, PageToken};
use super::publish::{self, Publishing};
use super::set_position;
use super::status::{refused, unpublished, wrong_kind};
use super::stream::{self, Messages};
use super::subscribe::{self, NoMessages};
use super::watch::{LivestreamCensus, LivestreamEvents, LivestreamTargets};
use super::{Answer, Edge};
use crate::pb::livestream::v1 as pb;
use crate::pb::livestream::v1::livestream_service_server::LivestreamService;
use crate::swarm::id::{NodeId, SessionId, SwarmId, SwarmKind};
use crate::swarm::{Applied, Livestream, Swarm};

const KIND: SwarmKind = SwarmKind::Livestream;

impl Edge {
    /// Carries a request out that answers with the livestream.
    async fn on_livestream<R>(&self, request: Request<R>) -> Result<(Option<pb::Livestream>, u64), Status>
    where
        Action: TryFrom<R, Error = Invalid>,
    {
        let Action { id, command } = self.action(request)?;
        let view =
            |swarm: &Swarm, applied: &Applied| (livestream_of(swarm, |l| wire::livestream(id, l)), applied.revision);
        self.service.submit(id, command, view).await.map_err(refused(KIND))
    }

    /// Carries a request out that answers with the acting viewer.
    async fn on_viewer<R>(&self, request: Request<R>, node: u64) -> Result<(Option<pb::Viewer>, u64), Status>
    where
        Action: TryFrom<R, Error = Invalid>,
    {
        let Action { id, command } = self.action(request)?;
        let view = |swarm: &Swarm, applied: &Applied| (viewer_of(swarm, NodeId::new(node)), applied.revision);
        self.service.submit(id, command, view).await.map_err(refused(KIND))
    }

    fn livestream<R>(&self, id: SwarmId, look: impl FnOnce(&Livestream) -> R) -> Result<R, Status> {
        let found = self.service.read(id, |swarm| livestream_of(swarm, look)).map_err(refused(KIND))?;
        found.ok_or_else(|| wrong_kind(KIND))
    }
}

/// The swarm as a livestream; ids of livestreams name nothing else.
fn livestream_of<R>(swarm: &Swarm, look: impl FnOnce(&Livestream) -> R) -> Option<R> {
    match swarm {
        Swarm::Livestream(livestream) => Some(look(livestream)),
        Swarm::Group(_) => None,
    }
}

/// The viewer of a node; `None` for the broadcaster.
fn viewer_of(swarm: &Swarm, node: Option<NodeId>) -> Option<pb::Viewer> {
    let key = swarm.roster().key(node?)?;
    let view = swarm.view(key)?;
    view.placement.is_some().then(|| (&view).into())
}

#[tonic::async_trait]
impl LivestreamService for Edge {
    async fn create_livestream(
        &self,
        request: Request<pb::CreateLivestreamRequest>,
    ) -> Answer<pb::CreateLivestreamResponse> {
        let NewLivestream { new, broadcaster } = request.into_inner().try_into()?;
        self.settings.allows_new(
            KIND,
            new.number,
            &[("node_id", new.node), ("broadcaster_node_id", Some(broadcaster))],
        )?;
        let view = |id: SwarmId, swarm: &Swarm, applied: &Applied| {
            (livestream_of(swarm, |livestream| wire::livestream(id, livestream)), applied.created)
        };
        let (livestream, created) =
            self.service.create_livestream(new, broadcaster, view).await.map_err(refused(KIND))?;
        Ok(Response::new(pb::CreateLivestreamResponse { livestream, created }))
    }

    async fn get_livestream(&self, request: Request<pb::GetLivestreamRequest>) -> Answer<pb::GetLivestreamResponse> {
        let id = fields::swarm_id(KIND, request.into_inner().livestream_id)?;
        let livestream = self.livestream(id, |livestream| wire::livestream(id, livestream))?;
        Ok(Response::new(pb::GetLivestreamResponse { livestream: Some(livestream) }))
    }

    async fn list_livestreams(
        &self,
        request: Request<pb::ListLivestreamsRequest>,
    ) -> Answer<pb::ListLivestreamsResponse> {
        let pb::ListLivestreamsRequest { page_size, page_token } = request.into_inner();
        let limit = fields::page_size(page_size, self.settings.list_page)?;
        let list = List::Swarms(KIND);
        let token = PageToken::parse(&page_token)?;
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let after = token.and_then(|token| SwarmId::new(KIND, token.start()));
        let (livestreams, next) = self
            .service
            .list(KIND, after, limit, |id, swarm| livestream_of(swarm, |found| wire::livestream(id, found)));
        let next_page_token = page_token::next_page(list, next.map(SwarmId::get));
        Ok(Response::new(pb::ListLivestreamsResponse { livestreams, next_page_token }))
    }

    async fn update_livestream(
        &self,
        request: Request<pb::UpdateLivestreamRequest>,
    ) -> Answer<pb::UpdateLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::UpdateLivestreamResponse { livestream, revision }))
    }

    async fn start_livestream(
        &self,
        request: Request<pb::StartLivestreamRequest>,
    ) -> Answer<pb::StartLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::StartLivestreamResponse { livestream, revision }))
    }

    async fn pause_livestream(
        &self,
        request: Request<pb::PauseLivestreamRequest>,
    ) -> Answer<pb::PauseLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::PauseLivestreamResponse { livestream, revision }))
    }

    async fn resume_livestream(
        &self,
        request: Request<pb::ResumeLivestreamRequest>,
    ) -> Answer<pb::ResumeLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::ResumeLivestreamResponse { livestream, revision }))
    }

    async fn end_livestream(&self, request: Request<pb::EndLivestreamRequest>) -> Answer<pb::EndLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::EndLivestreamResponse { livestream, revision }))
    }

    async fn join_livestream(&self, request: Request<pb::JoinLivestreamRequest>) -> Answer<pb::JoinLivestreamResponse> {
        let node = NodeId::new(request.get_ref().node_id);
        let Action { id, command } = self.action(request)?;
        let view = |swarm: &Swarm, applied: &Applied| {
            let ttl_ms = node.and_then(|node| swarm.roster().find(node)).map(|member| member.lease.ttl_ms);
            pb::JoinLivestreamResponse {
                session_id: applied.session.map_or(0, SessionId::get),
                lease_ttl: ttl_ms.map(convert::duration),
                epoch: swarm.epoch().get(),
                revision: applied.revision,
                viewer: viewer_of(swarm, node),
                targets: swarm.targets(node).map(Into::into),
            }
        };
        Ok(Response::new(self.service.submit(id, command, view).await.map_err(refused(KIND))?))
    }

    async fn leave_livestream(
        &self,
        request: Request<pb::LeaveLivestreamRequest>,
    ) -> Answer<pb::LeaveLivestreamResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::LeaveLivestreamResponse { livestream, revision }))
    }

    async fn renew_lease(&self, request: Request<pb::RenewLeaseRequest>) -> Answer<pb::RenewLeaseResponse> {
        let pb::RenewLeaseRequest { livestream_id, node_id, session_id } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::node("node_id", node_id)?;
        let (ttl_ms, revision) =
            self.service.renew_lease(id, node, SessionId::new(session_id)).await.map_err(refused(KIND))?;
        Ok(Response::new(pb::RenewLeaseResponse { lease_ttl: Some(convert::duration(ttl_ms)), revision }))
    }

    async fn list_viewers(&self, request: Request<pb::ListViewersRequest>) -> Answer<pb::ListViewersResponse> {
        let pb::ListViewersRequest { livestream_id, page_size, page_token } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let limit = fields::page_size(page_size, self.settings.list_page)?;
        let token = PageToken::parse(&page_token)?;
        let page = self.service.list_members(id, token.map(PageToken::start), limit).map_err(refused(KIND))?;
        let list = List::Members(id, page.epoch);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let viewers = page.members.iter().map(Into::into).collect();
        let next_page_token = page_token::next_page(list, page.next);
        Ok(Response::new(pb::ListViewersResponse { viewers, next_page_token, revision: page.revision }))
    }

    async fn set_interest(&self, request: Request<pb::SetInterestRequest>) -> Answer<pb::SetInterestResponse> {
        let node = request.get_ref().node_id;
        let (viewer, revision) = self.on_viewer(request, node).await?;
        Ok(Response::new(pb::SetInterestResponse { viewer, revision }))
    }

    async fn update_viewer(&self, request: Request<pb::UpdateViewerRequest>) -> Answer<pb::UpdateViewerResponse> {
        let node = request.get_ref().node_id;
        let (viewer, revision) = self.on_viewer(request, node).await?;
        Ok(Response::new(pb::UpdateViewerResponse { viewer, revision }))
    }

    async fn add_moderator(&self, request: Request<pb::AddModeratorRequest>) -> Answer<pb::AddModeratorResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::AddModeratorResponse { livestream, revision }))
    }

    async fn remove_moderator(
        &self,
        request: Request<pb::RemoveModeratorRequest>,
    ) -> Answer<pb::RemoveModeratorResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::RemoveModeratorResponse { livestream, revision }))
    }

    async fn mute_viewer(&self, request: Request<pb::MuteViewerRequest>) -> Answer<pb::MuteViewerResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::MuteViewerResponse { livestream, revision }))
    }

    async fn unmute_viewer(&self, request: Request<pb::UnmuteViewerRequest>) -> Answer<pb::UnmuteViewerResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::UnmuteViewerResponse { livestream, revision }))
    }

    async fn remove_viewer(&self, request: Request<pb::RemoveViewerRequest>) -> Answer<pb::RemoveViewerResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::RemoveViewerResponse { livestream, revision }))
    }

    async fn transfer_broadcast(
        &self,
        request: Request<pb::TransferBroadcastRequest>,
    ) -> Answer<pb::TransferBroadcastResponse> {
        let (livestream, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::TransferBroadcastResponse { livestream, revision }))
    }

    async fn get_targets(&self, request: Request<pb::GetTargetsRequest>) -> Answer<pb::GetTargetsResponse> {
        let pb::GetTargetsRequest { livestream_id, of_node_id } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = NodeId::new(of_node_id);
        let (epoch, revision, targets) = self.service.targets(id, node).map_err(refused(KIND))?;
        Ok(Response::new(pb::GetTargetsResponse { epoch: epoch.get(), revision, targets: Some(targets.into()) }))
    }

    async fn report_peer(&self, request: Request<pb::ReportPeerRequest>) -> Answer<pb::ReportPeerResponse> {
        let (node, target, reason) = {
            let request = request.get_ref();
            (request.node_id, request.peer_node_id, request.reason())
        };
        let Action { id, command } = self.action(request)?;
        self.service.submit(id, command, |_, _| ()).await.map_err(refused(KIND))?;
        tracing::info!(%id, node, target, reason = reason.as_str_name(), "a peer was reported");
        Ok(Response::new(pb::ReportPeerResponse {}))
    }

    async fn publish_update(&self, request: Request<pb::PublishUpdateRequest>) -> Answer<pb::PublishUpdateResponse> {
        let pb::PublishUpdateRequest { livestream_id, node_id, session_id, update, term } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let by = fields::unnamed(node_id, session_id)?;
        let draft = fields::single_draft(update, &self.settings, self.service.clock().wall())?;
        let accepted =
            self.service.publish_one(id, &by, fields::fence(term), &draft).await.map_err(unpublished(KIND))?;
        Ok(Response::new(pb::PublishUpdateResponse { receipt: Some(accepted.into()) }))
    }

    async fn request_keyframe(
        &self,
        request: Request<pb::RequestKeyframeRequest>,
    ) -> Answer<pb::RequestKeyframeResponse> {
        let pb::RequestKeyframeRequest { livestream_id, node_id, session_id, channel, track } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let by = fields::unnamed(node_id, session_id)?;
        let channel = fields::picture(channel, track)?;
        self.service.request_keyframe(id, &by, None, channel).map_err(refused(KIND))?;
        Ok(Response::new(pb::RequestKeyframeResponse {}))
    }

    async fn get_stats(&self, request: Request<pb::GetStatsRequest>) -> Answer<pb::GetStatsResponse> {
        let id = fields::swarm_id(KIND, request.into_inner().livestream_id)?;
        let delivery = self.service.delivery(id).map_err(refused(KIND))?;
        let answer = self.livestream(id, |livestream| {
            let now = livestream.ended().map_or_else(|| self.service.clock().now().max(livestream.now()), |(at, _)| at);
            let stats =
                convert::stats(livestream.stats(), livestream.roster().len(), livestream.depth(), now, &delivery);
            (livestream.epoch().get(), livestream.revision(), stats)
        });
        let (epoch, revision, stats) = answer?;
        Ok(Response::new(pb::GetStatsResponse { epoch, revision, stats: Some(stats) }))
    }

    type WatchLivestreamsStream = Messages<pb::WatchLivestreamsResponse>;

    async fn watch_livestreams(
        &self,
        request: Request<pb::WatchLivestreamsRequest>,
    ) -> Answer<Self::WatchLivestreamsStream> {
        let connection = stream::connection(&request);
        let resume = set_position::parse(KIND, self.service.set(), request.into_inner().resume_from)?;
        let watch = self.service.watch_census(KIND, resume.as_ref());
        Ok(Response::new(stream::run(LivestreamCensus(watch), self.observer()?.over_connection(connection))))
    }

    type WatchTargetsStream = Messages<pb::WatchTargetsResponse>;

    async fn watch_targets(&self, request: Request<pb::WatchTargetsRequest>) -> Answer<Self::WatchTargetsStream> {
        let connection = stream::connection(&request);
        let pb::WatchTargetsRequest { livestream_id, of_node_id, session_id } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = NodeId::new(of_node_id);
        if node.is_none() && session_id != 0 {
            return fields::invalid("of_node_id", "must be given with session_id").map_err(Into::into);
        }
        let watch = self.service.watch_targets(id, node).map_err(refused(KIND))?;
        let lifetime = self.lifetime(id, node, session_id).await?.over_connection(connection);
        Ok(Response::new(stream::run(LivestreamTargets(watch), lifetime)))
    }

    type WatchLivestreamStream = Messages<pb::WatchLivestreamResponse>;

    async fn watch_livestream(
        &self,
        request: Request<pb::WatchLivestreamRequest>,
    ) -> Answer<Self::WatchLivestreamStream> {
        let connection = stream::connection(&request);
        let pb::WatchLivestreamRequest { livestream_id, node_id, session_id, kinds, resume_from } =
            request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::observer(node_id, session_id)?;
        let selection = fields::kinds(&kinds, wire::event_kind)?;
        let resume = resume_from.map(|position| (position.epoch, position.revision));
        let watch = self.service.watch_events(id, selection, resume, self.settings.list_page).map_err(refused(KIND))?;
        let lifetime = self.reader(id, node, session_id).await?.over_connection(connection);
        Ok(Response::new(stream::run(LivestreamEvents { id, watch }, lifetime)))
    }

    type PublishUpdatesStream = Messages<pb::PublishUpdatesResponse>;

    async fn publish_updates(
        &self,
        request: Request<Streaming<pb::PublishUpdatesRequest>>,
    ) -> Answer<Self::PublishUpdatesStream> {
        let publishing = Publishing::open(self, KIND, request).await?;
        Ok(Response::new(publish::run(publishing, |event| pb::PublishUpdatesResponse { event: Some(event) })))
    }

    type SubscribeUpdatesStream = NoMessages<pb::SubscribeUpdatesResponse>;

    async fn subscribe_updates(
        &self,
        request: Request<pb::SubscribeUpdatesRequest>,
    ) -> Answer<Self::SubscribeUpdatesStream> {
        subscribe::open(self, request).await
    }
}

//! LivestreamService.

use tonic::{Request, Response, Status, Streaming};

use super::convert::livestream_requests::NewLivestream;
use super::convert::{self, Action, livestream as wire};
use super::fields::{self, InvalidField};
use super::page_token::{self, List, PageToken};
use super::publish::{self, PublishStream};
use super::set_position;
use super::status::{refused, unpublished, wrong_kind};
use super::stream::{self, Messages};
use super::subscribe;
use super::watch::{LivestreamCensus, LivestreamEvents, LivestreamTargets};
use super::{Answer, Edge};
use crate::pb::livestream::v1 as pb;
use crate::pb::livestream::v1::livestream_service_server::LivestreamService;
use crate::store::log::View;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::{Applied, Livestream, Rejection, Swarm};

const KIND: SwarmKind = SwarmKind::Livestream;

impl Edge {
    /// Carries a request out that answers with the livestream.
    async fn on_livestream<R>(&self, request: Request<R>) -> Result<(Option<pb::Livestream>, u64, u64), Status>
    where
        Action: TryFrom<R, Error = InvalidField>,
    {
        let Action { id, command } = self.action(request)?;
        let view = |swarm: &Swarm, applied: &Applied| {
            (livestream_of(swarm, |l| wire::livestream(id, l)), swarm.epoch().get(), applied.revision)
        };
        self.service.submit(id, command, view).await.map_err(refused(KIND))
    }

    /// Carries a request out that answers with the acting viewer.
    async fn on_viewer<R>(&self, request: Request<R>, node: u64) -> Result<(Option<pb::Viewer>, u64, u64), Status>
    where
        Action: TryFrom<R, Error = InvalidField>,
    {
        let Action { id, command } = self.action(request)?;
        let view = |swarm: &Swarm, applied: &Applied| {
            (viewer_of(swarm, NodeId::new(node)), swarm.epoch().get(), applied.revision)
        };
        self.service.submit(id, command, view).await.map_err(refused(KIND))
    }

    /// Carries a request about a viewer out that answers with it and with the livestream.
    async fn about_viewer<R>(&self, request: Request<R>, viewer: u64) -> Result<AboutViewer, Status>
    where
        Action: TryFrom<R, Error = InvalidField>,
    {
        let Action { id, command } = self.action(request)?;
        let view = |swarm: &Swarm, applied: &Applied| {
            let found = NodeId::new(viewer).and_then(|node| swarm.listed(node));
            AboutViewer {
                livestream: livestream_of(swarm, |l| wire::livestream(id, l)),
                viewer: found.map(|found| wire::viewer(&found, View::Basic)),
                epoch: swarm.epoch().get(),
                revision: applied.revision,
            }
        };
        self.service.submit(id, command, view).await.map_err(refused(KIND))
    }

    fn livestream<R>(&self, id: SwarmId, look: impl FnOnce(&Livestream) -> R) -> Result<R, Status> {
        let found = self.service.read(id, |swarm| livestream_of(swarm, look)).map_err(refused(KIND))?;
        found.ok_or_else(|| wrong_kind(KIND))
    }
}

/// What a call about a viewer answers with.
struct AboutViewer {
    livestream: Option<pb::Livestream>,
    /// `None` when it has left.
    viewer: Option<pb::Viewer>,
    epoch: u64,
    revision: u64,
}

/// The swarm as a livestream; ids of livestreams name nothing else.
fn livestream_of<R>(swarm: &Swarm, look: impl FnOnce(&Livestream) -> R) -> Option<R> {
    match swarm {
        Swarm::Livestream(livestream) => Some(look(livestream)),
        Swarm::Group(_) => None,
    }
}

/// The viewer of a node, as it sees itself; `None` for the broadcaster.
fn viewer_of(swarm: &Swarm, node: Option<NodeId>) -> Option<pb::Viewer> {
    swarm.listed(node?).as_ref().map(wire::own_viewer)
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
        let pb::ListLivestreamsRequest { page_size, page_token, livestream_ids, states } = request.into_inner();
        let limit = fields::page_size(page_size, self.settings.list_page)?;
        let states = fields::states(&states, |number| pb::LivestreamState::try_from(number).is_ok())?;
        let list = List::Swarms(KIND);
        let token = PageToken::parse(&page_token)?;
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let look = |id: SwarmId, swarm: &Swarm| {
            let found = livestream_of(swarm, |found| wire::livestream(id, found))?;
            (states.is_empty() || states.contains(&found.state)).then_some(found)
        };
        if let Some(numbers) = fields::named("livestream_ids", &livestream_ids, page_size, &page_token)? {
            let ids = numbers.iter().filter_map(|number| SwarmId::new(KIND, *number));
            let livestreams = ids.filter_map(|id| self.service.read(id, |swarm| look(id, swarm)).ok().flatten());
            let livestreams = livestreams.collect();
            return Ok(Response::new(pb::ListLivestreamsResponse { livestreams, next_page_token: String::new() }));
        }
        let after = token.and_then(|token| SwarmId::new(KIND, token.start()));
        let (livestreams, next) = self.service.list(KIND, after, limit, look);
        let next_page_token = page_token::next_page(list, next.map(SwarmId::get));
        Ok(Response::new(pb::ListLivestreamsResponse { livestreams, next_page_token }))
    }

    async fn update_livestream(
        &self,
        request: Request<pb::UpdateLivestreamRequest>,
    ) -> Answer<pb::UpdateLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::UpdateLivestreamResponse { livestream, revision, epoch }))
    }

    async fn start_livestream(
        &self,
        request: Request<pb::StartLivestreamRequest>,
    ) -> Answer<pb::StartLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::StartLivestreamResponse { livestream, revision, epoch }))
    }

    async fn pause_livestream(
        &self,
        request: Request<pb::PauseLivestreamRequest>,
    ) -> Answer<pb::PauseLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::PauseLivestreamResponse { livestream, revision, epoch }))
    }

    async fn resume_livestream(
        &self,
        request: Request<pb::ResumeLivestreamRequest>,
    ) -> Answer<pb::ResumeLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::ResumeLivestreamResponse { livestream, revision, epoch }))
    }

    async fn end_livestream(&self, request: Request<pb::EndLivestreamRequest>) -> Answer<pb::EndLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::EndLivestreamResponse { livestream, revision, epoch }))
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
                livestream: livestream_of(swarm, |l| wire::livestream(id, l)),
            }
        };
        Ok(Response::new(self.service.submit(id, command, view).await.map_err(refused(KIND))?))
    }

    async fn leave_livestream(
        &self,
        request: Request<pb::LeaveLivestreamRequest>,
    ) -> Answer<pb::LeaveLivestreamResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::LeaveLivestreamResponse { livestream, revision, epoch }))
    }

    async fn renew_lease(&self, request: Request<pb::RenewLeaseRequest>) -> Answer<pb::RenewLeaseResponse> {
        let pb::RenewLeaseRequest { livestream_id, node_id, session_id } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::node("node_id", node_id)?;
        let (ttl_ms, epoch, revision) =
            self.service.renew_lease(id, node, SessionId::new(session_id)).await.map_err(refused(KIND))?;
        Ok(Response::new(pb::RenewLeaseResponse {
            lease_ttl: Some(convert::duration(ttl_ms)),
            revision,
            epoch: epoch.get(),
        }))
    }

    async fn get_viewer(&self, request: Request<pb::GetViewerRequest>) -> Answer<pb::GetViewerResponse> {
        let pb::GetViewerRequest { livestream_id, viewer_node_id, view } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::node("viewer_node_id", viewer_node_id)?;
        let view = fields::view(view)?;
        let (member, epoch, revision) = self.service.member(id, node).map_err(refused(KIND))?;
        let viewer = Some(wire::viewer(&member, view));
        Ok(Response::new(pb::GetViewerResponse { viewer, epoch: epoch.get(), revision }))
    }

    async fn list_viewers(&self, request: Request<pb::ListViewersRequest>) -> Answer<pb::ListViewersResponse> {
        let pb::ListViewersRequest { livestream_id, page_size, page_token, view, node_ids } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let view = fields::view(view)?;
        let limit = fields::page_size(page_size, self.settings.list_page)?;
        let token = PageToken::parse(&page_token)?;
        let named = fields::named("node_ids", &node_ids, page_size, &page_token)?;
        let page = match named {
            Some(nodes) => {
                let nodes: Vec<_> = nodes.iter().copied().filter_map(NodeId::new).collect();
                self.service.named_members(id, &nodes)
            }
            None => self.service.list_members(id, token.map(PageToken::start), limit),
        };
        let page = page.map_err(refused(KIND))?;
        let list = List::Members(id, page.epoch);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        Ok(Response::new(pb::ListViewersResponse {
            viewers: page.members.iter().map(|member| wire::viewer(member, view)).collect(),
            next_page_token: page_token::next_page(list, page.next),
            revision: page.revision,
            epoch: page.epoch.get(),
        }))
    }

    async fn set_interest(&self, request: Request<pb::SetInterestRequest>) -> Answer<pb::SetInterestResponse> {
        let node = request.get_ref().node_id;
        let (viewer, epoch, revision) = self.on_viewer(request, node).await?;
        Ok(Response::new(pb::SetInterestResponse { viewer, revision, epoch }))
    }

    async fn update_viewer(&self, request: Request<pb::UpdateViewerRequest>) -> Answer<pb::UpdateViewerResponse> {
        let node = request.get_ref().node_id;
        let (viewer, epoch, revision) = self.on_viewer(request, node).await?;
        Ok(Response::new(pb::UpdateViewerResponse { viewer, revision, epoch }))
    }

    async fn add_moderator(&self, request: Request<pb::AddModeratorRequest>) -> Answer<pb::AddModeratorResponse> {
        let viewer = request.get_ref().viewer_node_id;
        let AboutViewer { livestream, viewer, epoch, revision } = self.about_viewer(request, viewer).await?;
        Ok(Response::new(pb::AddModeratorResponse { livestream, revision, epoch, viewer }))
    }

    async fn remove_moderator(
        &self,
        request: Request<pb::RemoveModeratorRequest>,
    ) -> Answer<pb::RemoveModeratorResponse> {
        let viewer = request.get_ref().viewer_node_id;
        let AboutViewer { livestream, viewer, epoch, revision } = self.about_viewer(request, viewer).await?;
        Ok(Response::new(pb::RemoveModeratorResponse { livestream, revision, epoch, viewer }))
    }

    async fn mute_viewer(&self, request: Request<pb::MuteViewerRequest>) -> Answer<pb::MuteViewerResponse> {
        let viewer = request.get_ref().viewer_node_id;
        let AboutViewer { livestream, viewer, epoch, revision } = self.about_viewer(request, viewer).await?;
        Ok(Response::new(pb::MuteViewerResponse { livestream, revision, epoch, viewer }))
    }

    async fn unmute_viewer(&self, request: Request<pb::UnmuteViewerRequest>) -> Answer<pb::UnmuteViewerResponse> {
        let viewer = request.get_ref().viewer_node_id;
        let AboutViewer { livestream, viewer, epoch, revision } = self.about_viewer(request, viewer).await?;
        Ok(Response::new(pb::UnmuteViewerResponse { livestream, revision, epoch, viewer }))
    }

    async fn list_muted_nodes(
        &self,
        request: Request<pb::ListMutedNodesRequest>,
    ) -> Answer<pb::ListMutedNodesResponse> {
        let pb::ListMutedNodesRequest { livestream_id, page_size, page_token } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let limit = fields::page_size(page_size, self.settings.list_page)?;
        let token = PageToken::parse(&page_token)?;
        let from = token.map_or(0, PageToken::start);
        let (mut nodes, epoch, revision) = self.livestream(id, |livestream| {
            if livestream.ended().is_some() {
                return Err(refused(KIND)(Rejection::Ended.into()));
            }
            let muted = livestream.muted().iter().map(|node| node.get()).filter(|node| *node >= from);
            Ok((muted.take(limit + 1).collect::<Vec<_>>(), livestream.epoch(), livestream.revision()))
        })??;
        let list = List::Muted(id, epoch);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let next = if nodes.len() > limit { nodes.pop() } else { None };
        Ok(Response::new(pb::ListMutedNodesResponse {
            node_ids: nodes,
            next_page_token: page_token::next_page(list, next),
            epoch: epoch.get(),
            revision,
        }))
    }

    async fn remove_viewer(&self, request: Request<pb::RemoveViewerRequest>) -> Answer<pb::RemoveViewerResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::RemoveViewerResponse { livestream, revision, epoch }))
    }

    async fn transfer_broadcast(
        &self,
        request: Request<pb::TransferBroadcastRequest>,
    ) -> Answer<pb::TransferBroadcastResponse> {
        let (livestream, epoch, revision) = self.on_livestream(request).await?;
        Ok(Response::new(pb::TransferBroadcastResponse { livestream, revision, epoch }))
    }

    async fn get_targets(&self, request: Request<pb::GetTargetsRequest>) -> Answer<pb::GetTargetsResponse> {
        let pb::GetTargetsRequest { livestream_id, of_node_id, node_id: _ } = request.into_inner();
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
        let view = |swarm: &Swarm, applied: &Applied| (swarm.epoch().get(), applied.revision);
        let (epoch, revision) = self.service.submit(id, command, view).await.map_err(refused(KIND))?;
        tracing::info!(%id, node, target, reason = reason.as_str_name(), "a peer was reported");
        Ok(Response::new(pb::ReportPeerResponse { epoch, revision }))
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
        let pb::WatchTargetsRequest { livestream_id, of_node_id, session_id, node_id } = request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let (of, node) = (NodeId::new(of_node_id), fields::observer(node_id, session_id)?);
        let watch = self.service.watch_targets(id, of).map_err(refused(KIND))?;
        // Without a session it follows whom it watches.
        let tied = if session_id == 0 { of } else { node };
        let lifetime = self.lifetime(id, tied, session_id).await?.over_connection(connection);
        Ok(Response::new(stream::run(LivestreamTargets(watch), lifetime)))
    }

    type WatchLivestreamStream = Messages<pb::WatchLivestreamResponse>;

    async fn watch_livestream(
        &self,
        request: Request<pb::WatchLivestreamRequest>,
    ) -> Answer<Self::WatchLivestreamStream> {
        let connection = stream::connection(&request);
        let pb::WatchLivestreamRequest { livestream_id, node_id, session_id, kinds, resume_from, view } =
            request.into_inner();
        let id = fields::swarm_id(KIND, livestream_id)?;
        let node = fields::observer(node_id, session_id)?;
        let view = fields::view(view)?;
        let selection = fields::shown(fields::kinds(&kinds, wire::event_kind)?, view)?;
        let resume = resume_from.map(|position| (position.epoch, position.revision));
        let watch = self.service.watch_events(id, selection, resume, self.settings.list_page).map_err(refused(KIND))?;
        let lifetime = self.watch_lifetime(id, node, session_id).await?.over_connection(connection);
        Ok(Response::new(stream::run(LivestreamEvents { view, id, watch }, lifetime)))
    }

    type PublishUpdatesStream = Messages<pb::PublishUpdatesResponse>;

    async fn publish_updates(
        &self,
        request: Request<Streaming<pb::PublishUpdatesRequest>>,
    ) -> Answer<Self::PublishUpdatesStream> {
        let publishing = PublishStream::open(self, KIND, request).await?;
        Ok(Response::new(publish::run(publishing, |event| pb::PublishUpdatesResponse { event: Some(event) })))
    }

    type SubscribeUpdatesStream = Messages<pb::SubscribeUpdatesResponse>;

    async fn subscribe_updates(
        &self,
        request: Request<pb::SubscribeUpdatesRequest>,
    ) -> Answer<Self::SubscribeUpdatesStream> {
        subscribe::open(self, request).await
    }
}

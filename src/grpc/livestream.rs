//! LivestreamService.

use tonic::{Request, Response, Streaming};

use super::client_limits::{CallLimits, creators};
use super::convert::livestream_requests::NewLivestream;
use super::convert::{self, livestream as wire};
use super::fields;
use super::page_token::{self, List, PageToken};
use super::publish::{self, PublishStream};
use super::set_position;
use super::settled;
use super::status::{refused, wrong_kind};
use super::stream::{self, Messages};
use super::subscribe;
use super::watch::{EventSource, Livestream, SetSource, TargetSource};
use super::{Answer, Edge};
use crate::pb::livestream::v1 as pb;
use crate::pb::livestream::v1::livestream_service_server::LivestreamService;
use crate::service::{BanPage, MutedPage};
use crate::store::snapshot::SwarmSnapshot;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};

const KIND: SwarmKind = SwarmKind::Livestream;

#[tonic::async_trait]
impl LivestreamService for Edge {
    async fn create_livestream(
        &self,
        request: Request<pb::CreateLivestreamRequest>,
    ) -> Answer<pb::CreateLivestreamResponse> {
        let from = creators(&request);
        let NewLivestream { new, broadcaster, key } = self.admit(request, |request: pb::CreateLivestreamRequest| {
            let asked = NewLivestream::try_from(request)?;
            let nodes = [("node_id", asked.new.node), ("broadcaster_node_id", Some(asked.broadcaster))];
            self.settings.allows_new(KIND, asked.new.number, &nodes)?;
            Ok(asked)
        })?;
        let outcome = self.service.create_livestream(new, broadcaster, key, &from).await;
        let outcome = outcome.map_err(|refusal| refused(KIND)(self.note_creators(&from, refusal)))?;
        let (created, livestream) = (outcome.created, outcome.swarm.and_then(wire::livestream));
        Ok(Response::new(pb::CreateLivestreamResponse { livestream, created }))
    }

    async fn get_livestream(&self, request: Request<pb::GetLivestreamRequest>) -> Answer<pb::GetLivestreamResponse> {
        let (id, seen) = self.admit(request, |asked| {
            Ok((fields::swarm_id(KIND, asked.livestream_id)?, settled::seen(asked.at_least)?))
        })?;
        let livestream = wire::livestream(self.look_since(id, seen, |service| service.swarm(id)).await?)
            .ok_or_else(|| wrong_kind(KIND))?;
        Ok(Response::new(pb::GetLivestreamResponse { livestream: Some(livestream) }))
    }

    async fn list_livestreams(
        &self,
        request: Request<pb::ListLivestreamsRequest>,
    ) -> Answer<pb::ListLivestreamsResponse> {
        let (limit, states, token, named) = self.admit(request, |asked| {
            let pb::ListLivestreamsRequest { page_size, page_token, livestream_ids, states } = asked;
            let limit = fields::page_size(page_size, self.settings.list_page)?;
            let states = fields::states(&states, |number| pb::LivestreamState::try_from(number).is_ok())?;
            let token = PageToken::parse(&page_token)?;
            fields::named("livestream_ids", &livestream_ids, page_size)?;
            Ok((limit, states, token, livestream_ids))
        })?;
        let wanted = |found: &pb::Livestream| states.is_empty() || states.contains(&found.state);
        let shown = |found: Vec<SwarmSnapshot>| found.into_iter().filter_map(wire::livestream).filter(wanted).collect();
        if !named.is_empty() {
            let list = List::NamedSwarms(KIND, page_token::names(&named));
            token.map_or(Ok(()), |token| token.is_of(list))?;
            let (found, next) = self.service.named(KIND, &named, token.map_or(0, PageToken::start));
            let next_page_token = page_token::next_page(list, next);
            return Ok(Response::new(pb::ListLivestreamsResponse { livestreams: shown(found), next_page_token }));
        }
        let list = List::Swarms(KIND);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let after = token.and_then(|token| SwarmId::new(KIND, token.start()));
        let (found, next) = self.service.list(KIND, after, limit);
        let next_page_token = page_token::next_page(list, next.map(SwarmId::get));
        Ok(Response::new(pb::ListLivestreamsResponse { livestreams: shown(found), next_page_token }))
    }

    async fn update_livestream(
        &self,
        request: Request<pb::UpdateLivestreamRequest>,
    ) -> Answer<pb::UpdateLivestreamResponse> {
        self.act(request).await
    }

    async fn start_livestream(
        &self,
        request: Request<pb::StartLivestreamRequest>,
    ) -> Answer<pb::StartLivestreamResponse> {
        self.act(request).await
    }

    async fn pause_livestream(
        &self,
        request: Request<pb::PauseLivestreamRequest>,
    ) -> Answer<pb::PauseLivestreamResponse> {
        self.act(request).await
    }

    async fn resume_livestream(
        &self,
        request: Request<pb::ResumeLivestreamRequest>,
    ) -> Answer<pb::ResumeLivestreamResponse> {
        self.act(request).await
    }

    async fn end_livestream(&self, request: Request<pb::EndLivestreamRequest>) -> Answer<pb::EndLivestreamResponse> {
        self.act(request).await
    }

    async fn join_livestream(&self, request: Request<pb::JoinLivestreamRequest>) -> Answer<pb::JoinLivestreamResponse> {
        self.act(request).await
    }

    async fn leave_livestream(
        &self,
        request: Request<pb::LeaveLivestreamRequest>,
    ) -> Answer<pb::LeaveLivestreamResponse> {
        self.act(request).await
    }

    async fn renew_lease(&self, request: Request<pb::RenewLeaseRequest>) -> Answer<pb::RenewLeaseResponse> {
        let (id, node, session) = self.admit(request, |asked| {
            let pb::RenewLeaseRequest { livestream_id, node_id, session_id } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            Ok((id, fields::node("node_id", node_id)?, SessionId::new(session_id)))
        })?;
        let (ttl_ms, epoch, revision) = self.renew_lease_of(id, node, session).await?;
        Ok(Response::new(pb::RenewLeaseResponse {
            lease_ttl: Some(convert::duration(ttl_ms)),
            revision,
            epoch: epoch.get(),
        }))
    }

    async fn get_viewer(&self, request: Request<pb::GetViewerRequest>) -> Answer<pb::GetViewerResponse> {
        let (id, node, view, seen) = self.admit(request, |asked| {
            let pb::GetViewerRequest { livestream_id, viewer_node_id, view, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let node = fields::node("viewer_node_id", viewer_node_id)?;
            Ok((id, node, fields::view(view)?, settled::seen(at_least)?))
        })?;
        let (member, epoch, revision) = self.look_since(id, seen, |service| service.member(id, node, view)).await?;
        let viewer = Some(wire::viewer(&member, view));
        Ok(Response::new(pb::GetViewerResponse { viewer, epoch: epoch.get(), revision }))
    }

    async fn list_viewers(&self, request: Request<pb::ListViewersRequest>) -> Answer<pb::ListViewersResponse> {
        let (id, view, limit, token, node_ids, seen) = self.admit(request, |asked| {
            let pb::ListViewersRequest { livestream_id, page_size, page_token, view, node_ids, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let view = fields::view(view)?;
            let limit = fields::page_size(page_size, self.settings.list_page)?;
            let token = PageToken::parse(&page_token)?;
            fields::named("node_ids", &node_ids, page_size)?;
            Ok((id, view, limit, token, node_ids, settled::seen(at_least)?))
        })?;
        let named = (!node_ids.is_empty()).then_some(&node_ids[..]);
        let start = token.map(PageToken::start);
        let page = match named {
            Some(nodes) => {
                let nodes: Vec<_> = nodes.iter().copied().filter_map(NodeId::new).collect();
                self.look_since(id, seen, |service| service.named_members(id, &nodes, start.unwrap_or(0), view)).await
            }
            None => self.look_since(id, seen, |service| service.list_members(id, start, limit, view)).await,
        };
        let page = page?;
        let list = match named {
            Some(nodes) => List::NamedMembers(id, page.epoch, page_token::names(nodes)),
            None => List::Members(id, page.epoch),
        };
        token.map_or(Ok(()), |token| token.is_of(list))?;
        Ok(Response::new(pb::ListViewersResponse {
            viewers: page.members.iter().map(|member| wire::viewer(member, view)).collect(),
            next_page_token: page_token::next_page(list, page.next),
            revision: page.revision,
            epoch: page.epoch.get(),
        }))
    }

    async fn set_interest(&self, request: Request<pb::SetInterestRequest>) -> Answer<pb::SetInterestResponse> {
        self.act(request).await
    }

    async fn update_viewer(&self, request: Request<pb::UpdateViewerRequest>) -> Answer<pb::UpdateViewerResponse> {
        self.act(request).await
    }

    async fn add_moderator(&self, request: Request<pb::AddModeratorRequest>) -> Answer<pb::AddModeratorResponse> {
        self.act(request).await
    }

    async fn remove_moderator(
        &self,
        request: Request<pb::RemoveModeratorRequest>,
    ) -> Answer<pb::RemoveModeratorResponse> {
        self.act(request).await
    }

    async fn mute_viewer(&self, request: Request<pb::MuteViewerRequest>) -> Answer<pb::MuteViewerResponse> {
        self.act(request).await
    }

    async fn unmute_viewer(&self, request: Request<pb::UnmuteViewerRequest>) -> Answer<pb::UnmuteViewerResponse> {
        self.act(request).await
    }

    async fn list_muted_nodes(
        &self,
        request: Request<pb::ListMutedNodesRequest>,
    ) -> Answer<pb::ListMutedNodesResponse> {
        let (id, limit, token, seen) = self.admit(request, |asked| {
            let pb::ListMutedNodesRequest { livestream_id, page_size, page_token, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let limit = fields::page_size(page_size, self.settings.list_page)?;
            Ok((id, limit, PageToken::parse(&page_token)?, settled::seen(at_least)?))
        })?;
        let from = token.and_then(|token| NodeId::new(token.start()));
        let MutedPage { nodes, next, epoch, revision } =
            self.look_since(id, seen, |service| service.list_muted(id, from, limit)).await?;
        let list = List::Muted(id, epoch);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        Ok(Response::new(pb::ListMutedNodesResponse {
            node_ids: nodes.into_iter().map(NodeId::get).collect(),
            next_page_token: page_token::next_page(list, next.map(NodeId::get)),
            epoch: epoch.get(),
            revision,
        }))
    }

    async fn remove_viewer(&self, request: Request<pb::RemoveViewerRequest>) -> Answer<pb::RemoveViewerResponse> {
        self.act(request).await
    }

    async fn unban_viewer(&self, request: Request<pb::UnbanViewerRequest>) -> Answer<pb::UnbanViewerResponse> {
        self.act(request).await
    }

    async fn list_bans(&self, request: Request<pb::ListBansRequest>) -> Answer<pb::ListBansResponse> {
        let (id, limit, token, seen) = self.admit(request, |asked| {
            let pb::ListBansRequest { livestream_id, page_size, page_token, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let limit = fields::page_size(page_size, self.settings.list_page)?;
            Ok((id, limit, PageToken::parse(&page_token)?, settled::seen(at_least)?))
        })?;
        let from = token.and_then(|token| NodeId::new(token.start()));
        let BanPage { bans, next, epoch, revision } =
            self.look_since(id, seen, |service| service.list_bans(id, from, limit)).await?;
        let list = List::Bans(id, epoch);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        Ok(Response::new(pb::ListBansResponse {
            bans: convert::bans(bans),
            next_page_token: page_token::next_page(list, next.map(NodeId::get)),
            epoch: epoch.get(),
            revision,
        }))
    }

    async fn transfer_broadcast(
        &self,
        request: Request<pb::TransferBroadcastRequest>,
    ) -> Answer<pb::TransferBroadcastResponse> {
        self.act(request).await
    }

    async fn get_targets(&self, request: Request<pb::GetTargetsRequest>) -> Answer<pb::GetTargetsResponse> {
        let (id, of, seen) = self.admit(request, |asked| {
            let pb::GetTargetsRequest { livestream_id, of_node_id, node_id: _, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            Ok((id, NodeId::new(of_node_id).into(), settled::seen(at_least)?))
        })?;
        let (epoch, revision, targets) = self.look_since(id, seen, |service| service.targets(id, of)).await?;
        Ok(Response::new(pb::GetTargetsResponse { epoch: epoch.get(), revision, targets: Some(targets.into()) }))
    }

    async fn report_peer(&self, request: Request<pb::ReportPeerRequest>) -> Answer<pb::ReportPeerResponse> {
        self.act(request).await
    }

    async fn publish_update(&self, request: Request<pb::PublishUpdateRequest>) -> Answer<pb::PublishUpdateResponse> {
        let limits = CallLimits::of(&request);
        let (id, by, draft, term) = self.admit(request, |asked| {
            let pb::PublishUpdateRequest { livestream_id, node_id, session_id, update, term } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let by = fields::unnamed(node_id, session_id)?;
            let draft = fields::single_draft(update, &self.settings, self.service.clock().wall())?;
            Ok((id, by, draft, fields::fence(term)))
        })?;
        limits.publish(draft.payload.len())?;
        let accepted = self.publish_one(id, &by, term, &draft).await?;
        Ok(Response::new(pb::PublishUpdateResponse { receipt: Some(accepted.into()) }))
    }

    async fn request_keyframe(
        &self,
        request: Request<pb::RequestKeyframeRequest>,
    ) -> Answer<pb::RequestKeyframeResponse> {
        let (id, by, channel) = self.admit(request, |asked| {
            let pb::RequestKeyframeRequest { livestream_id, node_id, session_id, channel, track } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            Ok((id, fields::unnamed(node_id, session_id)?, fields::picture(channel, track)?))
        })?;
        self.look(id, |service| service.request_keyframe(id, &by, None, channel)).await?;
        Ok(Response::new(pb::RequestKeyframeResponse {}))
    }

    async fn get_stats(&self, request: Request<pb::GetStatsRequest>) -> Answer<pb::GetStatsResponse> {
        let (id, seen) = self.admit(request, |asked| {
            Ok((fields::swarm_id(KIND, asked.livestream_id)?, settled::seen(asked.at_least)?))
        })?;
        let (stats, delivery) = self.look_since(id, seen, |service| service.stats(id)).await?;
        let peers = self.service.peer_counts(id).await.map_err(refused(KIND))?;
        Ok(Response::new(pb::GetStatsResponse {
            epoch: stats.epoch.get(),
            revision: stats.revision,
            stats: Some(convert::stats(&stats, delivery, &peers)),
        }))
    }

    type WatchLivestreamsStream = Messages<pb::WatchLivestreamsResponse>;

    async fn watch_livestreams(
        &self,
        request: Request<pb::WatchLivestreamsRequest>,
    ) -> Answer<Self::WatchLivestreamsStream> {
        let caller = stream::caller(&request);
        let set = self.set(KIND).await?;
        let resume = self.admit(request, |asked| set_position::parse(KIND, set, asked.resume_from))?;
        let watch = self.watch_census(KIND, set.0, resume.as_ref()).await?;
        Ok(Response::new(stream::run(SetSource::<Livestream>::new(watch), self.observer(caller, None)?)))
    }

    type WatchTargetsStream = Messages<pb::WatchTargetsResponse>;

    async fn watch_targets(&self, request: Request<pb::WatchTargetsRequest>) -> Answer<Self::WatchTargetsStream> {
        let caller = stream::caller(&request);
        let (id, of, node, session, seen) = self.admit(request, |asked| {
            let pb::WatchTargetsRequest { livestream_id, of_node_id, session_id, node_id, at_least } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let node = fields::observer(node_id, session_id)?;
            Ok((id, NodeId::new(of_node_id), node, session_id, settled::seen(at_least)?))
        })?;
        let watch = self.look_since(id, seen, |service| service.watch_targets(id, of.into())).await?;
        // Without a session it follows whom it watches.
        let tied = if session == 0 { of } else { node };
        let lifetime = self.lifetime(caller, id, tied, session).await?;
        Ok(Response::new(stream::run(TargetSource::<Livestream>::new(watch), lifetime)))
    }

    type WatchLivestreamStream = Messages<pb::WatchLivestreamResponse>;

    async fn watch_livestream(
        &self,
        request: Request<pb::WatchLivestreamRequest>,
    ) -> Answer<Self::WatchLivestreamStream> {
        let caller = stream::caller(&request);
        let (id, node, session, view, selection, resume) = self.admit(request, |asked| {
            let pb::WatchLivestreamRequest { livestream_id, node_id, session_id, kinds, resume_from, view } = asked;
            let id = fields::swarm_id(KIND, livestream_id)?;
            let node = fields::observer(node_id, session_id)?;
            let view = fields::view(view)?;
            let selection = fields::shown(fields::kinds(&kinds, wire::event_kind)?, view)?;
            let resume = resume_from.map(|position| (position.epoch, position.revision));
            Ok((id, node, session_id, view, selection, resume))
        })?;
        let watch = self.watch_events(id, selection, resume, view).await?;
        let lifetime = self.watch_lifetime(caller, id, node, session).await?;
        Ok(Response::new(stream::run(EventSource::<Livestream>::new(watch, view), lifetime)))
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

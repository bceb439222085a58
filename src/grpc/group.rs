//! GroupService.

use starling_core::topology::Forwarder;
use tonic::{Request, Response, Streaming};

use super::client_limits::{CallLimits, creators};
use super::convert::group_requests::NewGroup;
use super::convert::{self, group as wire};
use super::fields;
use super::page_token::{self, List, PageToken};
use super::publish::{self, PublishStream};
use super::set_position;
use super::settled;
use super::status::{refused, wrong_kind};
use super::stream::{self, Messages};
use super::subscribe;
use super::watch::{EventSource, Group, SetSource, TargetSource};
use super::{Answer, Edge};
use crate::pb::group::v1 as pb;
use crate::pb::group::v1::group_service_server::GroupService;
use crate::service::BanPage;
use crate::store::snapshot::SwarmSnapshot;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};

const KIND: SwarmKind = SwarmKind::Group;

#[tonic::async_trait]
impl GroupService for Edge {
    async fn create_group(&self, request: Request<pb::CreateGroupRequest>) -> Answer<pb::CreateGroupResponse> {
        let from = creators(&request);
        let NewGroup { new, owner } = self.admit(request, |request: pb::CreateGroupRequest| {
            let asked = NewGroup::try_from(request)?;
            let nodes = [("node_id", asked.new.node), ("owner_node_id", asked.owner)];
            self.settings.allows_new(KIND, asked.new.number, &nodes)?;
            Ok(asked)
        })?;
        let outcome = self.service.create_group(new, owner, &from).await;
        let outcome = outcome.map_err(|refusal| refused(KIND)(self.note_creators(&from, refusal)))?;
        let (created, group) = (outcome.created, outcome.swarm.and_then(wire::group));
        Ok(Response::new(pb::CreateGroupResponse { group, created }))
    }

    async fn get_group(&self, request: Request<pb::GetGroupRequest>) -> Answer<pb::GetGroupResponse> {
        let (id, seen) =
            self.admit(request, |asked| Ok((fields::swarm_id(KIND, asked.group_id)?, settled::seen(asked.at_least)?)))?;
        let group = wire::group(self.look_since(id, seen, |service| service.swarm(id)).await?)
            .ok_or_else(|| wrong_kind(KIND))?;
        Ok(Response::new(pb::GetGroupResponse { group: Some(group) }))
    }

    async fn list_groups(&self, request: Request<pb::ListGroupsRequest>) -> Answer<pb::ListGroupsResponse> {
        let (limit, states, token, named) = self.admit(request, |asked| {
            let pb::ListGroupsRequest { page_size, page_token, group_ids, states } = asked;
            let limit = fields::page_size(page_size, self.settings.list_page)?;
            let states = fields::states(&states, |number| pb::GroupState::try_from(number).is_ok())?;
            let token = PageToken::parse(&page_token)?;
            fields::named("group_ids", &group_ids, page_size)?;
            Ok((limit, states, token, group_ids))
        })?;
        let wanted = |found: &pb::Group| states.is_empty() || states.contains(&found.state);
        let shown = |found: Vec<SwarmSnapshot>| found.into_iter().filter_map(wire::group).filter(wanted).collect();
        if !named.is_empty() {
            let list = List::NamedSwarms(KIND, page_token::names(&named));
            token.map_or(Ok(()), |token| token.is_of(list))?;
            let (found, next) = self.service.named(KIND, &named, token.map_or(0, PageToken::start));
            let next_page_token = page_token::next_page(list, next);
            return Ok(Response::new(pb::ListGroupsResponse { groups: shown(found), next_page_token }));
        }
        let list = List::Swarms(KIND);
        token.map_or(Ok(()), |token| token.is_of(list))?;
        let after = token.and_then(|token| SwarmId::new(KIND, token.start()));
        let (found, next) = self.service.list(KIND, after, limit);
        let next_page_token = page_token::next_page(list, next.map(SwarmId::get));
        Ok(Response::new(pb::ListGroupsResponse { groups: shown(found), next_page_token }))
    }

    async fn update_group(&self, request: Request<pb::UpdateGroupRequest>) -> Answer<pb::UpdateGroupResponse> {
        self.act(request).await
    }

    async fn end_group(&self, request: Request<pb::EndGroupRequest>) -> Answer<pb::EndGroupResponse> {
        self.act(request).await
    }

    async fn leave_group(&self, request: Request<pb::LeaveGroupRequest>) -> Answer<pb::LeaveGroupResponse> {
        self.act(request).await
    }

    async fn join_group(&self, request: Request<pb::JoinGroupRequest>) -> Answer<pb::JoinGroupResponse> {
        self.act(request).await
    }

    async fn renew_lease(&self, request: Request<pb::RenewLeaseRequest>) -> Answer<pb::RenewLeaseResponse> {
        let (id, node, session) = self.admit(request, |asked| {
            let pb::RenewLeaseRequest { group_id, node_id, session_id } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            Ok((id, fields::node("node_id", node_id)?, SessionId::new(session_id)))
        })?;
        let (ttl_ms, epoch, revision) = self.renew_lease_of(id, node, session).await?;
        Ok(Response::new(pb::RenewLeaseResponse {
            lease_ttl: Some(convert::duration(ttl_ms)),
            revision,
            epoch: epoch.get(),
        }))
    }

    async fn get_participant(&self, request: Request<pb::GetParticipantRequest>) -> Answer<pb::GetParticipantResponse> {
        let (id, node, view, seen) = self.admit(request, |asked| {
            let pb::GetParticipantRequest { group_id, participant_node_id, view, at_least } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            let node = fields::node("participant_node_id", participant_node_id)?;
            Ok((id, node, fields::view(view)?, settled::seen(at_least)?))
        })?;
        let (member, epoch, revision) = self.look_since(id, seen, |service| service.member(id, node, view)).await?;
        let participant = Some(wire::participant(&member, view));
        Ok(Response::new(pb::GetParticipantResponse { participant, epoch: epoch.get(), revision }))
    }

    async fn list_participants(
        &self,
        request: Request<pb::ListParticipantsRequest>,
    ) -> Answer<pb::ListParticipantsResponse> {
        let (id, view, limit, token, node_ids, seen) = self.admit(request, |asked| {
            let pb::ListParticipantsRequest { group_id, page_size, page_token, view, node_ids, at_least } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
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
        Ok(Response::new(pb::ListParticipantsResponse {
            participants: page.members.iter().map(|member| wire::participant(member, view)).collect(),
            next_page_token: page_token::next_page(list, page.next),
            revision: page.revision,
            epoch: page.epoch.get(),
        }))
    }

    async fn update_participant(
        &self,
        request: Request<pb::UpdateParticipantRequest>,
    ) -> Answer<pb::UpdateParticipantResponse> {
        self.act(request).await
    }

    async fn set_media(&self, request: Request<pb::SetMediaRequest>) -> Answer<pb::SetMediaResponse> {
        self.act(request).await
    }

    async fn set_interest(&self, request: Request<pb::SetInterestRequest>) -> Answer<pb::SetInterestResponse> {
        self.act(request).await
    }

    async fn start_screen_share(
        &self,
        request: Request<pb::StartScreenShareRequest>,
    ) -> Answer<pb::StartScreenShareResponse> {
        self.act(request).await
    }

    async fn stop_screen_share(
        &self,
        request: Request<pb::StopScreenShareRequest>,
    ) -> Answer<pb::StopScreenShareResponse> {
        self.act(request).await
    }

    async fn remove_participant(
        &self,
        request: Request<pb::RemoveParticipantRequest>,
    ) -> Answer<pb::RemoveParticipantResponse> {
        self.act(request).await
    }

    async fn unban_participant(
        &self,
        request: Request<pb::UnbanParticipantRequest>,
    ) -> Answer<pb::UnbanParticipantResponse> {
        self.act(request).await
    }

    async fn list_bans(&self, request: Request<pb::ListBansRequest>) -> Answer<pb::ListBansResponse> {
        let (id, limit, token, seen) = self.admit(request, |asked| {
            let pb::ListBansRequest { group_id, page_size, page_token, at_least } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
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

    async fn get_targets(&self, request: Request<pb::GetTargetsRequest>) -> Answer<pb::GetTargetsResponse> {
        let (id, node, seen) = self.admit(request, |asked| {
            let pb::GetTargetsRequest { group_id, of_node_id, node_id: _, at_least } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            Ok((id, fields::node("of_node_id", of_node_id)?, settled::seen(at_least)?))
        })?;
        let (epoch, revision, targets) =
            self.look_since(id, seen, |service| service.targets(id, Forwarder::Node(node))).await?;
        Ok(Response::new(pb::GetTargetsResponse { epoch: epoch.get(), revision, targets: Some(targets.into()) }))
    }

    async fn report_peer(&self, request: Request<pb::ReportPeerRequest>) -> Answer<pb::ReportPeerResponse> {
        self.act(request).await
    }

    async fn publish_update(&self, request: Request<pb::PublishUpdateRequest>) -> Answer<pb::PublishUpdateResponse> {
        let limits = CallLimits::of(&request);
        let (id, by, draft, term) = self.admit(request, |asked| {
            let pb::PublishUpdateRequest { group_id, node_id, session_id, update, term } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
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
        let (id, by, channel, source) = self.admit(request, |asked| {
            let pb::RequestKeyframeRequest { group_id, node_id, session_id, channel, source_node_id, track } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            let by = fields::unnamed(node_id, session_id)?;
            Ok((id, by, fields::picture(channel, track)?, fields::node("source_node_id", source_node_id)?))
        })?;
        self.look(id, |service| service.request_keyframe(id, &by, Some(source), channel)).await?;
        Ok(Response::new(pb::RequestKeyframeResponse {}))
    }

    async fn get_stats(&self, request: Request<pb::GetStatsRequest>) -> Answer<pb::GetStatsResponse> {
        let (id, seen) =
            self.admit(request, |asked| Ok((fields::swarm_id(KIND, asked.group_id)?, settled::seen(asked.at_least)?)))?;
        let (stats, delivery) = self.look_since(id, seen, |service| service.stats(id)).await?;
        let peers = self.service.peer_counts(id).await.map_err(refused(KIND))?;
        Ok(Response::new(pb::GetStatsResponse {
            epoch: stats.epoch.get(),
            revision: stats.revision,
            stats: Some(convert::stats(&stats, delivery, &peers)),
        }))
    }

    type WatchGroupsStream = Messages<pb::WatchGroupsResponse>;

    async fn watch_groups(&self, request: Request<pb::WatchGroupsRequest>) -> Answer<Self::WatchGroupsStream> {
        let caller = stream::caller(&request);
        let set = self.set(KIND).await?;
        let resume = self.admit(request, |asked| set_position::parse(KIND, set, asked.resume_from))?;
        let watch = self.watch_census(KIND, set.0, resume.as_ref()).await?;
        Ok(Response::new(stream::run(SetSource::<Group>::new(watch), self.observer(caller, None)?)))
    }

    type WatchTargetsStream = Messages<pb::WatchTargetsResponse>;

    async fn watch_targets(&self, request: Request<pb::WatchTargetsRequest>) -> Answer<Self::WatchTargetsStream> {
        let caller = stream::caller(&request);
        let (id, of, node, session, seen) = self.admit(request, |asked| {
            let pb::WatchTargetsRequest { group_id, of_node_id, session_id, node_id, at_least } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            let of = fields::node("of_node_id", of_node_id)?;
            let node = fields::observer(node_id, session_id)?;
            Ok((id, of, node, session_id, settled::seen(at_least)?))
        })?;
        let watch = self.look_since(id, seen, |service| service.watch_targets(id, Forwarder::Node(of))).await?;
        // Without a session it follows whom it watches.
        let tied = if session == 0 { Some(of) } else { node };
        let lifetime = self.lifetime(caller, id, tied, session).await?;
        Ok(Response::new(stream::run(TargetSource::<Group>::new(watch), lifetime)))
    }

    type WatchGroupStream = Messages<pb::WatchGroupResponse>;

    async fn watch_group(&self, request: Request<pb::WatchGroupRequest>) -> Answer<Self::WatchGroupStream> {
        let caller = stream::caller(&request);
        let (id, node, session, view, selection, resume) = self.admit(request, |asked| {
            let pb::WatchGroupRequest { group_id, node_id, session_id, kinds, resume_from, view } = asked;
            let id = fields::swarm_id(KIND, group_id)?;
            let node = fields::observer(node_id, session_id)?;
            let view = fields::view(view)?;
            let selection = fields::shown(fields::kinds(&kinds, wire::event_kind)?, view)?;
            let resume = resume_from.map(|position| (position.epoch, position.revision));
            Ok((id, node, session_id, view, selection, resume))
        })?;
        let watch = self.watch_events(id, selection, resume, view).await?;
        let lifetime = self.watch_lifetime(caller, id, node, session).await?;
        Ok(Response::new(stream::run(EventSource::<Group>::new(watch, view), lifetime)))
    }

    type PublishUpdatesStream = Messages<pb::PublishUpdatesResponse>;

    async fn publish_updates(
        &self,
        request: Request<Streaming<pb::PublishUpdatesRequest>>,
    ) -> Answer<Self::PublishUpdatesStream> {
        let publishing = PublishStream::open(self, KIND, request).await?;
        Ok(Response::new(publish::run(publishing, |event| pb::PublishUpdatesResponse { event: Some(event.into()) })))
    }

    type SubscribeUpdatesStream = Messages<pb::SubscribeUpdatesResponse>;

    async fn subscribe_updates(
        &self,
        request: Request<pb::SubscribeUpdatesRequest>,
    ) -> Answer<Self::SubscribeUpdatesStream> {
        subscribe::open(self, request).await
    }
}

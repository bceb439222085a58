//! ServerService: what the server is and allows, which tokens it refuses, and how its cluster does.

use std::time::Duration;

use tonic::{Request, Response};

use super::page_token::{self, List, PageToken};
use super::status::refused;
use super::{Answer, Edge, convert, fields};
use crate::pb::swarm::v1 as pb;
use crate::pb::swarm::v1::server_service_server::ServerService;
use starling_core::channel::Channel;
use starling_core::id::{NodeId, SwarmKind};
use starling_core::interest::Interest;
use starling_core::revocations::Revocation;

/// No refusal here is about a swarm.
const NO_KIND: SwarmKind = SwarmKind::Livestream;

#[tonic::async_trait]
impl ServerService for Edge {
    async fn get_server_info(&self, request: Request<pb::GetServerInfoRequest>) -> Answer<pb::GetServerInfoResponse> {
        self.admit(request, |pb::GetServerInfoRequest {}| Ok(()))?;
        let told = &self.settings.told;
        let features = [(told.grpc_web, pb::Feature::GrpcWeb), (told.reflection, pb::Feature::Reflection)];
        let features = features.into_iter().filter(|(offered, _)| *offered).map(|(_, feature)| feature.into());
        Ok(Response::new(pb::GetServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            features: features.collect(),
            limits: Some(self.limits()),
            profiles: Interest::ALL.into_iter().filter_map(profile).collect(),
            server_time: Some(convert::timestamp(self.service.clock().wall())),
        }))
    }

    async fn revoke_tokens(&self, request: Request<pb::RevokeTokensRequest>) -> Answer<pb::RevokeTokensResponse> {
        let (subject, issued_before) = self.admit(request, |asked| {
            let pb::RevokeTokensRequest { subject_node_id, issued_before } = asked;
            let subject = fields::node("subject_node_id", subject_node_id)?;
            self.settings.allows("subject_node_id", subject_node_id)?;
            Ok((subject, issued_before))
        })?;
        let latest = self.service.latest_revocation().map_err(refused(NO_KIND))?;
        let issued_before =
            issued_before.as_ref().map(|time| fields::time("issued_before", time, latest)).transpose()?;
        let revocation = self.service.revoke_tokens(subject, issued_before).await.map_err(refused(NO_KIND))?;
        Ok(Response::new(pb::RevokeTokensResponse { revocation: Some(told(subject, revocation)) }))
    }

    async fn list_revocations(
        &self,
        request: Request<pb::ListRevocationsRequest>,
    ) -> Answer<pb::ListRevocationsResponse> {
        let (limit, token) = self.admit(request, |asked| {
            let pb::ListRevocationsRequest { page_size, page_token } = asked;
            let token = PageToken::parse(&page_token)?;
            token.map_or(Ok(()), |token| token.is_of(List::Revocations))?;
            Ok((fields::page_size(page_size, self.settings.list_page)?, token))
        })?;
        let from = token.and_then(|token| NodeId::new(token.start()));
        let (found, next) = self.service.list_revocations(from, limit).map_err(refused(NO_KIND))?;
        Ok(Response::new(pb::ListRevocationsResponse {
            revocations: found.into_iter().map(|(node, revocation)| told(node, revocation)).collect(),
            next_page_token: page_token::next_page(List::Revocations, next.map(NodeId::get)),
        }))
    }

    async fn get_cluster_status(
        &self,
        request: Request<pb::GetClusterStatusRequest>,
    ) -> Answer<pb::GetClusterStatusResponse> {
        self.admit(request, |pb::GetClusterStatusRequest {}| Ok(()))?;
        let status = self.service.cluster_status().await.map_err(refused(NO_KIND))?;
        Ok(Response::new(status.into()))
    }

    async fn activate_level(&self, request: Request<pb::ActivateLevelRequest>) -> Answer<pb::ActivateLevelResponse> {
        let level =
            self.admit(
                request,
                |pb::ActivateLevelRequest { level }| {
                    if level == 0 { fields::invalid("level", "must be 1 or more") } else { Ok(level) }
                },
            )?;
        self.service.activate_level(level).await.map_err(refused(NO_KIND))?;
        tracing::info!(level, "the level of the log was activated");
        Ok(Response::new(pb::ActivateLevelResponse { level }))
    }
}

impl Edge {
    fn limits(&self) -> pb::ServerLimits {
        let settings = &self.settings;
        let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
        let lease = |ms: u32| Some(convert::duration(ms));
        pb::ServerLimits {
            max_payload_bytes: size(settings.max_payload(Channel::Data)),
            max_chat_payload_bytes: size(settings.max_payload(Channel::Chat)),
            max_receive_bytes: size(settings.receive_bytes),
            max_publish_receive_bytes: size(settings.publish_receive_bytes),
            max_swarm_metadata_bytes: size(fields::SWARM_METADATA),
            max_member_bytes: size(fields::MEMBER_BYTES),
            max_id: (settings.max_id < u64::MAX).then_some(settings.max_id),
            max_page_size: size(settings.list_page),
            max_swarms: settings.told.max_swarms as u64,
            event_log_revisions: settings.told.event_log_revisions as u64,
            heartbeat_interval: span(settings.heartbeat),
            max_stream_age: span(settings.max_age),
            retention: span(settings.told.retention),
            empty_group_timeout: span(settings.told.empty_group),
            default_lease_ttl: lease(fields::DEFAULT_LEASE_MS),
            min_lease_ttl: lease(fields::MIN_LEASE_MS),
            max_lease_ttl: lease(fields::MAX_LEASE_MS),
        }
    }
}

fn told(subject: NodeId, Revocation { issued_before, forget_at }: Revocation) -> pb::Revocation {
    pb::Revocation {
        subject_node_id: subject.get(),
        issued_before: Some(convert::timestamp(issued_before)),
        expire_time: Some(convert::timestamp(forget_at)),
    }
}

fn span(time: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(time).ok()
}

/// What an interest means; `None` for NONE.
fn profile(interest: Interest) -> Option<pb::InterestProfile> {
    let propagation = interest.propagation()?;
    Some(pb::InterestProfile {
        interest: pb::Interest::from(interest).into(),
        priority: pb::Priority::from(propagation.priority).into(),
        delay_budget: Some(convert::duration(propagation.delay_ms)),
        quality: pb::Quality::from(propagation.pictures).into(),
    })
}

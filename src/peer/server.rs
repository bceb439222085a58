//! What peers ask this server.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::convert::{self, accepted_message, forwarded_update, rejected_message};
use super::network::PeerNetwork;
use super::{Homes, exchange, follow};
use crate::pb::peer::v1::peer_service_server::PeerService;
use crate::pb::peer::v1::{
    ExchangeRequest, ExchangeResponse, FollowRequest, FollowResponse, PublishRequest, PublishResponse, StatsRequest,
    StatsResponse,
};
use crate::service::Service;
use crate::service::publish::PublishError;
use starling_core::id::NO_HOME;

/// What peers ask for, at this server.
#[derive(Clone, Debug)]
pub struct PeerHost {
    pub(super) network: PeerNetwork,
    pub(super) service: Service,
    pub(super) homes: Arc<dyn Homes>,
}

impl PeerHost {
    /// A server with these swarms.
    pub fn new(network: PeerNetwork, service: Service, homes: Arc<dyn Homes>) -> Self {
        Self { network, service, homes }
    }
}

#[tonic::async_trait]
impl PeerService for PeerHost {
    type ExchangeStream = BoxStream<'static, Result<ExchangeResponse, Status>>;
    type FollowStream = BoxStream<'static, Result<FollowResponse, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<ExchangeRequest>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        Ok(exchange::answer(&self.network, request))
    }

    async fn follow(&self, request: Request<Streaming<FollowRequest>>) -> Result<Response<Self::FollowStream>, Status> {
        follow::answer(&self.service, &self.homes, request.into_inner()).await
    }

    async fn publish(&self, request: Request<PublishRequest>) -> Result<Response<PublishResponse>, Status> {
        let request = request.into_inner();
        if request.incarnation != self.network.own() {
            return Err(Status::failed_precondition("another life of this server is meant"));
        }
        let update = forwarded_update(request)?;
        if self.homes.own(update.id) == NO_HOME {
            return Err(Status::unavailable("this server is no home now"));
        }
        match self.service.publish_forwarded(update).await {
            Ok(accepted) => Ok(Response::new(accepted_message(&accepted))),
            Err(PublishError::Feed(rejected)) => Ok(Response::new(rejected_message(rejected))),
            // The other server has found that the publisher may: one of the two is behind.
            Err(PublishError::Swarm(refusal)) => Err(Status::failed_precondition(refusal.to_string())),
        }
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsResponse>, Status> {
        let (id, epoch) = convert::swarm(request.into_inner().swarm)?;
        let feed = self.service.feed(id, epoch).ok_or_else(|| Status::not_found("there is no such swarm here"))?;
        Ok(Response::new(StatsResponse { figures: feed.counts().to_figures() }))
    }
}

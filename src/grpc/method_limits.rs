//! What stands around each generated service: the size of requests, the drain, who calls, and how much at once.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::{self, Either, Ready};
use http::{Extensions, HeaderMap, Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::Edge;
use super::authentication::Authentication;
use super::call_counts::CallRecord;
use super::client_address::client_address;
use super::client_limits::client_identity;
use super::request_messages;
use super::status::draining;
use crate::clock::Clock;
use crate::limits::Clients;
use crate::shutdown::Shutdown;
use crate::transport::ConnectionShared;

type Answer = Result<Response<Body>, Infallible>;

/// Two instances of one generated service: publishing may send larger messages
/// than everything else, and tonic's limit is per instance.
#[derive(Clone, Debug)]
pub(super) struct MethodLimits<S> {
    publishing: S,
    other: S,
    shutdown: Shutdown,
    authentication: Authentication,
    clock: Clock,
    clients: Option<Arc<Clients>>,
}

impl<S> MethodLimits<S> {
    /// Of this edge.
    pub(super) fn new(publishing: S, other: S, edge: &Edge) -> Self {
        let (shutdown, authentication) = (edge.shutdown.clone(), edge.authentication.clone());
        let (clock, clients) = (edge.service.clock().clone(), edge.clients.clone());
        Self { publishing, other, shutdown, authentication, clock, clients }
    }

    /// Who sends a request, noted in it with what it counts for.
    fn admit(&self, extensions: &mut Extensions, headers: &HeaderMap) -> Result<(), Status> {
        let address = client_address(extensions, headers);
        let connection = extensions.get::<Arc<ConnectionShared>>();
        let certified = connection.and_then(|connection| connection.identity());
        let identity = self.authentication.caller(headers, certified, address, || self.clock.wall())?;
        let client = client_identity(&identity);
        if let (Some(connection), Some(client)) = (connection, &client) {
            connection.carries_call_of(client.number());
        }
        if let Some(clients) = &self.clients {
            let number = connection.map_or(0, |connection| Arc::as_ptr(connection).addr());
            let is_stream = extensions.get::<Arc<CallRecord>>().is_some_and(|record| record.method().answers_stream());
            if let Some(permit) = clients.begin(address, client, number, is_stream)? {
                extensions.insert(permit);
            }
        }
        extensions.insert(identity);
        Ok(())
    }
}

impl<S: NamedService> NamedService for MethodLimits<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for MethodLimits<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Answer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        // Who wants to leave a draining process may.
        if self.shutdown.is_draining() && !method.starts_with("Leave") {
            return Either::Right(future::ready(Ok(draining().into_http())));
        }
        let (is_stream, is_update) = (method == "PublishUpdates", method == "PublishUpdate");
        let (mut parts, body) = request.into_parts();
        if let Err(refused) = self.admit(&mut parts.extensions, &parts.headers) {
            return Either::Right(future::ready(Ok(refused.into_http())));
        }
        let request = Request::from_parts(parts, body);
        // The messages of the stream are decoded, and their size bounded, by its method.
        let request = if is_stream { request_messages::pass(request) } else { request };
        let service = if is_update { &mut self.publishing } else { &mut self.other };
        Either::Left(service.call(request))
    }
}

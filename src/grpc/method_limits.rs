//! What stands around each generated service: the size of requests, and the drain.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::future::{self, Either, Ready};
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::request_messages;
use super::status::draining;
use crate::shutdown::Shutdown;

type Answer = Result<Response<Body>, Infallible>;

/// Two instances of one generated service: publishing may send larger messages
/// than everything else, and tonic's limit is per instance.
#[derive(Clone, Debug)]
pub(super) struct MethodLimits<S> {
    publishing: S,
    other: S,
    shutdown: Shutdown,
}

impl<S> MethodLimits<S> {
    pub(super) const fn new(publishing: S, other: S, shutdown: Shutdown) -> Self {
        Self { publishing, other, shutdown }
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
        Either::Left(match method {
            // Its messages are decoded, and their size bounded, by its method.
            "PublishUpdates" => self.other.call(request_messages::pass(request)),
            "PublishUpdate" => self.publishing.call(request),
            _ => self.other.call(request),
        })
    }
}

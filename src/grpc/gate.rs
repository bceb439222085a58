//! What stands around each generated service: the size of requests, the drain, and
//! the bodies that are not tonic's.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::{Either, Map, Ready, ready};
use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tower::Service;

use super::body::Handover;
use super::status::draining;
use crate::shutdown::Shutdown;

type Answer = Result<Response<Body>, Infallible>;

/// Two instances of one generated service: publishing may send larger messages
/// than everything else, and tonic's limit is per instance.
#[derive(Clone, Debug)]
pub(super) struct Gate<S> {
    publishing: S,
    other: S,
    shutdown: Shutdown,
}

impl<S> Gate<S> {
    pub(super) const fn new(publishing: S, other: S, shutdown: Shutdown) -> Self {
        Self { publishing, other, shutdown }
    }
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Map<S::Future, fn(Answer) -> Answer>, Ready<Answer>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Generated services are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        // Who wants to leave a draining process may.
        if self.shutdown.is_draining() && !method.starts_with("Leave") {
            return Either::Right(ready(Ok(draining().into_http())));
        }
        let service = if method.starts_with("PublishUpdate") { &mut self.publishing } else { &mut self.other };
        Either::Left(service.call(request).map(with_own_body))
    }
}

fn with_own_body(answer: Answer) -> Answer {
    answer.map(|mut response| {
        let handover = response.extensions_mut().remove::<Handover>();
        match handover.and_then(|handover| handover.take()) {
            Some(updates) => response.map(|_| Body::new(updates)),
            None => response,
        }
    })
}

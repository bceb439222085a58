//! The way of updates past everything that is made for answers.
//!
//! An answer passes tonic's router, the layers and a box of each of them, frame by
//! frame. Updates do not: the generated code opens the subscription, its body rides
//! along in the extensions of the answer, and is put in place here, outside. With
//! gRPC-Web, which frames bodies its own way, [`Gate`](super::gate::Gate) does it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use tower::{BoxError, Service};

use super::body::{Handover, Updates};
use super::watchdog::{Watchdog, Watched};

/// Marks a request whose answer is not framed anew on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native;

/// Stands before all layers.
#[derive(Clone, Debug)]
pub(super) struct Front<S> {
    inner: S,
    watchdog: Watchdog,
}

impl<S> Front<S> {
    pub(super) const fn new(inner: S, watchdog: Watchdog) -> Self {
        Self { inner, watchdog }
    }
}

impl<S, A, B> Service<Request<A>> for Front<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<FrontBody<B>>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE).map(|content| content.as_bytes());
        if !content.is_some_and(|content| content.starts_with(b"application/grpc-web")) {
            request.extensions_mut().insert(Native);
        }
        Answer { future: Box::pin(self.inner.call(request)), watchdog: self.watchdog.clone() }
    }
}

/// An answer to come.
pub(super) struct Answer<F> {
    future: Pin<Box<F>>,
    watchdog: Watchdog,
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<FrontBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.future.as_mut().poll(cx))?;
        let handover = response.extensions_mut().remove::<Handover>();
        let updates = handover.and_then(|handover| handover.take());
        Poll::Ready(Ok(response.map(|body| match updates {
            Some(updates) => FrontBody::Updates(Box::new(self.watchdog.watch(updates))),
            None => FrontBody::Other(Box::pin(body)),
        })))
    }
}

/// What hyper is given to send.
pub(super) enum FrontBody<B> {
    Updates(Box<Watched<Updates>>),
    Other(Pin<Box<B>>),
}

impl<B> Body for FrontBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Updates(updates) => Pin::new(updates.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Other(body) => body.as_mut().poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Updates(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Updates(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}

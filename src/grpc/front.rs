//! The way of updates past everything that is made for answers.
//!
//! An answer passes tonic's router, the layers and a box of each of them, frame by
//! frame. Updates do not: the generated code opens the subscription, its body rides
//! along in the extensions of the answer, and is put in place here, outside. With
//! gRPC-Web, which frames bodies its own way, [`Gate`](super::gate::Gate) does it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use tower::util::Oneshot;
use tower::{BoxError, ServiceExt};

use super::body::{Handover, Updates};
use super::carriage::Carriage;
use super::watchdog::{Reader, Watchdog, Watched};

/// Marks a request whose answer is not framed anew on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Native;

/// Stands before all layers of one connection.
#[derive(Debug)]
pub(super) struct Front<S> {
    inner: S,
    watchdog: Watchdog,
    carriage: Arc<Carriage>,
}

impl<S> Front<S> {
    pub(super) const fn new(inner: S, watchdog: Watchdog, carriage: Arc<Carriage>) -> Self {
        Self { inner, watchdog, carriage }
    }
}

impl<S, B> Service<Request<Incoming>> for Front<S>
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone,
{
    type Response = Response<Watched<FrontBody<B>>>;
    type Error = S::Error;
    type Future = Answer<Oneshot<S, Request<Incoming>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE).map(|content| content.as_bytes());
        if !content.is_some_and(|content| content.starts_with(b"application/grpc-web")) {
            request.extensions_mut().insert(Native);
        }
        let reader = self.watchdog.reader();
        if request.version() == Version::HTTP_2 {
            // hyper calls this right before it hands the stream over.
            self.carriage.expect(Arc::clone(&reader), request.uri().path().ends_with("/SubscribeUpdates"));
        } else {
            // With HTTP/1 an answer goes with its connection.
            reader.carried_by(&self.carriage.end());
        }
        request.extensions_mut().insert(Arc::clone(&reader));
        request.extensions_mut().insert(Arc::clone(&self.carriage));
        let connects = request.method() == Method::CONNECT;
        let future = Box::pin(self.inner.clone().oneshot(request));
        Answer { future, watchdog: self.watchdog.clone(), reader, connects }
    }
}

/// An answer to come.
pub(super) struct Answer<F> {
    future: Pin<Box<F>>,
    watchdog: Watchdog,
    reader: Arc<Reader>,
    /// It is asked for a tunnel.
    connects: bool,
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Watched<FrontBody<B>>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.future.as_mut().poll(cx))?;
        if self.connects {
            // A success would open it.
            *response.status_mut() = StatusCode::NOT_IMPLEMENTED;
        }
        let updates = Handover::take(&mut response);
        Poll::Ready(Ok(response.map(|body| {
            let body = updates
                .map_or_else(|| FrontBody::Other(Box::pin(body)), |updates| FrontBody::Updates(Box::new(updates)));
            self.watchdog.watch(body, Arc::clone(&self.reader))
        })))
    }
}

/// What hyper is given to send.
pub(super) enum FrontBody<B> {
    Updates(Box<Updates>),
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

//! The way of updates past everything that is made for answers.
//!
//! An answer passes tonic's router, the layers and a box of each of them, frame by
//! frame. Updates do not: the generated code opens the subscription, its body rides
//! along in the extensions of the answer, and is put in place here, outside. With
//! gRPC-Web, which frames bodies its own way, [`MethodLimits`](super::method_limits::MethodLimits) does it.

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
use super::connection::ConnectionShared;
use super::request_body::Complete;
use super::stall::{StallDetector, StreamProgress, WatchedBody};

/// Marks a request whose answer is not framed anew on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct SkipsGrpcWeb;

/// Stands before all layers of one connection.
#[derive(Debug)]
pub(super) struct FastPath<S> {
    inner: S,
    stalls: StallDetector,
    shared: Arc<ConnectionShared>,
}

impl<S> FastPath<S> {
    pub(super) const fn new(inner: S, stalls: StallDetector, shared: Arc<ConnectionShared>) -> Self {
        Self { inner, stalls, shared }
    }
}

impl<S, B> Service<Request<Incoming>> for FastPath<S>
where
    S: tower::Service<Request<Complete>, Response = Response<B>> + Clone,
{
    type Response = Response<WatchedBody<ResponseBody<B>>>;
    type Error = S::Error;
    type Future = Answer<Oneshot<S, Request<Complete>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE).map(|content| content.as_bytes());
        if !content.is_some_and(|content| content.starts_with(b"application/grpc-web")) {
            request.extensions_mut().insert(SkipsGrpcWeb);
        }
        let progress = self.stalls.stream();
        if request.version() == Version::HTTP_2 {
            // hyper calls this right before it hands the stream over.
            self.shared.expect_stream(Arc::clone(&progress), request.uri().path().ends_with("/SubscribeUpdates"));
        } else {
            // With HTTP/1 an answer goes with its connection.
            progress.set_stream_waker(&self.shared.end());
        }
        if let Some(greeting) = greeting(&request) {
            return Answer { state: State::Greeting(Some(greeting)), stalls: self.stalls.clone(), progress };
        }
        request.extensions_mut().insert(Arc::clone(&progress));
        request.extensions_mut().insert(Arc::clone(&self.shared));
        let version = request.version();
        let request = request.map(|body| Complete::new(body, version));
        let state = State::Call(Box::pin(self.inner.clone().oneshot(request)));
        Answer { state, stalls: self.stalls.clone(), progress }
    }
}

/// What is said to who does not speak gRPC: a browser, a scanner, a probe.
fn greeting<B>(request: &Request<B>) -> Option<(StatusCode, &'static str)> {
    const ABOUT: &str = concat!("starling ", env!("CARGO_PKG_VERSION"), ", a gRPC server\n");
    const NO_GRPC: &str = "this is a gRPC server: the content-type is application/grpc or application/grpc-web\n";
    let content = request.headers().get(header::CONTENT_TYPE).map(|content| content.as_bytes());
    let speaks_grpc = content.is_some_and(|content| content.starts_with(b"application/grpc"));
    match *request.method() {
        // CORS answers it.
        Method::OPTIONS => None,
        // A success would open a tunnel.
        Method::CONNECT => Some((StatusCode::NOT_IMPLEMENTED, "")),
        Method::GET | Method::HEAD if request.uri().path() == "/" => Some((StatusCode::OK, ABOUT)),
        _ if speaks_grpc => None,
        _ => Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, NO_GRPC)),
    }
}

/// An answer to come.
pub(super) struct Answer<F> {
    state: State<F>,
    stalls: StallDetector,
    progress: Arc<StreamProgress>,
}

enum State<F> {
    Call(Pin<Box<F>>),
    Greeting(Option<(StatusCode, &'static str)>),
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<WatchedBody<ResponseBody<B>>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.state {
            State::Greeting(greeting) => {
                let (status, text) = greeting.take().expect("an answer is not polled after it was given");
                let response = Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain");
                response
                    .body(ResponseBody::Text(Box::new(Bytes::from_static(text.as_bytes()))))
                    .expect("a status and a header")
            }
            State::Call(call) => {
                let mut response = ready!(call.as_mut().poll(cx))?;
                match Handover::take(&mut response) {
                    Some(updates) => response.map(|_| ResponseBody::Updates(Box::new(updates))),
                    None => response.map(|body| ResponseBody::Other(Box::pin(body))),
                }
            }
        };
        Poll::Ready(Ok(response.map(|body| self.stalls.watch(body, Arc::clone(&self.progress)))))
    }
}

/// What hyper is given to send.
pub(super) enum ResponseBody<B> {
    Updates(Box<Updates>),
    Other(Pin<Box<B>>),
    /// Boxed: an open stream is one of the others.
    Text(Box<Bytes>),
}

impl<B> Body for ResponseBody<B>
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
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut **text))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Updates(_) => false,
            Self::Other(body) => body.is_end_stream(),
            Self::Text(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Updates(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}

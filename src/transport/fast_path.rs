//! The first service of a connection, and the way of bodies past all layers.
//!
//! The body of an answer passes the service's router, its layers, and a box of each of them, frame
//! by frame. A stream that carries much need not: the service puts its body into a [`Handover`],
//! which rides in the extensions of its answer, and [`Answer`] puts it in place here, outside of
//! everything. This is the only place that takes one from an answer. A layer that must frame the body anew cannot
//! be passed by, so that the service hands over only where the request says that it may
//! ([`AcceptsHandover`]).

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Extensions, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::Service;
use parking_lot::Mutex;
use tower::util::Oneshot;
use tower::{BoxError, ServiceExt};

use super::connection::ConnectionShared;
use super::request_body::CompleteBody;
use super::stall::{StallDetector, StreamProgress, WatchedBody};
use super::stream_count::OpenStream;
use super::{Plan, Protocol};

/// Marks a request whose answer may bring its body along in a [`Handover`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptsHandover;

/// Marks a request that is to be refused: its peer address has its share of connections with streams, and
/// this one carries none yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BeyondShare;

/// Marks a request for whose stream there is no room: it is to be refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamRefused;

/// What an open stream holds, in bytes, beside what it was asked for. Measured: a subscription 3 to 4 KB, streams of
/// tonic 6.7 to 8.1 KB.
const OPEN_STREAM: usize = 8 * 1024;

/// Takes a body past the layers of a service, in the extensions of an answer or of a request.
pub(crate) struct Handover<U>(Arc<Mutex<Option<U>>>);

impl<U> Clone for Handover<U> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<U: Send + 'static> Handover<U> {
    pub(crate) fn new(body: U) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    /// The body that these extensions bring along.
    pub(crate) fn take(extensions: &mut Extensions) -> Option<U> {
        let handover = extensions.remove::<Self>()?;
        handover.0.lock().take()
    }
}

/// Stands before all layers of one connection.
pub(super) struct FastPath<S, P> {
    inner: S,
    stalls: StallDetector,
    shared: Arc<ConnectionShared>,
    protocol: PhantomData<fn() -> P>,
}

impl<S, P> FastPath<S, P> {
    pub(super) const fn new(inner: S, stalls: StallDetector, shared: Arc<ConnectionShared>) -> Self {
        Self { inner, stalls, shared, protocol: PhantomData }
    }
}

impl<S, B, P> Service<Request<Incoming>> for FastPath<S, P>
where
    S: tower::Service<Request<CompleteBody<P>>, Response = Response<B>> + Clone,
    P: Protocol,
{
    type Response = Response<WatchedBody<ResponseBody<P::Body, B>>>;
    type Error = S::Error;
    type Future = Answer<Oneshot<S, Request<CompleteBody<P>>>, P>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let plan = P::plan(&request);
        let held = self.shared.accounts().streams().reserve(OPEN_STREAM);
        let is_refused = held.is_err();
        let progress = self.stalls.stream(held.ok());
        if request.version() == Version::HTTP_2 {
            // hyper calls this right before it hands the stream over.
            let inline = matches!(plan, Plan::Serve { inline: true, .. });
            self.shared.expect_stream(Arc::clone(&progress), inline);
        } else {
            // With HTTP/1 an answer goes with its connection.
            progress.set_stream_waker(&self.shared.end());
        }
        let open = OpenStream::new(self.shared.streams());
        let state = match plan {
            Plan::Answer(status, text) => State::Text(Some((status, text))),
            Plan::Serve { handover, uploads, beyond_share, .. } => {
                if open.is_none() && !beyond_share {
                    self.shared.streams().count_refused();
                    request.extensions_mut().insert(BeyondShare);
                }
                if uploads {
                    self.shared.expect_much();
                }
                if handover {
                    request.extensions_mut().insert(AcceptsHandover);
                }
                request.extensions_mut().insert(Arc::clone(&progress));
                request.extensions_mut().insert(Arc::clone(&self.shared));
                if is_refused {
                    request.extensions_mut().insert(StreamRefused);
                }
                let version = request.version();
                let request = request.map(|body| CompleteBody::new(body, version));
                State::Call(Box::pin(self.inner.clone().oneshot(request)))
            }
        };
        Answer { state, progress, open, shared: Arc::clone(&self.shared), protocol: PhantomData }
    }
}

/// An answer to come.
pub(super) struct Answer<F, P> {
    state: State<F>,
    progress: Arc<StreamProgress>,
    open: Option<OpenStream>,
    shared: Arc<ConnectionShared>,
    protocol: PhantomData<fn() -> P>,
}

enum State<F> {
    Call(Pin<Box<F>>),
    Text(Option<(StatusCode, &'static str)>),
}

impl<F, B, E, P> Future for Answer<F, P>
where
    F: Future<Output = Result<Response<B>, E>>,
    P: Protocol,
{
    type Output = Result<Response<WatchedBody<ResponseBody<P::Body, B>>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.state {
            State::Text(text) => {
                let (status, text) = text.take().expect("an answer is not polled after it was given");
                let response = Response::builder().status(status).header(header::CONTENT_TYPE, "text/plain");
                response
                    .body(ResponseBody::Text(Box::new(Bytes::from_static(text.as_bytes()))))
                    .expect("a status and a header")
            }
            State::Call(call) => {
                let mut response = ready!(call.as_mut().poll(cx))?;
                match Handover::take(response.extensions_mut()) {
                    Some(body) => {
                        self.progress.count_in(self.shared.accounts());
                        response.map(|_| ResponseBody::HandedOver(Box::new(body)))
                    }
                    None => response.map(|body| ResponseBody::Other(Box::pin(body))),
                }
            }
        };
        let open = self.open.take();
        Poll::Ready(Ok(response.map(|body| StallDetector::watch(body, Arc::clone(&self.progress), open))))
    }
}

/// What hyper is given to send.
pub(super) enum ResponseBody<U, B> {
    HandedOver(Box<U>),
    Other(Pin<Box<B>>),
    /// Boxed: an open stream is one of the others.
    Text(Box<Bytes>),
}

impl<U, B> Body for ResponseBody<U, B>
where
    U: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::HandedOver(body) => Pin::new(body.as_mut()).poll_frame(cx).map_err(Into::into),
            Self::Other(body) => body.as_mut().poll_frame(cx).map_err(Into::into),
            Self::Text(text) if text.is_empty() => Poll::Ready(None),
            Self::Text(text) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut **text))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::HandedOver(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
            Self::Text(text) => text.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::HandedOver(body) => body.size_hint(),
            Self::Other(body) => body.size_hint(),
            Self::Text(text) => SizeHint::with_exact(text.len() as u64),
        }
    }
}

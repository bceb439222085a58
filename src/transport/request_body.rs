//! The body of a request as it comes from the connection.
//!
//! To most readers of a body, a request whose stream was reset looks like one that has ended:
//! its call would be carried out. [`CompleteBody`] tells the two apart.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tower::BoxError;

use super::Protocol;

/// A body that ends without an error only when the client has ended it.
#[derive(Debug)]
pub(crate) struct CompleteBody<P> {
    body: Incoming,
    /// With HTTP/1 a body that is cut short is an error by itself.
    http2: bool,
    protocol: PhantomData<fn() -> P>,
}

impl<P> CompleteBody<P> {
    pub(super) fn new(body: Incoming, version: Version) -> Self {
        Self { body, http2: version == Version::HTTP_2, protocol: PhantomData }
    }
}

impl<P: Protocol> Body for CompleteBody<P> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => Some(Ok(frame)),
            // The stream was reset: the client does not want the call any more.
            Some(Err(_)) if self.http2 => Some(Err(cut(P::reset()))),
            None if self.http2 && !self.body.is_end_stream() => Some(Err(cut(P::reset()))),
            Some(Err(error)) => Some(Err(cut(error.into()))),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Says that a request has no end.
fn cut(error: BoxError) -> BoxError {
    tracing::info!(%error, "a request was cut");
    error
}

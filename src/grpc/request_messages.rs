//! The messages of a request that is a stream of them.
//!
//! tonic's `Streaming` keeps one buffer for as long as a call lives, as large as the largest message that came: a
//! client that sends one such message on each of a thousand streams would hold gigabytes here, and go on paying
//! nothing. So the body passes tonic by. Here a message has a buffer of its own, which goes with it, and one that
//! comes within a frame has none: its payload is a part of the frame.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures_util::Stream;
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::body::Body;
use tonic::{Code, Request, Status, Streaming};

use super::message_count::PREFIX;
use super::status::message_too_large;
use crate::transport::Handover;

/// Lets the body of a request pass tonic by, which sees an empty one.
pub(super) fn pass(request: http::Request<Body>) -> http::Request<Body> {
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(Handover::new(body));
    http::Request::from_parts(parts, Body::empty())
}

/// Decodes the messages of a body. An error is the last thing that it yields.
pub(super) struct RequestMessages<M> {
    /// `None` when it has come to its end.
    body: Option<Body>,
    /// The largest message, in bytes.
    most: usize,
    /// What came last and is not decoded yet.
    frame: Bytes,
    /// Flag and length of the next message, as far as they are known.
    prefix: [u8; PREFIX],
    known: usize,
    /// A message that does not come within one frame, and how long it is.
    gathered: Option<(BytesMut, usize)>,
    message: PhantomData<fn() -> M>,
}

impl<M> RequestMessages<M> {
    /// The messages of a request whose body was let [`pass`]. None has more than `most` bytes.
    pub(super) fn of(request: &mut Request<Streaming<M>>, most: usize) -> Self {
        Self::new(Handover::take(request.extensions_mut()), most)
    }

    const fn new(body: Option<Body>, most: usize) -> Self {
        let message = PhantomData;
        Self { body, most, frame: Bytes::new(), prefix: [0; PREFIX], known: 0, gathered: None, message }
    }

    /// How long the message is whose prefix is known.
    ///
    /// # Errors
    ///
    /// When it is compressed, which no request may be, or too long.
    fn length(&self) -> Result<usize, Status> {
        let [flag, length @ ..] = self.prefix;
        match flag {
            0 => {}
            1 => return Err(Status::internal("protocol error: a compressed message came without grpc-encoding")),
            _ => return Err(Status::internal(format!("protocol error: {flag} is no compression flag"))),
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > self.most { Err(message_too_large(self.most)) } else { Ok(length) }
    }

    /// The bytes of the next message, when all of them are there.
    fn next_whole(&mut self) -> Result<Option<Bytes>, Status> {
        let mut gathered = match self.gathered.take() {
            Some(gathered) => gathered,
            None => {
                let more = self.frame.len().min(PREFIX - self.known);
                self.frame.copy_to_slice(&mut self.prefix[self.known..self.known + more]);
                self.known += more;
                if self.known < PREFIX {
                    return Ok(None);
                }
                let length = self.length()?;
                self.known = 0;
                if self.frame.len() >= length {
                    return Ok(Some(self.frame.split_to(length)));
                }
                (BytesMut::with_capacity(length), length)
            }
        };
        let (message, length) = &mut gathered;
        let more = self.frame.len().min(*length - message.len());
        message.extend_from_slice(&self.frame.split_to(more));
        if message.len() == *length {
            return Ok(Some(gathered.0.freeze()));
        }
        self.gathered = Some(gathered);
        Ok(None)
    }

    /// True when a message has begun, and is not whole.
    const fn has_begun(&self) -> bool {
        self.known > 0 || self.gathered.is_some()
    }
}

impl<M: Message + Default> RequestMessages<M> {
    fn decode_next(&mut self) -> Result<Option<M>, Status> {
        let Some(bytes) = self.next_whole()? else {
            // What is left of a frame would keep all of it.
            self.frame = Bytes::new();
            return Ok(None);
        };
        M::decode(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }

    fn end(&mut self, last: Option<Status>) -> Poll<Option<Result<M, Status>>> {
        self.body = None;
        Poll::Ready(last.map(Err))
    }
}

impl<M: Message + Default> Stream for RequestMessages<M> {
    type Item = Result<M, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.body.is_none() {
                return Poll::Ready(None);
            }
            match this.decode_next() {
                Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                Ok(None) => {}
                Err(status) => return this.end(Some(status)),
            }
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.frame = data,
                // Trailers, which say nothing in a request.
                Some(Ok(Err(_))) => return this.end(None),
                // Nobody is there any more who would read a status.
                Some(Err(status)) if status.code() == Code::Cancelled => return this.end(None),
                Some(Err(status)) => return this.end(Some(status)),
                None if this.has_begun() => {
                    return this.end(Some(Status::internal("the request ended within a message")));
                }
                None => return this.end(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use futures_util::{FutureExt, StreamExt};

    use super::*;
    use crate::pb::livestream::v1::GetLivestreamRequest;

    struct Frames(VecDeque<Bytes>);

    impl http_body::Body for Frames {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
        }
    }

    /// What becomes of a body that comes in these frames.
    fn decoded(frames: &[&[u8]], most: usize) -> (Vec<u64>, Option<Code>) {
        let body = Body::new(Frames(frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect()));
        let messages = RequestMessages::<GetLivestreamRequest>::new(Some(body), most);
        let all: Vec<_> = messages.collect().now_or_never().expect("all frames are there");
        let mut ids = Vec::new();
        let mut last = None;
        for message in all {
            assert_eq!(last, None, "nothing follows an error");
            match message {
                Ok(message) => ids.push(message.livestream_id),
                Err(status) => last = Some(status.code()),
            }
        }
        (ids, last)
    }

    #[test]
    fn messages_pass_across_any_split() {
        let body = b"\0\0\0\0\x02\x08\x07\0\0\0\0\0\0\0\0\0\x03\x08\x80\x01";
        for first in 0..=body.len() {
            for second in first..=body.len() {
                let frames = [&body[..first], &body[first..second], &body[second..]];
                assert_eq!(decoded(&frames, 3), (vec![7, 0, 128], None), "{first}, {second}");
            }
        }
    }

    #[test]
    fn body_that_is_cut_short_is_an_error() {
        for length in 1..7 {
            let body = &b"\0\0\0\0\x02\x08\x07"[..length];
            assert_eq!(decoded(&[body], 2), (Vec::new(), Some(Code::Internal)), "{length} bytes");
        }
        assert_eq!(decoded(&[], 2), (Vec::new(), None));
    }

    #[test]
    fn malformed_messages_end_the_stream() {
        let good = b"\0\0\0\0\x02\x08\x07";
        for (bad, code) in [
            (&b"\x01\0\0\0\0"[..], Code::Internal),
            (b"\x02\0\0\0\0", Code::Internal),
            (b"\0\0\0\0\x03", Code::ResourceExhausted),
            (b"\0\0\0\0\x02\x08\x80", Code::Internal),
        ] {
            let body = [&good[..], bad, good].concat();
            assert_eq!(decoded(&[&body], 2), (vec![7], Some(code)), "{bad:?}");
        }
    }
}

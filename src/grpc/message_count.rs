//! The body of a request as its messages: how many come, how large they are, and whether they
//! come in time.
//!
//! [`Counted`] stands behind gRPC-Web, where the body is length-prefixed messages, and follows
//! them. tonic reads past the messages that follow the first one of a unary call, and would carry
//! the call out: more than one are refused here. It also sets room for a whole message aside as
//! soon as it has seen its prefix, so that the room is counted here before that. A message that
//! comes whole in one frame is taken at once, and neither counted nor timed.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Extensions;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tower::BoxError;

use super::status;
use crate::budget::Reservation;
use crate::transport::{ConnectionShared, StreamProgress};

/// Flag and length in front of every message.
pub(super) const PREFIX: usize = 5;

/// What a method takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// One message.
    One,
    /// As many as come, of which the first has at most so many bytes.
    Stream(usize),
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    messages: Messages,
    /// A message has begun, and is not whole.
    begun: bool,
    /// The room for a message that did not come in one frame.
    reserved: Option<Reservation>,
    limits: Limits,
}

/// What a request may cost.
#[derive(Debug)]
pub(super) struct Limits {
    /// The largest message of any method, in bytes. What announces more is refused before room is
    /// set aside for it.
    largest: usize,
    connection: Option<Arc<ConnectionShared>>,
    progress: Option<Arc<StreamProgress>>,
}

impl Limits {
    /// Those of the connection and the stream that a request came over.
    pub(super) fn of(extensions: &Extensions, largest: usize) -> Self {
        Self { largest, connection: extensions.get().cloned(), progress: extensions.get().cloned() }
    }

    /// Sets room aside for a message that announces so many bytes.
    fn reserve(&self, bytes: usize) -> Result<Option<Reservation>, Status> {
        let Some(connection) = self.connection.as_ref().filter(|_| bytes <= self.largest) else { return Ok(None) };
        connection.accounts().receiving().reserve(bytes).map(Some).map_err(|_| status::connection_memory())
    }
}

impl<B> Counted<B> {
    /// The body of a request to a method that takes these messages.
    pub(super) fn new(body: B, takes: Takes, limits: Limits) -> Self {
        if let (Takes::Stream(_), Some(connection), Some(progress)) = (takes, &limits.connection, &limits.progress) {
            progress.sends_stream(connection.accounts());
        }
        Self { body, messages: Messages::new(takes), begun: false, reserved: None, limits }
    }

    /// Notes how far the messages have come with a frame.
    fn note(&mut self) -> Result<(), Status> {
        if self.messages.are_whole() {
            self.begun = false;
            if let Some(progress) = &self.limits.progress {
                if self.messages.one {
                    // The end is still to come.
                    progress.owes_message(0);
                } else {
                    progress.owes_nothing();
                }
            }
            return Ok(());
        }
        let announced = self.messages.take_announced();
        let begins = !std::mem::replace(&mut self.begun, true);
        if let Some(progress) = self.limits.progress.as_ref().filter(|_| begins || announced.is_some()) {
            progress.owes_message(announced.unwrap_or(0));
        }
        if let Some(bytes) = announced {
            self.reserved = self.limits.reserve(bytes)?;
        }
        Ok(())
    }
}

/// How far the messages of a body have come.
#[derive(Debug)]
struct Messages {
    one: bool,
    /// The most bytes of the message that opens a stream, until its prefix has come.
    most: Option<usize>,
    state: State,
    /// What the last prefix announced, until it is taken.
    announced: Option<usize>,
}

#[derive(Debug)]
enum State {
    /// So many bytes of the prefix.
    Prefix([u8; PREFIX], usize),
    /// So many bytes are to come.
    Content(usize),
    /// The one message is there.
    Complete,
    /// The call has been refused.
    Refused,
}

impl State {
    const BEGIN: Self = Self::Prefix([0; PREFIX], 0);
}

impl Messages {
    const fn new(takes: Takes) -> Self {
        let (one, most) = match takes {
            Takes::One => (true, None),
            Takes::Stream(most) => (false, Some(most)),
        };
        Self { one, most, state: State::BEGIN, announced: None }
    }

    /// Takes what came; an error when more messages have begun than may come.
    fn take(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            match &mut self.state {
                State::Prefix(prefix, known) => {
                    let more = data.len().min(PREFIX - *known);
                    prefix[*known..*known + more].copy_from_slice(&data[..more]);
                    (data, *known) = (&data[more..], *known + more);
                    if *known == PREFIX {
                        let [_, length @ ..] = *prefix;
                        let length = u32::from_be_bytes(length) as usize;
                        if let Some(most) = self.most.take().filter(|most| length > *most) {
                            self.state = State::Refused;
                            return Err(status::message_too_large(most));
                        }
                        self.announced = Some(length);
                        self.content(length);
                    }
                }
                State::Content(left) => {
                    let more = data.len().min(*left);
                    let left = *left - more;
                    data = &data[more..];
                    self.content(left);
                }
                State::Complete => {
                    self.state = State::Refused;
                    return Err(status::one_message("more than one came"));
                }
                State::Refused => return Ok(()),
            }
        }
        Ok(())
    }

    const fn content(&mut self, left: usize) {
        self.state = match left {
            0 if self.one => State::Complete,
            0 => State::BEGIN,
            _ => State::Content(left),
        };
    }

    /// Nothing more comes: an error when there was no message where one must be. One that is cut
    /// short is refused by whoever decodes it.
    fn end(&mut self) -> Result<(), Status> {
        match self.state {
            State::Prefix(_, 0) if self.one => {
                self.state = State::Refused;
                Err(status::one_message("none came"))
            }
            _ => Ok(()),
        }
    }

    /// True when what has begun is there.
    const fn are_whole(&self) -> bool {
        matches!(self.state, State::Prefix(_, 0) | State::Complete | State::Refused)
    }

    /// What a prefix announced of which the rest is still to come, once.
    const fn take_announced(&mut self) -> Option<usize> {
        match (self.announced.take(), &self.state) {
            (announced, State::Content(_)) => announced,
            _ => None,
        }
    }
}

impl<B> Body for Counted<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if !this.begun {
            // Whoever asks for more has taken what there was.
            this.reserved = None;
        }
        let frame = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => frame.transpose().map_err(Into::into)?,
            Poll::Pending => {
                let late = this.limits.progress.as_ref().is_some_and(|progress| progress.poll_late(cx.waker()));
                return if late { Poll::Ready(Some(Err(status::receive_timeout().into()))) } else { Poll::Pending };
            }
        };
        let counted = match frame.as_ref().map(Frame::data_ref) {
            Some(Some(data)) => this.messages.take(data).and_then(|()| this.note()),
            Some(None) | None => {
                this.limits.progress.iter().for_each(|progress| progress.owes_nothing());
                this.messages.end()
            }
        };
        Poll::Ready(match counted {
            Ok(()) => frame.map(Ok),
            Err(refused) => Some(Err(refused.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        // An empty body must be asked, so that it can be refused.
        !matches!(self.messages.state, State::Prefix(..) if self.messages.one) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Counted<B> {
    fn drop(&mut self) {
        self.limits.progress.iter().for_each(|progress| progress.owes_nothing());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these chunks are taken as one message.
    fn is_one(chunks: &[&[u8]]) -> bool {
        let mut messages = Messages::new(Takes::One);
        chunks.iter().all(|chunk| messages.take(chunk).is_ok()) && messages.end().is_ok()
    }

    #[test]
    fn one_message_passes_across_any_split() {
        let message = b"\0\0\0\0\x03abc";
        for first in 0..=message.len() {
            for second in first..=message.len() {
                assert!(is_one(&[&message[..first], &message[first..second], &message[second..]]));
            }
        }
        assert!(is_one(&[b"\0\0\0\0\0"]), "an empty message is one");
    }

    #[test]
    fn none_or_several_messages_are_refused() {
        assert!(!is_one(&[]));
        assert!(!is_one(&[b""]));
        assert!(!is_one(&[b"\0\0\0\0\x01a", b"\0"]), "as soon as the second one begins");
        assert!(!is_one(&[b"\0\0\0\0\x01a\0\0\0\0\x01b"]));
        assert!(!is_one(&[b"\0\0\0\0\0\0\0\0\0\0"]));
    }

    #[test]
    fn first_message_of_a_stream_is_bounded() {
        let taken = |chunks: &[&[u8]]| {
            let mut messages = Messages::new(Takes::Stream(2));
            chunks.iter().all(|chunk| messages.take(chunk).is_ok())
        };
        assert!(taken(&[b"\0\0\0\0\x02ab\0\0\0\0\x03abc"]));
        assert!(!taken(&[b"\0\0", b"", b"\0\0\x03"]));
    }

    #[test]
    fn truncated_message_is_left_to_the_decoder() {
        assert!(is_one(&[b"\0\0\0\0\x03ab"]));
        assert!(is_one(&[b"\0\0"]));
    }
}

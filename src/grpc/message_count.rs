//! The body of a request, held against the number of messages that its method takes, and against the
//! length of the first one of a stream.
//!
//! tonic reads past the messages that follow the first one of a unary call, and would carry the
//! call out. It also has one limit for all messages of a stream, of which the first one opens it and
//! is small: lists in a message of some MiB take milliseconds to decode. [`Counted`] stands behind
//! gRPC-Web, where the body is length-prefixed messages, and looks at their prefixes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;
use tower::BoxError;

use super::status;

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

/// The body of a request, whose messages are looked at as they come.
#[derive(Debug)]
pub(super) struct Counted<B> {
    body: B,
    takes: Takes,
    /// `None` = nothing is asked of what is to come.
    message: Option<Message>,
}

/// How far the one message has come.
#[derive(Debug)]
enum Message {
    /// So many bytes of the prefix.
    Prefix([u8; PREFIX], usize),
    /// So many bytes are to come.
    Content(usize),
    Complete,
    /// The call has been refused.
    Refused,
}

impl<B> Counted<B> {
    /// The body of a request to a method that takes these messages.
    pub(super) const fn new(body: B, takes: Takes) -> Self {
        Self { body, takes, message: Some(Message::Prefix([0; PREFIX], 0)) }
    }
}

impl Message {
    /// Takes what came; an error when more than one message has begun.
    fn take(&mut self, mut data: &[u8]) -> Result<(), Status> {
        while !data.is_empty() {
            match self {
                Self::Prefix(prefix, known) => {
                    let more = data.len().min(PREFIX - *known);
                    prefix[*known..*known + more].copy_from_slice(&data[..more]);
                    (data, *known) = (&data[more..], *known + more);
                    if *known == PREFIX {
                        let [_, length @ ..] = *prefix;
                        *self = Self::content(u32::from_be_bytes(length) as usize);
                    }
                }
                Self::Content(left) => {
                    let more = data.len().min(*left);
                    data = &data[more..];
                    *self = Self::content(*left - more);
                }
                Self::Complete => {
                    *self = Self::Refused;
                    return Err(status::one_message("more than one came"));
                }
                Self::Refused => return Ok(()),
            }
        }
        Ok(())
    }

    /// The length of the first message, as soon as its prefix has come.
    fn first(&mut self, data: &[u8]) -> Option<usize> {
        let Self::Prefix(prefix, known) = self else { return None };
        let more = data.len().min(PREFIX - *known);
        prefix[*known..*known + more].copy_from_slice(&data[..more]);
        *known += more;
        let [_, length @ ..] = *prefix;
        (*known == PREFIX).then(|| u32::from_be_bytes(length) as usize)
    }

    const fn content(left: usize) -> Self {
        if left == 0 { Self::Complete } else { Self::Content(left) }
    }

    /// Nothing more comes: an error when there was no message. One that is cut short is
    /// refused by whoever decodes it.
    fn end(&mut self) -> Result<(), Status> {
        match self {
            Self::Prefix(_, 0) => {
                *self = Self::Refused;
                Err(status::one_message("none came"))
            }
            Self::Prefix(..) | Self::Content(_) | Self::Complete | Self::Refused => Ok(()),
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
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx)).transpose().map_err(Into::into)?;
        let takes = self.takes;
        let Some(message) = &mut self.message else { return Poll::Ready(frame.map(Ok)) };
        let counted = match (takes, frame.as_ref().map(Frame::data_ref)) {
            (Takes::One, Some(Some(data))) => message.take(data),
            (Takes::One, Some(None) | None) => message.end(),
            (Takes::Stream(most), Some(Some(data))) => {
                let first = message.first(data);
                if first.is_some() {
                    self.message = None;
                }
                first.filter(|length| *length > most).map_or(Ok(()), |_| Err(status::message_too_large(most)))
            }
            (Takes::Stream(_), Some(None) | None) => Ok(()),
        };
        Poll::Ready(match counted {
            Ok(()) => frame.map(Ok),
            Err(refused) => Some(Err(refused.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        // An empty body must be asked, so that it can be refused.
        let must_be_asked = self.takes == Takes::One && matches!(self.message, Some(Message::Prefix(..)));
        !must_be_asked && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether these chunks are taken as one message.
    fn is_one(chunks: &[&[u8]]) -> bool {
        let mut message = Message::Prefix([0; PREFIX], 0);
        chunks.iter().all(|chunk| message.take(chunk).is_ok()) && message.end().is_ok()
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
    fn first_message_length_is_known_by_its_prefix() {
        let first = |chunks: &[&[u8]]| {
            let mut message = Message::Prefix([0; PREFIX], 0);
            chunks.iter().map(|chunk| message.first(chunk)).collect::<Vec<_>>()
        };
        assert_eq!(first(&[b"\0\0\x01\0\0ab"]), [Some(65_536)]);
        assert_eq!(first(&[b"\0\0", b"", b"\0\0\x02"]), [None, None, Some(2)]);
    }

    #[test]
    fn truncated_message_is_left_to_the_decoder() {
        assert!(is_one(&[b"\0\0\0\0\x03ab"]));
        assert!(is_one(&[b"\0\0"]));
    }
}

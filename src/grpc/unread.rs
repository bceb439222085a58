//! Answers that are made and that their readers have not taken, counted in the account of their
//! connection.
//!
//! An answer to a unary call is encoded as soon as it is made, so that it is known how large it is, and
//! is refused when there is no room. A message of a stream is not even made before there is. Both
//! count until HTTP/2 has sent their last byte: what counts goes with the bytes themselves. A stream also
//! keeps the buffer of its largest message; that counts as what it holds by being open. The body of updates,
//! whose bytes many streams share, passes this by; see `transport/stall.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::status;
use crate::budget::{Account, Full, Reservation};
use crate::pb::codec::AT_ONCE;
use crate::transport::ConnectionShared;

/// What HTTP/2 keeps of a frame beside its bytes, until it has sent it.
const FRAME: usize = 256;

/// The room that there must be before a message of a stream is made: its source looks at 16 KiB at once,
/// and as much may be encoded before it is handed out.
const STEP: usize = 64 * 1024;

/// What a source may hold that has not come to its end when a frame is full.
const LOOKED_AT: usize = 32 * 1024;

/// A buffer up to this size is not counted.
const SMALL: usize = 1_024;

/// Bytes that count until the last of them is dropped.
struct CountedBytes {
    data: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for CountedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

fn counted(account: &Arc<Account>, data: Bytes, besides: usize) -> Result<Bytes, Full> {
    let reservation = account.reserve(FRAME + besides + data.len())?;
    Ok(Bytes::from_owner(CountedBytes { data, _reservation: reservation }))
}

/// The body of an answer, whose bytes count.
pub(super) struct Unread {
    body: tonic::body::Body,
    /// `None` when nothing is left to be counted.
    connection: Option<Arc<ConnectionShared>>,
    /// The buffer of the largest message.
    buffer: Option<(usize, Reservation)>,
    /// What is to be handed out next. It counts when there is no connection.
    made: Option<Bytes>,
}

impl Unread {
    /// The body of a stream of messages.
    pub(super) const fn stream(body: tonic::body::Body, connection: Option<Arc<ConnectionShared>>) -> Self {
        Self { body, connection, buffer: None, made: None }
    }

    /// The body of an answer that is one message, which is encoded here.
    ///
    /// # Errors
    ///
    /// When the connection has no room for it.
    pub(super) fn whole(
        mut body: tonic::body::Body,
        connection: Option<Arc<ConnectionShared>>,
        cx: &mut Context<'_>,
    ) -> Result<Self, Status> {
        let Some(connection) = connection else { return Ok(Self::stream(body, None)) };
        if body.is_end_stream() {
            return Ok(Self::stream(body, None));
        }
        match Pin::new(&mut body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => match counted(connection.accounts().sending(), data, 0) {
                    Ok(data) => Ok(Self { made: Some(data), ..Self::stream(body, None) }),
                    Err(Full::Share | Full::Budget) => Err(status::connection_memory()),
                },
                // There is nothing but trailers.
                Err(frame) => Err(frame
                    .trailers_ref()
                    .and_then(Status::from_header_map)
                    .unwrap_or_else(|| Status::internal("an answer has neither a message nor a status"))),
            },
            Poll::Ready(Some(Err(status))) => Err(status),
            // It is no answer that is made at once: as a stream.
            Poll::Ready(None) | Poll::Pending => Ok(Self::stream(body, Some(connection))),
        }
    }
}

impl Body for Unread {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(connection) = &this.connection else {
            return match this.made.take() {
                Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None => Pin::new(&mut this.body).poll_frame(cx),
            };
        };
        let accounts = connection.accounts();
        loop {
            ready!(accounts.sending().poll_room(STEP, cx));
            let data = match this.made.take() {
                Some(data) => data,
                None => {
                    match ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                        Some(Ok(Ok(data))) => data,
                        Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                        Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                        None => return Poll::Ready(None),
                    }
                }
            };
            // A full frame: there may be more where it comes from.
            let besides = if data.len() < AT_ONCE { 0 } else { LOOKED_AT };
            match counted(accounts.sending(), data.clone(), besides) {
                Ok(data) => {
                    let known = this.buffer.as_ref().map_or(SMALL, |(size, _)| *size);
                    if data.len() > known {
                        this.buffer = None;
                        this.buffer = accounts.streams().reserve(data.len()).ok().map(|held| (data.len(), held));
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                // Another stream of the connection was faster: it waits for room again.
                Err(Full::Share) => this.made = Some(data),
                // Its connection ends.
                Err(Full::Budget) => return Poll::Pending,
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.made.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.made.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

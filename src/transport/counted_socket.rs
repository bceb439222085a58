//! The socket of a connection, which counts what came, and hands it on in portions.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::byte_stream::ByteStream;
use super::connection::ConnectionShared;
use super::data_frames::{DataFrames, Workspace};
use super::socket::{WideBuffer, WideBuffers};

/// What is read at once, in bytes.
const READ: usize = 32 * 1024;

/// After so many bytes other tasks have their turn, among them those who take what came.
const TURN: usize = 2 * READ;

thread_local! {
    /// What a socket is read into: a thread reads one at a time.
    static READING: RefCell<(Box<[u8]>, Workspace)> =
        RefCell::new((vec![0; READ].into_boxed_slice(), Workspace::default()));
}

/// A socket that counts what was heard from it, and has room for more where much may come.
pub(super) struct CountedSocket {
    socket: ByteStream,
    pub(super) shared: Arc<ConnectionShared>,
    wide: Option<WideBuffer>,
    wide_buffers: Arc<WideBuffers>,
    frames: DataFrames,
    /// What was read and not asked for yet, and how much of it was handed on.
    rest: Vec<u8>,
    handed_on: usize,
    /// Bytes in this turn.
    turn: usize,
}

impl CountedSocket {
    pub(super) const fn new(socket: ByteStream, shared: Arc<ConnectionShared>, wide_buffers: Arc<WideBuffers>) -> Self {
        Self {
            socket,
            shared,
            wide: None,
            wide_buffers,
            frames: DataFrames::new(),
            rest: Vec::new(),
            handed_on: 0,
            turn: 0,
        }
    }

    /// Reads, joins what is small, and keeps what does not fit.
    fn read(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<usize>> {
        READING.with_borrow_mut(|(room, workspace)| {
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut read))?;
            let bytes = read.filled().len();
            let joined = self.frames.join(read.filled_mut(), workspace);
            let (fits, rest) = room[..joined].split_at(joined.min(buffer.remaining()));
            buffer.put_slice(fits);
            self.rest.extend_from_slice(rest);
            Poll::Ready(Ok(bytes))
        })
    }

    /// Hands on what was read before.
    fn hand_on(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.rest[self.handed_on..];
        let fits = &rest[..rest.len().min(buffer.remaining())];
        buffer.put_slice(fits);
        self.handed_on += fits.len();
        if self.handed_on == self.rest.len() {
            // Most connections are silent most of the time: they keep no room.
            (self.rest, self.handed_on) = (Vec::new(), 0);
        }
    }
}

impl AsyncRead for CountedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.rest.is_empty() {
            this.hand_on(buffer);
            return Poll::Ready(Ok(()));
        }
        if this.turn >= TURN {
            this.turn = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.wide.is_none() && this.shared.uploads() {
            this.wide = this.wide_buffers.widen(this.socket.tcp());
        }
        let read = if this.frames.is_http2() {
            this.read(cx, buffer)
        } else {
            let before = buffer.filled().len();
            Pin::new(&mut this.socket).poll_read(cx, buffer).map_ok(|()| buffer.filled().len() - before)
        };
        let Poll::Ready(bytes) = read else {
            this.turn = 0;
            return Poll::Pending;
        };
        let bytes = bytes?;
        this.turn += bytes;
        this.shared.count_received(bytes);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CountedSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

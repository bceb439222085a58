//! The bytes of a connection, with TLS or without.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::handshake::BoundedSocket;

/// A socket, or TLS over one.
#[derive(Debug)]
pub(super) enum ByteStream {
    Plain(TcpStream),
    /// Boxed: connections without TLS are to be no larger for it.
    Tls(Box<TlsStream<BoundedSocket>>),
}

impl ByteStream {
    /// The socket, for its options.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0.tcp(),
        }
    }

    /// Reads what has come, as far as there is room. One read of TLS brings no more than a record, of which small
    /// messages have one each: joining them takes all that are there.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self::Tls(stream) = self else { return Pin::new(self).poll_read(cx, buffer) };
        ready!(poll_read_tls(stream, cx, buffer))?;
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            // Neither an end nor an error is lost: it comes again when it is asked for.
            match poll_read_tls(stream, cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Reads from TLS. Its end without a goodbye is an end like that of TCP: HTTP says itself where its messages end.
fn poll_read_tls(
    stream: &mut TlsStream<BoundedSocket>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    match ready!(Pin::new(stream).poll_read(cx, buffer)) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
        read => Poll::Ready(read),
    }
}

impl AsyncRead for ByteStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => poll_read_tls(stream, cx, buffer),
        }
    }
}

impl AsyncWrite for ByteStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_connections_are_no_larger_for_tls() {
        assert_eq!(size_of::<ByteStream>(), size_of::<TcpStream>());
    }
}

//! A socket that is bounded in bytes while a handshake of TLS lasts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a client may send before its handshake is done, in bytes: its greeting, its certificate, and those of some
/// intermediate authorities, many times over.
pub(super) const HANDSHAKE_BYTES: usize = 32 * 1024;

/// A socket of which so much may be read and no more, for as long as the handshake lasts.
#[derive(Debug)]
pub(super) struct BoundedSocket {
    socket: TcpStream,
    left: usize,
}

impl BoundedSocket {
    pub(super) const fn new(socket: TcpStream) -> Self {
        Self { socket, left: HANDSHAKE_BYTES }
    }

    /// From here on everything may be read.
    pub(super) const fn unbind(&mut self) {
        self.left = usize::MAX;
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }

    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

impl AsyncRead for BoundedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.left == 0 {
            let error = format!("the client sent more than {HANDSHAKE_BYTES} bytes before it was done");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, error)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.left = self.left.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BoundedSocket {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn handshake_is_bounded_in_bytes() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connect, listener.accept());
        client.unwrap().write_all(&[0; 40]).await.unwrap();
        let mut bounded = BoundedSocket { socket: accepted.unwrap().0, left: 20 };
        bounded.read_exact(&mut [0; 20]).await.unwrap();
        let refused = bounded.read_exact(&mut [0; 20]).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
        bounded.unbind();
        bounded.read_exact(&mut [0; 20]).await.unwrap();
    }
}

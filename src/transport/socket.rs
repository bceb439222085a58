//! How sockets are set up, and what the kernel may hold of one.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(target_os = "linux")]
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// What the kernel is asked to hold of what it sends, in bytes; by itself it takes up to `tcp_wmem`,
/// 4 MiB. A viewer 100 ms away still gets 890 KB/s, of the 500 KB/s of a subscription.
const SEND_BUFFER: u32 = 64 * 1024;

/// The same of what comes; by itself up to `tcp_rmem`, 6 MiB. A client 100 ms away still sends 390 KB/s.
const RECEIVE_BUFFER: u32 = 32 * 1024;

/// The same where updates are published: 2.5 MB/s from 100 ms away. It is what `net.core.rmem_max`
/// allows where nobody has changed it.
const WIDE_RECEIVE_BUFFER: u32 = 208 * 1024;

/// Connections that have the wide one at most. Others publish as fast as the narrow one lets them.
const WIDE: usize = 1_024;

/// What the kernel takes before what it has is sent, in bytes: the rest stays where it
/// can still be given up.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 32 * 1024;

/// How long data may stay without an acknowledgement of TCP.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 1024;

/// The most that the kernel may hold of one connection on which nothing is published, in bytes, both ways
/// together. Linux takes twice what it is asked for, because it counts what surrounds the data.
pub const fn kernel_bytes_per_connection() -> u64 {
    2 * (SEND_BUFFER as u64 + RECEIVE_BUFFER as u64)
}

/// The most that the kernel may hold of so many connections of one listener, in bytes.
pub const fn kernel_bytes(connections: usize) -> u64 {
    let wide = if connections < WIDE { connections } else { WIDE };
    let more = 2 * (WIDE_RECEIVE_BUFFER - RECEIVE_BUFFER) as u64;
    connections as u64 * kernel_bytes_per_connection() + wide as u64 * more
}

/// Listens on an address; port 0 stands for a free one.
///
/// # Errors
///
/// When the address cannot be bound.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // Windows would let two servers share the address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // The widest, and not once a connection is there: how wide its window may become is agreed on while it is made.
    socket.set_recv_buffer_size(WIDE_RECEIVE_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sets the socket of a connection up. What the platform does not have is done without.
pub(super) fn prepare(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    // Small messages must not wait for large ones.
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_send_buffer_size(SEND_BUFFER as usize))
        .and_then(|()| socket.set_recv_buffer_size(RECEIVE_BUFFER as usize));
    #[cfg(target_os = "linux")]
    let set = set
        .and_then(|()| socket.set_tcp_notsent_lowat(NOT_SENT))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = set {
        tracing::debug!(%error, "a socket could not be set up");
    }
}

/// Counts the connections of one listener whose receive buffer is wide.
#[derive(Debug, Default)]
pub(super) struct WideBuffers(AtomicUsize);

/// One of them, until it is gone.
#[derive(Debug)]
pub(super) struct WideBuffer(Arc<WideBuffers>);

impl WideBuffers {
    /// Widens the receive buffer of a socket; `None` when as many are wide as may be.
    pub(super) fn widen(self: &Arc<Self>, socket: &TcpStream) -> Option<WideBuffer> {
        let more = |wide| (wide < WIDE).then_some(wide + 1);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let wide = WideBuffer(Arc::clone(self));
        if let Err(error) = SockRef::from(socket).set_recv_buffer_size(WIDE_RECEIVE_BUFFER as usize) {
            tracing::debug!(%error, "a socket could not be set up");
        }
        Some(wide)
    }
}

impl Drop for WideBuffer {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn receive_buffer_is_widened_and_counted() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connect, listener.accept());
        let (_client, (socket, _)) = (client.unwrap(), accepted.unwrap());
        let held = || SockRef::from(&socket).recv_buffer_size().unwrap();
        prepare(&socket);
        let narrow = held();
        let (buffers, rest) = (Arc::<WideBuffers>::default(), Arc::<WideBuffers>::default());
        let wide = buffers.widen(&socket).expect("there is room");
        assert!(held() > 2 * narrow, "{narrow}, {}", held());
        rest.0.store(WIDE, Ordering::Relaxed);
        assert!(rest.widen(&socket).is_none());
        drop(wide);
        assert_eq!(buffers.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn kernel_memory_of_the_defaults_is_as_documented() {
        const MIB: u64 = 1024 * 1024;
        assert_eq!(kernel_bytes_per_connection(), 192 * 1024);
        assert_eq!(kernel_bytes(16_384), 3_424 * MIB);
    }
}

//! Connections: accepted, served, and told to go.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::server::Http;
use super::signal::Resting;
use super::watchdog::{SWEEP, Watchdog};
use crate::shutdown::Shutdown;

/// How long to wait after an accept failed: without descriptors the next would
/// fail at once, and the loop would eat a core.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// How long a client may take to say what it speaks.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The least that a client says: the preface of HTTP/2; requests of HTTP/1 have a
/// deadline of their own.
const PREFACE: usize = 24;

/// What one stream may have waiting in HTTP/2, in bytes (hyper: 400 KiB).
const SEND_BUFFER: usize = 64 * 1024;

/// What the kernel may hold of one connection, in bytes; by itself it takes up to
/// `tcp_wmem`, 4 MiB. A viewer 100 ms away still gets 2.5 MB/s.
const SOCKET_BUFFER: usize = 256 * 1024;

/// What the kernel takes before what it has is sent, in bytes: the rest stays where it
/// can still be given up.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 32 * 1024;

/// How long data may stay without an acknowledgement of TCP.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(30);

/// So many times its age after it was told to go, a connection is closed: time for its
/// last stream to grow old.
const GRACE: u32 = 2;

/// Serves what comes to `listener` until `stop`, then until all connections are gone.
/// Dropping it cuts them.
pub(super) async fn serve<S, B>(service: S, http: Http, watchdog: Watchdog, listener: TcpListener, stop: Shutdown)
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = builder(&http, watchdog.clone());
    let mut connections = JoinSet::new();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener = Some(listener);
    while listener.is_some() || !connections.is_empty() {
        let accept = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.draining(), if listener.is_some() => listener = None,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection failed");
                }
            }
            _ = sweeps.tick() => watchdog.sweep(),
            accepted = accept => match accepted {
                Ok(_) if connections.len() >= http.max_connections => {
                    tracing::warn!(connections = connections.len(), "refused a connection: there are too many");
                }
                Ok((socket, _)) => {
                    prepare(&socket);
                    let connection = connection(builder.clone(), service.clone(), http.max_age, socket, stop.clone());
                    connections.spawn(Watchdog::carry(connection));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
}

fn builder(http: &Http, watchdog: Watchdog) -> Builder<Watchdog> {
    let mut builder = Builder::new(watchdog);
    // Without a timer HTTP/1 would wait for ever for the headers of a request.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(http.max_concurrent_streams)
        .max_local_error_reset_streams(http.max_local_error_reset_streams)
        // Clients that cancel many streams at once are not attackers.
        .max_pending_accept_reset_streams(http.max_local_error_reset_streams)
        .max_header_list_size(http.max_header_list_bytes)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(http.keepalive_interval)
        .keep_alive_timeout(http.keepalive_timeout)
        .auto_date_header(false);
    builder
}

/// Sets the socket up. What the platform does not have is done without.
fn prepare(socket: &TcpStream) {
    let socket = SockRef::from(socket);
    // Small messages must not wait for large ones.
    let set = socket.set_tcp_nodelay(true).and_then(|()| socket.set_send_buffer_size(SOCKET_BUFFER));
    #[cfg(target_os = "linux")]
    let set = set
        .and_then(|()| socket.set_tcp_notsent_lowat(NOT_SENT))
        .and_then(|()| socket.set_tcp_user_timeout(Some(USER_TIMEOUT)));
    if let Err(error) = set {
        tracing::debug!(%error, "a socket could not be set up");
    }
}

/// One connection, from the first byte to the last.
async fn connection<S, B>(builder: Builder<Watchdog>, service: S, max_age: Duration, socket: TcpStream, stop: Shutdown)
where
    S: tower::Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let heard = Arc::<AtomicUsize>::default();
    let io = TokioIo::new(Heard { socket, bytes: Arc::clone(&heard) });
    let connection = builder.serve_connection(io, TowerToHyperService::new(service));
    // +- 10 %, as for streams, which have their own age and say goodbye.
    let age = max_age.mul_f64(rand::random_range(0.9..1.1));
    let mut over = Resting::new(async move {
        let silent = async {
            sleep(HANDSHAKE).await;
            if heard.load(Ordering::Relaxed) >= PREFACE {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stop.draining() => End::Leave,
            () = sleep(age), if !age.is_zero() => End::Leave,
            () = silent => End::Silent,
        }
    });
    tokio::pin!(connection);
    loop {
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            end = &mut over => match end {
                End::Leave => {
                    connection.as_mut().graceful_shutdown();
                    over = Resting::new(async move {
                        sleep(max_age.saturating_mul(GRACE)).await;
                        if max_age.is_zero() {
                            std::future::pending::<()>().await;
                        }
                        End::Overstayed
                    });
                    continue;
                }
                End::Silent => return tracing::debug!("closed a connection that said nothing"),
                End::Overstayed => return tracing::debug!("closed a connection that did not go"),
            },
        };
        return ended.unwrap_or_else(|error| tracing::debug!(%error, "a connection broke"));
    }
}

/// Why a connection ends.
enum End {
    /// It is told to go.
    Leave,
    /// It was told long ago.
    Overstayed,
    /// It said nothing.
    Silent,
}

/// A socket that counts what was heard from it.
struct Heard {
    socket: TcpStream,
    bytes: Arc<AtomicUsize>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.bytes.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Heard {
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

//! Connections: accepted, served, and told to go.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{self, Builder, HttpServerConnExec};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tower::BoxError;

use super::accounts::Budgets;
use super::connection::{CloseRequest, Connection, ConnectionShared, GracefulShutdown, StreamExecutor};
use super::fast_path::FastPath;
use super::request_body::CompleteBody;
use super::stall::{SWEEP, StallDetector};
use super::{Protocol, Settings};
use crate::shutdown::Shutdown;

/// How long to wait after an accept failed: without descriptors the next would
/// fail at once, and the loop would eat a core.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// How long a client may take to say what it speaks.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The least that a client says: the preface of HTTP/2; requests of HTTP/1 have a
/// deadline of their own.
const PREFACE: usize = 24;

/// HTTP/2 takes lists of headers of so many bytes at least: those that are larger than
/// configured are refused by the call, with a status that says so. HTTP/2 itself can only
/// answer 431, or close the connection with every other stream on it.
const HEADER_LIST: u32 = 320 * 1024;

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

/// A connection that is open, and what becomes of it.
#[derive(Debug)]
struct OpenConnection {
    shared: Weak<ConnectionShared>,
    /// It must have said something by then.
    first_bytes_by: Option<Instant>,
    /// What it is asked next because of its age, and when.
    next: Option<(Instant, CloseRequest)>,
    grace: Duration,
    spread: Duration,
}

impl OpenConnection {
    fn new(shared: &Arc<ConnectionShared>, settings: &Settings) -> Self {
        let now = Instant::now();
        // +- 10 %, as for streams, which have an age of their own.
        let age = (!settings.max_age.is_zero()).then(|| settings.max_age.mul_f64(rand::random_range(0.9..1.1)));
        let leaves_at = age.and_then(|age| now.checked_add(age));
        let grace = settings.max_age_grace;
        Self {
            shared: Arc::downgrade(shared),
            first_bytes_by: now.checked_add(HANDSHAKE),
            next: leaves_at.map(|at| (at, CloseRequest::Graceful)),
            grace,
            spread: settings.goodbye_spread.min(grace / 4),
        }
    }

    /// Tells the connection what is due. False when it is gone.
    fn look(&mut self, now: Instant) -> bool {
        let Some(shared) = self.shared.upgrade() else { return false };
        if self.first_bytes_by.take_if(|at| *at <= now).is_some() && shared.received() < PREFACE {
            tracing::info!("closed a connection that said nothing");
            shared.request(CloseRequest::Now);
        }
        if let Some((_, request)) = self.next.take_if(|(at, _)| *at <= now) {
            shared.request(request);
            self.next = self.after(request).and_then(|(wait, request)| Some((now.checked_add(wait)?, request)));
        }
        true
    }

    /// What follows an request, and after how long. Streams have the grace but for its last
    /// part, in which they say goodbye, then what has none is ended, then all is closed.
    fn after(&self, request: CloseRequest) -> Option<(Duration, CloseRequest)> {
        match request {
            CloseRequest::None | CloseRequest::Now => None,
            CloseRequest::Graceful => {
                Some((self.grace.saturating_sub(3 * self.spread), CloseRequest::SayGoodbye(self.spread)))
            }
            CloseRequest::SayGoodbye(spread) => Some((2 * spread, CloseRequest::EndStreams)),
            CloseRequest::EndStreams => Some((self.spread, CloseRequest::Now)),
        }
    }
}

/// Serves what comes to `listener` until `stop`, then until all connections are gone.
/// Dropping it cuts them.
pub(crate) async fn serve<P, S, B>(service: S, settings: Settings, listener: TcpListener, stop: Shutdown)
where
    P: Protocol,
    S: tower::Service<Request<CompleteBody<P>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let stalls = StallDetector::new(settings.stall_timeout);
    let budgets = Budgets::new(settings.memory);
    let mut connections = JoinSet::new();
    let mut open_connections = Vec::<OpenConnection>::new();
    let mut refused = 0_u64;
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
            () = stop.draining(), if listener.is_some() => {
                listener = None;
                open_connections.iter().filter_map(|open| open.shared.upgrade()).for_each(|one| one.request(CloseRequest::Graceful));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection failed");
                }
            }
            now = sweeps.tick() => {
                stalls.sweep();
                if refused > 0 {
                    tracing::warn!(refused, connections = connections.len(), "refused connections: there are too many");
                    refused = 0;
                }
                open_connections.retain_mut(|open| open.look(now));
            }
            accepted = accept => match accepted {
                Ok(_) if connections.len() >= settings.max_connections => refused += 1,
                Ok((socket, peer)) => {
                    prepare(&socket);
                    let shared = ConnectionShared::new(peer.ip(), &budgets);
                    open_connections.push(OpenConnection::new(&shared, &settings));
                    let service = FastPath::<_, P>::new(service.clone(), stalls.clone(), Arc::clone(&shared));
                    connections.spawn(connection(builder(&settings, &shared), service, socket, shared));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
}

fn builder(settings: &Settings, shared: &Arc<ConnectionShared>) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor(Arc::clone(shared)));
    // Without a timer HTTP/1 would wait for ever for the headers of a request.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_local_error_reset_streams(settings.max_local_error_reset_streams)
        // Clients that cancel many streams at once are not attackers.
        .max_pending_accept_reset_streams(settings.max_local_error_reset_streams)
        .max_header_list_size(settings.max_header_list_bytes.max(HEADER_LIST))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
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
fn connection<P, S, B>(
    builder: Builder<StreamExecutor>,
    service: FastPath<S, P>,
    socket: TcpStream,
    shared: Arc<ConnectionShared>,
) -> impl Future<Output = ()>
where
    P: Protocol,
    S: tower::Service<Request<CompleteBody<P>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(CountedSocket { socket, shared: Arc::clone(&shared) });
    let connection = builder.serve_connection(io, service).into_owned();
    Connection::new(connection, shared).map(|ended| {
        if let Some(Err(error)) = ended {
            tracing::info!(%error, "a connection broke");
        }
    })
}

impl<S, B, E> GracefulShutdown for auto::Connection<'_, TokioIo<CountedSocket>, S, E>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
    E: HttpServerConnExec<S::Future, B>,
{
    fn shut_down_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A socket that counts what was heard from it.
struct CountedSocket {
    socket: TcpStream,
    shared: Arc<ConnectionShared>,
}

impl AsyncRead for CountedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.shared.count_received(buffer.filled().len() - before);
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

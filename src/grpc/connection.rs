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

use super::carriage::{Boarding, Carriage, Connection, Leave, Order};
use super::front::Front;
use super::request_body::Complete;
use super::server::Http;
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
struct Entry {
    carriage: Weak<Carriage>,
    /// It must have said something by then.
    speaks_by: Option<Instant>,
    /// What it is told next because of its age, and when.
    next: Option<(Instant, Order)>,
    grace: Duration,
    spread: Duration,
}

impl Entry {
    fn new(carriage: &Arc<Carriage>, http: &Http) -> Self {
        let now = Instant::now();
        // +- 10 %, as for streams, which have an age of their own.
        let age = (!http.max_age.is_zero()).then(|| http.max_age.mul_f64(rand::random_range(0.9..1.1)));
        let leaves_at = age.and_then(|age| now.checked_add(age));
        let grace = http.max_age_grace;
        Self {
            carriage: Arc::downgrade(carriage),
            speaks_by: now.checked_add(HANDSHAKE),
            next: leaves_at.map(|at| (at, Order::Leave)),
            grace,
            spread: http.goodbye_spread.min(grace / 4),
        }
    }

    /// Tells the connection what is due. False when it is gone.
    fn look(&mut self, now: Instant) -> bool {
        let Some(carriage) = self.carriage.upgrade() else { return false };
        if self.speaks_by.take_if(|at| *at <= now).is_some() && carriage.heard() < PREFACE {
            tracing::info!("closed a connection that said nothing");
            carriage.tell(Order::Close);
        }
        if let Some((_, order)) = self.next.take_if(|(at, _)| *at <= now) {
            carriage.tell(order);
            self.next = self.after(order).and_then(|(wait, order)| Some((now.checked_add(wait)?, order)));
        }
        true
    }

    /// What follows an order, and after how long. Streams have the grace but for its last
    /// part, in which they say goodbye, then what has none is ended, then all is closed.
    fn after(&self, order: Order) -> Option<(Duration, Order)> {
        match order {
            Order::Stay | Order::Close => None,
            Order::Leave => Some((self.grace.saturating_sub(3 * self.spread), Order::SayGoodbye(self.spread))),
            Order::SayGoodbye(spread) => Some((2 * spread, Order::EndStreams)),
            Order::EndStreams => Some((self.spread, Order::Close)),
        }
    }
}

/// Serves what comes to `listener` until `stop`, then until all connections are gone.
/// Dropping it cuts them.
pub(super) async fn serve<S, B>(service: S, http: Http, watchdog: Watchdog, listener: TcpListener, stop: Shutdown)
where
    S: tower::Service<Request<Complete>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let mut connections = JoinSet::new();
    let mut entries = Vec::<Entry>::new();
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
                entries.iter().filter_map(|entry| entry.carriage.upgrade()).for_each(|one| one.tell(Order::Leave));
            }
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    tracing::error!(%error, "a connection failed");
                }
            }
            now = sweeps.tick() => {
                watchdog.sweep();
                if refused > 0 {
                    tracing::warn!(refused, connections = connections.len(), "refused connections: there are too many");
                    refused = 0;
                }
                entries.retain_mut(|entry| entry.look(now));
            }
            accepted = accept => match accepted {
                Ok(_) if connections.len() >= http.max_connections => refused += 1,
                Ok((socket, _)) => {
                    prepare(&socket);
                    let carriage = Carriage::new();
                    entries.push(Entry::new(&carriage, &http));
                    let service = Front::new(service.clone(), watchdog.clone(), Arc::clone(&carriage));
                    connections.spawn(connection(builder(&http, &carriage), service, socket, carriage));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
}

fn builder(http: &Http, carriage: &Arc<Carriage>) -> Builder<Boarding> {
    let mut builder = Builder::new(Boarding(Arc::clone(carriage)));
    // Without a timer HTTP/1 would wait for ever for the headers of a request.
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(http.max_concurrent_streams)
        .max_local_error_reset_streams(http.max_local_error_reset_streams)
        // Clients that cancel many streams at once are not attackers.
        .max_pending_accept_reset_streams(http.max_local_error_reset_streams)
        .max_header_list_size(http.max_header_list_bytes.max(HEADER_LIST))
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
fn connection<S, B>(
    builder: Builder<Boarding>,
    service: Front<S>,
    socket: TcpStream,
    carriage: Arc<Carriage>,
) -> impl Future<Output = ()>
where
    S: tower::Service<Request<Complete>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let io = TokioIo::new(Heard { socket, carriage: Arc::clone(&carriage) });
    let connection = builder.serve_connection(io, service).into_owned();
    Connection::new(connection, carriage).map(|ended| {
        if let Some(Err(error)) = ended {
            tracing::info!(%error, "a connection broke");
        }
    })
}

impl<S, B, E> Leave for auto::Connection<'_, TokioIo<Heard>, S, E>
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<B>>,
    S::Future: 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body + 'static,
    B::Error: Into<BoxError>,
    E: HttpServerConnExec<S::Future, B>,
{
    fn leave(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// A socket that counts what was heard from it.
struct Heard {
    socket: TcpStream,
    carriage: Arc<Carriage>,
}

impl AsyncRead for Heard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.carriage.hear(buffer.filled().len() - before);
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

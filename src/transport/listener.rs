//! Connections: accepted, served, and told to go.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{self, Builder, HttpServerConnExec};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tower::BoxError;

use super::accounts::{Budgets, CONNECTION_WINDOW};
use super::byte_stream::ByteStream;
use super::connection::{CloseRequest, Connection, ConnectionShared, GracefulShutdown, StreamExecutor};
use super::counted_socket::CountedSocket;
use super::fast_path::FastPath;
use super::handshake::shake;
use super::handshake_limit::HandshakeLimit;
use super::listener_settings::ListenerSettings;
use super::monitor::{Closed, Monitor};
use super::request_body::CompleteBody;
use super::socket;
use super::stall::{SWEEP, StallDetector};
use super::table::{HANDSHAKE, Table};
use super::{Protocol, Settings};
use crate::shutdown::Shutdown;

/// How long to wait after an accept failed: without descriptors the next would
/// fail at once, and the loop would eat a core.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// Connections that may be on their way out while others take their places.
const CLOSING: usize = 32;

/// HTTP/2 takes lists of headers of so many bytes at least: those that are larger than
/// configured are refused by the call, with a status that says so. HTTP/2 itself can only
/// answer 431, or close the connection with every other stream on it.
const HEADER_LIST: u32 = 320 * 1024;

/// What one stream may have waiting in HTTP/2, in bytes (hyper: 400 KiB).
const SEND_BUFFER: usize = 64 * 1024;

/// What a peer may send of one stream before it is read, in bytes. A publisher 100 ms away still gets 5 MB/s.
const STREAM_WINDOW: u32 = 512 * 1024;

/// The least that hyper takes for what it buffers of HTTP/1, in bytes.
const LEAST_HTTP1_BUFFER: usize = 8 * 1024;

/// Serves what comes to `listener`, until `stop`, then until all connections are gone. Dropping it cuts them.
pub(crate) async fn serve<P, S, B>(
    service: S,
    settings: Settings,
    monitor: Arc<Monitor>,
    listener: TcpListener,
    before: ListenerSettings,
    stop: Shutdown,
) where
    P: Protocol,
    S: tower::Service<Request<CompleteBody<P>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let stalls = StallDetector::new(settings.stall_timeout, settings.receive_timeout);
    let mut connections = JoinSet::new();
    let budgets = Budgets::new(settings.memory);
    monitor.watch(Arc::clone(&budgets), stalls.counts());
    let mut table = Table::new(settings, budgets, Arc::clone(&monitor));
    let handshakes = HandshakeLimit::new(settings.handshakes_per_address, Arc::clone(&monitor));
    let wide_buffers = Arc::default();
    let mut sweeps = interval(SWEEP);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut listener = Some(listener);
    while listener.is_some() || !connections.is_empty() {
        // Those that were closed for others have their descriptors until they are gone.
        let has_room = connections.len() < settings.max_connections + CLOSING;
        let accept = async {
            match &listener {
                Some(listener) if has_room => listener.accept().await,
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.draining(), if listener.is_some() => {
                listener = None;
                table.request(CloseRequest::Graceful);
            }
            Some(ended) = connections.join_next() => table.remove(ended.expect("a panic is caught, and nobody aborts")),
            now = sweeps.tick() => {
                stalls.sweep();
                table.sweep(now);
            }
            accepted = accept => match accepted {
                // Before a place is made: who may not connect takes none.
                Ok((_, stranger)) if !before.admits(stranger.ip()) => {
                    monitor.count_accepted();
                    monitor.count_closed(Closed::Handshake);
                    tracing::info!(peer = %stranger.ip(), "refused a connection that comes from no trusted proxy");
                }
                Ok((socket, peer)) => {
                    if table.make_room().await {
                        socket::prepare(&socket);
                        let peer = peer.ip();
                        let (id, shared) = table.add(peer, Instant::now());
                        let (ends, counted) = (Arc::clone(&shared), Arc::clone(&monitor));
                        let service = FastPath::<_, P>::new(service.clone(), stalls.clone(), Arc::clone(&shared));
                        let wide_buffers = Arc::clone(&wide_buffers);
                        // Two kinds of tasks, so that one that speaks HTTP at once has no room for a handshake.
                        if before.is_plain() {
                            shared.comes_from(peer, before.forwarded_by(peer));
                            let socket = CountedSocket::new(ByteStream::Plain(socket), shared, wide_buffers);
                            connections.spawn(until_gone(id, ends, counted, connection(&settings, service, socket)));
                        } else {
                            let (before, settings, handshakes) = (before.clone(), settings, handshakes.clone());
                            connections.spawn(until_gone(id, ends, counted, async move {
                                if let Some(stream) = Box::pin(shake(socket, before, handshakes, &shared)).await {
                                    let socket = CountedSocket::new(stream, shared, wide_buffers);
                                    connection(&settings, service, socket).await;
                                }
                            }));
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    monitor.count_failed();
                    sleep(ACCEPT_BACK_OFF).await;
                }
            },
        }
    }
}

/// Runs a connection, and answers with its number: whatever becomes of it, its place is free then.
fn until_gone(
    id: u64,
    shared: Arc<ConnectionShared>,
    monitor: Arc<Monitor>,
    connection: impl Future<Output = ()>,
) -> impl Future<Output = u64> {
    AssertUnwindSafe(connection).catch_unwind().map(move |ended| {
        if ended.is_err() {
            tracing::error!("a connection failed");
            shared.closes_for(Closed::Broken);
        }
        monitor.count_closed(shared.closed());
        id
    })
}

fn builder(settings: &Settings, shared: &Arc<ConnectionShared>) -> Builder<StreamExecutor> {
    let mut builder = Builder::new(StreamExecutor(Arc::clone(shared)));
    // Without a timer HTTP/1 would wait for ever for the headers of a request. They count as what they are there, and
    // with HTTP/2 with 32 bytes more for each, so that all that is taken there finds room here too.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HANDSHAKE)
        .max_buf_size((2 * settings.max_header_list_bytes as usize).max(LEAST_HTTP1_BUFFER));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(settings.max_concurrent_streams)
        .max_local_error_reset_streams(settings.max_local_error_reset_streams)
        // Clients that cancel many streams at once are not attackers.
        .max_pending_accept_reset_streams(settings.max_local_error_reset_streams)
        .max_header_list_size(settings.max_header_list_bytes.max(HEADER_LIST))
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(settings.keepalive_interval)
        .keep_alive_timeout(settings.keepalive_timeout)
        .auto_date_header(false);
    builder
}

/// One connection, from its first byte of HTTP to the last.
fn connection<P, S, B>(
    settings: &Settings,
    service: FastPath<S, P>,
    socket: CountedSocket,
) -> impl Future<Output = ()> + use<P, S, B>
where
    P: Protocol,
    S: tower::Service<Request<CompleteBody<P>>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let shared = Arc::clone(&socket.shared);
    let connection = builder(settings, &shared).serve_connection(TokioIo::new(socket), service).into_owned();
    let ends = Arc::clone(&shared);
    Connection::new(connection, shared).map(move |ended| {
        if let Some(Err(error)) = ended {
            ends.closes_for(Closed::Broken);
            tracing::info!(reason = root(&*error), %error, "a connection broke");
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

/// The innermost cause, which names what HTTP/2 told the peer as it closed the connection.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| error.source()).last().map(ToString::to_string).unwrap_or_default()
}

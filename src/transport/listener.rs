//! Connections: accepted, served, and told to go.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto::{self, Builder, HttpServerConnExec};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tower::BoxError;

use super::connection::{CloseRequest, Connection, ConnectionShared, GracefulShutdown, StreamExecutor};
use super::fast_path::FastPath;
use super::request_body::CompleteBody;
use super::socket::{WideBuffer, WideBuffers};
use super::stall::{SWEEP, StallDetector};
use super::table::Table;
use super::{Protocol, Settings, socket};
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
    let mut connections = JoinSet::new();
    let mut table = Table::new(settings);
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
                Ok((socket, peer)) => {
                    if table.make_room().await {
                        socket::prepare(&socket);
                        let (id, shared) = table.add(peer.ip(), Instant::now());
                        let service = FastPath::<_, P>::new(service.clone(), stalls.clone(), Arc::clone(&shared));
                        let socket = CountedSocket { socket, shared, wide: None, wide_buffers: Arc::clone(&wide_buffers) };
                        let connection = connection(&settings, service, socket);
                        // Whatever becomes of it, its place is free then.
                        connections.spawn(AssertUnwindSafe(connection).catch_unwind().map(move |ended| {
                            if ended.is_err() {
                                tracing::error!("a connection failed");
                            }
                            id
                        }));
                    }
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

/// One connection, from the first byte to the last.
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

/// A socket that counts what was heard from it, and has room for more where much may come.
struct CountedSocket {
    socket: TcpStream,
    shared: Arc<ConnectionShared>,
    wide: Option<WideBuffer>,
    wide_buffers: Arc<WideBuffers>,
}

impl AsyncRead for CountedSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.wide.is_none() && self.shared.uploads() {
            self.wide = self.wide_buffers.widen(&self.socket);
        }
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

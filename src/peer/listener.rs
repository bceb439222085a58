//! The listener for peers.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tonic::service::Routes;
use tonic::service::interceptor::InterceptedService;

use super::MAX_MESSAGE;
use super::host::PeerHost;
use super::secret::CheckSecret;
use crate::pb::peer::v1::peer_service_server::PeerServiceServer;
use crate::shutdown::Shutdown;
use crate::tls::Acceptor;

/// Connections that peers have open at most.
const CONNECTIONS: usize = 256;

/// Streams of one connection at most: one for each swarm whose updates a peer takes from here.
const STREAMS: u32 = 65_536;

/// How long TLS may take to agree.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How long to wait after an error of the listener itself, such as want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a silent connection is asked whether it lives, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Bytes of one stream that wait to be read: of what peers ask for, not of updates.
const STREAM_WINDOW: u32 = 256 * 1024;

/// The largest list of headers, in bytes.
const HEADERS: u32 = 16 * 1024;

/// Serves peers, over TLS if `tls` is given, until `stop` begins and the last of them is gone. Dropping it cuts them.
pub async fn serve(host: PeerHost, listener: TcpListener, tls: Option<Acceptor>, stop: Shutdown) {
    let check = CheckSecret(host.network.secret().clone());
    let service =
        PeerServiceServer::new(host).max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    let routes = Routes::new(InterceptedService::new(service, check)).prepare();
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = stop.draining() => break,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "the listener for peers cannot accept");
                sleep(PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
            tracing::warn!("more peers connect than there can be");
            continue;
        };
        drop(socket.set_nodelay(true));
        let (routes, tls) = (routes.clone(), tls.clone());
        connections.spawn(async move {
            let _permit = permit;
            match tls {
                None => connection(socket, routes).await,
                Some(acceptor) => {
                    let handshake = TlsAcceptor::from(acceptor.config()).accept(socket);
                    if let Ok(Ok(socket)) = timeout(HANDSHAKE, handshake).await {
                        connection(socket, routes).await;
                    }
                }
            }
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn connection<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(socket: S, routes: Routes) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_header_list_size(HEADERS);
    let served = builder.serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes)).await;
    if let Err(error) = served {
        tracing::debug!(error, "a connection of a peer has ended");
    }
}

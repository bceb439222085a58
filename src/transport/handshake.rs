//! The handshake of TLS: bounded in time and in bytes, and told when it fails.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::connection::{CloseRequest, ConnectionShared};
use super::table::HANDSHAKE;
use crate::tls::{Acceptor, reason};

/// What a client may send before its handshake is done, in bytes: its greeting, its certificate, and those of some
/// intermediate authorities, many times over.
const HANDSHAKE_BYTES: usize = 32 * 1024;

/// What TLS may hold of what was written and not sent, in bytes: one record.
const SEND_BUFFER: usize = 16 * 1024;

/// What TLS may hold of one connection, in bytes: what is not sent, the longest record of which the end is missing,
/// keys and certificates. While its handshake lasts, [`HANDSHAKE_BYTES`] and an answer.
pub const TLS_CONNECTION: u64 = 48 * 1024;

/// The first byte of every connection of TLS: a record of the handshake.
const HANDSHAKE_RECORD: u8 = 22;

/// What HTTP/2 is told without TLS: empty SETTINGS, and a GOAWAY for `HTTP_1_1_REQUIRED`, which says no more than that
/// it cannot go on like this, with the reason as its debug data.
const GO_AWAY: &[u8] = b"\0\0\0\x04\0\0\0\0\0\
    \0\0\x2a\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dthis port speaks TLS: use https://";

/// The same for HTTP/1.
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\ncontent-length: 36\r\n\
    connection: close\r\n\r\nthis port speaks TLS: use https://\r\n";

/// A socket of which so much may be read and no more, for as long as the handshake lasts.
#[derive(Debug)]
pub(super) struct BoundedSocket {
    socket: TcpStream,
    left: usize,
}

impl BoundedSocket {
    pub(super) const fn tcp(&self) -> &TcpStream {
        &self.socket
    }
}

/// Makes the handshake of a connection that was just accepted, and notes who its client is. `None` when nothing came of
/// it: it failed, took too long, or was asked to end.
pub(super) async fn shake(
    socket: TcpStream,
    acceptor: &Acceptor,
    shared: &ConnectionShared,
) -> Option<Box<TlsStream<BoundedSocket>>> {
    let deadline = Instant::now() + HANDSHAKE;
    let handshake = async {
        let failed = match timeout_at(deadline, accept(socket, acceptor, shared)).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(failed)) => failed,
            Err(_) => Failed { reason: Some(format!("it was not done within {HANDSHAKE:?}")), socket: None },
        };
        if let Some(reason) = failed.reason {
            tracing::info!(peer = %shared.peer(), reason, "a TLS handshake failed");
        }
        if let Some(socket) = failed.socket {
            drop(timeout_at(deadline, linger(socket)).await);
        }
        None
    };
    tokio::select! {
        biased;
        stream = handshake => stream,
        // A place is wanted, or the server goes: no call is under way.
        () = shared.until_requested(CloseRequest::Graceful) => None,
    }
}

/// Why there is no connection, and its socket if the client may still be told.
struct Failed {
    /// `None` = it said nothing and has gone, as probes of TCP do: nobody wants to hear of it.
    reason: Option<String>,
    socket: Option<TcpStream>,
}

async fn accept(
    socket: TcpStream,
    acceptor: &Acceptor,
    shared: &ConnectionShared,
) -> Result<Box<TlsStream<BoundedSocket>>, Failed> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) => return Err(Failed { reason: None, socket: None }),
        Ok(_) if first[0] == HANDSHAKE_RECORD => {}
        Ok(_) => return Err(answer_plain(socket).await),
        Err(error) => return Err(Failed { reason: Some(error.to_string()), socket: None }),
    }
    let bounded = BoundedSocket { socket, left: HANDSHAKE_BYTES };
    let accept = TlsAcceptor::from(acceptor.config())
        .accept_with(bounded, |connection| connection.set_buffer_limit(Some(SEND_BUFFER)));
    // Boxed: what it takes is large, and needed for a moment.
    let mut stream = match Box::pin(accept.into_fallible()).await {
        Ok(stream) => Box::new(stream),
        Err((error, bounded)) => return Err(Failed { reason: Some(reason(&error)), socket: Some(bounded.socket) }),
    };
    let (bounded, connection) = stream.get_mut();
    bounded.left = usize::MAX;
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    match leaf.map(|leaf| acceptor.identity(leaf)).transpose() {
        Ok(identity) => identity.flatten().into_iter().for_each(|identity| shared.identify(identity)),
        Err(error) => return Err(Failed { reason: Some(error.to_string()), socket: None }),
    }
    tracing::debug!(peer = %shared.peer(), identity = ?shared.identity(), "a TLS handshake is done");
    Ok(stream)
}

/// Tells a client that does not speak TLS that it should.
async fn answer_plain(mut socket: TcpStream) -> Failed {
    let mut start = [0; 16];
    let (answer, reason) = match socket.peek(&mut start).await {
        Ok(known) if start[..known].starts_with(b"PRI") => (GO_AWAY, "the client speaks HTTP/2 without TLS"),
        Ok(known) if start[..known].iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) => {
            (BAD_REQUEST, "the client speaks HTTP/1 without TLS")
        }
        _ => (&b""[..], "the client does not speak TLS"),
    };
    // A few bytes, which a new socket takes at once; whoever does not hear them is closed all the same.
    drop(socket.write_all(answer).await);
    Failed { reason: Some(reason.to_owned()), socket: Some(socket) }
}

/// Lets the client read what it was told: a socket that is closed before all that came is read takes that away.
async fn linger(mut socket: TcpStream) {
    drop(socket.shutdown().await);
    let mut rest = [0; 1_024];
    let mut left = HANDSHAKE_BYTES;
    while left > 0 {
        match socket.read(&mut rest).await {
            Ok(0) | Err(_) => return,
            Ok(read) => left = left.saturating_sub(read),
        }
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
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::string::Ia5String;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::identity::{Nodes, Permissions};
    use crate::tls::{ClientCa, Protocols, Settings, Tls};

    /// An authority, and its certificate.
    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// Who a client of this name is after its handshake.
    async fn identified(name: Option<&str>) -> Arc<ConnectionShared> {
        let (authority, directory) = (authority(), tempfile::tempdir().unwrap());
        let write = |name: &str, pem: String| {
            let file = directory.path().join(name);
            std::fs::write(&file, pem).unwrap();
            file
        };
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let settings = Settings {
            cert_file: write("tls.crt", own.pem()),
            key_file: write("tls.key", key.serialize_pem()),
            client_ca: Some(ClientCa {
                file: write("ca.crt", authority.pem()),
                required: false,
                admin_sans: ["starling://admin".to_owned()].into(),
            }),
            reload_interval: Duration::from_secs(1),
        };
        let acceptor = Tls::load(settings).await.unwrap().acceptor(Protocols::Http2);

        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match name {
            Some(name) => {
                let mut params = CertificateParams::default();
                params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(name).unwrap())];
                let key = KeyPair::generate().unwrap();
                let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
                builder.with_client_auth_cert(chain, PrivateKeyDer::Pkcs8(key.serialize_der().into())).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let connect = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(connect, listener.accept());
        let shared = ConnectionShared::unbounded();
        let server = ServerName::try_from("localhost").unwrap();
        let (stream, client) = tokio::join!(
            shake(accepted.unwrap().0, &acceptor, &shared),
            TlsConnector::from(Arc::new(config)).connect(server, client.unwrap()),
        );
        assert!(stream.is_some() && client.is_ok());
        shared
    }

    #[tokio::test]
    async fn connection_knows_who_its_certificate_names() {
        let node = identified(Some("starling://node/7")).await;
        let node = node.identity().unwrap();
        assert_eq!(node.node().map(|node| node.get()), Some(7));
        assert!(node.permissions == Permissions::All && node.expires_at.is_some());
        let admin = identified(Some("starling://admin")).await;
        assert_eq!(admin.identity().unwrap().nodes, Nodes::Any);
        assert!(identified(Some("https://somebody.example/")).await.identity().is_none());
        assert!(identified(None).await.identity().is_none());
    }

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
        bounded.left = usize::MAX;
        bounded.read_exact(&mut [0; 20]).await.unwrap();
    }

    #[test]
    fn answers_to_plain_clients_have_their_lengths() {
        let go_away = &GO_AWAY[9..];
        assert_eq!(usize::from(go_away[2]), go_away.len() - 9);
        let (head, body) = std::str::from_utf8(BAD_REQUEST).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }
}

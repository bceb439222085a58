//! What a connection says before HTTP: for whom a proxy has made it, and the handshake of TLS. Both together are bounded
//! in time, each in bytes, and it is told when one of them fails.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::bounded_socket::{BoundedSocket, HANDSHAKE_BYTES};
use super::byte_stream::ByteStream;
use super::connection::{CloseRequest, ConnectionShared};
use super::handshake_limit::HandshakeLimit;
use super::listener_settings::ListenerSettings;
use super::monitor::Closed;
use super::proxy_protocol::{self, Announced, PreambleError};
use super::table::HANDSHAKE;
use crate::tls::{Acceptor, reason};

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

/// Hears what a connection that was just accepted says before HTTP, and notes where it comes from and who its client is.
/// `None` when nothing came of it: it failed, took too long, or was asked to end.
pub(super) async fn shake(
    socket: TcpStream,
    before: ListenerSettings,
    handshakes: HandshakeLimit,
    shared: &ConnectionShared,
) -> Option<ByteStream> {
    let deadline = Instant::now() + HANDSHAKE;
    let handshake = async {
        let failed = match open(socket, before, &handshakes, shared, deadline).await {
            Ok(stream) => return Some(stream),
            Err(failed) => failed,
        };
        if let Some(reason) = failed.reason {
            shared.closes_for(Closed::Handshake);
            let peer = shared.peer();
            match failed.step {
                Step::Preamble => tracing::info!(%peer, reason, "a preamble of the PROXY protocol was refused"),
                Step::Tls => tracing::info!(%peer, reason, "a TLS handshake failed"),
            }
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

/// What a connection says before HTTP, in this order.
#[derive(Clone, Copy, Debug)]
enum Step {
    Preamble,
    Tls,
}

/// Why there is no connection, and its socket if the client may still be told.
struct Failed {
    step: Step,
    /// `None` = it said nothing and has gone, as probes of TCP do: nobody wants to hear of it.
    reason: Option<String>,
    socket: Option<TcpStream>,
}

impl Failed {
    fn new(step: Step, reason: impl ToString) -> Self {
        Self { step, reason: Some(reason.to_string()), socket: None }
    }

    fn late(step: Step) -> Self {
        Self::new(step, format_args!("it was not done within {HANDSHAKE:?}"))
    }

    const fn silent(step: Step) -> Self {
        Self { step, reason: None, socket: None }
    }
}

async fn open(
    mut socket: TcpStream,
    before: ListenerSettings,
    handshakes: &HandshakeLimit,
    shared: &ConnectionShared,
    deadline: Instant,
) -> Result<ByteStream, Failed> {
    let proxy = shared.peer();
    let announced = if before.proxy_protocol.is_some() {
        match timeout_at(deadline, proxy_protocol::receive(&mut socket)).await {
            Ok(Ok(announced)) => announced,
            Ok(Err(PreambleError::Silent)) => return Err(Failed::silent(Step::Preamble)),
            Ok(Err(refused)) => return Err(Failed::new(Step::Preamble, refused)),
            Err(_) => return Err(Failed::late(Step::Preamble)),
        }
    } else {
        Announced::Itself
    };
    match announced {
        Announced::Itself => shared.comes_from(proxy, before.forwarded_by(proxy)),
        Announced::Client(client) => {
            tracing::debug!(peer = %client, %proxy, "a proxy has connected for a client");
            shared.comes_from(client, before.forwarded_by(client));
        }
        // Counted as the proxy's own. Its headers are not: whoever sends them is unknown.
        Announced::Unknown => shared.comes_from(proxy, None),
    }
    let Some(acceptor) = &before.tls else { return Ok(ByteStream::Plain(socket)) };
    // It is known by now whose handshake it is, and nothing of it is calculated.
    if !handshakes.admits(shared.peer()) {
        shared.closes_for(Closed::Limited);
        return Err(Failed::silent(Step::Tls));
    }
    let accepted = timeout_at(deadline, accept(socket, acceptor, shared)).await;
    accepted.unwrap_or_else(|_| Err(Failed::late(Step::Tls))).map(ByteStream::Tls)
}

async fn accept(
    socket: TcpStream,
    acceptor: &Acceptor,
    shared: &ConnectionShared,
) -> Result<Box<TlsStream<BoundedSocket>>, Failed> {
    let mut first = [0];
    match socket.peek(&mut first).await {
        Ok(0) => return Err(Failed::silent(Step::Tls)),
        Ok(_) if first[0] == HANDSHAKE_RECORD => {}
        Ok(_) => return Err(answer_plain(socket).await),
        Err(error) => return Err(Failed::new(Step::Tls, error)),
    }
    let accept = TlsAcceptor::from(acceptor.config()).accept_with(BoundedSocket::new(socket), |connection| {
        connection.set_buffer_limit(Some(SEND_BUFFER));
    });
    // Boxed: what it takes is large, and needed for a moment.
    let mut stream = match Box::pin(accept.into_fallible()).await {
        Ok(stream) => Box::new(stream),
        Err((error, bounded)) => {
            return Err(Failed { socket: Some(bounded.into_socket()), ..Failed::new(Step::Tls, reason(&error)) });
        }
    };
    let (bounded, connection) = stream.get_mut();
    bounded.unbind();
    let leaf = connection.peer_certificates().and_then(|chain| chain.first());
    match leaf.map(|leaf| acceptor.identity(leaf)).transpose() {
        Ok(identity) => identity.flatten().into_iter().for_each(|identity| shared.identify(identity)),
        Err(error) => return Err(Failed::new(Step::Tls, error)),
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
    Failed { socket: Some(socket), ..Failed::new(Step::Tls, reason) }
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
    use crate::tls::{CertificateRequest, ClientCa, ListenerKind, Protocols, Settings, SubjectNames, Tls};

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
                calls: CertificateRequest::Optional,
                admin: CertificateRequest::None,
                names: Arc::new(SubjectNames { admins: vec!["starling://admin".to_owned()], readers: Vec::new() }),
            }),
            reload_interval: Duration::from_secs(1),
        };
        let acceptor = Tls::load(settings).await.unwrap().acceptor(ListenerKind::Calls(Protocols::Http2));

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
        let shared = ConnectionShared::accepted();
        let before = ListenerSettings { tls: Some(acceptor), ..ListenerSettings::default() };
        let server = ServerName::try_from("localhost").unwrap();
        let (stream, client) = tokio::join!(
            shake(accepted.unwrap().0, before, HandshakeLimit::new(0, Arc::default()), &shared),
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

    #[test]
    fn answers_to_plain_clients_have_their_lengths() {
        let go_away = &GO_AWAY[9..];
        assert_eq!(usize::from(go_away[2]), go_away.len() - 9);
        let (head, body) = std::str::from_utf8(BAD_REQUEST).unwrap().split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    }
}

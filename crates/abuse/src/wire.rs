//! The bytes of an attacker's connection, with TLS or without.

use std::net::Ipv4Addr;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::Error;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use crate::ending::Ending;

/// A socket, or TLS over one.
pub(crate) type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Makes the handshake of TLS.
pub(crate) async fn secured(tcp: TcpStream, connector: &TlsConnector) -> Result<Box<TlsStream<TcpStream>>, Ending> {
    let server = ServerName::IpAddress(Ipv4Addr::LOCALHOST.into());
    let stream = Box::pin(connector.connect(server, tcp)).await.map_err(|error| tls_ending(&error))?;
    Ok(Box::new(stream))
}

/// What the server said as it ended TLS, if anything.
pub(crate) fn tls_ending(error: &std::io::Error) -> Ending {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(Error::AlertReceived(alert)) => Ending::Told(format!("alert {alert:?}")),
        _ => Ending::Closed,
    }
}

//! The greeting of a TLS client, as bytes that can be sent again and again, and what the server says to it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, ClientConfig, ClientConnection};

use crate::ending::Ending;
use crate::error::AbuseError;

/// Types of records (RFC 8446, 5.1).
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const ALERT: u8 = 21;

/// The first record of a client of this kind.
pub(crate) fn client_hello(config: Arc<ClientConfig>) -> Result<Vec<u8>, AbuseError> {
    let mut connection = ClientConnection::new(config, ServerName::IpAddress(Ipv4Addr::LOCALHOST.into()))?;
    let mut hello = Vec::new();
    connection.write_tls(&mut hello)?;
    Ok(hello)
}

/// Reads the first record of the server: served, unless it is an alert, or none.
pub(crate) async fn first_record(tcp: &mut TcpStream) -> Ending {
    let mut head = [0; 5];
    if tcp.read_exact(&mut head).await.is_err() {
        return Ending::Closed;
    }
    let mut alert = [0; 2];
    match head[0] {
        ALERT if tcp.read_exact(&mut alert).await.is_ok() => {
            Ending::Told(format!("alert {:?}", AlertDescription::from(alert[1])))
        }
        ALERT => Ending::Closed,
        _ => Ending::Served,
    }
}

//! How clients reach a server, by what is switched on there.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::either::Either;

use super::credentials::Credentials;
use super::features::Features;
use crate::error::BenchError;
use starling_client::{BearerToken, Client, ConnectOptions};

/// A connection, with TLS or without.
pub(crate) type Wire = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// What is switched on, and the credentials that it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Access {
    pub(crate) features: Features,
    /// There where tokens or TLS are on.
    credentials: Option<Arc<Credentials>>,
}

impl Access {
    pub(crate) fn new(features: Features, credentials: &Arc<Credentials>) -> Self {
        Self { features, credentials: Some(Arc::clone(credentials)) }
    }

    /// Without tokens and TLS; with `signed`, updates are signed.
    pub(crate) const fn open(signed: bool) -> Self {
        Self { features: Features { signed, ..Features::OFF }, credentials: None }
    }

    fn tokens(&self) -> Option<&Credentials> {
        self.credentials.as_deref().filter(|_| self.features.jwt)
    }

    fn tls(&self) -> Option<&Credentials> {
        self.credentials.as_deref().filter(|_| self.features.tls)
    }

    /// The settings of Starling, in its environment. Its admin pages are there for their metrics alone.
    pub(crate) fn settings(&self, admin: Option<SocketAddr>) -> Vec<(&'static str, OsString)> {
        let admin = admin.map_or_else(|| "off".to_owned(), |admin| admin.to_string());
        // All clients come from one address.
        let mut settings = vec![
            ("STARLING__ADMIN__LISTEN", admin.into()),
            ("STARLING__LIMITS__ADDRESS_HANDSHAKES_PER_SECOND", "0".into()),
        ];
        if let Some(credentials) = self.tokens() {
            settings.extend(credentials.identity_settings());
        }
        if let Some(credentials) = self.tls() {
            let [cert, key] = credentials.certificate();
            settings.extend([("STARLING__TLS__CERT_FILE", cert.into()), ("STARLING__TLS__KEY_FILE", key.into())]);
        }
        settings
    }

    /// The arguments of a baseline that is served here.
    pub(crate) fn arguments(&self) -> Vec<OsString> {
        self.tls().map_or_else(Vec::new, |credentials| {
            let [cert, key] = credentials.certificate();
            vec!["--cert-file".into(), cert.into(), "--key-file".into(), key.into()]
        })
    }

    /// Where a server that was started here is.
    pub(crate) fn url(&self, address: SocketAddr) -> String {
        format!("{}://{address}", if self.features.tls { "https" } else { "http" })
    }

    /// A client that may do everything as any node.
    pub(crate) async fn client(&self, url: &str) -> Result<Client, BenchError> {
        let ca_file = self.tls().map(Credentials::authority);
        let client = Client::connect_with(url, ConnectOptions { ca_file, certificate: None }).await?;
        match self.tokens() {
            Some(credentials) => Ok(client.with_token(BearerToken::new(&credentials.back_end_token()?)?)),
            None => Ok(client),
        }
    }

    /// The same connection, for one node.
    pub(crate) fn client_of(&self, client: Client, node: u64) -> Result<Client, BenchError> {
        match self.tokens() {
            Some(credentials) => Ok(client.with_token(BearerToken::new(&credentials.node_token(node)?)?)),
            None => Ok(client),
        }
    }

    /// What a node shows in the header `authorization`.
    pub(crate) fn authorization(&self, node: u64) -> Result<Option<HeaderValue>, BenchError> {
        let Some(credentials) = self.tokens() else { return Ok(None) };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", credentials.node_token(node)?))?;
        // Not in the tables of header compression, as by starling-client.
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// Agrees on TLS, if it is on.
    pub(crate) async fn wire(&self, tcp: TcpStream) -> Result<Wire, BenchError> {
        let Some(credentials) = self.tls() else { return Ok(Either::Left(tcp)) };
        let name = ServerName::from(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));
        Ok(Either::Right(Box::new(credentials.connector().connect(name, tcp).await?)))
    }
}

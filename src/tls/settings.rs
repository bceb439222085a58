//! What a listener's TLS is made of.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where certificates are, and what is asked of clients.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The server's certificate and its intermediate authorities, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
    /// Who may vouch for clients; `None` = clients are not asked for a certificate.
    pub client_ca: Option<ClientCa>,
    /// How often the files are looked at.
    pub reload_interval: Duration,
}

/// Who may vouch for clients.
#[derive(Clone, Debug)]
pub struct ClientCa {
    /// Certificates of the authorities, in PEM.
    pub file: PathBuf,
    /// Whether a client without a certificate is refused.
    pub required: bool,
    /// Names in a certificate that make its owner an administrator: URIs, and DNS names.
    pub admin_sans: Arc<[String]>,
}

/// What is agreed on by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, and HTTP/1.1 for who does not know it.
    Http2AndHttp1,
}

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

/// Who may vouch for clients, and what their names mean.
#[derive(Clone, Debug)]
pub struct ClientCa {
    /// Certificates of the authorities, in PEM.
    pub file: PathBuf,
    /// What clients of calls are asked for.
    pub calls: CertificateRequest,
    /// What clients of the admin listener are asked for.
    pub admin: CertificateRequest,
    /// Who somebody is.
    pub names: Arc<SubjectNames>,
}

/// Names in a certificate that mean something to this server beside those of nodes: URIs, and DNS names.
#[derive(Clone, Debug, Default)]
pub struct SubjectNames {
    /// Of administrators.
    pub admins: Vec<String>,
    /// Of those who may read what the admin listener shows. To calls they are nobody in particular.
    pub readers: Vec<String>,
}

/// Whether a client is asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRequest {
    /// It is not.
    None,
    /// It may show one, which must be valid then.
    Optional,
    /// It must show one.
    Required,
}

/// What is agreed on by ALPN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocols {
    /// HTTP/2 alone.
    Http2,
    /// HTTP/2, and HTTP/1.1 for who does not know it.
    Http2AndHttp1,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerKind {
    /// Calls.
    Calls(Protocols),
    /// The pages of the admin listener, over HTTP/2 and HTTP/1.1.
    Admin,
}

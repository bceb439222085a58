//! What the files hold: read, parsed, and matched.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::parse_x509_certificate;

use super::settings::{CertificateRequest, ClientCa, ListenerKind, Protocols, Settings};
use super::verifier::SubjectVerifier;

/// Protocols as ALPN names them.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

const CERT_FILE: &str = "tls.cert_file";
const KEY_FILE: &str = "tls.key_file";
const CLIENT_CA_FILE: &str = "tls.client_ca_file";

/// Why files are of no use: the setting, the file, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {}: {problem}", .file.display())]
pub struct TlsError {
    key: &'static str,
    file: PathBuf,
    problem: String,
}

impl TlsError {
    fn new(key: &'static str, file: &Path, problem: impl Into<String>) -> Self {
        Self { key, file: file.to_owned(), problem: problem.into() }
    }
}

/// What the files hold, as bytes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the key.
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

impl Contents {
    pub(super) async fn read(settings: &Settings) -> Result<Self, TlsError> {
        let cert = read(CERT_FILE, &settings.cert_file).await?;
        let key = read(KEY_FILE, &settings.key_file).await?;
        let client_ca = match &settings.client_ca {
            Some(authority) => read(CLIENT_CA_FILE, &authority.file).await?,
            None => Vec::new(),
        };
        Ok(Self { cert, key, client_ca })
    }
}

async fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(file).await.map_err(|error| {
        let problem = match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("cannot be read: {error}"),
        };
        TlsError::new(key, file, problem)
    })
}

/// What connections are made with.
#[derive(Debug)]
pub(super) struct Material {
    http2: Arc<ServerConfig>,
    http2_and_http1: Arc<ServerConfig>,
    admin: Arc<ServerConfig>,
    /// Of the server's own certificate: serial number in hexadecimal, and when it ends, in Unix time.
    serial: String,
    ends_at: u64,
    ends_on: String,
}

impl Material {
    /// Parses what was read, and sees that all of it fits together.
    pub(super) fn new(contents: &Contents, settings: &Settings) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(CERT_FILE, &settings.cert_file, &contents.cert)?;
        let leaf = parse_x509_certificate(&chain[0]).map(|(_, leaf)| {
            let ends = leaf.validity().not_after;
            (leaf.raw_serial_as_string(), u64::try_from(ends.timestamp()).unwrap_or(0), ends.to_string())
        });
        let (serial, ends_at, ends_on) = leaf.map_err(|error| {
            TlsError::new(CERT_FILE, &settings.cert_file, format!("its first certificate cannot be parsed: {error}"))
        })?;
        let key = Arc::new(SingleCertAndKey::from(certified_key(chain, settings, &contents.key, &provider)?));
        let config = |request: fn(&ClientCa) -> CertificateRequest| {
            let verifier = match &settings.client_ca {
                Some(authority) => verifier(authority, request(authority), &contents.client_ca, &provider)?,
                None => None,
            };
            Ok(server_config(verifier, Arc::clone(&key), Arc::clone(&provider)))
        };
        let mut http2 = config(|authority| authority.calls)?;
        let mut http2_and_http1 = http2.clone();
        let mut admin = config(|authority| authority.admin)?;
        http2.alpn_protocols = vec![HTTP2.to_vec()];
        http2_and_http1.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        admin.alpn_protocols.clone_from(&http2_and_http1.alpn_protocols);
        let [http2, http2_and_http1, admin] = [http2, http2_and_http1, admin].map(Arc::new);
        Ok(Self { http2, http2_and_http1, admin, serial, ends_at, ends_on })
    }

    pub(super) const fn config(&self, listener: ListenerKind) -> &Arc<ServerConfig> {
        match listener {
            ListenerKind::Calls(Protocols::Http2) => &self.http2,
            ListenerKind::Calls(Protocols::Http2AndHttp1) => &self.http2_and_http1,
            ListenerKind::Admin => &self.admin,
        }
    }

    /// Whether the certificate of the server is over.
    pub(super) const fn has_ended(&self, now: UnixTime) -> bool {
        now.as_secs() > self.ends_at
    }

    pub(super) fn tell(&self, what: &str) {
        let (serial, until) = (&self.serial, &self.ends_on);
        tracing::info!(serial, until, "{what}");
    }

    pub(super) fn tell_end(&self) {
        let (serial, until) = (&self.serial, &self.ends_on);
        tracing::warn!(serial, until, "the TLS certificate has expired: clients will refuse it");
    }
}

/// The certificates of a file, at least one.
fn certificates(key: &'static str, file: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::new(key, file, format!("is no valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(TlsError::new(key, file, "holds no certificate in PEM"));
    }
    Ok(found)
}

/// The key of a certificate.
fn certified_key(
    chain: Vec<CertificateDer<'static>>,
    settings: &Settings,
    pem: &[u8],
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let fault = |problem: String| TlsError::new(KEY_FILE, &settings.key_file, problem);
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        fault(match error {
            pem::Error::NoItemsFound => "holds no private key in PEM, or one that is encrypted".to_owned(),
            error => format!("is no valid PEM: {error}"),
        })
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            fault(format!("is not the key of the certificate in {}", settings.cert_file.display()))
        }
        Error::InvalidCertificate(error) => {
            TlsError::new(CERT_FILE, &settings.cert_file, format!("its first certificate is of no use: {error}"))
        }
        error => fault(format!("is of no use: {error}")),
    })
}

/// What a listener speaks, but for its protocols.
fn server_config(
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    key: Arc<SingleCertAndKey>,
    provider: Arc<CryptoProvider>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("ring has suites for both versions");
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(key);
    // Every connection shows its certificate again: none outlives it, or the authority that vouched for it.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config
}

/// Who verifies clients; `None` where none is asked.
fn verifier(
    authority: &ClientCa,
    request: CertificateRequest,
    pem: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if request == CertificateRequest::None {
        return Ok(None);
    }
    let fault = |problem: String| TlsError::new(CLIENT_CA_FILE, &authority.file, problem);
    let mut roots = RootCertStore::empty();
    for (number, root) in (1..).zip(certificates(CLIENT_CA_FILE, &authority.file, pem)?) {
        roots.add(root).map_err(|error| fault(format!("certificate {number} is of no use: {error}")))?;
    }
    let mut chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if request == CertificateRequest::Optional {
        chain = chain.allow_unauthenticated();
    }
    let chain = chain.build().map_err(|error| fault(error.to_string()))?;
    Ok(Some(Arc::new(SubjectVerifier::new(chain, Arc::clone(&authority.names)))))
}

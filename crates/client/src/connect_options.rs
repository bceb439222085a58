//! How a client connects.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

use crate::connect_error::ConnectError;

/// How long TLS may take to agree.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// How a client connects, beside where to. Files are read for each connection, so that one that is made again later
/// has what is in them then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    /// Certificates of the authorities that may vouch for the server, in PEM; without it those of the system may.
    pub ca_file: Option<PathBuf>,
    /// What the client shows to a server that asks who it is.
    pub certificate: Option<ClientCertificate>,
}

/// The files of a client's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, followed by those of its intermediate authorities, in PEM.
    pub cert_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
}

impl ConnectOptions {
    /// Whether they mean nothing without TLS.
    pub(crate) const fn needs_tls(&self) -> bool {
        self.ca_file.is_some() || self.certificate.is_some()
    }

    pub(crate) fn tls(&self, url: &str) -> Result<ClientTlsConfig, ConnectError> {
        let read = |file: &Path| std::fs::read(file).map_err(|error| ConnectError::file(url, file, &error));
        let mut tls = ClientTlsConfig::new().timeout(HANDSHAKE);
        tls = match &self.ca_file {
            Some(file) => tls.ca_certificate(Certificate::from_pem(read(file)?)),
            None => tls.with_native_roots(),
        };
        if let Some(ClientCertificate { cert_file, key_file }) = &self.certificate {
            tls = tls.identity(Identity::from_pem(read(cert_file)?, read(key_file)?));
        }
        Ok(tls)
    }
}

//! TLS: certificates that are read again when they change, and who a client is by its own.
//!
//! ```text
//!   tls (this file) ── load, run ──► material: files read, parsed, matched ──► verifier ──► subject
//!     ▲ Acceptor::config, for each connection                                                  ▲
//!   transport: handshake ──────────────────── Acceptor::identity ──────────────────────────────┘
//! ```
//!
//! Open connections keep what they began with; new ones get what was read last.

mod material;
mod settings;
mod subject;
mod verifier;

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use tokio_rustls::rustls::{CertificateError, Error, OtherError, ServerConfig};

pub use material::TlsError;
pub use settings::{CertificateRequest, ClientCa, ListenerKind, Protocols, Settings, SubjectNames};
pub use subject::SubjectError;

use self::material::{Contents, Material};
use crate::identity::Identity;

/// Certificate and key of a server, and the authorities of its clients, as they are in their files. Shared by its
/// listeners.
#[derive(Debug)]
pub struct Tls {
    settings: Settings,
    material: Mutex<Arc<Material>>,
    /// What was read at start.
    contents: Contents,
}

/// TLS of one listener. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Acceptor {
    tls: Arc<Tls>,
    listener: ListenerKind,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// When one of them cannot be read, or is of no use, or when the key is not that of the certificate.
    pub async fn load(settings: Settings) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(&settings).await?;
        let material = Material::new(&contents, &settings)?;
        material.tell("the TLS certificate is read");
        Ok(Arc::new(Self { settings, material: Mutex::new(Arc::new(material)), contents }))
    }

    /// TLS for one listener.
    #[must_use]
    pub fn acceptor(self: &Arc<Self>, listener: ListenerKind) -> Acceptor {
        Acceptor { tls: Arc::clone(self), listener }
    }

    /// Looks at the files again and again, and takes over what has changed. What is of no use is told once, and what
    /// was read before stays in use. Never returns.
    pub async fn run(&self) {
        let mut looks = interval(self.settings.reload_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is due at once.
        looks.tick().await;
        let mut last = Ok(self.contents.clone());
        let mut told_end = false;
        loop {
            let material = Arc::clone(&self.material.lock());
            if material.has_ended(UnixTime::now()) && !std::mem::replace(&mut told_end, true) {
                material.tell_end();
            }
            looks.tick().await;
            let mut read = Contents::read(&self.settings).await;
            if read == last {
                continue;
            }
            let mut parsed = self.parse(&read);
            if parsed.is_err() {
                // Perhaps one file was written between the reading of two.
                read = Contents::read(&self.settings).await;
                parsed = self.parse(&read);
            }
            match parsed {
                Ok(material) => {
                    material.tell("TLS files have changed: new connections use them");
                    *self.material.lock() = Arc::new(material);
                    told_end = false;
                }
                Err(error) => tracing::error!(%error, "TLS files are of no use: those read before stay in use"),
            }
            last = read;
        }
    }

    fn parse(&self, read: &Result<Contents, TlsError>) -> Result<Material, TlsError> {
        read.as_ref().map_err(Clone::clone).and_then(|contents| Material::new(contents, &self.settings))
    }
}

/// Why a handshake failed, in words: where a name was not understood, which.
pub(crate) fn reason(error: &io::Error) -> String {
    let refused = error.get_ref().and_then(|cause| cause.downcast_ref());
    match refused {
        Some(Error::InvalidCertificate(CertificateError::Other(OtherError(subject)))) => subject.to_string(),
        _ => error.to_string(),
    }
}

impl Acceptor {
    /// What a connection that begins now is to use.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        let material = self.tls.material.lock();
        Arc::clone(material.config(self.listener))
    }

    /// Who a client is whose certificate was verified.
    ///
    /// # Errors
    ///
    /// When its names cannot be understood. The handshake has refused such a certificate before.
    pub(crate) fn identity(&self, certificate: &CertificateDer<'_>) -> Result<Option<Identity>, SubjectError> {
        match &self.tls.settings.client_ca {
            Some(authority) => subject::identity(certificate, &authority.names, self.listener),
            None => Ok(None),
        }
    }
}

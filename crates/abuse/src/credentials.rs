//! What is made for one run against a server with TLS and tokens: its certificate, its keys, and what clients show.

mod issuer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};
use starling_client::ConnectOptions;
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};

use self::issuer::{AUDIENCE, ISSUER};
pub(crate) use self::issuer::{Issuer, TokenAlgorithm, encoded, noise};
use crate::error::AbuseError;

/// The livestream of the healthy clients; attackers make swarms of their own, with larger ids.
pub(crate) const HEALTHY_LIVESTREAM: u64 = 1;
/// The first swarm that attackers may make: of the ids that they draw none is smaller.
const FIRST_OF_ATTACKERS: u64 = 1_000;
/// An attacker that may watch the healthy livestream and chat in it.
pub(crate) const FELLOW: u64 = 900_000;

/// One version of TLS only.
pub(crate) static ONLY_1_2: &[&SupportedProtocolVersion] = &[&TLS12];
pub(crate) static ONLY_1_3: &[&SupportedProtocolVersion] = &[&TLS13];

/// A chain of certificates, and the key of its first.
pub(crate) type Chain = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The material of one run, with its files.
pub(crate) struct Credentials {
    directory: TempDir,
    pub(crate) authority: CertifiedIssuer<'static, KeyPair>,
    pub(crate) issuer: Issuer,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn new() -> Result<Self, AbuseError> {
        let authority = CertifiedIssuer::self_signed(authority_params(), KeyPair::generate()?)?;
        let made = Self { directory: TempDir::new()?, authority, issuer: Issuer::new()? };
        let mut server = CertificateParams::new(["127.0.0.1".to_owned()])?;
        server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate()?;
        made.write(CA, &made.authority.pem())?;
        made.write(CERT, &server.signed_by(&key, &made.authority)?.pem())?;
        made.write(KEY, &key.serialize_pem())?;
        made.write(KEYS, &made.issuer.key_set()?)?;
        Ok(made)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), AbuseError> {
        Ok(std::fs::write(self.file(name), text)?)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The settings of the server: tokens from everybody, and a certificate from who has one.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        let text = |path: &Path| path.display().to_string();
        vec![
            ("identity.mode", "jwt".into()),
            ("identity.issuer", ISSUER.into()),
            ("identity.audience", AUDIENCE.into()),
            ("identity.jwks_file", text(&self.file(KEYS))),
            ("tls.cert_file", text(&self.file(CERT))),
            ("tls.key_file", text(&self.file(KEY))),
            ("tls.client_ca_file", text(&self.file(CA))),
            ("tls.client_auth", "optional".into()),
        ]
    }

    /// How `starling-client` connects.
    pub(crate) fn options(&self) -> Arc<ConnectOptions> {
        Arc::new(ConnectOptions { ca_file: Some(self.file(CA)), certificate: None })
    }

    /// How a bare client connects: with these versions of TLS, and perhaps a certificate of its own.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<Chain>,
    ) -> Result<Arc<ClientConfig>, AbuseError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)?
            .with_root_certificates(roots);
        let mut config = match own {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }

    /// A client of TLS 1.2 that gives its keys away, for one suite alone.
    pub(crate) fn open_client(&self) -> Result<Arc<ClientConfig>, AbuseError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().clone())?;
        let suite = ring::cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
        let provider = CryptoProvider { cipher_suites: vec![suite], ..ring::default_provider() };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(ONLY_1_2)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }

    /// How most clients connect.
    pub(crate) fn connector(&self) -> Result<TlsConnector, AbuseError> {
        Ok(self.client(&[&TLS13, &TLS12], None)?.into())
    }

    /// The token of a stranger: a back-end that may do everything to swarms of its own, and nothing to others'.
    pub(crate) fn stranger(&self) -> Result<String, AbuseError> {
        self.issuer.token("stranger", &stranger_claim())
    }

    /// A token of a node that may watch the healthy livestream, and publish on these channels of it.
    pub(crate) fn viewer(&self, node: u64, channels: &[&str]) -> Result<String, AbuseError> {
        let grant = json!({ "livestreams": [HEALTHY_LIVESTREAM], "may": ["join"], "publish": channels });
        self.issuer.token(&node.to_string(), &json!({ "grants": [grant] }))
    }

    /// The token of the broadcaster of the healthy livestream.
    pub(crate) fn broadcaster(&self, node: u64) -> Result<String, AbuseError> {
        let may = ["create", "join", "administer"];
        let grant = json!({ "livestreams": [HEALTHY_LIVESTREAM], "may": may, "publish": ["DATA"] });
        self.issuer.token(&node.to_string(), &json!({ "grants": [grant] }))
    }
}

/// What a stranger may.
pub(crate) fn stranger_claim() -> Value {
    let swarms = [format!("{FIRST_OF_ATTACKERS}-{}", u64::MAX)];
    let may = ["create", "join", "moderate", "administer"];
    json!({
        "act_for": "*",
        "grants": [{ "livestreams": swarms, "groups": swarms, "may": may, "publish": "*" }],
    })
}

/// An authority that may vouch for others.
pub(crate) fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

const CA: &str = "ca.crt";
const CERT: &str = "tls.crt";
const KEY: &str = "tls.key";
const KEYS: &str = "keys.json";

//! Certificates, keys and tokens, made for a measurement and gone with it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::EncodePrivateKey as _;
use ed25519_dalek::pkcs8::spki::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::error::BenchError;

/// The name of the key of tokens.
const KEY: &str = "bench";
const ISSUER: &str = "starling-bench";
const AUDIENCE: &str = "starling";
/// Longer than a measurement, in seconds.
const LIFETIME: u64 = 12 * 3_600;

/// One authority and one certificate for all servers, and one issuer of tokens.
pub(crate) struct Credentials {
    files: TempDir,
    issuer: EncodingKey,
    connector: TlsConnector,
}

impl Credentials {
    /// Makes all of it anew.
    pub(crate) fn new() -> Result<Self, BenchError> {
        let files = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(files.path().join(name), text);
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        write("ca.crt", &authority.pem())?;
        write("tls.crt", &params.signed_by(&key, &authority)?.pem())?;
        write("tls.key", &key.serialize_pem())?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone())?;
        let mut client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        // Every handshake is a whole one.
        client.resumption = Resumption::disabled();

        let signer = SigningKey::from_bytes(&rand::random());
        std::fs::create_dir(files.path().join("keys"))?;
        let public = signer.verifying_key().to_public_key_pem(LineEnding::LF).map_err(|error| failed(&error))?;
        write(&format!("keys/{KEY}.pem"), &public)?;
        let private = signer.to_pkcs8_der().map_err(|error| failed(&error))?;
        let issuer = EncodingKey::from_ed_der(private.as_bytes());
        Ok(Self { files, issuer, connector: TlsConnector::from(Arc::new(client)) })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// The certificate of the authority.
    pub(crate) fn authority(&self) -> PathBuf {
        self.path("ca.crt")
    }

    /// The certificate of the servers, and its key.
    pub(crate) fn certificate(&self) -> [PathBuf; 2] {
        [self.path("tls.crt"), self.path("tls.key")]
    }

    pub(crate) const fn connector(&self) -> &TlsConnector {
        &self.connector
    }

    /// The settings of Starling, in its environment, with which it asks for tokens.
    pub(crate) fn identity_settings(&self) -> [(&'static str, OsString); 4] {
        [
            ("STARLING__IDENTITY__MODE", "jwt".into()),
            ("STARLING__IDENTITY__ISSUER", ISSUER.into()),
            ("STARLING__IDENTITY__AUDIENCE", AUDIENCE.into()),
            ("STARLING__IDENTITY__KEYS_DIR", self.path("keys").into()),
        ]
    }

    /// A token of one node, which may do everything.
    pub(crate) fn node_token(&self, node: u64) -> Result<String, BenchError> {
        self.token(&node.to_string(), json!({}))
    }

    /// A token that may do everything as any node.
    pub(crate) fn back_end_token(&self) -> Result<String, BenchError> {
        self.token("starling-bench", json!({ "act_for": "*" }))
    }

    fn token(&self, subject: &str, mut authority: Value) -> Result<String, BenchError> {
        let now = now()?;
        let may = ["create", "join", "moderate", "administer"];
        authority["grants"] = json!([{ "livestreams": "*", "may": may, "publish": "*" }]);
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + LIFETIME, "starling": authority,
        });
        let header = Header { kid: Some(KEY.to_owned()), ..Header::new(Algorithm::EdDSA) };
        Ok(jsonwebtoken::encode(&header, &claims, &self.issuer)?)
    }
}

/// Seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "tokens say when they were issued")]
fn now() -> Result<u64, BenchError> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

/// Of libraries whose errors are not errors of `std` with all features.
fn failed(error: &dyn std::fmt::Display) -> BenchError {
    BenchError(format!("no key for tokens: {error}"))
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

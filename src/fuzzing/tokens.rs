//! Tokens, against keys that everybody knows.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use tempfile::TempDir;

use crate::identity::fuzzing::{KnownKeys, judge};
use crate::identity::{KeyPair, KeySources, Verifier, VerifierSettings};

/// PKCS #8 before the 32 bytes of an Ed25519 key (RFC 8410).
const ED25519: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// The same of a P-256 key without its public one (RFC 5208, RFC 5915).
const P256: &[u8] = b"\x30\x41\x02\x01\x00\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\
                      \x03\x01\x07\x04\x27\x30\x25\x02\x01\x01\x04\x20";

static KEYS: LazyLock<KnownKeys> = LazyLock::new(|| {
    let read = |content: &[u8]| KeyPair::read(content).expect("a key");
    let ed = read(pem(ED25519).as_bytes());
    let es = read(pem(P256).as_bytes());
    let hs = read(URL_SAFE_NO_PAD.encode([9; 48]).as_bytes());
    let directory = TempDir::new().expect("a directory can be made");
    let mut scoped = ed.public_jwk("scoped").expect("a public key");
    scoped["starling"] = serde_json::json!({
        "grants": [{ "livestreams": ["1-10"], "may": ["join"], "publish": ["CHAT"] }],
        "act_for": ["1-100"],
    });
    let keys = [ed.public_jwk("ed"), es.public_jwk("es"), Some(scoped)];
    let (jwks_file, hs256_secret_file) = (directory.path().join("jwks.json"), directory.path().join("hs"));
    let jwks = serde_json::json!({ "keys": keys }).to_string();
    std::fs::write(&jwks_file, jwks).expect("the directory is ours");
    std::fs::write(&hs256_secret_file, hs.to_text().expect("a secret is text")).expect("the directory is ours");
    let settings = VerifierSettings {
        issuer: KnownKeys::ISSUER.to_owned(),
        audience: KnownKeys::AUDIENCE.to_owned(),
        leeway: Duration::from_secs(5),
        max_age: Duration::from_secs(24 * 3_600),
    };
    let sources = KeySources { jwks_file: Some(jwks_file), hs256_secret_file: Some(hs256_secret_file), keys_dir: None };
    let verifier = Verifier::load(settings, sources).expect("the keys are right");
    KnownKeys { verifier, ed, es, hs }
});

/// A private key that is no secret.
fn pem(head: &[u8]) -> String {
    let mut key = STANDARD.encode([head, &[7; 32]].concat());
    // A line of PEM has 64 characters (RFC 7468).
    if key.len() > 64 {
        key.insert(64, '\n');
    }
    format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n")
}

/// Reads a token: with 0 as its first byte what follows is the token, with 1 to 4 header and claims, divided by a zero
/// byte, that are signed first by one of the keys.
///
/// # Panics
///
/// When a token is accepted that was not signed, or not for what it claims, or one that was altered since.
pub fn tokens(bytes: &[u8]) {
    judge(&KEYS, bytes);
}

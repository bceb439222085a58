//! A verifier over files of keys, and those who sign.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::OsRng;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::identity::{KeyFaults, KeyKind, KeyPair, KeySources, TokenRefused, Verifier, VerifierSettings};

/// The server's time, in seconds and in milliseconds.
pub(super) const NOW: u64 = 1_790_000_000;
pub(super) const NOW_MS: u64 = NOW * 1_000;
pub(super) const ISSUER: &str = "https://issuer.example";
pub(super) const AUDIENCE: &str = "starling";

/// Files of keys, and the private keys that belong to them: `ed`, `es` and `rs` in the directory, `scoped` in a set,
/// `shared` is a secret.
pub(super) struct Keys {
    pub(super) dir: TempDir,
    pub(super) ed: KeyPair,
    pub(super) es: KeyPair,
    pub(super) rs: KeyPair,
    pub(super) scoped: KeyPair,
    pub(super) shared: KeyPair,
}

impl Keys {
    pub(super) fn new() -> Self {
        let made = |kind| KeyPair::generate(kind).unwrap();
        let (ed, es, scoped, shared) =
            (made(KeyKind::Ed25519), made(KeyKind::Es256), made(KeyKind::Ed25519), made(KeyKind::Hs256));
        let rs = KeyPair::read(rsa_2048().to_pkcs8_pem(LineEnding::LF).unwrap().as_bytes()).unwrap();
        let keys = Self { dir: TempDir::new().unwrap(), ed, es, rs, scoped, shared };
        std::fs::create_dir(keys.path("keys")).unwrap();
        keys.write("keys/ed.jwk", &keys.ed.public_jwk("ed").unwrap().to_string());
        keys.write("keys/es.json", &keys.es.public_jwk("es").unwrap().to_string());
        keys.write("keys/rs.pem", &rsa_pem());
        keys.write("keys/README", "nothing of a key");
        let mut scoped = keys.scoped.public_jwk("scoped").unwrap();
        scoped["starling"] = json!({ "grants": [{ "livestreams": ["1-10"], "may": ["join"], "publish": ["CHAT"] }] });
        let encryption = json!({ "kty": "RSA", "use": "enc", "kid": "other", "n": "AQAB", "e": "AQAB" });
        keys.write("jwks.json", &json!({ "keys": [scoped, encryption, { "kty": "EC", "crv": "P-384" }] }).to_string());
        keys.write("shared.key", &keys.shared.to_text().unwrap());
        keys
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(super) fn sources(&self) -> KeySources {
        KeySources {
            jwks_file: Some(self.path("jwks.json")),
            keys_dir: Some(self.path("keys")),
            hs256_secret_file: Some(self.path("shared.key")),
        }
    }

    pub(super) fn verifier(&self) -> Verifier {
        verifier(self.sources()).unwrap()
    }
}

pub(super) fn verifier(sources: KeySources) -> Result<Verifier, KeyFaults> {
    let settings = VerifierSettings {
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        leeway: Duration::from_secs(5),
        max_age: Duration::from_secs(24 * 3_600),
    };
    Verifier::load(settings, sources)
}

/// One for all tests: it takes a while.
pub(super) fn rsa_2048() -> &'static RsaPrivateKey {
    static KEY: OnceLock<RsaPrivateKey> = OnceLock::new();
    KEY.get_or_init(|| RsaPrivateKey::new(&mut OsRng, 2_048).unwrap())
}

pub(super) fn rsa_pem() -> String {
    rsa_2048().to_public_key().to_public_key_pem(LineEnding::LF).unwrap()
}

/// Claims with which a token is accepted.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "17", "iat": NOW - 60, "exp": NOW + 3_600,
        "starling": { "grants": [{ "livestreams": ["7"], "may": ["join"], "publish": ["CHAT"] }] },
    })
}

/// The same with other members; null takes one out.
pub(super) fn claims_with(members: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in members.as_object().unwrap() {
        let all = claims.as_object_mut().unwrap();
        if value.is_null() {
            all.remove(name)
        } else {
            all.insert(name.clone(), value.clone())
        };
    }
    claims
}

#[track_caller]
pub(super) fn assert_verdict(verifier: &Verifier, token: &str, expected: Result<(), TokenRefused>, what: &str) {
    // The second time a token that was accepted comes from the cache.
    for _ in 0..2 {
        assert_eq!(verifier.verify(token, NOW_MS).map(drop), expected, "{what}");
    }
}

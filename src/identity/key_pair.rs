//! Keys that sign: for development, for tests, and for back-ends written in Rust.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use jsonwebtoken::{Algorithm, EncodingKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rsa::RsaPrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _};
use rsa::pkcs8::LineEnding;
use rsa::rand_core::{OsRng, RngCore};
use rsa::traits::PublicKeyParts;
use serde::Serialize;

use super::key_file::{SECRET_BYTES_MIN, secret};

/// Bits of an RSA key that is made here.
const RSA_BITS: usize = 3_072;
/// Random bytes of a secret that is made here.
const SECRET_BYTES: usize = 48;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// EdDSA with Ed25519.
    Ed25519,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// HMAC with SHA-256: whoever verifies can sign too.
    Hs256,
}

impl KeyKind {
    /// Its name in the header of a token (RFC 7518, RFC 8037).
    pub const fn algorithm(self) -> &'static str {
        match self {
            Self::Ed25519 => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }
}

/// A key that signs tokens. Its Debug tells its kind and nothing else.
pub struct KeyPair(Private);

enum Private {
    Ed25519(SigningKey),
    P256(p256::SecretKey),
    Rsa(Box<RsaPrivateKey>),
    Secret(Vec<u8>),
}

/// Why a key cannot be read or used. It holds nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyPairError(&'static str);

impl KeyPair {
    /// A new key. RSA takes a second or so.
    ///
    /// # Errors
    /// When the system has no randomness, or it is of no use.
    pub fn generate(kind: KeyKind) -> Result<Self, KeyPairError> {
        let random =
            |bytes: &mut [u8]| OsRng.try_fill_bytes(bytes).map_err(|_| KeyPairError("the system has no randomness"));
        let private = match kind {
            KeyKind::Ed25519 => {
                let mut seed = [0; 32];
                random(&mut seed)?;
                Private::Ed25519(SigningKey::from_bytes(&seed))
            }
            KeyKind::Es256 => Private::P256(p256::SecretKey::random(&mut OsRng)),
            KeyKind::Rs256 => {
                let key =
                    RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(|_| KeyPairError("no RSA key came about"))?;
                Private::Rsa(Box::new(key))
            }
            KeyKind::Hs256 => {
                let mut bytes = [0; SECRET_BYTES];
                random(&mut bytes)?;
                Private::Secret(URL_SAFE_NO_PAD.encode(bytes).into_bytes())
            }
        };
        Ok(Self(private))
    }

    /// Reads a private key in PEM (PKCS #8; RSA also PKCS #1), or a secret.
    ///
    /// # Errors
    /// When it is none, or a secret that is too short.
    pub fn read(content: &[u8]) -> Result<Self, KeyPairError> {
        let secret = secret(content);
        let pem = str::from_utf8(secret).ok().filter(|text| text.contains("-----BEGIN"));
        let Some(pem) = pem else {
            if secret.len() < SECRET_BYTES_MIN {
                return Err(KeyPairError(
                    "it is no key in PEM, and too short for a secret: HS256 takes 32 bytes or more",
                ));
            }
            return Ok(Self(Private::Secret(secret.to_vec())));
        };
        let private = if let Ok(key) = SigningKey::from_pkcs8_pem(pem) {
            Private::Ed25519(key)
        } else if let Ok(key) = p256::SecretKey::from_pkcs8_pem(pem) {
            Private::P256(key)
        } else if let Ok(key) = RsaPrivateKey::from_pkcs8_pem(pem) {
            Private::Rsa(Box::new(key))
        } else if let Ok(key) = RsaPrivateKey::from_pkcs1_pem(pem) {
            Private::Rsa(Box::new(key))
        } else {
            return Err(KeyPairError("it is no private key in PEM of Ed25519, P-256 or RSA"));
        };
        Ok(Self(private))
    }

    /// What it is for.
    pub const fn kind(&self) -> KeyKind {
        match self.0 {
            Private::Ed25519(_) => KeyKind::Ed25519,
            Private::P256(_) => KeyKind::Es256,
            Private::Rsa(_) => KeyKind::Rs256,
            Private::Secret(_) => KeyKind::Hs256,
        }
    }

    /// The text that [`KeyPair::read`] reads.
    ///
    /// # Errors
    /// When the key cannot be encoded, as a secret that is no UTF-8.
    pub fn to_text(&self) -> Result<String, KeyPairError> {
        let pem = match &self.0 {
            Private::Ed25519(key) => key.to_pkcs8_pem(LineEnding::LF).map_err(drop),
            Private::P256(key) => key.to_pkcs8_pem(LineEnding::LF).map_err(drop),
            Private::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF).map_err(drop),
            // A text that reads as another secret would be worse than none.
            Private::Secret(secret) => {
                return String::from_utf8(secret.clone()).map(|secret| secret + "\n").map_err(|_| UNENCODED);
            }
        };
        pem.map(|pem| pem.to_string()).map_err(|()| UNENCODED)
    }

    /// The public key, as a JSON Web Key with an id; `None` of a secret.
    #[must_use]
    pub fn public_jwk(&self, id: &str) -> Option<serde_json::Value> {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let jwk = match &self.0 {
            Private::Ed25519(key) => {
                let x = encoded(key.verifying_key().as_bytes());
                serde_json::json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": x })
            }
            Private::P256(key) => {
                let point = key.public_key().to_encoded_point(false);
                let [x, y] = [point.x(), point.y()].map(|it| it.map(|it| encoded(it)));
                serde_json::json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id, "x": x, "y": y })
            }
            Private::Rsa(key) => {
                let [n, e] = [key.n(), key.e()].map(|number| encoded(&number.to_bytes_be()));
                serde_json::json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": id, "n": n, "e": e })
            }
            Private::Secret(_) => return None,
        };
        Some(jwk)
    }

    /// A token with these claims, signed.
    ///
    /// # Errors
    /// When the claims are no JSON, or the key cannot be used.
    pub fn sign<T: Serialize>(&self, id: Option<&str>, claims: &T) -> Result<String, KeyPairError> {
        let mut header = serde_json::json!({ "alg": self.kind().algorithm(), "typ": "JWT" });
        if let Some(id) = id {
            header["kid"] = id.into();
        }
        let claims = serde_json::to_string(claims).map_err(|_| KeyPairError("the claims are no JSON"))?;
        self.sign_parts(&header.to_string(), &claims)
    }

    /// Any two parts, signed.
    pub(super) fn sign_parts(&self, header: &str, payload: &str) -> Result<String, KeyPairError> {
        let (algorithm, key) = match &self.0 {
            Private::Ed25519(key) => {
                (Algorithm::EdDSA, key.to_pkcs8_der().map(|der| EncodingKey::from_ed_der(der.as_bytes())).map_err(drop))
            }
            Private::P256(key) => {
                (Algorithm::ES256, key.to_pkcs8_der().map(|der| EncodingKey::from_ec_der(der.as_bytes())).map_err(drop))
            }
            Private::Rsa(key) => (
                Algorithm::RS256,
                key.to_pkcs1_der().map(|der| EncodingKey::from_rsa_der(der.as_bytes())).map_err(drop),
            ),
            Private::Secret(secret) => (Algorithm::HS256, Ok(EncodingKey::from_secret(secret))),
        };
        let key = key.map_err(|()| UNENCODED)?;
        let message = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm);
        signature
            .map(|signature| format!("{message}.{signature}"))
            .map_err(|_| KeyPairError("the token cannot be signed"))
    }
}

const UNENCODED: KeyPairError = KeyPairError("the key cannot be encoded");

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeyPair").field(&self.kind()).finish()
    }
}

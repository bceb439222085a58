//! One key that verifies tokens.

use jsonwebtoken::{Algorithm, DecodingKey};

use super::scope::Scope;

/// A key that verifies tokens of one algorithm.
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// What its tokens may claim at most; `None` = anything.
    pub(super) scope: Option<Scope>,
}

impl Key {
    /// True when a header that names this algorithm means this key's. RFC 9864 renames EdDSA with Ed25519 to Ed25519.
    pub(super) fn is_for(&self, name: &str) -> bool {
        match self.algorithm {
            Algorithm::EdDSA => name == "EdDSA" || name == "Ed25519",
            Algorithm::ES256 => name == "ES256",
            Algorithm::RS256 => name == "RS256",
            Algorithm::HS256 => name == "HS256",
            _ => false,
        }
    }

    /// True when the signature is this key's. `signature` is in base64url.
    pub(super) fn verifies(&self, message: &str, signature: &str) -> bool {
        let verified = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.decoding, self.algorithm);
        verified.unwrap_or(false)
    }
}

//! Tokens of one run, good and bad, and the keys by which the server verifies them.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SigningKey};
use serde_json::{Value, json};
use starling_client::Client;

use crate::error::AbuseError;

/// `iss` and `aud` of all tokens.
pub(super) const ISSUER: &str = "starling-abuse";
pub(super) const AUDIENCE: &str = "starling";
/// How long a token is good for, in seconds: longer than any run, and less than a server allows by default.
const VALID: u64 = 12 * 3_600;
/// How long ago one has expired that is expired, in seconds: more than the leeway of a server.
const AGO: u64 = 600;
/// Bytes of the largest RSA key that a server takes: the one that takes longest to verify with.
const MODULUS: usize = 512;

/// The algorithms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenAlgorithm {
    EdDsa,
    Es256,
    Rs256,
}

impl TokenAlgorithm {
    pub(crate) const ALL: [Self; 3] = [Self::EdDsa, Self::Es256, Self::Rs256];

    /// Its name in the header of a token; also the id of its key.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// Issues tokens.
#[derive(Debug)]
pub(crate) struct Issuer {
    /// Of Ed25519; signs whatever is good.
    key: KeyPair,
}

impl Issuer {
    pub(super) fn new() -> Result<Self, AbuseError> {
        Ok(Self { key: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    /// The JSON Web Key Set of the server: its own key, and for forged tokens one of each other algorithm, the private
    /// part of which nobody has.
    pub(super) fn key_set(&self) -> Result<String, AbuseError> {
        let point = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // The point is not compressed: a byte that says so, then its two coordinates.
        let (x, y) = point.public_key_raw()[1..].split_at(32);
        let mut modulus = noise(Client::random_node(), MODULUS);
        // All of its bits count, and it is odd.
        modulus[0] |= 0x80;
        modulus[MODULUS - 1] |= 1;
        let id = TokenAlgorithm::name;
        let (ed, p256, rsa) = (TokenAlgorithm::EdDsa, TokenAlgorithm::Es256, TokenAlgorithm::Rs256);
        let set = json!({ "keys": [
            { "kty": "OKP", "crv": "Ed25519", "alg": id(ed), "kid": id(ed), "x": encoded(self.key.public_key_raw()) },
            { "kty": "EC", "crv": "P-256", "alg": id(p256), "kid": id(p256), "x": encoded(x), "y": encoded(y) },
            { "kty": "RSA", "alg": id(rsa), "kid": id(rsa), "n": encoded(&modulus), "e": encoded(&[1, 0, 1]) },
        ] });
        Ok(set.to_string())
    }

    /// A token of this subject with this claim `starling`.
    pub(crate) fn token(&self, subject: &str, claim: &Value) -> Result<String, AbuseError> {
        let now = now();
        self.signed(&claims(subject, now, now + VALID, claim))
    }

    /// The same, expired.
    pub(crate) fn expired(&self, subject: &str, claim: &Value) -> Result<String, AbuseError> {
        let now = now();
        self.signed(&claims(subject, now - 2 * AGO, now - AGO, claim))
    }

    /// A token that looks good, with a signature that is not; different ones by `number`.
    pub(crate) fn forged(algorithm: TokenAlgorithm, number: u64) -> String {
        let now = now();
        let claims = claims("7", now, now + VALID, &json!({ "grants": [] }));
        let mut signature = noise(number, if algorithm == TokenAlgorithm::Rs256 { MODULUS } else { 64 });
        match algorithm {
            // The second half is a number below 2^252, or nothing is calculated.
            TokenAlgorithm::EdDsa => signature[63] &= 0x0f,
            TokenAlgorithm::Es256 => {}
            // Less than the modulus.
            TokenAlgorithm::Rs256 => signature[0] = 0,
        }
        format!("{}.{}", message(algorithm.name(), &claims), encoded(&signature))
    }

    fn signed(&self, claims: &Value) -> Result<String, AbuseError> {
        let message = message(TokenAlgorithm::EdDsa.name(), claims);
        let signature = self.key.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", encoded(&signature)))
    }
}

fn claims(subject: &str, issued: u64, expires: u64, claim: &Value) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": issued, "exp": expires, "starling": claim })
}

/// What is signed.
fn message(algorithm: &str, claims: &Value) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT", "kid": algorithm });
    format!("{}.{}", encoded(header.to_string().as_bytes()), encoded(claims.to_string().as_bytes()))
}

pub(crate) fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// In seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "tokens have dates, which are those of the server's clock too")]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Bytes without a pattern: SplitMix64 from a seed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut all: Vec<u8> = (0..bytes.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    all.truncate(bytes);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_three_parts_of_their_sizes() {
        let issuer = Issuer::new().unwrap();
        let sizes = |token: &str| -> Vec<usize> {
            token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap().len()).collect()
        };
        assert_eq!(sizes(&issuer.token("7", &json!({})).unwrap())[2], 64);
        for (algorithm, signature) in TokenAlgorithm::ALL.into_iter().zip([64, 64, 512]) {
            let forged = sizes(&Issuer::forged(algorithm, 1));
            assert_eq!((forged.len(), forged[2]), (3, signature), "{algorithm:?}");
        }
        assert_ne!(Issuer::forged(TokenAlgorithm::EdDsa, 1), Issuer::forged(TokenAlgorithm::EdDsa, 2));
    }

    #[test]
    fn noise_is_as_long_as_asked() {
        assert_eq!([0, 1, 8, 9].map(|bytes| noise(3, bytes).len()), [0, 1, 8, 9]);
        assert_ne!(noise(3, 16), noise(4, 16));
    }
}

//! Tokens and keys from anywhere, for the fuzz targets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::key_file::{self, NamedKey, Problem};
use super::{Authority, Claims, Identity, KeyKind, KeyPair, Nodes, Permissions, TokenParts, Verifier};

/// The server's time, in milliseconds since the Unix epoch.
const NOW_MS: u64 = 1_790_000_000_000;

/// A verifier, and the private keys of those that it knows: `ed` and `scoped` are one, `es`, and the secret `hs`.
#[derive(Debug)]
pub struct KnownKeys {
    /// Knows the public keys.
    pub verifier: Verifier,
    /// Signs by EdDSA.
    pub ed: KeyPair,
    /// Signs by ES256.
    pub es: KeyPair,
    /// Signs by HS256.
    pub hs: KeyPair,
}

impl KnownKeys {
    /// Who issues tokens.
    pub const ISSUER: &'static str = "https://issuer.example";
    /// For whom they are.
    pub const AUDIENCE: &'static str = "starling";
}

/// Judges a token, or header and claims that are signed first, by the first byte.
///
/// # Panics
///
/// When a token is accepted that was not signed, or not for what it claims, or one that was altered since.
pub fn judge(known: &KnownKeys, bytes: &[u8]) {
    let Some((form, rest)) = bytes.split_first() else { return };
    let Ok(text) = str::from_utf8(rest) else { return };
    let key = match form {
        0 => return foreign(known, text),
        1 => &known.ed,
        2 => &known.es,
        _ => &known.hs,
    };
    let (header, claims) = text.split_once('\0').unwrap_or((r#"{"alg":"EdDSA","kid":"ed"}"#, text));
    drop(Authority::parse(claims));
    let token = key.sign_parts(header, claims).expect("a key signs");
    let Ok(identity) = known.verifier.verify(&token, NOW_MS) else { return };
    claimed(&identity, claims);
    // Within the signature, and within what is signed.
    for at in [token.len() - 10, header.len() / 2, token.len() / 2] {
        let mut altered = token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        let altered = String::from_utf8(altered).expect("a token is ASCII");
        assert!(known.verifier.verify(&altered, NOW_MS).is_err(), "altered at {at}: {token}");
    }
}

/// A token that somebody made. Of the keys whose signatures have one form it must be one of theirs.
fn foreign(known: &KnownKeys, token: &str) {
    drop(TokenParts::of(token));
    let Ok(identity) = known.verifier.verify(token, NOW_MS) else { return };
    let parts = TokenParts::of(token).expect("it was accepted");
    let decoded = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64url")).expect("JSON");
    let (header, payload) = parts.message.split_once('.').expect("two parts");
    claimed(&identity, &decoded(payload));
    let signer = match parts.key_id.as_deref() {
        Some("ed" | "scoped") => &known.ed,
        Some("hs") => &known.hs,
        // A signature of ECDSA has as many forms as there are numbers to draw.
        _ => return,
    };
    assert_eq!(signer.sign_parts(&decoded(header), &decoded(payload)).as_deref(), Ok(token));
}

/// An identity is what the claims say, read a second time.
fn claimed(identity: &Identity, claims: &str) {
    let read = Claims::parse(claims.as_bytes()).expect("they were accepted");
    assert_eq!((&identity.nodes, identity.issued_at), (&read.nodes, Some(read.issued_at)));
    let expires_at = identity.expires_at.expect("a token ends");
    assert!(expires_at > NOW_MS && read.issued_at <= NOW_MS + 5_000, "it is valid now");
    assert!(matches!(&identity.permissions, Permissions::Some(given) if *given == read.authority.permissions));
    let json: Value = serde_json::from_str(claims).expect("they are JSON");
    assert_eq!(json["iss"], KnownKeys::ISSUER);
    let for_us = json["aud"] == KnownKeys::AUDIENCE
        || json["aud"].as_array().is_some_and(|all| all.iter().any(|one| one == KnownKeys::AUDIENCE));
    assert!(for_us, "it is for another audience");
    if let Nodes::One(node) = identity.nodes {
        assert_eq!(json["sub"], node.get().to_string());
    }
}

/// Reads keys: by the first byte a set of JSON Web Keys, one of them, a public key in PEM, a secret, or a private key.
///
/// # Panics
///
/// When a private key is written otherwise than it was read.
pub fn keys(bytes: &[u8]) {
    let Some((form, content)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(content);
    match form % 5 {
        0 => used(key_file::read_jwks(&text)),
        1 => used(key_file::read_named_jwk("id", &text).map(|key| vec![key])),
        2 => used(key_file::read_pem("id", &text).map(|key| vec![key])),
        3 => used(key_file::read_secret("id", content).map(|key| vec![key])),
        _ => {
            let Ok(pair) = KeyPair::read(content) else { return };
            let Ok(written) = pair.to_text() else {
                assert!(str::from_utf8(content).is_err(), "what is no text alone has none");
                return;
            };
            let again = KeyPair::read(written.as_bytes()).expect("it was written");
            assert_eq!((again.kind(), again.public_jwk("id")), (pair.kind(), pair.public_jwk("id")));
            if pair.kind() == KeyKind::Hs256 {
                assert_eq!(again.sign_parts("", ""), pair.sign_parts("", ""), "it is the same secret");
            }
            if let Some(public) = pair.public_jwk("id") {
                // A server takes fewer than can sign: not RSA of any length.
                used(key_file::read_named_jwk("id", &public.to_string()).map(|key| vec![key]));
            }
        }
    }
}

/// Keys that were read verify, whatever they are.
fn used(read: Result<Vec<NamedKey>, Problem>) {
    match read {
        Ok(keys) => {
            for (_, key) in keys {
                assert!(!key.verifies("message", "AAAA"), "no key has signed this");
            }
        }
        Err(problem) => assert!(!problem.is_empty(), "a fault says something"),
    }
}

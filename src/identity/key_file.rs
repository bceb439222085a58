//! What files of keys hold: JSON Web Keys, sets of them, public keys in PEM, a secret.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::VerifyingKey;
use ed25519_dalek::pkcs8::DecodePublicKey as _;
use jsonwebtoken::{Algorithm, DecodingKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::traits::PublicKeyParts;
use rsa::{BigUint, RsaPublicKey};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::authority::Authority;
use super::json::object;
use super::key::Key;
use super::scope::Scope;

/// Keys that a server has at most.
pub const MAX_KEYS: usize = 256;
/// The shortest secret of HS256, in bytes: as long as its hash (RFC 7518, section 3.2).
pub const SECRET_BYTES_MIN: usize = 32;
/// The longest id of a key, in bytes.
const ID_BYTES_MAX: usize = 128;
/// RSA: below this the key is weak; above it a signature costs the server too much.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=4_096;

/// What is wrong with a file of keys, in words.
pub(super) type Problem = String;

/// A key with its id.
pub(super) type NamedKey = (String, Key);

#[derive(Deserialize)]
struct Jwk<'a> {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    #[serde(borrow)]
    starling: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Jwks<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Reads a set of keys. Those for encryption, and of kinds that it does not know, are passed over (RFC 7517, section
/// 5): the sets of identity providers have them.
pub(super) fn read_jwks(text: &str) -> Result<Vec<NamedKey>, Problem> {
    let Jwks { keys } = object(text).map_err(|error| format!("is no JSON Web Key Set: {error}"))?;
    if keys.len() > MAX_KEYS {
        return Err(format!("has more than {MAX_KEYS} keys"));
    }
    let mut read = Vec::new();
    for (index, json) in keys.into_iter().enumerate() {
        let jwk = read_jwk(json.get()).map_err(|problem| format!("key {index}: {problem}"))?;
        let Some((id, key)) = jwk else { continue };
        let id = id.ok_or_else(|| format!("key {index}: has no kid"))?;
        if read.iter().any(|(other, _)| *other == id) {
            return Err(format!("key {index}: there is another with the kid {id:?}"));
        }
        read.push((id, key));
    }
    Ok(read)
}

/// Reads the one key of a file that is named for its id.
pub(super) fn read_named_jwk(id: &str, text: &str) -> Result<NamedKey, Problem> {
    match read_jwk(text)? {
        Some((own, _)) if own.as_deref().is_some_and(|own| own != id) => {
            Err(format!("has another kid than its file is named for, {id:?}"))
        }
        Some((_, key)) => Ok((id.to_owned(), key)),
        None => Err("is no key of a known kind: EdDSA (Ed25519), ES256 and RS256 are".to_owned()),
    }
}

/// Reads a public key in PEM, as `openssl pkey -pubout` writes it.
pub(super) fn read_pem(id: &str, text: &str) -> Result<NamedKey, Problem> {
    if text.contains("PRIVATE KEY") {
        return Err("holds a private key: a server needs the public one alone".to_owned());
    }
    let (algorithm, decoding) = if let Ok(key) = VerifyingKey::from_public_key_pem(text) {
        ed25519(&key)?
    } else if let Ok(key) = p256::PublicKey::from_public_key_pem(text) {
        p256(&key)
    } else if let Ok(key) =
        RsaPublicKey::from_public_key_pem(text).or_else(|_| RsaPublicKey::from_pkcs1_pem(text).map_err(drop))
    {
        rsa(&key)?
    } else {
        return Err("is no public key in PEM of Ed25519, P-256 or RSA".to_owned());
    };
    Ok((id.to_owned(), Key { algorithm, decoding, scope: None }))
}

/// Reads a secret: all of the file, without the ends of its last lines.
pub(super) fn read_secret(id: &str, content: &[u8]) -> Result<NamedKey, Problem> {
    let secret = secret(content);
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!("has {} bytes; a secret for HS256 has at least {SECRET_BYTES_MIN}", secret.len()));
    }
    if secret.starts_with(b"-----BEGIN") {
        return Err("is a key in PEM, which would be no secret".to_owned());
    }
    Ok((id.to_owned(), Key { algorithm: Algorithm::HS256, decoding: DecodingKey::from_secret(secret), scope: None }))
}

/// The secret that a file holds. Editors and `openssl rand` end it with a line.
pub(super) fn secret(content: &[u8]) -> &[u8] {
    let end = content.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |last| last + 1);
    &content[..end]
}

/// The id that a file of one key is named for.
pub(super) fn id_of(stem: &str) -> Result<String, Problem> {
    if stem.is_empty() || stem.len() > ID_BYTES_MAX {
        return Err(format!("is named for no id of a key: 1 to {ID_BYTES_MAX} bytes"));
    }
    Ok(stem.to_owned())
}

/// One JSON Web Key; `None` when it is of a kind that does not verify tokens here.
fn read_jwk(json: &str) -> Result<Option<(Option<String>, Key)>, Problem> {
    let jwk: Jwk<'_> = object(json).map_err(|error| format!("is no JSON Web Key: {error}"))?;
    if jwk.d.is_some() {
        return Err("holds a private key: a server needs the public one alone".to_owned());
    }
    if jwk.r#use.as_deref().is_some_and(|used| used != "sig") {
        return Ok(None);
    }
    let (algorithm, names): (_, &[&str]) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => (Algorithm::EdDSA, &["EdDSA", "Ed25519"]),
        ("EC", Some("P-256")) => (Algorithm::ES256, &["ES256"]),
        ("RSA", _) => (Algorithm::RS256, &["RS256"]),
        ("oct", _) => return Err("holds a secret: name its file in identity.hs256_secret_file".to_owned()),
        _ => return Ok(None),
    };
    if jwk.alg.as_deref().is_some_and(|alg| !names.contains(&alg)) {
        return Ok(None);
    }
    let (_, decoding) = match algorithm {
        Algorithm::EdDSA => {
            let x =
                <[u8; 32]>::try_from(member(jwk.x.as_deref(), "x")?).map_err(|_| "x has not 32 bytes".to_owned())?;
            ed25519(&VerifyingKey::from_bytes(&x).map_err(|_| "x is no point of the curve".to_owned())?)?
        }
        Algorithm::ES256 => {
            let point = [vec![4], member(jwk.x.as_deref(), "x")?, member(jwk.y.as_deref(), "y")?].concat();
            p256(
                &p256::PublicKey::from_sec1_bytes(&point)
                    .map_err(|_| "x and y are no point of the curve".to_owned())?,
            )
        }
        _ => {
            let [n, e] = [(jwk.n, "n"), (jwk.e, "e")].map(|(number, name)| member(number.as_deref(), name));
            let (n, e) = (BigUint::from_bytes_be(&n?), BigUint::from_bytes_be(&e?));
            rsa_bits(n.bits())?;
            rsa(&RsaPublicKey::new(n, e).map_err(|error| format!("is no RSA key: {error}"))?)?
        }
    };
    let scope = jwk.starling.map(|scope| Authority::parse(scope.get())).transpose();
    let scope = scope.map_err(|error| format!("member starling: {error}"))?.map(|scope| Scope::new(&scope));
    let id = jwk.kid.map(|id| id_of(&id)).transpose()?;
    Ok(Some((id, Key { algorithm, decoding, scope })))
}

/// The bytes of a member in base64url.
fn member(text: Option<&str>, name: &str) -> Result<Vec<u8>, Problem> {
    let text = text.ok_or_else(|| format!("has no {name}"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("{name} is no base64url"))
}

/// The library takes any bytes and looks at them when it verifies; so each key is checked here.
fn ed25519(key: &VerifyingKey) -> Result<(Algorithm, DecodingKey), Problem> {
    if key.is_weak() {
        return Err("is a weak key: of small order".to_owned());
    }
    Ok((Algorithm::EdDSA, DecodingKey::from_ed_der(key.as_bytes())))
}

fn p256(key: &p256::PublicKey) -> (Algorithm, DecodingKey) {
    (Algorithm::ES256, DecodingKey::from_ec_der(key.to_encoded_point(false).as_bytes()))
}

fn rsa(key: &RsaPublicKey) -> Result<(Algorithm, DecodingKey), Problem> {
    rsa_bits(key.n().bits())?;
    let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
    Ok((Algorithm::RS256, DecodingKey::from_rsa_raw_components(&n, &e)))
}

fn rsa_bits(bits: usize) -> Result<(), Problem> {
    if RSA_BITS.contains(&bits) {
        return Ok(());
    }
    Err(format!("is an RSA key of {bits} bits; {} to {} are taken", RSA_BITS.start(), RSA_BITS.end()))
}

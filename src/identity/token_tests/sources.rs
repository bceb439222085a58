//! Which files of keys are taken.

use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePublicKey as _, LineEnding};
use rsa::rand_core::OsRng;
use serde_json::{Value, json};

use super::fixture::{Keys, NOW_MS, claims, rsa_pem, verifier};
use crate::identity::{KeyFaults, KeyKind, KeyPair, KeySources, TokenRefused};

fn faults(sources: KeySources) -> Vec<String> {
    let KeyFaults(faults) = verifier(sources).unwrap_err();
    faults.into_iter().map(|fault| fault.problem).collect()
}

#[test]
fn file_of_keys_at_fault_is_refused() {
    let keys = Keys::new();
    let ed = keys.ed.public_jwk("k").unwrap();
    let es = keys.es.public_jwk("k").unwrap();
    let with = |jwk: &Value, name: &str, value: Value| {
        let mut jwk = jwk.clone();
        jwk[name] = value;
        jwk.to_string()
    };
    let weak = RsaPrivateKey::new(&mut OsRng, 1_024).unwrap().to_public_key();
    let weak = weak.to_public_key_pem(LineEnding::LF).unwrap();
    for (name, content, problem) in [
        ("k.jwk", "".to_owned(), "is no JSON Web Key"),
        ("k.jwk", "[]".to_owned(), "is no JSON Web Key: expects an object"),
        ("k.jwk", with(&ed, "d", json!("AA")), "holds a private key"),
        ("k.jwk", with(&ed, "kid", json!("other")), "has another kid than its file is named for"),
        ("k.jwk", with(&ed, "x", json!("AAAA")), "x has not 32 bytes"),
        ("k.jwk", with(&ed, "x", json!("!")), "x is no base64url"),
        ("k.jwk", with(&ed, "x", json!(null)), "has no x"),
        ("k.jwk", with(&ed, "x", json!("A".repeat(43))), "is a weak key"),
        ("k.jwk", with(&ed, "alg", json!("ES256")), "is no key of a known kind"),
        ("k.jwk", with(&ed, "crv", json!("Ed448")), "is no key of a known kind"),
        ("k.jwk", with(&es, "y", es["x"].clone()), "x and y are no point of the curve"),
        ("k.jwk", with(&ed, "starling", json!({ "grant": [] })), "member starling: unknown field `grant`"),
        ("k.jwk", json!({ "kty": "oct", "k": "AA" }).to_string(), "holds a secret"),
        ("k.jwk", json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }).to_string(), "is an RSA key of 17 bits"),
        ("k.pem", weak, "is an RSA key of 1024 bits"),
        ("k.pem", keys.ed.to_text().unwrap(), "holds a private key"),
        ("k.pem", "-----BEGIN CERTIFICATE-----".to_owned(), "is no public key in PEM"),
    ] {
        let dir = tempfile::TempDir::new().unwrap();
        std::fs::write(dir.path().join(name), &content).unwrap();
        let found = faults(KeySources { keys_dir: Some(dir.path().into()), ..KeySources::default() });
        let [found] = found.as_slice() else { panic!("{content}: {found:?}") };
        assert!(found.starts_with(problem), "{content}: {found}");
    }
}

#[test]
fn sets_and_secrets_at_fault_are_refused() {
    let keys = Keys::new();
    let ed = keys.ed.public_jwk("k").unwrap();
    let mut nameless = ed.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    for (set, problem) in [
        (json!({ "keys": [ed, ed] }), "key 1: there is another with the kid \"k\""),
        (json!({ "keys": [nameless] }), "key 0: has no kid"),
        (json!({ "keys": vec![&ed; 257] }), "has more than 256 keys"),
        (json!({ "keys": [] }), "there is no key"),
        (json!({ "keys": [{ "kty": "EC", "crv": "P-521" }] }), "there is no key"),
        (json!([ed]), "is no JSON Web Key Set"),
    ] {
        keys.write("set.json", &set.to_string());
        let found = faults(KeySources { jwks_file: Some(keys.path("set.json")), ..KeySources::default() });
        assert!(found[0].starts_with(problem), "{found:?}");
    }
    for (secret, problem) in
        [("x".repeat(31) + "\n\n", "has 31 bytes"), (String::new(), "has 0 bytes"), (rsa_pem(), "is a key in PEM")]
    {
        keys.write("secret", &secret);
        let found = faults(KeySources { hs256_secret_file: Some(keys.path("secret")), ..KeySources::default() });
        assert!(found[0].starts_with(problem), "{found:?}");
    }
    let missing = Some(keys.path("missing"));
    let found =
        faults(KeySources { jwks_file: missing.clone(), keys_dir: missing.clone(), hs256_secret_file: missing });
    assert!(found.iter().any(|problem| problem.contains("no such file")), "{found:?}");
    assert!(found.iter().any(|problem| problem.starts_with("cannot be listed")), "{found:?}");
}

#[test]
fn the_only_key_needs_no_name() {
    let keys = Keys::new();
    let verifier =
        verifier(KeySources { hs256_secret_file: Some(keys.path("shared.key")), ..KeySources::default() }).unwrap();
    let nameless = keys.shared.sign(None, &claims()).unwrap();
    assert!(verifier.verify(&nameless, NOW_MS).is_ok());
    let named = keys.shared.sign(Some("other"), &claims()).unwrap();
    assert_eq!(verifier.verify(&named, NOW_MS), Err(TokenRefused::UnknownKey), "a name is taken at its word");
}

#[test]
fn key_that_two_files_name_is_refused() {
    let keys = Keys::new();
    keys.write("keys/ed.pem", &rsa_pem());
    assert!(faults(keys.sources())[0].contains("is in"), "ed.jwk and ed.pem");
}

#[test]
fn made_keys_are_read_as_they_were() {
    for kind in [KeyKind::Ed25519, KeyKind::Es256, KeyKind::Hs256] {
        let made = KeyPair::generate(kind).unwrap();
        let text = made.to_text().unwrap();
        let read = KeyPair::read(text.as_bytes()).unwrap();
        assert_eq!((read.kind(), read.to_text().unwrap()), (kind, text.clone()));
        assert_eq!(read.public_jwk("k"), made.public_jwk("k"));
        assert_eq!(format!("{made:?}"), format!("KeyPair({kind:?})"), "no part of the key is told");
    }
    for bad in ["short", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        assert!(KeyPair::read(bad.as_bytes()).is_err(), "{bad}");
    }
}

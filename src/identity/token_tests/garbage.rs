//! Bytes of chance are refused, and nothing panics.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use starling_testkit::Rng;

use super::fixture::{Keys, NOW_MS, claims};
use crate::identity::{Authority, Claims, KeyPair, TokenParts};

/// Bytes that mean something to one of the parsers.
const TELLING: &[u8] = b"{}[]\",:.*-+=_eE0123456789 \\ud800\xff\x00truefalsnkidalgstgrpcbhmayoinvu";

/// A text with some of its bytes altered, taken out, doubled or moved.
fn spoilt(rng: &mut Rng, text: &[u8]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for _ in 0..=rng.below(4) {
        let at = rng.index(bytes.len() + 1);
        let to = (at + rng.index(20)).min(bytes.len());
        let telling = rng.pick(TELLING);
        match rng.below(5) {
            0 if at < bytes.len() => bytes[at] = telling,
            1 => bytes.insert(at, telling),
            2 => drop(bytes.drain(at..to)),
            3 => {
                let copy = bytes[at..to].to_vec();
                bytes.splice(at..at, copy);
            }
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[test]
fn spoilt_token_is_never_accepted() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let good = keys.shared.sign(Some("shared"), &claims()).unwrap();
    let mut rng = Rng::new(13);
    for _ in 0..3_000 {
        let spoilt = String::from_utf8_lossy(&spoilt(&mut rng, good.as_bytes())).into_owned();
        assert!(spoilt == good || verifier.verify(&spoilt, NOW_MS).is_err(), "{spoilt}");
    }
    assert!(verifier.verify(&good, NOW_MS).is_ok());
}

#[test]
fn parsers_survive_spoilt_json() {
    let claims = claims().to_string();
    let authority =
        r#"{"grants":[{"livestreams":["1-9",7],"groups":"*","may":["join"],"publish":["CHAT"]}],"act_for":[1]}"#;
    let keys = Keys::new();
    let jwk = keys.es.public_jwk("es").unwrap().to_string();
    let pem = keys.ed.to_text().unwrap();
    let mut rng = Rng::new(14);
    let mut parsed = [0, 0];
    for _ in 0..5_000 {
        let claims = spoilt(&mut rng, claims.as_bytes());
        parsed[0] += u32::from(Claims::parse(&claims).is_ok());
        let header = URL_SAFE_NO_PAD.encode(&claims);
        drop(TokenParts::of(&format!("{header}.{header}.")));
        let authority = spoilt(&mut rng, authority.as_bytes());
        parsed[1] += u32::from(Authority::parse(&String::from_utf8_lossy(&authority)).is_ok());
        let jwk = spoilt(&mut rng, jwk.as_bytes());
        drop(crate::identity::key_file::read_named_jwk("es", &String::from_utf8_lossy(&jwk)));
        drop(KeyPair::read(&spoilt(&mut rng, pem.as_bytes())));
    }
    assert!(
        parsed.iter().all(|parsed| (1..5_000).contains(parsed)),
        "the text is hardly spoilt, or too much: {parsed:?}"
    );
}

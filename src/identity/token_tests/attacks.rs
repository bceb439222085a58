//! Each token that must not be accepted, with its exact cause.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::fixture::{AUDIENCE, ISSUER, Keys, NOW, NOW_MS, assert_verdict, claims, claims_with, rsa_pem};
use crate::identity::TokenRefused::{self, *};
use crate::identity::{Claims, IdRanges, KeyPair, Nodes, Permissions, Right};
use starling_core::channel::Channel;
use starling_core::id::{NodeId, SwarmId, SwarmKind};

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

fn signed(key: &KeyPair, header: &Value, payload: &Value) -> String {
    key.sign_parts(&header.to_string(), &payload.to_string()).unwrap()
}

fn ed() -> Value {
    json!({ "alg": "EdDSA", "kid": "ed" })
}

#[test]
fn token_of_each_algorithm_names_its_node() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    for (id, key) in
        [("ed", &keys.ed), ("es", &keys.es), ("rs", &keys.rs), ("scoped", &keys.scoped), ("shared", &keys.shared)]
    {
        let token = key.sign(Some(id), &claims()).unwrap();
        let identity = verifier.verify(&token, NOW_MS).expect(id);
        assert_eq!(identity.nodes, Nodes::One(NodeId::new(17).unwrap()), "{id}");
        assert_eq!(
            (identity.issued_at, identity.expires_at),
            (Some(NOW_MS - 60_000), Some(NOW_MS + 3_605_000)),
            "{id}"
        );
        let swarm = |id| SwarmId::new(SwarmKind::Livestream, id).unwrap();
        assert!(identity.may(Right::Join, swarm(7)) && !identity.may(Right::Join, swarm(8)), "{id}");
        assert!(identity.may_publish([Channel::Chat].into_iter().collect(), swarm(7)), "{id}");
    }
    let renamed = signed(&keys.ed, &json!({ "alg": "Ed25519", "kid": "ed" }), &claims());
    assert_verdict(&verifier, &renamed, Ok(()), "the name of RFC 9864");
}

#[test]
fn back_end_acts_for_nodes_it_names() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    for (act_for, nodes) in [
        (json!("*"), Nodes::Any),
        (json!(["1-100", 200]), Nodes::Within([1..=100, 200..=200].into_iter().collect::<IdRanges>())),
    ] {
        let claims = claims_with(&json!({ "sub": "chat gateway", "starling": { "act_for": act_for } }));
        let identity = verifier.verify(&keys.ed.sign(Some("ed"), &claims).unwrap(), NOW_MS).unwrap();
        assert_eq!((&identity.nodes, &identity.permissions), (&nodes, &Permissions::Some(Vec::new())));
    }
}

#[test]
fn attack_on_header_or_signature_is_refused() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let good = signed(&keys.ed, &ed(), &claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let unsigned = |header: Value| format!("{}.{}.", encoded(header.to_string()), encoded(claims().to_string()));
    let hmac = |secret: &[u8], id: &str| {
        let header = json!({ "alg": "HS256", "kid": id });
        signed(
            &KeyPair::read(secret).unwrap_or_else(|_| KeyPair::read(&[secret, &[b' '; 32]].concat()).unwrap()),
            &header,
            &claims(),
        )
    };
    let with = |header: Value| signed(&keys.ed, &header, &claims());
    let ed_x = URL_SAFE_NO_PAD.decode(keys.ed.public_jwk("ed").unwrap()["x"].as_str().unwrap()).unwrap();
    let own = keys.scoped.public_jwk("ed").unwrap();
    let mut altered = claims();
    altered["sub"] = "18".into();
    let cut = &good[..good.len() - 2];
    let cases: Vec<(&str, String, TokenRefused)> = vec![
        ("alg none", unsigned(json!({ "alg": "none", "kid": "ed" })), WrongAlgorithm),
        ("alg None", unsigned(json!({ "alg": "None", "kid": "ed" })), WrongAlgorithm),
        ("alg none without kid", unsigned(json!({ "alg": "none" })), UnknownKey),
        ("alg none of a secret", unsigned(json!({ "alg": "none", "kid": "shared" })), WrongAlgorithm),
        ("no signature", format!("{message}."), BadSignature),
        ("HS256 with the bytes of a public key", hmac(&ed_x, "ed"), WrongAlgorithm),
        ("HS256 with the PEM of a public key", hmac_pem(&rsa_pem(), "rs"), WrongAlgorithm),
        ("HS256 with another secret", hmac(&[7; 48], "shared"), BadSignature),
        ("another key's signature", signed(&keys.scoped, &ed(), &claims()), BadSignature),
        ("kid of another key", signed(&keys.ed, &json!({ "alg": "EdDSA", "kid": "scoped" }), &claims()), BadSignature),
        ("kid of a key for another algorithm", with(json!({ "alg": "EdDSA", "kid": "es" })), WrongAlgorithm),
        ("algorithm of the same family", with(json!({ "alg": "RS512", "kid": "rs" })), WrongAlgorithm),
        ("algorithm in small letters", with(json!({ "alg": "eddsa", "kid": "ed" })), WrongAlgorithm),
        ("unknown algorithm", with(json!({ "alg": "XX999", "kid": "ed" })), WrongAlgorithm),
        ("unknown kid", with(json!({ "alg": "EdDSA", "kid": "nobody" })), UnknownKey),
        ("no kid among several keys", with(json!({ "alg": "EdDSA" })), UnknownKey),
        ("empty kid", with(json!({ "alg": "EdDSA", "kid": "" })), UnknownKey),
        ("kid as a path", with(json!({ "alg": "EdDSA", "kid": "../keys/ed" })), UnknownKey),
        ("kid as the name of a file", with(json!({ "alg": "EdDSA", "kid": "ed.jwk" })), UnknownKey),
        ("kid with a NUL", with(json!({ "alg": "EdDSA", "kid": "ed\u{0}" })), UnknownKey),
        ("kid of an encryption key", with(json!({ "alg": "RS256", "kid": "other" })), UnknownKey),
        ("kid as a number", with(json!({ "alg": "EdDSA", "kid": 1 })), Malformed),
        ("kid as SQL", with(json!({ "alg": "EdDSA", "kid": "ed' OR '1'='1" })), UnknownKey),
        ("no alg", with(json!({ "kid": "ed" })), Malformed),
        ("alg as a list", with(json!({ "alg": ["EdDSA"], "kid": "ed" })), Malformed),
        ("critical extension", with(json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] })), Malformed),
        (
            "own key in the header",
            signed(&keys.scoped, &json!({ "alg": "EdDSA", "kid": "ed", "jwk": own }), &claims()),
            BadSignature,
        ),
        (
            "own key's URL in the header",
            signed(
                &keys.scoped,
                &json!({ "alg": "EdDSA", "kid": "ed", "jku": "http://evil.example", "x5u": "file:///etc/passwd" }),
                &claims(),
            ),
            BadSignature,
        ),
        (
            "altered claims",
            format!("{}.{}.{signature}", encoded(ed().to_string()), encoded(altered.to_string())),
            BadSignature,
        ),
        ("cut signature", cut.to_owned(), BadSignature),
        ("lengthened signature", format!("{good}AA"), BadSignature),
        ("signature of zeros", format!("{message}.{}", encoded([0; 64])), BadSignature),
        ("signature that is no base64url", format!("{message}.+/+/"), BadSignature),
        ("padded signature", format!("{good}=="), BadSignature),
        ("header as an array", keys.ed.sign_parts(r#"["EdDSA","ed",null]"#, &claims().to_string()).unwrap(), Malformed),
        (
            "header with a member twice",
            keys.ed.sign_parts(r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#, &claims().to_string()).unwrap(),
            Malformed,
        ),
        ("header that is no UTF-8", format!("{}.{}.", encoded([b'{', 0xff, b'}']), encoded("{}")), Malformed),
        ("nothing", String::new(), Malformed),
        ("dots", "..".to_owned(), Malformed),
        ("two parts", message.to_owned(), Malformed),
        ("four parts", format!("{good}.AA"), Malformed),
        ("five parts, as of JWE", "e30.e30.e30.e30.e30".to_owned(), Malformed),
        ("garbage", "!\u{1F426}.\n.\u{202e}".to_owned(), Malformed),
        ("with its scheme", format!("Bearer {good}"), Malformed),
        (
            "padding in the header",
            format!("{}==.{}", encoded(ed().to_string()), good.split_once('.').unwrap().1),
            Malformed,
        ),
        ("oversize", format!("{good}{}", "A".repeat(8_193 - good.len())), TooLarge),
        ("a megabyte", "A".repeat(1 << 20), TooLarge),
    ];
    for (what, token, cause) in cases {
        assert_verdict(&verifier, &token, Err(cause), what);
    }
    let ignored =
        json!({ "alg": "EdDSA", "kid": "ed", "jwk": own, "jku": "http://evil.example", "x5c": ["AA"], "typ": 7 });
    assert_verdict(&verifier, &with(ignored), Ok(()), "what the header has besides is nothing to the server");
}

/// A secret that looks like a key in PEM is none, so it is signed by hand.
fn hmac_pem(pem: &str, id: &str) -> String {
    let message =
        format!("{}.{}", encoded(json!({ "alg": "HS256", "kid": id }).to_string()), encoded(claims().to_string()));
    let key = jsonwebtoken::EncodingKey::from_secret(pem.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

#[test]
fn attack_on_claims_is_refused() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let grants = |grant: Value| json!({ "starling": { "grants": [grant] } });
    let cases: Vec<(Value, TokenRefused)> = vec![
        (json!({ "iss": null }), MissingClaim("iss")),
        (json!({ "aud": null }), MissingClaim("aud")),
        (json!({ "sub": null }), MissingClaim("sub")),
        (json!({ "exp": null }), MissingClaim("exp")),
        (json!({ "iat": null }), MissingClaim("iat")),
        (json!({ "iss": "https://issuer.example/" }), WrongIssuer),
        (json!({ "iss": "HTTPS://ISSUER.EXAMPLE" }), WrongIssuer),
        (json!({ "iss": [ISSUER] }), InvalidClaim("iss")),
        (json!({ "aud": "starlings" }), WrongAudience),
        (json!({ "aud": [] }), WrongAudience),
        (json!({ "aud": ["others", "Starling"] }), WrongAudience),
        (json!({ "aud": { "starling": true } }), InvalidClaim("aud")),
        (json!({ "aud": [AUDIENCE, 7] }), InvalidClaim("aud")),
        // The leeway is 5 s.
        (json!({ "exp": NOW - 5 }), Expired),
        (json!({ "exp": NOW - 4_000, "iat": NOW - 4_060 }), Expired),
        (json!({ "nbf": NOW + 6 }), NotYetValid),
        (json!({ "iat": NOW + 6 }), NotYetValid),
        (json!({ "exp": (NOW + 60).to_string() }), InvalidClaim("exp")),
        (json!({ "exp": -1 }), InvalidClaim("exp")),
        (json!({ "exp": 1e300 }), InvalidClaim("exp")),
        (json!({ "exp": u64::MAX }), InvalidClaim("exp")),
        (json!({ "exp": NOW_MS }), InvalidClaim("exp")),
        (json!({ "exp": true }), InvalidClaim("exp")),
        (json!({ "exp": [NOW + 60] }), InvalidClaim("exp")),
        (json!({ "exp": NOW - 60 }), InvalidClaim("exp")),
        (json!({ "iat": "now" }), InvalidClaim("iat")),
        (json!({ "iat": -1.5 }), InvalidClaim("iat")),
        (json!({ "nbf": "tomorrow" }), InvalidClaim("nbf")),
        (json!({ "exp": NOW - 60 + 24 * 3_600 + 1 }), TooLongLived),
        (json!({ "iat": 0 }), TooLongLived),
        (json!({ "sub": "0" }), InvalidClaim("sub")),
        (json!({ "sub": "-1" }), InvalidClaim("sub")),
        (json!({ "sub": "+17" }), InvalidClaim("sub")),
        (json!({ "sub": "017" }), InvalidClaim("sub")),
        (json!({ "sub": " 17" }), InvalidClaim("sub")),
        (json!({ "sub": "1e1" }), InvalidClaim("sub")),
        (json!({ "sub": "\u{0661}\u{0667}" }), InvalidClaim("sub")),
        (json!({ "sub": "18446744073709551616" }), InvalidClaim("sub")),
        (json!({ "sub": "alice" }), InvalidClaim("sub")),
        (json!({ "sub": "" }), InvalidClaim("sub")),
        (json!({ "sub": 17 }), InvalidClaim("sub")),
        (json!({ "sub": "", "starling": { "act_for": "*" } }), InvalidClaim("sub")),
        (json!({ "sub": "x".repeat(257), "starling": { "act_for": "*" } }), InvalidClaim("sub")),
        (json!({ "starling": [] }), InvalidClaim("starling")),
        (json!({ "starling": "*" }), InvalidClaim("starling")),
        (json!({ "starling": { "grant": [] } }), InvalidClaim("starling")),
        (json!({ "starling": { "admin": true } }), InvalidClaim("starling")),
        (json!({ "starling": { "act_for": [] } }), InvalidClaim("starling")),
        (json!({ "starling": { "act_for": ["0-5"] } }), InvalidClaim("starling")),
        (json!({ "starling": { "act_for": true } }), InvalidClaim("starling")),
        (json!({ "starling": { "grants": { "livestreams": "*" } } }), InvalidClaim("starling")),
        (grants(json!(["*"])), InvalidClaim("starling")),
        (grants(json!({ "livestream": "*", "may": ["join"] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": "7" })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": ["*"] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": [0] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": [-7] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": [7.5] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": ["20-10"] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": ["1-"] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": ["1-2-3"] })), InvalidClaim("starling")),
        (grants(json!({ "livestreams": ["1 - 2"] })), InvalidClaim("starling")),
        (grants(json!({ "groups": [[7]] })), InvalidClaim("starling")),
        (grants(json!({ "may": ["Join"] })), InvalidClaim("starling")),
        (grants(json!({ "may": ["*"] })), InvalidClaim("starling")),
        (grants(json!({ "may": "join" })), InvalidClaim("starling")),
        (grants(json!({ "publish": ["chat"] })), InvalidClaim("starling")),
        (grants(json!({ "publish": [3] })), InvalidClaim("starling")),
        (grants(json!({ "publish": true })), InvalidClaim("starling")),
        (json!({ "starling": { "grants": vec![json!({}); 65] } }), InvalidClaim("starling")),
        (grants(json!({ "livestreams": vec![1; 1_025] })), InvalidClaim("starling")),
    ];
    for (members, cause) in cases {
        let token = keys.ed.sign(Some("ed"), &claims_with(&members)).unwrap();
        assert_verdict(&verifier, &token, Err(cause), &members.to_string());
    }
    for members in [
        json!({ "exp": NOW - 4, "iat": NOW - 60 }),
        json!({ "nbf": NOW + 5 }),
        json!({ "nbf": NOW - 30, "jti": "x", "name": { "any": ["thing"] } }),
        json!({ "exp": 1_790_000_060.5 }),
        json!({ "exp": NOW - 60 + 24 * 3_600 }),
        json!({ "aud": ["others", AUDIENCE] }),
        json!({ "sub": "18446744073709551615" }),
        json!({ "starling": null }),
        json!({ "starling": {} }),
        grants(
            json!({ "livestreams": "*", "groups": [1, "2", "3-4"], "may": ["create", "join", "moderate", "administer"], "publish": "*" }),
        ),
    ] {
        let token = keys.ed.sign(Some("ed"), &claims_with(&members)).unwrap();
        assert_verdict(&verifier, &token, Ok(()), &members.to_string());
    }
}

#[test]
fn payload_that_is_no_plain_object_is_refused() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let claims = claims().to_string();
    let twice = claims.replacen('{', r#"{"sub":"1","#, 1);
    let twice_inside = claims.replacen(r#""grants""#, r#""grants":[],"grants""#, 1);
    let deep = claims.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(2_000), "]".repeat(2_000)), 1);
    let deep_inside = claims.replacen(
        r#""grants":"#,
        &format!(r#""act_for":{}{},"grants":"#, "[".repeat(2_000), "]".repeat(2_000)),
        1,
    );
    for (payload, cause) in [
        ("", Malformed),
        ("null", Malformed),
        ("7", Malformed),
        (r#"["https://issuer.example", "starling", "17", 1, 2, 3, {}]"#, Malformed),
        (&claims[..claims.len() - 1], Malformed),
        (&format!("{claims}{claims}"), Malformed),
        (&twice, Malformed),
        (&twice_inside, InvalidClaim("starling")),
        (&deep_inside, InvalidClaim("starling")),
    ] {
        let token = keys.ed.sign_parts(&ed().to_string(), payload).unwrap();
        assert_verdict(&verifier, &token, Err(cause), &payload.chars().take(80).collect::<String>());
    }
    let deep = keys.ed.sign_parts(&ed().to_string(), &deep).unwrap();
    assert_verdict(&verifier, &deep, Ok(()), "what is passed over may be deep");
    assert_eq!(Claims::parse(&[b'{', 0xff, b'}']), Err(Malformed));
}

#[test]
fn token_beyond_its_key_is_refused() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let grant = |grant: Value| json!({ "starling": { "grants": [grant] } });
    for (members, verdict) in [
        (grant(json!({ "livestreams": ["1-10"], "may": ["join"], "publish": ["CHAT"] })), Ok(())),
        (json!({ "starling": {} }), Ok(())),
        (grant(json!({ "livestreams": ["1-11"], "may": ["join"] })), Err(BeyondScope)),
        (grant(json!({ "livestreams": "*", "may": ["join"] })), Err(BeyondScope)),
        (grant(json!({ "groups": ["1"], "may": ["join"] })), Err(BeyondScope)),
        (grant(json!({ "livestreams": ["1"], "may": ["join", "moderate"] })), Err(BeyondScope)),
        (grant(json!({ "livestreams": ["1"], "publish": "*" })), Err(BeyondScope)),
        (json!({ "sub": "x", "starling": { "act_for": ["1"] } }), Err(BeyondScope)),
    ] {
        let token = keys.scoped.sign(Some("scoped"), &claims_with(&members)).unwrap();
        assert_verdict(&verifier, &token, verdict, &members.to_string());
        let token = keys.ed.sign(Some("ed"), &claims_with(&members)).unwrap();
        assert_verdict(&verifier, &token, Ok(()), "a key without a scope");
    }
}

#[test]
fn remembered_token_expires_all_the_same() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let token = keys.ed.sign(Some("ed"), &claims()).unwrap();
    let at = |seconds: u64| verifier.verify(&token, seconds * 1_000).map(drop);
    let expiry = NOW + 3_605;
    assert_eq!([at(NOW), at(expiry - 1), at(expiry), at(NOW)], [Ok(()), Ok(()), Err(Expired), Ok(())]);
    assert_eq!(verifier.verify(&token, expiry * 1_000 - 1).map(drop), Ok(()), "to the millisecond");
    assert_eq!([at(NOW - 66), at(NOW - 65)], [Err(NotYetValid), Ok(())], "a clock that goes back");
}

#[test]
fn expired_token_is_calculated_once() {
    let keys = Keys::new();
    let verifier = keys.verifier();
    let token = keys.ed.sign(Some("ed"), &claims_with(&json!({ "exp": NOW - 10 }))).unwrap();
    assert!(!verifier.remembers(&token));
    assert_verdict(&verifier, &token, Err(Expired), "expired");
    assert!(verifier.remembers(&token));
    let early = keys.ed.sign(Some("ed"), &claims_with(&json!({ "nbf": NOW + 10 }))).unwrap();
    assert_verdict(&verifier, &early, Err(NotYetValid), "too early");
    assert_eq!(verifier.verify(&early, NOW_MS + 20_000).map(drop), Ok(()), "its time has come");
    let (message, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{message}.{}", "A".repeat(86));
    assert_verdict(&verifier, &forged, Err(BadSignature), "forged");
    assert!(!verifier.remembers(&forged), "what is not signed takes no room");
}

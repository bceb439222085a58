//! Tokens that somebody made up, over real gRPC: each is refused by code and reason, changes nothing, and teaches
//! nothing. The exact causes, which callers are not told, are tested where tokens are read.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::pkcs8::spki::EncodePublicKey as _;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::{Signer as _, SigningKey};
use jsonwebtoken::{Algorithm, EncodingKey};
use rsa::pkcs8::DecodePublicKey as _;
use serde_json::{Value, json};
use starling::clock::Clock;
use starling::config::IdentityMode;
use starling::identity::{KeyKind, KeyPair};
use starling_client::pb::livestream::v1 as pb;
use starling_client::{BearerToken, Client};
use tempfile::TempDir;

use super::fixture::{LIVESTREAMS, MISSING, THERE, picture};
use super::refusal::{Refusal, Row};
use crate::edge::world::{answered, everything};
use crate::harness::Server;
use crate::net::rules::raw::{Connection, Head};

/// A public key RSA, of whose private key nobody knows anything any more.
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA7PLaQUqLvcCBjVGYTq7O
4owtXFaH6EtXgjNiUFYDVBkXsSonClDkuURcbWdTmKhcIU0N1yTxHnVRmn8cV3Fm
HR/v4IEaEZkdmZI4y5q/04rCjRfdBIZS8qAaz6cX5tAecTZ/RLExoLmYxth2X98Y
tGsgi3MXlll1sZM7+939kqOTB2GYU9PADVAXS7eahaHjT/ODyrmz13ndj2n0GiHt
390FzxPI8iLJkCnIo50dcJUWk6qLLXq30yCLTvfcXhQTdxXOYmbsbA1XfuztV31W
u5k6JVWNvdNhbVq7WpuL5mAIpXHSM93QnM18/i+ywtpiq4SItDK/LtwVxFiR6rdJ
pQIDAQAB
-----END PUBLIC KEY-----
";
/// The order of the base point of Ed25519, little-endian (RFC 8032, section 5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The keys of a server, and who signs with them: `ed` and `es` in its directory beside `rs`, `scoped` in its set,
/// `shared` is its secret.
struct Issuer {
    dir: TempDir,
    ed: SigningKey,
    scoped: SigningKey,
    es: KeyPair,
    shared: KeyPair,
    now: u64,
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Header and payload, as they are signed.
fn message(header: &Value, payload: &Value) -> String {
    format!("{}.{}", encoded(header.to_string()), encoded(payload.to_string()))
}

fn signed(key: &SigningKey, message: &str) -> String {
    format!("{message}.{}", encoded(key.sign(message.as_bytes()).to_bytes()))
}

fn hmac(secret: &[u8], message: &str) -> String {
    let key = EncodingKey::from_secret(secret);
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
    format!("{message}.{signature}")
}

impl Issuer {
    fn new() -> Self {
        let made = |kind| KeyPair::generate(kind).unwrap();
        let (ed, scoped) = (SigningKey::from_bytes(&rand::random()), SigningKey::from_bytes(&rand::random()));
        let (es, shared) = (made(KeyKind::Es256), made(KeyKind::Hs256));
        let dir = TempDir::new().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("keys")).unwrap();
        write("keys/ed.pem", &ed.verifying_key().to_public_key_pem(LineEnding::LF).unwrap());
        write("keys/es.jwk", &es.public_jwk("es").unwrap().to_string());
        write("keys/rs.pem", RSA_PUBLIC);
        let scope = json!({ "grants": [{ "livestreams": ["1-10"], "may": ["join"], "publish": ["CHAT"] }] });
        let scoped_key = json!({
            "kty": "OKP", "crv": "Ed25519", "kid": "scoped", "x": encoded(scoped.verifying_key().as_bytes()),
            "starling": scope,
        });
        write("jwks.json", &json!({ "keys": [scoped_key] }).to_string());
        write("shared.key", &shared.to_text().unwrap());
        Self { dir, ed, scoped, es, shared, now: Clock::system().wall() / 1_000 }
    }

    /// A server that takes its tokens, to the second.
    async fn server(&self) -> Server {
        Server::with(|config| {
            let identity = &mut config.identity;
            identity.mode = IdentityMode::Jwt;
            (identity.issuer, identity.audience) = ("us".to_owned(), "starling".to_owned());
            identity.keys_dir = self.dir.path().join("keys");
            identity.jwks_file = self.dir.path().join("jwks.json");
            identity.hs256_secret_file = self.dir.path().join("shared.key");
            identity.leeway = std::time::Duration::ZERO;
        })
        .await
    }

    /// The claims of node 2, who may do everything with all swarms; other members in place of some, null for none.
    fn claims(&self, members: &Value) -> Value {
        let mut claims = json!({
            "iss": "us", "aud": "starling", "sub": "2", "iat": self.now - 100, "exp": self.now + 3_600,
            "starling": {
                "grants": [{
                    "livestreams": "*", "groups": "*", "publish": "*",
                    "may": ["create", "join", "moderate", "administer"],
                }],
            },
        });
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

    /// With other claims than those that are good, and signed as it should be.
    fn with(&self, members: Value) -> String {
        signed(&self.ed, &message(&json!({ "alg": "EdDSA", "kid": "ed" }), &self.claims(&members)))
    }

    /// With another header, signed by the key `ed`.
    fn headed(&self, header: Value) -> String {
        signed(&self.ed, &message(&header, &self.claims(&json!({}))))
    }

    /// Whoever may do everything, as anybody.
    fn admin(&self) -> BearerToken {
        let mut claims = self.claims(&json!({ "sub": "admin" }));
        claims["starling"]["act_for"] = "*".into();
        let token = signed(&self.ed, &message(&json!({ "alg": "EdDSA", "kid": "ed" }), &claims));
        BearerToken::new(&token).unwrap()
    }
}

/// A token, by what is wrong with it, and how it is refused.
type Forged = (&'static str, String, Refusal);

fn headers_and_signatures(issuer: &Issuer) -> Vec<Forged> {
    use Refusal as R;
    let (good_header, claims) = (json!({ "alg": "EdDSA", "kid": "ed" }), issuer.claims(&json!({})));
    let unsigned = |header: Value| format!("{}.", message(&header, &claims));
    let as_hmac = |kid: &str| message(&json!({ "alg": "HS256", "kid": kid }), &claims);
    let good = signed(&issuer.ed, &message(&good_header, &claims));
    let (begun, signature) = good.rsplit_once('.').unwrap();
    let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let own_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encoded(issuer.scoped.verifying_key().as_bytes()) });
    let by_own = |header: Value| signed(&issuer.scoped, &message(&header, &claims));
    let es_header = message(&json!({ "alg": "ES256", "kid": "es" }), &claims);
    let es = issuer.es.sign(Some("es"), &claims).unwrap();
    let es_signature = URL_SAFE_NO_PAD.decode(es.rsplit_once('.').unwrap().1).unwrap();
    let raw_payload =
        format!("{}.{}", encoded(json!({ "alg": "EdDSA", "kid": "ed", "b64": false }).to_string()), claims);
    let nested = message(&json!({ "alg": "EdDSA", "kid": "ed", "cty": "JWT" }), &Value::Null)
        .replace(&encoded("null"), &encoded(&good));
    vec![
        ("alg none", unsigned(json!({ "alg": "none", "kid": "ed" })), R::INVALID),
        ("alg nOnE", unsigned(json!({ "alg": "nOnE", "kid": "ed" })), R::INVALID),
        ("alg none without a kid", unsigned(json!({ "alg": "none" })), R::INVALID),
        ("alg none with the kid of a secret", unsigned(json!({ "alg": "none", "kid": "shared" })), R::INVALID),
        ("no alg", issuer.headed(json!({ "kid": "ed" })), R::INVALID),
        ("alg of another key", issuer.headed(json!({ "alg": "ES256", "kid": "ed" })), R::INVALID),
        ("alg in small letters", issuer.headed(json!({ "alg": "eddsa", "kid": "ed" })), R::INVALID),
        (
            "HS256 with the bytes of a public key",
            hmac(issuer.ed.verifying_key().as_bytes(), &as_hmac("ed")),
            R::INVALID,
        ),
        ("HS256 with the PEM of a public key", hmac(RSA_PUBLIC.as_bytes(), &as_hmac("rs")), R::INVALID),
        ("HS256 with an empty secret", hmac(b"", &as_hmac("shared")), R::INVALID),
        ("HS256 with another secret", hmac(&[7; 48], &as_hmac("shared")), R::INVALID),
        (
            "HS256 with the true secret and the kid of a public key",
            hmac(issuer.shared.to_text().unwrap().trim_end().as_bytes(), &as_hmac("ed")),
            R::INVALID,
        ),
        ("an unknown kid", issuer.headed(json!({ "alg": "EdDSA", "kid": "nobody" })), R::INVALID),
        ("no kid among several keys", issuer.headed(json!({ "alg": "EdDSA" })), R::INVALID),
        ("the kid of another key", issuer.headed(json!({ "alg": "EdDSA", "kid": "scoped" })), R::INVALID),
        ("kid as a path", issuer.headed(json!({ "alg": "EdDSA", "kid": "../keys/ed" })), R::INVALID),
        ("kid as a path to a known file", issuer.headed(json!({ "alg": "HS256", "kid": "/dev/null" })), R::INVALID),
        ("kid as the name of a file", issuer.headed(json!({ "alg": "EdDSA", "kid": "ed.pem" })), R::INVALID),
        ("kid as a URL", issuer.headed(json!({ "alg": "EdDSA", "kid": "https://evil.example/ed" })), R::INVALID),
        ("kid with a NUL", issuer.headed(json!({ "alg": "EdDSA", "kid": "ed\u{0}" })), R::INVALID),
        ("kid as a list", issuer.headed(json!({ "alg": "EdDSA", "kid": ["ed"] })), R::INVALID),
        ("crit", issuer.headed(json!({ "alg": "EdDSA", "kid": "ed", "crit": ["exp"] })), R::INVALID),
        (
            "b64 false, with crit",
            issuer.headed(json!({ "alg": "EdDSA", "kid": "ed", "b64": false, "crit": ["b64"] })),
            R::INVALID,
        ),
        ("b64 false, and a payload in plain text", signed(&issuer.ed, &raw_payload), R::INVALID),
        (
            "zip, and a payload that is compressed",
            {
                let header = encoded(json!({ "alg": "EdDSA", "kid": "ed", "zip": "DEF" }).to_string());
                // The beginning of a stream of DEFLATE.
                signed(&issuer.ed, &format!("{header}.{}", encoded([0x4b, 0x4c, 0x4a, 0x06, 0x00])))
            },
            R::INVALID,
        ),
        ("own key in the header (jwk)", by_own(json!({ "alg": "EdDSA", "kid": "ed", "jwk": own_jwk })), R::INVALID),
        (
            "own key by its URL (jku)",
            by_own(json!({ "alg": "EdDSA", "kid": "ed", "jku": "https://evil.example/" })),
            R::INVALID,
        ),
        (
            "own certificate by its URL (x5u)",
            by_own(json!({ "alg": "EdDSA", "kid": "ed", "x5u": "file:///etc/passwd" })),
            R::INVALID,
        ),
        (
            "own certificate in the header (x5c)",
            by_own(json!({ "alg": "EdDSA", "kid": "ed", "x5c": ["AA=="] })),
            R::INVALID,
        ),
        (
            "a member of the header twice",
            {
                let header = encoded(r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#);
                signed(&issuer.ed, &format!("{header}.{}", encoded(claims.to_string())))
            },
            R::INVALID,
        ),
        ("another's signature", by_own(good_header.clone()), R::INVALID),
        ("no signature", format!("{begun}."), R::INVALID),
        ("a signature of zeros", format!("{begun}.{}", encoded([0; 64])), R::INVALID),
        ("a signature of zeros for ES256", format!("{es_header}.{}", encoded([0; 64])), R::INVALID),
        ("a signature for ES256 in DER", format!("{es_header}.{}", encoded(der(&es_signature))), R::INVALID),
        ("a signature cut short", format!("{begun}.{}", encoded(&bytes[..63])), R::INVALID),
        ("a signature with bytes behind it", format!("{begun}.{}", encoded([&bytes[..], &[0]].concat())), R::INVALID),
        ("a signature whose S is above the order", format!("{begun}.{}", encoded(above_the_order(&bytes))), R::INVALID),
        (
            "altered claims",
            {
                let altered = message(&good_header, &issuer.claims(&json!({ "sub": "1" })));
                format!("{altered}.{signature}")
            },
            R::INVALID,
        ),
        (
            "the claims of one token below the signature of another",
            {
                let other = issuer.with(json!({ "sub": "1" }));
                format!("{}.{signature}", other.rsplit_once('.').unwrap().0)
            },
            R::INVALID,
        ),
        ("an encrypted token (JWE)", "e30.e30.e30.e30.e30".to_owned(), R::INVALID),
        ("a token inside of a token", signed(&issuer.ed, &nested), R::INVALID),
        (
            "a token as JSON (RFC 7515, section 7.2)",
            {
                let (header, payload) = begun.split_once('.').unwrap();
                json!({ "protected": header, "payload": payload, "signature": signature }).to_string()
            },
            R::INVALID,
        ),
        ("two parts", begun.to_owned(), R::INVALID),
        ("four parts", format!("{good}.AA"), R::INVALID),
        ("two dots", "..".to_owned(), R::INVALID),
        ("padded base64", format!("{good}=="), R::INVALID),
        ("an oversize token", format!("{good}{}", "A".repeat(8_193 - good.len())), R::INVALID),
    ]
}

/// Two numbers as ASN.1 has them.
fn der(signature: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| [&[2, 33, 0][..], bytes].concat();
    let (r, s) = signature.split_at(32);
    [&[0x30, 70][..], &integer(r), &integer(s)].concat()
}

/// The same signature for whoever does not look whether its S is reduced.
fn above_the_order(signature: &[u8]) -> Vec<u8> {
    let mut altered = signature.to_vec();
    let mut carry = 0;
    for (byte, order) in altered[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    altered
}

fn claims(issuer: &Issuer) -> Vec<Forged> {
    use Refusal as R;
    let now = issuer.now;
    let payload = |text: &str| {
        let header = encoded(json!({ "alg": "EdDSA", "kid": "ed" }).to_string());
        signed(&issuer.ed, &format!("{header}.{}", encoded(text)))
    };
    let text = issuer.claims(&json!({})).to_string();
    let grant = |grant: Value| issuer.with(json!({ "starling": { "grants": [grant] } }));
    let scoped = |members: Value| {
        let header = json!({ "alg": "EdDSA", "kid": "scoped" });
        signed(&issuer.scoped, &message(&header, &issuer.claims(&members)))
    };
    let granted = |livestreams: Value, may: &[&str], publish: &[&str]| json!({ "starling": { "grants": [{ "livestreams": livestreams, "may": may, "publish": publish }] } });
    vec![
        ("expired by a second", issuer.with(json!({ "exp": now - 1 })), R::EXPIRED),
        ("expired long ago", issuer.with(json!({ "iat": now - 7_200, "exp": now - 3_600 })), R::EXPIRED),
        ("not yet valid (nbf)", issuer.with(json!({ "nbf": now + 600 })), R::NOT_YET_VALID),
        ("issued in the future (iat)", issuer.with(json!({ "iat": now + 600 })), R::NOT_YET_VALID),
        ("exp as text", issuer.with(json!({ "exp": (now + 60).to_string() })), R::INVALID),
        ("exp in milliseconds", issuer.with(json!({ "exp": (now + 60) * 1_000 })), R::INVALID),
        ("exp without end", issuer.with(json!({ "exp": 1e300 })), R::INVALID),
        ("exp before iat", issuer.with(json!({ "exp": now - 200 })), R::INVALID),
        ("no exp", issuer.with(json!({ "exp": null })), R::INVALID),
        ("no iat", issuer.with(json!({ "iat": null })), R::INVALID),
        ("longer than is allowed", issuer.with(json!({ "exp": now + 25 * 3_600 })), R::INVALID),
        ("no iss", issuer.with(json!({ "iss": null })), R::INVALID),
        ("another iss", issuer.with(json!({ "iss": "them" })), R::INVALID),
        ("iss as a list", issuer.with(json!({ "iss": ["us"] })), R::INVALID),
        ("no aud", issuer.with(json!({ "aud": null })), R::INVALID),
        ("another aud", issuer.with(json!({ "aud": "starlings" })), R::INVALID),
        ("an empty aud", issuer.with(json!({ "aud": [] })), R::INVALID),
        ("no sub", issuer.with(json!({ "sub": null })), R::INVALID),
        ("sub 0", issuer.with(json!({ "sub": "0" })), R::INVALID),
        ("sub written otherwise", issuer.with(json!({ "sub": "+2" })), R::INVALID),
        ("sub as a number", issuer.with(json!({ "sub": 2 })), R::INVALID),
        ("sub as a name, of no back-end", issuer.with(json!({ "sub": "admin" })), R::INVALID),
        ("a claim twice", payload(&text.replacen('{', r#"{"sub":"1","#, 1)), R::INVALID),
        ("a member of a grant twice", payload(&text.replacen(r#""may""#, r#""may":[],"may""#, 1)), R::INVALID),
        ("claims that are no object", payload("[]"), R::INVALID),
        ("claims and something behind them", payload(&format!("{text}{text}")), R::INVALID),
        (
            "claims nested 2 000 deep",
            {
                let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
                payload(&text.replacen(r#""grants":"#, &format!(r#""act_for":{deep},"grants":"#), 1))
            },
            R::INVALID,
        ),
        ("a right that does not exist", grant(json!({ "livestreams": "*", "may": ["admin"] })), R::INVALID),
        ("a member that does not exist", grant(json!({ "livestreams": "*", "can": ["join"] })), R::INVALID),
        ("an asterisk among ids", grant(json!({ "livestreams": ["*"], "may": ["join"] })), R::INVALID),
        ("a range that ends before it begins", grant(json!({ "livestreams": ["20-10"], "may": ["join"] })), R::INVALID),
        ("65 grants", issuer.with(json!({ "starling": { "grants": vec![json!({}); 65] } })), R::INVALID),
        ("1 025 ids", grant(json!({ "livestreams": vec![1; 1_025] })), R::INVALID),
        ("a key beyond its scope: other swarms", scoped(granted(json!(["1-11"]), &["join"], &[])), R::INVALID),
        ("a key beyond its scope: all swarms", scoped(granted(json!("*"), &["join"], &[])), R::INVALID),
        ("a key beyond its scope: another right", scoped(granted(json!(["1"]), &["administer"], &[])), R::INVALID),
        ("a key beyond its scope: another channel", scoped(granted(json!(["1"]), &["join"], &["VISUAL"])), R::INVALID),
        (
            "a key beyond its scope: a back-end",
            scoped(json!({ "sub": "x", "starling": { "act_for": "*" } })),
            R::INVALID,
        ),
    ]
}

fn forged(issuer: &Issuer) -> Vec<Forged> {
    [headers_and_signatures(issuer), claims(issuer)].concat()
}

pub(super) fn rows() -> Vec<Row> {
    forged(&Issuer::new()).into_iter().map(|(attack, _, refusal)| Row { attack, refusal }).collect()
}

#[tokio::test]
async fn forged_tokens_are_refused_alike() {
    let issuer = Issuer::new();
    assert!(rsa::RsaPublicKey::from_public_key_pem(RSA_PUBLIC).is_ok(), "the key of which HS256 takes the text");
    let server = issuer.server().await;
    let admin = Client::connect(&server.url()).await.unwrap().with_token(issuer.admin());
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    answered(admin.livestreams.clone().create_livestream(create).await);
    let connection = Connection::open(server.address()).await;
    let join = async |token: &str, livestream_id| {
        let head = Head::path(&format!("{LIVESTREAMS}JoinLivestream")).with("authorization", format!("Bearer {token}"));
        connection.unary(head, &pb::JoinLivestreamRequest { livestream_id, ..Default::default() }).await
    };
    let before = everything(&admin).await;
    // Answers of each kind, and the first attack that got it.
    let mut alike = BTreeMap::new();
    for (what, token, refusal) in forged(&issuer) {
        let there = join(&token, THERE).await;
        assert_eq!(there.fault(), refusal.fault(), "{what}");
        let answers = [picture(&there), picture(&join(&token, MISSING).await)];
        for answer in answers {
            let (first, known) = alike.entry(refusal.to_string()).or_insert_with(|| (what, answer.clone()));
            assert_eq!(*known, answer, "{what}, beside {first}");
        }
        assert_eq!(everything(&admin).await, before, "it changes nothing: {what}");
    }
    assert_eq!(alike.len(), 3, "invalid, expired, not yet valid");
    // The same with nothing wrong.
    for token in [issuer.with(json!({})), issuer.es.sign(Some("es"), &issuer.claims(&json!({}))).unwrap()] {
        assert_eq!(join(&token, THERE).await.status(), "0");
    }
}

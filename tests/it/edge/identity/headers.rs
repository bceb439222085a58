//! Where a token is looked for, and what is made of the header that has it.

use prost::Message as _;
use starling::identity::{Identity, TokenRefused};
use starling_client::pb::livestream::v1 as pb;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::fixture::{LIVESTREAMS, THERE, World, jwt_server, node};
use super::refusal::{Refusal, Row};
use crate::exchange::Exchange;
use crate::harness::{Fault, Server};
use crate::net::rules::raw::{Connection, Head};

const GET: pb::GetLivestreamRequest = pb::GetLivestreamRequest { livestream_id: THERE, at_least: None };

/// Names and values.
type Headers<'a> = &'a [(&'static str, &'a str)];

/// What becomes of a call with these headers.
async fn outcome(world: &World, headers: Headers<'_>) -> Result<(), Fault> {
    let head = Head::path(&format!("{LIVESTREAMS}GetLivestream"));
    let head = headers.iter().fold(head, |head, (name, value)| head.with(name, value));
    let answer = world.connection.unary(head, &GET).await;
    if answer.status() == "0" { Ok(()) } else { Err(answer.fault()) }
}

/// Headers that no call is served with: what is tried, the headers, and the refusal. The tokens `late`, `early` and
/// `forged` are at fault.
const REFUSED: &[(&str, Headers<'static>, Refusal)] = &[
    ("no token", &[], Refusal::MISSING),
    ("a token in a header of another name", &[("x-token", "viewer")], Refusal::MISSING),
    ("a token in x-authorization", &[("x-authorization", "Bearer viewer")], Refusal::MISSING),
    ("a token in x-forwarded-authorization", &[("x-forwarded-authorization", "Bearer viewer")], Refusal::MISSING),
    ("a token in proxy-authorization", &[("proxy-authorization", "Bearer viewer")], Refusal::MISSING),
    ("a token in a cookie", &[("cookie", "authorization=Bearer viewer")], Refusal::MISSING),
    ("a token in grpc-metadata-authorization", &[("grpc-metadata-authorization", "Bearer viewer")], Refusal::MISSING),
    ("a token in authorization-bin", &[("authorization-bin", "QmVhcmVyIHZpZXdlcg")], Refusal::MISSING),
    (
        "authorization twice",
        &[("authorization", "Bearer viewer"), ("authorization", "Bearer viewer")],
        Refusal::INVALID,
    ),
    (
        "authorization twice, of two callers",
        &[("authorization", "Bearer viewer"), ("authorization", "Bearer owner")],
        Refusal::INVALID,
    ),
    ("two tokens divided by a comma", &[("authorization", "Bearer viewer, Bearer owner")], Refusal::INVALID),
    ("two tokens divided by a space", &[("authorization", "Bearer viewer owner")], Refusal::INVALID),
    ("an empty header", &[("authorization", "")], Refusal::INVALID),
    ("a scheme alone", &[("authorization", "Bearer")], Refusal::INVALID),
    ("a scheme and a space", &[("authorization", "Bearer ")], Refusal::INVALID),
    ("a token without a scheme", &[("authorization", "viewer")], Refusal::INVALID),
    ("another scheme", &[("authorization", "Basic viewer")], Refusal::INVALID),
    ("a tab in place of the space", &[("authorization", "Bearer\tviewer")], Refusal::INVALID),
    ("a token that nobody issued", &[("authorization", "Bearer nobody")], Refusal::INVALID),
    ("a token in capitals", &[("authorization", "Bearer VIEWER")], Refusal::INVALID),
    ("a token with a wrong algorithm", &[("authorization", "Bearer forged")], Refusal::INVALID),
    ("a token that has expired", &[("authorization", "Bearer late")], Refusal::EXPIRED),
    ("a token whose time has not come", &[("authorization", "Bearer early")], Refusal::NOT_YET_VALID),
];

/// A header that is too long for any token.
const TOO_LONG: Row =
    Row { attack: "a header of 20 000 bytes", refusal: Refusal::Status(Code::ResourceExhausted, "HEADERS_TOO_LARGE") };

/// What a path can have besides.
const IN_THE_QUERY: Row = Row { attack: "a token in the query", refusal: Refusal::MISSING };

/// The token and nothing else is what HTTP/1.1 of browsers brings too.
const BY_GRPC_WEB: Row =
    Row { attack: "gRPC-Web with a token in the query and in a cookie", refusal: Refusal::MISSING };

pub(super) fn rows() -> Vec<Row> {
    let table = REFUSED.iter().map(|&(attack, _, refusal)| Row { attack, refusal });
    table.chain([TOO_LONG]).collect()
}

pub(super) fn query_rows() -> Vec<Row> {
    vec![IN_THE_QUERY, BY_GRPC_WEB]
}

#[tokio::test]
async fn token_counts_in_its_header_only() {
    let world = World::new().await;
    world.issue_faulty("late", TokenRefused::Expired);
    world.issue_faulty("early", TokenRefused::NotYetValid);
    world.issue_faulty("forged", TokenRefused::WrongAlgorithm);
    let before = world.seen().await;
    for (what, headers, refusal) in REFUSED {
        assert_eq!(outcome(&world, headers).await, Err(refusal.fault()), "{what}");
    }
    let long = format!("Bearer {}", "x".repeat(20_000));
    assert_eq!(outcome(&world, &[("authorization", &long)]).await, Err(TOO_LONG.refusal.fault()));
    assert!(before == world.seen().await, "no refused call changes anything");
    let good: [Headers<'_>; 4] = [
        &[("authorization", "Bearer viewer")],
        &[("authorization", "bearer viewer")],
        &[("authorization", "BEARER viewer")],
        &[("authorization", "Bearer viewer"), ("x-token", "nonsense")],
    ];
    for headers in good {
        assert_eq!(outcome(&world, headers).await, Ok(()), "{headers:?}");
    }
}

#[tokio::test]
async fn token_in_a_query_is_no_token() {
    let world = World::new().await;
    let (join, before) = (pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() }, world.seen().await);
    for query in ["access_token=viewer", "authorization=Bearer%20viewer", "token=viewer"] {
        let head = Head::path(&format!("{LIVESTREAMS}JoinLivestream?{query}"));
        let answer = world.connection.unary(head, &join).await;
        assert_eq!(answer.fault(), IN_THE_QUERY.refusal.fault(), "{query}");
        let headers = "content-type: application/grpc-web+proto\r\ncookie: authorization=Bearer%20viewer\r\n";
        let method = format!("JoinLivestream?{query}");
        let mut answer = Exchange::post_as(&world.server, &method, headers, &crate::net::frames::framed(&join)).await;
        // UNAUTHENTICATED.
        assert_eq!(answer.refused().await["grpc-status"], "16", "{query}");
    }
    assert!(before == world.seen().await, "no refused call changes anything");
}

#[tokio::test]
async fn forged_tokens_are_answered_alike() {
    let world = World::new().await;
    for (token, cause) in [("one", TokenRefused::UnknownKey), ("two", TokenRefused::BeyondScope)] {
        world.issue_faulty(token, cause);
    }
    let mut answers = Vec::new();
    for token in ["one", "two", "nobody"] {
        let answer = world.call(token, &format!("{LIVESTREAMS}GetLivestream"), &GET).await;
        answers.push(super::fixture::picture(&answer));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let world = World::new().await;
    let check = HealthCheckRequest { service: String::new() };
    let answer = world.connection.unary(Head::path("/grpc.health.v1.Health/Check"), &check).await;
    assert_eq!(answer.status(), "0");
    let list = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(world.connection.unary(Head::path(path), &list).await.status(), "0");
}

#[tokio::test]
async fn browsers_bring_tokens_too() {
    let world = World::new().await;
    let framed = crate::net::frames::framed(&GET);
    let headers = "content-type: application/grpc-web+proto\r\nauthorization: Bearer viewer\r\n";
    let mut answer = Exchange::post_as(&world.server, "GetLivestream", headers, &framed).await;
    let got: pb::GetLivestreamResponse = answer.message().await;
    assert_eq!(got.livestream.unwrap().livestream_id, THERE);
    let mut answer = Exchange::post(&world.server, "GetLivestream", &framed).await;
    assert_eq!(answer.refused().await["grpc-status"], "16");
    // A preflight brings none.
    let head = format!(
        "OPTIONS {LIVESTREAMS}GetLivestream HTTP/1.1\r\nhost: localhost\r\norigin: https://example.org\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: authorization,content-type\r\n\r\n"
    );
    let answer = Exchange::send(&world.server, head, b"").await;
    assert_eq!((answer.status, answer.header("access-control-allow-headers")), (200, "authorization,content-type"));
}

#[tokio::test]
async fn without_identities_tokens_are_not_read() {
    let server = Server::start().await;
    let connection = Connection::open(server.address()).await;
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    for value in ["Bearer nonsense", "nonsense", ""] {
        let head = Head::path(&format!("{LIVESTREAMS}CreateLivestream")).with("authorization", value);
        assert_eq!(connection.unary(head, &create).await.status(), "0", "{value:?}");
    }
}

#[tokio::test]
async fn a_token_is_read_for_each_call() {
    let world = World::new().await;
    world.issue("passing", Identity { expires_at: Some(super::fixture::NOW + 1), ..super::fixture::viewer(2) });
    assert_eq!(outcome(&world, &[("authorization", "Bearer passing")]).await, Ok(()));
    world.set_clock(super::fixture::NOW + 1);
    let expired = Err(Fault::new(Code::Unauthenticated, "TOKEN_EXPIRED"));
    assert_eq!(outcome(&world, &[("authorization", "Bearer passing")]).await, expired);
    // Another caller on the same connection is nobody else's.
    world.issue("nothing", node(9, Vec::new()));
    let denied = Err(Fault::new(Code::PermissionDenied, "NOT_GRANTED"));
    assert_eq!(outcome(&world, &[("authorization", "Bearer nothing")]).await, denied);
    assert_eq!(outcome(&world, &[("authorization", "Bearer viewer")]).await, Ok(()));
}

#[tokio::test]
async fn real_tokens_open_the_server_of_mode_jwt() {
    let (server, signer, _keys) = jwt_server(|_| {}).await;
    let now = starling::clock::Clock::system().wall() / 1_000;
    let minted = |sub: &str, exp: u64, may: &[&str]| {
        let claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": sub, "iat": now - 100, "exp": exp,
            "starling": { "grants": [{ "livestreams": ["7"], "may": may }] },
        });
        signer.sign(Some("dev"), &claims).unwrap()
    };
    let connection = Connection::open(server.address()).await;
    let create = async |token: &str| {
        let head = Head::path(&format!("{LIVESTREAMS}CreateLivestream"));
        let request = pb::CreateLivestreamRequest { livestream_id: THERE, ..Default::default() };
        connection.unary(head.with("authorization", format!("Bearer {token}")), &request).await
    };
    let unauthenticated = |reason| Fault::new(Code::Unauthenticated, reason);
    assert_eq!(create(&minted("1", now - 50, &["create"])).await.fault(), unauthenticated("TOKEN_EXPIRED"));
    let good = minted("1", now + 600, &["create"]);
    assert_eq!(create(&good[..good.len() - 4]).await.fault(), unauthenticated("TOKEN_INVALID"));
    let denied = Fault::new(Code::PermissionDenied, "NOT_GRANTED");
    assert_eq!(create(&minted("1", now + 600, &["join"])).await.fault(), denied);
    let answer = create(&good).await;
    let made = pb::CreateLivestreamResponse::decode(answer.messages[0].clone()).unwrap().livestream.unwrap();
    assert_eq!(made.broadcaster_node_id, 1);
}

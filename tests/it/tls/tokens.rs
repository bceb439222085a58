//! Certificates of clients beside tokens: whom a call is from when there are both, one, or neither.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use starling::clock::Clock;
use starling::config::ClientAuth;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{GoodbyeReason, RenewToken};

use crate::edge::identity::expiry::said;
use crate::edge::identity::fixture::{LIVESTREAMS, THERE, jwt_server};
use crate::edge::identity::refusal::{Refusal, Row};
use crate::edge::updates::opening;
use crate::harness::Server;
use crate::net::frames::framed;
use crate::net::rules::raw::{Answer, Connection, Head};
use crate::tls::authority::{Authority, Dialect, Files};

const NODE: &str = "starling://node/7";
const ADMIN: &str = "starling://admin";
/// A name that means nothing to the server.
const SOMEBODY: &str = "https://somebody.example/";

/// A call that joins livestream 7: what is tried, by whose certificate, with which token, as which node.
struct Attempt {
    row: Row,
    certificate: Option<&'static str>,
    token: Option<&'static str>,
    node_id: u64,
}

const fn attempt(
    attack: &'static str,
    certificate: Option<&'static str>,
    token: Option<&'static str>,
    node_id: u64,
    refusal: Refusal,
) -> Attempt {
    Attempt { row: Row { attack, refusal }, certificate, token, node_id }
}

/// `two` is a token of node 2 that may join, `nothing` one of node 7 that may do nothing; `forged` is none.
const ATTEMPTS: &[Attempt] = &[
    attempt("SAN mismatch: a certificate of one node, a call as another", Some(NODE), None, 2, Refusal::NOT_YOUR_NODE),
    attempt("a certificate of one node with a token of another", Some(NODE), Some("two"), 7, Refusal::NOT_YOUR_NODE),
    attempt("a certificate of a node with a forged token", Some(NODE), Some("forged"), 7, Refusal::INVALID),
    attempt(
        "a certificate of a node with its token that may do nothing",
        Some(NODE),
        Some("nothing"),
        7,
        Refusal::NOT_GRANTED,
    ),
    attempt(
        "an administrator's certificate with a token of one node",
        Some(ADMIN),
        Some("two"),
        7,
        Refusal::NOT_YOUR_NODE,
    ),
    attempt("a certificate that names nobody, without a token", Some(SOMEBODY), None, 7, Refusal::MISSING),
    attempt("neither certificate nor token", None, None, 7, Refusal::MISSING),
];

const OVER: Row = Row { attack: "a connection that is open when its certificate expires", refusal: Refusal::EXPIRED };

pub(crate) fn rows() -> Vec<Row> {
    ATTEMPTS.iter().map(|attempt| attempt.row).collect()
}

pub(crate) fn over_rows() -> Vec<Row> {
    vec![OVER]
}

const PROLONGED: Row = Row {
    attack: "a publish stream is renewed by any token past the end of its certificate, where identities are off",
    refusal: Refusal::EXPIRED,
};

pub(crate) fn prolonged_rows() -> Vec<Row> {
    vec![PROLONGED]
}

/// When the certificates of the tests end: with the year 2099.
const END: u64 = 4_102_444_800_000;

async fn connect(server: &Server, servers: &Authority, clients: &Authority, name: Option<&str>) -> Connection {
    let own = name.map(|name| clients.client(name));
    Connection::over(Dialect { own, ..Dialect::default() }.connect(server.address(), servers).await.unwrap()).await
}

async fn join(connection: &Connection, token: Option<&str>, node_id: u64) -> Answer {
    let head = Head::path(&format!("{LIVESTREAMS}JoinLivestream"));
    let head = match token {
        Some(token) => head.with("authorization", format!("Bearer {token}")),
        None => head,
    };
    connection.unary(head, &pb::JoinLivestreamRequest { livestream_id: THERE, node_id, ..Default::default() }).await
}

async fn viewers(admin: &Connection) -> Vec<bytes::Bytes> {
    let list = pb::ListViewersRequest { livestream_id: THERE, ..Default::default() };
    let answer = admin.unary(Head::path(&format!("{LIVESTREAMS}ListViewers")), &list).await;
    assert_eq!(answer.status(), "0");
    answer.messages
}

#[tokio::test]
async fn a_token_counts_before_the_certificate() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let (server, signer, _keys) = jwt_server(|config| files.ask(config, &clients, ClientAuth::Optional)).await;
    let now = Clock::system().wall() / 1_000;
    let minted = |sub: &str, may: &[&str]| {
        let grants = serde_json::json!([{ "livestreams": "*", "may": may }]);
        let claims = serde_json::json!({
            "iss": "us", "aud": "starling", "sub": sub, "iat": now - 100, "exp": now + 600,
            "starling": { "grants": grants },
        });
        signer.sign(Some("dev"), &claims).unwrap()
    };
    let (two, nothing) = (minted("2", &["join"]), minted("7", &[]));
    let admin = connect(&server, &servers, &clients, Some(ADMIN)).await;
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    assert_eq!(admin.unary(Head::path(&format!("{LIVESTREAMS}CreateLivestream")), &create).await.status(), "0");
    let before = viewers(&admin).await;
    for Attempt { row: Row { attack, refusal }, certificate, token, node_id } in ATTEMPTS {
        let connection = connect(&server, &servers, &clients, *certificate).await;
        let token = token.map(|token| match token {
            "two" => two.as_str(),
            "nothing" => nothing.as_str(),
            forged => forged,
        });
        assert_eq!(join(&connection, token, *node_id).await.fault(), refusal.fault(), "{attack}");
        assert!(viewers(&admin).await == before, "it changes nothing: {attack}");
    }
    // Each by itself is as good as it says.
    let node = connect(&server, &servers, &clients, Some(NODE)).await;
    assert_eq!(join(&node, None, 7).await.status(), "0");
    assert_eq!(join(&node, Some(&two), 2).await.status(), "0", "the token is whose the call is");
}

#[tokio::test]
async fn certificate_that_expires_ends_its_calls() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    let wall = Arc::new(AtomicU64::new(Clock::system().wall()));
    let shown = Arc::clone(&wall);
    let clock = Clock::over(move || shown.load(Ordering::Relaxed));
    let server = Server::over(clock, |config| files.ask(config, &clients, ClientAuth::Required)).await;
    let admin = connect(&server, &servers, &clients, Some(SOMEBODY)).await;
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
    assert_eq!(admin.unary(Head::path(&format!("{LIVESTREAMS}CreateLivestream")), &create).await.status(), "0");
    let node = connect(&server, &servers, &clients, Some(NODE)).await;
    assert_eq!(join(&node, None, 7).await.status(), "0");
    wall.store(END, Ordering::Relaxed);
    let before = viewers(&admin).await;
    assert_eq!(join(&node, None, 7).await.fault(), OVER.refusal.fault());
    assert!(viewers(&admin).await == before, "it changes nothing");
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_certificate() {
    let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
    let files = Files::new(&servers.server(1));
    // The wall clock stands.
    let clock = Clock::over(|| END - 1_000);
    let server = Server::over(clock, |config| files.ask(config, &clients, ClientAuth::Required)).await;
    let node = connect(&server, &servers, &clients, Some(NODE)).await;
    let path = |method: &str| Head::path(&format!("{LIVESTREAMS}{method}"));
    let create = pb::CreateLivestreamRequest { livestream_id: THERE, ..Default::default() };
    assert_eq!(node.unary(path("CreateLivestream"), &create).await.status(), "0");
    let start = pb::StartLivestreamRequest { livestream_id: THERE, ..Default::default() };
    assert_eq!(node.unary(path("StartLivestream"), &start).await.status(), "0");
    let open = Message::Open(opening(THERE, 7));
    let renew = Message::Renew(RenewToken { token: "anything".to_owned() });
    let mut exchange = node.begin(path("PublishUpdates"), false).await;
    for message in [open, renew] {
        exchange.send(framed(&pb::PublishUpdatesRequest { message: Some(message) }), false);
    }
    let mut incoming = exchange.answering().await;
    assert!(matches!(said(&mut incoming).await, Some(Event::Opened(_))));
    let Some(Event::Renewed(renewed)) = said(&mut incoming).await else { panic!("any token will do") };
    let ends = renewed.expire_time.expect("it ends with the certificate").seconds;
    assert!(u64::try_from(ends).unwrap() * 1_000 <= END, "{ends}");
    let Some(Event::Goodbye(goodbye)) = said(&mut incoming).await else { panic!("it ends") };
    assert_eq!(goodbye.reason(), GoodbyeReason::TokenExpired);
    assert_eq!(incoming.whole().await.fault(), PROLONGED.refusal.fault());
}

//! Revocations: whose tokens are refused, and which. The edge is called without a connection where identities are on.

use std::sync::Arc;
use std::time::Duration;

use prost_types::Timestamp;
use starling::clock::Clock;
use starling::cluster::CommandLog;
use starling::grpc::authentication::Authentication;
use starling::grpc::{Edge, Settings, Told};
use starling::identity::Identity;
use starling::pb::swarm::v1 as pb;
use starling::pb::swarm::v1::server_service_server::ServerService;
use starling::service::{self, Service, TokenTimes};
use starling::shutdown::Shutdown;
use starling::store::{self, Store};
use starling_client::pb::swarm::v1 as client;
use starling_client::pb::swarm::v1::server_service_client::ServerServiceClient;
use starling_core::NodeId;
use tonic::Code::FailedPrecondition;
use tonic::{Request, Response, Status};

use crate::harness::{Fault, Server, fault};

/// What the wall clock says.
const NOW: u64 = 1_800_000_000_250;

fn timestamp(ms: u64) -> Timestamp {
    let nanos = i32::try_from(ms % 1_000).unwrap() * 1_000_000;
    Timestamp { seconds: i64::try_from(ms / 1_000).unwrap(), nanos }
}

/// A service where tokens live for a minute, by clocks that differ by five seconds at most, and its edge.
fn with_tokens() -> (Service, Edge) {
    let store = Arc::new(Store::new(store::Settings {
        shards: 1,
        event_log_revisions: 1,
        event_log_bytes: 1 << 10,
        event_logs_bytes: 1 << 20,
        ring_bytes: 1 << 20,
        feed_memory_bytes: 1 << 20,
        state_bytes: 1 << 20,
        creators: store::CreatorShares::UNLIMITED,
    }));
    let tokens = Some(TokenTimes { max_age_ms: 60_000, leeway_ms: 5_000 });
    let settings = service::Settings { max_swarms: 1, retention_ms: 0, empty_group_ms: 0, tokens };
    let service = Service::new(CommandLog::local(store, Clock::over(|| NOW)), settings);
    let told = Told {
        max_swarms: 1,
        event_log_revisions: 1,
        retention: Duration::ZERO,
        empty_group: Duration::ZERO,
        grpc_web: false,
        reflection: false,
    };
    let settings = Settings {
        list_page: 2,
        payload_bytes: 1,
        chat_payload_bytes: 1,
        heartbeat: Duration::from_secs(1),
        max_age: Duration::ZERO,
        drain_spread: Duration::ZERO,
        receive_bytes: 1,
        publish_receive_bytes: 1,
        max_id: 1_000,
        told,
    };
    let edge = Edge::new(service.clone(), settings, Authentication::off(), Shutdown::new());
    (service, edge)
}

/// A request of somebody who may do everything.
fn asked<R>(request: R) -> Request<R> {
    let mut request = Request::new(request);
    request.extensions_mut().insert(Arc::new(Identity::ANYBODY));
    request
}

async fn revoke(edge: &Edge, subject_node_id: u64, issued_before: Option<u64>) -> Result<pb::Revocation, Status> {
    let issued_before = issued_before.map(timestamp);
    let request = pb::RevokeTokensRequest { subject_node_id, issued_before };
    Ok(edge.revoke_tokens(asked(request)).await?.into_inner().revocation.unwrap())
}

async fn list(edge: &Edge, page_token: &str) -> Result<pb::ListRevocationsResponse, Status> {
    let request = pb::ListRevocationsRequest { page_size: 0, page_token: page_token.to_owned() };
    edge.list_revocations(asked(request)).await.map(Response::into_inner)
}

#[tokio::test]
async fn without_identities_there_is_nothing_to_revoke() {
    let server = Server::start().await;
    let mut services = ServerServiceClient::new(server.client().await.channel);
    let off = Fault::new(FailedPrecondition, "IDENTITY_OFF");
    let revoke = |subject_node_id| client::RevokeTokensRequest { subject_node_id, issued_before: None };
    assert_eq!(fault(services.revoke_tokens(revoke(2)).await), off);
    assert_eq!(fault(services.list_revocations(client::ListRevocationsRequest::default()).await), off);
    assert_eq!(fault(services.revoke_tokens(revoke(0)).await), Fault::field("subject_node_id"), "fields come first");
}

#[tokio::test]
async fn tokens_are_refused_once_revocation_is_answered() {
    let (service, edge) = with_tokens();
    let (node, revocations) = (NodeId::new(2).unwrap(), service.revocations());
    assert!(!revocations.refuses(node, 0));
    let first = revoke(&edge, 2, None).await.unwrap();
    assert_eq!((first.subject_node_id, first.issued_before), (2, Some(timestamp(NOW))));
    assert_eq!([NOW - 1, NOW].map(|at| revocations.refuses(node, at)), [true, false]);
    // The last of these tokens may have been issued just before, by a clock that is behind.
    let forgotten = first.expire_time.unwrap();
    assert!((forgotten.seconds - 1_800_000_065).abs() <= 1, "{forgotten}");
    // It reaches as far ahead as clocks differ, and never back.
    let ahead = revoke(&edge, 2, Some(NOW + 5_000)).await.unwrap();
    assert_eq!(ahead.issued_before, Some(timestamp(NOW + 5_000)));
    let again = revoke(&edge, 2, Some(1)).await.unwrap();
    assert_eq!(again, ahead);
    assert!(revocations.refuses(node, NOW + 4_999));
    // What no token can be as old as is not kept.
    revoke(&edge, 3, Some(NOW - 65_001)).await.unwrap();
    assert!(!revocations.refuses(NodeId::new(3).unwrap(), 0));
    assert_eq!(list(&edge, "").await.unwrap().revocations, [ahead]);
}

#[tokio::test]
async fn malformed_revocations_are_refused_by_field() {
    let (_, edge) = with_tokens();
    let field = |status: Status| Fault::of(&status).field.unwrap_or_default();
    assert_eq!(field(revoke(&edge, 0, None).await.unwrap_err()), "subject_node_id");
    assert_eq!(field(revoke(&edge, 1_001, None).await.unwrap_err()), "subject_node_id", "above limits.max_id");
    assert_eq!(field(revoke(&edge, 2, Some(NOW + 6_000)).await.unwrap_err()), "issued_before");
    for (seconds, nanos) in [(-1, 0), (5, -1), (5, 1_000_000_000), (i64::MAX, 0)] {
        let request = pb::RevokeTokensRequest { subject_node_id: 2, issued_before: Some(Timestamp { seconds, nanos }) };
        let refused = edge.revoke_tokens(asked(request)).await.unwrap_err();
        assert_eq!(field(refused), "issued_before", "{seconds} {nanos}");
    }
    assert_eq!(field(list(&edge, "not a token").await.unwrap_err()), "page_token");
    assert_eq!(list(&edge, "").await.unwrap().revocations, []);
}

#[tokio::test]
async fn revocations_are_listed_page_by_page() {
    let (_, edge) = with_tokens();
    for node in [5, 1, 4, 2, 3] {
        revoke(&edge, node, None).await.unwrap();
    }
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = list(&edge, &token).await.unwrap();
        assert!(page.revocations.len() <= 2);
        listed.extend(page.revocations.iter().map(|revocation| revocation.subject_node_id));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [1, 2, 3, 4, 5]);
}

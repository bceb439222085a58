use std::sync::Arc;

use prost_types::Timestamp;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::*;
use crate::clock::Clock;
use crate::cluster::CommandLog;
use crate::grpc::{Settings, Told};
use crate::service::{self, Service, TokenTimes};
use crate::shutdown::Shutdown;
use crate::store::{self, Store};

/// What the wall clock says.
const NOW: u64 = 1_800_000_000_250;

/// An edge where tokens live for a minute, by clocks that differ by five seconds at most.
fn edge(tokens: Option<TokenTimes>) -> Edge {
    let store = Arc::new(Store::new(store::Settings {
        shards: 1,
        event_log_revisions: 1,
        event_log_bytes: 1 << 10,
        event_logs_bytes: 1 << 20,
        ring_bytes: 1 << 20,
        feed_memory_bytes: 1 << 20,
        state_bytes: 1 << 20,
        state_address_bytes: 1 << 20,
    }));
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
    Edge::new(service, settings, Shutdown::new())
}

fn with_tokens() -> Edge {
    edge(Some(TokenTimes { max_age_ms: 60_000, leeway_ms: 5_000 }))
}

async fn revoke(edge: &Edge, subject_node_id: u64, issued_before: Option<u64>) -> Result<pb::Revocation, Status> {
    let issued_before = issued_before.map(convert::timestamp);
    let request = pb::RevokeTokensRequest { subject_node_id, issued_before };
    Ok(edge.revoke_tokens(Request::new(request)).await?.into_inner().revocation.unwrap())
}

async fn list(edge: &Edge, page_token: &str) -> Result<pb::ListRevocationsResponse, Status> {
    let request = pb::ListRevocationsRequest { page_size: 0, page_token: page_token.to_owned() };
    edge.list_revocations(Request::new(request)).await.map(Response::into_inner)
}

fn reason(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().unwrap().reason.clone())
}

#[tokio::test]
async fn without_identities_there_is_nothing_to_revoke() {
    let edge = edge(None);
    let off = (Code::FailedPrecondition, "IDENTITY_OFF".to_owned());
    assert_eq!(reason(&revoke(&edge, 2, None).await.unwrap_err()), off);
    assert_eq!(reason(&list(&edge, "").await.unwrap_err()), off);
    assert_eq!(reason(&revoke(&edge, 0, None).await.unwrap_err()).1, "INVALID_FIELD", "fields come first");
}

#[tokio::test]
async fn tokens_are_refused_once_revocation_is_answered() {
    let edge = with_tokens();
    let (node, revocations) = (NodeId::new(2).unwrap(), Arc::clone(edge.service.revocations()));
    assert!(!revocations.refuses(node, 0));
    let first = revoke(&edge, 2, None).await.unwrap();
    assert_eq!((first.subject_node_id, first.issued_before), (2, Some(convert::timestamp(NOW))));
    assert_eq!([NOW - 1, NOW].map(|at| revocations.refuses(node, at)), [true, false]);
    // The last of these tokens may have been issued just before, by a clock that is behind.
    let forgotten = first.expire_time.unwrap();
    assert!((forgotten.seconds - 1_800_000_065).abs() <= 1, "{forgotten}");
    // It reaches as far ahead as clocks differ, and never back.
    let ahead = revoke(&edge, 2, Some(NOW + 5_000)).await.unwrap();
    assert_eq!(ahead.issued_before, Some(convert::timestamp(NOW + 5_000)));
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
    let edge = with_tokens();
    let field = |status: Status| status.get_error_details().bad_request().unwrap().field_violations[0].field.clone();
    assert_eq!(field(revoke(&edge, 0, None).await.unwrap_err()), "subject_node_id");
    assert_eq!(field(revoke(&edge, 1_001, None).await.unwrap_err()), "subject_node_id", "above limits.max_id");
    assert_eq!(field(revoke(&edge, 2, Some(NOW + 6_000)).await.unwrap_err()), "issued_before");
    for (seconds, nanos) in [(-1, 0), (5, -1), (5, 1_000_000_000), (i64::MAX, 0)] {
        let request = pb::RevokeTokensRequest { subject_node_id: 2, issued_before: Some(Timestamp { seconds, nanos }) };
        let refused = edge.revoke_tokens(Request::new(request)).await.unwrap_err();
        assert_eq!(field(refused), "issued_before", "{seconds} {nanos}");
    }
    assert_eq!(field(list(&edge, "not a token").await.unwrap_err()), "page_token");
    assert_eq!(list(&edge, "").await.unwrap().revocations, []);
}

#[tokio::test]
async fn revocations_are_listed_page_by_page() {
    let edge = with_tokens();
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

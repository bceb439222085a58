//! gRPC-Web: what a browser sends and reads, by hand over HTTP/1.1.

use starling_client::pb::livestream::v1::{self as pb, watch_livestream_response::Event as Told};
use starling_client::pb::swarm::v1::GoodbyeReason;

use crate::edge::world::{answered, end, go_live};
use crate::exchange::Exchange;
use crate::harness::Server;

#[tokio::test]
async fn a_browser_calls_a_method() {
    let server = Server::start().await;
    let create = pb::CreateLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() };
    let mut exchange = Exchange::call(&server, "CreateLivestream", create).await;
    assert_eq!((exchange.status, exchange.header("content-type")), (200, "application/grpc-web+proto"));
    assert_eq!(exchange.header("access-control-allow-origin"), "*");
    let exposed = exchange.header("access-control-expose-headers").to_owned();
    for name in ["grpc-status", "grpc-message", "grpc-status-details-bin"] {
        assert!(exposed.contains(name), "a page may read {name}: {exposed}");
    }
    let made: pb::CreateLivestreamResponse = exchange.message().await;
    assert!(made.created);
    exchange.ends_with("0").await;
}

#[tokio::test]
async fn browser_is_told_why_a_call_fails() {
    let server = Server::start().await;
    let get = pb::GetLivestreamRequest { livestream_id: 99, ..Default::default() };
    let mut exchange = Exchange::call(&server, "GetLivestream", get).await;
    assert_eq!(exchange.status, 200);
    let trailers = exchange.refused().await;
    assert_eq!(trailers["grpc-status"], "5");
    assert!(trailers.contains_key("grpc-message") && trailers.contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn malformed_web_messages_are_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    let before = crate::edge::world::everything(&client).await;
    // No field has the number 0; a length beyond the end; flags that mean nothing; half a message.
    for body in [&[0, 0, 0, 0, 2, 0, 0][..], &[0, 0, 0, 0, 2, 0x22, 9], &[7, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 1]] {
        let mut exchange = Exchange::post(&server, "CreateLivestream", body).await;
        assert_eq!(exchange.status, 200);
        assert_ne!(exchange.refused().await["grpc-status"], "0", "{body:?}");
    }
    assert!(before == crate::edge::world::everything(&client).await, "what is no message changes nothing");
}

#[tokio::test]
async fn a_browser_watches_a_livestream_to_its_end() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let watch = pb::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut exchange = Exchange::call(&server, "WatchLivestream", watch).await;
    assert_eq!(exchange.status, 200);
    let first: pb::WatchLivestreamResponse = exchange.message().await;
    assert!(matches!(first.event, Some(Told::Reset(_))), "{first:?}");
    loop {
        let next: pb::WatchLivestreamResponse = exchange.message().await;
        if matches!(next.event, Some(Told::SnapshotComplete(_))) {
            break;
        }
    }
    // Each message comes when it happens, not when the stream ends.
    crate::edge::world::join_livestream(&client, 7, 2).await;
    let joined: pb::WatchLivestreamResponse = exchange.message().await;
    let Some(Told::Batch(joined)) = joined.event else { panic!("{joined:?}") };
    assert_eq!(joined.events.len(), 1);
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    loop {
        let next: pb::WatchLivestreamResponse = exchange.message().await;
        if let Some(Told::Goodbye(goodbye)) = next.event {
            assert_eq!(goodbye.reason(), GoodbyeReason::Ended);
            break;
        }
    }
    exchange.ends_with("0").await;
}

#[tokio::test]
async fn disabled_grpc_web_refuses_browsers() {
    let server = Server::with(|config| config.server.grpc_web = false).await;
    go_live(&server.client().await, 7).await;
    let get = pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() };
    let exchange = Exchange::call(&server, "GetLivestream", get).await;
    assert!(exchange.status != 200 || exchange.header("grpc-status") != "0", "{:?}", exchange.headers);
    assert_eq!(exchange.header("access-control-allow-origin"), "");
}

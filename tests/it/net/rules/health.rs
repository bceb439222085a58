//! The health protocol.

use prost::Message;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::raw::{Connection, Exchange, Head, Incoming};
use crate::harness::{Server, soon};
use crate::net::fixture::until;
use crate::net::frames::framed;

const SERVICES: [&str; 3] = ["", "starling.livestream.v1.LivestreamService", "starling.group.v1.GroupService"];

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

fn status(message: bytes::Bytes) -> ServingStatus {
    HealthCheckResponse::decode(message).unwrap().status()
}

async fn watch(connection: &Connection, service: &str) -> (Exchange, Incoming) {
    let mut exchange = connection.begin(Head::path("/grpc.health.v1.Health/Watch"), false).await;
    exchange.send(framed(&about(service)), true);
    let answer = exchange.answering().await;
    (exchange, answer)
}

#[tokio::test]
async fn each_service_is_checked_and_watched() {
    let server = Server::with(|config| config.drain.spread = std::time::Duration::from_secs(1)).await;
    let connection = Connection::open(server.address()).await;
    let mut watches = Vec::new();
    for service in SERVICES {
        let check = connection.unary(Head::path("/grpc.health.v1.Health/Check"), &about(service)).await;
        assert_eq!(check.status(), "0");
        assert_eq!(status(check.messages[0].clone()), ServingStatus::Serving, "{service:?}");
        let (exchange, mut watch) = watch(&connection, service).await;
        assert_eq!(status(watch.message().await.unwrap()), ServingStatus::Serving);
        watches.push((exchange, watch));
    }
    server.shutdown().await;
    for (_, watch) in &mut watches {
        assert_eq!(status(watch.message().await.unwrap()), ServingStatus::NotServing, "once");
        assert_eq!(watch.message().await, None);
    }
}

#[tokio::test]
async fn an_unknown_service_is_not_found_or_watched() {
    let server = Server::start().await;
    let connection = Connection::open(server.address()).await;
    let check = connection.unary(Head::path("/grpc.health.v1.Health/Check"), &about("other.Service")).await;
    assert_eq!(check.fault().code, Code::NotFound);
    let (_exchange, mut watch) = watch(&connection, "other.Service").await;
    assert_eq!(watch.status.as_u16(), 200);
    assert_eq!(status(watch.message().await.unwrap()), ServingStatus::ServiceUnknown);
    // It stays open until the server goes, and then says nothing else.
    server.drain();
    assert_eq!(soon(watch.message()).await, None);
    until(|| server.open_streams() == 0).await;
}

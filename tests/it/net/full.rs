//! As many connections as there may be: who makes room, who is refused, and that health still answers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use h2::RecvStream;
use http::Response;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::harness::{Fault, PATIENCE, Server, retry_delay, soon};
use crate::net::connections::{PREFACE, closed, is_served};
use crate::net::frames::{WIDE, Wire};

const HEALTH: &str = "grpc.health.v1.Health";

fn list() -> pb::ListLivestreamsRequest {
    pb::ListLivestreamsRequest::default()
}

/// What an answer without messages says.
fn refusal(answer: &Response<RecvStream>) -> Option<Status> {
    Status::from_header_map(answer.headers()).filter(|status| status.code() != Code::Ok)
}

/// A connection that carries a stream for as long as the answer is kept.
async fn watching(mut wire: Wire) -> (Wire, Response<RecvStream>) {
    let answer = wire.call("WatchLivestreams", &pb::WatchLivestreamsRequest::default()).await.unwrap();
    assert!(refusal(&answer).is_none());
    (wire, answer)
}

async fn health(address: SocketAddr) -> ServingStatus {
    let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect().await.unwrap();
    soon(HealthClient::new(channel).check(HealthCheckRequest::default())).await.unwrap().into_inner().status()
}

async fn calls(wire: &mut Wire) {
    assert!(refusal(&wire.call("ListLivestreams", &list()).await.unwrap()).is_none());
}

#[tokio::test]
async fn idle_connections_keep_nobody_out() {
    const MANY: usize = 60;
    let server = Server::with(|config| config.server.max_connections = MANY).await;
    let (mut silent, mut hesitant, mut used) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..MANY / 3 {
        silent.push(TcpStream::connect(server.address()).await.unwrap());
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(PREFACE).await.unwrap();
        hesitant.push(socket);
        let mut wire = Wire::connect(server.address(), WIDE).await;
        calls(&mut wire).await;
        used.push(wire);
    }
    let mut new = Vec::new();
    for _ in 0..25 {
        let mut wire = Wire::connect(server.address(), WIDE).await;
        calls(&mut wire).await;
        new.push(wire);
    }
    // Nobody of them had to make room for another.
    for wire in &mut new {
        calls(wire).await;
    }
    // Those that came first did, and one that had called before was told so in order.
    closed(silent.remove(0)).await;
    closed(hesitant.remove(0)).await;
    used.remove(0).ended().await.expect("it is told to go");
}

#[tokio::test]
async fn longest_idle_goes_and_streams_stay() {
    let server = Server::with(|config| config.server.max_connections = 3).await;
    let (mut first, _stream) = watching(Wire::connect(server.address(), WIDE).await).await;
    let second = Wire::connect(server.address(), WIDE).await;
    let _third = Wire::connect(server.address(), WIDE).await;
    let mut fourth = Wire::connect(server.address(), WIDE).await;
    calls(&mut fourth).await;
    second.ended().await.expect("it is told to go");
    calls(&mut first).await;
}

#[tokio::test]
async fn connections_beyond_those_with_streams_are_refused() {
    let server = Server::with(|config| {
        config.server.max_connections = 3;
        config.server.health_listen = Some((Ipv4Addr::LOCALHOST, 0).into());
    })
    .await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        watchers.push(watching(Wire::connect(server.address(), WIDE).await).await);
    }
    for _ in 0..10 {
        closed(TcpStream::connect(server.address()).await.unwrap()).await;
        assert_eq!(health(server.health_address()).await, ServingStatus::Serving);
    }
    // Those that are in notice nothing.
    for (wire, _) in &mut watchers {
        calls(wire).await;
    }
    // One without its stream makes room.
    drop(watchers.remove(0).1);
    soon(async { while !is_served(&server.url()).await {} }).await;
}

#[tokio::test]
async fn address_beyond_its_share_is_refused_calls() {
    let server = Server::with(|config| config.server.max_connections_per_address = 2).await;
    let address = |last| IpAddr::from([127, 0, 0, last]);
    let mut first = watching(Wire::connect_from(address(2), server.address()).await).await;
    let second = watching(Wire::connect_from(address(2), server.address()).await).await;
    let mut third = Wire::connect_from(address(2), server.address()).await;
    let answer = third.call("ListLivestreams", &list()).await.unwrap();
    let refused = refusal(&answer).expect("it is refused");
    assert_eq!(Fault::of(&refused), Fault::new(Code::ResourceExhausted, "TOO_MANY_CONNECTIONS"));
    assert!(retry_delay(&refused).is_some());
    // Health is asked by whoever restarts what does not answer.
    let check = third.call_of(HEALTH, "Check", &HealthCheckRequest::default()).await.unwrap();
    assert!(refusal(&check).is_none());
    // More calls of those that have some, and other addresses, are served.
    calls(&mut first.0).await;
    let mut other = Wire::connect_from(address(3), server.address()).await;
    calls(&mut other).await;
    // The share is free again with the last stream of a connection.
    drop(second);
    soon(async { while refusal(&third.call("ListLivestreams", &list()).await.unwrap()).is_some() {} }).await;
}

#[tokio::test]
async fn health_port_serves_health_alone() {
    let server = Server::with(|config| config.server.health_listen = Some((Ipv4Addr::LOCALHOST, 0).into())).await;
    let mut wire = Wire::connect(server.health_address(), WIDE).await;
    let answer = wire.call("ListLivestreams", &list()).await.unwrap();
    assert_eq!(refusal(&answer).map(|status| status.code()), Some(Code::Unimplemented));
    let watch = wire.call_of(HEALTH, "Watch", &HealthCheckRequest::default()).await.unwrap();
    assert!(refusal(&watch).is_none());
    let mut told = watch.into_body();
    assert!(soon(told.data()).await.expect("the state of now").is_ok());
    // However many watch, the next one that asks is answered.
    let mut watchers = vec![(wire, told)];
    for _ in 0..starling::grpc::server::HEALTH_CONNECTIONS {
        let mut wire = Wire::connect(server.health_address(), WIDE).await;
        let watch = wire.call_of(HEALTH, "Watch", &HealthCheckRequest::default()).await.unwrap();
        watchers.push((wire, watch.into_body()));
    }
    assert_eq!(health(server.health_address()).await, ServingStatus::Serving);
}

#[tokio::test]
async fn health_port_answers_through_the_drain() {
    let server = Server::with(|config| {
        config.server.health_listen = Some((Ipv4Addr::LOCALHOST, 0).into());
        (config.drain.spread, config.drain.timeout) = (PATIENCE, 2 * PATIENCE);
    })
    .await;
    let (_wire, _stream) = watching(Wire::connect(server.address(), WIDE).await).await;
    assert_eq!(health(server.health_address()).await, ServingStatus::Serving);
    server.drain();
    soon(async { while health(server.health_address()).await != ServingStatus::NotServing {} }).await;
}

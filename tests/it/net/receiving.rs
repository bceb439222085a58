//! What comes in is bounded in bytes and in time: messages that are not whole, calls that are not
//! begun, streams that are open.

use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::client;
use http::{HeaderMap, Request};
use starling::config::Config;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::interval;
use tonic::{Code, Status};

use crate::harness::{Fault, Server, retry_delay, soon};
use crate::net::fixture::until;
use crate::net::frames::framed;
use crate::net::rules::raw::{Connection, Exchange, Head};

pub(crate) const MIB: usize = 1 << 20;
pub(crate) const PUBLISH: &str = "/starling.livestream.v1.LivestreamService/PublishUpdates";
const WEB: &str = "POST /starling.livestream.v1.LivestreamService/ListLivestreams HTTP/1.1\r\nhost: here\r\n\
                   content-type: application/grpc-web+proto\r\n";

/// The beginning of a message that announces so many bytes.
pub(crate) fn half(announced: usize) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(announced).unwrap());
    bytes.put_u8(0);
    bytes.freeze()
}

/// A call that has sent so much of its request.
pub(crate) async fn sending(connection: &Connection, head: Head, bytes: Bytes) -> Exchange {
    let mut call = connection.begin(head, false).await;
    if !bytes.is_empty() {
        call.send(bytes, false);
    }
    call
}

/// The largest message that may open a stream, but for a few bytes.
pub(crate) const FIRST: usize = 60_000;

/// So many calls whose first message has begun.
pub(crate) async fn half_sent(connection: &Connection, calls: usize) -> Vec<Exchange> {
    let mut all = Vec::new();
    for _ in 0..calls {
        all.push(sending(connection, Head::path(PUBLISH), half(FIRST)).await);
    }
    // In order on one connection: what was sent before was seen before.
    assert_eq!(lists(connection).await, "0");
    all
}

/// One more, without a look at what became of it.
pub(crate) async fn half_sent_one(connection: &Connection) -> Exchange {
    sending(connection, Head::path(PUBLISH), half(FIRST)).await
}

fn too_much() -> Fault {
    Fault::new(Code::ResourceExhausted, "CONNECTION_MEMORY")
}

fn too_late() -> Fault {
    Fault::new(Code::DeadlineExceeded, "RECEIVE_TIMEOUT")
}

pub(crate) async fn lists(connection: &Connection) -> String {
    connection.unary(Head::call("ListLivestreams"), &pb::ListLivestreamsRequest::default()).await.status().to_owned()
}

#[tokio::test]
async fn half_messages_beyond_their_share_are_refused() {
    let server = Server::with(|config| config.memory.receiving_connection_bytes = 2 * MIB).await;
    let connection = Connection::open(server.address()).await;
    let mut held = half_sent(&connection, 2 * MIB / FIRST).await;
    for path in [PUBLISH, "/starling.livestream.v1.LivestreamService/ListLivestreams"] {
        let answer = sending(&connection, Head::path(path), half(FIRST)).await.answer().await;
        assert_eq!(answer.fault(), too_much(), "{path}");
        let status = Status::from_header_map(answer.last()).unwrap();
        assert_eq!(retry_delay(&status), Some(Duration::from_secs(1)));
    }
    // What is whole at once needs no room, and what is given back serves others.
    assert_eq!(lists(&connection).await, "0");
    held[0].reset(h2::Reason::CANCEL);
    assert_eq!(lists(&connection).await, "0");
    let mut third = sending(&connection, Head::path(PUBLISH), half(FIRST)).await;
    third.send(vec![0; FIRST - 1], true);
    assert_eq!(third.answer().await.fault().code, Code::Internal, "it is no message of this method");
}

#[tokio::test]
async fn full_budget_cuts_who_holds_most() {
    let small = |config: &mut Config| {
        (config.memory.receiving_bytes, config.memory.receiving_connection_bytes) = (4 * MIB, 4 * MIB);
    };
    let server = Server::with(small).await;
    let (healthy, greedy) = (Connection::open(server.address()).await, Connection::open(server.address()).await);
    let mut one = half_sent(&healthy, 1).await.remove(0);
    let mut held = half_sent(&greedy, 3 * MIB / FIRST).await;
    let _others = half_sent(&healthy, MIB / FIRST - 1).await;
    assert!(one.poll_closed(&mut Context::from_waker(Waker::noop())).is_pending());
    // The next does not fit, and who asks for it holds less.
    let _last = sending(&healthy, Head::path(PUBLISH), half(FIRST)).await;
    for one in &mut held {
        soon(std::future::poll_fn(|cx| one.poll_closed(cx))).await;
    }
    assert!(one.poll_closed(&mut Context::from_waker(Waker::noop())).is_pending(), "it is served on");
    assert_eq!(lists(&healthy).await, "0");
}

#[tokio::test]
async fn streams_beyond_their_budget_are_refused() {
    let server = Server::with(|config| config.memory.streams_bytes = 25_000).await;
    let connection = Connection::open(server.address()).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(sending(&connection, Head::path(PUBLISH), Bytes::new()).await);
    }
    let list = pb::ListLivestreamsRequest::default();
    assert_eq!(connection.unary(Head::call("ListLivestreams"), &list).await.fault(), too_much());
    open.pop().unwrap().reset(h2::Reason::CANCEL);
    // A stream that was reset ends a moment later.
    soon(async { while lists(&connection).await != "0" {} }).await;
}

/// Messages must come within a second.
fn hasty(config: &mut Config) {
    config.streams.receive_timeout = Duration::from_secs(1);
    config.server.http2_keepalive_interval = Duration::from_secs(600);
}

#[tokio::test]
async fn requests_that_do_not_come_are_refused() {
    let server = Server::with(hasty).await;
    let connection = Connection::open(server.address()).await;
    let list = framed(&pb::ListLivestreamsRequest::default());
    let check = "/grpc.health.v1.Health/Check";
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let get = "/starling.livestream.v1.LivestreamService/GetLivestream";
    let mut calls = Vec::new();
    for (path, bytes) in [
        (PUBLISH, Bytes::new()),
        (PUBLISH, half(1_000)),
        (PUBLISH, Bytes::from_static(b"\0\0")),
        (get, Bytes::new()),
        (get, half(1_000)),
        (check, half(1_000)),
        (reflection, half(1_000)),
        ("/grpc.health.v1.Health/Watch", Bytes::new()),
        // All of the message, and no end.
        ("/starling.livestream.v1.LivestreamService/ListLivestreams", list),
    ] {
        calls.push((path, bytes.clone(), sending(&connection, Head::path(path), bytes).await));
    }
    for (path, bytes, mut call) in calls {
        let answer = call.answer().await;
        // Reflection, which is tonic's, ends without an error.
        if path != reflection {
            assert_eq!(answer.fault(), too_late(), "{path} {bytes:?}");
        }
    }
}

#[tokio::test]
async fn a_trickle_is_no_progress() {
    let server = Server::with(hasty).await;
    let connection = Connection::open(server.address()).await;
    let call = sending(&connection, Head::path(PUBLISH), half(8_192)).await;
    let mut ticks = interval(Duration::from_millis(200));
    let mut sent = 0;
    let answer = soon(async {
        let (mut body, response) = call.split();
        tokio::pin!(response);
        loop {
            tokio::select! {
                answer = &mut response => break answer,
                _ = ticks.tick() => {
                    sent += 1;
                    drop(body.send_data(Bytes::from_static(b"\0"), false));
                }
            }
        }
    });
    let head: HeaderMap = answer.await.unwrap().into_parts().0.headers;
    assert_eq!(Fault::of(&Status::from_header_map(&head).unwrap()), too_late());
    assert!(sent >= 15, "it has a second, and one more for each 4 KiB: {sent}");
}

#[tokio::test]
async fn silent_publisher_between_messages_is_left_alone() {
    let server = Server::with(hasty).await;
    let client = server.client().await;
    crate::net::fixture::go_live(&client, Duration::from_secs(60)).await;
    let connection = Connection::open(server.address()).await;
    let open = starling_client::pb::swarm::v1::UpdateChannel::Audio.into();
    let open = pb::publish_updates_request::Message::Open(pb::PublishOpen {
        livestream_id: 7,
        node_id: 1,
        channels: vec![open],
        ..Default::default()
    });
    let open = pb::PublishUpdatesRequest { message: Some(open) };
    let mut call = sending(&connection, Head::path(PUBLISH), framed(&open)).await;
    let mut events = call.answering().await;
    events.message().await.expect("it is opened");
    // Whoever owes a message from now on is refused before it.
    let mut late = sending(&connection, Head::path(PUBLISH), Bytes::new()).await;
    assert_eq!(late.answer().await.fault(), too_late());
    assert_eq!(server.open_streams(), 1);
}

/// All that a connection of HTTP/1 answers to this.
async fn answered(server: SocketAddr, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // Some of what was sent may not have been read when it is closed.
    drop(soon(socket.read_to_end(&mut answer)).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn http1_is_bound_like_http2() {
    let server = Server::with(hasty).await;
    let half = [format!("{WEB}content-length: 1000\r\n\r\n").as_bytes(), &half(995)].concat();
    let answer = answered(server.address(), &half).await;
    assert!(answer.contains("grpc-status: 4\r\n") || answer.contains("grpc-status:4\r\n"), "{answer}");
    let large = format!("{WEB}x-large: {}\r\n\r\n", "x".repeat(400 * 1024));
    let answer = answered(server.address(), large.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn what_nobody_takes_counts_as_received() {
    let small = |config: &mut Config| {
        (config.memory.receiving_bytes, config.memory.receiving_connection_bytes) = (3 * MIB, 2 * MIB);
    };
    let server = Server::with(small).await;
    let client = server.client().await;
    crate::net::fixture::go_live(&client, Duration::from_secs(60)).await;
    // Each asks for an answer that it gives no room, and may send as much as the window.
    let mut driving = JoinSet::new();
    let mut held = Vec::new();
    for _ in 0..4 {
        let socket = TcpStream::connect(server.address()).await.unwrap();
        let mut builder = client::Builder::new();
        let (send, connection) = soon(builder.initial_window_size(0).handshake::<_, Bytes>(socket)).await.unwrap();
        driving.spawn(async move { drop(connection.await) });
        let mut send = soon(send.ready()).await.unwrap();
        let reflection = "http://localhost/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        let head = Request::post(reflection).header("content-type", "application/grpc").body(()).unwrap();
        let (response, mut body) = send.send_request(head, false).unwrap();
        let request = tonic_reflection::pb::v1::ServerReflectionRequest {
            message_request: Some(tonic_reflection::pb::v1::server_reflection_request::MessageRequest::ListServices(
                String::new(),
            )),
            ..Default::default()
        };
        body.send_data(framed(&request), false).unwrap();
        held.push((send, response, body));
    }
    // The fourth is over the budget: one of them goes.
    soon(driving.join_next()).await.unwrap().unwrap();
    until(|| server.open_streams() == 0).await;
    assert_eq!(driving.len(), 3);
}

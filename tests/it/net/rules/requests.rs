//! What a request may be.

use bytes::Bytes;
use h2::Reason;
use http::Method;
use prost::Message;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code;

use super::raw::{Answer, Connection, Head};
use crate::harness::{Fault, Server};
use crate::net::frames::framed;

async fn connected() -> (Server, Connection) {
    let server = Server::start().await;
    let connection = Connection::open(server.address()).await;
    (server, connection)
}

fn create(livestream_id: u64) -> pb::CreateLivestreamRequest {
    pb::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() }
}

/// The empty list of livestreams, whatever else there is in the head.
async fn list(connection: &Connection, head: Head) -> Answer {
    connection.unary(head, &pb::ListLivestreamsRequest::default()).await
}

#[tokio::test]
async fn other_methods_are_refused_by_http() {
    let (_server, connection) = connected().await;
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let mut head = Head::call("ListLivestreams");
        head.method = method.clone();
        let answer = list(&connection, head).await;
        assert!(answer.http.as_u16() == 405 || method == Method::OPTIONS, "{method}: {answer:?}");
        assert!(answer.messages.is_empty(), "{method}: {answer:?}");
    }
}

#[tokio::test]
async fn paths_are_case_sensitive() {
    let (_server, connection) = connected().await;
    for path in [
        "/starling.livestream.v1.LivestreamService/listLivestreams",
        "/starling.livestream.v1.livestreamservice/ListLivestreams",
        "/starling.livestream.v1.LivestreamService/ListLivestreams/",
        "/starling.livestream.v1.LivestreamService/",
        "/ListLivestreams",
        "/",
    ] {
        let answer = list(&connection, Head::path(path)).await;
        assert_eq!((answer.http.as_u16(), answer.status()), (200, "12"), "{path}: {answer:?}");
        assert!(answer.trailers.is_none(), "trailers only: {answer:?}");
    }
}

#[tokio::test]
async fn a_call_without_te_is_answered() {
    let (_server, connection) = connected().await;
    let answer = list(&connection, Head::call("ListLivestreams").without("te")).await;
    assert_eq!(answer.status(), "0", "what a proxy took away harms nobody: {answer:?}");
}

#[tokio::test]
async fn other_content_types_are_refused_by_http() {
    let (_server, connection) = connected().await;
    for content in ["application/json", "application/grpcweb", "text/html", ""] {
        let answer = list(&connection, Head::call("ListLivestreams").but("content-type", content)).await;
        assert_eq!(answer.http.as_u16(), 415, "{content}: {answer:?}");
        assert_eq!(answer.status(), "none", "{content}: {answer:?}");
    }
    let answer = list(&connection, Head::call("ListLivestreams").without("content-type")).await;
    assert_eq!(answer.http.as_u16(), 415, "{answer:?}");
    for content in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        let answer = list(&connection, Head::call("ListLivestreams").but("content-type", content)).await;
        assert_eq!((answer.http.as_u16(), answer.status()), (200, "0"), "{content}: {answer:?}");
    }
}

#[tokio::test]
async fn unknown_and_odd_metadata_is_taken() {
    let (_server, connection) = connected().await;
    let head = Head::call("ListLivestreams")
        .with("x-unknown", "anything")
        .with("x-padded-bin", "YWI=")
        .with("x-unpadded-bin", "YWI")
        .with("x-two-bin", "YWI=,YWI")
        .with("x-not-base64-bin", "\"{}\"")
        .with("x-latin1", [0xe9, b' ', 0xff])
        .with("x-tab", "a\tb")
        .with("x-twice", "1")
        .with("x-twice", "2")
        .with("grpc-reserved", "later")
        .with("grpc-accept-encoding", "identity,gzip,nonsense")
        .with("grpc-message-type", "starling.livestream.v1.Nothing")
        .with("user-agent", "grpc-ruby-jruby/1.3.4 (x; y)");
    assert_eq!(list(&connection, head).await.status(), "0");
}

#[tokio::test]
async fn malformed_timeouts_are_refused() {
    let (_server, connection) = connected().await;
    for timeout in ["", "1", "S", "1s", "-1S", "1.5S", "123456789S", "1 S", "1SS", "0x1S"] {
        let answer = list(&connection, Head::call("ListLivestreams").with("grpc-timeout", timeout)).await;
        assert_eq!(answer.fault(), Fault::field("grpc-timeout"), "{timeout:?}");
    }
    let twice = Head::call("ListLivestreams").with("grpc-timeout", "1S").with("grpc-timeout", "2S");
    assert_eq!(list(&connection, twice).await.fault(), Fault::field("grpc-timeout"));
    for timeout in ["99999999H", "99999999n", "1M", "10S", "10000m", "10000000u"] {
        let answer = list(&connection, Head::call("ListLivestreams").with("grpc-timeout", timeout)).await;
        assert_eq!(answer.status(), "0", "{timeout:?}");
    }
}

#[tokio::test]
async fn a_compressed_flag_needs_an_encoding() {
    let (_server, connection) = connected().await;
    for encoding in [None, Some("identity")] {
        let mut head = Head::call("CreateLivestream");
        if let Some(encoding) = encoding {
            head = head.with("grpc-encoding", encoding);
        }
        let mut exchange = connection.begin(head, false).await;
        let mut message = framed(&create(7)).to_vec();
        message[0] = 1;
        exchange.send(message, true);
        assert_eq!(exchange.answer().await.status(), "13", "{encoding:?}");
    }
    assert!(!connection.exists(7).await);
}

#[tokio::test]
async fn an_unknown_encoding_is_unimplemented() {
    let (_server, connection) = connected().await;
    for encoding in ["gzip", "snappy"] {
        let head = Head::call("CreateLivestream").with("grpc-encoding", encoding);
        let answer = connection.unary(head, &create(7)).await;
        assert_eq!(answer.status(), "12", "{encoding}: {answer:?}");
        assert_eq!(answer.headers["grpc-accept-encoding"], "identity", "{answer:?}");
    }
    assert!(!connection.exists(7).await);
}

#[tokio::test]
async fn the_identity_encoding_is_known() {
    let (_server, connection) = connected().await;
    let head = Head::call("CreateLivestream").with("grpc-encoding", "identity");
    let answer = connection.unary(head, &create(7)).await;
    assert_eq!(answer.status(), "0");
    assert!(!answer.headers.contains_key("grpc-encoding"), "nothing is compressed: {answer:?}");
}

#[tokio::test]
async fn the_end_may_be_an_empty_frame() {
    let (_server, connection) = connected().await;
    let mut exchange = connection.begin(Head::call("CreateLivestream"), false).await;
    exchange.send(framed(&create(7)), false);
    exchange.send(Bytes::new(), true);
    assert_eq!(exchange.answer().await.status(), "0");
}

#[tokio::test]
async fn frames_may_be_cut_anywhere() {
    let (_server, connection) = connected().await;
    let message = framed(&create(7));
    for size in 1..message.len() {
        let mut exchange = connection.begin(Head::call("CreateLivestream"), false).await;
        for chunk in message.chunks(size) {
            exchange.send(chunk.to_vec(), false);
            exchange.send(Bytes::new(), false);
        }
        exchange.send(Bytes::new(), true);
        let answer = exchange.answer().await;
        assert_eq!(answer.status(), "0", "{size}: {answer:?}");
        assert_eq!(pb::CreateLivestreamResponse::decode(answer.messages[0].clone()).unwrap().created, size == 1);
    }
}

#[tokio::test]
async fn a_reset_request_is_not_carried_out() {
    let (_server, connection) = connected().await;
    for (id, reason) in (10..).zip([Reason::CANCEL, Reason::NO_ERROR, Reason::INTERNAL_ERROR]) {
        for cut in [0, 3, framed(&create(id)).len()] {
            let mut exchange = connection.begin(Head::call("CreateLivestream"), false).await;
            exchange.send(framed(&create(id)).slice(..cut), false);
            exchange.reset(reason);
        }
        // What came before on the same connection has been read when this is answered.
        assert!(!connection.exists(id).await, "{reason:?}");
    }
}

#[tokio::test]
async fn none_or_several_messages_are_refused() {
    let (_server, connection) = connected().await;
    let refused = Fault::new(Code::Unimplemented, "REQUEST_CARDINALITY");
    let mut exchange = connection.begin(Head::call("CreateLivestream"), false).await;
    exchange.send([framed(&create(7)), framed(&create(8))].concat(), true);
    assert_eq!(exchange.answer().await.fault(), refused);

    let mut exchange = connection.begin(Head::call("CreateLivestream"), false).await;
    exchange.send(framed(&create(7)), false);
    exchange.send(framed(&create(8)), true);
    assert_eq!(exchange.answer().await.fault(), refused);

    for end in [true, false] {
        let mut exchange = connection.begin(Head::call("CreateLivestream"), end).await;
        if !end {
            exchange.send(Bytes::new(), true);
        }
        assert_eq!(exchange.answer().await.fault(), refused);
    }
    assert!(!connection.exists(7).await && !connection.exists(8).await);

    // The request of a server stream is one message as well.
    let watch = framed(&pb::WatchLivestreamsRequest::default());
    let mut exchange = connection.begin(Head::call("WatchLivestreams"), false).await;
    exchange.send([watch.clone(), watch].concat(), true);
    assert_eq!(exchange.answer().await.fault(), refused);
}

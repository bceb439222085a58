//! How large the headers of a call may be, and whom it concerns when they are larger.

use starling_client::pb::livestream::v1 as pb;
use tonic::Code;

use super::raw::{Connection, Head};
use crate::harness::{Fault, Server};
use crate::net::frames::framed;

const KIB: usize = 1_024;

#[tokio::test]
async fn large_headers_refuse_their_own_stream_only() {
    let server = Server::start().await;
    let connection = Connection::open(server.address()).await;
    let mut exchange = connection.begin(Head::call("WatchLivestreams"), false).await;
    exchange.send(framed(&pb::WatchLivestreamsRequest::default()), true);
    let mut watch = exchange.answering().await;
    watch.message().await.expect("it begins");

    let list = pb::ListLivestreamsRequest::default();
    let with = |bytes: usize| Head::call("ListLivestreams").with("x-large", "x".repeat(bytes));
    assert_eq!(connection.unary(with(15 * KIB), &list).await.status(), "0");
    for kib in [16, 17, 63, 64, 65, 100, 128, 200, 255, 256] {
        let answer = connection.unary(with(kib * KIB), &list).await;
        assert_eq!(answer.http.as_u16(), 200, "{kib} KiB: {answer:?}");
        assert_eq!(answer.fault(), Fault::new(Code::ResourceExhausted, "HEADERS_TOO_LARGE"), "{kib} KiB");
    }
    // Many small ones are as large.
    let mut many = Head::call("ListLivestreams");
    for number in 0..3_000_u32 {
        many = many.with("x-many", number.to_string());
    }
    assert_eq!(connection.unary(many, &list).await.fault().reason, "HEADERS_TOO_LARGE");

    // Nobody else on the connection noticed.
    assert_eq!(server.open_streams(), 1);
    let create = pb::CreateLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() };
    assert_eq!(connection.unary(Head::call("CreateLivestream"), &create).await.status(), "0");
    while let Some(message) = watch.message().await {
        if format!("{:?}", <pb::WatchLivestreamsResponse as prost::Message>::decode(message)).contains("created: true")
        {
            return;
        }
    }
    panic!("the watch ended");
}

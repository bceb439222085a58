//! What a response is, and how a call ends.

use bytes::Bytes;
use h2::{Ping, Reason};
use prost::Message;
use starling_client::pb::livestream::v1::{self as pb, livestream_event::Change};
use starling_client::pb::swarm::v1::LeaveReason;
use tonic::Code;

use super::raw::{Connection, Head};
use crate::harness::{Fault, Server, soon};
use crate::net::fixture::{LIVESTREAM, go_live, join, subscribe, until};
use crate::net::frames::{WIDE, Wire, framed};

async fn live() -> (Server, Connection) {
    let server = Server::start().await;
    go_live(&server.client().await, std::time::Duration::from_secs(60)).await;
    let connection = Connection::open(server.address()).await;
    (server, connection)
}

#[tokio::test]
async fn a_response_has_headers_a_message_and_trailers() {
    let (_server, connection) = live().await;
    let get = pb::GetLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
    let answer = connection.unary(Head::call("GetLivestream"), &get).await;
    assert_eq!((answer.http.as_u16(), answer.messages.len()), (200, 1));
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert!(!answer.headers.contains_key("grpc-status"), "{answer:?}");
    assert_eq!(answer.trailers.expect("there are trailers")["grpc-status"], "0");
}

#[tokio::test]
async fn an_immediate_error_is_trailers_only() {
    let (_server, connection) = live().await;
    let get = pb::GetLivestreamRequest { livestream_id: 99, ..Default::default() };
    let answer = connection.unary(Head::call("GetLivestream"), &get).await;
    assert_eq!((answer.http.as_u16(), answer.messages.len(), answer.status()), (200, 0, "5"));
    assert_eq!(answer.headers["content-type"], "application/grpc");
    assert!(answer.trailers.is_none(), "{answer:?}");
}

#[tokio::test]
async fn messages_are_percent_encoded() {
    let (_server, connection) = live().await;
    let update = starling_client::pb::swarm::v1::UpdateDraft { channel: 99, ..Default::default() };
    let publish =
        pb::PublishUpdateRequest { livestream_id: LIVESTREAM, node_id: 1, update: Some(update), ..Default::default() };
    let mut answers = vec![connection.unary(Head::call("PublishUpdate"), &publish).await];
    // What the client chose comes back in the message.
    let head = Head::call("ListLivestreams").with("grpc-encoding", "100%\t");
    answers.push(connection.unary(head, &pb::ListLivestreamsRequest::default()).await);
    for answer in answers {
        let message = answer.last()["grpc-message"].to_str().expect("it is ASCII").to_owned();
        let mut rest = message.as_str();
        while let Some((_, after)) = rest.split_once('%') {
            assert!(u8::from_str_radix(&after[..2], 16).is_ok(), "{message}");
            rest = &after[2..];
        }
        assert!(message.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{message}");
    }
}

#[tokio::test]
async fn after_early_trailers_the_request_is_reset() {
    let (_server, connection) = live().await;
    let mut exchange = connection.begin(Head::call("PublishUpdates"), false).await;
    let open = pb::PublishUpdatesRequest::default();
    exchange.send(framed(&open), false);
    assert_ne!(exchange.answer().await.status(), "0", "it names no livestream");
    assert_eq!(exchange.is_reset().await, Reason::NO_ERROR);
    // The same when nothing of the request was looked at.
    let mut exchange = connection.begin(Head::call("Nothing"), false).await;
    assert_eq!(exchange.answer().await.status(), "12");
    assert_eq!(exchange.is_reset().await, Reason::NO_ERROR);
}

#[tokio::test]
async fn cancelled_stream_is_released() {
    let (server, connection) = live().await;
    let open = server.open_streams();
    for method in ["WatchLivestream", "SubscribeUpdates"] {
        let session = join(&server.client().await, 10).await;
        let request = match method {
            "WatchLivestream" => {
                framed(&pb::WatchLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() })
            }
            _ => framed(&subscribe(10, session)),
        };
        let mut exchange = connection.begin(Head::call(method), false).await;
        exchange.send(request, true);
        exchange.answering().await.message().await.expect("it begins");
        assert_eq!(server.open_streams(), open + 1, "{method}");
        exchange.reset(Reason::CANCEL);
        until(|| server.open_streams() == open).await;
    }
}

#[tokio::test]
async fn without_a_timeout_a_stream_stays_open() {
    let (server, connection) = live().await;
    let mut exchange = connection.begin(Head::call("WatchLivestreams"), false).await;
    exchange.send(framed(&pb::WatchLivestreamsRequest::default()), true);
    let mut watch = exchange.answering().await;
    watch.message().await.expect("it begins");
    // One with a deadline, begun later, ends before.
    let head = Head::call("WatchLivestreams").with("grpc-timeout", "100m");
    let other = connection.unary(head, &pb::WatchLivestreamsRequest::default()).await;
    assert_eq!(other.status(), "4");
    assert_eq!(server.open_streams(), 1);
    drop(watch);
}

#[tokio::test]
async fn deadlines_end_every_kind_of_call() {
    let (server, connection) = live().await;
    let client = server.client().await;
    let session = join(&client, 10).await;
    let open = server.open_streams();
    let watch_set = framed(&pb::WatchLivestreamsRequest::default());
    let watch = framed(&pb::WatchLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id: 10,
        session_id: session,
        ..Default::default()
    });
    let targets = framed(&pb::WatchTargetsRequest {
        livestream_id: LIVESTREAM,
        of_node_id: 10,
        session_id: session,
        node_id: 10,
        ..Default::default()
    });
    let health = framed(&tonic_health::pb::HealthCheckRequest::default());
    let publish = framed(&pb::PublishUpdatesRequest {
        message: Some(pb::publish_updates_request::Message::Open(pb::PublishOpen {
            livestream_id: LIVESTREAM,
            node_id: 1,
            channels: vec![starling_client::pb::swarm::v1::UpdateChannel::Visual.into()],
            ..Default::default()
        })),
    });
    let livestreams = "/starling.livestream.v1.LivestreamService/";
    let calls = [
        (format!("{livestreams}WatchLivestreams"), watch_set, true),
        (format!("{livestreams}WatchLivestream"), watch, true),
        (format!("{livestreams}WatchTargets"), targets, true),
        (format!("{livestreams}SubscribeUpdates"), framed(&subscribe(10, session)), true),
        ("/grpc.health.v1.Health/Watch".to_owned(), health, true),
        // The client goes on sending.
        (format!("{livestreams}PublishUpdates"), publish, false),
    ];
    for (path, request, end) in calls {
        let mut exchange = connection.begin(Head::path(&path).with("grpc-timeout", "200m"), false).await;
        exchange.send(request, end);
        let answer = exchange.answer().await;
        assert!(!answer.messages.is_empty(), "{path}: it was open before");
        assert_eq!(answer.fault(), Fault::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{path}");
        until(|| server.open_streams() == open).await;
    }
    // A unary call whose request does not come, and one that was late from the beginning.
    let mut exchange = connection.begin(Head::call("GetLivestream").with("grpc-timeout", "100m"), false).await;
    assert_eq!(exchange.answer().await.status(), "4");
    let create = pb::CreateLivestreamRequest { livestream_id: 8, node_id: 1, ..Default::default() };
    let late = Head::call("CreateLivestream").with("grpc-timeout", "1n");
    assert_eq!(connection.unary(late, &create).await.status(), "4");
    assert!(!connection.exists(8).await, "nothing is done that nobody waits for");
}

#[tokio::test]
async fn deadline_releases_the_session() {
    let (server, connection) = live().await;
    let client = server.client().await;
    let join = pb::JoinLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id: 10,
        lease_ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    };
    let joined = client.clone().livestreams.join_livestream(join).await.unwrap().into_inner();
    let watch = pb::WatchTargetsRequest {
        livestream_id: LIVESTREAM,
        of_node_id: 10,
        session_id: joined.session_id,
        node_id: 10,
        ..Default::default()
    };
    let mut events = {
        let watch = pb::WatchLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
        client.clone().livestreams.watch_livestream(watch).await.unwrap().into_inner()
    };
    let answer = connection.unary(Head::call("WatchTargets").with("grpc-timeout", "1500m"), &watch).await;
    assert_eq!(answer.status(), "4", "it kept the session for longer than its lease");
    // The connection lives on; the member does not.
    soon(async {
        loop {
            let message = events.message().await.unwrap().expect("it goes on");
            let Some(pb::watch_livestream_response::Event::Batch(events)) = message.event else { continue };
            for event in events.events {
                if let Some(Change::ViewerLeft(left)) = event.change {
                    return assert_eq!(left.reason(), LeaveReason::Timeout);
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn pings_are_answered() {
    let (_server, mut connection) = live().await;
    for _ in 0..3 {
        soon(connection.pings.ping(Ping::opaque())).await.unwrap();
    }
}

#[tokio::test]
async fn goaway_precedes_the_end_of_a_connection() {
    let (server, connection) = live().await;
    let wire = Wire::connect(server.address(), WIDE).await;
    let mut exchange = connection.begin(Head::call("WatchLivestreams"), false).await;
    exchange.send(framed(&pb::WatchLivestreamsRequest::default()), true);
    let mut watch = exchange.answering().await;
    watch.message().await.expect("it begins");
    server.shutdown().await;
    // GOAWAY with NO_ERROR is the end in order.
    wire.ended().await.expect("it was told to go");
    let answer = watch.whole().await;
    assert_eq!(answer.status(), "14");
    let last = answer.messages.last().expect("a goodbye");
    let last = pb::WatchLivestreamsResponse::decode(Bytes::clone(last)).unwrap();
    assert!(matches!(last.event, Some(pb::watch_livestreams_response::Event::Goodbye(_))), "{last:?}");
}

//! How many connections there may be, and how long.

use std::io::ErrorKind;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::GoodbyeReason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{Server, soon};
use crate::net::fixture::{LIVESTREAM, PacedPublisher, Reader, end, go_live, join, judged, subscribe};
use crate::net::frames::{WIDE, Wire};

/// What a client of HTTP/2 says first, and settings that leave everything as it is.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Reads until the server closes the connection.
pub(crate) async fn closed(mut socket: TcpStream) {
    let mut buffer = [0; 1024];
    loop {
        match soon(socket.read(&mut buffer)).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Whether the server answers on a new connection.
pub(crate) async fn is_served(url: &str) -> bool {
    let Ok(client) = Client::connect(url).await else { return false };
    let get = pb::ListLivestreamsRequest::default();
    soon(client.clone().livestreams.list_livestreams(get)).await.is_ok()
}

/// A server whose streams and connections grow no older than this, +- 10 %.
async fn aging(age: Duration) -> Server {
    Server::with(|config| {
        (config.streams.max_age, config.server.max_connection_age) = (age, age);
        config.server.max_connection_age_grace = 2 * age;
    })
    .await
}

#[tokio::test]
async fn tunnel_is_refused_and_the_connection_continues() {
    let server = Server::start().await;
    let mut wire = Wire::connect(server.address(), WIDE).await;
    assert_eq!(wire.tunnel().await, 501);
    wire.call("ListLivestreams", &pb::ListLivestreamsRequest::default()).await.unwrap();
}

#[tokio::test]
async fn silent_client_is_closed() {
    let server = Server::start().await;
    let silent = TcpStream::connect(server.address()).await.unwrap();
    let mut hesitant = TcpStream::connect(server.address()).await.unwrap();
    hesitant.write_all(&PREFACE[..23]).await.unwrap();
    tokio::join!(closed(silent), closed(hesitant));
}

#[tokio::test]
async fn client_silent_after_the_preface_is_closed() {
    let server = Server::with(|config| {
        config.server.http2_keepalive_interval = Duration::from_secs(1);
        config.server.http2_keepalive_timeout = Duration::from_secs(1);
    })
    .await;
    for hello in [24, PREFACE.len()] {
        let mut socket = TcpStream::connect(server.address()).await.unwrap();
        socket.write_all(&PREFACE[..hello]).await.unwrap();
        closed(socket).await;
    }
}

#[tokio::test]
async fn old_connection_gets_goaway_and_stream_goodbyes() {
    let server = aging(Duration::from_secs(1)).await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(1)).await;
    let mut wire = Wire::connect(server.address(), WIDE).await;
    let idle = Wire::connect(server.address(), WIDE).await;
    let mut readings = Vec::new();
    for node in 10..20 {
        let session = join(&client, node).await;
        readings.push(wire.subscribe(&subscribe(node, session)).await);
    }
    wire.told_to_go().await;
    for reading in &mut readings {
        let trailers = reading.trailers().await;
        assert_eq!(trailers["grpc-status"], "14");
        let goodbye = reading.goodbye.expect("a goodbye comes before the end");
        assert_eq!(goodbye.reason(), GoodbyeReason::StreamAge);
        assert!(goodbye.retry_after.is_some());
    }
    wire.ended().await.expect("it ends in order when its last stream has");
    idle.ended().await.expect("it ends in order");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connection_age_loses_nothing_for_reconnecting_clients() {
    let server = aging(Duration::from_millis(500)).await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(60)).await;
    let publisher = PacedPublisher::start(server.client().await, 1_000, Duration::from_millis(5)).await;
    let mut readers = Vec::new();
    for node in 10..14 {
        readers.push(Reader::start(server.client().await, node).await);
    }
    for reader in &mut readers {
        reader.wait_until(|seen| seen.resumes >= 5).await;
    }
    for reader in &mut readers {
        reader.catch_up_with(&publisher).await;
    }
    let log = publisher.finish().await;
    end(&server.client().await).await;
    let mut histories = Vec::new();
    for reader in readers {
        histories.push(reader.history().await);
    }
    let summary = judged(log, &histories);
    assert!(summary.delivered.subscriptions >= 4 * 6, "{summary:?}");
}

#[tokio::test]
async fn old_connection_with_unread_answers_is_closed() {
    let server = aging(Duration::from_secs(1)).await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(1)).await;
    let mut wire = Wire::connect(server.address(), 1).await;
    let get = pb::GetLivestreamRequest { livestream_id: LIVESTREAM, ..Default::default() };
    // The server has said all, and HTTP/2 holds it.
    let _unread = wire.call("GetLivestream", &get).await.unwrap();
    drop(wire.ended().await);
}

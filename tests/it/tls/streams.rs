//! What holds without TLS holds over it: gRPC-Web, ends of all kinds, budgets, stalls, small frames.

use std::task::{Context, Waker};
use std::time::Duration;

use prost::Message;
use starling::config::Config;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::soon;
use crate::net::fixture::{PacedPublisher, go_live, join, subscribe, until};
use crate::net::frames::{WIDE, Wire, framed};
use crate::net::receiving::{FIRST, MIB, half_sent, lists};
use crate::net::rules::raw::Connection;
use crate::net::stalled::{impatient, slow_readers};
use crate::net::{flood, receiving};
use crate::tls::authority::{Dialect, client, serve};

#[tokio::test]
async fn browser_calls_over_tls_without_http2() {
    let (server, authority, _files) = serve(|_| ()).await;
    let dialect = Dialect { protocols: &["http/1.1"], ..Dialect::default() };
    let mut stream = dialect.connect(server.address(), &authority).await.unwrap();
    let body = framed(&pb::CreateLivestreamRequest { livestream_id: 7, node_id: 1, ..Default::default() });
    let head = format!(
        "POST /starling.livestream.v1.LivestreamService/CreateLivestream HTTP/1.1\r\nhost: localhost\r\n\
         content-type: application/grpc-web+proto\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
    let mut answer = Vec::new();
    // To the end: the server says goodbye in TLS too, or this is an error.
    soon(stream.read_to_end(&mut answer)).await.unwrap();
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("grpc-status:0\r\n"), "{text}");
}

#[tokio::test]
async fn connections_end_in_every_way() {
    let (server, authority, files) = serve(|config| config.server.max_connections = 1).await;
    // Its only place is free again after each: one with a stream makes no room.
    for way in ["goodbye", "end without a goodbye", "reset"] {
        let stream = Dialect::default().connect(server.address(), &authority).await.unwrap();
        if way == "reset" {
            socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO)).unwrap();
        }
        let (mut reading, mut writing) = tokio::io::split(stream);
        writing.write_all(&request("WatchLivestreams", &pb::WatchLivestreamsRequest::default())).await.unwrap();
        until(|| server.open_streams() == 1).await;
        match way {
            "goodbye" => {
                writing.shutdown().await.unwrap();
                soon(reading.read_to_end(&mut Vec::new())).await.unwrap();
            }
            "end without a goodbye" => {
                let stream = reading.unsplit(writing);
                let (mut socket, _tls) = stream.into_inner();
                socket.shutdown().await.unwrap();
                soon(socket.read_to_end(&mut Vec::new())).await.unwrap();
            }
            _ => drop((reading, writing)),
        }
        until(|| server.open_streams() == 0).await;
    }
    client(&server, &authority, &files).await;
}

/// All that a client of HTTP/2 sends for one call: the preface, SETTINGS, and a call by frames.
fn request(method: &str, message: &impl Message) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let [_, length @ ..] = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let path = format!("/starling.livestream.v1.LivestreamService/{method}");
    // POST and http by their number in the static table, the others as literals.
    let mut block = vec![0x83, 0x87, 0x04, u8::try_from(path.len()).unwrap()];
    block.extend_from_slice(path.as_bytes());
    for (name, value) in [(":authority", "localhost"), ("content-type", "application/grpc"), ("te", "trailers")] {
        for text in [name, value] {
            if text == name {
                block.push(0);
            }
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
        frame(1, 4, 1, &block),
        frame(0, 1, 1, &framed(message)),
    ]
    .concat()
}

#[tokio::test]
async fn full_budget_cuts_over_tls() {
    let small = |config: &mut Config| {
        (config.memory.receiving_bytes, config.memory.receiving_connection_bytes) = (4 * MIB, 4 * MIB);
    };
    let (server, authority, _files) = serve(small).await;
    let connect =
        async || Connection::over(Dialect::default().connect(server.address(), &authority).await.unwrap()).await;
    let (healthy, greedy) = (connect().await, connect().await);
    let mut one = half_sent(&healthy, 1).await.remove(0);
    let mut held = half_sent(&greedy, 3 * MIB / FIRST).await;
    let _others = half_sent(&healthy, MIB / FIRST - 1).await;
    let _last = receiving::half_sent_one(&healthy).await;
    for one in &mut held {
        soon(std::future::poll_fn(|cx| one.poll_closed(cx))).await;
    }
    assert!(one.poll_closed(&mut Context::from_waker(Waker::noop())).is_pending(), "it is served on");
    assert_eq!(lists(&healthy).await, "0");
}

#[tokio::test]
async fn small_frames_are_joined_over_tls() {
    for (streams, payload) in [(1, 0), (64, 10)] {
        let (server, authority, files) = serve(|_| ()).await;
        flood::go_live(&client(&server, &authority, &files).await, streams).await;
        let stream = Dialect::default().connect(server.address(), &authority).await.unwrap();
        flood::flood_over(stream, streams, payload).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reader_that_stalls_is_cut_over_tls() {
    let (server, authority, files) = serve(impatient).await;
    let client = client(&server, &authority, &files).await;
    go_live(&client, Duration::from_secs(60)).await;
    let publisher = PacedPublisher::start(client.again().await.unwrap(), 20_000, Duration::from_millis(5)).await;
    let session = join(&client, 10).await;
    let mut wire = Wire::over(Dialect::default().connect(server.address(), &authority).await.unwrap(), WIDE).await;
    let reading = wire.subscribe(&subscribe(10, session)).await;
    let open = server.open_streams();
    wire.hold(true);
    until(|| server.open_streams() < open).await;
    assert_eq!(slow_readers(&client).await, 1);
    drop(reading);
    publisher.finish().await;
}

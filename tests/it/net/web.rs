//! Updates over gRPC-Web: HTTP/1.1 by hand, for what a browser reads, and one that does not read.

use std::time::Duration;

use bytes::BytesMut;
use prost::Message as _;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{Delivery, GoodbyeReason, delivery::Item};
use starling_verify::History;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{Server, soon};
use crate::net::connections::closed;
use crate::net::fixture::{PacedPublisher, Reader, deliveries, end, go_live, join, judged, subscribe, until};
use crate::net::frames::framed;

/// A response of HTTP/1.1 whose body comes in chunks.
#[derive(Debug)]
struct Page {
    connection: BufReader<TcpStream>,
    body: BytesMut,
}

impl Page {
    /// Calls SubscribeUpdates, and reads no more than the head of the answer.
    async fn subscribe(server: &Server, request: &pb::SubscribeUpdatesRequest) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 * 1024).unwrap();
        let mut connection = socket.connect(server.address()).await.unwrap();
        let body = framed(request);
        let head = format!(
            "POST /starling.livestream.v1.LivestreamService/SubscribeUpdates HTTP/1.1\r\nHost: {}\r\n\
             X-Grpc-Web: 1\r\nContent-Type: application/grpc-web+proto\r\nContent-Length: {}\r\n\r\n",
            server.address(),
            body.len(),
        );
        connection.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
        let mut page = Self { connection: BufReader::new(connection), body: BytesMut::new() };
        assert_eq!(page.line().await, "HTTP/1.1 200 OK");
        while !page.line().await.is_empty() {}
        page
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.connection.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    /// The next frame: its flag and content. `None` at the end.
    async fn frame(&mut self) -> Option<(u8, BytesMut)> {
        loop {
            if let Some(length) = self.body.get(1..5) {
                let length = usize::try_from(u32::from_be_bytes(length.try_into().unwrap())).unwrap();
                if self.body.len() >= 5 + length {
                    let prefix = self.body.split_to(5);
                    return Some((prefix[0], self.body.split_to(length)));
                }
            }
            let length = usize::from_str_radix(&self.line().await, 16).expect("the length of a chunk");
            let mut chunk = vec![0; length];
            soon(self.connection.read_exact(&mut chunk)).await.unwrap();
            assert_eq!(self.line().await, "");
            if length == 0 {
                assert!(self.body.is_empty(), "half a frame");
                return None;
            }
            self.body.extend_from_slice(&chunk);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_gets_every_update_and_the_status() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(60)).await;
    let mut page = Page::subscribe(&server, &subscribe(10, join(&client, 10).await)).await;
    let mut publisher = PacedPublisher::start(client.clone(), 40_000, Duration::from_millis(5)).await;
    publisher.wait_for_more(50).await;
    let log = publisher.finish().await;
    end(&client).await;
    let (mut history, mut goodbye) = (History::new(10), None);
    let trailers = loop {
        match page.frame().await.expect("trailers come before the end") {
            (0, message) => {
                let message = pb::SubscribeUpdatesResponse::decode(message).unwrap();
                for delivery in deliveries(&message) {
                    if let Delivery { item: Some(Item::Goodbye(last)) } = &delivery {
                        goodbye = Some(last.reason());
                    }
                    history.record(&delivery);
                }
            }
            (0x80, trailers) => break String::from_utf8(trailers.to_vec()).unwrap(),
            (flag, _) => panic!("a frame of kind {flag}"),
        }
    };
    assert!(trailers.starts_with("grpc-status:0\r\n"), "{trailers:?}");
    assert_eq!((goodbye, page.frame().await), (Some(GoodbyeReason::Ended), None));
    assert!(history.totals().updates >= 50);
    judged(log, &[history]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_does_not_read_is_cut() {
    let server = Server::with(|config| config.streams.stall_timeout = Duration::from_secs(1)).await;
    let client = server.client().await;
    go_live(&client, Duration::from_secs(60)).await;
    let publisher = PacedPublisher::start(client.clone(), 20_000, Duration::from_millis(5)).await;
    let healthy = Reader::start(client.clone(), 11).await;
    let page = Page::subscribe(&server, &subscribe(10, join(&client, 10).await)).await;
    let open = server.open_streams();
    until(|| server.open_streams() < open).await;
    closed(page.connection.into_inner()).await;
    let log = publisher.finish().await;
    end(&client).await;
    judged(log, &[healthy.history().await]);
}

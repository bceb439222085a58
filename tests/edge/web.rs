//! gRPC-Web: what a browser sends and reads, by hand over HTTP/1.1.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use starling::pb::livestream::v1::{self as pb, watch_livestream_response::Control};
use starling::pb::swarm::v1::GoodbyeReason;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Server, soon};
use crate::world::{answered, end, go_live};

const SERVICE: &str = "starling.livestream.v1.LivestreamService";
const ORIGIN: &str = "https://example.org";

/// An HTTP/1.1 exchange: the head of its response, and then the body as it comes.
struct Exchange {
    connection: BufReader<TcpStream>,
    status: u16,
    headers: BTreeMap<String, String>,
    body: BytesMut,
}

/// A frame of gRPC-Web.
#[derive(Debug, PartialEq)]
enum Frame {
    Message(Bytes),
    Trailers(BTreeMap<String, String>),
}

impl Exchange {
    async fn send(server: &Server, head: String, body: &[u8]) -> Self {
        let mut connection = TcpStream::connect(server.address()).await.unwrap();
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(body).await.unwrap();
        let mut exchange =
            Self { connection: BufReader::new(connection), status: 0, headers: BTreeMap::new(), body: BytesMut::new() };
        let status = exchange.line().await;
        exchange.status = status.split(' ').nth(1).expect("a status line").parse().unwrap();
        loop {
            let line = exchange.line().await;
            if line.is_empty() {
                return exchange;
            }
            let (name, value) = line.split_once(": ").expect("a header");
            exchange.headers.insert(name.to_lowercase(), value.to_owned());
        }
    }

    /// Calls a method with one request.
    async fn call(server: &Server, method: &str, request: impl Message) -> Self {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(u32::try_from(request.encoded_len()).unwrap());
        request.encode(&mut body).unwrap();
        Self::post(server, method, &body).await
    }

    /// Calls a method with a body of any kind.
    async fn post(server: &Server, method: &str, body: &[u8]) -> Self {
        let head = format!(
            "POST /{SERVICE}/{method} HTTP/1.1\r\nHost: {}\r\nOrigin: {ORIGIN}\r\nX-Grpc-Web: 1\r\n\
             Content-Type: application/grpc-web+proto\r\nContent-Length: {}\r\n\r\n",
            server.address(),
            body.len(),
        );
        Self::send(server, head, body).await
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.connection.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Reads a chunk; false at the end.
    async fn chunk(&mut self) -> bool {
        assert_eq!(self.header("transfer-encoding"), "chunked");
        let length = usize::from_str_radix(&self.line().await, 16).expect("the length of a chunk");
        let mut chunk = vec![0; length];
        soon(self.connection.read_exact(&mut chunk)).await.unwrap();
        assert_eq!(self.line().await, "");
        self.body.extend_from_slice(&chunk);
        length > 0
    }

    /// The next frame of the body; `None` at its end.
    async fn frame(&mut self) -> Option<Frame> {
        loop {
            if self.body.len() >= 5 {
                let length = u32::from_be_bytes(self.body[1..5].try_into().unwrap()) as usize;
                if self.body.len() >= 5 + length {
                    let flag = self.body.get_u8();
                    self.body.advance(4);
                    let content = self.body.split_to(length).freeze();
                    return Some(if flag == 0x80 { trailers(&content) } else { Frame::Message(content) });
                }
            }
            if !self.chunk().await {
                assert!(self.body.is_empty(), "half a frame");
                return None;
            }
        }
    }

    async fn message<M: Message + Default>(&mut self) -> M {
        match self.frame().await {
            Some(Frame::Message(bytes)) => M::decode(bytes).unwrap(),
            other => panic!("a message, not {other:?}"),
        }
    }

    /// The trailers of a response without messages: in its head, or else in its only frame.
    async fn refused(&mut self) -> BTreeMap<String, String> {
        if self.headers.contains_key("grpc-status") {
            return self.headers.clone();
        }
        match self.frame().await {
            Some(Frame::Trailers(trailers)) => trailers,
            other => panic!("trailers, not {other:?}"),
        }
    }

    /// Expects trailers with this status, and nothing after them.
    async fn ends_with(&mut self, status: &str) {
        match self.frame().await {
            Some(Frame::Trailers(trailers)) => assert_eq!(trailers["grpc-status"], status, "{trailers:?}"),
            other => panic!("trailers, not {other:?}"),
        }
        assert_eq!(self.frame().await, None);
    }
}

fn trailers(content: &[u8]) -> Frame {
    let text = std::str::from_utf8(content).unwrap();
    let lines = text.lines().map(|line| line.split_once(':').expect("a trailer"));
    Frame::Trailers(lines.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())
}

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
async fn a_browser_is_told_why_a_call_was_refused() {
    let server = Server::start().await;
    let get = pb::GetLivestreamRequest { livestream_id: 99 };
    let mut exchange = Exchange::call(&server, "GetLivestream", get).await;
    assert_eq!(exchange.status, 200);
    let trailers = exchange.refused().await;
    assert_eq!(trailers["grpc-status"], "5");
    assert!(trailers.contains_key("grpc-message") && trailers.contains_key("grpc-status-details-bin"));
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_the_server_goes_on() {
    let server = Server::start().await;
    let client = server.client().await;
    let before = crate::world::everything(&client).await;
    // No field has the number 0; a length beyond the end; flags that mean nothing; half a message.
    for body in [&[0, 0, 0, 0, 2, 0, 0][..], &[0, 0, 0, 0, 2, 0x22, 9], &[7, 0, 0, 0, 0], &[0, 0, 0, 0, 9, 1]] {
        let mut exchange = Exchange::post(&server, "CreateLivestream", body).await;
        assert_eq!(exchange.status, 200);
        assert_ne!(exchange.refused().await["grpc-status"], "0", "{body:?}");
    }
    assert!(before == crate::world::everything(&client).await, "what is no message changes nothing");
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
    assert!(matches!(first.control, Some(Control::Reset(_))), "{first:?}");
    loop {
        let next: pb::WatchLivestreamResponse = exchange.message().await;
        if matches!(next.control, Some(Control::SnapshotComplete(_))) {
            break;
        }
    }
    // Each message comes when it happens, not when the stream ends.
    crate::world::join_livestream(&client, 7, 2).await;
    let joined: pb::WatchLivestreamResponse = exchange.message().await;
    assert_eq!(joined.events.len(), 1);
    answered(client.clone().livestreams.end_livestream(end(7)).await);
    loop {
        let next: pb::WatchLivestreamResponse = exchange.message().await;
        if let Some(Control::Goodbye(goodbye)) = next.control {
            assert_eq!(goodbye.reason(), GoodbyeReason::Ended);
            break;
        }
    }
    exchange.ends_with("0").await;
}

#[tokio::test]
async fn a_browser_is_allowed_to_call_from_anywhere() {
    let server = Server::start().await;
    let head = format!(
        "OPTIONS /{SERVICE}/GetLivestream HTTP/1.1\r\nHost: {}\r\nOrigin: {ORIGIN}\r\n\
         Access-Control-Request-Method: POST\r\n\
         Access-Control-Request-Headers: content-type,x-grpc-web,authorization\r\n\r\n",
        server.address(),
    );
    let exchange = Exchange::send(&server, head, b"").await;
    assert_eq!(exchange.status, 200);
    assert_eq!(exchange.header("access-control-allow-origin"), "*");
    assert_eq!(exchange.header("access-control-allow-methods"), "POST");
    let allowed = exchange.header("access-control-allow-headers").to_lowercase();
    assert!(allowed == "*" || allowed.contains("x-grpc-web"), "{allowed}");
}

#[tokio::test]
async fn without_grpc_web_a_browser_gets_nowhere() {
    let server = Server::with(|config| config.server.grpc_web = false).await;
    go_live(&server.client().await, 7).await;
    let get = pb::GetLivestreamRequest { livestream_id: 7 };
    let exchange = Exchange::call(&server, "GetLivestream", get).await;
    assert!(exchange.status != 200 || exchange.header("grpc-status") != "0", "{:?}", exchange.headers);
    assert_eq!(exchange.header("access-control-allow-origin"), "");
}

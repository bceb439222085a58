//! gRPC-Web by hand over HTTP/1.1: what a browser sends and reads.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Server, soon};

pub(crate) const SERVICE: &str = "starling.livestream.v1.LivestreamService";
pub(crate) const ORIGIN: &str = "https://example.org";

/// One gRPC message as it travels.
fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// An HTTP/1.1 exchange: the head of its response, and then the body as it comes.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: BufReader<TcpStream>,
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    body: BytesMut,
}

/// A frame of gRPC-Web.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    Message(Bytes),
    Trailers(BTreeMap<String, String>),
}

impl Exchange {
    pub(crate) async fn send(server: &Server, head: String, body: &[u8]) -> Self {
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
    pub(crate) async fn call(server: &Server, method: &str, request: impl Message) -> Self {
        Self::post(server, method, &framed(&request)).await
    }

    /// Calls a method with a body of any kind.
    pub(crate) async fn post(server: &Server, method: &str, body: &[u8]) -> Self {
        Self::post_as(server, method, "Content-Type: application/grpc-web+proto\r\n", body).await
    }

    /// The same with these headers.
    pub(crate) async fn post_as(server: &Server, method: &str, headers: &str, body: &[u8]) -> Self {
        let head = format!(
            "POST /{SERVICE}/{method} HTTP/1.1\r\nHost: {}\r\nOrigin: {ORIGIN}\r\nX-Grpc-Web: 1\r\n\
             {headers}Content-Length: {}\r\n\r\n",
            server.address(),
            body.len(),
        );
        Self::send(server, head, body).await
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.connection.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// All of the body as it came.
    pub(crate) async fn raw(mut self) -> Bytes {
        while self.chunk().await {}
        self.body.freeze()
    }

    /// Reads a chunk; false at the end.
    pub(crate) async fn chunk(&mut self) -> bool {
        assert_eq!(self.header("transfer-encoding"), "chunked");
        let length = usize::from_str_radix(&self.line().await, 16).expect("the length of a chunk");
        let mut chunk = vec![0; length];
        soon(self.connection.read_exact(&mut chunk)).await.unwrap();
        assert_eq!(self.line().await, "");
        self.body.extend_from_slice(&chunk);
        length > 0
    }

    /// The next frame of the body; `None` at its end.
    pub(crate) async fn frame(&mut self) -> Option<Frame> {
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

    pub(crate) async fn message<M: Message + Default>(&mut self) -> M {
        match self.frame().await {
            Some(Frame::Message(bytes)) => M::decode(bytes).unwrap(),
            other => panic!("a message, not {other:?}"),
        }
    }

    /// The trailers of a response without messages: in its head, or else in its only frame.
    pub(crate) async fn refused(&mut self) -> BTreeMap<String, String> {
        if self.headers.contains_key("grpc-status") {
            return self.headers.clone();
        }
        match self.frame().await {
            Some(Frame::Trailers(trailers)) => trailers,
            other => panic!("trailers, not {other:?}"),
        }
    }

    /// Expects trailers with this status, and nothing after them.
    pub(crate) async fn ends_with(&mut self, status: &str) {
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

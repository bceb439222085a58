//! A client of HTTP/2 that sends what it is told to, in frames of its choice.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{PingPong, Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use prost::Message;
use starling_client::pb::livestream::v1 as pb;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Status;

use crate::harness::{Fault, soon};
use crate::net::frames::framed;

const LIVESTREAMS: &str = "/starling.livestream.v1.LivestreamService/";

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    pub(crate) pings: PingPong,
    _driver: JoinSet<()>,
}

/// The head of a request, like one of a gRPC library's unless it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    path: String,
    headers: HeaderMap,
}

impl Head {
    /// A call of the livestreams.
    pub(crate) fn call(method: &str) -> Self {
        Self::path(&format!("{LIVESTREAMS}{method}"))
    }

    pub(crate) fn path(path: &str) -> Self {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        Self { method: Method::POST, path: path.to_owned(), headers: headers.into_iter().collect() }
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(name, HeaderValue::from_bytes(value.as_ref()).unwrap());
        self
    }

    /// With another value in place of the usual one.
    pub(crate) fn but(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }
}

impl Connection {
    pub(crate) async fn open(server: SocketAddr) -> Self {
        Self::over(TcpStream::connect(server).await.unwrap()).await
    }

    /// The same over a connection of any kind.
    pub(crate) async fn over(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (send, mut connection) = soon(client::handshake(socket)).await.unwrap();
        let pings = connection.ping_pong().unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async move { drop(connection.await) });
        Self { send, pings, _driver: driver }
    }

    /// Sends the head of a request, and the end with it if `end`.
    pub(crate) async fn begin(&self, head: Head, end: bool) -> Exchange {
        let Head { method, path, headers } = head;
        let mut request = Request::builder().method(method).uri(format!("http://localhost{path}")).body(()).unwrap();
        *request.headers_mut() = headers;
        let mut ready = soon(self.send.clone().ready()).await.unwrap();
        let (response, body) = ready.send_request(request, end).unwrap();
        Exchange { body, response }
    }

    /// Sends one message, and waits for all of the answer.
    pub(crate) async fn unary(&self, head: Head, request: &impl Message) -> Answer {
        let mut exchange = self.begin(head, false).await;
        exchange.send(framed(request), true);
        exchange.answer().await
    }

    /// Whether the livestream is there.
    pub(crate) async fn exists(&self, livestream_id: u64) -> bool {
        let found = self
            .unary(Head::call("GetLivestream"), &pb::GetLivestreamRequest { livestream_id, ..Default::default() })
            .await;
        match found.status() {
            "0" => true,
            "5" => false,
            other => panic!("status {other}"),
        }
    }
}

/// A request that was begun.
#[derive(Debug)]
pub(crate) struct Exchange {
    body: SendStream<Bytes>,
    response: client::ResponseFuture,
}

impl Exchange {
    pub(crate) fn send(&mut self, data: impl Into<Bytes>, end: bool) {
        self.body.send_data(data.into(), end).unwrap();
    }

    /// Sends it unless the server has ended the stream.
    pub(crate) fn send_if_open(&mut self, data: impl Into<Bytes>) {
        drop(self.body.send_data(data.into(), false));
    }

    pub(crate) fn reset(&mut self, reason: Reason) {
        self.body.send_reset(reason);
    }

    /// Waits until the server resets the stream.
    pub(crate) async fn is_reset(&mut self) -> Reason {
        soon(std::future::poll_fn(|cx| self.body.poll_reset(cx))).await.unwrap()
    }

    /// Ready when nothing more can be sent, because the connection is gone too.
    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_reset(cx).map(drop)
    }

    /// What sends, and what answers.
    pub(crate) fn split(self) -> (SendStream<Bytes>, client::ResponseFuture) {
        (self.body, self.response)
    }

    /// Waits for the head of the answer.
    pub(crate) async fn answering(&mut self) -> Incoming {
        let response = soon(&mut self.response).await.unwrap();
        let (head, body) = response.into_parts();
        Incoming { status: head.status, headers: head.headers, body, rest: BytesMut::new() }
    }

    /// Waits for all of the answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answering().await.whole().await
    }
}

/// An answer whose head came.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: RecvStream,
    rest: BytesMut,
}

impl Incoming {
    /// The next message; `None` at the end.
    pub(crate) async fn message(&mut self) -> Option<Bytes> {
        loop {
            if let (StatusCode::OK, Some(length)) = (self.status, self.rest.get(1..5)) {
                let length = u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.rest.len() >= 5 + length {
                    self.rest.advance(5);
                    return Some(self.rest.split_to(length).freeze());
                }
            }
            let data = soon(self.body.data()).await?.unwrap();
            drop(self.body.flow_control().release_capacity(data.len()));
            self.rest.extend_from_slice(&data);
        }
    }

    pub(crate) async fn whole(mut self) -> Answer {
        let mut messages = Vec::new();
        while let Some(message) = self.message().await {
            messages.push(message);
        }
        // An error of HTTP has a text.
        assert!(self.rest.is_empty() || self.status != StatusCode::OK, "half a message");
        let trailers = soon(self.body.trailers()).await.unwrap();
        Answer { http: self.status, headers: self.headers, messages, trailers }
    }
}

/// All of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) http: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) messages: Vec<Bytes>,
    /// `None` when it was trailers only.
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    /// What has the status.
    pub(crate) fn last(&self) -> &HeaderMap {
        self.trailers.as_ref().unwrap_or(&self.headers)
    }

    pub(crate) fn status(&self) -> &str {
        self.last().get("grpc-status").map_or("none", |status| status.to_str().unwrap())
    }

    pub(crate) fn fault(&self) -> Fault {
        Fault::of(&Status::from_header_map(self.last()).expect("there is a status"))
    }
}

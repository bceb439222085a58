//! gRPC over `h2`, with as little around it as can be: what is measured shares the machine.

use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::RecvStream;
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, HeaderValue, Uri};
use prost::Message;

use super::access::Wire;
use crate::error::BenchError;

const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A connection, for calls.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    /// Scheme and authority.
    origin: String,
}

/// The same connection, to be driven.
#[derive(Debug)]
pub(crate) struct Driver(Connection<Wire, Bytes>);

/// The messages of a stream.
#[derive(Debug)]
pub(crate) struct Messages {
    body: RecvStream,
    have: BytesMut,
}

impl Link {
    /// A connection whose streams have this window.
    pub(crate) async fn open(wire: Wire, window: u32) -> Result<(Self, Driver), BenchError> {
        let tcp = match &wire {
            Wire::Left(tcp) => tcp,
            Wire::Right(tls) => tls.get_ref().0,
        };
        let scheme = if matches!(wire, Wire::Left(_)) { "http" } else { "https" };
        let origin = format!("{scheme}://{}", tcp.peer_addr()?);
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(wire)
            .await?;
        Ok((Self { requests, origin }, Driver(connection)))
    }

    /// A method by its path, to be called again and again.
    pub(crate) fn method(&self, path: &str) -> Result<Uri, BenchError> {
        Ok(format!("{}{path}", self.origin).parse()?)
    }

    /// Calls a method that answers with a stream; with a header `authorization` if there is a token.
    pub(crate) async fn stream(
        &self,
        method: &Uri,
        message: &impl Message,
        authorization: Option<&HeaderValue>,
    ) -> Result<RecvStream, BenchError> {
        let mut request = http::Request::post(method.clone())
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .body(())?;
        if let Some(token) = authorization {
            request.headers_mut().insert(http::header::AUTHORIZATION, token.clone());
        }
        let mut requests = self.requests.clone().ready().await?;
        let (response, mut body) = requests.send_request(request, false)?;
        body.send_data(framed(message)?, true)?;
        let response = response.await?;
        served(response.headers())?;
        Ok(response.into_body())
    }

    /// Calls a method that answers once; what it answers is not looked at.
    pub(crate) async fn call(
        &self,
        method: &Uri,
        message: &impl Message,
        authorization: Option<&HeaderValue>,
    ) -> Result<(), BenchError> {
        let mut body = self.stream(method, message, authorization).await?;
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        served(&body.trailers().await?.unwrap_or_default())
    }
}

impl Driver {
    /// Drives the connection, and the calls on it, until these end or one fails.
    pub(crate) async fn drive<F>(self, mut calls: FuturesUnordered<F>) -> Result<(), BenchError>
    where
        F: Future<Output = Result<(), BenchError>>,
    {
        // What a broken connection means for its calls, they say themselves.
        let mut connection = std::pin::pin!(futures_util::FutureExt::fuse(self.0));
        loop {
            tokio::select! {
                biased;
                _ = &mut connection => {}
                called = calls.next() => match called {
                    Some(called) => called?,
                    None => return Ok(()),
                },
            }
        }
    }
}

impl Messages {
    pub(crate) fn new(body: RecvStream) -> Self {
        Self { body, have: BytesMut::new() }
    }

    /// The next one; `None` when the stream has ended well.
    pub(crate) async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, BenchError> {
        loop {
            if let Some(&[_, a, b, c, d]) = self.have.first_chunk::<5>() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                if self.have.len() >= 5 + length {
                    self.have.advance(5);
                    return Ok(Some(M::decode(self.have.split_to(length))?));
                }
            }
            match self.body.data().await {
                Some(data) => {
                    let data = data?;
                    self.body.flow_control().release_capacity(data.len())?;
                    self.have.extend_from_slice(&data);
                }
                None => {
                    served(&self.body.trailers().await?.unwrap_or_default())?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Fails when headers or trailers tell of an error.
fn served(headers: &HeaderMap) -> Result<(), BenchError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text("grpc-status") {
        None | Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(BenchError(format!("a call was refused: status {status}: {message}")))
        }
    }
}

/// A message with gRPC's prefix.
pub(crate) fn framed(message: &impl Message) -> Result<Bytes, BenchError> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.encoded_len())?.to_be_bytes());
    message.encode(&mut framed)?;
    Ok(framed.into())
}

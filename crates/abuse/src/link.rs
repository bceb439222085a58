//! gRPC over `h2`: calls that a case reads as little of as it wants.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::{Connection, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderName, HeaderValue, Request, header};
use prost::Message;
use tokio::task::JoinSet;

use crate::ending::Ending;
use crate::wire::Wire;

/// HTTP/2's own windows: what a client has that asks for nothing else.
pub(crate) const DEFAULT_WINDOW: u32 = 65_535;
/// More than any answer takes.
pub(crate) const WIDE: u32 = (1 << 31) - 1;

/// The services, as they stand in a path.
pub(crate) const LIVESTREAMS: &str = "/starling.livestream.v1.LivestreamService/";
pub(crate) const GROUPS: &str = "/starling.group.v1.GroupService/";

/// A connection. Cheap to share by reference; closed when dropped.
#[derive(Debug)]
pub(crate) struct Link {
    requests: SendRequest<Bytes>,
    /// The header `authorization` of its calls.
    token: Option<HeaderValue>,
    /// Drives the connection.
    driver: JoinSet<Result<(), h2::Error>>,
}

/// A call under way.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) response: ResponseFuture,
    pub(crate) body: SendStream<Bytes>,
}

impl Link {
    /// A connection and its streams with these windows; its calls show a token, if there is one.
    pub(crate) async fn over(wire: Wire, stream_window: u32, window: u32, token: Option<&str>) -> Result<Self, Ending> {
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(stream_window)
            .initial_connection_window_size(window)
            .enable_push(false)
            // Answers that are not read are no attack on this program.
            .data_frame_budget(usize::MAX)
            .handshake(wire)
            .await
            .map_err(|error| Ending::of_h2(&error))?;
        let mut driver = JoinSet::new();
        driver.spawn(drive(connection));
        Ok(Self { requests, token: token.map(bearer), driver })
    }

    /// Begins a call; nothing of its body is sent.
    pub(crate) async fn begin(&self, method: &str) -> Result<Call, Ending> {
        let token = self.token.clone().map(|token| (header::AUTHORIZATION, token));
        self.begin_with(method, token.as_slice()).await
    }

    /// The same with other headers of its own in place of the connection's token.
    pub(crate) async fn begin_with(&self, method: &str, headers: &[(HeaderName, HeaderValue)]) -> Result<Call, Ending> {
        let mut request = Request::post(format!("http://attacker{method}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(())
            .expect("a path makes a request");
        request.headers_mut().extend(headers.iter().cloned());
        let ended = |error| Ending::of_h2(&error);
        let mut requests = self.requests.clone().ready().await.map_err(ended)?;
        let (response, body) = requests.send_request(request, false).map_err(ended)?;
        Ok(Call { response, body })
    }

    /// Makes a call whose answer is left unread; how it was refused, if it was at once.
    pub(crate) async fn unread(&self, method: &str, message: &impl Message) -> Result<RecvStream, Ending> {
        let Call { response, mut body } = self.begin(method).await?;
        let ended = |error| Ending::of_h2(&error);
        body.send_data(framed(message), true).map_err(ended)?;
        Call::accepted(response).await
    }

    /// Opens a stream of messages with its first one: both ways, or how it was refused.
    pub(crate) async fn open(
        &self,
        method: &str,
        first: &impl Message,
    ) -> Result<(SendStream<Bytes>, RecvStream), Ending> {
        let Call { response, mut body } = self.begin(method).await?;
        send_all(&mut body, framed(first)).await?;
        Ok((body, Call::accepted(response).await?))
    }

    /// Makes a call with one answer.
    pub(crate) async fn call<A: Message + Default>(&self, method: &str, message: &impl Message) -> Result<A, Ending> {
        let mut body = self.unread(method, message).await?;
        let answer = read_all(&mut body).await?;
        answer.get(5..).and_then(|message| A::decode(message).ok()).ok_or(Ending::Closed)
    }

    /// How a call ends that shows this header `authorization`; its answer does not matter.
    pub(crate) async fn ending_as(&self, method: &str, token: Option<HeaderValue>, message: &impl Message) -> Ending {
        let begun = async {
            let token = token.map(|token| (header::AUTHORIZATION, token));
            let Call { response, mut body } = self.begin_with(method, token.as_slice()).await?;
            // A call that is refused by its headers needs no message.
            body.send_data(framed(message), true).ok();
            Ok::<_, Ending>(response)
        };
        match begun.await {
            Ok(response) => Call::ending(response).await,
            Err(ending) => ending,
        }
    }

    /// The token that its calls show.
    pub(crate) const fn token(&self) -> Option<&HeaderValue> {
        self.token.as_ref()
    }

    /// How the connection ended; `None` while it is open.
    pub(crate) fn has_ended(&mut self) -> Option<Ending> {
        match self.driver.try_join_next()? {
            Ok(Err(error)) => Some(Ending::of_h2(&error)),
            _ => Some(Ending::Closed),
        }
    }
}

impl Call {
    /// Waits until a call is taken: its answer, or how it was refused.
    async fn accepted(response: ResponseFuture) -> Result<RecvStream, Ending> {
        let response = response.await.map_err(|error| Ending::of_h2(&error))?;
        match Ending::of_headers(response.headers()) {
            Some(refused) => Err(refused),
            None => Ok(response.into_body()),
        }
    }

    /// Waits for the end of a call whose answer does not matter.
    pub(crate) async fn ending(response: ResponseFuture) -> Ending {
        match response.await {
            Ok(response) => match Ending::of_headers(response.headers()) {
                Some(ending) => ending,
                None => drained(response.into_body()).await,
            },
            Err(error) => Ending::of_h2(&error),
        }
    }
}

/// The value of a header `authorization`. Not kept in the tables of header compression: each call sends it whole.
pub(crate) fn bearer(token: &str) -> HeaderValue {
    let mut value: HeaderValue = format!("Bearer {token}").parse().expect("a token is visible ASCII");
    value.set_sensitive(true);
    value
}

/// Sends bytes as flow control lets them through, and waits for that.
pub(crate) async fn send_all(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Ending> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let ready = std::future::poll_fn(|cx| body.poll_capacity(cx)).await;
        let room = ready.ok_or(Ending::Closed)?.map_err(|error| Ending::of_h2(&error))?;
        let part = bytes.split_to(room.min(bytes.len()));
        body.send_data(part, false).map_err(|error| Ending::of_h2(&error))?;
    }
    Ok(())
}

async fn drive(connection: Connection<Wire, Bytes>) -> Result<(), h2::Error> {
    connection.await
}

/// Reads an answer to its end and throws it away.
pub(crate) async fn drained(mut body: RecvStream) -> Ending {
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => drop(body.flow_control().release_capacity(data.len())),
            Err(error) => return Ending::of_h2(&error),
        }
    }
    trailers(&mut body).await
}

async fn read_all(body: &mut RecvStream) -> Result<BytesMut, Ending> {
    let mut all = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| Ending::of_h2(&error))?;
        // A stream that is over needs no room.
        body.flow_control().release_capacity(data.len()).ok();
        all.extend_from_slice(&data);
    }
    match trailers(body).await {
        Ending::Served => Ok(all),
        refused => Err(refused),
    }
}

pub(crate) async fn trailers(body: &mut RecvStream) -> Ending {
    match body.trailers().await {
        Ok(Some(trailers)) => Ending::of_headers(&trailers).unwrap_or(Ending::Closed),
        Ok(None) => Ending::Closed,
        Err(error) => Ending::of_h2(&error),
    }
}

/// Notices the end of an answer that nobody reads, and hands it back: its part of the connection's window is used up
/// until it is dropped.
pub(crate) async fn unread_ending(mut body: RecvStream) -> (Ending, Option<RecvStream>) {
    // What is not released closes the window, so that only the end is heard.
    let ending = loop {
        match body.data().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break Ending::of_h2(&error),
            None => break trailers(&mut body).await,
        }
    };
    (ending, Some(body))
}

/// A message with gRPC's prefix.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.encoded_len());
    bytes.put_slice(&prefix(message.encoded_len()));
    message.encode(&mut bytes).expect("the buffer grows");
    bytes.freeze()
}

/// The prefix of a message of so many bytes.
pub(crate) fn prefix(length: usize) -> [u8; 5] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use starling_client::pb::livestream::v1::GetLivestreamRequest;

    use super::*;

    #[test]
    fn message_has_its_length_before_it() {
        assert_eq!(framed(&GetLivestreamRequest { livestream_id: 7, ..Default::default() })[..], [0, 0, 0, 0, 2, 8, 7]);
        assert_eq!(prefix(0x0102_0304), [0, 1, 2, 3, 4]);
    }
}

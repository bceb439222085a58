//! A client that sees every frame, and reads as much or as little as it is told to.

use std::net::{IpAddr, SocketAddr};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::{self, SendRequest};
use http::{HeaderMap, Request, Response};
use prost::Message;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{Delivery, Goodbye, SubscriptionPosition, delivery::Item};
use starling_verify::History;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::harness::soon;
use crate::net::fixture::deliveries;

/// More than anything takes.
pub(crate) const WIDE: u32 = 1 << 24;
/// What the kernel may hold of what is not read.
const SOCKET_BUFFER: u32 = 16 * 1024;

/// One gRPC message as it travels.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.encoded_len()).unwrap());
    message.encode(&mut bytes).unwrap();
    bytes.freeze()
}

/// Waits until it is held, or not; false when nobody holds it any more.
async fn is(held: &mut watch::Receiver<bool>, wanted: bool) -> bool {
    held.wait_for(|held| *held == wanted).await.is_ok()
}

/// A connection of HTTP/2 that answers pings, unless it is held.
#[derive(Debug)]
pub(crate) struct Wire {
    send: SendRequest<Bytes>,
    hold: watch::Sender<bool>,
    driver: JoinSet<Result<(), h2::Error>>,
}

impl Wire {
    /// Each of its streams takes `window` bytes until it is read.
    pub(crate) async fn connect(server: SocketAddr, window: u32) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SOCKET_BUFFER).unwrap();
        let socket = socket.connect(server).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self::over(socket, window).await
    }

    /// The same from this address.
    pub(crate) async fn connect_from(address: IpAddr, server: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Self::over(socket.connect(server).await.unwrap(), WIDE).await
    }

    /// The same over a connection of any kind.
    pub(crate) async fn over(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, window: u32) -> Self {
        let mut builder = client::Builder::new();
        builder.initial_window_size(window).initial_connection_window_size(WIDE);
        let (send, connection) = soon(builder.handshake(socket)).await.unwrap();
        let (hold, mut held) = watch::channel(false);
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            tokio::pin!(connection);
            loop {
                tokio::select! {
                    biased;
                    true = is(&mut held, true) => drop(is(&mut held, false).await),
                    ended = &mut connection => return ended,
                }
            }
        });
        Self { send, hold, driver }
    }

    /// Whether it reads its socket.
    pub(crate) fn hold(&self, held: bool) {
        self.hold.send_replace(held);
    }

    /// Calls a method of the livestreams.
    pub(crate) async fn call(
        &mut self,
        method: &str,
        request: &impl Message,
    ) -> Result<Response<RecvStream>, h2::Error> {
        self.call_of("starling.livestream.v1.LivestreamService", method, request).await
    }

    /// Calls a method of a service.
    pub(crate) async fn call_of(
        &mut self,
        service: &str,
        method: &str,
        request: &impl Message,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let head = Request::post(format!("http://localhost/{service}/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let mut ready = soon(self.send.clone().ready()).await?;
        let (response, mut body) = ready.send_request(head, false)?;
        body.send_data(framed(request), true)?;
        soon(response).await
    }

    /// Asks for a tunnel; the HTTP status of the answer.
    pub(crate) async fn tunnel(&mut self) -> u16 {
        let head = Request::connect("elsewhere:80").body(()).unwrap();
        let mut ready = soon(self.send.clone().ready()).await.unwrap();
        let (response, _body) = ready.send_request(head, false).unwrap();
        soon(response).await.unwrap().status().as_u16()
    }

    /// Subscribes, and reads nothing.
    pub(crate) async fn subscribe(&mut self, request: &pb::SubscribeUpdatesRequest) -> Reading {
        let response = self.call("SubscribeUpdates", request).await.unwrap();
        assert_eq!(response.headers().get("grpc-status"), None, "it is not refused");
        Reading {
            body: response.into_body(),
            rest: BytesMut::new(),
            frames: Vec::new(),
            messages: 0,
            epoch: 0,
            goodbye: None,
            history: History::new(request.node_id),
        }
    }

    /// How the connection ends.
    pub(crate) async fn ended(mut self) -> Result<(), h2::Error> {
        // Idle clients keep a connection open.
        drop(self.send);
        soon(self.driver.join_next()).await.unwrap().unwrap()
    }

    /// Waits until the server tells it to go, and takes no more streams.
    pub(crate) async fn told_to_go(&mut self) {
        let get = pb::GetLivestreamRequest { livestream_id: 99, ..Default::default() };
        let why = soon(async {
            loop {
                if let Err(why) = self.call("GetLivestream", &get).await {
                    break why;
                }
            }
        });
        let why = why.await;
        assert!(why.is_go_away() && why.is_remote(), "{why:?}");
    }
}

/// What comes on one stream.
#[derive(Debug)]
pub(crate) struct Reading {
    body: RecvStream,
    rest: BytesMut,
    /// The length of each DATA frame.
    pub(crate) frames: Vec<usize>,
    pub(crate) messages: usize,
    epoch: u64,
    pub(crate) goodbye: Option<Goodbye>,
    pub(crate) history: History,
}

impl Reading {
    /// Takes one DATA frame, and lets the server send as much again; false at the end.
    pub(crate) async fn read(&mut self) -> Result<bool, h2::Error> {
        let Some(length) = self.peek().await? else { return Ok(false) };
        // A stream that is over needs no room.
        drop(self.body.flow_control().release_capacity(length));
        Ok(true)
    }

    /// Takes one DATA frame, its length, and does not open the window again.
    pub(crate) async fn peek(&mut self) -> Result<Option<usize>, h2::Error> {
        let Some(data) = soon(self.body.data()).await else { return Ok(None) };
        let data = data?;
        self.frames.push(data.len());
        self.rest.extend_from_slice(&data);
        while self.rest.len() >= 5 {
            let length = usize::try_from(u32::from_be_bytes(self.rest[1..5].try_into().unwrap())).unwrap();
            if self.rest.len() < 5 + length {
                break;
            }
            assert_eq!(self.rest.get_u8(), 0, "nothing is compressed");
            self.rest.advance(4);
            self.messages += 1;
            let message = pb::SubscribeUpdatesResponse::decode(self.rest.split_to(length).freeze()).unwrap();
            deliveries(&message).for_each(|delivery| self.note(delivery));
        }
        Ok(Some(data.len()))
    }

    fn note(&mut self, delivery: Delivery) {
        match &delivery.item {
            Some(Item::Subscribed(subscribed)) => self.epoch = subscribed.epoch,
            Some(Item::Goodbye(goodbye)) => self.goodbye = Some(*goodbye),
            _ => {}
        }
        self.history.record(&delivery);
    }

    /// How many updates came.
    pub(crate) fn updates(&self) -> u64 {
        self.history.totals().updates
    }

    /// Reads to the end, to what comes after all messages.
    pub(crate) async fn trailers(&mut self) -> HeaderMap {
        while self.read().await.unwrap() {}
        assert!(self.rest.is_empty(), "half a message");
        soon(self.body.trailers()).await.unwrap().expect("there are trailers")
    }

    /// What came, to be gone on from elsewhere.
    pub(crate) fn cut(mut self) -> (History, Option<SubscriptionPosition>) {
        self.history.cut();
        let resume_from =
            SubscriptionPosition { epoch: self.epoch, positions: self.history.positions(), ..Default::default() };
        (self.history, (self.epoch != 0).then_some(resume_from))
    }
}

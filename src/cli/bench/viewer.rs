//! Viewers that do as little as can be: read, count, and look at a sample.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use h2::client::SendRequest;
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::meter::Meter;
use super::raw::VIEWER;
use super::scan::Scanner;
use super::stamp::STAMP;
use crate::cli::Failure;
use crate::pb::livestream::v1 as pb;
use crate::pb::swarm::v1::{Channel, Delivery, delivery::Item};

/// The method that viewers call, at Starling and at plain tonic.
pub(super) const SUBSCRIBE: &str = "/starling.livestream.v1.LivestreamService/SubscribeUpdates";
/// Room for what comes while a viewer waits for its turn on a busy machine.
const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2's own: all that one that does not read gets.
const STALLED_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

/// One viewer: its number, and how it subscribes.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) number: usize,
    /// It never reads after it subscribed.
    pub(super) stalled: bool,
    pub(super) subscribe: pb::SubscribeUpdatesRequest,
}

/// What the viewers talk to, and how they count.
#[derive(Clone, Debug)]
pub(super) struct Hall {
    pub(super) address: SocketAddr,
    pub(super) meter: Arc<Meter>,
    /// Looks at one delivery of so many.
    pub(super) every: u64,
    /// Bytes of a message of the raw baseline; `None` for gRPC.
    pub(super) raw: Option<usize>,
    /// A permit per viewer that is in.
    seated: Arc<Semaphore>,
    /// Permits to open a connection.
    doors: Arc<Semaphore>,
}

/// All viewers of a run, gone when dropped.
#[derive(Debug)]
pub(super) struct Crowd(JoinSet<Result<(), Failure>>);

impl Hall {
    pub(super) fn new(address: SocketAddr, meter: Arc<Meter>, every: u64, raw: Option<usize>) -> Self {
        let (seated, doors) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(AT_ONCE)));
        Self { address, meter, every, raw, seated, doors }
    }

    /// Opens the connections, each with its seats, and waits until everybody is in.
    pub(super) async fn fill(self, connections: Vec<Vec<Seat>>) -> Result<Crowd, Failure> {
        let viewers = connections.iter().map(Vec::len).sum::<usize>();
        let all = u32::try_from(viewers).map_err(|_| Failure("too many viewers".into()))?;
        let seated = Arc::clone(&self.seated);
        let mut crowd = JoinSet::new();
        for seats in connections {
            let hall = self.clone();
            crowd.spawn(async move {
                match hall.raw {
                    Some(size) => hall.raw(seats, size).await,
                    None => hall.grpc(seats).await,
                }
            });
        }
        tokio::select! {
            permits = seated.acquire_many(all) => drop(permits?),
            Some(ended) = crowd.join_next() => {
                ended??;
                return Err(Failure("a connection ended before everybody was in".into()));
            }
        }
        Ok(Crowd(crowd))
    }

    async fn connect(&self) -> Result<TcpStream, Failure> {
        let _door = self.doors.acquire().await?;
        let tcp = TcpStream::connect(self.address).await;
        let tcp = tcp.map_err(|error| Failure(format!("cannot connect to {}: {error}", self.address)))?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// One HTTP/2 connection and its viewers, in one task.
    async fn grpc(self, seats: Vec<Seat>) -> Result<(), Failure> {
        let tcp = self.connect().await?;
        let window = if seats.iter().all(|seat| seat.stalled) { STALLED_WINDOW } else { STREAM_WINDOW };
        let (requests, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake::<_, Bytes>(tcp)
            .await?;
        let mut viewers: FuturesUnordered<_> =
            seats.into_iter().map(|seat| self.view(requests.clone(), seat)).collect();
        drop(requests);
        let connection = std::pin::pin!(connection);
        // What a broken connection means for its viewers, they say themselves.
        let mut connection = futures_util::FutureExt::fuse(connection);
        loop {
            tokio::select! {
                biased;
                _ = &mut connection => {}
                viewed = viewers.next() => match viewed {
                    Some(viewed) => viewed?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn view(&self, requests: SendRequest<Bytes>, seat: Seat) -> Result<(), Failure> {
        let request = http::Request::post(format!("http://{}{SUBSCRIBE}", self.address))
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(http::header::TE, "trailers")
            .body(())?;
        let mut requests = requests.ready().await?;
        let (response, mut body) = requests.send_request(request, false)?;
        body.send_data(framed(&seat.subscribe)?, true)?;
        let response = response.await?;
        if let Some(status) = response.headers().get("grpc-status") {
            let message = response.headers().get("grpc-message").map(|message| message.to_str().unwrap_or_default());
            let message = message.unwrap_or_default();
            return Err(Failure(format!("a viewer was refused: status {}: {message}", status.to_str()?)));
        }
        self.seated.add_permits(1);
        let mut body = response.into_body();
        if seat.stalled {
            // Nothing is released: the window closes, and only the end is heard.
            while let Some(Ok(_)) = body.data().await {}
            self.meter.cut(seat.number);
            return Ok(());
        }
        let mut scanner = Scanner::new(self.every, seat.number as u64);
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len())?;
            let found = scanner.scan(&data, |delivery| self.sample(delivery))?;
            self.meter.count(seat.number, found.updates, found.gaps);
        }
        self.meter.cut(seat.number);
        Ok(())
    }

    fn sample(&self, delivery: &[u8]) {
        if let Ok(Delivery { item: Some(Item::Update(update)) }) = Delivery::decode(delivery) {
            self.meter.sample(&update.payload);
        }
    }

    /// Connections of the raw baseline; each viewer has one.
    async fn raw(self, seats: Vec<Seat>, size: usize) -> Result<(), Failure> {
        let mut viewers: FuturesUnordered<_> = seats.into_iter().map(|seat| self.view_raw(seat, size)).collect();
        while let Some(viewed) = viewers.next().await {
            viewed?;
        }
        Ok(())
    }

    async fn view_raw(&self, seat: Seat, size: usize) -> Result<(), Failure> {
        let mut tcp = self.connect().await?;
        tcp.write_all(&[VIEWER]).await?;
        self.seated.add_permits(1);
        if seat.stalled {
            std::future::pending::<()>().await;
        }
        let mut frames = Frames { size, offset: 0, every: self.every, until: seat.number as u64 % self.every };
        loop {
            tcp.readable().await?;
            match frames.read(&tcp, &self.meter) {
                Ok(Some(updates)) => self.meter.count(seat.number, updates, 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.meter.cut(seat.number);
        Ok(())
    }
}

impl Crowd {
    /// Fails when a viewer has failed.
    pub(super) fn check(&mut self) -> Result<(), Failure> {
        while let Some(ended) = self.0.try_join_next() {
            ended??;
        }
        Ok(())
    }
}

/// A message with gRPC's prefix.
fn framed(message: &impl Message) -> Result<Bytes, Failure> {
    let mut framed = vec![0];
    framed.extend_from_slice(&u32::try_from(message.encoded_len())?.to_be_bytes());
    message.encode(&mut framed)?;
    Ok(framed.into())
}

/// How a viewer of a livestream's VISUAL subscribes.
pub(super) fn subscription(livestream_id: u64, node_id: u64, session_id: u64) -> pb::SubscribeUpdatesRequest {
    let channels = vec![Channel::Visual.into()];
    pb::SubscribeUpdatesRequest { livestream_id, node_id, session_id, channels, ..Default::default() }
}

/// Messages of a fixed size on a raw connection.
#[derive(Debug)]
struct Frames {
    size: usize,
    /// Bytes of the message under way.
    offset: usize,
    every: u64,
    until: u64,
}

impl Frames {
    /// Reads what is there; answers with how many messages began, `None` at the end.
    fn read(&mut self, tcp: &TcpStream, meter: &Meter) -> io::Result<Option<u64>> {
        let mut buffer = [0; 16 * 1024];
        let count = tcp.try_read(&mut buffer)?;
        let mut bytes = &buffer[..count];
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.offset == 0 {
                begun += 1;
                if self.until > 0 {
                    self.until -= 1;
                } else if bytes.len() >= STAMP {
                    // One whose stamp is cut gives way to the next.
                    meter.sample(bytes);
                    self.until = self.every - 1;
                }
            }
            let step = bytes.len().min(self.size - self.offset);
            self.offset = (self.offset + step) % self.size;
            bytes = &bytes[step..];
        }
        Ok((count > 0).then_some(begun))
    }
}

//! Viewers that do as little as can be: read, count, and look at a sample.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::{HeaderValue, Uri};
use prost::Message;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::link::Link;
use super::meter::Meter;
use super::nats::{CONNECT, PING, PONG, Parser};
use super::raw::VIEWER;
use super::scan::Scanner;
use super::stamp::STAMP;
use crate::error::BenchError;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{Delivery, UpdateChannel, delivery::Item};

/// The method that viewers call, at Starling and at plain tonic.
pub(crate) const SUBSCRIBE: &str = "/starling.livestream.v1.LivestreamService/SubscribeUpdates";
/// Room for what comes while a viewer waits for its turn on a busy machine.
const STREAM_WINDOW: u32 = 4 << 20;
/// HTTP/2's own: all that one that does not read gets.
const STALLED_WINDOW: u32 = 65_535;
/// Connections that are opened at the same time.
const AT_ONCE: usize = 64;

/// Connections from one loopback address: Starling gives each address a share.
const OF_ONE_ADDRESS: u32 = 2_048;

/// One viewer: its number, and how it subscribes.
#[derive(Clone, Debug)]
pub(crate) struct ViewerConfig {
    pub(crate) number: usize,
    /// It never reads after it subscribed.
    pub(crate) stalled: bool,
    /// It waits until it is let in.
    pub(crate) late: bool,
    pub(crate) subscribe: pb::SubscribeUpdatesRequest,
    /// Who it is, where the server asks.
    pub(crate) authorization: Option<HeaderValue>,
}

/// What the viewers talk to, and how they count.
#[derive(Clone, Debug)]
pub(crate) struct ViewerContext {
    pub(crate) address: SocketAddr,
    pub(crate) meter: Arc<Meter>,
    /// Looks at one delivery of so many.
    pub(crate) every: u64,
    pub(crate) protocol: Protocol,
    access: Access,
    /// Opened for those who come later.
    pub(crate) late: CancellationToken,
    /// A permit per viewer that is in.
    pub(crate) ready: Arc<Semaphore>,
    /// Permits to open a connection.
    connect_permits: Arc<Semaphore>,
    /// How many were opened.
    connected: Arc<AtomicU32>,
}

/// What viewers speak.
#[derive(Clone, Debug)]
pub(crate) enum Protocol {
    Grpc {
        /// Something comes before the first update: whoever has it is in.
        greets: bool,
        behaviour: Behaviour,
    },
    /// Messages of so many bytes.
    Raw(usize),
    /// Of this subject.
    Nats(Arc<str>),
}

/// How viewers use HTTP/2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Behaviour {
    /// Wide windows, and as little as can be sent back.
    #[default]
    Lean,
    /// As stock grpc-go with its defaults: windows of 64 KiB, and a PING for nearly every delivery.
    GrpcGo,
}

impl ViewerContext {
    pub(crate) fn new(address: SocketAddr, meter: Arc<Meter>, every: u64, protocol: Protocol, access: Access) -> Self {
        let (ready, connect_permits) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(AT_ONCE)));
        Self {
            address,
            meter,
            every,
            protocol,
            access,
            late: CancellationToken::new(),
            ready,
            connect_permits,
            connected: Arc::default(),
        }
    }

    pub(crate) async fn connect(&self) -> Result<TcpStream, BenchError> {
        let _permit = self.connect_permits.acquire().await?;
        let block = u8::try_from(self.connected.fetch_add(1, Ordering::Relaxed) / OF_ONE_ADDRESS).unwrap_or(u8::MAX);
        let tcp = if self.address.ip() == Ipv4Addr::LOCALHOST && block > 0 {
            let socket = TcpSocket::new_v4()?;
            socket.bind((Ipv4Addr::new(127, 0, 1, block), 0).into())?;
            socket.connect(self.address).await
        } else {
            TcpStream::connect(self.address).await
        };
        let tcp = tcp.map_err(|error| BenchError(format!("cannot connect to {}: {error}", self.address)))?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    }

    /// One HTTP/2 connection and its viewers, in one task.
    pub(crate) async fn grpc(self, configs: Vec<ViewerConfig>, greets: bool) -> Result<(), BenchError> {
        let wire = self.access.wire(self.connect().await?).await?;
        let window = if configs.iter().all(|config| config.stalled) { STALLED_WINDOW } else { STREAM_WINDOW };
        let (link, driver) = Link::open(wire, window).await?;
        let subscribe = link.method(SUBSCRIBE)?;
        let viewers = configs.into_iter().map(|config| self.view(&link, &subscribe, config, greets)).collect();
        driver.drive(viewers).await
    }

    async fn view(&self, link: &Link, subscribe: &Uri, config: ViewerConfig, greets: bool) -> Result<(), BenchError> {
        if config.late {
            self.late.cancelled().await;
        }
        let mut body = link.stream(subscribe, &config.subscribe, config.authorization.as_ref()).await?;
        if config.stalled {
            self.ready.add_permits(1);
            // Nothing is released: the window closes, and only the end is heard.
            while let Some(Ok(_)) = body.data().await {}
            self.meter.cut(config.number);
            return Ok(());
        }
        let mut waits = greets;
        if !waits {
            self.ready.add_permits(1);
        }
        let mut scanner = Scanner::new(self.every, config.number as u64);
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len())?;
            let found = scanner.scan(&data, |delivery| self.sample(delivery))?;
            if waits && found.others > 0 {
                waits = false;
                self.ready.add_permits(1);
            }
            self.meter.count(config.number, found.updates, found.gaps);
        }
        self.meter.cut(config.number);
        Ok(())
    }

    /// One more viewer is in.
    pub(crate) fn is_in(&self) {
        self.ready.add_permits(1);
    }

    pub(crate) fn sample(&self, delivery: &[u8]) {
        if let Ok(Delivery { item: Some(Item::Update(update)) }) = Delivery::decode(delivery) {
            self.meter.sample(&update.payload);
        }
    }

    /// Connections of the other baselines; each viewer has one.
    pub(crate) async fn tcp(self, configs: Vec<ViewerConfig>) -> Result<(), BenchError> {
        let mut viewers: FuturesUnordered<_> = configs.into_iter().map(|config| self.view_tcp(config)).collect();
        while let Some(viewed) = viewers.next().await {
            viewed?;
        }
        Ok(())
    }

    async fn view_tcp(&self, config: ViewerConfig) -> Result<(), BenchError> {
        let tcp = self.connect().await?;
        match &self.protocol {
            Protocol::Raw(size) => self.view_raw(tcp, &config, *size).await?,
            Protocol::Nats(subject) => self.view_nats(tcp, &config, subject).await?,
            Protocol::Grpc { .. } => unreachable!("gRPC has streams"),
        }
        self.meter.cut(config.number);
        Ok(())
    }

    async fn view_raw(&self, mut tcp: TcpStream, config: &ViewerConfig, size: usize) -> Result<(), BenchError> {
        tcp.write_all(&[VIEWER]).await?;
        self.ready.add_permits(1);
        if config.stalled {
            std::future::pending::<()>().await;
        }
        let mut frames = Frames { size, offset: 0, every: self.every, until: config.number as u64 % self.every };
        while let Some(updates) = read(&tcp, |bytes| frames.take(bytes, &self.meter)).await? {
            self.meter.count(config.number, updates, 0);
        }
        Ok(())
    }

    async fn view_nats(&self, mut tcp: TcpStream, config: &ViewerConfig, subject: &str) -> Result<(), BenchError> {
        tcp.write_all(format!("{CONNECT}SUB {subject} 1\r\n{PING}").as_bytes()).await?;
        let mut parser = Parser::new(self.every, config.number as u64);
        while let Some(heard) = read(&tcp, |bytes| parser.hear(bytes, |payload| self.meter.sample(payload))).await? {
            let heard = heard?;
            if heard.pings > 0 {
                tcp.write_all(PONG.as_bytes()).await?;
            }
            if heard.pongs > 0 {
                // The answer to ours: it has subscribed.
                self.ready.add_permits(1);
                if config.stalled {
                    std::future::pending::<()>().await;
                }
            }
            self.meter.count(config.number, heard.messages, 0);
        }
        Ok(())
    }
}

/// Reads what is there, when something is; `None` at the end.
async fn read<T>(tcp: &TcpStream, take: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, BenchError> {
    let mut take = Some(take);
    loop {
        tcp.readable().await?;
        let mut buffer = [0; 16 * 1024];
        match tcp.try_read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => return Ok(None),
            Ok(count) => return Ok(take.take().map(|take| take(&buffer[..count]))),
        }
    }
}

/// How a viewer of a livestream's VISUAL subscribes.
pub(crate) fn subscription(livestream_id: u64, node_id: u64, session_id: u64) -> pb::SubscribeUpdatesRequest {
    let channels = vec![UpdateChannel::Visual.into()];
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
    /// Takes the next bytes; answers with how many messages began.
    fn take(&mut self, mut bytes: &[u8], meter: &Meter) -> u64 {
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
        begun
    }
}

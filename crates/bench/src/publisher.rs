//! The publisher's connection to a server.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::interests::Pictures;
use super::livestream::TestLivestream;
use super::nats::{CONNECT, PONG, Parser};
use super::plain;
use super::raw::PUBLISHER;
use super::stamp;
use crate::error::BenchError;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SigningKey, SwarmRef};

/// Updates that may wait for their acknowledgement.
const WINDOW: usize = 1_024;
/// Bytes that are worth a call of the system.
const ENOUGH: usize = 16 * 1024;
/// What stands before a message in HTTP/2 and gRPC, in bytes.
const FRAME: usize = 9 + 5;

/// Where updates go.
pub(crate) enum PublisherConnection {
    /// Starling, or plain tonic.
    Grpc(Box<Publisher>),
    /// The raw baseline: messages of one size.
    Raw { tcp: TcpStream, size: usize },
    /// NATS: what waits goes out when there is enough of it, or nothing else to do.
    Nats { tcp: TcpStream, subject: String, waits: Vec<u8>, parser: Parser },
}

impl PublisherConnection {
    /// That of a livestream; if it has a key, one who signs.
    pub(crate) async fn of(livestream: &TestLivestream) -> Result<Self, BenchError> {
        let (broadcaster, key) = (livestream.broadcaster(), livestream.key.clone());
        let client = livestream.access.client_of(livestream.client.clone(), broadcaster)?;
        Self::grpc(client, livestream.livestream, broadcaster, key).await
    }

    /// With a key, one who signs.
    pub(crate) async fn grpc(
        client: Client,
        livestream: u64,
        node: u64,
        signing_key: Option<Arc<SigningKey>>,
    ) -> Result<Self, BenchError> {
        let publication = PublishOptions {
            window: WINDOW,
            temporal_layers: 2,
            signing_key,
            ..PublishOptions::new(SwarmRef::Livestream(livestream), node, vec![UpdateChannel::Visual])
        };
        Ok(Self::Grpc(Box::new(Publisher::open(client, publication).await?)))
    }

    /// To be opened when all viewers are in.
    pub(crate) async fn raw(address: SocketAddr, size: usize) -> Result<Self, BenchError> {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(&[PUBLISHER]).await?;
        tcp.write_all(&u32::try_from(size)?.to_be_bytes()).await?;
        Ok(Self::Raw { tcp, size })
    }

    pub(crate) async fn nats(address: SocketAddr, subject: &str) -> Result<Self, BenchError> {
        let mut tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        tcp.write_all(CONNECT.as_bytes()).await?;
        Ok(Self::Nats { tcp, subject: subject.to_owned(), waits: Vec::new(), parser: Parser::new(1, 0) })
    }

    /// Takes answers, until there is room for an update.
    pub(crate) async fn room(&mut self) -> Result<(), BenchError> {
        if let Self::Grpc(publisher) = self {
            while publisher.room() == 0 {
                heard(publisher.next().await?)?;
            }
        }
        Ok(())
    }

    /// Takes answers as they come, for ever. Safe to drop and call again.
    pub(crate) async fn listen(&mut self) -> Result<(), BenchError> {
        match self {
            Self::Grpc(publisher) => loop {
                heard(publisher.next().await?)?;
            },
            Self::Raw { .. } => std::future::pending().await,
            Self::Nats { tcp, waits, parser, .. } => loop {
                flush(tcp, waits).await?;
                let mut buffer = [0; 4 * 1024];
                let count = tcp.read(&mut buffer).await?;
                if count == 0 {
                    return Err(BenchError("the NATS server has hung up".into()));
                }
                if parser.hear(&buffer[..count], |_| {})?.pings > 0 {
                    waits.extend_from_slice(PONG.as_bytes());
                }
            },
        }
    }

    /// Sends the update of this number, from 0, that was due at `nanos`; there must be room.
    pub(crate) async fn send(
        &mut self,
        number: u64,
        nanos: u64,
        bytes: usize,
        pictures: Pictures,
    ) -> Result<(), BenchError> {
        match self {
            Self::Grpc(publisher) => {
                publisher.send(draft(number, nanos, bytes, pictures)).map_err(|full| BenchError(full.to_string()))?;
            }
            Self::Raw { tcp, size } => tcp.write_all(&stamp::payload(*size, nanos)).await?,
            Self::Nats { tcp, subject, waits, .. } => {
                write!(waits, "PUB {subject} {bytes}\r\n")?;
                waits.extend_from_slice(&stamp::payload(bytes, nanos));
                waits.extend_from_slice(b"\r\n");
                if waits.len() >= ENOUGH {
                    flush(tcp, waits).await?;
                }
            }
        }
        Ok(())
    }
}

/// Safe to drop and call again.
async fn flush(tcp: &mut TcpStream, waits: &mut Vec<u8>) -> Result<(), BenchError> {
    while !waits.is_empty() {
        let written = tcp.write(waits).await?;
        waits.drain(..written);
    }
    Ok(())
}

fn heard(event: Option<PublishEvent>) -> Result<(), BenchError> {
    match event {
        Some(PublishEvent::Rejected(rejected)) => {
            Err(BenchError(format!("an update was refused: {}", rejected.reason().as_str_name())))
        }
        Some(PublishEvent::Cut(why)) => Err(why.into()),
        Some(_) => Ok(()),
        None => Err(BenchError("the livestream ended under way".into())),
    }
}

fn draft(number: u64, nanos: u64, bytes: usize, pictures: Pictures) -> UpdateDraft {
    let (keyframe, temporal_layer) = pictures.kind(number);
    UpdateDraft {
        channel: UpdateChannel::Visual.into(),
        payload: stamp::payload(bytes, nanos).into(),
        keyframe,
        temporal_layer,
        publisher_sequence: number + 1,
        ..Default::default()
    }
}

/// Bytes on the wire of an update with a payload of so many bytes: what the raw baseline sends.
pub(crate) fn wire_size(bytes: usize) -> usize {
    let response = plain::response(draft(1_000, 0, bytes, Pictures { keyframes: 60 }), 1_000);
    FRAME + prost::Message::encoded_len(&response)
}

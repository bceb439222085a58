//! Fan-out as one writes it with tonic alone: a `tokio::sync::broadcast` and a stream of it per
//! viewer. Updates are encoded once, as Starling's are; framing and copying are tonic's.
//!
//! It speaks SubscribeUpdates and PublishUpdates of LivestreamService, as far as the benchmark
//! needs them, so that publisher and viewers are the same.

use std::convert::Infallible;
use std::io::Write;
use std::path::PathBuf;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Ready, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::broadcast::{self, error::RecvError};
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{Grpc, NamedService, ServerStreamingService, StreamingService};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::viewer::SUBSCRIBE;
use crate::error::BenchError;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1 as shared;

const PUBLISH: &str = "/starling.livestream.v1.LivestreamService/PublishUpdates";
/// Updates that a viewer may lag behind before it loses some; the customary size.
const CAPACITY: usize = 1_024;

/// SubscribeUpdatesResponse with its deliveries as encoded once: on the wire the same.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EncodedResponse {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    deliveries: Vec<Bytes>,
}

/// The certificate that it shows, if it serves over TLS.
#[derive(Debug, clap::Args)]
pub(crate) struct Certificate {
    /// In PEM.
    #[arg(long, requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// Its key, in PEM.
    #[arg(long, requires = "cert_file")]
    key_file: Option<PathBuf>,
}

/// Serves until standard input ends.
pub(crate) async fn serve(certificate: Certificate) -> Result<(), BenchError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "tonic listens on {}", listener.local_addr()?)?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder();
    if let (Some(cert), Some(key)) = (certificate.cert_file, certificate.key_file) {
        let identity = Identity::from_pem(std::fs::read(cert)?, std::fs::read(key)?);
        server = server.tls_config(ServerTlsConfig::new().identity(identity))?;
    }
    let served = server.add_service(Plain(broadcast::Sender::new(CAPACITY))).serve_with_incoming(incoming);
    let (mut stdin, mut nothing) = (tokio::io::stdin(), [0]);
    tokio::select! {
        served = served => Ok(served?),
        read = stdin.read(&mut nothing) => Ok(read.map(|_| ())?),
    }
}

type Stream<M> = BoxStream<'static, Result<M, Status>>;

#[derive(Clone, Debug)]
struct Plain(broadcast::Sender<EncodedResponse>);

impl NamedService for Plain {
    const NAME: &'static str = "starling.livestream.v1.LivestreamService";
}

impl Service<http::Request<Body>> for Plain {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let updates = self.0.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                SUBSCRIBE => Grpc::new(ProstCodec::default()).server_streaming(Viewers(updates), request).await,
                PUBLISH => Grpc::new(ProstCodec::default()).streaming(Publishers(updates), request).await,
                _ => Status::unimplemented("not needed here").into_http(),
            })
        })
    }
}

struct Viewers(broadcast::Sender<EncodedResponse>);

impl ServerStreamingService<pb::SubscribeUpdatesRequest> for Viewers {
    type Response = EncodedResponse;
    type ResponseStream = Stream<Self::Response>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, _: Request<pb::SubscribeUpdatesRequest>) -> Self::Future {
        let updates = stream::unfold(self.0.subscribe(), |mut updates| async move {
            loop {
                match updates.recv().await {
                    Ok(update) => return Some((Ok(update), updates)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        });
        ready(Ok(Response::new(updates.boxed())))
    }
}

struct Publishers(broadcast::Sender<EncodedResponse>);

impl StreamingService<pb::PublishUpdatesRequest> for Publishers {
    type Response = pb::PublishUpdatesResponse;
    type ResponseStream = Stream<Self::Response>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<pb::PublishUpdatesRequest>>) -> Self::Future {
        let (updates, mut sequence) = (self.0.clone(), 0);
        let events = request.into_inner().map(move |request| {
            let event = match request?.message {
                Some(Publish::Update(draft)) => {
                    sequence += 1;
                    let position = Some(position(sequence));
                    let ack = shared::ChannelAck { accepted_through: draft.publisher_sequence, position };
                    // Without viewers it goes nowhere.
                    updates.send(response(draft, sequence)).ok();
                    Event::Ack(shared::PublishAck { channels: vec![ack] })
                }
                Some(Publish::Open(_) | Publish::Renew(_)) | None => {
                    Event::Opened(shared::PublishOpened { epoch: 1, ..Default::default() })
                }
            };
            Ok(pb::PublishUpdatesResponse { event: Some(event) })
        });
        ready(Ok(Response::new(events.boxed())))
    }
}

fn position(sequence: u64) -> shared::UpdatePosition {
    shared::UpdatePosition {
        source_node_id: 1,
        channel: shared::UpdateChannel::Visual.into(),
        term: 1,
        sequence,
        ..Default::default()
    }
}

/// What the viewers get: the same bytes as from Starling.
pub(crate) fn response(draft: shared::UpdateDraft, sequence: u64) -> EncodedResponse {
    let update = shared::Update {
        position: Some(position(sequence)),
        payload: draft.payload,
        keyframe: draft.keyframe,
        temporal_layer: draft.temporal_layer,
        publish_time: draft.publish_time,
        // As long as a true one.
        accept_time: Some(prost_types::Timestamp { seconds: 1_800_000_000, nanos: 123_456_789 }),
        ..Default::default()
    };
    let delivery = shared::Delivery { item: Some(shared::delivery::Item::Update(update)) };
    EncodedResponse { deliveries: vec![delivery.encode_to_vec().into()] }
}

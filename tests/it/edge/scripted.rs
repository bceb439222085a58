//! What stands between a client and a server when something goes wrong: a server that says
//! what it is told to say, and a wire that can be cut.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use prost::Message as _;
use starling::pb::livestream::v1::SubscribeUpdatesResponse as EncodedDeliveries;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1 as shared;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

/// What one subscription is sent, and how it ends. A delivery without an item is one of a newer
/// schema.
pub(crate) type Script = (Vec<shared::Delivery>, Result<(), Status>);

/// An item that no client knows: field 30, a message without fields.
const UNKNOWN: &[u8] = &[0xf2, 0x01, 0x00];

/// A server of SubscribeUpdates, PublishUpdates, GetLivestream and JoinLivestream that follows a script, for what a real one
/// says only after an hour or when it fails.
#[derive(Debug)]
pub(crate) struct Scripted {
    address: SocketAddr,
    /// Each request to subscribe.
    pub(crate) asked: mpsc::Receiver<pb::SubscribeUpdatesRequest>,
    _running: JoinSet<()>,
}

/// The session of whoever joins.
pub(crate) const SESSION: u64 = 77;

#[derive(Clone)]
struct Service {
    scripts: Arc<Mutex<VecDeque<Script>>>,
    asked: mpsc::Sender<pb::SubscribeUpdatesRequest>,
    /// Each look at the livestream takes the next one; the last one stays.
    shown: Arc<Mutex<VecDeque<pb::Livestream>>>,
}

impl Scripted {
    /// Each subscription takes the next script; when there is none left it is refused for good.
    pub(crate) async fn start(scripts: Vec<Script>) -> Self {
        Self::showing(vec![pb::Livestream::default()], scripts).await
    }

    /// The same, with what it says of its livestream.
    pub(crate) async fn showing(shown: Vec<pb::Livestream>, scripts: Vec<Script>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, requests) = mpsc::channel(64);
        let shown = Arc::new(Mutex::new(shown.into()));
        let service = Service { scripts: Arc::new(Mutex::new(scripts.into())), asked, shown };
        let mut running = JoinSet::new();
        let serving = tonic::transport::Server::builder().add_service(service);
        running.spawn(async move {
            serving.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
        });
        Self { address, asked: requests, _running: running }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Service {
    /// The livestream as it is shown now.
    fn look(&self) -> Option<pb::Livestream> {
        let mut shown = self.shown.lock().unwrap();
        if shown.len() > 1 { shown.pop_front() } else { shown.front().cloned() }
    }

    async fn subscribe(
        self,
        request: pb::SubscribeUpdatesRequest,
    ) -> Result<Response<tokio_stream::Iter<std::vec::IntoIter<Result<EncodedDeliveries, Status>>>>, Status> {
        self.asked.send(request).await.unwrap();
        let next = self.scripts.lock().unwrap().pop_front();
        let (items, end) = next.ok_or_else(|| Status::not_found("the script is at its end"))?;
        let mut messages: Vec<_> = items
            .into_iter()
            .map(|item| {
                let known = item.encode_to_vec();
                let delivery = if known.is_empty() { UNKNOWN.to_vec() } else { known };
                Ok(EncodedDeliveries { deliveries: vec![delivery.into()] })
            })
            .collect();
        messages.extend(end.err().map(Err));
        Ok(Response::new(tokio_stream::iter(messages)))
    }
}

impl tower::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        async move {
            let path = request.uri().path().to_owned();
            let answer = if path.ends_with("/SubscribeUpdates") {
                let method = tower::service_fn(move |request: Request<pb::SubscribeUpdatesRequest>| {
                    service.clone().subscribe(request.into_inner())
                });
                Grpc::new(ProstCodec::default()).server_streaming(method, request).await
            } else if path.ends_with("/PublishUpdates") {
                let method = tower::service_fn(async |request| Ok(Response::new(publish(request))));
                Grpc::new(ProstCodec::default()).streaming(method, request).await
            } else if path.ends_with("/GetLivestream") {
                let livestream = service.look();
                let method = tower::service_fn(move |_: Request<pb::GetLivestreamRequest>| {
                    let livestream = livestream.clone();
                    async move { Ok(Response::new(pb::GetLivestreamResponse { livestream })) }
                });
                Grpc::new(ProstCodec::default()).unary(method, request).await
            } else if path.ends_with("/JoinLivestream") {
                let method = tower::service_fn(async |_: Request<pb::JoinLivestreamRequest>| {
                    Ok(Response::new(pb::JoinLivestreamResponse { session_id: SESSION, ..Default::default() }))
                });
                Grpc::new(ProstCodec::default()).unary(method, request).await
            } else {
                panic!("nobody calls {path}");
            };
            Ok(answer)
        }
        .boxed()
    }
}

/// Acknowledges what comes, with an event that no client knows before each that it does.
fn publish(request: Request<Streaming<pb::PublishUpdatesRequest>>) -> BoxStream<'static, Publishing> {
    use pb::publish_updates_request::Message;
    use pb::publish_updates_response::Event;
    let answers = request.into_inner().map(|message| match message.unwrap().message.unwrap() {
        Message::Open(open) => {
            let granted = |channel| shared::GrantedChannel { channel, term: 2, ..Default::default() };
            let channels = open.channels.into_iter().map(granted).collect();
            Event::Opened(shared::PublishOpened { epoch: 1, channels, session_id: SESSION, ..Default::default() })
        }
        Message::Update(update) => {
            let position = shared::UpdatePosition {
                channel: update.channel,
                term: 2,
                sequence: update.publisher_sequence,
                ..Default::default()
            };
            let accepted_through = update.publisher_sequence;
            Event::Ack(shared::PublishAck {
                channels: vec![shared::ChannelAck { accepted_through, position: Some(position) }],
            })
        }
        Message::Renew(_) => Event::Renewed(shared::TokenRenewed::default()),
    });
    let answer = |event| Ok(pb::PublishUpdatesResponse { event });
    answers.flat_map(move |event| tokio_stream::iter([answer(None), answer(Some(event))])).boxed()
}

type Publishing = Result<pb::PublishUpdatesResponse, Status>;

impl NamedService for Service {
    const NAME: &'static str = "starling.livestream.v1.LivestreamService";
}

/// A wire to a server that can be cut.
#[derive(Debug)]
pub(crate) struct Wire {
    address: SocketAddr,
    _running: JoinSet<()>,
    cut: mpsc::Sender<()>,
    stopped: Arc<AtomicBool>,
}

impl Wire {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (cut, mut cuts) = mpsc::channel(1);
        let stopped = Arc::<AtomicBool>::default();
        let is_stopped = Arc::clone(&stopped);
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let (mut near, _) = accepted.unwrap();
                        if is_stopped.load(Ordering::Acquire) {
                            continue;
                        }
                        let mut far = TcpStream::connect(server).await.unwrap();
                        connections.spawn(async move {
                            // It ends when one side does.
                            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
                        });
                    }
                    Some(()) = cuts.recv() => connections.shutdown().await,
                }
            }
        });
        Self { address, _running: running, cut, stopped }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Closes every connection; new ones are let through.
    pub(crate) async fn cut(&self) {
        self.cut.send(()).await.expect("the wire is there");
    }

    /// Closes every connection, and new ones too.
    pub(crate) async fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.cut().await;
    }

    /// Lets new connections through again.
    pub(crate) fn go_on(&self) {
        self.stopped.store(false, Ordering::Release);
    }
}

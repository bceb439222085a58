//! Servers of one cluster in one process, over real gRPC. What the log would bring is applied by hand.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::clock::{self, Clock};
use crate::cluster::CommandLog;
use crate::cluster::partition_state::SHARDS;
use crate::feed::{AppendError, Delivery, Demand, Draft, Feed, Gap, GapReason, Start, TermSeq, Timestamp};
use crate::service::publish::PublishError;
use crate::service::subscribe::{Request, Subscription};
use crate::service::watch::Step;
use crate::service::{self, Service, ServiceError};
use crate::shutdown::Shutdown;
use crate::store::snapshot::Projection;
use crate::store::{CreatorShares, Store};
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, CreateLivestream, Join};
use starling_core::id::{Epoch, NO_HOME, NodeId, SessionId, SwarmKind};
use starling_core::interest::Interest;
use starling_core::{Command, LivestreamCommand, SharedCommand, livestream};

mod calls;
mod lanes;

const PATIENCE: Duration = Duration::from_secs(30);

fn swarm() -> SwarmId {
    SwarmId::new(SwarmKind::Livestream, 1).unwrap()
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

fn visual() -> ChannelSet {
    [Channel::Visual].into_iter().collect()
}

fn draft(keyframe: bool, publisher_sequence: u64) -> Draft {
    Draft {
        channel: Channel::Visual,
        payload: Bytes::from(vec![1; 100]),
        keyframe,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence,
        publish_time: None,
        accept_time: Timestamp { seconds: 1, nanos: 2 },
        proof: None,
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it happens soon")
}

/// Waits until something is so of a feed.
async fn until(feed: &Feed, is_so: impl Fn() -> bool) {
    soon(async {
        loop {
            let changed = feed.producers().notified_owned();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if is_so() {
                return;
            }
            changed.await;
        }
    })
    .await;
}

/// Who is where, as a test says.
#[derive(Debug)]
struct KnownHomes {
    own: PodId,
    peers: Mutex<BTreeMap<PodId, PeerAddress>>,
}

impl Homes for KnownHomes {
    fn own(&self, _: SwarmId) -> PodId {
        self.own
    }

    fn peer(&self, _: SwarmId, home: PodId) -> Option<PeerAddress> {
        self.peers.lock().get(&home).cloned()
    }
}

/// One server.
struct Server {
    number: PodId,
    store: Arc<Store>,
    service: Service,
    network: PeerNetwork,
    reports: NetworkPeers,
    homes: Arc<KnownHomes>,
    cascade: Arc<PeerCascade>,
    address: String,
    tasks: JoinSet<()>,
}

impl Server {
    async fn start(number: PodId, secret: &str) -> Self {
        let store = Arc::new(Store::new(crate::store::Settings {
            shards: SHARDS,
            event_log_revisions: 100,
            event_log_bytes: 1 << 20,
            event_logs_bytes: 1 << 24,
            ring_bytes: 1 << 20,
            feed_memory_bytes: 1 << 24,
            state_bytes: 1 << 30,
            creators: CreatorShares::UNLIMITED,
        }));
        let log = CommandLog::local(Arc::clone(&store), Clock::over(|| 1_000));
        let settings = service::Settings { max_swarms: 10, retention_ms: 1_000, empty_group_ms: 1_000, tokens: None };
        let settings_of_peers = PeerSettings { secret: PeerSecret::new(secret.as_bytes()), tls: None };
        let (network, reports) = PeerNetwork::new(u64::from(number) * 100, settings_of_peers);
        let homes = Arc::new(KnownHomes { own: number, peers: Mutex::default() });
        let cascade = PeerCascade::new(network.clone(), Arc::<KnownHomes>::clone(&homes));
        let service = Service::new(log, settings).with_cascade(Arc::<PeerCascade>::clone(&cascade));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let host = PeerHost::new(network.clone(), service.clone(), Arc::<KnownHomes>::clone(&homes));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(host, listener, None, Shutdown::new()));
        Self { number, store, service, network, reports, homes, cascade, address, tasks }
    }

    fn peer_address(&self) -> PeerAddress {
        PeerAddress { incarnation: self.network.own(), address: self.address.clone() }
    }

    fn feed(&self) -> Arc<Feed> {
        self.service.feed(swarm(), Epoch::new(1).unwrap()).unwrap()
    }

    fn publish(&self, term: u64, keyframe: bool, number: u64) -> TermSeq {
        let accepted = self.feed().publish(node(1), term, draft(keyframe, number), clock::uptime());
        accepted.unwrap().position.point()
    }

    async fn viewer(&self, number: u64) -> Viewer {
        let request = Request {
            node: node(number),
            session: Some(session(number)),
            channels: visual(),
            sources: Vec::new(),
            start: Start::Keyframe,
            resume: None,
        };
        let woken: Arc<Woken> = Arc::default();
        let entered = self.service.enter(swarm(), request, Waker::from(Arc::clone(&woken))).unwrap();
        let (subscription, greeting) = soon(entered.begin()).await;
        Viewer { subscription, woken, waits: !greeting.waiting.is_empty() }
    }

    /// What its log would do before it answers a publisher whose lane goes on here.
    async fn settle(&self) {
        let (feed, epoch) = (self.feed(), Epoch::new(1).unwrap());
        soon(self.service.settle_seals(swarm(), epoch, &feed, node(1), visual())).await;
    }
}

/// Servers that have gone through the same: a livestream on air, its broadcaster 1, viewers 2 to 4.
struct Cluster {
    servers: Vec<Server>,
    at: AtomicU64,
}

impl Cluster {
    async fn start(servers: PodId) -> Self {
        let mut started = Vec::new();
        for number in 1..=servers {
            started.push(Server::start(number, "secret").await);
        }
        for server in &started {
            let others = started.iter().filter(|other| other.number != server.number);
            let others: Vec<_> = others.map(|other| (other.number, other.peer_address())).collect();
            server.network.set_known(others.iter().map(|(_, address)| address.clone()).collect());
            server.homes.peers.lock().extend(others);
        }
        let cluster = Self { servers: started, at: AtomicU64::new(1) };
        cluster.apply(&Command::CreateLivestream(CreateLivestream {
            epoch: Epoch::new(1).unwrap(),
            broadcaster: node(1),
            config: livestream::Config::default(),
            metadata: Box::default(),
            retention_ms: 1_000,
        }));
        cluster.apply(&LivestreamCommand::Start(by(1)).into());
        for viewer in 2..=4 {
            cluster.apply(&SharedCommand::Join(Join::bare(node(viewer), session(viewer), 60_000)).into());
        }
        cluster
    }

    /// Applies a command on all servers, as the log would; its revision.
    fn apply(&self, command: &Command) -> u64 {
        let all: Vec<PodId> = self.servers.iter().map(|server| server.number).collect();
        self.apply_on(&all, command)
    }

    fn apply_on(&self, servers: &[PodId], command: &Command) -> u64 {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        let mut revision = 0;
        for server in self.servers.iter().filter(|server| servers.contains(&server.number)) {
            let outcome = server.store.apply(swarm(), command.clone(), at, Projection::NOTHING).unwrap();
            revision = outcome.revision;
        }
        revision
    }

    fn claim_command(home: PodId) -> Command {
        let claim =
            SharedCommand::Claim { by: by(1), channels: visual(), session: session(1), ttl_ms: 60_000, pod: home };
        claim.into()
    }

    /// The broadcaster publishes on a server from now on; its term.
    fn claim(&self, home: PodId) -> u64 {
        self.apply(&Self::claim_command(home))
    }

    fn server(&self, number: PodId) -> &Server {
        self.servers.iter().find(|server| server.number == number).unwrap()
    }

    /// Kills a server: what it had is gone, and nobody knows its address any more.
    async fn kill(&mut self, number: PodId) {
        let at = self.servers.iter().position(|server| server.number == number).unwrap();
        let mut dead = self.servers.remove(at);
        dead.tasks.shutdown().await;
        for server in &self.servers {
            server.homes.peers.lock().remove(&number);
        }
    }
}

#[derive(Debug, Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// What a viewer got, short enough to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    Update,
    Lost(Option<TermSeq>, Option<TermSeq>, GapReason, Option<u64>),
    Filter,
}

struct Viewer {
    subscription: Subscription,
    woken: Arc<Woken>,
    /// For a keyframe, as it was greeted.
    waits: bool,
}

impl Viewer {
    /// The next things that it gets, so many.
    async fn read(&mut self, count: usize) -> Vec<Got> {
        let mut got = Vec::new();
        while got.len() < count {
            match self.subscription.step() {
                Step::Item(deliveries) => got.extend(deliveries.into_iter().map(|delivery| match delivery {
                    Delivery::Update(_) => Got::Update,
                    Delivery::Gap(Gap { after, before, reason, count, .. }) => Got::Lost(after, before, reason, count),
                    Delivery::Filter(_) => Got::Filter,
                })),
                Step::Idle(_) if self.subscription.park() => soon(self.woken.0.notified()).await,
                Step::Idle(_) => tokio::task::yield_now().await,
                Step::Over(over) => panic!("{over:?} after {got:?}"),
            }
        }
        got
    }

    fn head(&self) -> TermSeq {
        self.subscription.heads()[0].point()
    }
}

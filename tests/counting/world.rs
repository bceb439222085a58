//! A server in this process with a population of a given size, and one client.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use starling::app;
use starling::clock::Clock;
use starling::cluster::{CommandLog, sweeper};
use starling::config::Config;
use starling::feed::{Draft, Start, Timestamp};
use starling::grpc::authentication::Authentication;
use starling::grpc::health::HealthReporter;
use starling::grpc::{Edge, server};
use starling::service::attachment::Attachment;
use starling::service::subscribe::{self, Subscription};
use starling::service::watch::{Step, TargetWatch};
use starling::service::{self, Service};
use starling::shutdown::Shutdown;
use starling::store::snapshot::Projection;
use starling::store::{self, Store};
use starling::transport::ListenerSettings;
use starling_client::Client;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, CreateGroup, CreateLivestream, Join};
use starling_core::id::SINGLE_POD;
use starling_core::interest::{Interest, InterestChange};
use starling_core::request::RequestId;
use starling_core::topology::Forwarder;
use starling_core::{
    Command, Epoch, LivestreamCommand, NodeId, SessionId, SharedCommand, SwarmId, SwarmKind, group, livestream, steps,
};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::ALLOCATED;
use crate::meter::{Allowed, PROBE, Phase};

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Viewers of the tree. Not near where a list of them grows.
    pub(crate) viewers: u64,
    /// Viewers of the star.
    pub(crate) star: u64,
    /// Participants of the group, and as many listeners: with one more of each it is full.
    pub(crate) participants: u64,
    /// Other livestreams, and other groups.
    pub(crate) others: u64,
    /// Streams of each kind beside the population: subscriptions, watches of targets, sessions kept alive.
    pub(crate) streams: u64,
    /// Nodes kept from CHAT.
    pub(crate) muted: u64,
}

pub(crate) const SMALL: Size =
    Size { viewers: 1_100, star: 100, participants: 25, others: 90, streams: 50, muted: 1_000 };
pub(crate) const LARGE: Size =
    Size { viewers: 11_000, star: 1_000, participants: 255, others: 900, streams: 500, muted: 10_000 };

/// The livestream with a tree, that with a star, and the group.
pub(crate) const TREE: u64 = 1;
pub(crate) const STAR: u64 = 2;
pub(crate) const CALL: u64 = 3;
/// A star that becomes a tree with one more viewer.
pub(crate) const SWITCH: u64 = 4;
/// The others of a kind begin here.
pub(crate) const OTHERS: u64 = 1_000;
/// Who broadcasts, and owns the group.
pub(crate) const ROOT: u64 = 1;
/// The first viewer or participant.
pub(crate) const FIRST: u64 = 1_000;
/// The first listener.
pub(crate) const LISTENERS: u64 = 100_000;
/// Moderators, in either world: as many as there may be.
const MODERATORS: u64 = 999;
/// A lease that no test outlives.
const LEASE_MS: u32 = 300_000;

pub(crate) fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

pub(crate) fn livestream(number: u64) -> SwarmId {
    SwarmId::new(SwarmKind::Livestream, number).unwrap()
}

pub(crate) fn group(number: u64) -> SwarmId {
    SwarmId::new(SwarmKind::Group, number).unwrap()
}

/// Counts how often subscriptions of the population are woken.
#[derive(Debug, Default)]
pub(crate) struct Woken(AtomicUsize);

impl Woken {
    /// Waits until so many were woken since the phase began.
    pub(crate) async fn reach(&self, count: usize) {
        while self.0.load(Ordering::Relaxed) < count {
            tokio::task::yield_now().await;
        }
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A server, its population, and one client.
pub(crate) struct World {
    pub(crate) size: Size,
    pub(crate) client: Client,
    pub(crate) service: Service,
    /// What is being measured.
    pub(crate) method: &'static str,
    pub(crate) phases: Vec<Phase>,
    log: CommandLog,
    shutdown: Shutdown,
    woken: Arc<Woken>,
    subscriptions: Vec<Subscription>,
    _watches: Vec<TargetWatch>,
    _sessions: Vec<Attachment>,
    _running: JoinSet<()>,
}

impl World {
    pub(crate) async fn new(size: Size) -> Self {
        let mut config = Config::default();
        // Signs of life would come between what is counted.
        config.streams.heartbeat_interval = Duration::from_secs(600);
        let store = Arc::new(Store::new(store::Settings {
            // Few, so that what goes over all swarms of one is seen.
            shards: 2,
            event_log_revisions: config.store.event_log_revisions,
            event_log_bytes: config.store.event_log_bytes,
            event_logs_bytes: config.memory.event_logs_bytes,
            ring_bytes: config.feed.ring_bytes,
            feed_memory_bytes: config.feed.memory_bytes,
            state_bytes: config.memory.state_bytes,
            creators: store::CreatorShares::UNLIMITED,
        }));
        let log = CommandLog::local(store, Clock::system());
        let settings = service::Settings {
            max_swarms: config.store.max_swarms,
            retention_ms: 300_000,
            empty_group_ms: 300_000,
            tokens: Some(service::TokenTimes { max_age_ms: 86_400_000, leeway_ms: 5_000 }),
        };
        let service = Service::new(log.clone(), settings);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let edge = Edge::new(service.clone(), app::edge_settings(&config), Authentication::off(), shutdown.clone());
        let mut running = JoinSet::new();
        let http = app::http_settings(&config);
        let (reporter, health) = HealthReporter::new();
        running.spawn(async move {
            let (figures, before) = (server::Figures::new(), ListenerSettings::default());
            server::serve(edge, http, health, figures, listener, before, Shutdown::new()).await;
            drop(reporter);
        });
        running.spawn(sweeper::run(log.clone()));
        let client = Client::connect(&url).await.unwrap();
        let mut world = Self {
            size,
            client,
            service,
            method: "",
            phases: Vec::new(),
            log,
            shutdown,
            woken: Arc::default(),
            subscriptions: Vec::new(),
            _watches: Vec::new(),
            _sessions: Vec::new(),
            _running: running,
        };
        world.populate().await;
        world
    }

    async fn populate(&mut self) {
        let Size { viewers, star, participants, others, streams, muted } = self.size;
        let threshold = u32::try_from(star).unwrap();
        for (id, threshold, viewers) in [(TREE, 50, viewers), (STAR, 1_000, star), (SWITCH, threshold, star)] {
            self.create_livestream(id, threshold);
            let id = livestream(id);
            self.submit(id, SharedCommand::Join(join(ROOT)));
            self.submit(id, LivestreamCommand::Start(by(ROOT)));
            (FIRST..FIRST + viewers).for_each(|viewer| self.submit(id, SharedCommand::Join(join(viewer))));
        }
        let tree = livestream(TREE);
        for viewer in FIRST..FIRST + MODERATORS {
            self.submit(tree, LivestreamCommand::AddModerator(remembered(viewer), node(viewer)));
        }
        for viewer in FIRST..FIRST + muted - 1 {
            self.submit(tree, LivestreamCommand::Mute(by(ROOT), node(viewer)));
        }
        for number in OTHERS..OTHERS + others {
            self.create_livestream(number, 50);
            self.create_group(number);
        }
        self.create_group(CALL);
        let sources = FIRST..FIRST + participants;
        for member in sources.clone().chain(LISTENERS..LISTENERS + participants) {
            let listens = Some(member >= LISTENERS);
            self.submit(group(CALL), SharedCommand::Join(Join { listens, ..join(member) }));
        }
        for member in sources.clone() {
            self.submit(group(CALL), SharedCommand::SetInterest(by(member), interests(sources.clone())));
            let session = SessionId::new(member).unwrap();
            let channels = [Channel::Visual, Channel::Audio, Channel::Chat, Channel::Data].into_iter().collect();
            self.submit(
                group(CALL),
                SharedCommand::Claim { by: by(member), channels, session, ttl_ms: LEASE_MS, pod: SINGLE_POD },
            );
        }
        let open = [(livestream(TREE), streams), (livestream(STAR), star / 5), (livestream(SWITCH), star / 5)];
        for (id, members) in open.into_iter().chain([(group(CALL), participants / 5)]) {
            for number in FIRST..FIRST + members {
                self.open(id, number).await;
            }
            if id.kind == SwarmKind::Livestream {
                self._watches.push(self.service.watch_targets(id, Forwarder::Broadcaster).unwrap());
            }
        }
        // Who writes is remembered.
        for author in FIRST + muted..FIRST + muted + streams {
            self.service.publish_one(tree, &by(author), None, &draft()).await.unwrap();
        }
    }

    /// A subscription, a watch, and a session that is kept alive, of one member.
    async fn open(&mut self, id: SwarmId, number: u64) {
        let request = subscribe::Request {
            node: node(number),
            session: None,
            channels: ChannelSet::default(),
            sources: Vec::new(),
            start: Start::Live,
            resume: None,
        };
        let waker = Waker::from(Arc::clone(&self.woken));
        self.subscriptions.push(self.service.subscribe(id, request, waker).unwrap().0);
        let mut watch = self.service.watch_targets(id, Forwarder::Node(node(number))).unwrap();
        assert!(matches!(watch.step(), Step::Item(_)));
        self._watches.push(watch);
        let session = SessionId::new(number).unwrap();
        self._sessions.push(self.service.attach(id, node(number), session).await.unwrap());
    }

    pub(crate) fn submit(&self, id: SwarmId, command: impl Into<Command>) {
        // One process answers at once.
        self.log.submit(id, command.into(), Projection::NOTHING).now_or_never().unwrap().unwrap();
    }

    fn create_livestream(&self, number: u64, star_to_tree_threshold: u32) {
        let config = livestream::Config { star_to_tree_threshold, tree_fanout: 64, ..Default::default() };
        let create = CreateLivestream {
            epoch: Epoch::drawn(number),
            broadcaster: node(ROOT),
            config,
            metadata: vec![7; 1_024].into(),
            retention_ms: 300_000,
        };
        self.submit(livestream(number), Command::CreateLivestream(create));
    }

    fn create_group(&self, number: u64) {
        let create = CreateGroup {
            epoch: Epoch::drawn(number),
            owner: Some(node(FIRST)),
            config: group::Config { max_participants: 256, ..Default::default() },
            metadata: vec![7; 1_024].into(),
            retention_ms: 300_000,
            empty_ms: 300_000,
        };
        self.submit(group(number), Command::CreateGroup(create));
    }

    /// How many subscriptions of the population a swarm has.
    pub(crate) fn subscribers(&self, id: SwarmId) -> usize {
        let Size { star, participants, streams, .. } = self.size;
        let count = match (id.kind, id.get()) {
            (SwarmKind::Livestream, TREE) => streams,
            (SwarmKind::Livestream, _) => star / 5,
            (SwarmKind::Group, _) => participants / 5,
        };
        usize::try_from(count).unwrap()
    }

    /// Waits until the server has done what was asked for, and all of the population wait for more.
    async fn settle(&mut self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        for subscription in &mut self.subscriptions {
            while let Step::Item(_) = subscription.step() {}
            while !subscription.is_behind() && !subscription.park() {
                if let Step::Over(_) = subscription.step() {
                    break;
                }
            }
        }
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.woken.0.store(0, Ordering::Relaxed);
    }

    /// Counts the subscriptions of the population that are woken.
    pub(crate) fn woken(&self) -> Arc<Woken> {
        Arc::clone(&self.woken)
    }

    /// Measures what `act` makes the server do. It answers what is to be kept, and how many items were changed or
    /// answered.
    pub(crate) async fn measure<T>(
        &mut self,
        name: &'static str,
        allowed: Allowed,
        act: impl Future<Output = (T, usize)>,
    ) -> T {
        self.settle().await;
        let before = ALLOCATED.current_usage();
        steps::begin(Some(PROBE));
        let patience = Duration::from_secs(30);
        let done = tokio::time::timeout(patience, act).await;
        let (kept, items) = done.unwrap_or_else(|_| panic!("{} {name}: nothing came", self.method));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        let work = steps::done();
        steps::begin(None);
        let held = ALLOCATED.current_usage().cast_signed() - before.cast_signed();
        self.phases.push(Phase { method: self.method, name, allowed, items, work, held });
        kept
    }

    /// Measures the end of a stream: its client drops it.
    pub(crate) async fn close<T>(&mut self, stream: T) {
        let shutdown = self.shutdown.clone();
        let before = shutdown.open_streams();
        let end = async {
            drop(stream);
            while shutdown.open_streams() >= before {
                tokio::task::yield_now().await;
            }
            ((), 0)
        };
        self.measure("close", Allowed::Flat, end).await;
    }
}

/// A member with all that it may say of itself, whose session has the number of its node.
fn join(number: u64) -> Join {
    Join {
        endpoint: Some(vec![7; 256].into()),
        metadata: Some(vec![7; 256].into()),
        request: Some(RequestId { name: "r".repeat(64).into(), fingerprint: number }),
        ..Join::bare(node(number), SessionId::new(number).unwrap(), LEASE_MS)
    }
}

fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

/// The broadcaster, by a request that is remembered.
fn remembered(number: u64) -> By {
    By { request: Some(RequestId { name: format!("{number:064}").into(), fingerprint: number }), ..by(ROOT) }
}

/// Something else than the default of each channel of each of these sources.
fn interests(sources: std::ops::Range<u64>) -> Vec<InterestChange> {
    let change =
        |source, channel| InterestChange { channel, source: Some(node(source)), level: Interest::Low, ttl_ms: None };
    sources.flat_map(|source| Channel::ALL.map(|channel| change(source, channel))).collect()
}

fn draft() -> Draft {
    Draft {
        channel: Channel::Chat,
        payload: Bytes::from_static(b"hello"),
        keyframe: false,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence: 1,
        publish_time: None,
        proof: None,
        accept_time: Timestamp { seconds: 1_700_000_000, nanos: 0 },
    }
}

//! Who the peers are, and the connections to them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::WatchStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::network_peers::NetworkPeers;
use super::secret::{CarrySecret, PeerSecret};
use super::{MAX_MESSAGE, PeerAddress};
use crate::pb::peer::v1::peer_service_client::PeerServiceClient;
use starling_cluster::peers::PodReport;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);

/// How often a connection that carries calls is asked whether it lives, and how long the answer may take.
const KEEPALIVE: Duration = Duration::from_secs(2);

/// Reports that wait to be taken; more are dropped, for each second brings new ones.
const WAITING_REPORTS: usize = 256;

/// The most peers that are known at once.
const MAX_PEERS: usize = 256;

/// Bytes of one stream that wait to be read.
const STREAM_WINDOW: u32 = 256 * 1024;

/// Bytes of one connection that wait to be read: streams that wait for the log must not hold up the others.
const CONNECTION_WINDOW: u32 = 64 * 1024 * 1024;

/// How peers are called.
pub(super) type PeerClient = PeerServiceClient<InterceptedService<Channel, CarrySecret>>;

/// By what peers know each other.
#[derive(Clone, Debug)]
pub struct PeerSettings {
    /// The secret of the cluster.
    pub secret: PeerSecret,
    /// TLS, if peers speak it.
    pub tls: Option<PeerTls>,
}

/// TLS of calls to peers.
#[derive(Clone, Debug)]
pub struct PeerTls {
    /// Certificates of the authorities that may vouch for peers, in PEM.
    pub authorities: Vec<u8>,
    /// The name that their certificates have, whatever their addresses are.
    pub name: String,
}

/// The peers of this process. Cheap to clone; copies are of the same network.
#[derive(Clone)]
pub struct PeerNetwork(Arc<Shared>);

struct Shared {
    own: AtomicU64,
    settings: PeerSettings,
    directory: watch::Sender<Directory>,
    clients: Mutex<BTreeMap<String, PeerClient>>,
    /// By address, what was said there last.
    answers: watch::Sender<BTreeMap<String, PeerAnswer>>,
    outgoing: watch::Sender<PodReport>,
    incoming: mpsc::Sender<PodReport>,
}

/// What was said at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerAnswer {
    /// A process of this cluster with this incarnation is there.
    Incarnation(u64),
    /// Whoever is there has another secret.
    Refusal,
}

/// What the peers make of this process, all together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// There are none.
    Alone,
    /// None of them has said anything.
    Unknown,
    /// Some answer; those at these addresses, if any, have another secret.
    Admitted(Vec<String>),
    /// All that say anything have another secret; where.
    Refused(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    known: Vec<PeerAddress>,
    seeds: Vec<String>,
}

impl PeerNetwork {
    /// The peers of a process with this incarnation, none yet; and the way for reports to and from them.
    pub fn new(incarnation: u64, settings: PeerSettings) -> (Self, NetworkPeers) {
        let (incoming, reports) = mpsc::channel(WAITING_REPORTS);
        let outgoing = watch::Sender::new(PodReport::new());
        let peers = NetworkPeers::new(outgoing.clone(), reports);
        let network = Self(Arc::new(Shared {
            own: AtomicU64::new(incarnation),
            settings,
            directory: watch::Sender::new(Directory::default()),
            clients: Mutex::default(),
            answers: watch::Sender::new(BTreeMap::new()),
            outgoing,
            incoming,
        }));
        (network, peers)
    }

    /// The incarnation of this process.
    pub fn own(&self) -> u64 {
        self.0.own.load(Ordering::Acquire)
    }

    /// The process has begun anew.
    pub fn set_own(&self, incarnation: u64) {
        self.0.own.store(incarnation, Ordering::Release);
    }

    /// The peers that the log knows.
    pub fn set_known(&self, mut known: Vec<PeerAddress>) {
        known.sort_unstable();
        known.truncate(MAX_PEERS);
        self.0.directory.send_if_modified(|directory| std::mem::replace(&mut directory.known, known.clone()) != known);
    }

    /// Addresses at which peers may be that the log does not know.
    pub fn set_seeds(&self, mut seeds: Vec<String>) {
        seeds.sort_unstable();
        seeds.dedup();
        seeds.truncate(MAX_PEERS);
        self.0.directory.send_if_modified(|directory| std::mem::replace(&mut directory.seeds, seeds.clone()) != seeds);
    }

    /// All peers: those that the log knows, and those that have answered at other addresses.
    pub fn peers(&self) -> Vec<PeerAddress> {
        let own = self.own();
        let mut peers = self.0.directory.borrow().known.clone();
        for (address, answer) in &*self.0.answers.borrow() {
            if let PeerAnswer::Incarnation(incarnation) = *answer
                && peers.iter().all(|peer| peer.incarnation != incarnation)
            {
                peers.push(PeerAddress { incarnation, address: address.clone() });
            }
        }
        peers.retain(|peer| peer.incarnation != own);
        peers
    }

    pub(super) fn secret(&self) -> &PeerSecret {
        &self.0.settings.secret
    }

    pub(super) fn outgoing(&self) -> watch::Receiver<PodReport> {
        self.0.outgoing.subscribe()
    }

    /// Hands on what a peer tells; drops it when too much waits.
    pub(super) fn told(&self, report: PodReport) {
        if !report.is_empty() {
            drop(self.0.incoming.try_send(report));
        }
    }

    /// Notes what was said at an address; `None` = nobody answers any more.
    pub(super) fn note_answer(&self, address: &str, answer: Option<PeerAnswer>) {
        self.0.answers.send_if_modified(|answers| {
            let before = match answer {
                Some(answer) => answers.insert(address.to_owned(), answer),
                None => answers.remove(address),
            };
            before != answer
        });
    }

    /// What the peers make of this process. O(peers).
    pub fn admission(&self) -> Admission {
        let wanted = self.addresses(&self.0.directory.borrow());
        let (own, answers) = (self.own(), self.0.answers.borrow());
        let of_own = |address: &String| answers.get(address) == Some(&PeerAnswer::Incarnation(own));
        let mut others = wanted.iter().filter(|address| !of_own(address)).peekable();
        if others.peek().is_none() {
            return Admission::Alone;
        }
        let said: Vec<_> = others.filter_map(|address| answers.get_key_value(address)).collect();
        let refusals = said.iter().filter(|(_, answer)| **answer == PeerAnswer::Refusal);
        let refusals: Vec<String> = refusals.map(|(address, _)| (*address).clone()).collect();
        match (said.len(), refusals.len()) {
            (0, _) => Admission::Unknown,
            (all, refused) if refused == all => Admission::Refused(refusals),
            _ => Admission::Admitted(refusals),
        }
    }

    /// Yields whenever [`Self::admission`] may have become another one; several changes may be told by one item.
    pub fn admission_changes(&self) -> impl Stream<Item = ()> + Unpin + use<> {
        let answers = WatchStream::from_changes(self.0.answers.subscribe()).map(drop);
        let directory = WatchStream::from_changes(self.0.directory.subscribe()).map(drop);
        stream::select(answers, directory)
    }

    /// A client for an address; `None` when it is none. The connection is made with the first call, and again when it
    /// is lost.
    pub(super) fn client(&self, address: &str) -> Option<PeerClient> {
        let mut clients = self.0.clients.lock();
        if let Some(known) = clients.get(address) {
            return Some(known.clone());
        }
        let client = self.connect(address)?;
        if clients.len() >= 2 * MAX_PEERS {
            // Addresses of pods that are long gone: whoever uses one of them has a copy.
            clients.clear();
        }
        clients.insert(address.to_owned(), client.clone());
        Some(client)
    }

    fn connect(&self, address: &str) -> Option<PeerClient> {
        let tls = self.0.settings.tls.as_ref();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).ok()?;
        if let Some(PeerTls { authorities, name }) = tls {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authorities)).domain_name(name);
            endpoint = endpoint.tls_config(tls).ok()?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect_lazy();
        let client = PeerServiceClient::with_interceptor(channel, CarrySecret(self.0.settings.secret.clone()));
        Some(client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE))
    }

    /// Who the peers are, as it changes.
    pub(super) fn directory(&self) -> watch::Receiver<Directory> {
        self.0.directory.subscribe()
    }

    /// Nobody is wanted at an address any more.
    pub(super) fn forget(&self, address: &str) {
        self.note_answer(address, None);
        self.0.clients.lock().remove(address);
    }

    /// Where reports are exchanged.
    pub(super) fn addresses(&self, directory: &Directory) -> BTreeSet<String> {
        let own = self.own();
        let known = directory.known.iter().filter(|peer| peer.incarnation != own).map(|peer| &peer.address);
        known.chain(&directory.seeds).filter(|address| !address.is_empty()).cloned().collect()
    }
}

impl fmt::Debug for PeerNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerNetwork")
            .field("own", &self.own())
            .field("directory", &*self.0.directory.borrow())
            .finish_non_exhaustive()
    }
}

//! A process as one of several: what it needs of the configuration, and how it runs and stops.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use starling_cluster::{JetStreamSettings, JetStreamTls, Pod, PodLife};
use starling_replica::ReplicaSettings;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::listen::listen;
use super::pod_condition::{ConditionSource, known_others};
use super::settings::{given, millis};
use crate::clock::Clock;
use crate::cluster::directory::{Directory, KnownPod};
use crate::cluster::partition_state::{PartitionState, partition_of};
use crate::cluster::{ClusterLogs, CommandLog, ReplicatedLog, replicated};
use crate::config::{Activation, ClusterConfig};
use crate::peer::{self, Homes, PeerAddress, PeerCascade, PeerHost, PeerNetwork, PeerSecret, PeerSettings};
use crate::service::Service;
use crate::service::cascade::Cascade;
use crate::shutdown::Shutdown;
use crate::store::Store;
use starling_core::id::{NO_HOME, PodId, SwarmId};

/// How long a pod that stops waits until those who published there do so elsewhere.
const MOVED_WITHIN: Duration = Duration::from_secs(5);

/// How often it looks whether they do.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long others may take then to fetch what was published last: as long as a publisher waits for it there.
const FETCHED_WITHIN: Duration = Duration::from_secs(1);

/// How long a secret is, in bytes.
const SECRET_BYTES: RangeInclusive<usize> = 32..=4_096;

/// How often names of other pods are resolved.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

/// How long this process waits until its goodbye is in the log; without it the others wait until they miss it.
const GOODBYE: Duration = Duration::from_secs(5);

/// Reaches the logs of the cluster that the configuration names; `None` when it names none.
///
/// # Errors
///
/// When the secret cannot be read, or the log cannot be used.
pub(super) async fn logs(of: &ClusterConfig) -> io::Result<Option<ClusterLogs>> {
    if !of.is_on() {
        return Ok(None);
    }
    let secret = secret(&of.peer_secret_file).await?;
    ClusterLogs::in_nats(jetstream_settings(of), secret).await.map(Some).map_err(io::Error::other)
}

/// Plans a pod with these logs, and takes the address of its listener for the others.
///
/// # Errors
///
/// When that cannot be bound.
pub(super) fn plan(logs: ClusterLogs, of: &ClusterConfig) -> io::Result<PodPlan> {
    let wanted = of.peer_listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 0).into());
    let (listener, address) = listen(wanted)?;
    Ok(PodPlan { logs, listener, address })
}

fn jetstream_settings(of: &ClusterConfig) -> JetStreamSettings {
    let has_tls = of.nats_tls || of.nats_tls_first || given(&of.nats_tls_ca_file).is_some();
    let certificate = given(&of.nats_tls_cert_file).zip(given(&of.nats_tls_key_file));
    let tls = (has_tls || certificate.is_some()).then(|| JetStreamTls {
        authorities: given(&of.nats_tls_ca_file),
        certificate,
        first: of.nats_tls_first,
    });
    JetStreamSettings {
        credentials: given(&of.nats_credentials_file),
        nkey: given(&of.nats_nkey_file),
        tls,
        replicas: of.replicas,
        max_log_bytes: of.max_log_bytes,
        max_store_bytes: of.max_store_bytes,
        start_timeout: of.start_timeout,
        ..JetStreamSettings::new(of.nats_urls().map(str::to_owned).collect(), of.name.clone())
    }
}

/// Times of a replica by the configuration, of a process that the others reach by this address.
fn replica_settings(of: &ClusterConfig, address: &str) -> ReplicaSettings {
    let settings = ReplicaSettings::default();
    ReplicaSettings {
        address: address.as_bytes().to_vec(),
        max_staleness_ms: millis(of.max_staleness),
        activate_after_ms: settings.activate_after_ms.filter(|_| of.activate == Activation::Auto),
        ..settings
    }
}

/// The secret of a file.
async fn secret(file: &Path) -> io::Result<Vec<u8>> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", file.display()));
    let bytes = tokio::fs::read(file).await.map_err(named)?;
    // What an editor adds is no part of it.
    let bytes = bytes.trim_ascii_end().to_vec();
    if !SECRET_BYTES.contains(&bytes.len()) {
        let problem = format!("{}: the secret has {} bytes, not 32 to 4096", file.display(), bytes.len());
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(bytes)
}

/// What a process needs to become a pod.
#[derive(Debug)]
pub(super) struct PodPlan {
    pub(super) logs: ClusterLogs,
    pub(super) listener: TcpListener,
    pub(super) address: SocketAddr,
}

/// A pod that runs, while this lives.
#[derive(Debug)]
pub(super) struct RunningPod {
    pod: Pod<PartitionState>,
    network: PeerNetwork,
    log: Arc<ReplicatedLog>,
    listener: TcpListener,
}

impl RunningPod {
    /// Starts a pod whose swarms are shown in `store`, and answers with the log that it has.
    ///
    /// # Panics
    ///
    /// When the store has not the shards of a cluster's, which the configuration ensures.
    pub(super) fn start(plan: PodPlan, of: &ClusterConfig, store: &Arc<Store>, clock: Clock) -> (Self, CommandLog) {
        let PodPlan { logs, listener, address } = plan;
        let places = replicated::places(store).expect("the configuration has the shards of a cluster");
        let address = if of.peer_address.is_empty() { address.to_string() } else { of.peer_address.clone() };
        let settings = PeerSettings { secret: PeerSecret::new(logs.secret()), tls: None };
        // The pod draws what it is called.
        let (network, peers) = PeerNetwork::new(0, settings);
        let pod = logs.start(places.clone(), peers, &replica_settings(of, &address));
        network.set_own(pod.handle().life().borrow().incarnation.0);
        let log = Arc::new(ReplicatedLog::new(pod.handle(), places));
        let commands = CommandLog::replicated(Arc::clone(store), clock, Arc::clone(&log));
        (Self { pod, network, log, listener }, commands)
    }

    /// How updates come from the other pods, and go to them.
    pub(super) fn cascade(&self) -> Arc<dyn Cascade> {
        PeerCascade::new(self.network.clone(), self.homes())
    }

    /// Where it is asked whether the process can be used.
    pub(super) fn condition_source(&self) -> ConditionSource {
        ConditionSource::new(self.log.pod().clone(), self.log.directory().clone(), self.network.clone())
    }

    fn homes(&self) -> Arc<dyn Homes> {
        Arc::new(LogHomes(self.log.directory().clone()))
    }

    /// What goes on beside the log, for as long as the pod runs; and how it stops.
    pub(super) fn split(
        self,
        service: Service,
        of: &ClusterConfig,
    ) -> (impl Future<Output = ()> + use<>, StoppablePod) {
        let homes = self.homes();
        let Self { pod, network, log, listener } = self;
        let used = Arc::clone(&log);
        let seeds: Vec<String> = of.peer_seeds().map(str::to_owned).collect();
        let host = PeerHost::new(network.clone(), service, homes);
        let beside = async move {
            if let Ok(address) = listener.local_addr() {
                tracing::info!(%address, "serving the other servers");
            }
            let directory = log.directory();
            tokio::join!(
                directory.run(),
                network.run(),
                peer::serve(host, listener, None, Shutdown::new()),
                keep_known(&network, directory, log.pod().life()),
                keep_seeds(&network, &seeds),
            );
        };
        (beside, StoppablePod { pod, log: used })
    }
}

/// A pod that can be stopped.
#[derive(Debug)]
pub(super) struct StoppablePod {
    pod: Pod<PartitionState>,
    log: Arc<ReplicatedLog>,
}

impl StoppablePod {
    /// Stops, and says so in the log: once those who published here do so elsewhere, and what they had published here
    /// last was fetched from there; they may also not come back.
    pub(super) async fn stop(self) {
        let Self { pod, log } = self;
        let moved = async {
            if !log.is_in_use() {
                return;
            }
            while log.is_in_use() {
                sleep(LOOK_EVERY).await;
            }
            sleep(FETCHED_WITHIN).await;
        };
        if timeout(MOVED_WITHIN, moved).await.is_err() {
            tracing::info!("some who published here do not yet do so elsewhere");
        }
        pod.stop(GOODBYE).await;
    }
}

/// Tells the network who this pod is and which others the log knows, whenever that changes.
async fn keep_known(network: &PeerNetwork, directory: &Directory, mut life: watch::Receiver<PodLife>) {
    loop {
        // Asked for before the look, so that what changes after it is heard.
        let changed = directory.changed();
        network.set_own(life.borrow_and_update().incarnation.0);
        network.set_known(known_others(directory));
        tokio::select! {
            () = changed => {}
            Ok(()) = life.changed() => {}
        }
    }
}

/// Resolves the names that lead to the other pods, again and again.
async fn keep_seeds(network: &PeerNetwork, names: &[String]) {
    if names.is_empty() {
        return std::future::pending().await;
    }
    let mut looks = interval(RESOLVE_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let mut seeds = Vec::new();
        for name in names {
            match tokio::net::lookup_host(name).await {
                Ok(found) => seeds.extend(found.map(|address| address.to_string())),
                Err(error) => tracing::debug!(%name, %error, "the name of other servers leads nowhere"),
            }
        }
        network.set_seeds(seeds);
    }
}

fn address_of(pod: KnownPod) -> PeerAddress {
    PeerAddress { incarnation: pod.incarnation.0, address: pod.address }
}

/// Who is the home of what, by the log.
#[derive(Debug)]
struct LogHomes(Directory);

impl Homes for LogHomes {
    fn own(&self, id: SwarmId) -> PodId {
        self.0.own(partition_of(id)).unwrap_or(NO_HOME)
    }

    fn peer(&self, id: SwarmId, home: PodId) -> Option<PeerAddress> {
        self.0.pod(partition_of(id), home).map(address_of)
    }

    fn refresh(&self) -> BoxFuture<'_, ()> {
        self.0.refresh().boxed()
    }
}

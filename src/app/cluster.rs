//! A process as one of several: what it needs of the configuration, and how it runs and stops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use starling_cluster::{JetStreamSettings, JetStreamTls, PeerHub, Pod, StartError};
use starling_replica::ReplicaSettings;

use crate::clock::Clock;
use crate::cluster::partition_state::PartitionState;
use crate::cluster::{ClusterLogs, CommandLog, ReplicatedLog, replicated};
use crate::config::{Activation, ClusterConfig};
use crate::store::Store;

/// How long this process waits until its goodbye is in the log; without it the others wait until they miss it.
const GOODBYE: Duration = Duration::from_secs(5);

/// Reaches the logs of the cluster that the configuration names; `None` when it names none.
///
/// # Errors
///
/// [`StartError`].
pub(super) async fn logs(of: &ClusterConfig) -> Result<Option<ClusterLogs>, StartError> {
    if !of.is_on() {
        return Ok(None);
    }
    ClusterLogs::in_nats(jetstream_settings(of)).await.map(Some)
}

fn jetstream_settings(of: &ClusterConfig) -> JetStreamSettings {
    let given = |file: &PathBuf| Some(file.clone()).filter(|file| !file.as_os_str().is_empty());
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
        max_staleness_ms: super::millis(of.max_staleness),
        activate_after_ms: settings.activate_after_ms.filter(|_| of.activate == Activation::Auto),
        ..settings
    }
}

/// A pod that runs, while this lives.
#[derive(Debug)]
pub(super) struct RunningPod(Pod<PartitionState>);

impl RunningPod {
    /// Starts a pod whose swarms are shown in `store`, and answers with the log that it has.
    ///
    /// # Panics
    ///
    /// When the store has not the shards of a cluster's, which the configuration ensures.
    pub(super) fn start(logs: ClusterLogs, of: &ClusterConfig, store: &Arc<Store>, clock: Clock) -> (Self, CommandLog) {
        let places = replicated::places(store).expect("the configuration has the shards of a cluster");
        let settings = replica_settings(of, &of.peer_address);
        let pod = logs.start(places.clone(), PeerHub::new().join(), &settings);
        let log = Arc::new(ReplicatedLog::new(pod.handle(), places));
        (Self(pod), CommandLog::replicated(Arc::clone(store), clock, log))
    }

    /// Stops, and says so in the log.
    pub(super) async fn stop(self) {
        self.0.stop(GOODBYE).await;
    }
}

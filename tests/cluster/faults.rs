//! What can fail.

use std::time::Duration;

use starling_testkit::Rng;

use crate::cluster::{Cluster, PODS};
use crate::network::Place;
use crate::time::lasts;

/// Longer than a server of NATS may be without a leader before it chooses one.
const ELECTION: Duration = Duration::from_secs(10);

/// Longer than the others wait before they miss a server.
const MISSED: Duration = Duration::from_secs(9);

/// A fault, at a place drawn by chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// `kill -9` of a server, which is started again.
    KillPod,
    /// A server stands still, for less than the others wait.
    StopPodShortly,
    /// A server stands still until the others have missed it.
    StopPodLong,
    /// Every server in turn is told to stop, and started again.
    RestartPods,
    /// `kill -9` of a NATS server that leads a partition.
    KillLeader,
    /// `kill -9` of all NATS servers.
    KillNats,
    /// A server does not hear NATS.
    CutFromNats,
    /// A server does not hear the others.
    CutFromPeers,
    /// A server hears neither.
    CutFromAll,
    /// A server hears neither for longer than it may go on.
    CutFromAllLong,
    /// A NATS server does not hear the others.
    SplitNats,
    /// All NATS servers lose their disks.
    LoseDisks,
}

impl Fault {
    /// All of them, by the names that they have in the environment.
    const NAMES: [(&str, Self); 12] = [
        ("kill_pod", Self::KillPod),
        ("stop_pod_shortly", Self::StopPodShortly),
        ("stop_pod_long", Self::StopPodLong),
        ("restart_pods", Self::RestartPods),
        ("kill_leader", Self::KillLeader),
        ("kill_nats", Self::KillNats),
        ("cut_from_nats", Self::CutFromNats),
        ("cut_from_peers", Self::CutFromPeers),
        ("cut_from_all", Self::CutFromAll),
        ("cut_from_all_long", Self::CutFromAllLong),
        ("split_nats", Self::SplitNats),
        ("lose_disks", Self::LoseDisks),
    ];

    /// Those that the environment names, or all.
    pub(crate) fn chosen() -> Vec<Self> {
        let all = || Self::NAMES.map(|(_, fault)| fault).to_vec();
        std::env::var("FAULTS").map_or_else(|_| all(), |names| names.split(',').map(Self::of).collect())
    }

    /// Those of a short trial: the ones that are soon over.
    pub(crate) fn of_short_trial() -> Vec<Self> {
        vec![Self::KillPod, Self::StopPodLong, Self::KillLeader, Self::CutFromNats, Self::LoseDisks]
    }

    fn of(name: &str) -> Self {
        let found = Self::NAMES.iter().find(|(of, _)| *of == name);
        found.unwrap_or_else(|| panic!("there is no fault {name}")).1
    }

    /// Makes it happen, and mends it.
    pub(crate) async fn happen(self, cluster: &mut Cluster, rng: &mut Rng) {
        let pod = rng.index(PODS);
        eprintln!("{self:?} at server {pod}");
        match self {
            Self::KillPod => {
                cluster.pods[pod].kill();
                lasts(Duration::from_millis(rng.below(9_000))).await;
                cluster.restart(pod).await;
            }
            Self::StopPodShortly => stand_still(cluster, pod, Duration::from_secs(3)).await,
            Self::StopPodLong => {
                let lives = cluster.pods[pod].lives();
                stand_still(cluster, pod, MISSED).await;
                cluster.pods[pod].begins_anew(lives).await;
            }
            Self::RestartPods => {
                for pod in 0..PODS {
                    cluster.pods[pod].stop().await;
                    cluster.restart(pod).await;
                }
            }
            Self::KillLeader => {
                let leader = cluster.leader(rng.below(8)).await;
                cluster.nats.kill(leader);
                lasts(ELECTION).await;
                cluster.nats.restart(leader).await;
            }
            Self::KillNats => {
                cluster.nats.kill_all();
                lasts(Duration::from_millis(rng.below(14_000))).await;
                cluster.nats.restart_all().await;
            }
            Self::CutFromNats => cut(cluster, Place::Pod(pod), &nats(), MISSED).await,
            Self::CutFromPeers => cut(cluster, Place::Pod(pod), &others(pod), MISSED).await,
            Self::CutFromAll => cut(cluster, Place::Pod(pod), &[nats(), others(pod)].concat(), MISSED).await,
            Self::CutFromAllLong => {
                cut(cluster, Place::Pod(pod), &[nats(), others(pod)].concat(), Duration::from_secs(40)).await;
            }
            Self::SplitNats => {
                let others: Vec<_> = nats().into_iter().filter(|place| *place != Place::Nats(pod)).collect();
                cut(cluster, Place::Nats(pod), &others, ELECTION + MISSED).await;
            }
            Self::LoseDisks => {
                cluster.nats.kill_all();
                cluster.nats.lose_disks();
                cluster.nats.restart_all().await;
            }
        }
        cluster.are_ready().await;
    }
}

fn nats() -> Vec<Place> {
    (0..3).map(Place::Nats).collect()
}

fn others(pod: usize) -> Vec<Place> {
    (0..PODS).filter(|other| *other != pod).map(Place::Pod).collect()
}

async fn stand_still(cluster: &Cluster, pod: usize, duration: Duration) {
    cluster.pods[pod].signal("STOP");
    lasts(duration).await;
    cluster.pods[pod].signal("CONT");
}

async fn cut(cluster: &Cluster, place: Place, from: &[Place], duration: Duration) {
    cluster.cut(place, from.iter().copied());
    lasts(duration).await;
    cluster.network.heal();
}

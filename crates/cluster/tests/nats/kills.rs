//! Three servers, of which some are killed while pods write: what each pod gathers is one and the same sequence, and has
//! everything that was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join3;
use starling_cluster::{JetStreamCluster, JetStreamLog, JetStreamSettings, PartitionLog};
use starling_testkit::Rng;
use tokio::sync::watch;
use tokio::time::interval;

use crate::follower::LogFollower;
use crate::server::{NatsCluster, NatsServer, settings, soon, until};

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// One pod: it writes one message at a time, again until it is acknowledged, and gathers what there is.
struct Pod {
    log: JetStreamLog,
    follower: LogFollower,
    acknowledged: Vec<(u64, Bytes)>,
}

impl Pod {
    async fn new(settings: &JetStreamSettings) -> Self {
        let log = JetStreamCluster::connect(settings.clone()).await.unwrap().log(0);
        let follower = LogFollower::new(&log).await;
        Self { log, follower, acknowledged: Vec::new() }
    }

    async fn write(log: &JetStreamLog, name: usize, acknowledged: &mut Vec<(u64, Bytes)>, count: &AtomicU64) {
        let mut retry = interval(Duration::from_millis(50));
        loop {
            let bytes = Bytes::from(format!("{name}:{}", acknowledged.len()));
            match log.publish(bytes.clone(), None).await {
                Ok(sequence) => {
                    acknowledged.push((sequence, bytes));
                    count.fetch_add(1, Ordering::Relaxed);
                }
                Err(_) => drop(retry.tick().await),
            }
        }
    }

    /// Writes and gathers until it is told to stop.
    async fn run(&mut self, name: usize, count: &AtomicU64, mut stop: watch::Receiver<bool>) {
        let Self { log, follower, acknowledged } = self;
        tokio::select! {
            () = Self::write(log, name, acknowledged, count) => {}
            () = follower.reach(u64::MAX) => {}
            stopped = stop.wait_for(|stop| *stop) => drop(stopped.unwrap()),
        }
    }
}

/// Kills servers while two pods write. `victim` chooses which is killed.
async fn kill_some(cluster: &mut NatsCluster, kills: u64, mut victim: impl AsyncFnMut(&NatsCluster) -> usize) {
    let settings = settings(cluster.urls());
    let mut pods = [Pod::new(&settings).await, Pod::new(&settings).await];
    let (counts, (stop, stopped)) = ([AtomicU64::new(0), AtomicU64::new(0)], watch::channel(false));
    // Both have been acknowledged something more.
    let progress = async || {
        let before = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
        until(async || {
            let now = counts.each_ref().map(|count| count.load(Ordering::Relaxed));
            before.iter().zip(now).all(|(before, now)| now >= before + 20)
        })
        .await;
    };
    let kill = async {
        progress().await;
        for _ in 0..kills {
            let at = victim(cluster).await;
            cluster.servers[at].kill();
            progress().await;
            cluster.servers[at].start();
            cluster.servers[at].listens().await;
            progress().await;
        }
        stop.send(true).unwrap();
    };
    let [first, second] = &mut pods;
    let runs = join3(first.run(0, &counts[0], stopped.clone()), second.run(1, &counts[1], stopped.clone()), kill);
    runs.await;
    let mut last = 0;
    until(async || {
        last = pods[0].log.extent().await.map_or(0, |(_, last)| last);
        last > 0
    })
    .await;
    for pod in &mut pods {
        soon(pod.follower.reach(last)).await;
    }
    let [first, second] = pods;
    assert!(first.follower.gathered[..] == second.follower.gathered[..], "the pods gathered different sequences");
    let gathered = &first.follower.gathered;
    for (name, pod) in [&first, &second].into_iter().enumerate() {
        for (sequence, bytes) in &pod.acknowledged {
            let message = &gathered[usize::try_from(sequence - 1).unwrap()];
            assert_eq!(message.bytes[..], bytes[..], "what was acknowledged lies where it was said to");
        }
        let prefix = format!("{name}:");
        let own = gathered.iter().filter_map(|message| {
            let text = std::str::from_utf8(&message.bytes).unwrap();
            text.strip_prefix(&prefix)?.parse::<usize>().ok()
        });
        let mut next = 0;
        for number in own {
            assert!(number <= next, "message {number} of pod {name} lies before {next}");
            next = next.max(number + 1);
        }
        assert!(next >= pod.acknowledged.len(), "messages are missing");
    }
    let fetched = (first.follower.fetched, second.follower.fetched);
    eprintln!("{} messages, of which the pods fetched {} and {}", gathered.len(), fetched.0, fetched.1);
}

#[tokio::test]
async fn leader_killed_loses_nothing_acknowledged() {
    let Some(mut cluster) = NatsCluster::new().await else { return };
    let settings = settings(cluster.urls());
    kill_some(&mut cluster, 1, async |cluster| cluster.leader(&settings, 0).await).await;
}

#[tokio::test]
async fn trial_of_kills_gathers_one_sequence() {
    let Some(mut cluster) = NatsCluster::new().await else { return };
    let (seed, kills) = (variable("SEED", 1), variable("KILLS", 2));
    eprintln!("SEED={seed} KILLS={kills}");
    let mut rng = Rng::new(seed);
    kill_some(&mut cluster, kills, async |cluster| rng.index(cluster.servers.len())).await;
}

#[tokio::test]
async fn log_that_lost_three_disks_begins_at_one() {
    let Some(mut cluster) = NatsCluster::new().await else { return };
    let log = JetStreamCluster::connect(settings(cluster.urls())).await.unwrap().log(0);
    let mut follower = LogFollower::new(&log).await;
    for number in 1..=5 {
        assert_eq!(log.publish(Bytes::from("old"), None).await, Ok(number));
    }
    soon(follower.reach(5)).await;
    cluster.servers.iter_mut().for_each(NatsServer::kill);
    for server in &mut cluster.servers {
        server.delete_store();
        server.start();
    }
    for server in &mut cluster.servers {
        server.listens().await;
    }
    until(async || log.extent().await == Ok((1, 0))).await;
    until(async || log.publish(Bytes::from("new"), Some(0)).await == Ok(1) || log.extent().await == Ok((1, 1))).await;
    let fetched = soon(async {
        loop {
            if let Ok(fetched) = log.fetch(1, 5).await {
                break fetched;
            }
        }
    });
    let texts: Vec<_> = fetched.await.messages.into_iter().map(|message| message.bytes).collect();
    assert_eq!(texts, [b"new"]);
}

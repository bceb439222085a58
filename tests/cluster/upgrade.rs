//! All servers are restarted in turn, as for another version.

use crate::checks::all_agree;
use crate::cluster::{Cluster, PODS};
use crate::load::{Load, LoadSize, Outcome};
use crate::time::variable;

/// Restarts all servers under load, and judges what came; nothing without nats-server.
async fn upgrade() -> Option<Outcome> {
    let mut cluster = Cluster::start().await?;
    let size = LoadSize { subscribers: variable("SUBSCRIBERS", 60), target_watchers: 10, actors: 1 };
    let mut load = Load::start(&cluster, size, 1).await;
    all_agree(&cluster, &mut load).await;
    for pod in 0..PODS {
        cluster.pods[pod].stop().await;
        load.goes_on().await;
        cluster.restart(pod).await;
        load.goes_on().await;
    }
    all_agree(&cluster, &mut load).await;
    let outcome = load.finish(&cluster).await;
    outcome.judge();
    Some(outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_upgrade_loses_no_member_and_no_word() {
    let Some(outcome) = upgrade().await else { return };
    assert_eq!(outcome.resets, 0, "watches go on where they stopped");
    // Each is announced. They come where the publisher goes to a server that has just begun and the old one has ended.
    assert_eq!(outcome.gaps(), 0, "what the old server had last was fetched");
    if let Some(missed) = outcome.subscribers.iter().find(|one| one.history.totals().all_gaps() > 0) {
        eprintln!("{} gaps; one subscriber was told:\n{}", outcome.gaps(), missed.told.join("\n"));
    }
}

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
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a server that was just restarted has no updates of the terms before, and tells a gap"]
async fn rolling_upgrade_has_no_gap() {
    let Some(outcome) = upgrade().await else { return };
    let missed = outcome.subscribers.iter().find(|one| one.history.totals().all_gaps() > 0);
    let told = missed.map(|one| one.told.join("\n")).unwrap_or_default();
    assert_eq!(outcome.gaps(), 0, "{told}");
}

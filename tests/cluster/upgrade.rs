//! All servers are restarted in turn, as for another version.

use crate::checks::all_agree;
use crate::cluster::{Cluster, PODS};
use crate::load::{Load, LoadSize};
use crate::time::variable;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a pod that was just restarted knows no end of the terms before"]
async fn rolling_upgrade_loses_nothing() {
    let Some(mut cluster) = Cluster::start().await else { return };
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
    assert_eq!(outcome.gaps(), 0, "nothing is lost");
    assert_eq!(outcome.resets, 0, "watches go on where they stopped");
}

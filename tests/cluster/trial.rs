//! Faults in an order by chance, under load.

use starling_testkit::Rng;
use tokio::time::Instant;

use crate::checks::all_agree;
use crate::cluster::Cluster;
use crate::faults::Fault;
use crate::load::{Load, LoadSize};
use crate::time::variable;

#[tokio::test(flavor = "multi_thread")]
async fn trial_of_faults_loses_nothing_acknowledged() {
    let is_short = ["KILLS", "FAULTS"].iter().all(|name| std::env::var_os(name).is_none());
    let kinds = if is_short { Fault::of_short_trial() } else { Fault::chosen() };
    let (seed, kills) = (variable("SEED", 1), variable("KILLS", kinds.len() as u64));
    let Some(mut cluster) = Cluster::start().await else { return };
    eprintln!("SEED={seed} KILLS={kills}");
    let mut rng = Rng::new(seed);
    let size = LoadSize { subscribers: variable("SUBSCRIBERS", 12), target_watchers: 6, actors: 3 };
    let mut load = Load::start(&cluster, size, seed).await;
    all_agree(&cluster, &mut load).await;
    let mut left = Vec::new();
    for number in 1..=kills {
        // Each kind once before any comes again.
        if left.is_empty() {
            left = kinds.clone();
        }
        let fault = left.swap_remove(rng.index(left.len()));
        let begin = Instant::now();
        fault.happen(&mut cluster, &mut rng).await;
        let over = begin.elapsed();
        load.goes_on().await;
        all_agree(&cluster, &mut load).await;
        let (published, calls) = (load.published.accepted(), load.members.acknowledged.lock().unwrap().calls);
        let all = begin.elapsed();
        eprintln!(
            "{number}: {fault:?} over after {over:?}, all agree after {all:?}; {published:?} updates, {calls} turns"
        );
    }
    let outcome = load.finish(&cluster).await;
    outcome.judge();
}

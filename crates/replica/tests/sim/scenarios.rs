//! Single faults, with what must come of each.

use crate::clients::Fate;
use crate::cluster::Cluster;
use crate::faults::Profile;

/// A cluster that is at work, with its pods ready.
fn at_work(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(seed, Profile::default());
    steps(&mut cluster, 400);
    for (at, pod) in cluster.pods.iter().enumerate() {
        assert_eq!(pod.replica().readiness(), Ok(()), "pod {at} of seed {seed}");
    }
    cluster
}

fn steps(cluster: &mut Cluster, count: u64) {
    (0..count).for_each(|_| cluster.step());
}

fn end(mut cluster: Cluster) -> Cluster {
    cluster.calm_down();
    cluster.check_end();
    cluster
}

fn fates(cluster: &Cluster, wanted: impl Fn(Fate) -> bool) -> usize {
    cluster.clients.fates.values().filter(|fate| wanted(**fate)).count()
}

#[test]
fn nothing_stops_for_an_election() {
    for seed in 0..6 {
        let mut cluster = at_work(seed);
        cluster.checks.is_strict = true;
        let before = fates(&cluster, |fate| fate != Fate::Applied && fate != Fate::Waiting);
        for _ in 0..5 {
            cluster.log.elect_for(9_000);
            for _ in 0..320 {
                cluster.step();
                for pod in &cluster.pods {
                    assert_eq!(pod.replica().readiness(), Ok(()), "step {}", cluster.steps);
                }
            }
        }
        let after = fates(&cluster, |fate| fate != Fate::Applied && fate != Fate::Waiting);
        assert_eq!(after, before, "no call fails");
        assert_eq!(cluster.coverage.gone, 0, "no pod is gone");
        cluster.checks.is_strict = false;
        end(cluster);
    }
}

/// What was acknowledged is there at the end, and one loss is one new life of the log.
fn keeps_all_after_a_loss(seed: u64, cluster: Cluster) {
    let cluster = end(cluster);
    assert!(cluster.coverage.reseeds > 0);
    assert_eq!(cluster.checks.lives.len(), 2, "seed {seed}: lives of the log");
    let world = cluster.pods[0].replica().world();
    for (id, fate) in &cluster.clients.fates {
        assert!(*fate != Fate::Applied || world.state.model.applied(*id).is_some(), "seed {seed}: {id} is lost");
    }
}

#[test]
fn total_loss_loses_nothing_while_pods_live() {
    for seed in 0..48 {
        let mut cluster = at_work(seed);
        cluster.ticks_when_due = seed % 2 == 1;
        cluster.log.lose_all();
        cluster.log.lose_objects();
        cluster.faults.losses += 1;
        steps(&mut cluster, 600);
        keeps_all_after_a_loss(seed, cluster);
    }
}

#[test]
fn rewound_log_loses_nothing_while_pods_live() {
    for seed in 0..24 {
        let mut cluster = at_work(seed);
        cluster.ticks_when_due = seed % 2 == 1;
        // All pods have read everything, and nobody writes before they look.
        cluster.log.elect_for(2_000);
        (0..30).for_each(|_| {
            cluster.now += crate::cluster::STEP_MS;
            cluster.advance();
        });
        cluster.log.rewind(40);
        cluster.faults.losses += 1;
        steps(&mut cluster, 800);
        keeps_all_after_a_loss(seed, cluster);
    }
}

#[test]
fn a_day_without_pods_counts_as_seconds() {
    let mut cluster = at_work(3);
    let clock = |cluster: &Cluster| cluster.pods[0].replica().world().partition.clock().now();
    let before = clock(&cluster);
    (0..cluster.pods.len()).for_each(|at| cluster.kill(at));
    cluster.now += 24 * 3_600_000;
    cluster.advance();
    (0..cluster.pods.len()).for_each(|at| cluster.start(at));
    (0..60).for_each(|_| {
        cluster.now += crate::cluster::STEP_MS;
        cluster.advance();
    });
    let after = clock(&cluster);
    assert!((before..=before + 6_100).contains(&after), "{} ms", after - before);
    assert_eq!(cluster.pods[0].replica().readiness(), Ok(()));
    end(cluster);
}

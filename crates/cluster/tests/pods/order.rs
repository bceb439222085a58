//! What all pods agree on.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use starling_cluster::{CALL_PATIENCE, PodEvent};

use crate::fixture::{Fixture, TestPod, pass, within};
use crate::model::{command, padded_command};

/// Submits commands of these numbers to random pods, all at once.
async fn submit_all(fixture: &mut Fixture, pods: &[TestPod], ids: std::ops::Range<u64>) {
    let partitions = fixture.logs.len();
    let calls: Vec<_> = ids
        .map(|id| {
            let (pod, partition) = (fixture.rng.index(pods.len()), fixture.rng.index(partitions));
            pods[pod].submit(partition, id)
        })
        .collect();
    join_all(calls).await;
}

async fn assert_equal(pods: &[TestPod], partition: usize) -> Vec<u64> {
    for pod in pods {
        pod.barrier(partition).await;
    }
    let first = pods[0].contents(partition);
    for pod in pods {
        assert_eq!(pod.contents(partition), first);
    }
    first.applied
}

#[tokio::test(start_paused = true)]
async fn all_commands_are_applied_once_in_one_order() {
    for seed in 0..4 {
        let mut fixture = Fixture::new(seed, 3);
        let pods = fixture.pods(3).await;
        // What is lost on the way is fetched.
        pods[1].logs.iter().for_each(|log| log.lose_messages(20));
        submit_all(&mut fixture, &pods, 1..601).await;
        let mut all = BTreeSet::new();
        for partition in 0..3 {
            let applied = assert_equal(&pods, partition).await;
            let count = applied.len();
            all.extend(applied);
            assert!(count > 100, "seed {seed}: {count} in partition {partition}");
        }
        assert_eq!(all, (1..601).collect(), "seed {seed}");
        let counts: usize = (0..3).map(|partition| pods[0].contents(partition).applied.len()).sum();
        assert_eq!(counts, 600, "seed {seed}: each once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_absent_log_delays_and_fails_nobody() {
    let mut fixture = Fixture::new(1, 2);
    let pods = fixture.pods(3).await;
    fixture.elect_for(9_000);
    submit_all(&mut fixture, &pods, 1..101).await;
    let applied = [assert_equal(&pods, 0).await, assert_equal(&pods, 1).await].concat();
    assert_eq!(applied.len(), 100);
    assert!(pods.iter().all(|pod| pod.handle.not_ready().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_killed_pod_is_gone_for_the_others() {
    let mut fixture = Fixture::new(1, 2);
    let mut pods = fixture.pods(3).await;
    let killed = pods.pop().unwrap();
    let (own, handle) = (killed.incarnation(), killed.handle.clone());
    let mut events = pods[0].handle.events();
    drop(killed);
    let mut gone = BTreeSet::new();
    while gone.len() < 2 {
        if let PodEvent::PodGone { partition, incarnation } = within(events.recv()).await.unwrap() {
            assert_eq!(incarnation, own);
            gone.insert(partition);
        }
    }
    submit_all(&mut fixture, &pods, 1..20).await;
    let refused = handle.of_shard(0).submit(command(99), CALL_PATIENCE).await;
    assert_eq!(refused, Err(starling_cluster::SubmitFault::Stopped));
}

#[tokio::test(start_paused = true)]
async fn a_new_pod_starts_from_a_snapshot() {
    let mut fixture = Fixture::new(1, 1);
    fixture.settings.snapshot_entries = 20;
    let pods = fixture.pods(2).await;
    // More than is read or encoded at once.
    for id in 1..21 {
        pods[0].partition(0).submit(padded_command(id, 60_000), CALL_PATIENCE).await.unwrap();
    }
    let mut id = 100;
    let purged = |fixture: &Fixture| fixture.logs[0].with_log(|log| log.first());
    while purged(&fixture) < 30 {
        pods[0].submit(0, id).await;
        id += 1;
        pass(50).await;
    }
    let late = fixture.start();
    within(late.handle.ready()).await;
    assert_eq!(late.contents(0), pods[0].contents(0));
    assert_eq!(late.contents(0).padding.len(), 20);
    late.submit(0, id).await;
    pods[1].barrier(0).await;
    assert_eq!(pods[1].contents(0), late.contents(0));
}

#[tokio::test(start_paused = true)]
async fn a_barrier_shows_what_another_pod_answered() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    for id in 1..50 {
        pods[1].logs[0].lose_messages(usize::from(id % 7 == 0));
        pods[0].submit(0, id).await;
        pods[1].barrier(0).await;
        assert_eq!(pods[1].contents(0).applied.last(), Some(&id));
    }
}

#[tokio::test(start_paused = true)]
async fn lost_log_goes_on_with_pods_state() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    submit_all(&mut fixture, &pods, 1..51).await;
    assert_equal(&pods, 0).await;
    fixture.logs[0].with_log(|log| {
        log.lose_all();
        log.lose_objects();
    });
    let mut events = pods[0].handle.events();
    while !matches!(within(events.recv()).await, Ok(PodEvent::Replaced { .. })) {}
    for pod in &pods {
        within(pod.handle.ready()).await;
    }
    submit_all(&mut fixture, &pods, 51..101).await;
    let applied: BTreeSet<_> = assert_equal(&pods, 0).await.into_iter().collect();
    assert_eq!(applied, (1..101).collect());
}

#[tokio::test(start_paused = true)]
async fn an_idle_pod_wakes_rarely() {
    let mut fixture = Fixture::new(1, 8);
    let pods = fixture.pods(3).await;
    let wakeups = |pod: &TestPod| (0..8).map(|at| pod.partition(at).wakeups()).sum::<u64>();
    let before: Vec<_> = pods.iter().map(wakeups).collect();
    pass(60_000).await;
    for (pod, before) in pods.iter().zip(before) {
        // Each second and partition: the own sign of life, its acknowledgement, and one message of each pod.
        let in_a_second = (wakeups(pod) - before) / 60;
        assert!((8..=8 * 8).contains(&in_a_second), "{in_a_second} wake-ups a second");
    }
}

//! How an incarnation ends, and what comes after it.

use std::time::Duration;

use starling_cluster::{CALL_PATIENCE, PartitionLog, PartitionNotReady, PodEvent, SubmitFault};
use starling_replica::output::{LogAccess, NotReady, OverReason};

use crate::fixture::{Fixture, within};
use crate::model::{command, panic_once_at, session};

#[tokio::test(start_paused = true)]
async fn gone_in_one_partition_is_gone_in_all() {
    let mut fixture = Fixture::new(1, 3);
    let pods = fixture.pods(3).await;
    let own = pods[0].incarnation();
    let mut attachments = Vec::new();
    for partition in 0..3 {
        attachments.push(pods[0].partition(partition).attach(session(7), CALL_PATIENCE).await.unwrap());
    }
    let mut events = pods[0].handle.events();
    let lives: Vec<_> = (0..3).map(|partition| pods[0].partition(partition).lives()).collect();
    pods[0].cut_from_log(1, true);
    let mut access = pods[0].partition(1).access();
    within(access.wait_for(|access| *access == LogAccess::Behind)).await.unwrap();
    assert_eq!(pods[0].handle.not_ready(), [(1, PartitionNotReady::Replica(NotReady::Away(LogAccess::Behind)))]);
    let mut seen = pods[1].handle.events();
    let is_gone = |event| matches!(event, Ok(PodEvent::PodGone { partition: 1, incarnation }) if incarnation == own);
    while !is_gone(within(seen.recv()).await) {}
    pods[0].cut_from_log(1, false);
    assert_eq!(pods[0].over(&mut events).await, OverReason::DeclaredGone);
    within(pods[0].handle.ready()).await;
    assert_ne!(pods[0].incarnation(), own);
    for (partition, lives) in lives.into_iter().enumerate() {
        assert!(lives.has_changed().unwrap(), "streams of partition {partition} are told goodbye");
        pods[0].submit(partition, 1).await;
        // The old one is missed in the other partitions, too.
        pods[1].holds(partition, |contents| contents.attached.is_empty()).await;
    }
    // What was attached in the old life detaches nothing of the new one.
    let (attachment, outcome) = pods[0].partition(0).attach(session(7), CALL_PATIENCE).await.unwrap();
    assert!(outcome.is_some(), "it is the first stream again");
    drop(attachments);
    pods[0].barrier(0).await;
    assert_eq!(pods[0].contents(0).attached.len(), 1);
    drop(attachment);
    pods[1].holds(0, |contents| contents.attached.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_outlives_its_incarnation() {
    let mut fixture = Fixture::new(1, 2);
    let pods = fixture.pods(2).await;
    let mut seen = pods[1].handle.events();
    pods[0].cut_from_log(0, true);
    while !matches!(within(seen.recv()).await, Ok(PodEvent::PodGone { partition: 0, .. })) {}
    let partition = pods[0].partition(0);
    let heal = async {
        crate::fixture::pass(500).await;
        pods[0].cut_from_log(0, false);
    };
    let barrier = partition.barrier(CALL_PATIENCE);
    let (submitted, reached, ()) = tokio::join!(partition.submit(command(1), CALL_PATIENCE), barrier, heal);
    assert_eq!((submitted, reached), (Ok(1), Ok(())));
    pods[1].barrier(0).await;
    assert_eq!(pods[1].contents(0).applied, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_stops_says_so() {
    let mut fixture = Fixture::new(1, 3);
    let mut pods = fixture.pods(3).await;
    let stopping = pods.pop().unwrap();
    let (own, handle) = (stopping.incarnation(), stopping.handle.clone());
    let mut seen = pods[0].handle.events();
    let (attachment, _) = stopping.partition(0).attach(session(7), CALL_PATIENCE).await.unwrap();
    assert!(stopping.pod.stop(Duration::from_secs(2)).await, "it is heard in time");
    let mut gone = 0;
    while gone < 3 {
        if let PodEvent::PodGone { incarnation, .. } = within(seen.recv()).await.unwrap() {
            assert_eq!(incarnation, own);
            gone += 1;
        }
    }
    assert_eq!(handle.not_ready().len(), 3);
    assert_eq!(handle.of_shard(0).submit(command(1), CALL_PATIENCE).await, Err(SubmitFault::Stopped));
    drop(attachment);
    pods[0].holds(0, |contents| contents.attached.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_without_a_log_is_bounded() {
    let mut fixture = Fixture::new(1, 2);
    let pod = fixture.pods(1).await.pop().unwrap();
    fixture.elect_for(600_000);
    let partition = pod.partition(0);
    let (answer, is_heard) = tokio::join!(biased; partition.submit(command(1), CALL_PATIENCE), async {
        crate::fixture::pass(100).await;
        pod.pod.stop(Duration::from_secs(3)).await
    });
    assert!(!is_heard);
    assert_eq!(answer, Err(SubmitFault::OutcomeUnknown));
}

#[tokio::test(start_paused = true)]
async fn a_stopped_partition_holds_up_no_stop() {
    let mut fixture = Fixture::new(1, 2);
    let pod = fixture.pods(1).await.pop().unwrap();
    pod.logs[0].publish(b"\x02later".to_vec().into(), None).await.unwrap();
    let mut readiness = pod.partition(0).readiness();
    within(readiness.wait_for(Result::is_err)).await.unwrap();
    assert!(pod.pod.stop(Duration::from_secs(2)).await);
}

#[tokio::test(start_paused = true)]
async fn a_panic_drops_one_partition_only() {
    let mut fixture = Fixture::new(1, 2);
    let pods = fixture.pods(2).await;
    let (attachment, _) = pods[0].partition(0).attach(session(7), CALL_PATIENCE).await.unwrap();
    pods[0].submit(0, 1).await;
    pods[1].barrier(0).await;
    pods[1].cut_from_log(0, true);
    panic_once_at(777_000);
    let mut events = pods[0].handle.events();
    let unknown = pods[0].partition(0).submit(command(777_000), CALL_PATIENCE).await;
    assert_eq!(unknown, Err(SubmitFault::OutcomeUnknown));
    while within(events.recv()).await != Ok(PodEvent::Dropped { partition: 0 }) {}
    pods[1].cut_from_log(0, false);
    assert_eq!(pods[0].handle.not_ready(), [(0, PartitionNotReady::Dropped)]);
    assert_eq!(pods[0].partition(0).submit(command(2), CALL_PATIENCE).await, Err(SubmitFault::Stopped));
    pods[0].submit(1, 3).await;
    // It is loaded again, and goes on as the same incarnation.
    let own = pods[0].incarnation();
    within(pods[0].handle.ready()).await;
    assert_eq!(pods[0].contents(0).applied, [1, 777_000]);
    pods[0].submit(0, 4).await;
    pods[1].barrier(0).await;
    assert_eq!(pods[1].contents(0).applied, [1, 777_000, 4]);
    assert_eq!(pods[0].incarnation(), own);
    pods[1].holds(0, |contents| contents.attached.is_empty()).await;
    drop(attachment);
}

#[tokio::test(start_paused = true)]
async fn pods_cut_from_all_are_not_ready() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(3).await;
    pods[0].cut_from_log(0, true);
    pods[0].cut_from_peers(true);
    let mut access = pods[0].partition(0).access();
    for step in [LogAccess::Stalled, LogAccess::Alone, LogAccess::Stale] {
        within(access.changed()).await.unwrap();
        assert_eq!(*access.borrow_and_update(), step);
    }
    assert_eq!(pods[0].handle.not_ready().len(), 1);
    assert!(pods[1].handle.not_ready().is_empty());
}

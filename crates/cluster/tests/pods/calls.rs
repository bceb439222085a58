//! What single calls come to.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use starling_cluster::{CALL_PATIENCE, PartitionLog, PartitionNotReady, SubmitFault};
use starling_replica::output::{NotReady, StopReason};

use crate::fixture::{Fixture, pass, within};
use crate::model::command;

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_settled_later() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    // What is on its way is not delayed by a sign of life.
    pods[0].submit(0, 1).await;
    fixture.elect_for(12_000);
    let partition = pods[0].partition(0);
    let sent = partition.submit(command(2), CALL_PATIENCE);
    let queued = partition.submit(command(3), CALL_PATIENCE);
    let (sent, queued) = tokio::join!(biased; sent, async {
        // The first one is on its way alone.
        pass(10).await;
        queued.await
    });
    assert_eq!((sent, queued), (Err(SubmitFault::OutcomeUnknown), Err(SubmitFault::NotApplied)));
    pass(20_000).await;
    for pod in &pods {
        pod.barrier(0).await;
        assert_eq!(pod.contents(0).applied, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_may_be_less_patient() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    fixture.elect_for(5_000);
    let partition = pods[0].partition(0);
    let barrier = partition.barrier(Duration::from_millis(300));
    let (impatient, patient, barrier) =
        tokio::join!(partition.submit(command(1), Duration::from_millis(200)), pods[0].submit(0, 2), barrier);
    assert!(matches!(impatient, Err(SubmitFault::OutcomeUnknown | SubmitFault::NotApplied)), "{impatient:?}");
    assert_eq!(barrier, Err(SubmitFault::NotApplied));
    assert!(patient >= 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_answers_the_rest() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    fixture.elect_for(4_000);
    let partition = pods[0].partition(0);
    let answers = join_all((1..5_000).map(|id| partition.chat(command(id), CALL_PATIENCE))).await;
    let refused = answers.iter().filter(|answer| **answer == Err(SubmitFault::QueueFull)).count();
    let applied = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(refused + applied, 4_999);
    assert!(applied >= 512 && refused > 0, "{applied} and {refused}");
    assert_eq!(pods[0].contents(0).applied.len(), applied);
}

#[tokio::test(start_paused = true)]
async fn dropped_calls_harm_nobody() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    let partition = pods[0].partition(0);
    for id in 1..100 {
        let mut dropped = Box::pin(partition.submit(command(1_000 + id), CALL_PATIENCE));
        assert_eq!(dropped.as_mut().now_or_never(), None);
        let kept = pods[0].submit(0, id);
        drop(dropped);
        kept.await;
    }
    let applied = pods[0].contents(0).applied;
    assert_eq!(applied.iter().filter(|id| **id < 1_000).count(), 99);
    assert_eq!(applied.iter().filter(|id| **id > 1_000).count(), 99, "what was taken is applied");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_stops_the_partition() {
    let mut fixture = Fixture::new(1, 2);
    let pods = fixture.pods(1).await;
    pods[0].logs[0].publish(b"\x02later".to_vec().into(), None).await.unwrap();
    let mut readiness = pods[0].partition(0).readiness();
    let stopped = PartitionNotReady::Replica(NotReady::Stopped(StopReason::Undecodable));
    within(readiness.wait_for(|now| *now == Err(stopped))).await.unwrap();
    assert_eq!(pods[0].handle.not_ready(), [(0, stopped)]);
    let refused = pods[0].partition(0).submit(command(1), CALL_PATIENCE).await;
    assert_eq!(refused, Err(SubmitFault::Stopped));
    pods[0].submit(1, 1).await;
}

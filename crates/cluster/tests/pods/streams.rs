//! What becomes of Attach and Detach.

use futures_util::FutureExt;
use starling_cluster::{CALL_PATIENCE, SubmitFault};
use starling_replica::{Batch, BatchItem};

use crate::fixture::{Fixture, pass};
use crate::model::{command, session};

/// What the log says of the sessions' streams.
fn said(fixture: &Fixture) -> Vec<BatchItem> {
    let (messages, _) = fixture.logs[0].with_log(|log| log.get(1, u64::MAX));
    let items = messages.iter().flat_map(|message| Batch::decode(&message.bytes).expect("a batch").items);
    items.filter(|item| matches!(item, BatchItem::Attach(_) | BatchItem::Detach(_))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_session_is_attached_while_it_has_streams() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    let partition = pods[0].partition(0);
    let (first, outcome) = partition.attach(session(7), CALL_PATIENCE).await.unwrap();
    assert_eq!(outcome, Some(0));
    let (second, outcome) = partition.attach(session(7), CALL_PATIENCE).await.unwrap();
    assert_eq!(outcome, None);
    drop(first);
    pods[0].barrier(0).await;
    assert_eq!(said(&fixture), [BatchItem::Attach(session(7))]);
    drop(second);
    pods[1].holds(0, |contents| contents.attached.is_empty()).await;
    assert_eq!(said(&fixture), [BatchItem::Attach(session(7)), BatchItem::Detach(session(7))]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_attach_is_detached() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    fixture.elect_for(12_000);
    let partition = pods[0].partition(0);
    let mut dropped = Box::pin(partition.attach(session(7), CALL_PATIENCE));
    assert!(dropped.as_mut().now_or_never().is_none());
    // It is on its way.
    pass(1_000).await;
    drop(dropped);
    let late = partition.attach(session(8), CALL_PATIENCE).await;
    assert!(matches!(late, Err(SubmitFault::OutcomeUnknown | SubmitFault::NotApplied)));
    pass(10_000).await;
    pods[0].barrier(0).await;
    assert_eq!(said(&fixture).len(), 4, "each has both");
    assert!(pods[0].contents(0).attached.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_attach_closes_no_other_stream() {
    let mut fixture = Fixture::new(1, 1);
    let pods = fixture.pods(2).await;
    let partition = pods[0].partition(0);
    let (kept, _) = partition.attach(session(7), CALL_PATIENCE).await.unwrap();
    fixture.elect_for(3_000);
    let full: Vec<_> = (1..3_000).map(|id| partition.submit(command(id), CALL_PATIENCE)).collect();
    let mut full = Box::pin(futures_util::future::join_all(full));
    assert!(full.as_mut().now_or_never().is_none());
    // The inbox is empty again, and the replica's queue is full but for what is on its way.
    pass(10).await;
    let more: Vec<_> = (4_000..4_100).map(|id| partition.submit(command(id), CALL_PATIENCE)).collect();
    let mut more = Box::pin(futures_util::future::join_all(more));
    assert!(more.as_mut().now_or_never().is_none());
    pass(10).await;
    let mut dropped = Box::pin(partition.attach(session(7), CALL_PATIENCE));
    assert!(dropped.as_mut().now_or_never().is_none());
    drop(dropped);
    assert_eq!(partition.attach(session(7), CALL_PATIENCE).await.map(drop), Err(SubmitFault::QueueFull));
    let answers = [full.await, more.await].concat();
    assert!(answers.iter().all(|answer| matches!(answer, Ok(_) | Err(SubmitFault::QueueFull))));
    pods[0].barrier(0).await;
    assert_eq!(said(&fixture), [BatchItem::Attach(session(7))]);
    drop(kept);
    pods[1].holds(0, |contents| contents.attached.is_empty()).await;
}

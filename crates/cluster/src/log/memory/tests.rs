use futures_util::{FutureExt, StreamExt};

use super::*;

const UNIX_MS: u64 = 1_700_000_000_000;

fn log() -> SharedMemoryLog {
    SharedMemoryLog::new(UNIX_MS, 1 << 20)
}

/// The messages that wait for a follower.
fn waiting(messages: &mut MemoryMessages) -> Vec<u64> {
    std::iter::from_fn(|| messages.next().now_or_never().flatten()).map(|message| message.sequence).collect()
}

async fn publish(pod: &MemoryCommandLog, text: &'static str) -> u64 {
    pod.publish(Bytes::from(text), None).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_pods_read_the_same_messages() {
    let log = log();
    let (first, second) = (log.for_pod(), log.for_pod());
    let mut followed = second.follow().await.unwrap();
    assert_eq!(publish(&first, "a").await, 1);
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(publish(&second, "b").await, 2);
    let messages = vec![followed.next().await.unwrap(), followed.next().await.unwrap()];
    assert_eq!(messages[0], LogMessage { sequence: 1, timestamp: UNIX_MS, bytes: b"a".to_vec() });
    assert_eq!(messages[1], LogMessage { sequence: 2, timestamp: UNIX_MS + 3_000, bytes: b"b".to_vec() });
    assert_eq!(first.fetch(1, 9).await, Ok(FetchedMessages { messages, first: 1 }));
    assert_eq!(first.extent().await, Ok((1, 2)));
}

#[tokio::test(start_paused = true)]
async fn follower_wakes_when_a_message_comes() {
    let log = log();
    let mut followed = log.for_pod().follow().await.unwrap();
    let pod = log.for_pod();
    let (message, sequence) = tokio::join!(followed.next(), publish(&pod, "a"));
    assert_eq!(message.map(|message| message.sequence), Some(sequence));
}

#[tokio::test(start_paused = true)]
async fn expected_last_sequence_fences() {
    let pod = log().for_pod();
    assert_eq!(pod.publish(Bytes::from("a"), Some(1)).await, Err(PublishFault::OtherLast));
    assert_eq!(pod.publish(Bytes::from("a"), Some(0)).await, Ok(1));
    assert_eq!(pod.publish(Bytes::from("b"), Some(0)).await, Err(PublishFault::OtherLast));
    assert_eq!(pod.extent().await, Ok((1, 1)));
}

#[tokio::test(start_paused = true)]
async fn pod_that_is_cut_reaches_and_hears_nothing() {
    let log = log();
    let (pod, other) = (log.for_pod(), log.for_pod());
    let mut followed = pod.follow().await.unwrap();
    pod.set_cut(true);
    assert_eq!(pod.publish(Bytes::from("a"), None).await, Err(PublishFault::Unreachable));
    assert_eq!(pod.fetch(1, 1).await, Err(LogUnreachable));
    assert_eq!(pod.extent().await, Err(LogUnreachable));
    assert_eq!(pod.purge(1).await, Err(LogUnreachable));
    assert_eq!(pod.store("x".to_owned(), vec![]).await, Err(ObjectStoreUnreachable));
    assert_eq!(pod.load(SnapshotChoice::Newest(0)).await, Err(ObjectStoreUnreachable));
    assert!(pod.follow().await.is_err());
    assert_eq!(publish(&other, "b").await, 1);
    pod.set_cut(false);
    assert_eq!(publish(&other, "c").await, 2);
    assert_eq!(waiting(&mut followed), [2]);
    assert_eq!(pod.fetch(1, 1).await.unwrap().messages[0].bytes, b"b");
}

#[tokio::test(start_paused = true)]
async fn messages_are_lost_for_one_pod_alone() {
    let log = log();
    let (pod, other) = (log.for_pod(), log.for_pod());
    let (mut followed, mut by_other) = (pod.follow().await.unwrap(), other.follow().await.unwrap());
    pod.lose_messages(2);
    for text in ["a", "b", "c"] {
        publish(&other, text).await;
    }
    assert_eq!((waiting(&mut followed), waiting(&mut by_other)), (vec![3], vec![1, 2, 3]));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_during_an_election() {
    let log = log();
    let pod = log.for_pod();
    publish(&pod, "a").await;
    log.with_log(|log| log.elect_for(4_000));
    assert_eq!(pod.publish(Bytes::from("b"), None).await, Err(PublishFault::Unreachable));
    assert_eq!(pod.extent().await, Err(LogUnreachable));
    assert_eq!(pod.fetch(1, 1).await.unwrap().messages.len(), 1);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(publish(&pod, "c").await, 2);
}

#[tokio::test(start_paused = true)]
async fn full_log_takes_more_after_a_purge() {
    let log = SharedMemoryLog::new(UNIX_MS, 10_000);
    let pod = log.for_pod();
    let text = Bytes::from(vec![7; 3_000]);
    let mut taken = 0;
    while pod.publish(text.clone(), None).await.is_ok() {
        taken += 1;
    }
    assert_eq!(taken, 3);
    assert_eq!(pod.publish(text.clone(), None).await, Err(PublishFault::Full));
    pod.purge(3).await.unwrap();
    assert_eq!(pod.extent().await, Ok((3, 3)));
    assert_eq!(pod.fetch(1, 3).await.unwrap().first, 3);
    assert_eq!(pod.publish(text.clone(), None).await, Ok(4));
    log.with_log(MemoryLog::lose_all);
    assert_eq!(pod.extent().await, Ok((1, 0)));
    for sequence in 1..=3 {
        assert_eq!(pod.publish(text.clone(), None).await, Ok(sequence));
    }
}

#[tokio::test(start_paused = true)]
async fn snapshots_are_found_by_age_and_name() {
    let log = SharedMemoryLog::new(UNIX_MS, 100);
    let pod = log.for_pod();
    for sequence in 1..=2 {
        assert_eq!(pod.publish("x".into(), None).await, Ok(sequence));
    }
    let names = [1, 2].map(|sequence| format!("snapshot-{:016x}-{sequence:020}", 7));
    for (name, byte) in names.iter().zip(1..) {
        pod.store(name.clone(), vec![byte; 40]).await.unwrap();
    }
    assert_eq!(pod.store("reseed-x".to_owned(), vec![3; 40]).await, Err(ObjectStoreUnreachable));
    pod.store("reseed-x".to_owned(), vec![3; 20]).await.unwrap();
    let load = async |choice| pod.load(choice).await.unwrap();
    assert_eq!(load(SnapshotChoice::Newest(0)).await, Some((names[1].clone(), vec![2; 40])));
    assert_eq!(load(SnapshotChoice::Newest(1)).await, Some((names[0].clone(), vec![1; 40])));
    assert_eq!(load(SnapshotChoice::Newest(2)).await, None);
    assert_eq!(load(SnapshotChoice::Named("reseed-x".to_owned())).await.unwrap().1, vec![3; 20]);
    pod.purge(2).await.unwrap();
    assert_eq!(load(SnapshotChoice::Newest(1)).await, None);
    pod.store(names[0].clone(), vec![4; 40]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_follower_loses_what_is_too_much() {
    let log = SharedMemoryLog::new(UNIX_MS, 2 * FOLLOW_BYTES);
    let pod = log.for_pod();
    let mut followed = pod.follow().await.unwrap();
    let text = Bytes::from(vec![7; 1 << 20]);
    for _ in 0..17 {
        pod.publish(text.clone(), None).await.unwrap();
    }
    assert_eq!(waiting(&mut followed), (1..=15).collect::<Vec<_>>());
    assert_eq!(pod.fetch(1, 17).await.unwrap().messages.len(), 4, "no more than it may hold at once");
    pod.publish(text, None).await.unwrap();
    assert_eq!(waiting(&mut followed), [18]);
}

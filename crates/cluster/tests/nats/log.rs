//! One server: what each call of a log does, and what becomes of it when the server goes.

use bytes::Bytes;
use futures_util::StreamExt;
use starling_cluster::{FetchedMessages, JetStreamCluster, JetStreamLog, LogUnreachable, PartitionLog};
use starling_replica::LogMessage;
use starling_replica::replica::PublishFault;

use crate::server::{NatsServer, connect, settings, soon, until};

fn text(number: u64) -> Bytes {
    Bytes::from(format!("message {number}"))
}

async fn fill(log: &JetStreamLog, count: u64) {
    for number in 1..=count {
        assert_eq!(log.publish(text(number), None).await, Ok(number));
    }
}

fn sequences(messages: &[LogMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence).collect()
}

#[tokio::test]
async fn message_followed_is_the_message_fetched() {
    let Some(server) = NatsServer::alone("").await else { return };
    let (writer, reader) = (connect(&server).await.log(0), connect(&server).await.log(0));
    assert_eq!(reader.extent().await, Ok((1, 0)));
    let mut messages = reader.follow().await.unwrap();
    // By now the server knows of the follower: it has answered this connection since.
    assert_eq!(reader.publish(text(1), None).await, Ok(1));
    for number in 2..=20 {
        assert_eq!(writer.publish(text(number), None).await, Ok(number));
    }
    let followed: Vec<_> = soon(messages.by_ref().take(20).collect()).await;
    assert_eq!(sequences(&followed), (1..=20).collect::<Vec<_>>());
    assert_eq!(followed[6].bytes, text(7));
    assert!(followed.is_sorted_by_key(|message| message.timestamp));
    assert!(followed[0].timestamp > 1_700_000_000_000, "milliseconds since the Unix epoch");
    assert_eq!(reader.fetch(1, 20).await, Ok(FetchedMessages { messages: followed, first: 1 }));
    assert_eq!(sequences(&writer.fetch(5, 7).await.unwrap().messages), [5, 6, 7]);
    assert_eq!(sequences(&writer.fetch(20, 21).await.unwrap().messages), [20]);
    assert_eq!(writer.fetch(21, 30).await, Ok(FetchedMessages { messages: vec![], first: 21 }));
    assert_eq!(writer.extent().await, Ok((1, 20)));
}

#[tokio::test]
async fn fetch_is_bounded_in_number_and_bytes() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    fill(&log, 300).await;
    assert_eq!(sequences(&log.fetch(1, 300).await.unwrap().messages), (1..=256).collect::<Vec<_>>());
    let large = Bytes::from(vec![7; 400 << 10]);
    for _ in 0..16 {
        log.publish(large.clone(), None).await.unwrap();
    }
    let fetched = log.fetch(301, 316).await.unwrap().messages;
    assert!((2..16).contains(&fetched.len()), "{} of 400 KiB", fetched.len());
}

#[tokio::test]
async fn batch_larger_than_a_message_is_not_taken() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    for size in [600 << 10, 2 << 20] {
        assert_eq!(log.publish(Bytes::from(vec![7; size]), None).await, Err(PublishFault::Unreachable));
    }
    assert_eq!(log.extent().await, Ok((1, 0)));
}

#[tokio::test]
async fn expected_last_sequence_fences() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    assert_eq!(log.publish(text(1), Some(1)).await, Err(PublishFault::OtherLast));
    assert_eq!(log.publish(text(1), Some(0)).await, Ok(1));
    assert_eq!(log.publish(text(2), Some(0)).await, Err(PublishFault::OtherLast));
    assert_eq!(log.publish(text(2), Some(1)).await, Ok(2));
    assert_eq!(log.extent().await, Ok((1, 2)));
}

#[tokio::test]
async fn full_log_takes_nothing_until_it_is_purged() {
    let Some(server) = NatsServer::alone("").await else { return };
    let mut settings = settings(vec![server.url()]);
    settings.max_log_bytes = 1 << 20;
    let log = JetStreamCluster::connect(settings).await.unwrap().log(0);
    let large = Bytes::from(vec![7; 100 << 10]);
    let mut last = 0;
    let refused = loop {
        match log.publish(large.clone(), None).await {
            Ok(sequence) => last = sequence,
            Err(fault) => break fault,
        }
    };
    assert_eq!((refused, last), (PublishFault::Full, 10));
    assert_eq!(log.extent().await, Ok((1, 10)), "no entry makes room for another");
    log.purge(5).await.unwrap();
    assert_eq!(log.extent().await, Ok((5, 10)));
    assert_eq!(log.publish(large, None).await, Ok(11));
}

#[tokio::test]
async fn purge_keeps_sequences_and_says_so() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    fill(&log, 20).await;
    log.purge(12).await.unwrap();
    let fetched = log.fetch(3, 14).await.unwrap();
    assert_eq!((fetched.first, sequences(&fetched.messages)), (12, vec![12, 13, 14]));
    let fetched = log.fetch(3, 4).await.unwrap();
    assert_eq!((fetched.first, fetched.messages), (12, vec![]));
    for below in [0, 1, 12] {
        log.purge(below).await.unwrap();
        assert_eq!(log.extent().await, Ok((12, 20)));
    }
    log.purge(20).await.unwrap();
    assert_eq!(log.extent().await, Ok((20, 20)));
}

#[tokio::test]
async fn purge_beyond_a_lost_log_does_nothing() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    fill(&log, 3).await;
    log.purge(1_000).await.unwrap();
    assert_eq!(log.extent().await, Ok((1, 3)));
    assert_eq!(log.publish(text(4), None).await, Ok(4));
}

#[tokio::test]
async fn log_goes_on_after_its_server_restarts() {
    let Some(mut server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    let mut messages = log.follow().await.unwrap();
    fill(&log, 3).await;
    server.kill();
    assert_eq!(log.publish(text(4), None).await, Err(PublishFault::Unreachable));
    assert_eq!(log.fetch(1, 3).await, Err(LogUnreachable));
    assert_eq!(log.extent().await, Err(LogUnreachable));
    server.start();
    server.listens().await;
    let mut last = 3;
    until(async || {
        last = log.publish(text(9), None).await.unwrap_or(last);
        last > 3
    })
    .await;
    assert_eq!(last, 4, "nothing that was refused has been written");
    let followed: Vec<_> = soon(messages.by_ref().take(4).collect()).await;
    assert_eq!(sequences(&followed), [1, 2, 3, 4]);
    assert_eq!(log.extent().await, Ok((1, 4)));
}

#[tokio::test]
async fn log_whose_disk_was_lost_begins_at_one() {
    let Some(mut server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    let mut messages = log.follow().await.unwrap();
    fill(&log, 3).await;
    log.store("snapshot-0-3".to_owned(), vec![7; 10]).await.unwrap();
    assert_eq!(sequences(&soon(messages.by_ref().take(3).collect::<Vec<_>>()).await), [1, 2, 3]);
    server.kill();
    server.delete_store();
    server.start();
    server.listens().await;
    until(async || log.extent().await == Ok((1, 0))).await;
    assert_eq!(log.publish(text(5), Some(0)).await, Ok(1));
    assert_eq!(soon(messages.next()).await.map(|message| message.sequence), Some(1));
    let newest = starling_replica::output::SnapshotChoice::Newest(0);
    until(async || log.load(newest.clone()).await == Ok(None)).await;
    log.store("snapshot-1-1".to_owned(), vec![7; 10]).await.unwrap();
}

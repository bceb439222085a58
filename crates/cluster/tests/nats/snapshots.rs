//! Snapshots in the object store.

use bytes::Bytes;
use starling_cluster::{JetStreamLog, PartitionLog};
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::ObjectStoreUnreachable;

use crate::server::{NatsServer, connect, settings};

fn name(sequence: u64) -> String {
    format!("snapshot-{:016x}-{sequence:020}", 7)
}

async fn load(log: &JetStreamLog, choice: SnapshotChoice) -> Option<(String, Vec<u8>)> {
    log.load(choice).await.unwrap()
}

/// Bytes of a size in which every chunk differs.
fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|at| u8::try_from(at / 1_000 % 251).unwrap()).collect()
}

/// How many messages the bucket's stream has.
async fn bucket_messages(server: &NatsServer) -> u64 {
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    context.get_stream("OBJ_STARLING_a").await.unwrap().cached_info().state.messages
}

#[tokio::test]
async fn snapshots_are_found_by_age_and_name() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    assert_eq!(load(&log, SnapshotChoice::Newest(0)).await, None);
    assert_eq!(load(&log, SnapshotChoice::Named(name(5))).await, None);
    for (name, size) in [(name(5), 10), (name(9), 0), ("reseed-x".to_owned(), 20), (name(7), 30)] {
        log.store(name, bytes(size)).await.unwrap();
    }
    let newest = [Some((name(7), bytes(30))), Some((name(9), vec![])), Some((name(5), bytes(10))), None];
    for (skipped, expected) in newest.into_iter().enumerate() {
        assert_eq!(load(&log, SnapshotChoice::Newest(skipped)).await, expected);
    }
    let named = load(&log, SnapshotChoice::Named("reseed-x".to_owned())).await;
    assert_eq!(named, Some(("reseed-x".to_owned(), bytes(20))));
}

#[tokio::test]
async fn snapshot_of_many_chunks_is_read_whole() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    let large = bytes((40 << 20) + 77);
    log.store(name(1), large.clone()).await.unwrap();
    assert!(load(&log, SnapshotChoice::Newest(0)).await == Some((name(1), large)), "the bytes differ");
}

#[tokio::test]
async fn snapshot_stored_again_replaces_the_first() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    for size in [3 << 20, 10] {
        log.store(name(1), bytes(size)).await.unwrap();
    }
    assert_eq!(load(&log, SnapshotChoice::Newest(0)).await, Some((name(1), bytes(10))));
    assert_eq!(load(&log, SnapshotChoice::Newest(1)).await, None);
    assert_eq!(bucket_messages(&server).await, 2, "what it is, and one chunk");
}

#[tokio::test]
async fn tools_read_snapshots_as_objects() {
    let Some(server) = NatsServer::alone("").await else { return };
    let log = connect(&server).await.log(0);
    log.store(name(1), bytes(3 << 20)).await.unwrap();
    let context = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let store = context.get_object_store("STARLING_a").await.unwrap();
    let mut object = store.get(format!("0/{}", name(1))).await.unwrap();
    let mut read = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut object, &mut read).await.expect("the digest is right");
    assert!(read == bytes(3 << 20), "the bytes differ");
}

#[tokio::test]
async fn purge_deletes_this_partitions_older_snapshots() {
    let Some(server) = NatsServer::alone("").await else { return };
    let mut settings = settings(vec![server.url()]);
    settings.partitions = 2;
    let cluster = starling_cluster::JetStreamCluster::connect(settings).await.unwrap();
    let (log, other) = (cluster.log(0), cluster.log(1));
    for _ in 0..10 {
        log.publish(Bytes::from("x"), None).await.unwrap();
    }
    for sequence in [3, 5, 8] {
        log.store(name(sequence), bytes(10)).await.unwrap();
    }
    log.store("reseed-x".to_owned(), bytes(10)).await.unwrap();
    other.store(name(2), bytes(10)).await.unwrap();
    log.purge(5).await.unwrap();
    assert_eq!(log.extent().await, Ok((5, 10)));
    assert_eq!(load(&log, SnapshotChoice::Newest(0)).await, Some((name(8), bytes(10))));
    assert_eq!(load(&log, SnapshotChoice::Newest(1)).await, Some((name(5), bytes(10))));
    assert_eq!(load(&log, SnapshotChoice::Newest(2)).await, None);
    assert!(load(&log, SnapshotChoice::Named("reseed-x".to_owned())).await.is_some());
    assert!(load(&other, SnapshotChoice::Newest(0)).await.is_some());
    assert_eq!(bucket_messages(&server).await, 8, "nothing is left of the one that was deleted");
}

#[tokio::test]
async fn full_object_store_keeps_what_it_has() {
    let Some(server) = NatsServer::alone("").await else { return };
    let mut settings = settings(vec![server.url()]);
    settings.max_store_bytes = 4 << 20;
    let log = starling_cluster::JetStreamCluster::connect(settings).await.unwrap().log(0);
    log.store(name(1), bytes(2 << 20)).await.unwrap();
    let before = bucket_messages(&server).await;
    assert_eq!(log.store(name(2), bytes(6 << 20)).await, Err(ObjectStoreUnreachable));
    assert_eq!(bucket_messages(&server).await, before, "nothing is left of what did not fit");
    assert!(load(&log, SnapshotChoice::Newest(0)).await == Some((name(1), bytes(2 << 20))), "the bytes differ");
    log.store(name(3), bytes(1 << 20)).await.unwrap();
}

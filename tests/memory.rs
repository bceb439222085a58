//! What a viewer costs, measured by a counting allocator at 10^6 viewers, without
//! endpoint and metadata.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use futures_util::FutureExt;
use peak_alloc::PeakAlloc;
use starling::clock::Clock;
use starling::cluster::CommandLog;
use starling::store::snapshot::Projection;
use starling::store::{Settings, Store};
use starling_core::command::{CreateLivestream, Join};
use starling_core::hash::splitmix64;
use starling_core::livestream::Config;
use starling_core::request::RequestId;
use starling_core::topology::RelayTree;
use starling_core::{Command, Epoch, MemberKey, NodeId, SessionId, SharedCommand, SwarmId, SwarmKind};

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const VIEWERS: usize = 1_000_000;

/// Bytes per viewer that `build` leaves allocated.
fn per_viewer<T>(build: impl FnOnce() -> T) -> (T, usize) {
    let before = ALLOCATED.current_usage();
    let built = build();
    (built, (ALLOCATED.current_usage() - before) / VIEWERS)
}

fn topology() -> usize {
    let build = || {
        let mut tree = RelayTree::new(5);
        for number in 0..VIEWERS {
            tree.insert(MemberKey::from_index(number), !number.is_multiple_of(10));
        }
        tree
    };
    let (tree, bytes) = per_viewer(build);
    assert_eq!(tree.len(), VIEWERS);
    bytes
}

fn submit(log: &CommandLog, id: SwarmId, command: Command) {
    // One process answers at once.
    log.submit(id, command, Projection::NOTHING).now_or_never().unwrap().unwrap();
}

fn store_and_log() -> (Arc<Store>, CommandLog) {
    let store = Arc::new(Store::new(Settings {
        shards: 64,
        event_log_revisions: 4_096,
        ring_bytes: 8 << 20,
        feed_memory_bytes: 1 << 30,
        state_bytes: usize::MAX,
        state_address_bytes: usize::MAX,
    }));
    (Arc::clone(&store), CommandLog::local(store, Clock::system()))
}

fn join(number: u64) -> Join {
    Join {
        node: NodeId::new(number + 2).unwrap(),
        session: SessionId::drawn(splitmix64(number)),
        request: None,
        ttl_ms: 30_000,
        mode: None,
        can_relay: None,
        endpoint: None,
        metadata: None,
        interests: Vec::new(),
        listens: None,
    }
}

fn store() -> usize {
    let build = || {
        let (store, log) = store_and_log();
        let id = SwarmId::new(SwarmKind::Livestream, 7).unwrap();
        let create = CreateLivestream {
            epoch: Epoch::drawn(1),
            broadcaster: NodeId::new(1).unwrap(),
            config: Config::default(),
            metadata: Box::default(),
            retention_ms: 0,
        };
        submit(&log, id, Command::CreateLivestream(create));
        for number in 0..VIEWERS as u64 {
            submit(&log, id, SharedCommand::Join(join(number)).into());
        }
        store
    };
    let (store, bytes) = per_viewer(build);
    assert_eq!(store.len(), 1);
    bytes
}

/// Livestreams with the largest metadata: what one allocates, and what is booked for it.
fn livestreams() -> (usize, usize) {
    const COUNT: usize = 20_000;
    let before = ALLOCATED.current_usage();
    let (store, log) = store_and_log();
    for number in 1..=COUNT as u64 {
        let create = CreateLivestream {
            epoch: Epoch::drawn(number),
            broadcaster: NodeId::new(1).unwrap(),
            config: Config::default(),
            metadata: vec![7; 1_024].into(),
            retention_ms: 0,
        };
        let id = SwarmId::new(SwarmKind::Livestream, number).unwrap();
        submit(&log, id, Command::CreateLivestream(create));
    }
    ((ALLOCATED.current_usage() - before) / COUNT, store.state_bytes() / COUNT)
}

/// One livestream of viewers with the largest endpoint and metadata, each made by a request with the longest id: what
/// one allocates, and what is booked for it.
fn full_viewers() -> (usize, usize) {
    const COUNT: usize = 100_000;
    let before = ALLOCATED.current_usage();
    let (store, log) = store_and_log();
    let id = SwarmId::new(SwarmKind::Livestream, 7).unwrap();
    let create = CreateLivestream {
        epoch: Epoch::drawn(1),
        broadcaster: NodeId::new(1).unwrap(),
        config: Config::default(),
        metadata: Box::default(),
        retention_ms: 0,
    };
    submit(&log, id, Command::CreateLivestream(create));
    for number in 0..COUNT as u64 {
        let join = Join {
            endpoint: Some(vec![7; 256].into()),
            metadata: Some(vec![7; 256].into()),
            request: Some(RequestId { name: "r".repeat(64).into(), fingerprint: number }),
            ..join(number)
        };
        submit(&log, id, SharedCommand::Join(join).into());
    }
    ((ALLOCATED.current_usage() - before) / COUNT, store.state_bytes() / COUNT)
}

// One test, because the allocator counts for the whole process.
#[test]
fn memory_per_viewer_is_bounded() {
    let (topology, store) = (topology(), store());
    eprintln!("topology: {topology} bytes per viewer; store, event log included: {store}");
    assert!(topology <= 100, "{topology}");
    assert!(store <= 300, "{store}");
    for (what, (allocated, booked)) in [("livestream", livestreams()), ("viewer", full_viewers())] {
        eprintln!("{what}: {allocated} bytes allocated, {booked} booked");
        assert!(booked >= allocated * 9 / 10 && booked <= allocated * 3 / 2, "{what}: {booked} for {allocated}");
    }
}

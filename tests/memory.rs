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

fn store() -> usize {
    let settings = Settings { shards: 64, event_log_revisions: 4_096, ring_bytes: 8 << 20, feed_memory_bytes: 1 << 30 };
    let build = || {
        let store = Arc::new(Store::new(settings));
        let log = CommandLog::local(Arc::clone(&store), Clock::system());
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
            let join = Join {
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
            };
            submit(&log, id, SharedCommand::Join(join).into());
        }
        store
    };
    let (store, bytes) = per_viewer(build);
    assert_eq!(store.len(), 1);
    bytes
}

// One test, because the allocator counts for the whole process.
#[test]
fn memory_per_viewer_is_bounded() {
    let (topology, store) = (topology(), store());
    eprintln!("topology: {topology} bytes per viewer; store, event log included: {store}");
    assert!(topology <= 100, "{topology}");
    assert!(store <= 300, "{store}");
}

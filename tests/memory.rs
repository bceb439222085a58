//! What a viewer costs, measured by a counting allocator at 10^6 viewers, without
//! endpoint and metadata; and whether feeds book what they really take.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use futures_util::FutureExt;
use peak_alloc::PeakAlloc;
use starling::clock::Clock;
use starling::cluster::CommandLog;
use starling::feed::{self, Cursor, Draft, Feed, Limits, Memory, Message, Micros, Opening, Selection, Timestamp};
use starling::store::snapshot::Projection;
use starling::store::{CreatorShares, Settings, Store};
use starling_core::channel::Channel;
use starling_core::command::{By, CreateLivestream, Join};
use starling_core::event::{Gate, Grant};
use starling_core::hash::splitmix64;
use starling_core::id::NO_HOME;
use starling_core::interest::Interests;
use starling_core::livestream::Config;
use starling_core::request::RequestId;
use starling_core::topology::RelayTree;
use starling_core::{Command, Epoch, MemberKey, NodeId, SessionId, SharedCommand, Swarm, SwarmId, SwarmKind};

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
        event_log_bytes: 4 << 20,
        event_logs_bytes: 128 << 20,
        ring_bytes: 8 << 20,
        feed_memory_bytes: 1 << 30,
        state_bytes: usize::MAX,
        creators: CreatorShares::UNLIMITED,
    }));
    (Arc::clone(&store), CommandLog::local(store, Clock::system()))
}

/// Makes a livestream with so many bytes of metadata.
fn create(epoch: u64, metadata: usize) -> Command {
    Command::CreateLivestream(CreateLivestream {
        epoch: Epoch::drawn(epoch),
        broadcaster: NodeId::new(1).unwrap(),
        config: Config::default(),
        metadata: vec![7; metadata].into(),
        retention_ms: 0,
    })
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
        submit(&log, id, create(1, 0));
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
        let id = SwarmId::new(SwarmKind::Livestream, number).unwrap();
        submit(&log, id, create(number, 1_024));
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
    submit(&log, id, create(1, 0));
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

/// As many bans as a livestream may have: what one allocates, and what is counted for it.
fn bans() -> (usize, usize) {
    let count = starling_core::bans::MAX_BANS as usize;
    let mut slot = None;
    starling_core::apply(&mut slot, create(1, 0), 0).unwrap();
    let (before, empty) = (ALLOCATED.current_usage(), slot.as_deref().map_or(0, Swarm::bytes));
    for number in 0..count as u64 {
        let by = By { node: NodeId::new(1).unwrap(), session: None, request: None };
        let ban = SharedCommand::Ban { by, node: NodeId::drawn(splitmix64(number)), ttl_ms: 1_000 };
        starling_core::apply(&mut slot, ban.into(), number).unwrap();
    }
    let (allocated, counted) = (ALLOCATED.current_usage() - before, slot.as_deref().map_or(0, Swarm::bytes) - empty);
    (allocated / count, counted / count)
}

/// A case of what clients can fill a feed with.
#[derive(Clone, Copy, Debug)]
struct Case {
    payload: usize,
    records: usize,
    sources: u64,
    channel: Channel,
    /// Subscriptions that read everything.
    readers: u64,
}

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Bytes that a case leaves booked, and allocated.
fn booked_and_allocated(case: Case) -> (usize, usize) {
    let Case { payload, records, sources, channel, readers } = case;
    let (memory, age) = (Memory::new(1 << 30), Micros::from_millis(10_000));
    let limits = Limits { max_age: age, keyframe_interval: None, max_lag: age, bandwidth: None };
    let shape = feed::Settings { ring_bytes: 8 << 20, shared_chat: true, limits };
    let feed = Feed::new(shape, Arc::clone(&memory));
    let before = ALLOCATED.current_usage();
    let payload = Bytes::from(vec![7; payload]);
    let mut cursors: Vec<_> = (0..readers)
        .map(|number| {
            let selection = Selection::new(node(1 << 32 | number), [channel].into_iter().collect(), Vec::new());
            let interests = Interests::participant();
            let mut cursor = Cursor::enter(&feed, selection, interests, Waker::noop().clone(), Micros::ZERO).unwrap();
            cursor.begin(Opening::default(), Micros::ZERO);
            cursor
        })
        .collect();
    for number in 0..records as u64 {
        let now = Micros::from_millis(number / 100);
        let (source, session) = (node(1 + number % sources), SessionId::new(1 + number % sources).unwrap());
        let draft = Draft {
            channel,
            payload: payload.clone(),
            keyframe: number < sources,
            urgent: false,
            temporal_layer: 0,
            publisher_sequence: 2 * (1 + number / sources),
            publish_time: None,
            accept_time: Timestamp { seconds: 1_700_000_000, nanos: 1 },
            proof: None,
        };
        if channel == Channel::Chat {
            feed.chat(Message { author: source, session, muted: false, draft }, now, true).unwrap();
        } else {
            if number < sources {
                let grant = Grant {
                    source,
                    channel,
                    term: 1,
                    session: Some(session),
                    home: NO_HOME,
                    gate: Gate::Open,
                    key: None,
                };
                feed.enforce(&[grant], &[], false);
            }
            feed.publish(source, 1, draft, now).unwrap();
        }
        for cursor in &mut cursors {
            assert!(!cursor.read(now).is_empty());
        }
    }
    drop(payload);
    let found = (memory.used(), ALLOCATED.current_usage() - before);
    drop((cursors, feed));
    assert_eq!(memory.used(), 0);
    found
}

fn feeds() {
    let case = |payload, records, sources, channel, readers| Case { payload, records, sources, channel, readers };
    let [visual, audio, chat] = [Channel::Visual, Channel::Audio, Channel::Chat];
    let payloads = [0, 10, 100, 1_200].into_iter();
    let full = payloads.flat_map(|payload| {
        let many = [(1, visual, 0), (1, visual, 1), (250, audio, 0), (250, audio, 1)];
        many.map(|(sources, channel, readers)| case(payload, 50_000, sources, channel, readers))
    });
    let small = [
        case(10, 1, 1, visual, 0),
        case(10, 900, 900, visual, 0),
        case(10, 20_000, 20_000, chat, 0),
        case(10, 300, 300, audio, 20),
    ];
    for case in full.chain(small) {
        let (booked, allocated) = booked_and_allocated(case);
        eprintln!("{case:?}: booked {booked}, {:.3} of what is allocated", booked as f64 / allocated as f64);
        assert!(booked >= allocated, "{case:?}: {booked} for {allocated}");
        assert!(booked * 10 <= allocated * 13, "{case:?}: {booked} for {allocated}");
    }
}

// One test, because the allocator counts for the whole process.
#[test]
fn memory_is_bounded_and_booked() {
    feeds();
    let (topology, store) = (topology(), store());
    eprintln!("topology: {topology} bytes per viewer; store, event log included: {store}");
    assert!(topology <= 100, "{topology}");
    assert!(store <= 300, "{store}");
    for (what, (allocated, booked)) in [("livestream", livestreams()), ("viewer", full_viewers()), ("ban", bans())] {
        eprintln!("{what}: {allocated} bytes allocated, {booked} booked");
        assert!(booked >= allocated * 9 / 10 && booked <= allocated * 3 / 2, "{what}: {booked} for {allocated}");
    }
}

//! The update path in one thread: publishing beside those who wait, reading, joining.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use starling::feed::{
    Cursor, Delivery, Draft, Encoded, Feed, Limits, Memory, Micros, Opening, Selection, Settings, Timestamp,
};
use starling_core::channel::Channel;
use starling_core::event::{Gate, Grant};
use starling_core::id::NO_HOME;
use starling_core::interest::{Interest, InterestChange, Interests};
use starling_core::{NodeId, SessionId};

const TERM: u64 = 1;
const NOW: Micros = Micros::from_millis(1_000);

fn source() -> NodeId {
    NodeId::new(1).unwrap()
}

/// A feed on air, with one keyframe.
fn feed() -> Arc<Feed> {
    let shape = Settings {
        ring_bytes: 8 << 20,
        shared_chat: true,
        limits: Limits {
            max_age: Micros::from_millis(u64::MAX / 2_000),
            keyframe_interval: None,
            max_lag: Micros::from_millis(u64::MAX / 2_000),
            bandwidth: None,
        },
    };
    let feed = Feed::new(shape, Memory::new(1 << 30));
    let (channel, session, gate) = (Channel::Visual, SessionId::new(1), Gate::Open);
    feed.enforce(
        &[Grant { source: source(), channel, term: TERM, session, home: NO_HOME, gate, key: None }],
        &[],
        false,
    );
    publish(&feed, 256, true);
    feed
}

fn publish(feed: &Feed, bytes: usize, keyframe: bool) {
    let draft = Draft {
        channel: Channel::Visual,
        payload: Bytes::from(vec![7; bytes]),
        keyframe,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence: 0,
        publish_time: None,
        accept_time: Timestamp { seconds: 1_700_000_000, nanos: 1 },
        proof: None,
    };
    feed.publish(source(), TERM, draft, NOW).unwrap();
}

fn viewer(feed: &Arc<Feed>, node: u64) -> Cursor {
    let mut interests = Interests::default();
    let change = InterestChange { channel: Channel::Visual, source: None, level: Interest::High, ttl_ms: None };
    interests.set(&[change], 0);
    let channels = [Channel::Visual].into_iter().collect();
    let selection = Selection::new(NodeId::new(node).unwrap(), channels, Vec::new());
    let mut viewer = Cursor::enter(feed, selection, interests, Waker::noop().clone(), NOW).unwrap();
    viewer.begin(Opening { expected: vec![source()], ..Opening::default() }, NOW);
    viewer
}

fn read(viewer: &mut Cursor) -> Vec<Encoded> {
    viewer.read(NOW).into_iter().filter_map(Delivery::into_update).collect()
}

/// Flat within 2x from 1 to 10 000 (`docs/design.md`, section 10).
fn publish_beside_parked(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish 256 B beside parked subscribers");
    for parked in [0, 1, 10, 100, 1_000, 10_000] {
        let feed = feed();
        let mut viewers: Vec<_> = (0..parked).map(|number| viewer(&feed, 2 + number)).collect();
        for viewer in &mut viewers {
            read(viewer);
            assert!(viewer.park());
        }
        group.bench_function(BenchmarkId::from_parameter(parked), |b| b.iter(|| publish(&feed, 256, false)));
    }
    group.finish();
}

/// One update, by a subscriber that had all before.
fn read_and_park(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish, read, park");
    for bytes in [256, 8_192] {
        let feed = feed();
        let mut viewer = viewer(&feed, 2);
        read(&mut viewer);
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| {
                publish(&feed, bytes, false);
                black_box(read(&mut viewer));
                assert!(viewer.park());
            });
        });
    }
    group.finish();
}

/// A segment of small updates as one message: made once, and shared after.
fn join(c: &mut Criterion) {
    let feed = feed();
    (0..400).for_each(|_| publish(&feed, 256, false));
    let mut viewer = viewer(&feed, 2);
    let updates = read(&mut viewer);
    let mut group = c.benchmark_group("join a segment of 256 B updates");
    group.throughput(Throughput::Elements(updates.len() as u64));
    group.bench_function("shared", |b| b.iter(|| black_box(viewer.join(&updates))));
    // Always others than those of the last sixteen times.
    let mut skipped = 0;
    group.bench_function("anew", |b| {
        b.iter(|| {
            skipped = (skipped + 1) % 40;
            black_box(viewer.join(&updates[skipped..]))
        });
    });
    group.finish();
}

criterion_group!(benches, publish_beside_parked, read_and_park, join);
criterion_main!(benches);

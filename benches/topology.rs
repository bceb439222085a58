//! The relay tree and whole commands, at 10^3 to 10^6 viewers; `elara-diffusion`
//! beside them at the sizes that it survives.
//!
//! Each iteration is one leave of a random viewer and one join, so that the size
//! stays what it is.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use elara_diffusion::TreeTopology;
use starling_core::command::{By, CreateLivestream, Join};
use starling_core::hash::splitmix64;
use starling_core::livestream::Config;
use starling_core::topology::RelayTree;
use starling_core::{Command, Epoch, MemberKey, NodeId, SessionId, SharedCommand, Swarm, apply};

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];
const FANOUT: u32 = 5;

/// Nine of ten viewers relay.
const fn relays(number: usize) -> bool {
    !number.is_multiple_of(10)
}

fn tree(size: usize) -> RelayTree {
    let mut tree = RelayTree::new(FANOUT);
    for number in 0..size {
        tree.insert(MemberKey::from_index(number), relays(number));
    }
    tree
}

fn relay_tree(c: &mut Criterion) {
    let mut group = c.benchmark_group("relay tree, leave + join");
    group.throughput(Throughput::Elements(2));
    for size in SIZES {
        let mut tree = tree(size);
        let mut draw = 0_u64;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                draw += 1;
                let number = (splitmix64(draw) % size as u64) as usize;
                let key = MemberKey::from_index(number);
                let mut moved = 0;
                let before = tree.before_remove(key);
                tree.remove(key);
                tree.moved_since(&before, |_, _, _| moved += 1);
                let before = tree.before_insert(key, relays(number));
                tree.insert(key, relays(number));
                tree.moved_since(&before, |_, _, _| moved += 1);
                black_box(moved)
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("relay tree, children of a node");
    for size in SIZES {
        let tree = tree(size);
        let mut draw = 0_u64;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                draw += 1;
                black_box(tree.children(MemberKey::from_index((splitmix64(draw) % size as u64) as usize)).len())
            });
        });
    }
    group.finish();
}

fn join(number: usize) -> Command {
    let node = NodeId::new(number as u64 + 2).unwrap();
    SharedCommand::Join(Join {
        node,
        session: SessionId::drawn(splitmix64(number as u64)),
        request: None,
        ttl_ms: 30_000,
        mode: None,
        can_relay: Some(relays(number)),
        endpoint: None,
        metadata: None,
        interests: Vec::new(),
        listens: None,
    })
    .into()
}

fn leave(number: usize) -> Command {
    let node = NodeId::new(number as u64 + 2).unwrap();
    SharedCommand::Leave(By { node, session: None, request: None }).into()
}

fn livestream(size: usize) -> Option<Box<Swarm>> {
    let mut slot = None;
    let create = CreateLivestream {
        epoch: Epoch::drawn(1),
        broadcaster: NodeId::new(1).unwrap(),
        config: Config { broadcaster_timeout_ms: 0, max_viewers: 2_000_000, ..Config::default() },
        metadata: Box::default(),
        retention_ms: 0,
    };
    apply(&mut slot, Command::CreateLivestream(create), 0).unwrap();
    for number in 0..size {
        apply(&mut slot, join(number), 0).unwrap();
    }
    slot
}

fn commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("whole commands, leave + join");
    group.throughput(Throughput::Elements(2));
    for size in SIZES {
        let mut slot = livestream(size);
        let mut draw = 0_u64;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                draw += 1;
                let number = (splitmix64(draw) % size as u64) as usize;
                black_box(apply(&mut slot, leave(number), draw).unwrap());
                black_box(apply(&mut slot, join(number), draw).unwrap());
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("targets of a viewer");
    for size in SIZES {
        let slot = livestream(size);
        let swarm = slot.as_deref().unwrap();
        let mut draw = 0_u64;
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                draw += 1;
                black_box(swarm.targets(NodeId::new(splitmix64(draw) % size as u64 + 2).into()))
            });
        });
    }
    group.finish();
}

/// The seed's tree: one node joins and leaves again. It stays a leaf, because the
/// leave of an inner node breaks the seed's tree (fault E5).
fn seed(c: &mut Criterion) {
    let mut group = c.benchmark_group("elara-diffusion, leave + join");
    group.sample_size(10);
    group.throughput(Throughput::Elements(2));
    for size in [1_000_u64, 10_000, 50_000] {
        let mut tree = TreeTopology::new(elara_core::NodeId::new(0), FANOUT as usize);
        for number in 1..=size {
            tree.add_node(elara_core::NodeId::new(number));
        }
        let guest = elara_core::NodeId::new(size + 1);
        group.bench_function(BenchmarkId::from_parameter(size), |b| {
            b.iter(|| {
                black_box(tree.add_node(guest));
                tree.remove_node(guest);
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_secs(1));
    targets = relay_tree, commands, seed
}
criterion_main!(benches);

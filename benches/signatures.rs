//! What it costs to sign an update, and to verify it, in one thread.

#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use starling_signing::{PublicKey, SignedUpdate, SigningKey, SwarmTag};

const SIZES: [usize; 3] = [256, 8_192, 1 << 20];

fn update(payload: &[u8]) -> SignedUpdate<'_> {
    SignedUpdate {
        kind: SwarmTag::Livestream,
        swarm: 7,
        epoch: 8,
        session: 9,
        source: 10,
        channel: 1,
        track: 0,
        publisher_sequence: 11,
        publish_time: Some((1_700_000_000, 1)),
        urgent: false,
        keyframe: true,
        temporal_layer: 0,
        payload,
    }
}

fn sign(c: &mut Criterion) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let mut group = c.benchmark_group("sign an update");
    for bytes in SIZES {
        let payload = vec![7; bytes];
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| b.iter(|| key.sign(black_box(&update(&payload)))));
    }
    group.finish();
}

fn verify(c: &mut Criterion) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap();
    let mut group = c.benchmark_group("verify an update");
    for bytes in SIZES {
        let payload = vec![7; bytes];
        let signature = key.sign(&update(&payload));
        group.bench_function(BenchmarkId::from_parameter(bytes), |b| {
            b.iter(|| key.public_key().verify(black_box(&update(&payload)), &signature).unwrap());
        });
    }
    group.finish();
}

/// Whoever publishes one by one has its key read each time.
fn read_key(c: &mut Criterion) {
    let key = SigningKey::from_seed(&[7; 32]).unwrap().public_key().bytes();
    c.bench_function("read a public key", |b| b.iter(|| PublicKey::new(black_box(&key)).unwrap()));
}

criterion_group!(benches, sign, verify, read_key);
criterion_main!(benches);

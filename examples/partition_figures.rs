//! What the state of a partition costs: `cargo run --release --example partition_figures`.
//!
//! The argument is the number of viewers, 10^6 when none is given. Each part of the bytes is what is written under one
//! lock.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "it measures and prints")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use starling::clock::Clock;
use starling::cluster::CommandLog;
use starling::cluster::partition_state::{PartitionState, SHARDS, ShownPartition, partition_of};
use starling::store::snapshot::Projection;
use starling::store::{CreatorShares, Settings, Store};
use starling_core::command::{CreateLivestream, Join};
use starling_core::hash::splitmix64;
use starling_core::livestream::Config;
use starling_core::{Command, Epoch, NodeId, SessionId, SharedCommand, SwarmId, SwarmKind, wire};
use starling_replica::State;
use starling_replica::state::{LogTime, StateChange};

const TIME: LogTime = LogTime { lease: 1_800_000_000_000, wall: 1_800_000_000_000 };

fn store() -> Arc<Store> {
    Arc::new(Store::new(Settings {
        shards: SHARDS,
        event_log_revisions: 1_000,
        event_log_bytes: 4 << 20,
        event_logs_bytes: 64 << 20,
        ring_bytes: 1 << 20,
        feed_memory_bytes: 64 << 20,
        state_bytes: usize::MAX,
        creators: CreatorShares::UNLIMITED,
    }))
}

/// A livestream, and what makes it: joins, and then each viewer's stream.
fn commands(viewers: u64) -> (SwarmId, Vec<Command>) {
    let mut ids = (1..).filter_map(|number| SwarmId::new(SwarmKind::Livestream, number));
    let id = ids.find(|id| partition_of(*id) == 0).expect("one is there");
    let config = Config { max_viewers: u32::MAX, ..Config::default() };
    let (epoch, broadcaster) = (Epoch::drawn(1), NodeId::drawn(1));
    let create = CreateLivestream { epoch, broadcaster, config, metadata: Box::default(), retention_ms: 60_000 };
    let viewer = |number| (NodeId::drawn(splitmix64(number)), SessionId::drawn(splitmix64(!number)));
    let joins = (0..viewers).map(viewer).map(|(node, session)| SharedCommand::Join(Join::bare(node, session, 60_000)));
    let attach = |(node, session)| SharedCommand::Attach(node, session, 1);
    let all = joins.chain((0..viewers).map(viewer).map(attach)).map(Command::from);
    (id, std::iter::once(Command::CreateLivestream(create)).chain(all).collect())
}

/// What it gives, and how long it took.
fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = act();
    (result, start.elapsed())
}

fn main() {
    let viewers = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().expect("a number"));
    let (id, commands) = commands(viewers);
    let count = commands.len();
    let each = |took: Duration| took.as_nanos() / count as u128;
    let bytes: Vec<Vec<u8>> = commands.iter().map(|command| wire::encode(id, 0, command)).collect();

    let log = CommandLog::local(store(), Clock::over(|| TIME.lease));
    let submit = |command| log.submit(id, command, Projection::NOTHING).now_or_never().expect("it waits for nobody");
    let ((), took) = timed(|| commands.into_iter().for_each(|command| drop(submit(command).expect("it is accepted"))));
    println!("{count} commands: {} ns each on the direct path", each(took));

    let (live, mut state) = (store(), PartitionState::default());
    let place = ShownPartition::new(Arc::clone(&live), 0).expect("it has 64 shards");
    state.show(&place);
    let apply = |bytes: &Vec<u8>| drop(state.apply(StateChange::Command(bytes, 1), TIME).expect("it can be decoded"));
    let ((), took) = timed(|| bytes.iter().for_each(apply));
    println!("{} ns each by the state of a partition, with decoding", each(took));

    let (_, first) = timed(|| state.digest());
    let (_, again) = timed(|| state.digest());
    println!("digest in {first:?}, again in {again:?}");
    let (mut encoded, mut from, mut parts) = (Vec::new(), 0, Vec::new());
    loop {
        let (next, took) = timed(|| state.encode_part(1, from, 1, &mut encoded));
        parts.push(took);
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    parts.sort_unstable();
    let (total, longest) = (parts.iter().sum::<Duration>(), parts[parts.len() - 1]);
    let most = parts[parts.len() * 99 / 100];
    println!(
        "{} bytes in {} parts, {total:?}; 99 % within {most:?}, the longest {longest:?}",
        encoded.len(),
        parts.len()
    );
    let (read, took) = timed(|| PartitionState::decode(&encoded));
    let mut read = read.expect("it was encoded");
    println!("read in {took:?}");
    let ((), took) = timed(|| read.show(&place));
    println!("shown in place of the one before in {took:?}");
    let (detached, took) = timed(|| read.detach_gone(1, TIME.lease, TIME, 1_024));
    println!("{detached} sessions of a pod detached in {took:?}");
}

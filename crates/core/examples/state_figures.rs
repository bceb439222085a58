//! What the byte form of a large livestream costs: `cargo run --release -p starling-core --example state_figures`.
//!
//! The arguments are the number of viewers, 10^6 when none is given, and how many of a hundred have left again, 20.

#![expect(clippy::disallowed_types, clippy::print_stdout, reason = "it measures and prints")]

use std::time::{Duration, Instant};

use starling_core::command::{By, CreateLivestream, Join};
use starling_core::hash::splitmix64;
use starling_core::livestream::Config;
use starling_core::wire::state::{StateDecoder, StateEncoder, StateVersion, digest, running_digest};
use starling_core::{Command, Epoch, NodeId, SessionId, SharedCommand, Swarm, apply};

const NOW: u64 = 1_800_000_000_000;

fn viewer(number: u64) -> (NodeId, SessionId) {
    (NodeId::drawn(splitmix64(number)), SessionId::drawn(splitmix64(!number)))
}

/// Viewers who join within ten minutes, nearly all with a stream, some gone again; half tell where they are.
fn livestream(viewers: u64, gone: u64) -> Option<Box<Swarm>> {
    let mut slot = None;
    let mut run = |command: Command, at| drop(apply(&mut slot, command, NOW + at).expect("it is accepted"));
    let config = Config { max_viewers: u32::MAX, ..Config::default() };
    let (epoch, broadcaster) = (Epoch::drawn(1), NodeId::drawn(1));
    let create = CreateLivestream { epoch, broadcaster, config, metadata: Box::default(), retention_ms: 60_000 };
    run(Command::CreateLivestream(create), 0);
    for number in 0..viewers {
        let ((node, session), at) = (viewer(number), number * 600_000 / viewers);
        let endpoint = (number % 2 == 0).then(|| b"203.0.113.77:50000".as_slice().into());
        run(SharedCommand::Join(Join { endpoint, ..Join::bare(node, session, 60_000) }).into(), at);
        match number % 10 {
            0 => run(SharedCommand::Touch(node, session).into(), at + 7),
            pod => run(SharedCommand::Attach(node, session, u32::try_from(pod % 3).expect("below 3")).into(), at),
        }
    }
    for number in (0..viewers).filter(|number| splitmix64(number ^ 5) % 100 < gone) {
        let (node, session) = viewer(number);
        run(SharedCommand::Leave(By { node, session: Some(session), request: None }).into(), 600_000);
    }
    slot
}

/// The bytes of a swarm, and how long each piece of them took.
fn written(swarm: &Swarm, budget: usize) -> (Vec<u8>, Vec<Duration>) {
    let (mut encoder, mut bytes, mut pieces) = (StateEncoder::new(StateVersion::NEWEST), Vec::new(), Vec::new());
    loop {
        let (piece, took) = timed(|| encoder.next(swarm, budget).expect("nobody changes it"));
        let Some(piece) = piece else { return (bytes, pieces) };
        bytes.extend(piece);
        pieces.push(took);
    }
}

/// What it gives, and how long it took.
fn timed<R>(act: impl FnOnce() -> R) -> (R, Duration) {
    let start = Instant::now();
    let result = act();
    (result, start.elapsed())
}

fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>().expect("a number"));
    let (viewers, gone) = (numbers.next().unwrap_or(1_000_000), numbers.next().unwrap_or(20));
    let (slot, made) = timed(|| livestream(viewers, gone));
    let swarm = slot.as_deref().expect("it was made");
    let members = swarm.roster().len();
    println!("{members} members of {viewers}, made in {made:?}, {} bytes each in memory", swarm.bytes() / members);
    for budget in [1 << 14, 1 << 16, 1 << 18] {
        let (bytes, mut pieces) = written(swarm, budget);
        // Each at its best: else the longest one says how long another process ran.
        for _ in 1..5 {
            pieces.iter_mut().zip(written(swarm, budget).1).for_each(|(best, took)| *best = took.min(*best));
        }
        let (longest, total) = (pieces.iter().max().expect("there are pieces"), pieces.iter().sum::<Duration>());
        let each = bytes.len() as f64 / members as f64;
        println!(
            "pieces of {budget}: {} of them, {total:?}, the longest {longest:?}; {each:.1} bytes each",
            pieces.len()
        );
        if budget == 1 << 16 {
            let read = || bytes.chunks(budget).try_fold(StateDecoder::default(), StateDecoder::feed);
            let (decoder, fed) = timed(|| read().expect("it was encoded"));
            let (copy, finished) = timed(|| decoder.finish().expect("it was encoded"));
            let (same, hashed) = timed(|| copy.digest() == swarm.digest());
            println!("read in {fed:?}, made sure of in {finished:?}; the same: {same} (two digests in {hashed:?})");
        }
    }
    let (_, took) = timed(|| digest(swarm, StateVersion::NEWEST));
    println!("digest of the bytes in {took:?}");
    let (_, took) = timed(|| running_digest(swarm, StateVersion::NEWEST));
    println!("running digest in {took:?}");
    let mut slot = slot;
    let sessions = (0..viewers).map(viewer);
    let (_, took) = timed(|| {
        for (node, session) in sessions {
            // Those who left are refused.
            let _outcome = apply(&mut slot, SharedCommand::Touch(node, session).into(), NOW + 600_001);
        }
    });
    println!("{} ns for a Touch", took.as_nanos() / u128::from(viewers));
}

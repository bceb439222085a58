//! What the state of a partition is, whichever way it came about.

mod chat;
mod history;
mod pods;
mod portions;

use std::sync::Arc;

use super::*;
use crate::store::log::Since;
use history::{History, Step};
use pods::attached as attached_to_pod;
use starling_core::wire::state::{StateVersion, running_digest};
use starling_core::{Event, NodeId, Rejection, SessionId, SwarmKind};

/// Of a pod whose logs hold all that happens.
const LIVE: Settings = Settings { event_log_revisions: 1 << 20, event_log_bytes: usize::MAX, ..HIDDEN };

fn time_of(lease: u64) -> LogTime {
    LogTime { lease, wall: lease }
}

/// A partition that clients see in a store of its own.
fn shown() -> (PartitionState, ShownPartition) {
    let store = Arc::new(Store::new(LIVE));
    let place = ShownPartition::new(store, SERVER_PARTITION).unwrap();
    let mut state = PartitionState::default();
    state.show(&place);
    (state, place)
}

/// One entry: what is due, then a change.
fn enter(state: &mut PartitionState, step: &Step, at: LogTime) -> LogOutcome {
    let mut carried_out = DUE;
    while carried_out == DUE {
        carried_out = state.carry_out_due(at, DUE);
    }
    state.apply(step.change(), at).unwrap()
}

const DUE: usize = 1_024;

/// One livestream with so many viewers that have a stream on pod 2.
fn pods_of_one(state: &mut PartitionState, viewers: u64) {
    attached_to_pod(state, 1, viewers);
}

fn bytes(state: &PartitionState, most: usize) -> Vec<u8> {
    let (mut out, mut from) = (Vec::new(), 0);
    while let Some(next) = state.encode_part(1, from, most, &mut out) {
        assert!(next > from || most == 0, "each part brings something");
        from = next;
    }
    out
}

/// A swarm, its digest, and its events by their revisions.
type Seen = (SwarmId, u64, Vec<(u64, Vec<Event>)>);

/// Every swarm with its digest and all of its events.
fn seen(store: &Store) -> Vec<Seen> {
    let mut all = Vec::new();
    for shard in 0..store.shards() {
        let mut last = None;
        while let Some(id) = store.swarm_after(shard, last) {
            let look = |entry: &crate::store::entry::Entry| {
                let Since::Events(revisions) = entry.log().since(0, usize::MAX) else { return (0, Vec::new()) };
                let events = revisions.iter().map(|one| (one.number, one.events.to_vec())).collect::<Vec<_>>();
                (running_digest(entry.swarm(), StateVersion::V1), events)
            };
            let (digest, mut events) = store.read(id, look).unwrap();
            // A look brings a part of the log; the rest follows.
            while let Some((revision, _)) = events.last() {
                let look = |entry: &crate::store::entry::Entry| match entry.log().since(*revision, usize::MAX) {
                    Since::Events(more) => more.iter().map(|one| (one.number, one.events.to_vec())).collect(),
                    other => panic!("the log has it all: {other:?}"),
                };
                let more: Vec<_> = store.read(id, look).unwrap();
                if more.is_empty() {
                    break;
                }
                events.extend(more);
            }
            all.push((id, digest, events));
            last = Some(id);
        }
    }
    all
}

/// What a single process does: it carries out what is due, swarm by swarm, and then the command.
fn enter_directly(store: &Store, step: &Step, at: u64) -> Option<Result<crate::store::snapshot::Outcome, Rejection>> {
    loop {
        let first = (0..store.shards()).filter_map(|shard| store.first_due(shard)).min();
        let Some((_, id)) = first.filter(|(due, _)| *due <= at) else { break };
        drop(store.apply(id, SharedCommand::Expire.into(), at, Projection::NOTHING));
    }
    match step {
        Step::Server(command, _) => {
            let ServerCommand::RevokeTokens(revoke) = *command;
            store.revoked().apply(revoke, at).unwrap();
            None
        }
        step => {
            let (id, command) = step.command().expect("it is about a swarm");
            Some(store.apply(id, command, at, Projection::NOTHING))
        }
    }
}

#[test]
fn log_does_what_a_single_process_does() {
    for seed in 0..4 {
        let mut history = History::new(seed);
        let direct = Store::new(LIVE);
        let (mut state, place) = shown();
        for _ in 0..1_500 {
            let (step, at) = history.next();
            let outcome = enter(&mut state, &step, time_of(at));
            match (enter_directly(&direct, &step, at), outcome) {
                (Some(Ok(one)), LogOutcome::Swarm(Ok(other))) => {
                    assert_eq!(
                        (one.revision, one.session, one.created, one.chat),
                        (other.revision, other.session, other.created, other.chat)
                    );
                }
                (Some(Err(one)), LogOutcome::Swarm(Err(other))) => assert_eq!(one, other),
                (None, LogOutcome::Revoked(Ok(_))) => {}
                (one, other) => panic!("SEED={seed}: {step:?} came to {one:?} and {other:?}"),
            }
        }
        assert!(!direct.is_empty(), "SEED={seed}: there is something to compare");
        assert_eq!(seen(&direct), seen(&place.store), "SEED={seed}");
        let heads = |store: &Store| (0..SHARDS).map(|shard| store.census_heads(shard)).collect::<Vec<_>>();
        assert_eq!(heads(&direct), heads(&place.store));
        assert_eq!((direct.len(), direct.counts()), (place.store.len(), place.store.counts()));
        assert_eq!(direct.state_bytes(), place.store.state_bytes());
        assert_eq!(direct.revoked().digest(), place.store.revoked().digest());
    }
}

#[test]
fn same_entries_make_the_same_state() {
    for seed in 10..13 {
        let mut history = History::new(seed);
        let (mut live, _) = shown();
        let (mut hidden, mut read) = (PartitionState::default(), PartitionState::default());
        for number in 0..1_200 {
            let (step, at) = history.next();
            for state in [&mut live, &mut hidden, &mut read] {
                enter(state, &step, time_of(at));
            }
            if number % 97 == 0 {
                let one = bytes(&live, 100);
                assert!(one == bytes(&hidden, 5_000) && one == bytes(&read, usize::MAX), "SEED={seed}, {number}");
                read = PartitionState::decode(&one).unwrap();
                assert!(bytes(&read, 1) == one, "what was read has the same bytes");
            }
            if number % 31 == 0 {
                assert_eq!(live.digest(), hidden.digest(), "SEED={seed}, {number}");
                assert_eq!(live.digest(), read.digest(), "SEED={seed}, {number}");
            }
        }
        let before = live.digest();
        enter(&mut hidden, &Step::chat_of_nobody(), time_of(history.now() + 1));
        let at = time_of(history.now() + 1);
        // Some are banned, or join what has ended.
        let mut joins = std::iter::repeat_with(|| enter(&mut live, &history.join(), at)).take(100);
        assert!(joins.any(|outcome| matches!(outcome, LogOutcome::Swarm(Ok(_)))), "somebody joins");
        drop(joins);
        assert_ne!(live.digest(), before, "a digest tells of each member");
    }
}

#[test]
fn other_bytes_are_no_state() {
    let mut history = History::new(77);
    let mut state = PartitionState::default();
    for _ in 0..60 {
        let (step, at) = history.next();
        enter(&mut state, &step, time_of(at));
    }
    let whole = bytes(&state, 1_000);
    for end in 0..whole.len() {
        assert!(PartitionState::decode(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1 << (at % 8);
        if let Ok(read) = PartitionState::decode(&changed) {
            assert!(bytes(&read, 1_000) == changed, "one form alone, byte {at}");
        }
    }
    assert!(PartitionState::decode(&[whole, vec![0]].concat()).is_err());
}

#[test]
fn the_bytes_of_a_partition_do_not_change() {
    // Format, no partition, a table of version 1 with nothing in it, no shard.
    assert_eq!(bytes(&PartitionState::default(), 1), [1, 0, 2, 1, 0, 0, 0]);
    let mut state = PartitionState::default();
    enter(&mut state, &Step::create_group(history::id(SwarmKind::Group, 0)), time_of(1_000));
    let id = history::id(SwarmKind::Group, 0);
    let swarm = state.store.read(id, |entry| wire::state::encode(entry.swarm(), StateVersion::V1));
    let swarm = swarm.unwrap();
    let mut expected = vec![1, 1, 2, 1, 0, 0, 1, u8::try_from(id.shard(SHARDS)).unwrap(), 0, 1, 2];
    starling_core::leb128::put(id.get(), &mut expected);
    starling_core::leb128::put(swarm.len() as u64, &mut expected);
    expected.extend(swarm);
    expected.extend([0, 0, 0]);
    assert_eq!(bytes(&state, 1), expected);
}

#[test]
fn leases_end_by_the_lease_clock_alone() {
    let run = |wall: fn(u64) -> u64| {
        let mut history = History::new(5);
        let (mut state, place) = shown();
        let digests: Vec<u64> = (0..400)
            .map(|number| {
                let (step, lease) = history.next();
                enter(&mut state, &step, LogTime { lease, wall: wall(number) });
                state.digest()
            })
            .collect();
        let members = place.store.counts().kind(SwarmKind::Livestream).members;
        (digests, members, bytes(&state, 1_000))
    };
    let usual = run(|number| number);
    assert!(usual == run(|_| 0) && usual == run(|_| u64::MAX >> 8), "it is shown, and nothing else");
    let mut state = PartitionState::default();
    let (id, node) = (history::id(SwarmKind::Livestream, 0), NodeId::new(40).unwrap());
    enter(&mut state, &Step::create_livestream(id), time_of(1_000));
    enter(&mut state, &Step::join_of(id, node, SessionId::new(1).unwrap(), 5_000), time_of(1_000));
    let members = |state: &PartitionState| state.store.counts().kind(SwarmKind::Livestream).members;
    assert_eq!(state.carry_out_due(LogTime { lease: 5_999, wall: u64::MAX }, DUE), 0);
    assert_eq!(members(&state), 1);
    assert_eq!(state.carry_out_due(LogTime { lease: 6_000, wall: 0 }, DUE), 1);
    assert_eq!(members(&state), 0);
}

#[test]
fn due_things_are_carried_out_in_order() {
    let (mut state, mut whole) = (PartitionState::default(), PartitionState::default());
    for state in [&mut state, &mut whole] {
        for number in 0..4 {
            let id = history::id(SwarmKind::Livestream, number);
            enter(state, &Step::create_livestream(id), time_of(1_000));
            for node in 1..=50 {
                let (node, session) = (NodeId::new(100 + node).unwrap(), SessionId::new(node).unwrap());
                let ttl_ms = 1_000 + 10 * u32::try_from((node.get() + number) % 3).unwrap();
                enter(state, &Step::join_of(id, node, session, ttl_ms), time_of(1_000));
            }
        }
    }
    assert_eq!(whole.carry_out_due(time_of(9_000), DUE), 200);
    let slices: Vec<usize> = (0..12).map(|_| state.carry_out_due(time_of(9_000), 19)).collect();
    assert_eq!(slices, [19, 19, 19, 19, 19, 19, 19, 19, 19, 19, 10, 0]);
    let members = |state: &PartitionState| state.store.counts().kind(SwarmKind::Livestream).members;
    assert_eq!((members(&state), members(&whole)), (0, 0));
}

#[test]
fn commands_of_other_partitions_change_nothing() {
    let mut state = PartitionState::default();
    enter(&mut state, &Step::create_group(history::id(SwarmKind::Group, 0)), time_of(1));
    let digest = state.digest();
    let other = (1..).filter_map(|number| SwarmId::new(SwarmKind::Group, number)).find(|id| partition_of(*id) == 3);
    let outcome = enter(&mut state, &Step::create_group(other.unwrap()), time_of(1));
    assert!(matches!(outcome, LogOutcome::Misrouted));
    assert_eq!(state.digest(), digest);
    for bytes in [&b""[..], b"\x01\x05", b"\x63", b"\x01\x03\x00\x09"] {
        assert_eq!(state.apply(StateChange::Command(bytes, 1), time_of(1)).unwrap_err(), Undecodable);
    }
    assert_eq!(state.digest(), digest);
}

#[test]
fn outcomes_show_what_is_expected_of_them() {
    let (mut state, place) = shown();
    let id = history::id(SwarmKind::Group, 0);
    let step = Step::create_group(id);
    let Step::Swarm(.., command) = &step else { panic!("it is a command") };
    let expected = place.projections().expect(command, Projection::SWARM);
    let LogOutcome::Swarm(Ok(outcome)) = enter(&mut state, &step, time_of(1)) else { panic!("it is done") };
    assert!(outcome.created && outcome.swarm.is_some_and(|swarm| swarm.id == id));
    drop(expected);
    let LogOutcome::Swarm(Ok(outcome)) = enter(&mut state, &step, time_of(1)) else { panic!("it is a repeat") };
    assert!(!outcome.created && outcome.swarm.is_none(), "nobody waits for it any more");
}

#[test]
fn panic_in_the_core_removes_its_swarm() {
    let (mut state, place) = shown();
    let (first, second) = (history::id(SwarmKind::Livestream, 0), history::id(SwarmKind::Livestream, 1));
    enter(&mut state, &Step::create_livestream(second), time_of(1));
    let (digest, used) = (state.digest(), place.store.state_bytes());
    enter(&mut state, &Step::create_livestream(first), time_of(1));
    // The sum of time and lease has no 64 bits: debug builds find it.
    let late = LogTime { lease: u64::MAX, wall: 1 };
    let join = Step::join_of(first, NodeId::new(9).unwrap(), SessionId::new(9).unwrap(), 1_000);
    let outcome = state.apply(join.change(), late).unwrap();
    assert!(matches!(outcome, LogOutcome::Panicked));
    assert!(place.store.read(first, |_| ()).is_none() && place.store.read(second, |_| ()).is_some());
    assert_eq!((place.store.len(), place.store.state_bytes()), (1, used));
    assert_ne!(state.digest(), digest, "the set's position tells of it");
    enter(&mut state, &Step::create_livestream(first), time_of(1));
    assert_eq!(place.store.len(), 2, "the partition goes on");
}

//! Streams on pods, and what a pod that is gone leaves behind.

use super::*;
use starling_core::channel::Channel;
use starling_core::id::NO_HOME;
use starling_core::member::LEAST_AFTER_POD_GONE_MS;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

/// Livestreams with so many viewers each, all with a stream on pod 2.
pub(super) fn attached(state: &mut PartitionState, livestreams: u64, viewers: u64) {
    for swarm in 0..livestreams {
        let id = history::id(SwarmKind::Livestream, swarm);
        enter(state, &Step::create_livestream(id), time_of(1_000));
        for number in 1..=viewers {
            let (node, session) = (node(100 + number), session(1_000 * swarm + number));
            enter(state, &Step::join_of(id, node, session, 1_000), time_of(1_000));
            enter(state, &Step::attach(id, node, session, 2), time_of(1_000));
        }
    }
}

#[test]
fn attached_sessions_are_listed_in_order() {
    let mut state = PartitionState::default();
    attached(&mut state, 3, 600);
    let read = PartitionState::decode(&bytes(&state, 1_000)).unwrap();
    let listed = state.attached(2);
    assert!(listed.len() == 1_800 && listed.is_sorted() && read.attached(2) == listed);
    assert_eq!((state.attached(1), state.attached(3)), (Vec::new(), Vec::new()));
    let first = listed[0];
    enter(&mut state, &Step::Stream(first, 2, false), time_of(1_001));
    assert_eq!(state.attached(2), listed[1..]);
}

#[test]
fn gone_pod_leaves_nothing_behind() {
    let (mut state, place) = shown();
    attached(&mut state, 5, 700);
    let also = state.attached(2)[3];
    enter(&mut state, &Step::Stream(also, 3, true), time_of(1_000));
    let (gone_at, at) = (2_000, time_of(3_000));
    state.pod_gone(2, time_of(gone_at));
    let mut slices = Vec::new();
    while slices.last().is_none_or(|last| *last == DUE) {
        slices.push(state.detach_gone(2, gone_at, at, DUE));
    }
    assert_eq!(slices, [1_024, 1_024, 1_024, 428]);
    assert_eq!((state.attached(2), state.attached(3)), (Vec::new(), vec![also]));
    let members = || place.store.counts().kind(SwarmKind::Livestream).members;
    let least = gone_at + u64::from(LEAST_AFTER_POD_GONE_MS);
    assert_eq!((state.carry_out_due(time_of(least - 1), DUE), members()), (0, 3_500));
    while state.carry_out_due(time_of(least), DUE) == DUE {}
    assert_eq!(members(), 1, "who has a stream elsewhere stays");
}

#[test]
fn gone_pod_is_the_home_of_no_term() {
    let mut state = PartitionState::default();
    let ids = [0, 1].map(|nth| history::id(SwarmKind::Livestream, nth));
    let by = starling_core::command::By { node: node(1), session: None, request: None };
    let channels = [Channel::Visual].into_iter().collect();
    for id in ids {
        enter(&mut state, &Step::create_livestream(id), time_of(1_000));
        // Whatever the bytes say, it comes from pod 2.
        let claim = SharedCommand::Claim { by: by.clone(), channels, session: session(7), ttl_ms: 9_000, pod: 3 };
        enter(&mut state, &Step::of(id, claim), time_of(1_000));
    }
    let homes = |state: &PartitionState| {
        let grants = |id| state.store.read(id, |entry| entry.swarm().grants()).unwrap();
        ids.map(|id| grants(id).iter().map(|grant| grant.home).collect::<Vec<_>>())
    };
    assert_eq!((homes(&state), state.attached(2)), ([vec![2], vec![2]], Vec::new()));
    let mut read = PartitionState::decode(&bytes(&state, 1_000)).unwrap();
    for state in [&mut state, &mut read] {
        assert_eq!(state.detach_gone(3, 2_000, time_of(2_000), DUE), 0);
        assert_eq!(state.detach_gone(2, 2_000, time_of(2_000), 1), 1);
        assert_eq!(state.detach_gone(2, 2_000, time_of(2_000), DUE), 1);
        assert_eq!(homes(state), [vec![NO_HOME], vec![NO_HOME]]);
        assert_eq!(state.detach_gone(2, 2_000, time_of(2_000), DUE), 0);
    }
    assert_eq!(state.digest(), read.digest());
}

#[test]
fn swarms_that_go_leave_no_trace_of_pods() {
    let mut state = PartitionState::default();
    attached(&mut state, 2, 10);
    let by = starling_core::command::By { node: node(1), session: None, request: None };
    enter(&mut state, &Step::of(history::id(SwarmKind::Livestream, 0), SharedCommand::End(by)), time_of(1_000));
    assert_eq!(state.attached(2).len(), 10);
    // Its retention.
    assert_eq!(state.carry_out_due(time_of(21_000), DUE), 1);
    assert_eq!((state.attached(2).len(), state.store.len()), (10, 1));
    assert_eq!(state.detach_gone(2, 21_000, time_of(21_000), DUE), 10);
}

use super::*;
use crate::command::{CreateGroup, CreateLivestream, GroupCommand, LivestreamCommand};
use crate::config::{GroupConfig, LivestreamConfig};
use crate::request::By;
#[cfg(debug_assertions)]
use crate::{command, hash, steps};

fn livestream() -> Command {
    Command::CreateLivestream(CreateLivestream {
        epoch: Epoch::drawn(1),
        broadcaster: NodeId::drawn(1),
        config: LivestreamConfig::default(),
        metadata: Box::default(),
        retention_ms: 1_000,
    })
}

fn group() -> Command {
    Command::CreateGroup(CreateGroup {
        epoch: Epoch::drawn(1),
        owner: Some(NodeId::drawn(1)),
        config: GroupConfig::default(),
        metadata: Box::default(),
        retention_ms: 1_000,
        empty_ms: 1_000,
    })
}

#[test]
fn command_of_the_other_kind_finds_no_swarm() {
    let by = By { node: NodeId::drawn(1), session: None, request: None };
    let start = || LivestreamCommand::Start(by.clone()).into();
    let share = || GroupCommand::StartShare(by.clone()).into();
    let cases: [(Command, Command, Command); 2] = [(livestream(), share(), group()), (group(), start(), livestream())];
    for (create, foreign, other) in cases {
        let mut slot = None;
        apply(&mut slot, create, 5).unwrap();
        let before = slot.as_deref().map(Swarm::digest);
        assert_eq!(apply(&mut slot, foreign, 9).unwrap_err(), Rejection::NoSuchSwarm);
        assert_eq!(apply(&mut slot, other, 9).unwrap_err(), Rejection::Exists);
        assert_eq!(slot.as_deref().map(Swarm::digest), before, "a refused command changes nothing");
    }
}

#[test]
fn the_former_swarm_comes_beside_what_was_done() {
    let mut slot = None;
    apply(&mut slot, livestream(), 0).unwrap();
    let by = By { node: NodeId::drawn(1), session: None, request: None };
    apply(&mut slot, SharedCommand::End(by).into(), 1).unwrap();
    let (made, former) = apply(&mut slot, livestream(), 2).unwrap();
    assert!(made.created && former.is_some_and(|former| former.is_over()));
    apply(&mut slot, Command::Shared(SharedCommand::Expire), 400_000).unwrap();
    let (forgotten, former) = apply(&mut slot, Command::Shared(SharedCommand::Expire), 500_000).unwrap();
    assert!(forgotten.removed && former.is_some() && slot.is_none());
}

/// The most steps of one command in a livestream that so many join, and leave again.
#[cfg(debug_assertions)]
fn longest_command(viewers: u64) -> usize {
    let mut slot = None;
    let mut run = |command: Command| {
        // Whoever applies a command holds a lock; what comes of it is dropped after.
        let held = steps::hold();
        let applied = apply(&mut slot, command, 0);
        drop(held);
        assert!(applied.is_ok(), "{applied:?}");
    };
    run(livestream());
    let member = |number| (NodeId::drawn(number), SessionId::drawn(number));
    steps::begin(None);
    for (node, session) in (0..viewers).map(|number| member(hash::splitmix64(number))) {
        run(SharedCommand::Join(command::Join::bare(node, session, 1_000)).into());
    }
    for (node, session) in (0..viewers).map(|number| member(hash::splitmix64(number))) {
        run(SharedCommand::Leave(By { node, session: Some(session), request: None }).into());
    }
    steps::done().longest
}

#[cfg(debug_assertions)]
#[test]
fn growing_and_shrinking_never_move_everybody() {
    let (small, large) = (longest_command(10_000), longest_command(100_000));
    // The slots of the tree alone are one array, 4 bytes each: 16 of them are one step.
    assert!(large <= small + 100_000 / 8, "{large} after {small}");
}

#[cfg(debug_assertions)]
#[test]
fn ending_a_large_livestream_visits_nobody() {
    let mut slot = None;
    apply(&mut slot, livestream(), 0).unwrap();
    for number in 2..20_002 {
        let join = command::Join::bare(NodeId::drawn(number), SessionId::drawn(number), 1_000);
        apply(&mut slot, SharedCommand::Join(join).into(), 0).unwrap();
    }
    let end = SharedCommand::End(By { node: NodeId::drawn(1), session: None, request: None });
    steps::begin(None);
    let held = steps::hold();
    let ended = apply(&mut slot, end.into(), 0).unwrap();
    drop(held);
    assert!(ended.0.retired.is_some() && steps::done().steps < 1_000, "{:?}", steps::done());
}

fn by(node: u64) -> By {
    By { node: NodeId::drawn(node), session: None, request: None }
}

#[test]
fn swarm_has_at_most_ten_thousand_bans() {
    for create in [livestream(), group()] {
        let mut slot = None;
        apply(&mut slot, create, 0).unwrap();
        let ban = |node, ttl_ms| SharedCommand::Ban { by: by(1), node: NodeId::drawn(node), ttl_ms }.into();
        let most = u64::from(crate::bans::MAX_BANS);
        let empty = slot.as_deref().unwrap().bytes();
        (2..most + 2).for_each(|node| drop(apply(&mut slot, ban(node, 1_000), node).unwrap()));
        assert!(slot.as_deref().unwrap().bytes() > empty + 10_000 * 64, "they count as memory of the swarm");
        let full = Rejection::Quota { what: "bans", max: crate::bans::MAX_BANS };
        assert_eq!(apply(&mut slot, ban(most + 2, 1_000), 0).unwrap_err(), full);
        assert!(apply(&mut slot, ban(2, 500), 0).unwrap().0.events.len() == 1, "who is banned may be banned anew");
        let lift = SharedCommand::Unban(by(1), NodeId::drawn(2)).into();
        assert_eq!(apply(&mut slot, lift, 0).unwrap().0.events.len(), 1);
        apply(&mut slot, ban(most + 2, 1_000), 0).unwrap();
        slot.as_deref().unwrap().check();
        apply(&mut slot, SharedCommand::End(by(1)).into(), 0).unwrap();
        assert!(slot.as_deref().unwrap().bans().is_empty(), "they end with it");
    }
}

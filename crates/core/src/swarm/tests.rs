use super::*;
use crate::command::{CreateGroup, CreateLivestream, GroupCommand, LivestreamCommand};
use crate::config::{GroupConfig, LivestreamConfig};
use crate::request::By;

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

use super::*;
use crate::channel::Channel;
use crate::command::{By, Command, CreateGroup, CreateLivestream, Join, SharedCommand};
use crate::config::{GroupConfig, LivestreamConfig};
use crate::event::Grant;
use crate::id::{Epoch, NO_HOME, SINGLE_POD};
use crate::member::LEAST_AFTER_POD_GONE_MS;
use crate::swarm::apply;
use crate::wire::state::{self, StateVersion};

const NOW: u64 = 1_000_000;

type Slot = Option<Box<Swarm>>;

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn session(number: u64) -> SessionId {
    SessionId::new(number).unwrap()
}

fn command(slot: &mut Slot, command: impl Into<Command>, at: u64) {
    apply(slot, command.into(), at).unwrap();
    slot.as_deref().unwrap().check();
}

/// A livestream with viewers 2, 3, ... whose sessions have the same numbers, and whose leases are that long.
fn livestream(viewers: u64, ttl_ms: u32) -> Slot {
    let mut slot = None;
    let (epoch, broadcaster) = (Epoch::new(1).unwrap(), node(1));
    let (config, metadata, retention_ms) = (LivestreamConfig::default(), Box::default(), 10_000);
    let create = CreateLivestream { epoch, broadcaster, config, metadata, retention_ms };
    command(&mut slot, Command::CreateLivestream(create), NOW);
    for number in 2..2 + viewers {
        command(&mut slot, SharedCommand::Join(Join::bare(node(number), session(number), ttl_ms)), NOW);
    }
    slot
}

fn keep(slot: &mut Slot, work: Upkeep, at: u64) -> usize {
    let (upkept, former) = upkeep(slot, work, at);
    assert_eq!(former.is_some(), upkept.applied.removed);
    slot.iter().for_each(|swarm| swarm.check());
    upkept.done
}

fn deadline(slot: &Slot, number: u64) -> Option<u64> {
    slot.as_deref().unwrap().roster().find(node(number)).unwrap().lease.deadline()
}

#[test]
fn what_is_due_is_carried_out_in_slices() {
    let mut slot = livestream(50, 1_000);
    let (mut whole, at) = (slot.clone(), NOW + 2_000);
    let mut slices = Vec::new();
    loop {
        slices.push(keep(&mut slot, Upkeep::Expire { most: 7 }, at));
        if slices.last() < Some(&7) {
            break;
        }
    }
    assert_eq!(slices, [7, 7, 7, 7, 7, 7, 7, 1]);
    command(&mut whole, SharedCommand::Expire, at);
    let (swarm, whole) = (slot.as_deref().unwrap(), whole.as_deref().unwrap());
    assert!(swarm.roster().is_empty() && whole.roster().is_empty());
    assert_eq!(swarm.next_expiry(), whole.next_expiry());
    assert_eq!(keep(&mut None, Upkeep::Expire { most: 7 }, at), 0);
}

#[test]
fn gone_pod_leaves_its_sessions_in_slices() {
    let mut slot = livestream(10, 1_000);
    for number in 2..12 {
        command(&mut slot, SharedCommand::Attach(node(number), session(number), 3), NOW);
    }
    command(&mut slot, SharedCommand::Attach(node(4), session(4), 5), NOW);
    let (gone_at, at) = (NOW + 10_000, NOW + 11_000);
    let on_3 = |slot: &Slot| slot.as_deref().unwrap().attached_to(3, MemberKey::FIRST).count();
    let first = slot.as_deref().unwrap().attached_to(3, MemberKey::FIRST).next();
    assert_eq!((on_3(&slot), first), (10, Some((MemberKey::FIRST, node(2), session(2)))));
    assert_eq!(slot.as_deref().unwrap().pods(), [3, 5]);
    for (done, left) in [(4, 6), (4, 2), (2, 0), (0, 0)] {
        assert_eq!(keep(&mut slot, Upkeep::DetachGone { pod: 3, gone_at, most: 4 }, at), done);
        assert_eq!(on_3(&slot), left);
    }
    let least = gone_at + u64::from(LEAST_AFTER_POD_GONE_MS);
    assert_eq!((deadline(&slot, 2), deadline(&slot, 4)), (Some(least), None), "it has a stream elsewhere");
    command(&mut slot, SharedCommand::Touch(node(2), session(2)), at);
    assert_eq!(deadline(&slot, 2), Some(least), "a sign of life makes no lease shorter");
    let bytes = state::encode(slot.as_deref().unwrap(), StateVersion::V1);
    let copy = state::decode(&bytes).unwrap();
    copy.check();
    assert_eq!(copy.digest(), slot.as_deref().unwrap().digest());
    assert_eq!(keep(&mut slot, Upkeep::Expire { most: 1_000 }, least), 9);
}

#[test]
fn long_leases_count_from_when_the_pod_went() {
    let mut slot = livestream(1, 300_000);
    command(&mut slot, SharedCommand::Attach(node(2), session(2), 3), NOW);
    keep(&mut slot, Upkeep::DetachGone { pod: 3, gone_at: NOW + 5, most: 4 }, NOW + 9_000);
    assert_eq!(deadline(&slot, 2), Some(NOW + 5 + 300_000));
}

#[test]
fn raised_swarm_goes_on_above_what_was() {
    let mut slot = livestream(3, 1_000);
    let before = slot.as_deref().unwrap().revision();
    slot.as_deref_mut().unwrap().raise(1 << 20);
    command(&mut slot, SharedCommand::Join(Join::bare(node(9), session(9), 1_000)), NOW);
    assert_eq!(slot.as_deref().unwrap().revision(), before + (1 << 20) + 1);
}

fn by(number: u64) -> By {
    By { node: node(number), session: None, request: None }
}

fn claim(number: u64, pod: PodId) -> SharedCommand {
    let channels = [Channel::Audio, Channel::Data].into_iter().collect();
    SharedCommand::Claim { by: by(number), channels, session: session(90), ttl_ms: 1_000, pod }
}

fn acquire(number: u64, pod: PodId) -> SharedCommand {
    let channels = [Channel::Audio].into_iter().collect();
    SharedCommand::Acquire { by: by(number), channels, session: session(91), ttl_ms: 1_000, pod }
}

/// A group with participants 2, 3, ...
fn group(participants: u64) -> Slot {
    let (mut slot, config, epoch) = (None, GroupConfig::default(), Epoch::new(1).unwrap());
    let (metadata, retention_ms, empty_ms) = (Box::default(), 10_000, 10_000);
    let create = CreateGroup { epoch, owner: None, config, metadata, retention_ms, empty_ms };
    command(&mut slot, Command::CreateGroup(create), NOW);
    for number in 2..2 + participants {
        command(&mut slot, SharedCommand::Join(Join::bare(node(number), session(number), 1_000)), NOW);
    }
    slot
}

/// Of all terms in force: source, term, home.
fn homes(grants: &[Grant]) -> Vec<(u64, u64, PodId)> {
    grants.iter().map(|grant| (grant.source.get(), grant.term, grant.home)).collect()
}

#[test]
fn gone_home_leaves_the_term_in_force() {
    for (mut slot, number) in [(livestream(3, 1_000), 1), (group(3), 2)] {
        command(&mut slot, claim(number, 3), NOW);
        let term = slot.as_deref().unwrap().revision();
        let grants = |slot: &Slot| homes(&slot.as_deref().unwrap().grants());
        assert_eq!(grants(&slot), [(number, term, 3); 2]);
        assert_eq!(slot.as_deref().unwrap().pods(), [3], "nobody has a stream there");
        assert!(slot.as_deref().unwrap().attached_to(3, MemberKey::FIRST).next().is_none());
        command(&mut slot, acquire(number, 4), NOW);
        assert_eq!(grants(&slot), [(number, term, 3); 2], "what is held is held on all pods");
        let gone = Upkeep::DetachGone { pod: 3, gone_at: NOW, most: 10 };
        let (upkept, _) = upkeep(&mut slot, gone, NOW);
        assert_eq!((upkept.done, upkept.applied.revision), (1, term), "no event tells of it");
        assert_eq!(homes(&upkept.applied.grants), [(number, term, NO_HOME); 2]);
        assert_eq!((grants(&slot), keep(&mut slot, gone, NOW)), (vec![(number, term, NO_HOME); 2], 0));
        assert_eq!(slot.as_deref().unwrap().pods(), []);
        command(&mut slot, acquire(number, SINGLE_POD), NOW);
        assert_eq!(grants(&slot), [(number, term, NO_HOME); 2], "the only process is never gone");
        command(&mut slot, acquire(number, 4), NOW);
        assert_eq!(grants(&slot), [(number, term + 1, 4), (number, term, NO_HOME)]);
        command(&mut slot, claim(number, 5), NOW);
        assert_eq!(grants(&slot), [(number, term + 2, 5); 2], "a claim takes its lanes to its own pod");
        assert_eq!(slot.as_deref().unwrap().pods(), [5]);
    }
}

#[test]
fn homes_of_members_are_left_in_slices() {
    let mut slot = group(8);
    for number in 2..10 {
        command(&mut slot, claim(number, 3), NOW);
    }
    command(&mut slot, SharedCommand::Attach(node(4), session(4), 3), NOW);
    for done in [5, 3, 0] {
        assert_eq!(keep(&mut slot, Upkeep::DetachGone { pod: 3, gone_at: NOW, most: 5 }, NOW), done);
    }
    let mut copy = livestream(2, 1_000);
    command(&mut copy, claim(1, 3), NOW);
    command(&mut copy, SharedCommand::Attach(node(2), session(2), 3), NOW);
    for done in [1, 1, 0] {
        assert_eq!(keep(&mut copy, Upkeep::DetachGone { pod: 3, gone_at: NOW, most: 1 }, NOW), done);
    }
    let bytes = state::encode(slot.as_deref().unwrap(), StateVersion::V1);
    assert_eq!(state::decode(&bytes).unwrap().digest(), slot.as_deref().unwrap().digest());
}

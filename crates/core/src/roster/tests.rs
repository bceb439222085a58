use super::*;
use crate::command::Join;
use crate::id::SessionId;
use crate::role::{Role, ViewerMode};

fn node(number: u64) -> NodeId {
    NodeId::new(number).unwrap()
}

fn member(number: u64, ttl_ms: u32) -> Member {
    let role = Role::Viewer { mode: ViewerMode::Active, can_relay: true };
    let session = SessionId::new(number).unwrap();
    Member::new(Join::bare(node(number), session, ttl_ms), role, 0, 1)
}

fn nodes(roster: &Roster, from: usize) -> Vec<u64> {
    roster.iter_from(from).map(|(_, member)| member.node.get()).collect()
}

#[test]
fn members_are_in_slot_order_and_slots_reused() {
    let mut roster = Roster::default();
    let keys: Vec<MemberKey> = (1..=4).map(|number| roster.insert(member(number, 1_000))).collect();
    roster.remove(keys[1]);
    roster.remove(keys[2]);
    assert_eq!(nodes(&roster, 0), [1, 4]);
    assert_eq!(roster.insert(member(5, 1_000)), keys[2], "the slot that was freed last");
    assert_eq!(nodes(&roster, 0), [1, 5, 4]);
    roster.check();
}

#[test]
fn scan_visits_each_staying_member_once() {
    let mut roster = Roster::default();
    let keys: Vec<MemberKey> = (1..=6).map(|number| roster.insert(member(number, 1_000))).collect();
    let first: Vec<(MemberKey, u64)> = roster.iter().take(3).map(|(key, member)| (key, member.node.get())).collect();
    roster.remove(keys[0]);
    roster.remove(keys[4]);
    roster.insert(member(7, 1_000));
    roster.insert(member(8, 1_000));
    let next = first.last().unwrap().0.index() + 1;
    let mut seen: Vec<u64> = first.iter().map(|(_, node)| *node).chain(nodes(&roster, next)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!([2, 3, 4, 6].iter().all(|stayed| seen.contains(stayed)));
    assert_eq!(seen.len(), first.len() + nodes(&roster, next).len());
}

#[test]
fn emptied_roster_gives_its_slots_away() {
    let mut roster = Roster::default();
    let keys: Vec<MemberKey> = (1..=100).map(|number| roster.insert(member(number, 1_000))).collect();
    keys.into_iter().for_each(|key| {
        roster.remove(key);
    });
    assert!(roster.take_emptied().is_some_and(|emptied| emptied.slots.len() == 100));
    assert_eq!((roster.len(), roster.next_expiry(), roster.bytes()), (0, None, 0));
    assert!(roster.take_emptied().is_none(), "nothing is there to give");
    assert_eq!(roster.insert(member(1, 1_000)), MemberKey::from_index(0));
}

#[test]
fn due_timers_are_ordered_and_limited() {
    let mut roster = Roster::default();
    let [late, early, never] = [3_000, 1_000, 2_000].map(|ttl| roster.insert(member(u64::from(ttl), ttl)));
    roster.update(never, |member| member.lease.attach(0));
    assert_eq!(roster.next_expiry(), Some(1_000));
    assert_eq!(roster.due(999, 10), []);
    assert_eq!(roster.due(5_000, 10), [(early, Timer::Lease), (late, Timer::Lease)]);
    assert_eq!(roster.due(5_000, 1), [(early, Timer::Lease)]);
    roster.check();
}

#[test]
fn digest_excludes_the_index() {
    let digest = |roster: &Roster| crate::hash::FixedHasher::digest(roster);
    let mut one = Roster::default();
    let mut other = Roster::default();
    for number in 1..=50 {
        one.insert(member(number, 1_000));
        other.insert(member(number, 1_000));
    }
    assert_eq!(digest(&one), digest(&other), "each index has a seed of its own");
    other.update(MemberKey::from_index(0), |member| member.lease.touch(1));
    assert_ne!(digest(&one), digest(&other));
}

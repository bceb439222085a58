use std::collections::BTreeMap;

use super::*;
use crate::hash::splitmix64;

const SOURCE: Option<NodeId> = NodeId::new(7);
const OTHER: Option<NodeId> = NodeId::new(8);

fn change(source: Option<NodeId>, level: Interest, ttl_ms: Option<u32>) -> InterestChange {
    InterestChange { channel: Channel::Visual, source, level, ttl_ms }
}

/// Sets one level. True when anything changed.
fn set(interests: &mut Interests, change: InterestChange, now: u64) -> bool {
    !interests.set(&[change], now).is_empty()
}

#[test]
fn the_narrowest_override_wins() {
    let mut interests = Interests::participant();
    set(&mut interests, change(None, Interest::Low, Some(1_000)), 0);
    set(&mut interests, change(SOURCE, Interest::Critical, None), 0);
    assert_eq!(interests.level(SOURCE, Channel::Visual), Interest::Critical);
    assert_eq!(interests.level(OTHER, Channel::Visual), Interest::Low);
    assert_eq!(interests.level(None, Channel::Visual), Interest::Low);
    assert_eq!(interests.level(SOURCE, Channel::Audio), Interest::High);
}

#[test]
fn expired_ttl_falls_back_to_the_standing_level() {
    let mut interests = Interests::active_viewer();
    assert!(set(&mut interests, change(None, Interest::None, Some(500)), 1_000));
    assert_eq!(interests.next_expiry(), Some(1_500));
    assert_eq!(interests.expire(1_499), []);
    assert_eq!(interests.levels()[Channel::Visual], Interest::None);
    assert_eq!(interests.expire(1_500), [InterestUpdate::Gone(None, Channel::Visual)]);
    assert_eq!(interests, Interests::active_viewer());
    assert_eq!(interests.next_expiry(), None);
}

#[test]
fn the_earliest_of_several_ttls_is_due_first() {
    let mut interests = Interests::participant();
    set(&mut interests, change(SOURCE, Interest::Low, Some(900)), 0);
    set(&mut interests, change(OTHER, Interest::Low, Some(300)), 0);
    assert_eq!(interests.next_expiry(), Some(300));
    assert_eq!(interests.expire(300), [InterestUpdate::Gone(OTHER, Channel::Visual)]);
    assert_eq!(interests.next_expiry(), Some(900));
}

#[test]
fn standing_level_replaces_a_temporary_one() {
    let mut interests = Interests::active_viewer();
    set(&mut interests, change(None, Interest::None, Some(500)), 0);
    assert!(set(&mut interests, change(None, Interest::Medium, None), 10));
    assert_eq!(interests.overrides(), []);
    assert_eq!(interests.levels()[Channel::Visual], Interest::Medium);
}

#[test]
fn source_override_outlives_temporary_override_for_all() {
    let mut interests = Interests::participant();
    set(&mut interests, change(None, Interest::Low, Some(500)), 0);
    set(&mut interests, change(SOURCE, Interest::Low, None), 0);
    set(&mut interests, change(OTHER, Interest::High, None), 0);
    assert_eq!(interests.level(OTHER, Channel::Visual), Interest::High, "not hidden by the level for all");
    interests.expire(500);
    assert_eq!(interests.level(SOURCE, Channel::Visual), Interest::Low, "asked for without a time");
}

#[test]
fn redundant_override_is_not_kept() {
    let mut interests = Interests::participant();
    assert!(!set(&mut interests, change(SOURCE, Interest::High, None), 0));
    assert!(set(&mut interests, change(SOURCE, Interest::Low, None), 0));
    assert!(set(&mut interests, change(SOURCE, Interest::High, None), 0));
    assert_eq!(interests, Interests::participant());
}

#[test]
fn changes_that_cancel_out_change_nothing() {
    let mut interests = Interests::active_viewer();
    let there_and_back = [change(None, Interest::Low, None), change(None, Interest::High, None)];
    assert_eq!(interests.set(&there_and_back, 0), []);
    assert_eq!(interests.set(&there_and_back[..1], 0), [InterestUpdate::Standing(Channel::Visual, Interest::Low)]);
}

#[test]
fn forgetting_a_source_drops_its_overrides() {
    let mut interests = Interests::participant();
    set(&mut interests, change(SOURCE, Interest::Low, None), 0);
    set(&mut interests, change(OTHER, Interest::Low, Some(5)), 0);
    assert!(interests.forget(&[1, 7, 9].map(|node| NodeId::new(node).unwrap())));
    assert!(!interests.forget(&[NodeId::new(7).unwrap()]));
    assert_eq!(interests.level(SOURCE, Channel::Visual), Interest::High);
    assert_eq!(interests.level(OTHER, Channel::Visual), Interest::Low);
}

#[test]
fn full_list_admits_changes_but_no_new_override() {
    let mut interests = Interests::participant();
    let sources = (1..=u64::from(MAX_OVERRIDES)).map(NodeId::new);
    let all: Vec<InterestChange> = sources.map(|source| change(source, Interest::Low, None)).collect();
    assert!(interests.has_room_for(&all));
    interests.set(&all, 0);
    assert_eq!(interests.overrides().len(), MAX_OVERRIDES as usize);

    let known = change(NodeId::new(1), Interest::Critical, Some(9));
    assert!(interests.has_room_for(&[known]));
    assert!(set(&mut interests, known, 0));
    let new = change(NodeId::new(1 + u64::from(MAX_OVERRIDES)), Interest::Critical, None);
    assert!(!interests.has_room_for(&[new]));
    assert!(!set(&mut interests, new, 0));
    assert!(interests.has_room_for(&[change(None, Interest::Low, None)]), "a standing level needs no room");
    assert_eq!(interests.overrides().len(), MAX_OVERRIDES as usize);
}

/// The newest change for a (source, channel) holds until its time is over; then the
/// newest for all sources; then the standing one.
#[test]
fn random_changes_follow_the_precedence_rule() {
    let mut interests = Interests::participant();
    let mut follower = interests.clone();
    let mut standing = PerChannel::new([Interest::High; 5]);
    let mut overrides: BTreeMap<(Option<NodeId>, Channel), (Interest, Option<u64>)> = BTreeMap::new();
    let mut now = 0;
    for step in 0..20_000_u64 {
        let bits = splitmix64(step);
        let pick = |shift: u32, n: u64| usize::try_from((bits >> shift) % n).unwrap();
        now += bits % 50;
        interests.expire(now).into_iter().for_each(|update| follower.update(update));
        overrides.retain(|_, (_, until)| until.is_none_or(|until| until > now));

        let channel = Channel::ALL[pick(8, 5)];
        let source = [None, SOURCE, OTHER][pick(16, 3)];
        let level = Interest::ALL[pick(24, 5)];
        let ttl_ms = [None, Some(1), Some(20), Some(300), Some(900)][pick(32, 5)];
        let change = InterestChange { channel, source, level, ttl_ms };
        interests.set(&[change], now).into_iter().for_each(|update| follower.update(update));
        assert_eq!(follower, interests, "what is told is what changed");
        let until = ttl_ms.map(|ttl| now + u64::from(ttl));
        overrides.remove(&(source, channel));
        match (source, until) {
            (None, None) => standing[channel] = level,
            (Some(_), None) if standing[channel] == level && !overrides.contains_key(&(None, channel)) => {}
            _ => {
                overrides.insert((source, channel), (level, until));
            }
        }

        for channel in Channel::ALL {
            let own = |source: Option<NodeId>| overrides.get(&(source, channel)).map(|(level, _)| *level);
            let all = own(None).unwrap_or_else(|| standing[channel]);
            assert_eq!(interests.level(None, channel), all);
            for source in [SOURCE, OTHER] {
                let one = own(source).unwrap_or(all);
                assert_eq!(interests.level(source, channel), one, "step {step}");
            }
        }
        assert_eq!(interests.next_expiry(), overrides.values().filter_map(|(_, until)| *until).min());
    }
}

#[test]
fn batch_equals_its_changes_one_by_one() {
    let sources: Vec<_> = (0..40).map(NodeId::new).collect();
    for seed in 0..300_u64 {
        let draw = |step: u64| splitmix64(seed << 32 | step);
        let change = |step: u64| {
            let bits = draw(step);
            let pick = |shift: u32, n: usize| usize::try_from(bits >> shift & 0xFF).unwrap() % n;
            InterestChange {
                channel: Channel::ALL[pick(0, 5)],
                source: sources[pick(8, sources.len())],
                level: Interest::ALL[pick(16, 5)],
                ttl_ms: [None, None, Some(5)][pick(24, 3)],
            }
        };
        let mut at_once = Interests::participant();
        at_once.set(&(0..60).map(change).collect::<Vec<_>>(), 0);
        let mut one_by_one = at_once.clone();
        let changes: Vec<_> = (60..120).map(change).collect();
        at_once.set(&changes, 9);
        changes.iter().for_each(|change| drop(one_by_one.set(&[*change], 9)));
        assert_eq!(at_once, one_by_one, "seed {seed}");
        assert!(at_once.overrides().is_sorted_by_key(key));
        let soonest = at_once.overrides().iter().filter_map(|one| one.expires_at).min();
        assert_eq!(at_once.next_expiry(), soonest);
    }
}

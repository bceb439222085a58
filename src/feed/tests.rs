use bytes::Bytes;

use super::*;
use crate::swarm::interest::Interest;

const SOURCE: u64 = 7;

fn source() -> NodeId {
    NodeId::new(SOURCE).unwrap()
}

fn feed(ring_bytes: usize) -> Feed {
    let feed = Feed::new(ring_bytes);
    grant(&feed, 3, true);
    feed
}

fn grant(feed: &Feed, term: u64, enabled: bool) {
    feed.enforce(&[Grant { source: source(), channel: Channel::Visual, term, enabled }], false);
}

fn draft(keyframe: bool, publisher_sequence: u64) -> Draft {
    Draft {
        channel: Channel::Visual,
        payload: Bytes::from(vec![1; 100]),
        keyframe,
        priority: None,
        temporal_layer: 0,
        publisher_sequence,
        timestamp: None,
        accepted_at: Timestamp { seconds: 1, nanos: 2 },
    }
}

fn publish(feed: &Feed, term: u64, keyframe: bool) -> u64 {
    feed.publish(source(), term, draft(keyframe, 0)).unwrap().position.sequence
}

fn open(feed: &Feed, start: Start) -> Cursor {
    Cursor::open(feed, source(), Channel::Visual, Interest::High, start)
}

/// After, before, why.
type Loss = ((u64, u64), (u64, u64), GapReason);

/// Counts updates, and lists gaps.
fn read(cursor: &mut Cursor, feed: &Feed) -> (usize, Vec<Loss>) {
    let (mut updates, mut gaps) = (0, Vec::new());
    for delivery in cursor.read(feed, usize::MAX).deliveries {
        match delivery {
            Delivery::Update(_) => updates += 1,
            Delivery::Gap(Gap { after, before, reason }) => gaps.push((after, (before.term, before.sequence), reason)),
        }
    }
    (updates, gaps)
}

#[test]
fn sequences_start_at_one_in_each_term() {
    let feed = feed(1 << 20);
    assert_eq!([publish(&feed, 3, true), publish(&feed, 3, false)], [1, 2]);
    grant(&feed, 9, true);
    assert_eq!(publish(&feed, 9, true), 1);
}

#[test]
fn after_a_grant_is_superseded_nothing_enters_under_it() {
    let feed = feed(1 << 20);
    publish(&feed, 3, true);
    grant(&feed, 4, true);
    assert_eq!(feed.publish(source(), 3, draft(true, 0)), Err(Refusal::StaleTerm));
    grant(&feed, 0, false);
    assert_eq!(feed.publish(source(), 4, draft(true, 0)), Err(Refusal::StaleTerm));
}

#[test]
fn the_publishers_last_number_outlives_its_term() {
    let feed = feed(1 << 20);
    feed.publish(source(), 3, draft(true, 7)).unwrap();
    grant(&feed, 0, false);
    grant(&feed, 5, true);
    assert_eq!(feed.publisher_sequence(source(), Channel::Visual), 7);
    assert!(feed.publish(source(), 5, draft(true, 7)).unwrap().repeated);
}

#[test]
fn a_feed_is_closed_and_its_grants_end_in_one_step() {
    let feed = feed(1 << 20);
    publish(&feed, 3, true);
    feed.enforce(&[Grant { source: source(), channel: Channel::Visual, term: 0, enabled: false }], true);
    assert!(feed.is_closed());
    assert_eq!(feed.publish(source(), 3, draft(true, 0)), Err(Refusal::StaleTerm));
}

#[test]
fn a_disabled_channel_refuses_and_keeps_its_numbers() {
    let feed = feed(1 << 20);
    publish(&feed, 3, true);
    grant(&feed, 3, false);
    assert_eq!(feed.publish(source(), 3, draft(true, 0)), Err(Refusal::Disabled));
    grant(&feed, 3, true);
    assert_eq!(publish(&feed, 3, false), 2);
}

#[test]
fn a_repeated_publisher_sequence_is_dropped_and_acknowledged() {
    let feed = feed(1 << 20);
    assert!(!feed.publish(source(), 3, draft(true, 5)).unwrap().repeated);
    let again = feed.publish(source(), 3, draft(true, 5)).unwrap();
    assert!(again.repeated);
    assert_eq!((again.publisher_sequence, again.position.sequence), (5, 1));
    assert_eq!(feed.publisher_sequence(source(), Channel::Visual), 5);
    assert_eq!(read(&mut open(&feed, Start::Keyframe), &feed).0, 1);
}

#[test]
fn a_late_joiner_starts_on_the_newest_keyframe() {
    let feed = feed(1 << 20);
    for keyframe in [true, false, false, true, false] {
        publish(&feed, 3, keyframe);
    }
    let mut cursor = open(&feed, Start::Keyframe);
    assert_eq!(cursor.start().map(|position| position.sequence), Some(3));
    assert_eq!(read(&mut cursor, &feed), (2, vec![]));
}

#[test]
fn a_live_start_waits_for_the_next_keyframe() {
    let feed = feed(1 << 20);
    publish(&feed, 3, true);
    let mut cursor = open(&feed, Start::Live);
    assert_eq!(cursor.start(), None);
    publish(&feed, 3, false);
    assert_eq!(read(&mut cursor, &feed), (0, vec![]));
    publish(&feed, 3, true);
    publish(&feed, 3, false);
    assert_eq!(read(&mut cursor, &feed), (2, vec![]));
}

#[test]
fn a_lapped_reader_is_told_and_goes_on_at_the_newest_keyframe() {
    let feed = feed(2_000);
    publish(&feed, 3, true);
    let mut cursor = open(&feed, Start::Keyframe);
    assert_eq!(read(&mut cursor, &feed), (1, vec![]));
    for number in 2..=100 {
        publish(&feed, 3, number % 10 == 0);
    }
    assert!(feed.bytes() <= 2_000);
    assert_eq!(read(&mut cursor, &feed), (1, vec![((3, 1), (3, 100), GapReason::Evicted)]));
}

#[test]
fn a_lapped_reader_without_a_keyframe_in_the_ring_waits_for_one() {
    let feed = feed(2_000);
    publish(&feed, 3, true);
    let mut cursor = open(&feed, Start::Keyframe);
    read(&mut cursor, &feed);
    for _ in 2..=100 {
        publish(&feed, 3, false);
    }
    assert_eq!(read(&mut cursor, &feed), (0, vec![]));
    publish(&feed, 3, true);
    assert_eq!(read(&mut cursor, &feed), (1, vec![((3, 1), (3, 101), GapReason::Evicted)]));
}

#[test]
fn a_new_term_has_no_gap_when_everything_before_it_was_delivered() {
    let feed = feed(1 << 20);
    publish(&feed, 3, true);
    let mut cursor = open(&feed, Start::Keyframe);
    read(&mut cursor, &feed);
    grant(&feed, 4, true);
    publish(&feed, 4, true);
    assert_eq!(read(&mut cursor, &feed), (1, vec![]));
    grant(&feed, 5, true);
    publish(&feed, 5, false);
    publish(&feed, 5, true);
    assert_eq!(read(&mut cursor, &feed), (1, vec![((4, 1), (5, 2), GapReason::TermChanged)]));
}

#[test]
fn low_interest_gets_keyframes_and_none_gets_nothing() {
    let feed = feed(1 << 20);
    let mut low = Cursor::open(&feed, source(), Channel::Visual, Interest::Low, Start::Keyframe);
    let mut none = Cursor::open(&feed, source(), Channel::Visual, Interest::None, Start::Keyframe);
    for keyframe in [true, false, true, false] {
        publish(&feed, 3, keyframe);
    }
    assert_eq!(read(&mut low, &feed), (2, vec![]));
    assert_eq!(read(&mut none, &feed), (0, vec![]));
}

#[test]
fn a_read_is_bounded_but_never_empty_handed() {
    let feed = feed(1 << 20);
    for number in 0..10 {
        publish(&feed, 3, number == 0);
    }
    let mut cursor = open(&feed, Start::Keyframe);
    assert_eq!(cursor.read(&feed, 1).deliveries.len(), 1);
    assert_eq!(cursor.read(&feed, 500).deliveries.len(), 3);
    assert_eq!(cursor.read(&feed, usize::MAX).deliveries.len(), 6);
}

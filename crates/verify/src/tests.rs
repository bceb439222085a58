//! Clean histories pass; a history that breaks one rule is found out by that rule.

mod chat;
mod fixture;
mod gap;
mod publisher;

use super::*;
use fixture::{EPOCH, Received, SOURCE, Source, video};
use pb::delivery::Item;
use starling_client::pb::swarm::v1::{self as pb, GapReason, Interest, UpdateChannel};

fn point(sequence: u64) -> Point {
    Point { term: 3, sequence }
}

const LANE: Lane = Lane { source: SOURCE, channel: UpdateChannel::Visual };

#[test]
fn complete_history_passes_and_is_counted() {
    let (source, updates) = video();
    let told = Received::video().updates(&updates).ended();
    let bytes = updates.iter().map(|update| update.payload.len() as u64).sum::<u64>();
    assert_eq!((told.0.totals().updates, told.0.totals().bytes), (12, bytes));
    let summary = check(std::slice::from_ref(&source.log), &[told.0]).unwrap();
    assert_eq!((summary.publishers, summary.subscribers, summary.published), (1, 1, 12));
    assert_eq!(summary.delivered.updates, 12);
    assert_eq!(
        summary.to_string(),
        format!(
            "12 updates of 1 publishers; 12 deliveries ({bytes} bytes) to 1 subscribers in 1 subscriptions; 0 gaps"
        )
    );
}

#[test]
fn duplicate_or_late_updates_are_found() {
    let (source, updates) = video();
    let twice = Received::video().some(&updates, [1, 2, 2, 3]).fails(&source);
    assert_eq!(twice, Violation::Order { subscriber: 50, lane: LANE, last: point(2), point: point(2) });
    assert_eq!(twice.to_string(), "subscriber 50, VISUAL of 1: 3.2 came after 3.2");
    let resumed = Received::video().some(&updates, 1..=6).resumed(6).some(&updates, 5..=8).fails_any(&source);
    assert!(resumed.contains(&Violation::Order { subscriber: 50, lane: LANE, last: point(6), point: point(5) }));
    let early = Received::from(UpdateChannel::Visual, 4, Interest::High).some(&updates, 4..=8).fails_any(&source);
    assert!(early.contains(&Violation::Order { subscriber: 50, lane: LANE, last: point(4), point: point(4) }));
}

#[test]
fn every_missing_update_is_found() {
    let (source, updates) = video();
    let missing = |first, last, count| Violation::Missing {
        subscriber: 50,
        lane: LANE,
        first: point(first),
        last: point(last),
        count,
    };
    let hole = Received::video().some(&updates, [1, 2, 5, 6]).fails(&source);
    assert_eq!(hole, missing(3, 4, 2));
    assert_eq!(hole.to_string(), "subscriber 50, VISUAL of 1: 2 missing from 3.3 to 3.4, without a gap");
    assert_eq!(Received::video().some(&updates, 5..=12).fails(&source), missing(1, 1, 1), "a keyframe passed over");
    assert_eq!(Received::video().some(&updates, 1..=10).ended().fails(&source), missing(11, 12, 2));
    assert_eq!(Received::video().ended().fails(&source), missing(1, 9, 3), "nothing came at all");
    let resumed = Received::video().some(&updates, 1..=6).resumed(8).some(&updates, 9..=12);
    assert_eq!(resumed.fails(&source), missing(7, 8, 2));
    Received::video().some(&updates, 1..=10).passes(&source);
}

#[test]
fn missing_update_is_found_on_each_channel() {
    for channel in [UpdateChannel::Audio, UpdateChannel::Data, UpdateChannel::Screen] {
        let mut source = Source::new(SOURCE, channel, 1);
        let updates = source.runs();
        Received::from(channel, 0, Interest::High).updates(&updates).ended().passes(&source);
        let hole = Received::from(channel, 0, Interest::High).some(&updates, [1, 2, 4]).fails(&source);
        assert!(matches!(hole, Violation::Missing { count: 1, .. }), "{hole}");
    }
}

#[test]
fn a_late_joiner_starts_at_its_keyframe() {
    let (source, updates) = video();
    Received::from(UpdateChannel::Visual, 4, Interest::High).some(&updates, 5..=12).ended().passes(&source);
    Received::from(UpdateChannel::Visual, 6, Interest::High).some(&updates, 9..=12).ended().passes(&source);
    let within = Received::from(UpdateChannel::Visual, 5, Interest::High).some(&updates, 6..=12).fails(&source);
    assert_eq!(within, Violation::NotAKeyframe { subscriber: 50, lane: LANE, point: point(6), cause: Cause::Start });
}

#[test]
fn later_lane_starts_at_its_first_keyframe() {
    let (mut source, updates) = video();
    let audio = || Received::from(UpdateChannel::Audio, 0, Interest::High);
    audio().updates(&updates).ended().passes(&source);
    assert!(matches!(audio().some(&updates, 5..=12).fails(&source), Violation::Missing { count: 1, .. }));
    audio().ended().passes(&source);
    let mut silent = audio().ended();
    silent.0.expect(LANE);
    assert!(matches!(silent.fails(&source), Violation::Missing { count: 3, .. }));
    source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    let updates: Vec<_> = (0..4).map(|at| source.publish(at == 2, 0)).collect();
    audio().some(&updates, 3..=4).ended().passes(&source);
}

#[test]
fn lane_without_position_starts_at_any_keyframe() {
    let (source, updates) = video();
    let waiting = || {
        let waiting = pb::SourceChannel { source_node_id: SOURCE, channel: UpdateChannel::Visual.into(), track: 0 };
        let subscribed = pb::Subscribed { epoch: EPOCH, waiting_for_keyframe: vec![waiting], ..Default::default() };
        Received(History::new(50)).item(Item::Subscribed(subscribed))
    };
    waiting().some(&updates, 9..=12).ended().passes(&source);
    assert!(matches!(waiting().some(&updates, 10..=12).fails(&source), Violation::NotAKeyframe { .. }));
    assert!(matches!(waiting().some(&updates, [9, 11]).fails(&source), Violation::Missing { .. }));
}

#[test]
fn filtered_updates_are_not_missing_and_not_allowed() {
    let (source, updates) = video();
    for (interest, sequences) in
        [(Interest::Medium, vec![1, 3, 5, 7, 9, 11]), (Interest::Low, vec![1, 5, 9]), (Interest::None, vec![])]
    {
        let told = || Received::from(UpdateChannel::Visual, 0, interest);
        told().some(&updates, sequences.clone()).ended().passes(&source);
        let filtered = told().some(&updates, 1..=2).fails_any(&source);
        let expected = Violation::Filtered { subscriber: 50, lane: LANE, point: point(2) };
        assert!(filtered.contains(&expected), "{interest:?}");
        if let Some((_, rest)) = sequences.split_first() {
            assert!(matches!(told().some(&updates, rest.to_vec()).fails_any(&source)[0], Violation::Missing { .. }));
        }
    }
}

#[test]
fn each_filter_applies_to_its_part_only() {
    let (source, updates) = video();
    Received::video().some(&updates, 1..=2).filter(Interest::Low).some(&updates, [5, 9]).ended().passes(&source);
    // Whatever the filters, the keyframe at 5 was in all of them.
    let hole = Received::video().some(&updates, 1..=2).filter(Interest::Low).some(&updates, [9]).fails(&source);
    assert!(matches!(hole, Violation::Missing { count: 1, .. }), "{hole}");
    // Raised first: layer 1 at 10 is left out by the old filter, but 11 by none.
    let raised = || Received::from(UpdateChannel::Visual, 0, Interest::Medium).some(&updates, [1, 3, 5, 7, 9]);
    raised().filter(Interest::High).some(&updates, [11, 12]).passes(&source);
    let hole = raised().filter(Interest::High).some(&updates, [12]).fails(&source);
    assert!(matches!(hole, Violation::Missing { count: 1, .. }), "{hole}");
}

#[test]
fn a_raised_filter_begins_with_a_keyframe() {
    let (source, updates) = video();
    let quiet = || Received::video().some(&updates, 1..=2).filter(Interest::None).filter(Interest::High);
    quiet().some(&updates, 5..=12).ended().passes(&source);
    let raised = |point| Violation::NotAKeyframe { subscriber: 50, lane: LANE, point, cause: Cause::Raised };
    assert_eq!(quiet().some(&updates, 6..=12).fails(&source), raised(point(6)));
    let keyframes =
        |from| Received::from(UpdateChannel::Visual, from, Interest::Low).some(&updates, [5]).filter(Interest::High);
    keyframes(4).some(&updates, 6..=12).passes(&source);
    keyframes(4).some(&updates, 9..=12).passes(&source);
    assert_eq!(keyframes(4).some(&updates, 7..=12).fails(&source), raised(point(7)));
}

#[test]
fn a_resume_goes_on_where_it_stopped() {
    let (source, updates) = video();
    Received::video().some(&updates, 1..=6).resumed(6).some(&updates, 7..=12).ended().passes(&source);
    let told = Received::video().some(&updates, 1..=6);
    assert_eq!(told.0.positions(), [updates[5].position.unwrap()]);
    // Nothing had come: the start of the second subscription counts.
    Received::video().resumed(4).some(&updates, 5..=12).ended().passes(&source);
}

#[test]
fn another_publisher_begins_with_a_keyframe() {
    let (mut source, mut updates) = video();
    source.open(EPOCH, 8, 12);
    updates.extend([source.publish(true, 0), source.publish(false, 0)]);
    Received::video().updates(&updates).ended().passes(&source);
    assert!(matches!(
        Received::video().some(&updates, 1..=12).ended().fails(&source),
        Violation::Missing { count: 2, .. }
    ));
    let hole = |source: &mut Source| {
        source.open(EPOCH, 8, 12);
        source.number += 1;
    };
    let session = |source: &mut Source| source.open_session(10, EPOCH, 8, 0, (9, 12));
    for begin in [hole as fn(&mut Source), session] {
        let (mut source, mut updates) = video();
        begin(&mut source);
        updates.push(source.publish(false, 0));
        let delta = Received::video().updates(&updates).fails(&source);
        assert!(matches!(delta, Violation::NotAKeyframe { cause: Cause::Term, .. }), "{delta}");
    }
}

#[test]
fn same_publisher_continues_in_its_next_term() {
    let (mut source, mut updates) = video();
    source.open(EPOCH, 8, 12);
    updates.extend([source.publish(false, 0), source.publish(false, 0)]);
    Received::video().updates(&updates).ended().passes(&source);
    let silent = Received::video().some(&updates, 1..=12).updates(&updates[13..]).fails(&source);
    assert!(matches!(silent, Violation::Missing { count: 1, .. }), "{silent}");
    let gap = pb::Gap {
        before: Some(pb::TermSequence { term: 8, sequence: 2 }),
        ..fixture::gap(12, 0, GapReason::TermChanged, Some(1))
    };
    let told = Received::video().some(&updates, 1..=12).item(Item::Gap(gap)).updates(&updates[13..]).fails_any(&source);
    assert!(matches!(told[0], Violation::RunGoesOn { .. }), "{told:?}");
    // What was rejected in between is no hole.
    let (mut source, mut updates) = video();
    source.log.sent(&source.draft(13, false, 0));
    source.reject(13);
    source.open(EPOCH, 8, 12);
    source.number = 13;
    updates.push(source.publish(false, 0));
    Received::video().updates(&updates).ended().passes(&source);
}

#[test]
fn each_epoch_is_checked_on_its_own() {
    let (mut source, updates) = video();
    source.open(EPOCH + 1, 3, 0);
    source.number = 0;
    let again = source.runs();
    let told = || {
        Received::video().some(&updates, 1..=6).cut().subscribed(EPOCH + 1, UpdateChannel::Visual, 4, Interest::High)
    };
    let gap = || told().gap(6, 5, GapReason::EpochChanged, None);
    gap().some(&again, 5..=12).ended().passes(&source);
    let tail = gap().some(&again, 5..=11).ended().fails(&source);
    assert!(matches!(tail, Violation::Missing { count: 1, .. }), "{tail}");
}

#[test]
fn altered_update_is_found() {
    let (source, updates) = video();
    let changed = |change: fn(&mut pb::Update)| {
        let mut updates = updates.clone();
        change(&mut updates[6]);
        match Received::video().updates(&updates).fails(&source) {
            Violation::Altered { point, difference, .. } => (point, difference),
            other => panic!("{other}"),
        }
    };
    assert_eq!(changed(|update| update.payload = "x".into()), (point(7), Difference::Payload));
    assert_eq!(changed(|update| update.payload = vec![0; update.payload.len()].into()).1, Difference::Payload);
    assert_eq!(changed(|update| update.keyframe = true).1, Difference::Keyframe);
    assert_eq!(changed(|update| update.temporal_layer = 1).1, Difference::Layer);
}

#[test]
fn unpublished_update_is_found() {
    let (source, updates) = video();
    let strange = |change: fn(&mut pb::UpdatePosition)| {
        let mut update = updates[11].clone();
        update.position.iter_mut().for_each(change);
        Received::video().updates(&updates).updates([&update]).fails(&source)
    };
    let lane = Lane { source: 6, channel: UpdateChannel::Visual };
    assert_eq!(
        strange(|position| position.sequence = 13),
        Violation::Unknown { subscriber: 50, lane: LANE, point: point(13) }
    );
    assert!(matches!(strange(|position| position.term = 4), Violation::Unknown { .. }));
    assert!(matches!(strange(|position| position.sequence = u64::MAX), Violation::Unknown { .. }));
    assert_eq!(
        strange(|position| position.source_node_id = 6),
        Violation::Unknown { subscriber: 50, lane, point: point(12) }
    );
}

#[test]
fn extreme_numbers_do_not_panic() {
    let (source, updates) = video();
    let start = Received::from(UpdateChannel::Visual, u64::MAX, Interest::High).updates(&updates).fails_any(&source);
    assert!(start.iter().all(|violation| matches!(violation, Violation::Order { .. })));
    let gap = Received::video().some(&updates, 1..=12).gap(u64::MAX - 1, u64::MAX, GapReason::Evicted, Some(u64::MAX));
    gap.passes(&source);
    let gap = Received::video().some(&updates, 1..=12).gap(u64::MAX - 1, u64::MAX, GapReason::Evicted, Some(u64::MAX));
    assert!(matches!(gap.ended().fails(&source), Violation::NothingLost { .. }));
}

#[test]
fn subscribed_comes_first_and_once() {
    let (source, updates) = video();
    let late = Received(History::new(50)).item(Item::Heartbeat(pb::FeedHeartbeat::default()));
    let late = late.subscribed(EPOCH, UpdateChannel::Visual, 0, Interest::High).updates(&updates);
    assert_eq!(late.fails(&source), Violation::NotSubscribed { subscriber: 50 });
    let without = Received::video().some(&updates, 1..=4).cut().some(&updates, 5..=8);
    assert_eq!(without.fails(&source), Violation::NotSubscribed { subscriber: 50 });
    let twice = Received::video().some(&updates, 1..=4).subscribed(EPOCH, UpdateChannel::Visual, 4, Interest::High);
    assert_eq!(twice.some(&updates, 5..=8).fails(&source), Violation::SubscribedTwice { subscriber: 50 });
}

#[test]
fn goodbye_ended_requires_every_update() {
    let (source, updates) = video();
    let goodbye = |reason: pb::GoodbyeReason| {
        let goodbye = pb::Goodbye { reason: reason.into(), retry_after: None };
        Received::video().some(&updates, 1..=10).item(Item::Goodbye(goodbye))
    };
    goodbye(pb::GoodbyeReason::Draining).passes(&source);
    assert!(matches!(goodbye(pb::GoodbyeReason::Ended).fails(&source), Violation::Missing { count: 2, .. }));
}

/// Late join, two filters, a gap, a resume, a new term.
fn eventful() -> (Source, Received) {
    let (mut source, mut updates) = video();
    updates.extend((0..8).map(|at| source.publish(at % 4 == 0, at % 2)));
    source.open(EPOCH, 8, 20);
    updates.extend([source.publish(true, 0), source.publish(false, 0)]);
    let told = Received::from(UpdateChannel::Visual, 2, Interest::Medium).some(&updates, [5, 7]).filter(Interest::High);
    let told = told.some(&updates, [9, 10]).gap(10, 13, GapReason::Lagging, Some(2)).some(&updates, 13..=15);
    (source, told.resumed(15).some(&updates, 16..=22).ended())
}

#[test]
fn removed_or_reordered_events_are_found() {
    let (source, told) = eventful();
    let clean = told.0;
    Received(clean.clone()).passes(&source);
    let matters = |event: &subscriber::Event| !matches!(event, subscriber::Event::Cut(_));
    for at in (0..clean.events.len()).filter(|at| matters(&clean.events[*at])) {
        let mut history = clean.clone();
        let event = history.events.remove(at);
        let violations = check(std::slice::from_ref(&source.log), &[history]);
        assert!(violations.is_err(), "nobody misses {at}, {event:?}");
    }
    for at in 1..clean.events.len() {
        let mut history = clean.clone();
        history.events.swap(at - 1, at);
        // On which side of an update that passes both filters the change is told is free.
        let free = history.events[at - 1..=at].iter().any(|event| matches!(event, subscriber::Event::Filter(_)));
        let violations = check(std::slice::from_ref(&source.log), &[history]);
        assert!(violations.is_err() || free, "nobody sees that {} and {at} are swapped", at - 1);
    }
}

#[test]
fn repeated_events_are_found() {
    let (source, told) = eventful();
    let clean = told.0;
    for (at, event) in clean.events.iter().enumerate() {
        if matches!(event, subscriber::Event::Update(_) | subscriber::Event::Subscribed(_)) {
            for later in at + 1..=clean.events.len() {
                let mut history = clean.clone();
                history.events.insert(later, event.clone());
                let violations = check(std::slice::from_ref(&source.log), &[history]);
                assert!(violations.is_err(), "{at} came again at {later}");
            }
        }
    }
}

#[test]
fn number_of_reported_violations_is_limited() {
    let mut source = Source::new(SOURCE, UpdateChannel::Audio, 1);
    let mut updates: Vec<_> = (0..2 * MAX_VIOLATIONS).map(|_| source.publish(false, 0)).collect();
    updates.iter_mut().for_each(|update| update.payload.clear());
    assert_eq!(
        Received::from(UpdateChannel::Audio, 0, Interest::High).updates(&updates).fails_any(&source).len(),
        MAX_VIOLATIONS
    );
}

#[test]
fn recorded_events_have_their_expected_size() {
    assert_eq!(size_of::<subscriber::Event>(), 48);
    assert_eq!(size_of::<print::Print>(), 16);
}

#[test]
fn a_million_updates_are_checked_in_one_pass() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 2);
    let mut told = Received::video();
    for at in 0..1_000_000 {
        let update = source.publish(at % 60 == 0, at % 2);
        // Every other run is lost.
        match at % 120 {
            0..60 => told = told.updates([&update]),
            60 => told = told.gap(u64::from(at), u64::from(at) + 61, GapReason::Lagging, Some(60)),
            _ => {}
        }
    }
    told.passes(&source);
}

//! Gaps: announced where something was lost, and nowhere else.

use super::fixture::{EPOCH, Received, SOURCE, Source, video};
use super::{LANE, point};
use crate::{Cause, Violation};
use starling_client::pb::swarm::v1::{self as pb, GapReason, Interest, UpdateChannel};

#[test]
fn announced_loss_passes() {
    let (source, updates) = video();
    let told = || Received::video().some(&updates, 1..=2);
    told().gap(2, 9, GapReason::Lagging, Some(6)).some(&updates, 9..=12).ended().passes(&source);
    told().gap(2, 0, GapReason::Evicted, None).some(&updates, 9..=12).ended().passes(&source);
    told().gap(0, 9, GapReason::Upstream, None).some(&updates, 9..=12).ended().passes(&source);
    told().gap(2, 0, GapReason::Evicted, Some(10)).ended().passes(&source);
    let counted = told().gap(2, 9, GapReason::Lagging, Some(6)).some(&updates, 9..=12);
    assert_eq!((counted.0.totals().gaps(GapReason::Lagging), counted.0.totals().all_gaps()), (1, 1));
}

#[test]
fn gap_bounds_are_exclusive() {
    let (source, updates) = video();
    let missing = |gap: Violation, at: u64| {
        let (first, last) = (point(at), point(at));
        assert_eq!(gap, Violation::Missing { subscriber: 50, lane: LANE, first, last, count: 1 });
    };
    let told = || Received::video().some(&updates, 1..=2);
    missing(told().gap(3, 9, GapReason::Lagging, None).some(&updates, 9..=12).fails(&source), 3);
    missing(told().gap(2, 8, GapReason::Lagging, None).some(&updates, 9..=12).fails(&source), 8);
}

#[test]
fn a_gap_of_another_lane_covers_nothing() {
    let (source, updates) = video();
    let mut gap = super::fixture::gap(2, 9, GapReason::TermChanged, None);
    gap.source_node_id = SOURCE + 1;
    let told = Received::video().some(&updates, 1..=2).item(pb::delivery::Item::Gap(gap)).some(&updates, 9..=12);
    assert!(matches!(told.fails(&source), Violation::Missing { count: 6, .. }));
}

#[test]
fn gap_without_a_loss_is_found() {
    let (source, updates) = video();
    for reason in [GapReason::Lagging, GapReason::Bandwidth, GapReason::Evicted] {
        let gap = Received::video().some(&updates, 1..=4).gap(4, 5, reason, None).some(&updates, 5..=12).fails(&source);
        let (after, before) = (Some(point(4)), Some(point(5)));
        assert_eq!(gap, Violation::NothingLost { subscriber: 50, lane: LANE, reason, after, before });
    }
    for reason in [GapReason::UnknownPosition, GapReason::Upstream] {
        Received::video().some(&updates, 1..=4).gap(4, 5, reason, None).some(&updates, 5..=12).passes(&source);
    }
    let term = Received::video().some(&updates, 1..=4).gap(4, 5, GapReason::TermChanged, None).some(&updates, 5..=12);
    assert!(matches!(term.fails(&source), Violation::RunGoesOn { .. }), "the term is the same");
    // The filter leaves out all that lies inside.
    let keyframes = || Received::from(UpdateChannel::Visual, 0, Interest::Low).some(&updates, [1]);
    let gap = keyframes().gap(1, 5, GapReason::Evicted, None).some(&updates, [5, 9]).fails(&source);
    assert!(matches!(gap, Violation::NothingLost { .. }));
    keyframes().gap(1, 9, GapReason::Evicted, Some(1)).some(&updates, [9]).passes(&source);
}

#[test]
fn resume_may_report_an_uncounted_loss() {
    let (source, updates) = video();
    let resumed = || {
        let told = Received::from(UpdateChannel::Visual, 0, Interest::Low).some(&updates, [1]);
        told.cut().subscribed(EPOCH, UpdateChannel::Visual, 1, Interest::Low)
    };
    resumed().gap(1, 5, GapReason::Evicted, None).some(&updates, [5, 9]).passes(&source);
    let counted = resumed().gap(1, 5, GapReason::Evicted, Some(1)).some(&updates, [5, 9]).fails_any(&source);
    assert!(matches!(counted[..], [Violation::NothingLost { .. }, ..]));
    let later = resumed().some(&updates, [5]).gap(5, 9, GapReason::Evicted, None).some(&updates, [9]).fails(&source);
    assert!(matches!(later, Violation::NothingLost { .. }));
}

#[test]
fn filter_raised_in_a_cut_needs_no_keyframe() {
    let (source, updates) = video();
    let asleep = || Received::video().some(&updates, 1..=2).filter(Interest::None);
    asleep().resumed(2).some(&updates, 3..=12).passes(&source);
    let awake = asleep().filter(Interest::High).some(&updates, 3..=12).fails(&source);
    assert!(matches!(awake, Violation::NotAKeyframe { .. }));
}

#[test]
fn wrong_count_of_a_gap_is_found() {
    let (source, updates) = video();
    for (interest, first, lost) in [(Interest::High, vec![1, 2], 6), (Interest::Medium, vec![1], 3)] {
        for told in [lost - 1, lost, lost + 1] {
            let last = *first.last().unwrap() as u64;
            let history = Received::from(UpdateChannel::Visual, 0, interest).some(&updates, first.clone());
            let history = history.gap(last, 9, GapReason::Lagging, Some(told)).some(&updates, [9]);
            if told == lost {
                history.passes(&source);
                continue;
            }
            let (after, before) = (Some(point(last)), Some(point(9)));
            let (subscriber, lane, reason) = (50, LANE, GapReason::Lagging);
            let expected = Violation::Count { subscriber, lane, reason, after, before, told, lost };
            assert_eq!(history.fails(&source), expected);
        }
    }
}

#[test]
fn delivery_declared_lost_is_found() {
    let (source, updates) = video();
    let inside = |at| Violation::InsideGap { subscriber: 50, lane: LANE, point: point(at), reason: GapReason::Lagging };
    let told = Received::video().some(&updates, 1..=2).gap(2, 9, GapReason::Lagging, None).some(&updates, [5]);
    assert_eq!(told.fails(&source), inside(5));
    let told = Received::video().some(&updates, 1..=2).gap(1, 9, GapReason::Lagging, None).some(&updates, [9]);
    assert_eq!(told.fails(&source), inside(2));
}

#[test]
fn a_keyframe_follows_a_gap() {
    let (source, updates) = video();
    for reason in [GapReason::Lagging, GapReason::Evicted, GapReason::Bandwidth] {
        let told = || Received::video().some(&updates, 1..=6);
        let delta = told().gap(6, 8, reason, Some(1)).some(&updates, 8..=12).fails(&source);
        let cause = Cause::Gap(reason);
        assert_eq!(delta, Violation::NotAKeyframe { subscriber: 50, lane: LANE, point: point(8), cause });
        told().gap(6, 9, reason, Some(2)).some(&updates, 9..=12).passes(&source);
    }
}

#[test]
fn top_layer_alone_is_dropped_for_bandwidth_only() {
    let (source, updates) = video();
    let told = |reason| Received::video().some(&updates, 1..=5).gap(5, 7, reason, Some(1)).some(&updates, 7..=12);
    told(GapReason::Bandwidth).passes(&source);
    assert!(matches!(told(GapReason::Evicted).fails(&source), Violation::NotAKeyframe { .. }));
    // With one layer there is no top to leave out.
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    let updates: Vec<_> = (0..12).map(|at| source.publish(at % 4 == 0, 0)).collect();
    let told = Received::video().some(&updates, 1..=5).gap(5, 7, GapReason::Bandwidth, Some(1)).some(&updates, 7..=12);
    assert!(matches!(told.fails(&source), Violation::NotAKeyframe { .. }));
}

#[test]
fn gap_without_runs_needs_no_keyframe() {
    let mut source = Source::new(SOURCE, UpdateChannel::Audio, 1);
    let updates = source.runs();
    let mut gap = super::fixture::gap(2, 7, GapReason::Evicted, Some(4));
    gap.channel = UpdateChannel::Audio.into();
    let told = Received::from(UpdateChannel::Audio, 0, Interest::High).some(&updates, 1..=2);
    told.item(pb::delivery::Item::Gap(gap)).some(&updates, 7..=12).ended().passes(&source);
}

#[test]
fn resume_may_deliver_updates_declared_lost() {
    let (source, updates) = video();
    let told = || Received::video().some(&updates, 1..=2).gap(2, 9, GapReason::Lagging, None).resumed(2);
    told().some(&updates, 3..=12).ended().passes(&source);
    told().some(&updates, 9..=12).ended().passes(&source);
    told().gap(2, 9, GapReason::Lagging, Some(6)).some(&updates, 9..=12).ended().passes(&source);
    let delta = told().some(&updates, 10..=12).fails_any(&source);
    assert!(matches!(delta[..], [Violation::Missing { .. }, Violation::NotAKeyframe { .. }]), "{delta:?}");
}

#[test]
fn term_change_may_lose_the_old_tail() {
    let (mut source, mut updates) = video();
    // One more is under way when the stream breaks; another session follows.
    source.send(false, 0);
    source.open_session(10, EPOCH, 8, 0, (9, 13));
    updates.extend([source.publish(true, 0), source.publish(false, 0)]);
    let gap = pb::Gap {
        before: Some(pb::TermSequence { term: 8, sequence: 1 }),
        ..super::fixture::gap(12, 0, GapReason::TermChanged, None)
    };
    let told = Received::video().some(&updates, 1..=12);
    told.item(pb::delivery::Item::Gap(gap)).some(&updates, 13..=14).ended().passes(&source);
    let silent = Received::video().updates(&updates).fails(&source);
    assert!(matches!(silent, Violation::Missing { count: 1, .. }), "{silent}");
}

#[test]
fn open_gap_is_repeated_with_its_end() {
    let (source, updates) = video();
    let open = || Received::video().some(&updates, 1..=2).gap(2, 0, GapReason::Evicted, None);
    open().gap(2, 9, GapReason::Evicted, Some(6)).some(&updates, 9..=12).ended().passes(&source);
    let counted = open().gap(2, 9, GapReason::Evicted, Some(5)).some(&updates, 9..=12).fails(&source);
    assert!(matches!(counted, Violation::Count { told: 5, lost: 6, .. }), "{counted}");
}

#[test]
fn resume_does_not_repeat_a_reported_gap() {
    let (source, updates) = video();
    let resumed = |told: Received, sequence, open_gaps| {
        let mut told = told;
        told.0.resume(&pb::SubscriptionPosition {
            epoch: EPOCH,
            positions: vec![source.position(sequence)],
            open_gaps,
        });
        told.subscribed(EPOCH, UpdateChannel::Visual, sequence, Interest::High)
    };
    let open_gap = super::fixture::gap(2, 0, GapReason::Evicted, None);
    let open =
        |named| resumed(Received::video().some(&updates, 1..=2).item(pb::delivery::Item::Gap(open_gap)), 2, named);
    let rest = |told: Received| told.gap(2, 9, GapReason::Evicted, Some(6)).some(&updates, 9..=12).ended();
    rest(open(vec![open_gap])).passes(&source);
    rest(open(vec![]).gap(2, 0, GapReason::Evicted, None)).passes(&source);
    let again = rest(open(vec![open_gap]).gap(2, 0, GapReason::Evicted, None)).fails(&source);
    assert!(matches!(again, Violation::ToldAgain { before: None, .. }), "{again}");
    let closed = || resumed(Received::video().some(&updates, 1..=2).gap(2, 9, GapReason::Evicted, Some(6)), 8, vec![]);
    closed().some(&updates, 9..=12).ended().passes(&source);
    let again = closed().gap(2, 9, GapReason::Evicted, Some(6)).some(&updates, 9..=12).ended().fails(&source);
    assert!(matches!(again, Violation::ToldAgain { before: Some(_), .. }), "{again}");
}

//! A publisher's log counts as the server does.

use super::fixture::{EPOCH, Received, SOURCE, Source, update, video};
use crate::{History, PublisherLog, Violation, check};
use starling_client::pb::swarm::v1::{self as pb, UpdateChannel};

#[test]
fn acknowledgements_may_cover_many() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    let updates: Vec<_> = (0..9).map(|at| source.send(at == 0, 0)).collect();
    source.ack(4, 4);
    assert_eq!((source.log.accepted(), source.log.unanswered()), (4, 5));
    source.ack(9, 9);
    assert_eq!((source.log.accepted(), source.log.unanswered()), (9, 0));
    Received::video().updates(&updates).ended().passes(&source);
}

#[test]
fn update_delivered_to_one_counts_as_published() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    let updates: Vec<_> = (0..5).map(|at| source.send(at == 0, 0)).collect();
    Received::video().updates(&updates).passes(&source);
    Received::video().some(&updates, 1..=3).ended().passes(&source);
    // Once one subscriber has the fifth, the other must have it too.
    let histories = [Received::video().updates(&updates).0, Received::video().some(&updates, 1..=3).ended().0];
    let violations = check(std::slice::from_ref(&source.log), &histories).unwrap_err();
    assert!(matches!(violations[..], [Violation::Missing { count: 2, .. }]), "{violations:?}");
}

#[test]
fn rejected_update_takes_no_sequence() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    let first = source.publish(true, 0);
    source.log.sent(&source.draft(2, false, 0));
    source.log.sent(&source.draft(3, false, 0));
    source.reject(2);
    source.ack(3, 2);
    let third = update(source.draft(3, false, 0), source.position(2), 0);
    Received::video().updates([&first, &third]).ended().passes(&source);
    let second = update(source.draft(2, false, 0), source.position(2), 0);
    assert!(matches!(Received::video().updates([&first, &second]).fails(&source), Violation::Altered { .. }));
}

#[test]
fn repeat_takes_no_sequence() {
    let (mut source, mut updates) = video();
    source.log.sent(&source.draft(12, false, 1));
    source.ack(12, 12);
    source.log.sent(&source.draft(5, true, 0));
    updates.push(source.publish(false, 0));
    // A repeat of what is under way, and one of what was rejected.
    source.log.sent(&source.draft(14, false, 0));
    source.log.sent(&source.draft(14, false, 0));
    source.log.sent(&source.draft(15, false, 0));
    source.log.sent(&source.draft(15, false, 0));
    source.reject(15);
    source.ack(15, 15);
    updates.extend([14, 15].map(|at| update(source.draft(at, false, 0), source.position(at), 0)));
    assert_eq!((source.log.accepted(), source.log.unanswered()), (15, 0));
    Received::video().updates(&updates).ended().passes(&source);
}

#[test]
fn next_stream_settles_updates_unanswered_at_a_cut() {
    let (mut source, mut updates) = video();
    let lost: Vec<_> = (0..4).map(|_| source.send(false, 0)).collect();
    // Two of the four had arrived; the publisher sends the last three again.
    source.open(EPOCH, 8, 14);
    updates.extend_from_slice(&lost[..2]);
    for number in 14..=16 {
        source.log.sent(&source.draft(number, number == 15, 0));
    }
    source.ack(16, 2);
    updates.push(update(source.draft(15, true, 0), source.position(1), 0));
    updates.push(update(source.draft(16, false, 0), source.position(2), 0));
    assert_eq!(source.log.accepted(), 16);
    Received::video().updates(&updates).ended().passes(&source);
}

#[test]
fn updates_without_number_are_counted() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    for _ in 0..3 {
        source.log.sent(&pb::UpdateDraft { publisher_sequence: 0, ..source.draft(1, true, 0) });
    }
    source.reject(2);
    source.ack(3, 2);
    assert_eq!((source.log.accepted(), source.log.unanswered()), (2, 0));
    check(&[source.log], &[]).unwrap();
}

#[test]
fn log_without_stream_learns_term_from_acknowledgements() {
    let mut source = Source::new(SOURCE, UpdateChannel::Visual, 1);
    source.log = PublisherLog::new(SOURCE);
    let updates = source.runs();
    Received::video().updates(&updates).ended().passes(&source);
    source.term = 8;
    source.log.sent(&source.draft(13, true, 0));
    source.ack(13, 1);
    let next = update(source.draft(13, true, 0), source.position(1), 0);
    Received::video().updates(&updates).updates([&next]).ended().passes(&source);
}

#[test]
fn inconsistent_numbering_is_found() {
    for (through, sequence) in [(13, 14), (13, 12), (13, 1 << 60)] {
        let (mut source, _) = video();
        source.send(false, 0);
        source.ack(through, sequence);
        let violations = check(&[source.log], &[]).unwrap_err();
        assert!(matches!(violations[..], [Violation::Numbering { counted: 13, .. }]), "{violations:?}");
    }
}

#[test]
fn acknowledgement_of_an_unsent_update_is_found() {
    let (mut source, _) = video();
    source.ack(13, 12);
    let violations = check(std::slice::from_ref(&source.log), &[]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Acknowledged { told: 13, known: 12, .. }]), "{violations:?}");
}

#[test]
fn stream_opened_below_acknowledged_number_is_found() {
    let (mut source, _) = video();
    source.open(EPOCH, 8, 11);
    let violations = check(std::slice::from_ref(&source.log), &[History::new(1)]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Acknowledged { told: 11, known: 12, .. }]), "{violations:?}");
}

#[test]
fn rejoin_settles_updates_of_the_previous_session() {
    let (mut source, mut updates) = video();
    let lost: Vec<_> = (0..4).map(|_| source.send(false, 0)).collect();
    source.open_session(10, EPOCH, 8, 0, (9, 14));
    updates.extend_from_slice(&lost[..2]);
    source.number = 14;
    updates.push(source.publish(true, 0));
    assert_eq!(source.log.accepted(), 15);
    Received::video().updates(&updates).ended().passes(&source);
    source.open_session(11, EPOCH, 9, 0, (10, 13));
    let violations = check(std::slice::from_ref(&source.log), &[History::new(1)]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Acknowledged { told: 13, known: 15, .. }]), "{violations:?}");
}

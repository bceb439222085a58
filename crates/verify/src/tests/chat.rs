//! Chat of a livestream: many authors, one order.

use super::stage::{EPOCH, Told, filter, told, update};
use crate::{Lane, PublisherLog, Report, Violation, check};
use starling_client::pb::swarm::v1::{self as pb, GapReason, Interest, UpdateChannel};

/// Three authors, and the messages of the swarm in order. Author 4 hears nothing back.
struct Room {
    logs: Vec<PublisherLog>,
    messages: Vec<pb::Update>,
}

impl Room {
    /// `1 2 3 1 4 2 1 3 4 1`, by author.
    fn new() -> Self {
        let mut room = Self { logs: [1, 2, 3, 4].map(PublisherLog::new).into(), messages: Vec::new() };
        let channel = pb::GrantedChannel { channel: UpdateChannel::Chat.into(), ..Default::default() };
        for log in &mut room.logs {
            log.opened(
                &pb::PublishOpened { epoch: EPOCH, channels: vec![channel], session_id: 1, ..Default::default() },
                1,
            );
        }
        for (at, author) in [1, 2, 3, 1, 4, 2, 1, 3, 4, 1].into_iter().enumerate() {
            room.say(author, at as u64 + 1);
        }
        room
    }

    fn say(&mut self, author: u64, sequence: u64) {
        let log = self.log(author);
        let number = log.accepted() + log.unanswered() as u64 + 1;
        let draft = pb::UpdateDraft {
            channel: UpdateChannel::Chat.into(),
            payload: format!("{author}: {number}").into(),
            publisher_sequence: number,
            ..Default::default()
        };
        log.sent(&draft);
        if author != 4 {
            self.ack(author, number, sequence);
        }
        self.messages.push(update(draft, Self::position(sequence), author));
    }

    fn ack(&mut self, author: u64, accepted_through: u64, sequence: u64) {
        let position = Some(Self::position(sequence));
        self.log(author).acked(&pb::ChannelAck { accepted_through, position });
    }

    fn log(&mut self, author: u64) -> &mut PublisherLog {
        self.logs.iter_mut().find(|log| log.node() == author).unwrap()
    }

    fn position(sequence: u64) -> pb::UpdatePosition {
        pb::UpdatePosition { source_node_id: 0, channel: UpdateChannel::Chat.into(), term: 0, sequence, track: 0 }
    }

    fn check(&self, histories: impl IntoIterator<Item = Told>) -> Result<Report, Vec<Violation>> {
        let histories: Vec<_> = histories.into_iter().map(|told| told.0).collect();
        check(&self.logs, &histories)
    }

    #[track_caller]
    fn fails(&self, history: Told) -> Violation {
        let violations = self.check([history]).unwrap_err();
        assert_eq!(violations.len(), 1, "{}", told(&violations));
        violations[0].clone()
    }
}

fn reader(after: u64) -> Told {
    Told::from(UpdateChannel::Chat, after, Interest::Medium)
}

#[test]
fn chat_in_one_order_passes() {
    let room = Room::new();
    let quiet = Told::from(UpdateChannel::Chat, 0, Interest::None).ended();
    let readers = [reader(0).updates(&room.messages).ended(), reader(6).some(&room.messages, 7..=10).ended(), quiet];
    assert_eq!(room.check(readers).unwrap().published, 8);
    let filter = pb::delivery::Item::Filter(filter(UpdateChannel::Chat, Interest::None));
    room.check([reader(0).some(&room.messages, 1..=5).item(filter).ended()]).unwrap();
}

#[test]
fn an_acknowledgement_that_covers_many_names_the_last() {
    let mut room = Room::new();
    room.ack(4, 2, 9);
    assert_eq!(room.check([reader(0).updates(&room.messages).ended()]).unwrap().published, 10);
    let mut room = Room::new();
    room.ack(4, 2, 5);
    let early = room.check([reader(0).updates(&room.messages)]).unwrap_err();
    assert!(matches!(early[0], Violation::Altered { .. } | Violation::NotSent { .. }), "{}", told(&early));
}

#[test]
fn a_message_that_is_missing_is_found() {
    let room = Room::new();
    for holes in [[1, 2, 4, 5], [1, 2, 3, 5]] {
        let hole = room.fails(reader(0).some(&room.messages, holes));
        assert!(matches!(hole, Violation::Missing { lane: Lane::CHAT, count: 1, .. }), "{hole}");
    }
    let tail = room.fails(reader(0).some(&room.messages, 1..=8).ended());
    assert!(matches!(tail, Violation::Missing { count: 2, .. }), "{tail}");
}

#[test]
fn a_gap_covers_messages_too() {
    let room = Room::new();
    let point = |sequence| Some(pb::TermSequence { term: 0, sequence });
    let told = |count| {
        let gap = pb::Gap {
            source_node_id: 0,
            channel: UpdateChannel::Chat.into(),
            after: point(2),
            before: point(7),
            reason: GapReason::Evicted.into(),
            count: Some(count),
            track: 0,
        };
        let told = reader(0).some(&room.messages, 1..=2).item(pb::delivery::Item::Gap(gap));
        told.some(&room.messages, 7..=10).ended()
    };
    room.check([told(4)]).unwrap();
    assert!(matches!(room.fails(told(5)), Violation::Count { lost: 4, .. }));
}

#[test]
fn a_message_comes_once_and_in_order() {
    let room = Room::new();
    let twice = room.fails(reader(0).some(&room.messages, [1, 2, 2, 3]));
    assert!(matches!(twice, Violation::Order { lane: Lane::CHAT, .. }), "{twice}");
    // The same message under two numbers.
    let mut room = Room::new();
    room.messages[8].payload = room.messages[4].payload.clone();
    let again = room.check([reader(0).updates(&room.messages)]).unwrap_err();
    assert!(again.contains(&Violation::NotSent { author: 4, sequence: 9 }), "{again:?}");
    // Two messages of one author in the wrong order.
    let mut room = Room::new();
    let (first, second) = (room.messages[4].payload.clone(), room.messages[8].payload.clone());
    (room.messages[4].payload, room.messages[8].payload) = (second, first);
    let swapped = room.check([reader(0).updates(&room.messages)]).unwrap_err();
    assert!(swapped.iter().any(|violation| matches!(violation, Violation::NotSent { author: 4, .. })), "{swapped:?}");
}

#[test]
fn a_message_is_its_authors() {
    let mut room = Room::new();
    room.messages[4].author_node_id = 5;
    let stranger = room.fails(reader(0).updates(&room.messages));
    assert_eq!(stranger, Violation::NotSent { author: 5, sequence: 5 });
    let mut room = Room::new();
    room.messages[4].author_node_id = 2;
    assert_eq!(room.fails(reader(0).updates(&room.messages)), Violation::NotSent { author: 2, sequence: 5 });
    // An acknowledgement named somebody else.
    let mut room = Room::new();
    room.messages[6].author_node_id = 2;
    let stolen = room.fails(reader(0).updates(&room.messages));
    assert_eq!(stolen, Violation::Author { sequence: 7, one: 1, other: 2 });
}

#[test]
fn everybody_reads_the_same() {
    let room = Room::new();
    let mut other = room.messages.clone();
    other[4].payload = "4: 3".into();
    let violations = room.check([reader(0).updates(&room.messages), reader(0).updates(&other)]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Altered { .. }]), "{}", told(&violations));
}

#[test]
fn a_message_that_nobody_sent_is_found() {
    let room = Room::new();
    for sequence in [11, u64::MAX] {
        let message = pb::Update { position: Some(Room::position(sequence)), ..room.messages[9].clone() };
        let strange = room.fails(reader(0).updates(&room.messages).updates([&message]));
        assert!(matches!(strange, Violation::Unknown { .. }), "{strange}");
    }
    let mut room = Room::new();
    room.messages[4].payload = "never said".into();
    assert_eq!(room.fails(reader(0).updates(&room.messages)), Violation::NotSent { author: 4, sequence: 5 });
}

#[test]
fn numbers_beyond_all_that_was_sent_are_found() {
    let mut room = Room::new();
    room.say(1, 99);
    let violations = room.check([]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Numbering { counted: 11, .. }]), "{violations:?}");
}

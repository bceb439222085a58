//! Chat of a livestream: many authors, one order.

use super::fixture::{EPOCH, Received, filter, told, update};
use crate::{Lane, PublisherLog, Report, Violation, check};
use starling_client::pb::swarm::v1::{self as pb, GapReason, Interest, UpdateChannel};

/// Three authors, and the messages of the swarm in order. Author 4 hears nothing back.
struct ChatFixture {
    logs: Vec<PublisherLog>,
    messages: Vec<pb::Update>,
}

impl ChatFixture {
    /// `1 2 3 1 4 2 1 3 4 1`, by author.
    fn new() -> Self {
        let mut chat = Self { logs: [1, 2, 3, 4].map(PublisherLog::new).into(), messages: Vec::new() };
        let channel = pb::GrantedChannel { channel: UpdateChannel::Chat.into(), ..Default::default() };
        for log in &mut chat.logs {
            log.opened(
                &pb::PublishOpened { epoch: EPOCH, channels: vec![channel], session_id: 1, ..Default::default() },
                1,
            );
        }
        for (at, author) in [1, 2, 3, 1, 4, 2, 1, 3, 4, 1].into_iter().enumerate() {
            chat.say(author, at as u64 + 1);
        }
        chat
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

    fn check(&self, histories: impl IntoIterator<Item = Received>) -> Result<Report, Vec<Violation>> {
        let histories: Vec<_> = histories.into_iter().map(|told| told.0).collect();
        check(&self.logs, &histories)
    }

    #[track_caller]
    fn fails(&self, history: Received) -> Violation {
        let violations = self.check([history]).unwrap_err();
        assert_eq!(violations.len(), 1, "{}", told(&violations));
        violations[0].clone()
    }
}

fn reader(after: u64) -> Received {
    Received::from(UpdateChannel::Chat, after, Interest::Medium)
}

#[test]
fn chat_in_one_order_passes() {
    let chat = ChatFixture::new();
    let quiet = Received::from(UpdateChannel::Chat, 0, Interest::None).ended();
    let readers = [reader(0).updates(&chat.messages).ended(), reader(6).some(&chat.messages, 7..=10).ended(), quiet];
    assert_eq!(chat.check(readers).unwrap().published, 8);
    let filter = pb::delivery::Item::Filter(filter(UpdateChannel::Chat, Interest::None));
    chat.check([reader(0).some(&chat.messages, 1..=5).item(filter).ended()]).unwrap();
}

#[test]
fn cumulative_acknowledgement_names_the_last_message() {
    let mut chat = ChatFixture::new();
    chat.ack(4, 2, 9);
    assert_eq!(chat.check([reader(0).updates(&chat.messages).ended()]).unwrap().published, 10);
    let mut chat = ChatFixture::new();
    chat.ack(4, 2, 5);
    let early = chat.check([reader(0).updates(&chat.messages)]).unwrap_err();
    assert!(matches!(early[0], Violation::Altered { .. } | Violation::NotSent { .. }), "{}", told(&early));
}

#[test]
fn missing_message_is_found() {
    let chat = ChatFixture::new();
    for holes in [[1, 2, 4, 5], [1, 2, 3, 5]] {
        let hole = chat.fails(reader(0).some(&chat.messages, holes));
        assert!(matches!(hole, Violation::Missing { lane: Lane::CHAT, count: 1, .. }), "{hole}");
    }
    let tail = chat.fails(reader(0).some(&chat.messages, 1..=8).ended());
    assert!(matches!(tail, Violation::Missing { count: 2, .. }), "{tail}");
}

#[test]
fn a_gap_covers_messages_too() {
    let chat = ChatFixture::new();
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
        let told = reader(0).some(&chat.messages, 1..=2).item(pb::delivery::Item::Gap(gap));
        told.some(&chat.messages, 7..=10).ended()
    };
    chat.check([told(4)]).unwrap();
    assert!(matches!(chat.fails(told(5)), Violation::Count { lost: 4, .. }));
}

#[test]
fn a_message_comes_once_and_in_order() {
    let chat = ChatFixture::new();
    let twice = chat.fails(reader(0).some(&chat.messages, [1, 2, 2, 3]));
    assert!(matches!(twice, Violation::Order { lane: Lane::CHAT, .. }), "{twice}");
    // The same message under two numbers.
    let mut chat = ChatFixture::new();
    chat.messages[8].payload = chat.messages[4].payload.clone();
    let again = chat.check([reader(0).updates(&chat.messages)]).unwrap_err();
    assert!(again.contains(&Violation::NotSent { author: 4, sequence: 9 }), "{again:?}");
    // Two messages of one author in the wrong order.
    let mut chat = ChatFixture::new();
    let (first, second) = (chat.messages[4].payload.clone(), chat.messages[8].payload.clone());
    (chat.messages[4].payload, chat.messages[8].payload) = (second, first);
    let swapped = chat.check([reader(0).updates(&chat.messages)]).unwrap_err();
    assert!(swapped.iter().any(|violation| matches!(violation, Violation::NotSent { author: 4, .. })), "{swapped:?}");
}

#[test]
fn message_of_another_author_is_found() {
    let mut chat = ChatFixture::new();
    chat.messages[4].author_node_id = 5;
    let stranger = chat.fails(reader(0).updates(&chat.messages));
    assert_eq!(stranger, Violation::NotSent { author: 5, sequence: 5 });
    let mut chat = ChatFixture::new();
    chat.messages[4].author_node_id = 2;
    assert_eq!(chat.fails(reader(0).updates(&chat.messages)), Violation::NotSent { author: 2, sequence: 5 });
    // An acknowledgement named somebody else.
    let mut chat = ChatFixture::new();
    chat.messages[6].author_node_id = 2;
    let stolen = chat.fails(reader(0).updates(&chat.messages));
    assert_eq!(stolen, Violation::Author { sequence: 7, one: 1, other: 2 });
}

#[test]
fn message_that_differs_between_readers_is_found() {
    let chat = ChatFixture::new();
    let mut other = chat.messages.clone();
    other[4].payload = "4: 3".into();
    let violations = chat.check([reader(0).updates(&chat.messages), reader(0).updates(&other)]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Altered { .. }]), "{}", told(&violations));
}

#[test]
fn unsent_message_is_found() {
    let chat = ChatFixture::new();
    for sequence in [11, u64::MAX] {
        let message = pb::Update { position: Some(ChatFixture::position(sequence)), ..chat.messages[9].clone() };
        let strange = chat.fails(reader(0).updates(&chat.messages).updates([&message]));
        assert!(matches!(strange, Violation::Unknown { .. }), "{strange}");
    }
    let mut chat = ChatFixture::new();
    chat.messages[4].payload = "never said".into();
    assert_eq!(chat.fails(reader(0).updates(&chat.messages)), Violation::NotSent { author: 4, sequence: 5 });
}

#[test]
fn number_beyond_what_was_sent_is_found() {
    let mut chat = ChatFixture::new();
    chat.say(1, 99);
    let violations = chat.check([]).unwrap_err();
    assert!(matches!(violations[..], [Violation::Numbering { counted: 11, .. }]), "{violations:?}");
}

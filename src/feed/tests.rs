use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use super::*;
use starling_core::event::Grant;
use starling_core::id::{NO_HOME, SessionId};
use starling_core::interest::{Interest, InterestChange};

mod channels;
mod chat;
mod demand;
mod ingest;
mod loss;
#[cfg(feature = "shuttle")]
mod model;
mod proofs;
mod publisher;
mod resume;
mod ring;
mod totals;
mod wake_schedule;

const SOURCE: u64 = 7;
/// The session of the source.
const SESSION: u64 = 70;
const MS: Micros = Micros::from_millis(1);
const SECOND: Micros = Micros::from_millis(1_000);
const HOUR: Micros = Micros::from_millis(3_600_000);

fn source() -> NodeId {
    NodeId::new(SOURCE).unwrap()
}

fn reader() -> NodeId {
    NodeId::new(99).unwrap()
}

/// A node for each set of interests: all subscriptions of one node have the same.
fn reader_with(levels: &[(Channel, Interest)]) -> NodeId {
    let number = levels.iter().fold(0, |number, (channel, level)| number * 25 + *channel as u64 * 5 + *level as u64);
    NodeId::new(100 + number).unwrap()
}

fn shape(ring_bytes: usize) -> Settings {
    Settings { ring_bytes, shared_chat: true, limits: LIMITS }
}

const LIMITS: Limits = Limits { max_age: HOUR, keyframe_interval: None, max_lag: HOUR, bandwidth: None };

fn limited(limits: Limits) -> Settings {
    Settings { limits, ..shape(1 << 20) }
}

/// A feed, and a clock that stands still unless it is told to go on.
struct FeedFixture {
    feed: Arc<Feed>,
    now: Micros,
}

impl FeedFixture {
    fn new(shape: Settings) -> Self {
        let fixture = Self { feed: Feed::new(shape, Memory::new(1 << 30)), now: SECOND * 100 };
        for channel in [Channel::Visual, Channel::Audio, Channel::Screen, Channel::Data] {
            fixture.grant(channel, 3, Gate::Open);
        }
        fixture
    }

    fn grant(&self, channel: Channel, term: u64, gate: Gate) {
        self.grant_to(SESSION, channel, term, gate);
    }

    fn grant_to(&self, session: u64, channel: Channel, term: u64, gate: Gate) {
        let grant =
            Grant { source: source(), channel, term, session: SessionId::new(session), home: NO_HOME, gate, key: None };
        self.feed.enforce(&[grant], &[], false);
    }

    fn publish(&self, term: u64, draft: Draft) -> Result<Accepted, AppendError> {
        self.feed.publish(source(), term, draft, self.now).map_err(|rejected| rejected.refusal)
    }

    /// Publishes; answers the sequence.
    fn put(&self, channel: Channel, term: u64, draft: Draft) -> u64 {
        self.feed.publish(source(), term, Draft { channel, ..draft }, self.now).unwrap().position.sequence
    }

    fn visual(&self, keyframe: bool) -> u64 {
        self.put(Channel::Visual, 3, draft(keyframe, 0))
    }

    fn open(&self, levels: &[(Channel, Interest)], start: Start) -> (Reader, Greeting) {
        self.open_as(levels, start, None)
    }

    fn open_as(&self, levels: &[(Channel, Interest)], start: Start, resume: Option<Resume>) -> (Reader, Greeting) {
        let selection = Selection::new(reader_with(levels), levels.iter().map(|(c, _)| *c).collect(), Vec::new());
        let opening = Opening { expected: vec![source()], start, resume };
        let waker = Waker::noop().clone();
        let mut cursor = Cursor::enter(&self.feed, selection, interests(levels), waker, self.now).unwrap();
        let greeting = cursor.begin(opening, self.now);
        (Reader(cursor), greeting)
    }

    /// A reader of VISUAL at HIGH.
    fn viewer(&self, start: Start) -> Reader {
        self.open(&[(Channel::Visual, Interest::High)], start).0
    }

    fn resumed(&self, channel: Channel, at: TermSeq) -> Reader {
        let position = Position { source: Some(source()), channel, term: at.0, sequence: at.1 };
        let resume = Resume { same_epoch: true, positions: vec![position], open_gaps: Vec::new() };
        self.open_as(&[(channel, Interest::High)], Start::Keyframe, Some(resume)).0
    }
}

fn interests(levels: &[(Channel, Interest)]) -> Interests {
    let mut interests = Interests::default();
    for (channel, level) in levels {
        interests.set(&[InterestChange { channel: *channel, source: None, level: *level, ttl_ms: None }], 0);
    }
    interests
}

fn draft(keyframe: bool, publisher_sequence: u64) -> Draft {
    Draft {
        channel: Channel::Visual,
        payload: Bytes::from(vec![1; 100]),
        keyframe,
        urgent: false,
        temporal_layer: 0,
        publisher_sequence,
        publish_time: None,
        accept_time: Timestamp { seconds: 1, nanos: 2 },
        proof: None,
    }
}

/// A message to the CHAT, by a node whose session has its number.
fn message(author: u64, publisher_sequence: u64) -> Message {
    let (author, session) = (NodeId::new(author).unwrap(), SessionId::new(author).unwrap());
    Message { author, session, muted: false, draft: draft(false, publisher_sequence) }
}

/// What a read brought, short enough to compare.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Got {
    /// Channel, term, sequence.
    Update(Channel, u64, u64),
    /// After, before, why, how many.
    Lost(Option<TermSeq>, Option<TermSeq>, GapReason, Option<u64>),
    Filter(Channel, Interest),
}

struct Reader(Cursor);

impl Reader {
    /// Sets the interests of its node.
    fn set_interests(&self, fixture: &FeedFixture, levels: &[(Channel, Interest)]) {
        assert_eq!(fixture.feed.set_interests(self.0.selection().node, &interests(levels)).len(), 1);
    }

    fn read(&mut self, fixture: &FeedFixture) -> Vec<Got> {
        let batches = std::iter::repeat_with(|| self.0.read(fixture.now));
        batches
            .take_while(|deliveries| !deliveries.is_empty())
            .flatten()
            .map(|delivery| match delivery {
                Delivery::Update(update) => position_of(update.delivery()),
                Delivery::Gap(Gap { after, before, reason, count, .. }) => Got::Lost(after, before, reason, count),
                Delivery::Filter(FilterChange { lane: (_, channel), interest, .. }) => Got::Filter(channel, interest),
            })
            .collect()
    }

    /// Sequences of the updates; anything else fails.
    fn sequences(&mut self, fixture: &FeedFixture) -> Vec<u64> {
        let got = self.read(fixture).into_iter();
        got.map(|got| match got {
            Got::Update(_, _, sequence) => sequence,
            other => panic!("{other:?}"),
        })
        .collect()
    }
}

/// The position in an encoded delivery, the first field of the first field of it. The
/// whole is decoded by the generated code in the tests of the edge.
fn position_of(delivery: &[u8]) -> Got {
    let (mut at, mut fields) = (0, [0; 5]);
    let mut varint = || {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = delivery[at];
            at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return (value, at);
            }
        }
    };
    assert_eq!(varint().0, 0x0a, "update");
    varint();
    assert_eq!(varint().0, 0x0a, "position");
    let (length, start) = varint();
    let mut end = start;
    while end < start + usize::try_from(length).unwrap() {
        let tag = usize::try_from(varint().0 >> 3).unwrap();
        (fields[tag], end) = varint();
    }
    let [_, _, channel, term, sequence] = fields;
    Got::Update(Channel::ALL[usize::try_from(channel).unwrap() - 1], term, sequence)
}

#[test]
fn sequences_start_at_one_in_each_term() {
    let fixture = FeedFixture::new(shape(1 << 20));
    assert_eq!([fixture.visual(true), fixture.visual(false)], [1, 2]);
    fixture.grant(Channel::Visual, 9, Gate::Open);
    assert_eq!(fixture.put(Channel::Visual, 9, draft(true, 0)), 1);
}

#[test]
fn superseded_grant_admits_nothing() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    fixture.grant(Channel::Visual, 4, Gate::Open);
    assert_eq!(fixture.publish(3, draft(true, 0)), Err(AppendError::StaleTerm));
    fixture.grant(Channel::Visual, 0, Gate::Off);
    assert_eq!(fixture.publish(4, draft(true, 0)), Err(AppendError::StaleTerm));
}

#[test]
fn closing_a_feed_ends_its_grants_atomically() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (channel, gate) = (Channel::Visual, Gate::NotActive);
    let grant = Grant { source: source(), channel, term: 0, session: None, home: NO_HOME, gate, key: None };
    fixture.feed.enforce(&[grant], &[], true);
    assert!(fixture.feed.is_closed());
    assert_eq!(fixture.publish(3, draft(true, 0)), Err(AppendError::StaleTerm));
}

#[test]
fn closed_channel_gives_reason_and_keeps_sequence() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    for gate in [Gate::Paused, Gate::NotActive, Gate::Off] {
        fixture.grant(Channel::Visual, 3, gate);
        assert_eq!(fixture.publish(3, draft(true, 0)), Err(AppendError::Closed(gate)));
    }
    fixture.grant(Channel::Visual, 3, Gate::Open);
    assert_eq!(fixture.visual(false), 2);
}

#[test]
fn read_returns_one_segment_or_one_larger_update() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let large = |keyframe| Draft { payload: Bytes::from(vec![1; 20_000]), ..draft(keyframe, 0) };
    for number in 0..8 {
        fixture.put(Channel::Visual, 3, large(number == 0));
    }
    fixture.put(Channel::Visual, 3, Draft { payload: Bytes::from(vec![1; 100_000]), ..draft(false, 0) });
    let Reader(mut cursor) = fixture.viewer(Start::Keyframe);
    let mut lengths = || cursor.read(fixture.now).len();
    assert_eq!([lengths(), lengths(), lengths(), lengths(), lengths()], [3, 3, 2, 1, 0]);
}

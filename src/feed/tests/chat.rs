//! Messages whose order is the core's.

use super::*;
use starling_core::chat::AcceptedMessage;
use starling_core::command::{By, CreateLivestream, Join};
use starling_core::config::LivestreamConfig;
use starling_core::hash::splitmix64;
use starling_core::{Applied, Command, Epoch, LivestreamCommand, SharedCommand, Swarm};

fn accepted(author: u64, sequence: u64, draft: &Draft) -> AcceptedMessage {
    let (author, content) = (NodeId::new(author).unwrap(), draft.chat_content());
    AcceptedMessage { author, sequence, publisher_sequence: draft.publisher_sequence, content }
}

fn chat_draft(publisher_sequence: u64) -> Draft {
    Draft { channel: Channel::Chat, ..draft(false, publisher_sequence) }
}

#[test]
fn content_says_all_that_a_message_says() {
    let times = [None, Some(Timestamp { seconds: -3, nanos: 999_999_999 }), Some(Timestamp::default())];
    for (at, publish_time) in times.into_iter().enumerate() {
        let (keyframe, urgent) = (at == 0, at == 1);
        let payload = Bytes::from(vec![7; at * 50]);
        let given = Draft { keyframe, urgent, temporal_layer: 300, publish_time, payload, ..chat_draft(9) };
        let content = given.chat_content();
        let back = Draft::of_chat_content(content.clone(), 9, 1_800_000_000_123).unwrap();
        let accept_time = Timestamp { seconds: 1_800_000_000, nanos: 123_000_000 };
        assert_eq!(format!("{back:?}"), format!("{:?}", Draft { accept_time, ..given }));
        for end in 0..content.len() - at * 50 {
            assert_eq!(Draft::of_chat_content(content[..end].into(), 9, 0).unwrap_err(), OtherContent, "cut at {end}");
        }
    }
    for content in [&[8, 0][..], &[0, 0x80, 0x80, 0x80, 0x80, 0x10], &[0, 0x80, 0]] {
        assert_eq!(Draft::of_chat_content(content.into(), 9, 0).unwrap_err(), OtherContent, "{content:?}");
    }
}

#[test]
fn message_stands_where_the_core_says() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.feed.advance_chat(40);
    let (mut reader, greeting) = fixture.open(&[(Channel::Chat, Interest::Medium)], Start::Keyframe);
    assert_eq!(greeting.positions.iter().map(Position::point).collect::<Vec<_>>(), [(0, 40)]);
    for sequence in [41, 42] {
        assert!(fixture.feed.append_chat(accepted(5, sequence, &chat_draft(0)), 1, fixture.now));
    }
    assert!(fixture.feed.append_chat(accepted(5, 42, &chat_draft(0)), 1, fixture.now), "it is there already");
    assert_eq!((reader.sequences(&fixture), fixture.feed.chat_sequence()), (vec![41, 42], 42));
    let resume = |sequence| {
        let position = Position { source: None, channel: Channel::Chat, term: 0, sequence };
        let resume = Resume { same_epoch: true, positions: vec![position], open_gaps: Vec::new() };
        let (mut reader, _) = fixture.open_as(&[(Channel::Chat, Interest::Medium)], Start::Keyframe, Some(resume));
        reader.read(&fixture)
    };
    let update = |sequence| Got::Update(Channel::Chat, 0, sequence);
    assert_eq!(resume(41), [update(42)]);
    let lost = Got::Lost(Some((0, 30)), Some((0, 41)), GapReason::Evicted, None);
    assert_eq!(resume(30), [lost, update(41), update(42)], "what this pod never had");
}

#[test]
fn message_without_memory_is_a_gap() {
    let memory = Memory::new(40_000);
    let feed = Feed::new(shape(1 << 20), Arc::clone(&memory));
    let fixture = FeedFixture { feed, now: SECOND };
    let (mut reader, _) = fixture.open(&[(Channel::Chat, Interest::Medium)], Start::Keyframe);
    let put = |sequence, payload| {
        let draft = Draft { payload: Bytes::from(vec![1; payload]), ..chat_draft(0) };
        fixture.feed.append_chat(accepted(5, sequence, &draft), 1, SECOND)
    };
    assert!(put(1, 10));
    assert!(!put(2, 100_000) && !memory.has_room_for_message(100_000));
    assert!(put(3, 10));
    let other = AcceptedMessage { content: [0xff].into(), ..accepted(5, 4, &chat_draft(0)) };
    assert!(!fixture.feed.append_chat(other, 1, SECOND), "nor can what is no message be shown");
    let update = |sequence| Got::Update(Channel::Chat, 0, sequence);
    let lost = |after, before| Got::Lost(Some((0, after)), Some((0, before)), GapReason::Evicted, Some(1));
    assert_eq!((reader.read(&fixture), fixture.feed.chat_sequence()), (vec![update(1), lost(1, 3), update(3)], 4));
    assert!(put(5, 10));
    assert_eq!(reader.read(&fixture), [lost(3, 5), update(5)], "the next one tells");
}

/// A livestream under the commands of a log.
struct Logged(Option<Box<Swarm>>);

impl Logged {
    fn run(&mut self, command: impl Into<Command>, at: u64) -> Applied {
        starling_core::apply(&mut self.0, command.into(), at).unwrap().0
    }
}

/// The same messages to the feed of a single process, and through the core into the feed of a pod.
#[test]
fn core_and_feed_judge_messages_alike() {
    for seed in 0..20 {
        let mut bits = seed << 32;
        let mut draw = |below: u64| {
            bits += 1;
            splitmix64(bits) % below
        };
        let [mut alone, mut pod] = [0, 1].map(|_| FeedFixture::new(shape(64 << 20)));
        let levels = [(Channel::Chat, Interest::Medium)];
        let mut readers = [alone.open(&levels, Start::Keyframe).0, pod.open(&levels, Start::Keyframe).0];
        let node = |number| NodeId::new(number).unwrap();
        let by = |number| By { node: node(number), session: None, request: None };
        let (epoch, config) = (Epoch::new(1).unwrap(), LivestreamConfig::default());
        let (metadata, retention_ms) = (Box::default(), 1_000);
        let create = CreateLivestream { epoch, broadcaster: node(100), config, metadata, retention_ms };
        let (mut at, mut logged) = (1_000, Logged(None));
        logged.run(Command::CreateLivestream(create), at);
        let (mut sessions, mut muted, mut kinds) = ([0; 8], [false; 8], [0; 6]);
        for step in 1..1_200 {
            at += 1 + draw(20);
            (alone.now, pod.now) = (Micros::from_millis(at), Micros::from_millis(at));
            let who = usize::try_from(draw(8)).unwrap();
            let author = who as u64 + 1;
            if sessions[who] == 0 || draw(100) == 0 {
                sessions[who] = 1_000 + step;
                let session = SessionId::new(sessions[who]).unwrap();
                logged.run(SharedCommand::Join(Join::bare(node(author), session, u32::MAX)), at);
            } else if draw(100) == 0 {
                logged.run(SharedCommand::Leave(by(author)), at);
                alone.feed.members_left(&[node(author)]);
                sessions[who] = 0;
                continue;
            } else if draw(40) == 0 {
                muted[who] = draw(4) == 0;
                let command = if muted[who] { LivestreamCommand::Mute } else { LivestreamCommand::Unmute };
                logged.run(command(by(100), node(author)), at);
            }
            let given = if draw(3) > 0 { 0 } else { 1 + draw(step / 4 + 4) };
            let accept_time = Timestamp {
                seconds: i64::try_from(at / 1_000).unwrap(),
                nanos: i32::try_from(at % 1_000 * 1_000_000).unwrap(),
            };
            let draft = Draft { accept_time, ..chat_draft(given) };
            let session = SessionId::new(sessions[who]).unwrap();
            let message = Message { author: node(author), session, muted: muted[who], draft: draft.clone() };
            let expected = alone.feed.chat(message, alone.now, true);
            let content = draft.chat_content();
            let chat = LivestreamCommand::Chat { by: by(author), publisher_sequence: given, content };
            let applied = logged.run(chat, at);
            assert_eq!(Accepted::of_chat(applied.chat.unwrap()), expected, "seed {seed}, step {step}");
            if let Some(message) = applied.message {
                assert!(pod.feed.append_chat(*message, at, pod.now));
            }
            kinds[match expected {
                Ok(Accepted { duplicate, .. }) => usize::from(duplicate),
                Err(Rejected { refusal: AppendError::Muted, .. }) => 2,
                Err(Rejected { refusal: AppendError::Quota, .. }) => 3,
                Err(Rejected { refusal: AppendError::OutOfOrder, .. }) => 4,
                Err(other) => panic!("{other}"),
            }] += 1;
            let known = alone.feed.publisher(node(author), Some(session), Channel::Chat);
            let swarm = logged.0.as_deref().unwrap();
            let starling_core::Rules::Livestream(livestream) = swarm.rules() else { panic!("it is a livestream") };
            let numbers = &livestream.chat_author(node(author)).unwrap().numbers;
            assert_eq!(PublisherState::of(Some(numbers), Some(session)), known);
        }
        assert!(kinds[..5].iter().all(|count| *count > 3), "seed {seed}: {kinds:?}");
        let [alone, pod] = [readers[0].0.read(alone.now), readers[1].0.read(pod.now)];
        assert!(!alone.is_empty() && format!("{alone:?}") == format!("{pod:?}"), "seed {seed}: the same is read");
    }
}

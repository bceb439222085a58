use super::*;

#[test]
fn a_late_joiner_starts_on_the_newest_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    for keyframe in [true, false, false, true, false] {
        fixture.visual(keyframe);
    }
    let (mut reader, greeting) = fixture.open(&[(Channel::Visual, Interest::High)], Start::Keyframe);
    assert_eq!(greeting.positions.iter().map(|position| position.sequence).collect::<Vec<_>>(), [3]);
    assert!(greeting.waiting.is_empty());
    assert_eq!(reader.sequences(&fixture), [4, 5]);
}

#[test]
fn live_start_waits_for_a_requested_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let (mut reader, greeting) = fixture.open(&[(Channel::Visual, Interest::High)], Start::Live);
    assert_eq!(greeting.waiting, [(Some(source()), Channel::Visual)]);
    let channels = [Channel::Visual].into_iter().collect();
    assert_eq!(fixture.feed.keyframes_due(source(), 3, channels, fixture.now).0, [Channel::Visual]);
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), []);
    fixture.visual(true);
    fixture.visual(false);
    assert_eq!(reader.sequences(&fixture), [3, 4]);
    assert_eq!(fixture.feed.keyframes_due(source(), 3, channels, fixture.now + SECOND * 60).0, []);
}

#[test]
fn newest_run_is_kept_beyond_the_ring() {
    let fixture = FeedFixture::new(shape(20_000));
    fixture.visual(true);
    fixture.visual(false);
    for _ in 0..200 {
        fixture.put(Channel::Data, 3, draft(false, 0));
    }
    assert!(fixture.feed.ring_bytes() <= 20_000);
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [1, 2]);
    fixture.visual(true);
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [3], "and let go when a newer one begins");
}

#[test]
fn the_newest_data_keyframe_is_kept() {
    let fixture = FeedFixture::new(shape(20_000));
    fixture.put(Channel::Data, 3, draft(true, 0));
    for _ in 0..200 {
        fixture.visual(false);
    }
    fixture.put(Channel::Data, 3, draft(false, 0));
    let (mut reader, _) = fixture.open(&[(Channel::Data, Interest::High)], Start::Keyframe);
    assert_eq!(reader.sequences(&fixture), [1, 2]);
}

#[test]
fn run_over_half_the_ring_requests_a_keyframe() {
    let fixture = FeedFixture::new(shape(20_000));
    let channels = [Channel::Visual].into_iter().collect();
    fixture.visual(true);
    assert_eq!(fixture.feed.keyframes_due(source(), 3, channels, fixture.now).0, []);
    for _ in 0..40 {
        fixture.visual(false);
    }
    assert_eq!(fixture.feed.keyframes_due(source(), 3, channels, fixture.now).0, [Channel::Visual]);
    let (mut reader, greeting) = fixture.open(&[(Channel::Visual, Interest::High)], Start::Keyframe);
    assert_eq!(greeting.waiting.len(), 1);
    assert_eq!(reader.read(&fixture), []);
}

#[test]
fn records_age_but_the_newest_run_does_not() {
    let mut fixture = FeedFixture::new(limited(Limits { max_age: SECOND * 10, ..LIMITS }));
    fixture.visual(true);
    fixture.visual(true);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    let before = fixture.feed.ring_bytes();
    fixture.now += SECOND * 11;
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [2]);
    assert!(fixture.feed.ring_bytes() < before / 2);
}

#[test]
fn chat_is_limited_to_an_eighth_of_ring() {
    let mut fixture = FeedFixture::new(shape(48_000));
    for _ in 0..50 {
        fixture.visual(true);
    }
    let (mut reader, _) = fixture.open(&[(Channel::Chat, Interest::High)], Start::Keyframe);
    let held = fixture.feed.ring_bytes();
    for _ in 0..40 {
        fixture.now += SECOND;
        fixture.feed.chat(message(5, 0), fixture.now, true).unwrap();
    }
    let got = reader.read(&fixture);
    assert!(
        matches!(got[0], Got::Lost(Some((0, 0)) | None, Some((0, _)), GapReason::Evicted, Some(_))),
        "{:?}",
        got[0]
    );
    assert!(got.len() > 5 && got.len() * 350 < 7_000, "{}", got.len());
    assert!(fixture.feed.ring_bytes() <= held + 8_000);
}

#[test]
fn shared_memory_is_taken_from_unread_feeds() {
    let memory = Memory::new(60_000);
    let feeds: Vec<_> = (0..3).map(|_| Feed::new(shape(1 << 20), Arc::clone(&memory))).collect();
    let stages: Vec<_> = feeds.iter().map(|feed| FeedFixture { feed: Arc::clone(feed), now: SECOND }).collect();
    for fixture in &stages {
        fixture.grant(Channel::Visual, 3, Gate::Open);
    }
    let put = |fixture: &FeedFixture, keyframe| fixture.feed.publish(source(), 3, draft(keyframe, 0), fixture.now);
    let _reader = stages[1].viewer(Start::Keyframe);
    for number in 0..30 {
        put(&stages[0], number == 29).unwrap();
        put(&stages[1], true).unwrap();
    }
    // The first is full of what nobody reads: it shrinks to its newest run.
    while stages[0].feed.ring_bytes() > 600 {
        put(&stages[2], true).unwrap();
    }
    assert_eq!(stages[0].viewer(Start::Keyframe).sequences(&stages[0]), [30]);
    // Then whoever holds more than a third gives way to those who hold less, also if it is read.
    let _third = stages[2].viewer(Start::Keyframe);
    while memory.used() < 59_000 {
        put(&stages[1], true).unwrap();
    }
    assert!(stages.iter().any(|fixture| fixture.feed.ring_bytes() > 20_000));
    for _ in 0..40 {
        put(&stages[0], true).unwrap();
        assert!(memory.used() <= 60_000);
    }
    drop((_reader, _third));
    drop((stages, feeds));
    assert_eq!(memory.used(), 0);
}

#[test]
fn neither_reader_nor_update_enters_a_full_memory() {
    let memory = Memory::new(40_000);
    let feed = Feed::new(shape(1 << 20), Arc::clone(&memory));
    let fixture = FeedFixture { feed, now: SECOND };
    assert!(fixture.feed.has_room_for_readers(SECOND));
    fixture.grant(Channel::Visual, 3, Gate::Open);
    // Lanes cannot be let go of: each member that may publish has some.
    for node in 100..300 {
        let source = NodeId::new(node).unwrap();
        let grant = Grant {
            source,
            channel: Channel::Visual,
            term: 1,
            session: SessionId::new(1),
            home: NO_HOME,
            gate: Gate::Open,
            key: None,
        };
        fixture.feed.enforce(&[grant], &[], false);
    }
    assert!(memory.used() > 40_000, "{}", memory.used());
    assert!(!fixture.feed.has_room_for_readers(SECOND));
    assert_eq!(fixture.publish(3, draft(true, 0)), Err(AppendError::Memory));
    let chat = fixture.feed.chat(message(5, 3), SECOND, true).unwrap_err();
    assert_eq!(chat, Rejected { publisher_sequence: 3, refusal: AppendError::Memory });
    let known = fixture.feed.publisher(NodeId::new(5).unwrap(), None, Channel::Chat);
    assert_eq!(known, PublisherState::default(), "nor is an author noted");
}

#[test]
fn read_passes_over_a_bounded_number_of_records() {
    let fixture = FeedFixture::new(shape(16 << 20));
    let (mut reader, _) = fixture.open(&[(Channel::Visual, Interest::Low)], Start::Keyframe);
    fixture.visual(true);
    (0..10_000).for_each(|_| assert!(fixture.visual(false) > 0));
    let mut look = || (reader.0.read(fixture.now).len(), reader.0.is_behind());
    // The rest of the segment that the keyframe is in; then 4 096 at most under one lock.
    assert_eq!([look(), look(), look(), look()], [(1, true), (0, true), (0, true), (0, false)]);
    assert!(reader.0.park());
    fixture.visual(true);
    assert_eq!(reader.sequences(&fixture), [10_002]);
}

#[test]
fn old_records_go_without_publisher_or_reader() {
    let (memory, limits) = (Memory::new(1 << 30), Limits { max_age: SECOND * 10, ..LIMITS });
    let put = |feed: &Arc<Feed>, records: usize| {
        let fixture = FeedFixture { feed: Arc::clone(feed), now: SECOND };
        fixture.grant(Channel::Visual, 3, Gate::Open);
        for number in 0..records {
            fixture.visual(number + 2 == records);
        }
    };
    let feeds: Vec<_> = (0..4).map(|_| Feed::new(limited(limits), Arc::clone(&memory))).collect();
    feeds.iter().for_each(|feed| put(feed, 2_000));
    let (peak, lanes) = (memory.used(), 4 * 4_000);
    let round = |now| (0..memory.enrolled()).for_each(|_| while !memory.age_next(now) {});
    round(SECOND * 10);
    assert_eq!((memory.used(), memory.enrolled()), (peak, 4), "nothing is too old yet");
    round(SECOND * 12);
    assert!(memory.used() < lanes + 4 * 2 * 500, "of each feed its newest run is left: {}", memory.used());
    assert!(feeds.iter().all(|feed| feed.has_start(source(), Channel::Visual)));
    let left = memory.used();
    round(SECOND * 60);
    assert_eq!((memory.used(), memory.enrolled()), (left, 4), "which stays, whatever its age");
    feeds[0].enforce(&[], &[source()], true);
    round(SECOND * 60);
    round(SECOND * 60);
    assert_eq!(memory.enrolled(), 3, "until its source is gone");
    drop(feeds);
    round(SECOND * 60);
    assert_eq!((memory.used(), memory.enrolled()), (0, 0), "nor is a feed known that is gone");
}

#[test]
fn sound_is_not_kept_beyond_the_ring() {
    let mut fixture = FeedFixture::new(limited(Limits { max_age: SECOND * 10, ..LIMITS }));
    fixture.put(Channel::Audio, 3, draft(true, 0));
    fixture.put(Channel::Data, 3, draft(true, 0));
    fixture.now += SECOND * 11;
    fixture.visual(false);
    assert!(!fixture.feed.has_start(source(), Channel::Audio));
    assert!(fixture.feed.has_start(source(), Channel::Data));
    assert!(fixture.feed.ring_bytes() < 1_200, "two records, and not the sound: {}", fixture.feed.ring_bytes());
}

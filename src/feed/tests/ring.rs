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
    let fixture = FeedFixture::new(shape(8_000));
    fixture.visual(true);
    fixture.visual(false);
    for _ in 0..200 {
        fixture.put(Channel::Data, 3, draft(false, 0));
    }
    assert!(fixture.feed.bytes() <= 8_000);
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [1, 2]);
    fixture.visual(true);
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [3], "and let go when a newer one begins");
}

#[test]
fn the_newest_data_keyframe_is_kept() {
    let fixture = FeedFixture::new(shape(8_000));
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
    let fixture = FeedFixture::new(shape(8_000));
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
    let before = fixture.feed.bytes();
    fixture.now += SECOND * 11;
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [2]);
    assert!(fixture.feed.bytes() < before / 2);
}

#[test]
fn chat_is_limited_to_an_eighth_of_ring() {
    let mut fixture = FeedFixture::new(shape(16_000));
    for _ in 0..50 {
        fixture.visual(true);
    }
    let (mut reader, _) = fixture.open(&[(Channel::Chat, Interest::High)], Start::Keyframe);
    let held = fixture.feed.bytes();
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
    assert!(got.len() > 5 && got.len() * 120 < 2_400, "{}", got.len());
    assert!(fixture.feed.bytes() <= held + 2_000);
}

#[test]
fn shared_memory_is_taken_from_unread_feeds() {
    let memory = Memory::new(10_000);
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
    while stages[0].feed.bytes() > 200 {
        put(&stages[2], true).unwrap();
    }
    assert_eq!(stages[0].viewer(Start::Keyframe).sequences(&stages[0]), [30]);
    let _third = stages[2].viewer(Start::Keyframe);
    let refusal = loop {
        if let Err(rejected) = put(&stages[1], true) {
            break rejected.refusal;
        }
    };
    assert_eq!(refusal, AppendError::Memory);
    assert!(memory.used() <= 10_000);
    drop((stages, feeds));
    drop((_reader, _third));
    assert_eq!(memory.used(), 0);
}

use super::*;

#[test]
fn a_late_joiner_starts_on_the_newest_keyframe() {
    let stage = Stage::new(shape(1 << 20));
    for keyframe in [true, false, false, true, false] {
        stage.visual(keyframe);
    }
    let (mut reader, greeting) = stage.open(&[(Channel::Visual, Interest::High)], Start::Keyframe);
    assert_eq!(greeting.positions.iter().map(|position| position.sequence).collect::<Vec<_>>(), [3]);
    assert!(greeting.waiting.is_empty());
    assert_eq!(reader.sequences(&stage), [4, 5]);
}

#[test]
fn a_live_start_waits_for_the_next_keyframe_which_is_asked_for() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let (mut reader, greeting) = stage.open(&[(Channel::Visual, Interest::High)], Start::Live);
    assert_eq!(greeting.waiting, [(Some(source()), Channel::Visual)]);
    let channels = [Channel::Visual].into_iter().collect();
    assert_eq!(stage.feed.keyframes_due(source(), 3, channels, stage.now).0, [Channel::Visual]);
    stage.visual(false);
    assert_eq!(reader.read(&stage), []);
    stage.visual(true);
    stage.visual(false);
    assert_eq!(reader.sequences(&stage), [3, 4]);
    assert_eq!(stage.feed.keyframes_due(source(), 3, channels, stage.now + 60 * SECOND).0, []);
}

#[test]
fn the_newest_run_is_kept_though_the_ring_has_moved_on() {
    let stage = Stage::new(shape(8_000));
    stage.visual(true);
    stage.visual(false);
    for _ in 0..200 {
        stage.put(Channel::Data, 3, draft(false, 0));
    }
    assert!(stage.feed.bytes() <= 8_000);
    assert_eq!(stage.viewer(Start::Keyframe).sequences(&stage), [1, 2]);
    stage.visual(true);
    assert_eq!(stage.viewer(Start::Keyframe).sequences(&stage), [3], "and let go when a newer one begins");
}

#[test]
fn the_newest_data_keyframe_is_kept() {
    let stage = Stage::new(shape(8_000));
    stage.put(Channel::Data, 3, draft(true, 0));
    for _ in 0..200 {
        stage.visual(false);
    }
    stage.put(Channel::Data, 3, draft(false, 0));
    let (mut reader, _) = stage.open(&[(Channel::Data, Interest::High)], Start::Keyframe);
    assert_eq!(reader.sequences(&stage), [1, 2]);
}

#[test]
fn a_run_longer_than_half_the_ring_is_no_place_to_start_and_another_keyframe_is_asked_for() {
    let stage = Stage::new(shape(8_000));
    let channels = [Channel::Visual].into_iter().collect();
    stage.visual(true);
    assert_eq!(stage.feed.keyframes_due(source(), 3, channels, stage.now).0, []);
    for _ in 0..40 {
        stage.visual(false);
    }
    assert_eq!(stage.feed.keyframes_due(source(), 3, channels, stage.now).0, [Channel::Visual]);
    let (mut reader, greeting) = stage.open(&[(Channel::Visual, Interest::High)], Start::Keyframe);
    assert_eq!(greeting.waiting.len(), 1);
    assert_eq!(reader.read(&stage), []);
}

#[test]
fn records_age_but_the_newest_run_does_not() {
    let mut stage = Stage::new(limited(Limits { max_age: 10 * SECOND, ..LIMITS }));
    stage.visual(true);
    stage.visual(true);
    stage.put(Channel::Audio, 3, draft(false, 0));
    let before = stage.feed.bytes();
    stage.now += 11 * SECOND;
    assert_eq!(stage.viewer(Start::Keyframe).sequences(&stage), [2]);
    assert!(stage.feed.bytes() < before / 2);
}

#[test]
fn chat_holds_an_eighth_of_the_ring_and_takes_nothing_from_others() {
    let mut stage = Stage::new(shape(16_000));
    for _ in 0..50 {
        stage.visual(true);
    }
    let (mut reader, _) = stage.open(&[(Channel::Chat, Interest::High)], Start::Keyframe);
    let held = stage.feed.bytes();
    for _ in 0..40 {
        stage.now += SECOND;
        stage.feed.chat(message(5, 0), stage.now, true).unwrap();
    }
    let got = reader.read(&stage);
    assert!(
        matches!(got[0], Got::Lost(Some((0, 0)) | None, Some((0, _)), GapReason::Evicted, Some(_))),
        "{:?}",
        got[0]
    );
    assert!(got.len() > 5 && got.len() * 120 < 2_400, "{}", got.len());
    assert!(stage.feed.bytes() <= held + 2_000);
}

#[test]
fn feeds_share_a_memory_and_those_that_nobody_reads_give_theirs_up() {
    let memory = Memory::new(10_000);
    let feeds: Vec<_> = (0..3).map(|_| Feed::new(shape(1 << 20), Arc::clone(&memory))).collect();
    let stages: Vec<_> = feeds.iter().map(|feed| Stage { feed: Arc::clone(feed), now: SECOND }).collect();
    for stage in &stages {
        stage.grant(Channel::Visual, 3, Gate::Open);
    }
    let put = |stage: &Stage, keyframe| stage.feed.publish(source(), 3, draft(keyframe, 0), stage.now);
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

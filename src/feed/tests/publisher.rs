//! Numbers of publishers, and runs that go on over a new term.

use super::*;
use GapReason::TermChanged;

const VISUAL: Channel = Channel::Visual;

fn update(term: u64, sequence: u64) -> Got {
    Got::Update(VISUAL, term, sequence)
}

/// A reader that has had a keyframe and a delta, numbers 1 and 2, of term 3.
fn watched() -> (Stage, Reader) {
    let stage = Stage::new(shape(1 << 20));
    stage.put(VISUAL, 3, draft(true, 1));
    stage.put(VISUAL, 3, draft(false, 2));
    let mut reader = stage.viewer(Start::Keyframe);
    assert_eq!(reader.sequences(&stage), [1, 2]);
    (stage, reader)
}

fn state(stage: &Stage) -> PublisherState {
    stage.feed.publisher(source(), SessionId::new(SESSION), VISUAL)
}

#[test]
fn a_repeat_is_dropped_and_acknowledged() {
    let stage = Stage::new(shape(1 << 20));
    stage.put(VISUAL, 3, draft(true, 4));
    stage.put(VISUAL, 3, draft(false, 5));
    for number in [5, 4] {
        let again = stage.publish(3, draft(true, number)).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.publisher_sequence, again.position.sequence), (5, 2));
    }
    assert_eq!(stage.publish(3, draft(true, 1)), Err(AppendError::OutOfOrder), "it was left out");
    assert_eq!(stage.viewer(Start::Keyframe).sequences(&stage), [1, 2]);
}

#[test]
fn what_was_rejected_is_refused_once_a_higher_number_was_accepted() {
    let stage = Stage::new(shape(1 << 20));
    stage.put(VISUAL, 3, draft(true, 1));
    stage.grant(VISUAL, 3, Gate::Paused);
    let paused = stage.feed.publish(source(), 3, draft(false, 2), stage.now).unwrap_err();
    assert_eq!(paused, Rejected { publisher_sequence: 2, refusal: AppendError::Closed(Gate::Paused) });
    assert!(stage.publish(3, draft(true, 1)).unwrap().duplicate, "also while it is paused");
    stage.grant(VISUAL, 3, Gate::Open);
    stage.put(VISUAL, 3, draft(false, 3));
    let late = stage.feed.publish(source(), 3, draft(false, 2), stage.now).unwrap_err();
    assert_eq!(late, Rejected { publisher_sequence: 2, refusal: AppendError::OutOfOrder });
}

#[test]
fn what_the_server_counts_is_never_a_repeat() {
    let stage = Stage::new(shape(1 << 20));
    stage.put(VISUAL, 3, draft(true, MAX_GIVEN));
    for expected in [MAX_GIVEN + 1, MAX_GIVEN + 2] {
        let accepted = stage.publish(3, draft(false, 0)).unwrap();
        assert_eq!((accepted.publisher_sequence, accepted.duplicate), (expected, false));
    }
    stage.grant(VISUAL, 3, Gate::Paused);
    let rejected = stage.feed.publish(source(), 3, draft(false, 0), stage.now).unwrap_err();
    assert_eq!(rejected.publisher_sequence, MAX_GIVEN + 3);
    stage.grant(VISUAL, 3, Gate::Open);
    assert_eq!(stage.publish(3, draft(false, 0)).unwrap().publisher_sequence, MAX_GIVEN + 4);
}

#[test]
fn numbers_outlive_the_term_and_end_with_the_session() {
    let (stage, _reader) = watched();
    stage.grant(VISUAL, 0, Gate::Off);
    stage.grant(VISUAL, 5, Gate::Open);
    assert_eq!(state(&stage), PublisherState { accepted: 2, previous: None, keyframe_wanted: false });
    assert!(stage.publish(5, draft(true, 2)).unwrap().duplicate);
    stage.grant_to(71, VISUAL, 6, Gate::Open);
    let previous = SessionId::new(SESSION).map(|session| (session, 2));
    let anew = stage.feed.publisher(source(), SessionId::new(71), VISUAL);
    assert_eq!(anew, PublisherState { accepted: 0, previous, keyframe_wanted: true });
    assert!(!stage.publish(6, draft(true, 1)).unwrap().duplicate);
}

#[test]
fn the_same_session_goes_on_with_its_run_in_a_new_term() {
    for channel in [VISUAL, Channel::Screen] {
        let stage = Stage::new(shape(1 << 20));
        stage.put(channel, 3, draft(true, 1));
        let (mut reader, _) = stage.open(&[(channel, Interest::High)], Start::Keyframe);
        assert_eq!(reader.sequences(&stage), [1]);
        stage.grant(channel, 4, Gate::Open);
        stage.put(channel, 4, draft(false, 2));
        stage.put(channel, 4, draft(false, 3));
        assert_eq!(reader.read(&stage), [Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]);
        let late = stage.open(&[(channel, Interest::High)], Start::Keyframe).0.read(&stage);
        assert_eq!(late, [Got::Update(channel, 3, 1), Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]);
        assert_eq!(
            stage.resumed(channel, (3, 1)).read(&stage),
            [Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]
        );
    }
}

#[test]
fn what_was_rejected_in_between_is_no_hole() {
    let (stage, mut reader) = watched();
    stage.grant(VISUAL, 3, Gate::Paused);
    stage.publish(3, draft(false, 3)).unwrap_err();
    stage.grant(VISUAL, 4, Gate::Open);
    stage.put(VISUAL, 4, draft(false, 4));
    assert_eq!(reader.read(&stage), [update(4, 1)]);
}

#[test]
fn another_publisher_starts_on_its_keyframe() {
    type Begin<'a> = &'a dyn Fn(&Stage) -> [u64; 3];
    let hole = |stage: &Stage| {
        stage.grant(VISUAL, 4, Gate::Open);
        [4, 5, 6]
    };
    let no_numbers = |stage: &Stage| {
        stage.grant(VISUAL, 4, Gate::Open);
        [0, 0, 0]
    };
    let another_session = |stage: &Stage| {
        stage.grant_to(71, VISUAL, 4, Gate::Open);
        [3, 4, 5]
    };
    let cases: [Begin<'_>; 3] = [&hole, &no_numbers, &another_session];
    for begin in cases {
        let (stage, mut reader) = watched();
        let [first, second, third] = begin(&stage);
        stage.put(VISUAL, 4, draft(false, first));
        assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
        stage.put(VISUAL, 4, draft(false, second));
        assert_eq!(reader.read(&stage), []);
        assert_eq!(stage.viewer(Start::Keyframe).read(&stage), [], "nobody starts in the middle");
        stage.put(VISUAL, 4, draft(true, third));
        let told = Got::Lost(Some((3, 2)), Some((4, 3)), TermChanged, Some(2));
        assert_eq!(reader.read(&stage), [told, update(4, 3)]);
    }
}

#[test]
fn a_keyframe_is_wanted_where_nothing_goes_on_or_somebody_waits() {
    let stage = Stage::new(shape(1 << 20));
    assert!(state(&stage).keyframe_wanted, "nothing was published");
    stage.put(VISUAL, 3, draft(true, 1));
    stage.grant(VISUAL, 4, Gate::Open);
    assert!(!state(&stage).keyframe_wanted);
    stage.feed.enforce(&[], &[source()], false);
    let _waiting = stage.viewer(Start::Keyframe);
    assert!(state(&stage).keyframe_wanted);
    let audio = stage.feed.publisher(source(), SessionId::new(SESSION), Channel::Audio);
    assert!(!audio.keyframe_wanted);
}

#[test]
fn a_resume_is_not_told_an_open_gap_again_but_its_end() {
    let (stage, mut reader) = watched();
    stage.grant_to(71, VISUAL, 4, Gate::Open);
    stage.put(VISUAL, 4, draft(false, 1));
    assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    let lane = (Some(source()), VISUAL);
    let open_gap = Gap { lane, after: Some((3, 2)), before: None, reason: TermChanged, count: None };
    let position = Position { source: Some(source()), channel: VISUAL, term: 3, sequence: 2 };
    let resume = |open_gaps| Resume { same_epoch: true, positions: vec![position], open_gaps };
    let open = |resume| stage.open_as(&[(VISUAL, Interest::High)], Start::Keyframe, Some(resume));
    let (mut silent, greeting) = open(resume(vec![open_gap]));
    assert_eq!(greeting.waiting, [lane]);
    assert_eq!(silent.read(&stage), []);
    let (mut told, _) = open(resume(Vec::new()));
    assert_eq!(told.read(&stage), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    stage.put(VISUAL, 4, draft(false, 2));
    stage.put(VISUAL, 4, draft(true, 3));
    let end = [Got::Lost(Some((3, 2)), Some((4, 3)), TermChanged, Some(2)), update(4, 3)];
    assert_eq!(silent.read(&stage), end);
    assert_eq!(told.read(&stage), end);
}

#[test]
fn an_open_gap_ends_with_the_feed() {
    let (stage, mut reader) = watched();
    stage.grant_to(71, VISUAL, 4, Gate::Open);
    stage.put(VISUAL, 4, draft(false, 1));
    stage.put(VISUAL, 4, draft(false, 2));
    assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    stage.feed.enforce(&[], &[], true);
    let told: Vec<_> = reader.0.finish();
    let [Delivery::Gap(gap)] = told[..] else { panic!("{told:?}") };
    assert_eq!((gap.after, gap.before, gap.count), (Some((3, 2)), Some((4, 3)), Some(2)));
    assert!(reader.0.finish().is_empty());
}

#[test]
fn who_skips_is_told_to_the_publisher() {
    let mut stage = Stage::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let channels = [VISUAL].into_iter().collect();
    let mut readers = [stage.viewer(Start::Keyframe), stage.viewer(Start::Keyframe)];
    for number in 0..20 {
        stage.visual(number == 0);
    }
    assert!(!stage.feed.has_skips(source(), channels));
    readers.iter_mut().for_each(|reader| drop(reader.read(&stage)));
    assert!(stage.feed.has_skips(source(), channels));
    let [(VISUAL, report)] = stage.feed.take_skips(source(), channels)[..] else { panic!("one report") };
    assert_eq!((report.reason, report.subscribers), (GapReason::Bandwidth, 2));
    assert_eq!(report.updates, stage.feed.counts().dropped[GapReason::Bandwidth as usize]);
    assert!(!stage.feed.has_skips(source(), channels));
    stage.now += SECOND;
    stage.visual(false);
    readers[0].read(&stage);
    let [(VISUAL, report)] = stage.feed.take_skips(source(), channels)[..] else { panic!("one report") };
    assert_eq!((report.subscribers, report.updates), (1, 1));
}

#[test]
fn chat_numbers_belong_to_the_session_of_their_author() {
    let stage = Stage::new(shape(1 << 20));
    let author = NodeId::new(5).unwrap();
    let chat = |session, muted, number| {
        let session = SessionId::new(session).unwrap();
        let outcome = stage.feed.chat(Message { author, session, muted, draft: draft(false, number) }, stage.now, true);
        outcome.map(|accepted| accepted.duplicate).map_err(|rejected| rejected.refusal)
    };
    assert_eq!(chat(1, false, 1), Ok(false));
    assert_eq!(chat(1, true, 2), Err(AppendError::Muted));
    assert_eq!(chat(1, true, 1), Ok(true), "a repeat says nothing new");
    assert_eq!(chat(1, false, 3), Ok(false));
    assert_eq!(chat(1, false, 2), Err(AppendError::OutOfOrder));
    stage.feed.members_left(&[author]);
    let anew = stage.feed.publisher(author, SessionId::new(2), Channel::Chat);
    assert_eq!((anew.accepted, anew.previous), (0, SessionId::new(1).map(|session| (session, 3))));
    assert_eq!(chat(2, false, 1), Ok(false));
}

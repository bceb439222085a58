//! Numbers of publishers, and runs that go on over a new term.

use super::*;
use GapReason::TermChanged;

const VISUAL: Channel = Channel::Visual;

fn update(term: u64, sequence: u64) -> Got {
    Got::Update(VISUAL, term, sequence)
}

/// A reader that has had a keyframe and a delta, numbers 1 and 2, of term 3.
fn watched() -> (FeedFixture, Reader) {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.put(VISUAL, 3, draft(true, 1));
    fixture.put(VISUAL, 3, draft(false, 2));
    let mut reader = fixture.viewer(Start::Keyframe);
    assert_eq!(reader.sequences(&fixture), [1, 2]);
    (fixture, reader)
}

fn state(fixture: &FeedFixture) -> PublisherState {
    fixture.feed.publisher(source(), SessionId::new(SESSION), VISUAL)
}

#[test]
fn a_repeat_is_dropped_and_acknowledged() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.put(VISUAL, 3, draft(true, 4));
    fixture.put(VISUAL, 3, draft(false, 5));
    for number in [5, 4] {
        let again = fixture.publish(3, draft(true, number)).unwrap();
        assert!(again.duplicate);
        assert_eq!((again.publisher_sequence, again.position.sequence), (5, 2));
    }
    assert_eq!(fixture.publish(3, draft(true, 1)), Err(AppendError::OutOfOrder), "it was left out");
    assert_eq!(fixture.viewer(Start::Keyframe).sequences(&fixture), [1, 2]);
}

#[test]
fn rejected_number_is_refused_after_a_higher_one() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.put(VISUAL, 3, draft(true, 1));
    fixture.grant(VISUAL, 3, Gate::Paused);
    let paused = fixture.feed.publish(source(), 3, draft(false, 2), fixture.now).unwrap_err();
    assert_eq!(paused, Rejected { publisher_sequence: 2, refusal: AppendError::Closed(Gate::Paused) });
    assert!(fixture.publish(3, draft(true, 1)).unwrap().duplicate, "also while it is paused");
    fixture.grant(VISUAL, 3, Gate::Open);
    fixture.put(VISUAL, 3, draft(false, 3));
    let late = fixture.feed.publish(source(), 3, draft(false, 2), fixture.now).unwrap_err();
    assert_eq!(late, Rejected { publisher_sequence: 2, refusal: AppendError::OutOfOrder });
}

#[test]
fn update_without_number_is_never_a_repeat() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.put(VISUAL, 3, draft(true, MAX_GIVEN));
    for expected in [MAX_GIVEN + 1, MAX_GIVEN + 2] {
        let accepted = fixture.publish(3, draft(false, 0)).unwrap();
        assert_eq!((accepted.publisher_sequence, accepted.duplicate), (expected, false));
    }
    fixture.grant(VISUAL, 3, Gate::Paused);
    let rejected = fixture.feed.publish(source(), 3, draft(false, 0), fixture.now).unwrap_err();
    assert_eq!(rejected.publisher_sequence, MAX_GIVEN + 3);
    fixture.grant(VISUAL, 3, Gate::Open);
    assert_eq!(fixture.publish(3, draft(false, 0)).unwrap().publisher_sequence, MAX_GIVEN + 4);
}

#[test]
fn numbers_outlive_terms_and_end_with_session() {
    let (fixture, _reader) = watched();
    fixture.grant(VISUAL, 0, Gate::Off);
    fixture.grant(VISUAL, 5, Gate::Open);
    assert_eq!(state(&fixture), PublisherState { accepted: 2, previous: None, keyframe_wanted: false });
    assert!(fixture.publish(5, draft(true, 2)).unwrap().duplicate);
    fixture.grant_to(71, VISUAL, 6, Gate::Open);
    let previous = SessionId::new(SESSION).map(|session| (session, 2));
    let anew = fixture.feed.publisher(source(), SessionId::new(71), VISUAL);
    assert_eq!(anew, PublisherState { accepted: 0, previous, keyframe_wanted: true });
    assert!(!fixture.publish(6, draft(true, 1)).unwrap().duplicate);
}

#[test]
fn same_session_continues_its_run_in_new_term() {
    for channel in [VISUAL, Channel::Screen] {
        let fixture = FeedFixture::new(shape(1 << 20));
        fixture.put(channel, 3, draft(true, 1));
        let (mut reader, _) = fixture.open(&[(channel, Interest::High)], Start::Keyframe);
        assert_eq!(reader.sequences(&fixture), [1]);
        fixture.grant(channel, 4, Gate::Open);
        fixture.put(channel, 4, draft(false, 2));
        fixture.put(channel, 4, draft(false, 3));
        assert_eq!(reader.read(&fixture), [Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]);
        let late = fixture.open(&[(channel, Interest::High)], Start::Keyframe).0.read(&fixture);
        assert_eq!(late, [Got::Update(channel, 3, 1), Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]);
        assert_eq!(
            fixture.resumed(channel, (3, 1)).read(&fixture),
            [Got::Update(channel, 4, 1), Got::Update(channel, 4, 2)]
        );
    }
}

#[test]
fn rejected_update_does_not_break_a_run() {
    let (fixture, mut reader) = watched();
    fixture.grant(VISUAL, 3, Gate::Paused);
    fixture.publish(3, draft(false, 3)).unwrap_err();
    fixture.grant(VISUAL, 4, Gate::Open);
    fixture.put(VISUAL, 4, draft(false, 4));
    assert_eq!(reader.read(&fixture), [update(4, 1)]);
}

#[test]
fn another_publisher_starts_on_its_keyframe() {
    type Begin<'a> = &'a dyn Fn(&FeedFixture) -> [u64; 3];
    let hole = |fixture: &FeedFixture| {
        fixture.grant(VISUAL, 4, Gate::Open);
        [4, 5, 6]
    };
    let no_numbers = |fixture: &FeedFixture| {
        fixture.grant(VISUAL, 4, Gate::Open);
        [0, 0, 0]
    };
    let another_session = |fixture: &FeedFixture| {
        fixture.grant_to(71, VISUAL, 4, Gate::Open);
        [3, 4, 5]
    };
    let cases: [Begin<'_>; 3] = [&hole, &no_numbers, &another_session];
    for begin in cases {
        let (fixture, mut reader) = watched();
        let [first, second, third] = begin(&fixture);
        fixture.put(VISUAL, 4, draft(false, first));
        assert_eq!(reader.read(&fixture), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
        fixture.put(VISUAL, 4, draft(false, second));
        assert_eq!(reader.read(&fixture), []);
        assert_eq!(fixture.viewer(Start::Keyframe).read(&fixture), [], "nobody starts in the middle");
        fixture.put(VISUAL, 4, draft(true, third));
        let told = Got::Lost(Some((3, 2)), Some((4, 3)), TermChanged, Some(2));
        assert_eq!(reader.read(&fixture), [told, update(4, 3)]);
    }
}

#[test]
fn keyframe_is_wanted_without_run_or_with_waiter() {
    let fixture = FeedFixture::new(shape(1 << 20));
    assert!(state(&fixture).keyframe_wanted, "nothing was published");
    fixture.put(VISUAL, 3, draft(true, 1));
    fixture.grant(VISUAL, 4, Gate::Open);
    assert!(!state(&fixture).keyframe_wanted);
    fixture.feed.enforce(&[], &[source()], false);
    let _waiting = fixture.viewer(Start::Keyframe);
    assert!(state(&fixture).keyframe_wanted);
    let audio = fixture.feed.publisher(source(), SessionId::new(SESSION), Channel::Audio);
    assert!(!audio.keyframe_wanted);
}

#[test]
fn resume_reports_only_the_open_gaps_end() {
    let (fixture, mut reader) = watched();
    fixture.grant_to(71, VISUAL, 4, Gate::Open);
    fixture.put(VISUAL, 4, draft(false, 1));
    assert_eq!(reader.read(&fixture), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    let lane = (Some(source()), VISUAL);
    let open_gap = Gap { lane, after: Some((3, 2)), before: None, reason: TermChanged, count: None };
    let position = Position { source: Some(source()), channel: VISUAL, term: 3, sequence: 2 };
    let resume = |open_gaps| Resume { same_epoch: true, positions: vec![position], open_gaps };
    let open = |resume| fixture.open_as(&[(VISUAL, Interest::High)], Start::Keyframe, Some(resume));
    let (mut silent, greeting) = open(resume(vec![open_gap]));
    assert_eq!(greeting.waiting, [lane]);
    assert_eq!(silent.read(&fixture), []);
    let (mut told, _) = open(resume(Vec::new()));
    assert_eq!(told.read(&fixture), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    fixture.put(VISUAL, 4, draft(false, 2));
    fixture.put(VISUAL, 4, draft(true, 3));
    let end = [Got::Lost(Some((3, 2)), Some((4, 3)), TermChanged, Some(2)), update(4, 3)];
    assert_eq!(silent.read(&fixture), end);
    assert_eq!(told.read(&fixture), end);
}

#[test]
fn an_open_gap_ends_with_the_feed() {
    let (fixture, mut reader) = watched();
    fixture.grant_to(71, VISUAL, 4, Gate::Open);
    fixture.put(VISUAL, 4, draft(false, 1));
    fixture.put(VISUAL, 4, draft(false, 2));
    assert_eq!(reader.read(&fixture), [Got::Lost(Some((3, 2)), None, TermChanged, None)]);
    fixture.feed.enforce(&[], &[], true);
    let told: Vec<_> = reader.0.finish();
    let [Delivery::Gap(gap)] = told[..] else { panic!("{told:?}") };
    assert_eq!((gap.after, gap.before, gap.count), (Some((3, 2)), Some((4, 3)), Some(2)));
    assert!(reader.0.finish().is_empty());
}

#[test]
fn skips_are_reported_to_the_publisher() {
    let mut fixture = FeedFixture::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let channels = [VISUAL].into_iter().collect();
    let mut readers = [fixture.viewer(Start::Keyframe), fixture.viewer(Start::Keyframe)];
    for number in 0..20 {
        fixture.visual(number == 0);
    }
    assert!(!fixture.feed.has_skips(source(), channels));
    readers.iter_mut().for_each(|reader| drop(reader.read(&fixture)));
    assert!(fixture.feed.has_skips(source(), channels));
    let [(VISUAL, report)] = fixture.feed.take_skips(source(), channels)[..] else { panic!("one report") };
    assert_eq!((report.reason, report.subscribers), (GapReason::Bandwidth, 2));
    assert_eq!(report.updates, fixture.feed.counts().dropped[GapReason::Bandwidth as usize]);
    assert!(!fixture.feed.has_skips(source(), channels));
    fixture.now += SECOND;
    fixture.visual(false);
    readers[0].read(&fixture);
    let [(VISUAL, report)] = fixture.feed.take_skips(source(), channels)[..] else { panic!("one report") };
    assert_eq!((report.subscribers, report.updates), (1, 1));
}

#[test]
fn chat_numbers_belong_to_the_authors_session() {
    let fixture = FeedFixture::new(shape(1 << 20));
    let author = NodeId::new(5).unwrap();
    let chat = |session, muted, number| {
        let session = SessionId::new(session).unwrap();
        let outcome =
            fixture.feed.chat(Message { author, session, muted, draft: draft(false, number) }, fixture.now, true);
        outcome.map(|accepted| accepted.duplicate).map_err(|rejected| rejected.refusal)
    };
    assert_eq!(chat(1, false, 1), Ok(false));
    assert_eq!(chat(1, true, 2), Err(AppendError::Muted));
    assert_eq!(chat(1, true, 1), Ok(true), "a repeat says nothing new");
    assert_eq!(chat(1, false, 3), Ok(false));
    assert_eq!(chat(1, false, 2), Err(AppendError::OutOfOrder));
    assert_eq!(fixture.feed.departed_authors(), 0);
    fixture.feed.members_left(&[author]);
    assert_eq!(fixture.feed.departed_authors(), 1);
    let anew = fixture.feed.publisher(author, SessionId::new(2), Channel::Chat);
    assert_eq!((anew.accepted, anew.previous), (0, SessionId::new(1).map(|session| (session, 3))));
    assert_eq!(chat(2, false, 1), Ok(false));
    assert_eq!(fixture.feed.departed_authors(), 0, "it is in again");
}

#[test]
fn authors_that_left_are_forgotten_one_by_one() {
    let mut fixture = FeedFixture::new(shape(1 << 20));
    let node = |number| NodeId::new(number).unwrap();
    let write = |fixture: &FeedFixture, number| fixture.feed.chat(message(number, 0), fixture.now, true).unwrap();
    for number in 1..=6_000 {
        write(&fixture, number);
        fixture.feed.members_left(&[node(number)]);
    }
    assert_eq!(fixture.feed.departed_authors(), 6_000, "a quota does not come back with a new session");
    fixture.now += SECOND * 2;
    // Each message has two of them forgotten.
    for number in 10_000..12_000 {
        write(&fixture, number);
    }
    let departed = fixture.feed.departed_authors();
    assert!((4_000..=4_096).contains(&departed), "{departed}");
    assert_eq!(fixture.feed.publisher(node(6_000), None, Channel::Chat).accepted, 1, "the last ones are remembered");
    assert_eq!(fixture.feed.publisher(node(1), None, Channel::Chat), PublisherState::default());
}

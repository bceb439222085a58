use super::*;
use GapReason::{EpochChanged, Evicted, TermChanged, UnknownPosition};

fn update(sequence: u64) -> Got {
    Got::Update(Channel::Visual, 3, sequence)
}

#[test]
fn resume_continues_after_the_last_delivered_update() {
    let fixture = FeedFixture::new(shape(1 << 20));
    for number in 1..=20 {
        fixture.visual(number % 10 == 1);
    }
    let mut reader = fixture.resumed(Channel::Visual, (3, 7));
    assert_eq!(reader.sequences(&fixture), (8..=20).collect::<Vec<_>>());
    let mut reader = fixture.resumed(Channel::Visual, (3, 20));
    assert_eq!(reader.read(&fixture), []);
    fixture.visual(false);
    assert_eq!(reader.sequences(&fixture), [21]);
}

#[test]
fn resume_is_not_lagging_before_catching_up() {
    let mut fixture = FeedFixture::new(limited(Limits { max_lag: SECOND, ..LIMITS }));
    for number in 1..=20 {
        fixture.visual(number % 10 == 1);
    }
    fixture.now += SECOND * 10;
    let mut reader = fixture.resumed(Channel::Visual, (3, 2));
    assert_eq!(reader.sequences(&fixture).len(), 18);
    fixture.visual(false);
    fixture.now += SECOND * 10;
    fixture.visual(true);
    assert_eq!(
        reader.read(&fixture),
        [Got::Lost(Some((3, 20)), Some((3, 22)), GapReason::Lagging, Some(1)), update(22)]
    );
}

#[test]
fn resume_reports_updates_evicted_meanwhile() {
    let fixture = FeedFixture::new(shape(9_400));
    for number in 1..=100 {
        fixture.visual(number % 10 == 1);
    }
    let got = fixture.resumed(Channel::Visual, (3, 7)).read(&fixture);
    assert_eq!(got[..2], [Got::Lost(Some((3, 7)), Some((3, 91)), Evicted, None), update(91)]);
    let fixture = FeedFixture::new(shape(9_400));
    for _ in 1..=100 {
        fixture.put(Channel::Audio, 3, draft(false, 0));
    }
    for _ in 1..=100 {
        fixture.put(Channel::Data, 3, draft(false, 0));
    }
    let mut reader = fixture.resumed(Channel::Audio, (3, 7));
    assert_eq!(reader.read(&fixture), [Got::Lost(Some((3, 7)), Some((3, 101)), Evicted, Some(93))], "at once");
}

#[test]
fn resume_across_terms_reports_incomplete_old_term() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    fixture.visual(false);
    fixture.grant(Channel::Visual, 9, Gate::Open);
    fixture.put(Channel::Visual, 9, draft(true, 0));
    assert_eq!(fixture.resumed(Channel::Visual, (3, 2)).read(&fixture), [Got::Update(Channel::Visual, 9, 1)]);
    assert_eq!(
        fixture.resumed(Channel::Visual, (3, 1)).read(&fixture),
        [update(2), Got::Update(Channel::Visual, 9, 1)]
    );
    let got = fixture.resumed(Channel::Visual, (8, 4)).read(&fixture);
    assert_eq!(got, [Got::Lost(Some((8, 4)), Some((9, 1)), TermChanged, None), Got::Update(Channel::Visual, 9, 1)]);
}

#[test]
fn unknown_position_restarts_at_newest_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    fixture.visual(false);
    for at in [(3, 3), (4, 0), (u64::MAX, u64::MAX)] {
        let got = fixture.resumed(Channel::Visual, at).read(&fixture);
        assert_eq!(got, [Got::Lost(None, Some((3, 1)), UnknownPosition, None), update(1), update(2)]);
    }
    assert_eq!(fixture.resumed(Channel::Screen, (3, 1)).read(&fixture), [Got::Lost(None, None, UnknownPosition, None)]);
}

#[test]
fn other_epoch_restarts_at_newest_keyframe() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let position = Position { source: Some(source()), channel: Channel::Visual, term: 3, sequence: 1 };
    let resume = Resume { same_epoch: false, positions: vec![position], open_gaps: Vec::new() };
    let (mut reader, _) = fixture.open_as(&[(Channel::Visual, Interest::High)], Start::Keyframe, Some(resume));
    assert_eq!(reader.read(&fixture), [Got::Lost(None, Some((3, 1)), EpochChanged, None), update(1)]);
}

#[test]
fn restored_interest_does_not_redeliver_updates() {
    for channel in [Channel::Data, Channel::Visual] {
        let fixture = FeedFixture::new(shape(1 << 20));
        fixture.put(channel, 3, draft(true, 0));
        let position = Position { source: Some(source()), channel, term: 3, sequence: 1 };
        let resume = Resume { same_epoch: true, positions: vec![position], open_gaps: Vec::new() };
        let (mut reader, _) = fixture.open_as(&[(channel, Interest::None)], Start::Keyframe, Some(resume));
        reader.set_interests(&fixture, &[(channel, Interest::High)]);
        assert_eq!(reader.read(&fixture), [Got::Filter(channel, Interest::High)]);
    }
}

#[test]
fn position_before_first_update_outlives_its_term() {
    for channel in [Channel::Data, Channel::Visual] {
        let fixture = FeedFixture::new(shape(1 << 20));
        fixture.grant(channel, 9, Gate::Open);
        assert_eq!(fixture.resumed(channel, (3, 0)).read(&fixture), []);
        fixture.put(channel, 9, draft(true, 0));
        assert_eq!(fixture.resumed(channel, (3, 0)).read(&fixture), [Got::Update(channel, 9, 1)]);
    }
}

use super::*;
use GapReason::{EpochChanged, Evicted, TermChanged, UnknownPosition};

fn update(sequence: u64) -> Got {
    Got::Update(Channel::Visual, 3, sequence)
}

#[test]
fn a_resume_goes_on_after_the_last_one_that_came() {
    let stage = Stage::new(shape(1 << 20));
    for number in 1..=20 {
        stage.visual(number % 10 == 1);
    }
    let mut reader = stage.resumed(Channel::Visual, (3, 7));
    assert_eq!(reader.sequences(&stage), (8..=20).collect::<Vec<_>>());
    let mut reader = stage.resumed(Channel::Visual, (3, 20));
    assert_eq!(reader.read(&stage), []);
    stage.visual(false);
    assert_eq!(reader.sequences(&stage), [21]);
}

#[test]
fn a_resume_is_not_late_before_it_has_caught_up() {
    let mut stage = Stage::new(limited(Limits { max_lag: SECOND, ..LIMITS }));
    for number in 1..=20 {
        stage.visual(number % 10 == 1);
    }
    stage.now += 10 * SECOND;
    let mut reader = stage.resumed(Channel::Visual, (3, 2));
    assert_eq!(reader.sequences(&stage).len(), 18);
    stage.visual(false);
    stage.now += 10 * SECOND;
    stage.visual(true);
    assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 20)), Some((3, 22)), GapReason::Lagging, Some(1)), update(22)]);
}

#[test]
fn what_left_the_ring_meanwhile_is_told() {
    let stage = Stage::new(shape(4_000));
    for number in 1..=100 {
        stage.visual(number % 10 == 1);
    }
    let got = stage.resumed(Channel::Visual, (3, 7)).read(&stage);
    assert_eq!(got[..2], [Got::Lost(Some((3, 7)), Some((3, 91)), Evicted, None), update(91)]);
    let stage = Stage::new(shape(4_000));
    for _ in 1..=100 {
        stage.put(Channel::Audio, 3, draft(false, 0));
    }
    for _ in 1..=100 {
        stage.put(Channel::Data, 3, draft(false, 0));
    }
    let mut reader = stage.resumed(Channel::Audio, (3, 7));
    assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 7)), Some((3, 101)), Evicted, Some(93))], "at once");
}

#[test]
fn a_resume_across_a_term_is_told_unless_the_old_one_was_complete() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    stage.visual(false);
    stage.grant(Channel::Visual, 9, Gate::Open);
    stage.put(Channel::Visual, 9, draft(true, 0));
    assert_eq!(stage.resumed(Channel::Visual, (3, 2)).read(&stage), [Got::Update(Channel::Visual, 9, 1)]);
    assert_eq!(stage.resumed(Channel::Visual, (3, 1)).read(&stage), [update(2), Got::Update(Channel::Visual, 9, 1)]);
    let got = stage.resumed(Channel::Visual, (8, 4)).read(&stage);
    assert_eq!(got, [Got::Lost(Some((8, 4)), Some((9, 1)), TermChanged, None), Got::Update(Channel::Visual, 9, 1)]);
}

#[test]
fn a_position_that_there_never_was_is_told_and_the_start_is_the_newest_keyframe() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    stage.visual(false);
    for at in [(3, 3), (4, 0), (u64::MAX, u64::MAX)] {
        let got = stage.resumed(Channel::Visual, at).read(&stage);
        assert_eq!(got, [Got::Lost(None, Some((3, 1)), UnknownPosition, None), update(1), update(2)]);
    }
    assert_eq!(stage.resumed(Channel::Screen, (3, 1)).read(&stage), [Got::Lost(None, None, UnknownPosition, None)]);
}

#[test]
fn another_incarnation_is_told_and_the_start_is_the_newest_keyframe() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let position = Position { source: Some(source()), channel: Channel::Visual, term: 3, sequence: 1 };
    let resume = Resume { same_epoch: false, positions: vec![position], open_gaps: Vec::new() };
    let (mut reader, _) = stage.open_as(&[(Channel::Visual, Interest::High)], Start::Keyframe, Some(resume));
    assert_eq!(reader.read(&stage), [Got::Lost(None, Some((3, 1)), EpochChanged, None), update(1)]);
}

#[test]
fn what_came_before_a_cut_does_not_come_again_when_it_is_wanted_again() {
    for channel in [Channel::Data, Channel::Visual] {
        let stage = Stage::new(shape(1 << 20));
        stage.put(channel, 3, draft(true, 0));
        let position = Position { source: Some(source()), channel, term: 3, sequence: 1 };
        let resume = Resume { same_epoch: true, positions: vec![position], open_gaps: Vec::new() };
        let (mut reader, _) = stage.open_as(&[(channel, Interest::None)], Start::Keyframe, Some(resume));
        stage.feed.set_interests(super::reader(), &interests(&[(channel, Interest::High)]));
        assert_eq!(reader.read(&stage), [Got::Filter(channel, Interest::High)]);
    }
}

#[test]
fn a_start_before_the_first_update_of_a_term_outlives_the_term() {
    for channel in [Channel::Data, Channel::Visual] {
        let stage = Stage::new(shape(1 << 20));
        stage.grant(channel, 9, Gate::Open);
        assert_eq!(stage.resumed(channel, (3, 0)).read(&stage), []);
        stage.put(channel, 9, draft(true, 0));
        assert_eq!(stage.resumed(channel, (3, 0)).read(&stage), [Got::Update(channel, 9, 1)]);
    }
}

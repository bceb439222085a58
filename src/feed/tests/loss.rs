use super::*;
use GapReason::{Bandwidth, Evicted, Lagging, TermChanged};

#[test]
fn a_lapped_reader_is_told_and_goes_on_at_the_newest_keyframe() {
    let stage = Stage::new(shape(2_000));
    stage.visual(true);
    let mut reader = stage.viewer(Start::Keyframe);
    assert_eq!(reader.sequences(&stage), [1]);
    for number in 2..=100 {
        stage.visual(number % 10 == 0);
    }
    let told = Got::Lost(Some((3, 1)), Some((3, 100)), Evicted, Some(98));
    assert_eq!(reader.read(&stage), [told, Got::Update(Channel::Visual, 3, 100)]);
    assert_eq!(stage.feed.counts().dropped[Evicted as usize], 98);
}

#[test]
fn a_lapped_reader_without_a_keyframe_in_the_ring_is_told_at_once_and_waits_for_one() {
    let stage = Stage::new(shape(2_000));
    stage.visual(true);
    let mut reader = stage.viewer(Start::Keyframe);
    reader.read(&stage);
    for _ in 2..=100 {
        stage.visual(false);
    }
    assert_eq!(reader.read(&stage), [Got::Lost(Some((3, 1)), None, Evicted, None)]);
    assert_eq!(reader.read(&stage), []);
    stage.visual(true);
    let told = Got::Lost(Some((3, 1)), Some((3, 101)), Evicted, Some(99));
    assert_eq!(reader.read(&stage), [told, Got::Update(Channel::Visual, 3, 101)]);
    assert_eq!(stage.feed.counts().dropped[Evicted as usize], 99);
}

#[test]
fn a_new_term_has_no_gap_when_everything_before_it_was_delivered() {
    let stage = Stage::new(shape(1 << 20));
    stage.visual(true);
    let mut reader = stage.viewer(Start::Keyframe);
    reader.read(&stage);
    stage.grant(Channel::Visual, 4, Gate::Open);
    stage.put(Channel::Visual, 4, draft(true, 0));
    assert_eq!(reader.sequences(&stage), [1]);
    stage.grant(Channel::Visual, 5, Gate::Open);
    stage.put(Channel::Visual, 5, draft(false, 0));
    stage.put(Channel::Visual, 5, draft(true, 0));
    let told = Got::Lost(Some((4, 1)), Some((5, 2)), TermChanged, Some(1));
    assert_eq!(reader.read(&stage), [told, Got::Update(Channel::Visual, 5, 2)]);
}

#[test]
fn a_reader_that_lags_jumps_to_the_newest_keyframe_and_its_sound_goes_along() {
    let mut stage = Stage::new(limited(Limits { max_lag: 2 * SECOND, ..LIMITS }));
    let channels =
        [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High), (Channel::Data, Interest::High)];
    let (mut reader, _) = stage.open(&channels, Start::Keyframe);
    stage.visual(true);
    stage.put(Channel::Audio, 3, draft(false, 0));
    stage.put(Channel::Data, 3, draft(false, 0));
    stage.now += 3 * SECOND;
    stage.visual(false);
    stage.put(Channel::Audio, 3, draft(false, 0));
    // Late, but there is nothing to jump to.
    stage.visual(true);
    stage.put(Channel::Audio, 3, draft(false, 0));
    let expected = [
        Got::Lost(None, Some((3, 3)), Lagging, Some(2)),
        Got::Lost(None, Some((3, 3)), Lagging, Some(2)),
        Got::Update(Channel::Data, 3, 1),
        Got::Update(Channel::Visual, 3, 3),
        Got::Update(Channel::Audio, 3, 3),
    ];
    assert_eq!(reader.read(&stage), expected);
    assert_eq!(stage.feed.counts().dropped[Lagging as usize], 4);
}

#[test]
fn without_a_newer_keyframe_a_late_reader_gets_everything() {
    let mut stage = Stage::new(limited(Limits { max_lag: 2 * SECOND, ..LIMITS }));
    let mut reader = stage.viewer(Start::Keyframe);
    stage.visual(true);
    stage.now += 60 * SECOND;
    stage.visual(false);
    assert_eq!(reader.sequences(&stage), [1, 2]);
}

#[test]
fn bandwidth_gives_up_whole_runs_and_sound_last() {
    let mut stage = Stage::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let channels = [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High)];
    let (mut reader, _) = stage.open(&channels, Start::Keyframe);
    for _ in 0..2 {
        stage.visual(true);
        for _ in 0..9 {
            stage.visual(false);
        }
    }
    stage.put(Channel::Audio, 3, draft(false, 0));
    let got = reader.read(&stage);
    let delivered = got.iter().filter(|got| matches!(got, Got::Update(Channel::Visual, ..))).count();
    assert!((5..9).contains(&delivered), "{got:?}");
    let after = Some((3, delivered as u64));
    assert_eq!(got[delivered], Got::Lost(after, Some((3, 11)), Bandwidth, Some(10 - delivered as u64)));
    assert_eq!(got[delivered + 1], Got::Lost(Some((3, 10)), None, Bandwidth, None), "the next run neither");
    assert_eq!(got.last(), Some(&Got::Update(Channel::Audio, 3, 1)));
    stage.now += SECOND;
    stage.visual(false);
    assert_eq!(reader.read(&stage), [], "a run goes as a whole");
    stage.visual(true);
    let told = Got::Lost(Some((3, 10)), Some((3, 22)), Bandwidth, Some(11));
    assert_eq!(reader.read(&stage), [told, Got::Update(Channel::Visual, 3, 22)]);
}

#[test]
fn the_top_temporal_layer_goes_alone_and_first() {
    let probe = Stage::new(shape(1 << 20));
    probe.visual(false);
    // After five updates less than a quarter is left, and more than an eighth.
    let bandwidth = probe.feed.bytes() as u64 * 6 + probe.feed.bytes() as u64 / 5;
    let stage = Stage::new(limited(Limits { bandwidth: Some(bandwidth), ..LIMITS }));
    stage.feed.declare(source(), 3, [Channel::Visual].into_iter().collect(), 2);
    let mut reader = stage.viewer(Start::Keyframe);
    for number in 0..7 {
        stage.put(Channel::Visual, 3, Draft { temporal_layer: number % 2, ..draft(number == 0, 0) });
    }
    let got = reader.read(&stage);
    let lost: Vec<_> = got.iter().filter(|got| matches!(got, Got::Lost(..))).collect();
    assert_eq!(lost, [&Got::Lost(Some((3, 5)), Some((3, 7)), Bandwidth, Some(1))], "{got:?}");
    assert_eq!(got.last(), Some(&Got::Update(Channel::Visual, 3, 7)));
}

#[test]
fn what_is_larger_than_the_budget_still_comes_when_nothing_came_before() {
    let stage = Stage::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let mut reader = stage.viewer(Start::Keyframe);
    stage.put(Channel::Visual, 3, Draft { payload: vec![0; 50_000].into(), ..draft(true, 0) });
    assert_eq!(reader.sequences(&stage), [1]);
}

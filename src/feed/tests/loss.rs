use super::*;
use GapReason::{Bandwidth, Evicted, Lagging, TermChanged};

#[test]
fn lapped_reader_gets_gap_then_newest_keyframe() {
    let fixture = FeedFixture::new(shape(2_000));
    fixture.visual(true);
    let mut reader = fixture.viewer(Start::Keyframe);
    assert_eq!(reader.sequences(&fixture), [1]);
    for number in 2..=100 {
        fixture.visual(number % 10 == 0);
    }
    let told = Got::Lost(Some((3, 1)), Some((3, 100)), Evicted, Some(98));
    assert_eq!(reader.read(&fixture), [told, Got::Update(Channel::Visual, 3, 100)]);
    assert_eq!(fixture.feed.counts().dropped[Evicted as usize], 98);
}

#[test]
fn lapped_reader_without_keyframe_waits_after_its_gap() {
    let fixture = FeedFixture::new(shape(2_000));
    fixture.visual(true);
    let mut reader = fixture.viewer(Start::Keyframe);
    reader.read(&fixture);
    for _ in 2..=100 {
        fixture.visual(false);
    }
    assert_eq!(reader.read(&fixture), [Got::Lost(Some((3, 1)), None, Evicted, None)]);
    assert_eq!(reader.read(&fixture), []);
    fixture.visual(true);
    let told = Got::Lost(Some((3, 1)), Some((3, 101)), Evicted, Some(99));
    assert_eq!(reader.read(&fixture), [told, Got::Update(Channel::Visual, 3, 101)]);
    assert_eq!(fixture.feed.counts().dropped[Evicted as usize], 99);
}

#[test]
fn new_term_has_no_gap_after_complete_delivery() {
    let fixture = FeedFixture::new(shape(1 << 20));
    fixture.visual(true);
    let mut reader = fixture.viewer(Start::Keyframe);
    reader.read(&fixture);
    fixture.grant(Channel::Visual, 4, Gate::Open);
    fixture.put(Channel::Visual, 4, draft(true, 0));
    assert_eq!(reader.sequences(&fixture), [1]);
    fixture.grant(Channel::Visual, 5, Gate::Open);
    fixture.put(Channel::Visual, 5, draft(false, 0));
    fixture.put(Channel::Visual, 5, draft(true, 0));
    let told = Got::Lost(Some((4, 1)), Some((5, 2)), TermChanged, Some(1));
    assert_eq!(reader.read(&fixture), [told, Got::Update(Channel::Visual, 5, 2)]);
}

#[test]
fn lagging_reader_jumps_to_newest_keyframe_with_audio() {
    let mut fixture = FeedFixture::new(limited(Limits { max_lag: SECOND * 2, ..LIMITS }));
    let channels =
        [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High), (Channel::Data, Interest::High)];
    let (mut reader, _) = fixture.open(&channels, Start::Keyframe);
    fixture.visual(true);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    fixture.put(Channel::Data, 3, draft(false, 0));
    fixture.now += SECOND * 3;
    fixture.visual(false);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    // Late, but there is nothing to jump to.
    fixture.visual(true);
    fixture.put(Channel::Audio, 3, draft(false, 0));
    let expected = [
        Got::Lost(None, Some((3, 3)), Lagging, Some(2)),
        Got::Lost(None, Some((3, 3)), Lagging, Some(2)),
        Got::Update(Channel::Data, 3, 1),
        Got::Update(Channel::Visual, 3, 3),
        Got::Update(Channel::Audio, 3, 3),
    ];
    assert_eq!(reader.read(&fixture), expected);
    assert_eq!(fixture.feed.counts().dropped[Lagging as usize], 4);
}

#[test]
fn late_reader_without_newer_keyframe_gets_everything() {
    let mut fixture = FeedFixture::new(limited(Limits { max_lag: SECOND * 2, ..LIMITS }));
    let mut reader = fixture.viewer(Start::Keyframe);
    fixture.visual(true);
    fixture.now += SECOND * 60;
    fixture.visual(false);
    assert_eq!(reader.sequences(&fixture), [1, 2]);
}

#[test]
fn bandwidth_limit_drops_whole_runs_before_audio() {
    let mut fixture = FeedFixture::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let channels = [(Channel::Visual, Interest::High), (Channel::Audio, Interest::High)];
    let (mut reader, _) = fixture.open(&channels, Start::Keyframe);
    for _ in 0..2 {
        fixture.visual(true);
        for _ in 0..9 {
            fixture.visual(false);
        }
    }
    fixture.put(Channel::Audio, 3, draft(false, 0));
    let got = reader.read(&fixture);
    let delivered = got.iter().filter(|got| matches!(got, Got::Update(Channel::Visual, ..))).count();
    assert!((5..9).contains(&delivered), "{got:?}");
    let after = Some((3, delivered as u64));
    assert_eq!(got[delivered], Got::Lost(after, Some((3, 11)), Bandwidth, Some(10 - delivered as u64)));
    assert_eq!(got[delivered + 1], Got::Lost(Some((3, 10)), None, Bandwidth, None), "the next run neither");
    assert_eq!(got.last(), Some(&Got::Update(Channel::Audio, 3, 1)));
    fixture.now += SECOND;
    fixture.visual(false);
    assert_eq!(reader.read(&fixture), [], "a run goes as a whole");
    fixture.visual(true);
    let told = Got::Lost(Some((3, 10)), Some((3, 22)), Bandwidth, Some(11));
    assert_eq!(reader.read(&fixture), [told, Got::Update(Channel::Visual, 3, 22)]);
}

#[test]
fn bandwidth_limit_drops_the_top_layer_first() {
    let probe = FeedFixture::new(shape(1 << 20));
    probe.visual(true);
    assert_eq!(probe.viewer(Start::Keyframe).sequences(&probe), [1]);
    let bytes = probe.feed.counts().delivered_bytes;
    // After five updates less than a quarter is left, and more than an eighth.
    let bandwidth = bytes * 6 + bytes / 5;
    let fixture = FeedFixture::new(limited(Limits { bandwidth: Some(bandwidth), ..LIMITS }));
    fixture.feed.declare(source(), 3, [Channel::Visual].into_iter().collect(), 2);
    let mut reader = fixture.viewer(Start::Keyframe);
    for number in 0..7 {
        fixture.put(Channel::Visual, 3, Draft { temporal_layer: number % 2, ..draft(number == 0, 0) });
    }
    let got = reader.read(&fixture);
    let lost: Vec<_> = got.iter().filter(|got| matches!(got, Got::Lost(..))).collect();
    assert_eq!(lost, [&Got::Lost(Some((3, 5)), Some((3, 7)), Bandwidth, Some(1))], "{got:?}");
    assert_eq!(got.last(), Some(&Got::Update(Channel::Visual, 3, 7)));
}

#[test]
fn update_over_an_unused_budget_is_delivered() {
    let fixture = FeedFixture::new(limited(Limits { bandwidth: Some(1_000), ..LIMITS }));
    let mut reader = fixture.viewer(Start::Keyframe);
    fixture.put(Channel::Visual, 3, Draft { payload: vec![0; 50_000].into(), ..draft(true, 0) });
    assert_eq!(reader.sequences(&fixture), [1]);
}
